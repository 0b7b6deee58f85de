//! The host of the soak: a database in one folder, published files in another, on a disk that can be filled.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;

use crate::support::agent::Agent;
use crate::support::{Ran, World, ended, start};

/// Environment variable that is set where the soak runs in a mount namespace of its own.
pub(super) const INSIDE: &str = "REINDEXD_SOAK_INSIDE";

/// The host, with its fake provider.
pub(super) struct SoakHost {
    pub world: World,
    /// Whether the published files are on a small disk of their own.
    pub small_disk: bool,
}

impl SoakHost {
    /// The host, with a disk of 96 MiB if this process may mount one.
    pub(super) fn new() -> Self {
        let world = World::in_memory();
        world.provider.excuse_money("the count begins again with each pass that ends well");
        std::fs::create_dir(world.path("db")).unwrap();
        std::fs::remove_file(world.database()).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=96m", "none"]).arg(world.path("data"));
        let small_disk =
            std::env::var_os(INSIDE).is_some() && mount.status().is_ok_and(|status| status.success());
        world.settings(SETTINGS);
        Self { world, small_disk }
    }

    /// The database, in another folder than the published files.
    pub(super) fn database(&self) -> PathBuf {
        self.world.path("db/experts.db")
    }

    /// A connection of a writer.
    pub(super) fn connect(&self) -> Connection {
        let database = Connection::open(self.database()).unwrap();
        database.busy_timeout(Duration::from_secs(30)).unwrap();
        database
    }

    /// The program with arguments.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command.env("DATABASE_URL", "sqlite:///db/experts.db");
        command
    }

    /// Runs the program to its end.
    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        ended(start(&mut self.command(arguments)))
    }

    /// Starts an agent, and waits until it watches.
    pub(super) fn agent(&self) -> Agent {
        let agent = Agent::start(&mut self.command(&["run"]));
        agent.wait_for_log("watching");
        agent
    }

    /// Touches the marker.
    pub(super) fn touch(&self) {
        // On a full disk this may fail; a later touch makes up for it.
        std::fs::write(self.world.path("data/tagging-complete"), "").ok();
    }

    /// Uses every free byte of the disk.
    pub(super) fn fill(&self) {
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        let chunk = vec![b'x'; 1 << 16];
        while filler.write_all(&chunk).is_ok() {}
    }

    /// Frees them again.
    pub(super) fn clear(&self) {
        std::fs::remove_file(self.filler()).ok();
    }

    fn filler(&self) -> PathBuf {
        self.world.path("data/other-log")
    }
}

impl Drop for SoakHost {
    fn drop(&mut self) {
        if self.small_disk {
            // Otherwise the folder could not be removed.
            Command::new("umount").arg("-l").arg(self.world.path("data")).status().ok();
        }
    }
}

const SETTINGS: &str = "[trigger]\nquiet = \"50ms\"\nmax_wait = \"500ms\"\nmarker_quiet = \"10ms\"\nresync = \"2s\"\n\
     [embedding]\nbatch_size = 5\nretry_budget = \"300ms\"\nrequest_timeout = \"1s\"\n[guard]\nmax_shrink = 1.0\n";
