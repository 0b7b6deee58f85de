//! How this process may open the database file: as its owner, as a reader, or without locks.
//!
//! The owner's pass opens it as any client does, so that closing leaves the
//! directory as any client would. Every other user, and every preview, only
//! reads, never makes a file next to the database, and reads an idle WAL
//! database without locks. A file with a rollback journal that is at rest needs
//! no locks for any user: `quiescence`. Reading without locks is safe only while
//! nothing writes, so `sqlite` compares the file's identity before and after, and
//! it is done only where each write shows in that: `decide::lock_free`.

use std::fs::File;
use std::path::Path;

use super::error::SourceError;
use super::failure::SqliteFailure::{self, Final, Wait};
use super::file_system::FileSystem;
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
    /// The state that keeps it from being opened, and whether it may be over a moment later.
    pub(super) fn choose(
        path: &Path,
        header: &DatabaseHeader,
        file_system: &FileSystem,
        purpose: Purpose,
        locks: LockPolicy,
    ) -> Result<Self, SqliteFailure> {
        let owned = || path.to_owned();
        if locks == LockPolicy::IfNeeded && is_quiescent(path, header, file_system) {
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
                return Err(Wait(SourceError::HotJournal { path: owned() }));
            }
            return Ok(Self::Reader);
        }
        let obstacle = wal_obstacle(path);
        if header.identity.wal_bytes > 0 {
            return match obstacle {
                None => Ok(Self::Reader),
                // A writer that opens or closes just now passes through this state.
                Some(found) => {
                    Err(Wait(SourceError::WalUnreadable { path: owned(), found: found.to_owned() }))
                }
            };
        }
        if header.identity.shows_each_write(file_system) {
            return Ok(Self::Immutable(header.identity));
        }
        if header.identity.has_fine_stamps(file_system) {
            // Changed too recently to be read without locks. A moment later it is at rest.
            return Err(Wait(SourceError::Changed { path: owned() }));
        }
        match obstacle {
            None => Ok(Self::Reader),
            Some(found) => Err(Final(SourceError::NeedsLocks {
                path: owned(),
                file_system: file_system.name(path),
                found,
            })),
        }
    }
}

/// What keeps a reader from reading with locks, which takes the log and its index.
fn wal_obstacle(path: &Path) -> Option<&'static str> {
    let (wal, shm) = (sibling_path(path, "-wal"), sibling_path(path, "-shm"));
    if !shm.exists() {
        Some("-shm is missing")
    } else if !wal.exists() {
        Some("-wal is missing")
    } else if File::open(wal).is_err() {
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

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    const EXT4: i64 = 0xEF53;
    const NFS: i64 = 0x6969;

    /// A database in this journal mode, and its header as if it had last changed at this time.
    fn database(folder: &Path, mode: &str, changed: (i64, i64)) -> (std::path::PathBuf, DatabaseHeader) {
        let path = folder.join("experts.db");
        let writer = Connection::open(&path).unwrap();
        writer.pragma_update(None, "journal_mode", mode).unwrap();
        writer.execute_batch("CREATE TABLE experts (id)").unwrap();
        drop(writer);
        let mut header = DatabaseHeader::read(&path).unwrap();
        (header.identity.modified, header.identity.changed) = ((1_000, 5), changed);
        (path, header)
    }

    fn chosen(
        path: &Path,
        header: &DatabaseHeader,
        magic: i64,
        purpose: Purpose,
        locks: LockPolicy,
    ) -> String {
        let file_system = FileSystem { magic, layers: Vec::new() };
        match AccessMode::choose(path, header, &file_system, purpose, locks) {
            Ok(AccessMode::Owner) => "owner".to_owned(),
            Ok(AccessMode::Reader) => "reader".to_owned(),
            Ok(AccessMode::Immutable(_)) => "no locks".to_owned(),
            Err(Wait(SourceError::Changed { .. })) => "a moment later".to_owned(),
            Err(Final(error @ SourceError::NeedsLocks { .. })) => error.to_string(),
            Err(Wait(error) | Final(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn a_journal_at_rest_needs_no_locks_where_each_write_shows_and_locks_elsewhere() {
        use LockPolicy::{Always, IfNeeded};
        use Purpose::{Pass, Preview};
        let now = i64::MAX / 2;
        for (magic, changed, purpose, locks, expected) in [
            (EXT4, (1_000, 5), Pass, IfNeeded, "no locks"),
            (EXT4, (1_000, 5), Preview, IfNeeded, "no locks"),
            (EXT4, (1_000, 5), Pass, Always, "owner"),
            // Whole seconds, as ext4 keeps them in inodes of 128 bytes.
            (EXT4, (1_000, 0), Pass, IfNeeded, "owner"),
            (EXT4, (1_000, 0), Preview, IfNeeded, "reader"),
            (NFS, (1_000, 5), Pass, IfNeeded, "owner"),
            (NFS, (1_000, 5), Preview, IfNeeded, "reader"),
            (NFS, (now, 5), Preview, Always, "reader"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (path, header) = database(folder.path(), "delete", changed);
            assert_eq!(chosen(&path, &header, magic, purpose, locks), expected, "{magic:x} {changed:?}");
        }
    }

    #[test]
    fn an_idle_log_is_read_without_locks_where_each_write_shows_and_else_refused() {
        for (magic, changed, expected) in [
            (EXT4, (1_000, 5), "no locks"),
            (EXT4, (1_000, 0), "so it is not read without locks"),
            (NFS, (1_000, 5), "so it is not read without locks"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (path, header) = database(folder.path(), "wal", changed);
            let mode = |purpose| chosen(&path, &header, magic, purpose, LockPolicy::IfNeeded);
            let found = mode(Purpose::Preview);
            assert!(found.contains(expected), "{magic:x} {changed:?}: {found}");
            assert_eq!(mode(Purpose::Pass), "owner");
        }
    }

    #[test]
    fn a_log_that_its_writer_keeps_open_is_read_with_locks_where_a_write_need_not_show() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = database(folder.path(), "wal", (1_000, 5));
        let writer = Connection::open(&path).unwrap();
        writer.query_row("SELECT count(*) FROM experts", [], |_| Ok(())).unwrap();
        let header = DatabaseHeader::read(&path).unwrap();
        assert_eq!(header.identity.wal_bytes, 0, "nothing was written since");

        assert_eq!(chosen(&path, &header, NFS, Purpose::Preview, LockPolicy::IfNeeded), "reader");
    }

    #[test]
    fn a_log_of_a_database_that_changed_just_now_is_read_a_moment_later() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = database(folder.path(), "wal", (1_000, 5));
        let header = DatabaseHeader::read(&path).unwrap();
        assert_ne!(header.identity.changed.1, 0, "a temporary directory keeps parts of a second");

        assert_eq!(chosen(&path, &header, EXT4, Purpose::Preview, LockPolicy::IfNeeded), "a moment later");
    }
}
