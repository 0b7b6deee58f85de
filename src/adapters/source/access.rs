//! How this process may open the database file: as its owner, as a reader, or without locks.
//!
//! The owner's pass opens it as any client does, so that closing leaves the
//! directory as any client would. Every other user, and every preview, only
//! reads, never makes a file next to the database, and reads an idle WAL
//! database without locks. A file with a
//! rollback journal that is at rest needs no locks for any user: `quiescence`.
//! Reading without locks is safe only while nothing writes, so `sqlite`
//! compares the file's identity before and after.

use std::fs::File;
use std::path::Path;

use super::error::SourceError;
use super::header::{DatabaseHeader, FileIdentity};
use super::quiescence::{is_journal_inactive, is_quiescent};
use crate::domain::sibling_path::sibling_path;

/// What a read of the source is for, which decides what it may leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A pass opens the file as any client of its user does: what a writer left
    /// behind may be rolled back or folded in.
    Pass,
    /// A preview leaves the file and its directory as they are.
    Preview,
}

/// When to take locks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LockPolicy {
    /// Not while the file is at rest.
    IfNeeded,
    /// Wherever this process may.
    Always,
}

/// How this process may open the file.
pub(super) enum AccessMode {
    /// As its owner, in a directory where the owner may write, for a pass.
    Owner,
    /// Only reading, with the locks that a reader takes.
    Reader,
    /// Only reading, without locks, while nothing writes.
    Immutable(FileIdentity),
}

impl AccessMode {
    /// Decides from the file's header and its neighbours.
    ///
    /// # Errors
    ///
    /// [`SourceError`] for a state that may be over a moment later: the caller tries again.
    pub(super) fn choose(
        path: &Path,
        header: &DatabaseHeader,
        purpose: Purpose,
        locks: LockPolicy,
    ) -> Result<Self, SourceError> {
        if locks == LockPolicy::IfNeeded && is_quiescent(path, header) {
            return Ok(Self::Immutable(header.identity));
        }
        let is_owner = header.identity.uid == rustix::process::geteuid().as_raw();
        let directory = path.parent().unwrap_or(Path::new("/"));
        if purpose == Purpose::Pass && is_owner && can_write(directory) && can_write(path) {
            return Ok(Self::Owner);
        }
        if !header.wal {
            let journal = sibling_path(path, "-journal");
            // SQLite would find that out itself, but opens the journal for writing where it may.
            if purpose == Purpose::Preview && !header.has_writer && !is_journal_inactive(&journal) {
                return Err(SourceError::HotJournal { path: path.to_owned() });
            }
            return Ok(Self::Reader);
        }
        if header.identity.wal_bytes > 0 {
            return match wal_obstacle(path) {
                None => Ok(Self::Reader),
                // A writer that opens or closes just now passes through this state.
                Some(found) => {
                    Err(SourceError::WalUnreadable { path: path.to_owned(), found: found.to_owned() })
                }
            };
        }
        if header.identity.is_settled() {
            return Ok(Self::Immutable(header.identity));
        }
        // Changed too recently to be read without locks: a write within the same
        // time stamp would not show. A moment later it is settled.
        Err(SourceError::Changed { path: path.to_owned() })
    }
}

/// What keeps a reader from using a log that is not empty.
fn wal_obstacle(path: &Path) -> Option<&'static str> {
    let shm = sibling_path(path, "-shm");
    if !shm.exists() {
        Some("-shm is missing")
    } else if File::open(sibling_path(path, "-wal")).is_err() {
        Some("-wal is not readable")
    } else if File::open(&shm).is_err() {
        Some("-shm is not readable")
    } else {
        None
    }
}

fn can_write(path: &Path) -> bool {
    rustix::fs::accessat(rustix::fs::CWD, path, rustix::fs::Access::WRITE_OK, rustix::fs::AtFlags::EACCESS)
        .is_ok()
}
