//! How this process may open the database file: as its owner, as a reader, or without locks.
//!
//! The owner opens it as any client does, so that closing leaves the directory
//! as any client would. Every other user only reads, never makes a file next to
//! the database, and reads an idle WAL database without locks. A file with a
//! rollback journal that is at rest needs no locks for any user: `quiescence`.
//! Reading without locks is safe only while nothing writes, so `sqlite`
//! compares the file's identity before and after.

use std::fs::File;
use std::path::Path;

use super::error::SourceError;
use super::header::{DatabaseHeader, FileIdentity};
use super::quiescence::is_quiescent;
use crate::domain::sibling_path::sibling_path;

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
    /// As its owner, in a directory where the owner may write.
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
        locks: LockPolicy,
    ) -> Result<Self, SourceError> {
        if locks == LockPolicy::IfNeeded && is_quiescent(path, header) {
            return Ok(Self::Immutable(header.identity));
        }
        let is_owner = header.identity.uid == rustix::process::geteuid().as_raw();
        let directory = path.parent().unwrap_or(Path::new("/"));
        if is_owner && can_write(directory) && can_write(path) {
            return Ok(Self::Owner);
        }
        if !header.wal {
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
