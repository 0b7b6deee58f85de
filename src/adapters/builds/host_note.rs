//! Which host holds a lock: a note beside the lock, renewed while it is held.
//!
//! On a network file system a lock may be local to its host, so that two hosts
//! could both have it. The note has the boot id of the holder, and its time
//! stamp is renewed every minute by a thread of its own: a pass may compute, or
//! wait for a disk, for longer than that. The note is removed with the lock; one
//! that a crash left is ignored under the same boot, where the lock says enough,
//! and after five minutes under another. It is never flushed: no lock outlives a
//! power cut. Where the boot id is not known nothing is noted or checked.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::SystemTime;

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
use serde::{Deserialize, Serialize};

use super::disk;
use super::disk_error::DiskError;
use super::error::BuildsError;
use super::layout::Layout;
use super::open;
use crate::config;
use crate::decide::other_host::{RENEWAL_INTERVAL, alive_for, boot_id};

/// Bytes of a note, which is padded to them: it is written over another in place.
const NOTE_BYTES: usize = 256;
/// Longest name of a host that is noted, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// A host, in the run of its system that this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct NotedHost {
    boot: String,
    name: String,
}

/// A note that this process renews until it is dropped, which removes it.
#[derive(Debug)]
pub(super) struct HostNote {
    path: PathBuf,
    ours: NotedHost,
    /// Dropped before the note is removed: it ends the thread.
    renewal: Option<Sender<()>>,
}

/// Notes that this host holds a lock; `None` where its boot id is not known. The caller holds the lock.
///
/// # Errors
///
/// [`BuildsError::OtherHost`] if a process under another boot holds it too; [`BuildsError::Disk`] if the
/// note cannot be read or written, or the file system's time not be learnt.
pub(super) fn write(lock: &Path) -> Result<Option<HostNote>, BuildsError> {
    let Some(ours) = this_host() else { return Ok(None) };
    let path = note_path(lock);
    refuse_alive(&path, &ours)?;
    let mut bytes = serde_json::to_vec(&ours).expect("string keys only");
    bytes.resize(NOTE_BYTES.max(bytes.len()), b' ');
    let file = open::open_or_create(&path, 0o600).map_err(DiskError::at("open", &path))?;
    file.write_all_at(&bytes, 0).map_err(DiskError::at("write", &path))?;
    let (renewal, ended) = channel();
    let (renewed, host) = (path.clone(), ours.clone());
    let is_held = move || ended.recv_timeout(RENEWAL_INTERVAL) == Err(RecvTimeoutError::Timeout);
    let renew = move || while is_held() && renew(&renewed, &host) {};
    let thread = std::thread::Builder::new().name("host-note".to_owned()).spawn(renew);
    let note = HostNote { path, ours, renewal: Some(renewal) };
    thread.map_err(DiskError::at("start the thread that renews", &note.path))?;
    Ok(Some(note))
}

impl Drop for HostNote {
    fn drop(&mut self) {
        self.renewal = None;
        // Another host may have taken over while this one slept. A note that stays ages.
        if read(&self.path).is_ok_and(|holder| holder.as_ref() == Some(&self.ours)) {
            disk::remove_if_exists(&self.path).ok();
        }
    }
}

/// Refuses to go on where another host has taken the lock of passes over, as while this one slept.
///
/// # Errors
///
/// [`BuildsError::OtherHost`] if it has; [`BuildsError::Disk`] if the note cannot be read.
pub(super) fn refuse_taken_over(layout: &Layout) -> Result<(), BuildsError> {
    let Some(ours) = this_host() else { return Ok(()) };
    refuse_alive(&note_path(&layout.lock()), &ours)
}

fn refuse_alive(path: &Path, ours: &NotedHost) -> Result<(), BuildsError> {
    let Some(theirs) = read(path)?.filter(|holder| holder.boot != ours.boot) else { return Ok(()) };
    let renewed = path.metadata().and_then(|meta| meta.modified()).map_err(DiskError::at("stat", path))?;
    let now = time_of_file_system(path)?;
    let apart = now.duration_since(renewed).unwrap_or_else(|error| error.duration());
    match alive_for(apart) {
        None => Ok(()),
        Some(left) => Err(BuildsError::OtherHost {
            path: path.to_owned(),
            theirs: theirs.to_string(),
            ours: ours.to_string(),
            seconds: left.as_secs() + 1,
        }),
    }
}

/// Renews the time stamp by the file system's own clock; `false` once the note is no longer ours.
fn renew(path: &Path, ours: &NotedHost) -> bool {
    let Ok(file) = open::open_to_read(path) else { return path.exists() };
    match read_open(&file) {
        Ok(holder) if holder.as_ref() != Some(ours) => return false,
        // What cannot be read now may be read in a minute.
        Ok(_) | Err(_) => {}
    }
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    futimens(&file, &Timestamps { last_access: now, last_modification: now }).ok();
    true
}

/// The time stamp that the file system gives to what is written now.
fn time_of_file_system(note: &Path) -> Result<SystemTime, DiskError> {
    let path = disk::staging_name(note);
    disk::remove_if_exists(&path)?;
    let file = open::create(&path, 0o600).map_err(DiskError::at("create", &path))?;
    let now = file.metadata().and_then(|meta| meta.modified()).map_err(DiskError::at("stat", &path));
    disk::remove_if_exists(&path)?;
    now
}

/// Who holds the lock by its note; `None` without one, or with one that was cut short.
fn read(path: &Path) -> Result<Option<NotedHost>, DiskError> {
    match open::open_to_read(path) {
        Ok(file) => read_open(&file).map_err(DiskError::at("read", path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DiskError::at("open", path)(error)),
    }
}

fn read_open(file: &File) -> io::Result<Option<NotedHost>> {
    let mut bytes = vec![0; 2 * NOTE_BYTES];
    let length = file.read_at(&mut bytes, 0)?;
    Ok(serde_json::from_slice(&bytes[..length]).ok())
}

fn note_path(lock: &Path) -> PathBuf {
    lock.with_extension("host")
}

/// This host; `None` if its boot id is not known, as in a service that is shown no `/proc/sys` and given
/// no variable.
fn this_host() -> Option<NotedHost> {
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let boot = config::boot_id().or_else(kernel).as_deref().and_then(boot_id)?;
    let mut name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    while name.len() > MAX_NAME_BYTES {
        name.pop();
    }
    Some(NotedHost { boot, name })
}

impl std::fmt::Display for NotedHost {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} (boot {})", self.name, self.boot.get(..8).unwrap_or(&self.boot))
    }
}
