//! Locks: one pass at a time and one agent for a directory.
//!
//! A lock belongs to an open file description: the kernel releases it when the
//! process ends, however it ends, so no lock is ever stale. Which configuration
//! a directory belongs to is `claim`'s, and that no other host holds it,
//! `host_note`'s. Only the publishing user can open
//! a lock: a reader who holds one would stop all passes.
//!
//! Notes that are written during a pass, such as which build was announced,
//! have a lock of their own, held while one note is written.

use std::fs::{File, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use super::disk_error::DiskError;
use super::error::BuildsError;
use super::host_note::{self, HostNote, NoteRenewal};
use super::layout::Layout;
use super::open;

/// A process that can open a lock can hold it.
const LOCK_MODE: u32 = 0o600;

/// The right to change what is published, until it is dropped.
#[derive(Debug)]
pub struct PassLock {
    /// Emptied before the lock is released: after that the note is another's.
    note: Option<HostNote>,
    file: File,
}

/// Takes the lock of a pass; `None` if another process has it, [`BuildsError::OtherHost`] if a process of
/// another host has.
pub(super) fn try_lock(layout: &Layout) -> Result<Option<PassLock>, BuildsError> {
    try_lock_of_host(&layout.lock())
}

impl PassLock {
    /// What keeps other hosts away while the lock is held for longer than a minute; `None` where none are
    /// distinguished.
    #[must_use]
    pub fn renewal(&self) -> Option<NoteRenewal> {
        self.note.as_ref().map(HostNote::renewal)
    }

    /// Records that this pass ended well: what is served is the content that the table had. The time
    /// stamp of the lock says so, because a pass that found nothing new writes no file.
    pub fn record_good_end(&self, now: Timestamp) {
        // A time stamp that stays old only makes a later change look older.
        self.file.set_modified(SystemTime::from(now)).ok();
    }
}

/// When a pass last ended well here; `None` if none did.
#[must_use]
pub fn last_good_end(layout: &Layout) -> Option<Timestamp> {
    Timestamp::try_from(layout.lock().symlink_metadata().ok()?.modified().ok()?).ok()
}

/// Takes the lock of the one agent that may serve this directory; `None` if another agent has it.
///
/// # Errors
///
/// [`BuildsError::OtherHost`] if an agent of another host has it; [`BuildsError::Disk`] if the lock file
/// cannot be opened.
pub fn try_lock_agent(layout: &Layout) -> Result<Option<PassLock>, BuildsError> {
    try_lock_of_host(&layout.private.join("agent.lock"))
}

/// How long a note waits for another to be written, which takes milliseconds.
const NOTES_LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// The right to replace a note, or to sweep the directory of the notes.
#[derive(Debug)]
pub(super) struct NotesLock {
    _lock: File,
}

/// Takes the lock of the notes; `None` while one is being written.
pub(super) fn try_lock_notes(layout: &Layout) -> Result<Option<NotesLock>, DiskError> {
    Ok(try_lock_file(layout.private.join("notes.lock"))?.map(|lock| NotesLock { _lock: lock }))
}

/// Takes the lock of the notes, and waits for it. Fails if another process keeps it.
#[allow(clippy::disallowed_methods, reason = "bounded by NOTES_LOCK_TIMEOUT")]
pub(super) fn lock_notes(layout: &Layout) -> Result<NotesLock, DiskError> {
    let until = Instant::now() + NOTES_LOCK_TIMEOUT;
    loop {
        if let Some(lock) = try_lock_notes(layout)? {
            return Ok(lock);
        }
        if Instant::now() >= until {
            let path = layout.private.join("notes.lock");
            return Err(DiskError { act: "lock", path, source: ErrorKind::WouldBlock.into() });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether an agent serves this directory; `None` if its lock cannot be read.
#[must_use]
pub fn is_agent_running(layout: &Layout) -> Option<bool> {
    let path = layout.private.join("agent.lock");
    match open::open_to_read(&path) {
        // Released at once: an agent that starts just now tries for longer than that.
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Some(false),
            Err(TryLockError::WouldBlock) => Some(true),
            Err(TryLockError::Error(_)) => None,
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Some(false),
        Err(_) => None,
    }
}

/// A lock that one process of one host has, wherever the directory is.
fn try_lock_of_host(path: &Path) -> Result<Option<PassLock>, BuildsError> {
    let Some(file) = try_lock_file(path.to_owned())? else { return Ok(None) };
    Ok(Some(PassLock { note: host_note::write(path)?, file }))
}

fn try_lock_file(path: PathBuf) -> Result<Option<File>, DiskError> {
    let file = open::open_or_create(&path, LOCK_MODE).map_err(DiskError::at("open", &path))?;
    let mode = file.metadata().map_err(DiskError::at("stat", &path))?.permissions().mode() & 0o7777;
    if mode != LOCK_MODE {
        // As 0.1.0 made it: a group that could read it.
        file.set_permissions(Permissions::from_mode(LOCK_MODE)).map_err(DiskError::at("chmod", &path))?;
    }
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(DiskError { act: "lock", path, source }),
    }
}
