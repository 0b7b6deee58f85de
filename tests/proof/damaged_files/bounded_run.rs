//! Runs a command with limits of time and memory, and checks what must hold for every run.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Ran, World, ended, start};

/// Limit of a command's address space: several times what it needs, a fraction
/// of [`super::damage`]'s long files.
pub const MAX_KIB: u64 = 2 << 20;
/// Limit of a command's time, for slow machines: it takes a tenth of a second.
const MAX_RUN_TIME: Duration = Duration::from_secs(30);

/// Every documented exit code of a command that was not stopped.
const CODES: [i32; 5] = [0, 1, 2, 3, 75];

/// Runs the program with both limits; it must not panic, and must end with a documented exit code.
#[track_caller]
pub fn bounded(world: &World, arguments: &[&str], what: &str) -> Ran {
    checked_as(None, &world.command(arguments), what)
}

/// [`bounded`] for a prepared command with `--json`, run by this user.
#[track_caller]
pub fn checked_as(user: Option<u32>, command: &Command, what: &str) -> Ran {
    let ran = within_bounds(user, command);
    let what = format!("{what}: {:?}: {ran:?}", command.get_args());
    assert!(CODES.contains(&ran.code), "a hang, an abort or an undocumented code: {what}");
    assert!(!ran.stderr.contains("panicked"), "{what}");
    assert!(serde_json::from_str::<serde_json::Value>(&ran.stdout).is_ok(), "{what}");
    ran
}

fn within_bounds(user: Option<u32>, command: &Command) -> Ran {
    let mut bounded = Command::new("/bin/sh");
    bounded
        .args(["-c", &format!("ulimit -v {MAX_KIB} && exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(command.get_current_dir().unwrap());
    if let Some(user) = user {
        bounded.uid(user).gid(user);
    }
    let child = start(&mut bounded);
    let pid = Pid::from_child(&child);
    let (still_runs, over) = channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if over.recv_timeout(MAX_RUN_TIME) == Err(RecvTimeoutError::Timeout) {
            kill_process(pid, Signal::KILL).ok();
        }
    });
    let ran = ended(child);
    drop(still_runs);
    watchdog.join().unwrap();
    ran
}

/// The peak memory of a running process, in KiB.
pub fn peak_kib(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Asserts that the message of a failed command contains at least one of these names of the damaged file.
#[track_caller]
pub fn assert_named(ran: &Ran, names: &[String], what: &str) {
    let output = format!("{}{}", ran.stdout, ran.stderr);
    assert!(names.iter().any(|name| output.contains(name)), "{what}: none of {names:?} in {ran:?}");
}

/// Every name below a folder, except in one subfolder, with those of its facts that must not change.
pub fn tree(folder: &Path, but_for: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path == but_for {
                continue;
            }
            let meta = path.symlink_metadata().unwrap();
            let kind = meta.file_type();
            let bytes = if kind.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            let facts =
                (kind, meta.mode(), meta.uid(), meta.mtime(), meta.mtime_nsec(), blake3::hash(&bytes));
            if kind.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path, format!("{facts:?}"));
        }
    }
    found
}
