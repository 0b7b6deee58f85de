//! Locks: one pass at a time, one agent and one configuration for a directory.
//!
//! A lock belongs to an open file description: the kernel releases it when the
//! process ends, however it ends, so no lock is ever stale. The claim is a
//! small file that names the two published paths; a second configuration that
//! would publish from the same directory finds it and is refused.
//!
//! Notes that are written during a pass, such as which build was announced,
//! have a lock of their own, held while one note is written.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::disk;
use super::disk_error::DiskError;
use super::error::BuildsError;
use super::layout::Layout;
use super::mode::Mode;

/// How a lock is opened: what a link leads to is not our lock, and a fifo is not waited for.
pub(super) const LOCK_OPEN_FLAGS: i32 =
    rustix::fs::OFlags::NOFOLLOW.union(rustix::fs::OFlags::NONBLOCK).bits().cast_signed();

/// The right to change what is published, until it is dropped.
#[derive(Debug)]
pub struct PassLock {
    file: File,
}

/// Takes the lock of a pass; `None` if another process has it.
pub(super) fn try_lock(layout: &Layout) -> Result<Option<PassLock>, DiskError> {
    try_lock_file(layout.lock())
}

impl PassLock {
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
/// [`DiskError`] if the lock file cannot be opened.
pub fn try_lock_agent(layout: &Layout) -> Result<Option<PassLock>, DiskError> {
    try_lock_file(layout.private.join("agent.lock"))
}

/// How long a note waits for another to be written, which takes milliseconds.
const NOTES_LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// The right to replace a note, or to sweep the directory of the notes.
#[derive(Debug)]
pub(super) struct NotesLock {
    _lock: PassLock,
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
    match OpenOptions::new().read(true).custom_flags(LOCK_OPEN_FLAGS).open(path) {
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

fn try_lock_file(path: PathBuf) -> Result<Option<PassLock>, DiskError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .custom_flags(LOCK_OPEN_FLAGS)
        .open(&path)
        .map_err(DiskError::at("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(PassLock { file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(DiskError { act: "lock", path, source }),
    }
}

#[derive(Serialize, Deserialize, PartialEq)]
struct DirectoryClaim {
    index: String,
    metadata: String,
}

/// Whether this pair of names has claimed the directory; [`BuildsError::Claimed`] if another pair has.
pub(super) fn is_claimed(layout: &Layout) -> Result<bool, BuildsError> {
    let path = claim_path(layout);
    let theirs = match disk::read_small(&path, 1 << 16) {
        Ok(bytes) => serde_json::from_slice::<DirectoryClaim>(&bytes).ok(),
        Err(_) => None,
    };
    let (Some(theirs), ours) = (theirs, DirectoryClaim::of(layout)) else { return Ok(false) };
    if theirs == ours {
        return Ok(true);
    }
    let names = |claim: &DirectoryClaim| format!("{} and {}", claim.index, claim.metadata);
    Err(BuildsError::Claimed {
        path: layout.root.clone(),
        theirs: names(&theirs),
        ours: names(&ours),
        claim: path,
    })
}

/// Claims the directory for this pair of names. The caller holds the lock.
pub(super) fn claim(layout: &Layout) -> Result<(), BuildsError> {
    if is_claimed(layout)? {
        return Ok(());
    }
    let bytes = serde_json::to_vec(&DirectoryClaim::of(layout)).expect("two strings");
    let mode = Mode { file: 0o640, ..Mode::DEFAULT };
    Ok(disk::replace_file(&claim_path(layout), &bytes, mode)?)
}

impl DirectoryClaim {
    fn of(layout: &Layout) -> Self {
        let [index, metadata] = layout.public().map(|(link, target, _)| {
            let name = link.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            // The path from the name to `current` distinguishes directories without naming them.
            format!("{name} -> {}", target.display())
        });
        Self { index, metadata }
    }
}

fn claim_path(layout: &Layout) -> PathBuf {
    layout.private.join("claim.json")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::adapters::builds::Builds;

    proptest! {
        #[test]
        fn no_bytes_make_a_claim_that_is_not_one_and_ours_stays_ours(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            at in any::<prop::sample::Index>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let builds = Builds::at(&folder.path().join("faiss.index"), &folder.path().join("metadata.json")).unwrap();
            drop(builds.lock().unwrap().unwrap());
            prop_assert!(is_claimed(&builds.layout).unwrap());
            let path = claim_path(&builds.layout);
            let ours = std::fs::read(&path).unwrap();

            std::fs::write(&path, &bytes).unwrap();
            prop_assert!(!is_claimed(&builds.layout).unwrap());
            // Cut short it claims nothing, and is written again.
            std::fs::write(&path, &ours[..at.index(ours.len())]).unwrap();
            prop_assert!(!is_claimed(&builds.layout).unwrap());
            drop(builds.lock().unwrap().unwrap());
            prop_assert_eq!(std::fs::read(&path).unwrap(), ours);
        }
    }
}
