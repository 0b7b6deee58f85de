//! ext4 on a block device that logs every write and every flush.
//!
//! `qemu-storage-daemon` writes the log for a file that it offers by FUSE; a loop
//! device makes a block device of that file. The log gives the images that a power
//! cut may leave: everything written before the last flush, and any part of what
//! was written since. Everything that is set up is removed when its value is
//! dropped, also by a test that fails.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{self, SOON};

/// The size of the device: enough for a small journal and a few builds.
const BYTES: u64 = 24 << 20;
const SECTOR: usize = 512;
const TOOLS: [&str; 6] = ["qemu-storage-daemon", "losetup", "mkfs.ext4", "mount", "umount", "sync"];

/// A mounted file system whose device logs writes. The fields are dropped in order.
pub struct Device {
    mount: Mount,
    _loop: Loop,
    _daemon: Daemon,
    folder: TempDir,
}

/// A write or a flush that reached the device.
pub struct Entry {
    is_flush: bool,
    at: usize,
    bytes: Vec<u8>,
}

struct Mount(PathBuf);
struct Loop(String);
struct Daemon(Child);

/// Whether all of this is available, or what is missing.
pub fn available() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root can mount a file system".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |tool: &str| std::env::split_paths(&path).any(|folder| folder.join(tool).exists());
    let tool = TOOLS.into_iter().find(|tool| !has(tool));
    let device = ["/dev/fuse", "/dev/loop-control"].into_iter().find(|path| !Path::new(path).exists());
    tool.or(device).map_or(Ok(()), |missing| Err(format!("there is no {missing}")))
}

impl Device {
    /// A fresh file system, mounted with these options.
    pub fn new(options: &str) -> Self {
        let folder = support::pass::folder();
        let at = |name: &str| folder.path().join(name);
        std::fs::File::create(at("disk")).unwrap().set_len(BYTES).unwrap();
        std::fs::File::create(at("log")).unwrap().set_len(1 << 30).unwrap();
        std::fs::File::create(at("shown")).unwrap();
        std::fs::create_dir(at("mnt")).unwrap();
        let daemon = Daemon::start(&at);
        support::eventually("the device exists", || {
            at("shown").metadata().is_ok_and(|about| about.len() == BYTES)
        });
        must(Command::new("mkfs.ext4").args(["-q", "-F", "-b", "4096", "-J", "size=4"]).args([
            "-E".as_ref(),
            "lazy_itable_init=0,lazy_journal_init=0".as_ref(),
            at("shown").as_os_str(),
        ]));
        let device = must(Command::new("losetup").args(["-f", "--show"]).arg(at("shown")));
        let device = Loop(device.trim().to_owned());
        let mount = Mount::new(Path::new(&device.0), &at("mnt"), options).unwrap();
        Self { mount, _loop: device, _daemon: daemon, folder }
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.mount.0
    }

    /// How many entries the log has.
    pub fn logged(&self) -> usize {
        let log = std::fs::File::open(self.folder.path().join("log")).unwrap();
        let mut head = [0; 24];
        std::os::unix::fs::FileExt::read_exact_at(&log, &mut head, 0).unwrap();
        number(&head, 16)
    }

    /// Flushes everything.
    pub fn flushed(&self) {
        must(Command::new("sync").arg("-f").arg(self.root()));
    }

    /// Unmounts it and returns the log.
    pub fn entries(self) -> Vec<Entry> {
        self.flushed();
        let count = self.logged();
        let log = std::fs::File::open(self.folder.path().join("log")).unwrap();
        entries(&log, count)
    }
}

impl Daemon {
    fn start(at: &dyn Fn(&str) -> PathBuf) -> Self {
        let path = |name: &str| at(name).display().to_string();
        let mut command = Command::new("qemu-storage-daemon");
        for device in [
            format!("driver=file,node-name=disk,filename={}", path("disk")),
            format!("driver=file,node-name=log,filename={}", path("log")),
            "driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size=512,log-super-update-interval=1".to_owned(),
        ] {
            command.args(["--blockdev", &device]);
        }
        let shown = format!("type=fuse,id=shown,node-name=logged,mountpoint={},writable=on", path("shown"));
        Self(command.args(["--export", &shown]).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It removes its own mount.
        kill_process(Pid::from_child(&self.0), Signal::TERM).ok();
        let deadline = Instant::now() + SOON;
        while self.0.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Mount {
    fn new(device: &Path, at: &Path, options: &str) -> Result<Self, String> {
        tried(Command::new("mount").args(["-t", "ext4", "-o", options]).arg(device).arg(at))?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if tried(Command::new("umount").arg(&self.0)).is_err() {
            tried(Command::new("umount").arg("-l").arg(&self.0)).ok();
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        tried(Command::new("losetup").args(["-d", &self.0])).ok();
    }
}

/// An image that a power cut leaves.
pub struct Cut<'a> {
    /// How many entries of the log came before it.
    pub at: usize,
    image: &'a [u8],
}

impl Cut<'_> {
    /// Mounts the image, which replays the journal, and calls `read` with its root.
    pub fn mounted<T>(&self, options: &str, read: impl FnOnce(&Path) -> T) -> Result<T, String> {
        let folder = support::pass::folder();
        let (image, at) = (folder.path().join("image"), folder.path().join("mnt"));
        std::fs::write(&image, self.image).unwrap();
        std::fs::create_dir(&at).unwrap();
        let mount = Mount::new(&image, &at, &format!("loop,{options}"))?;
        Ok(read(&mount.0))
    }
}

/// The images at every entry of the log from `from` on: with all writes since the last flush, with the last
/// alone, and with `random` random selections of them; at `reported` also with none of them.
pub fn cuts(
    log: &[Entry],
    from: usize,
    reported: usize,
    random: usize,
    mut each: impl FnMut(&Cut<'_>) -> bool,
) {
    let mut rng = Rng::with_seed(crate::sampling::seed());
    let mut base = vec![0; BYTES as usize];
    let mut tail: Vec<&Entry> = Vec::new();
    for at in 0..=log.len() {
        let mut cut = |writes: &[&Entry]| {
            let mut image = base.clone();
            for entry in writes {
                entry.apply(&mut image);
            }
            each(&Cut { at, image: &image })
        };
        let entry = log.get(at);
        let mut choices: Vec<Vec<&Entry>> = Vec::new();
        if at == from || at == reported {
            choices.push(Vec::new());
        }
        if at > from && !tail.is_empty() {
            choices.push(tail.clone());
            choices.push(vec![tail[tail.len() - 1]]);
            for _ in 0..random {
                choices.push(tail.iter().filter(|_| rng.bool()).copied().collect());
            }
        }
        if !choices.iter().all(|writes| cut(writes)) {
            return;
        }
        let Some(entry) = entry else { return };
        if entry.is_flush {
            tail.drain(..).for_each(|entry| entry.apply(&mut base));
            entry.apply(&mut base);
        } else {
            tail.push(entry);
        }
    }
}

impl Entry {
    fn apply(&self, image: &mut [u8]) {
        image[self.at..self.at + self.bytes.len()].copy_from_slice(&self.bytes);
    }
}

/// The entries in the format of `blklogwrites`: a sector that describes the next ones, then the written ones.
fn entries(log: &std::fs::File, count: usize) -> Vec<Entry> {
    use std::os::unix::fs::FileExt;
    const FLUSH: usize = 1;
    const DISCARD: usize = 4;
    let mut at = SECTOR as u64;
    let read = |at: u64, length: usize| {
        let mut bytes = vec![0; length];
        log.read_exact_at(&mut bytes, at).unwrap();
        bytes
    };
    let mut entry = |_| {
        let head = read(at, 32);
        let (sector, sectors, flags) = (number(&head, 0), number(&head, 8), number(&head, 16));
        at += SECTOR as u64;
        let length = sectors * SECTOR;
        let bytes = if flags & DISCARD != 0 {
            vec![0; length]
        } else {
            let bytes = read(at, length);
            at += length as u64;
            bytes
        };
        Entry { is_flush: flags & FLUSH != 0, at: sector * SECTOR, bytes }
    };
    (0..count).map(&mut entry).collect()
}

fn number(bytes: &[u8], at: usize) -> usize {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize
}

/// Runs a tool of the system; returns its message if it fails.
fn tried(command: &mut Command) -> Result<String, String> {
    let ran = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&ran.stderr).trim()))
}

#[track_caller]
fn must(command: &mut Command) -> String {
    tried(command).unwrap_or_else(|message| panic!("{message}"))
}
