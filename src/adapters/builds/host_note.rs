//! Which host holds a lock: a note beside the lock, renewed while it is held.
//!
//! On a network file system a lock may be local to its host, so that two hosts
//! could both have it. The note has the boot id of the holder, who renews its
//! time stamp every minute and empties it with the lock: a pass that changes
//! nothing changes no directory either. What a crash left is ignored under the
//! same boot, where the lock says enough, and after five minutes under another.
//! It is never flushed: no lock outlives a power cut. Where the boot id is not
//! known nothing is noted or checked.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::disk;
use super::disk_error::DiskError;
use super::error::BuildsError;
use super::layout::Layout;
use super::open;
use crate::config;
use crate::decide::other_host::{alive_for, boot_id};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};

/// Bytes of a note at the most: the name of a host has 64.
const MAX_BYTES: usize = 256;

/// A host, in the run of its system that this is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NotedHost {
    boot: String,
    name: String,
}

/// The note of a lock that this process holds; dropping it empties it.
#[derive(Debug)]
pub(super) struct HostNote(NoteRenewal);

/// Renews a note.
#[derive(Clone, Debug)]
pub struct NoteRenewal {
    path: PathBuf,
    ours: NotedHost,
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
    let line = format!("{} {}\n", ours.boot, ours.name);
    let file = open::open_or_create(&path, 0o600).map_err(DiskError::at("open", &path))?;
    file.write_all_at(line.as_bytes(), 0).map_err(DiskError::at("write", &path))?;
    Ok(Some(HostNote(NoteRenewal { path, ours })))
}

impl HostNote {
    /// What renews the note; it may outlive the note, which it never makes again.
    pub(super) fn renewal(&self) -> NoteRenewal {
        self.0.clone()
    }
}

impl Drop for HostNote {
    fn drop(&mut self) {
        let NoteRenewal { path, ours } = &self.0;
        // Another host may have taken over while this one slept. A note that stays ages.
        if read(path).is_ok_and(|holder| holder.as_ref() == Some(ours)) {
            open::open_to_write(path).and_then(|note| note.set_len(0)).ok();
        }
    }
}

impl NoteRenewal {
    /// Renews the time stamp by the file system's own clock, as long as the note is ours. It may block.
    pub fn renew(&self) {
        let Ok(file) = open::open_to_read(&self.path) else { return };
        if read_open(&file).is_ok_and(|holder| holder.as_ref() == Some(&self.ours)) {
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            // A stamp that stays old ends the protection early; the next renewal tries again.
            futimens(&file, &Timestamps { last_access: now, last_modification: now }).ok();
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
    let mut bytes = [0; MAX_BYTES];
    let length = file.read_at(&mut bytes, 0)?;
    Ok(parse(&bytes[..length]))
}

/// The first line: a longer note of before may have left more.
fn parse(note: &[u8]) -> Option<NotedHost> {
    let (line, _) = std::str::from_utf8(note).ok()?.split_once('\n')?;
    let (boot, name) = line.split_once(' ')?;
    Some(NotedHost { boot: boot_id(boot)?, name: name.to_owned() })
}

fn note_path(lock: &Path) -> PathBuf {
    lock.with_extension("host")
}

/// This host; `None` if its boot id is not known, as in a service that is shown no `/proc/sys` and given
/// no variable.
fn this_host() -> Option<NotedHost> {
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let boot = config::boot_id().or_else(kernel).as_deref().and_then(boot_id)?;
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Some(NotedHost { boot, name })
}

impl std::fmt::Display for NotedHost {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} (boot {})", self.name, self.boot.get(..8).unwrap_or(&self.boot))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A note of another time, and its renewal.
    fn old_note(folder: &Path) -> (PathBuf, HostNote) {
        let note = write(&folder.join("lock")).unwrap().expect("the boot id of this system");
        let path = folder.join("lock.host");
        set_age(&path);
        (path, note)
    }

    fn set_age(path: &Path) {
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }

    fn is_recent(path: &Path) -> bool {
        let modified = path.metadata().unwrap().modified().unwrap();
        modified > SystemTime::UNIX_EPOCH + Duration::from_secs(1)
    }

    #[test]
    fn a_note_is_renewed_as_long_as_it_is_ours_and_emptied_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (path, note) = old_note(folder.path());
        let renewal = note.renewal();

        renewal.renew();
        assert!(is_recent(&path));

        drop(note);
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        set_age(&path);
        renewal.renew();
        assert!(!is_recent(&path), "never renewed again");
    }

    #[test]
    fn a_note_that_another_host_took_over_is_neither_renewed_nor_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let (path, note) = old_note(folder.path());
        std::fs::write(&path, "22222222222222222222222222222222 elsewhere\n").unwrap();
        set_age(&path);

        note.renewal().renew();
        assert!(!is_recent(&path));
        drop(note);
        assert!(!std::fs::read(&path).unwrap().is_empty());
    }

    #[test]
    fn a_note_is_read_up_to_its_end_and_one_that_was_cut_short_is_none() {
        let boot = "0123456789abcdef0123456789abcdef";
        let host = |name: &str| Some(NotedHost { boot: boot.to_owned(), name: name.to_owned() });
        for (note, expected) in [
            (format!("{boot} a\n"), host("a")),
            (format!("{boot} a\nlonger.example\n"), host("a")),
            (format!("{boot} a b\n"), host("a b")),
            (format!("{boot} a"), None),
            (format!("{boot}\n"), None),
            (format!("{} a\n", &boot[1..]), None),
            (String::new(), None),
            ("\0\0\0".to_owned(), None),
        ] {
            assert_eq!(parse(note.as_bytes()), expected, "{note:?}");
        }
    }
}
