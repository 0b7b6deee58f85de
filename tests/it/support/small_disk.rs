//! A small file system of its own, to be filled: a tmpfs in a mount namespace that ends with the test.
//!
//! Root may make one, and so may anybody where user namespaces are allowed.
//! Elsewhere [`SmallDisk::start`] gives none and says so.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Ran, World, run};

/// The tmpfs, and the process whose namespace it is in. The process ends when its input is closed.
pub struct SmallDisk<'w> {
    world: &'w World,
    keeper: Child,
    /// What enters a namespace of a user who is not root.
    user: &'static [&'static str],
}

impl<'w> SmallDisk<'w> {
    /// A tmpfs of this size at `small/` in the world's folder, seen by its own commands only.
    pub fn start(world: &'w World, size: &str) -> Option<Self> {
        std::fs::create_dir(world.path("small")).unwrap();
        let script = r#"mount -t tmpfs -o "size=$0,mode=755" none small && echo ready && read -r _"#;
        let ways: [(&[&str], &[&str]); 2] =
            [(&["-m"], &[]), (&["-U", "-r", "-m"], &["-U", "--preserve-credentials"])];
        for (options, user) in ways {
            let mut keeper = Command::new("unshare")
                .args(options)
                .args(["sh", "-c", script, size])
                .current_dir(world.path(""))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("util-linux has unshare");
            let mut said = String::new();
            BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
            if said == "ready\n" {
                return Some(Self { world, keeper, user });
            }
            keeper.wait().unwrap();
        }
        eprintln!(
            "NOT TESTED: this needs a small file system, and neither root nor user namespaces are at hand"
        );
        None
    }

    /// The program, publishing on the small disk; the database stays where it was.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let inner = self.world.command(arguments);
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.keeper.id().to_string(), "-m"])
            .args(self.user)
            .args(["sh", "-c", r#"cd "$0" && exec "$@""#])
            .arg(self.world.path(""))
            .arg(inner.get_program())
            .args(inner.get_args())
            .env_clear()
            .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("FAISS_INDEX_PATH", "small/faiss.index")
            .env("METADATA_PATH", "small/metadata.json")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }

    /// A path on the small disk, as the test sees it.
    pub fn path(&self, name: &str) -> PathBuf {
        let below = self.world.path("small").join(name);
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(below.strip_prefix("/").unwrap())
    }

    /// Takes this many bytes of what is left, or all where there are not so many.
    pub fn fill(&self, bytes: usize) {
        use std::io::Write;
        let mut filler = std::fs::File::create(self.path("filler")).unwrap();
        let piece = [7; 4096];
        // Whatever ends it early is the full disk that is wanted.
        (0..bytes / piece.len()).try_for_each(|_| filler.write_all(&piece)).ok();
    }

    /// Gives the room back.
    pub fn clear(&self) {
        std::fs::remove_file(self.path("filler")).unwrap();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // It has ended or is about to; there is nothing else to be done about it.
        self.keeper.wait().ok();
    }
}
