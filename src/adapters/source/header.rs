//! What the file itself shows before SQLite opens it: owner, kind of journal, state.
//!
//! Reading the header opens and closes the file, which drops every lock that
//! this process has on it: never while a connection with locks is open.
//! `scan` holds to that; whether a file counts as at rest is `quiescence`'s.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::error::SourceError;
use super::file_system::FileSystem;
use crate::decide::lock_free::{Stamp, has_fine_stamps, is_at_rest};
use crate::domain::file_kind::kind_of;
use crate::domain::sibling_path::sibling_path;

/// How each database begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Where SQLite's locks lie in the file: one byte for a writer that waits, one for a
/// writer that has begun, and those of all readers.
const LOCKS: (u64, u64) = (0x4000_0000, 512);

/// What distinguishes one state of an unlocked file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
    pub(super) bytes: u64,
    pub(super) modified: Stamp,
    pub(super) changed: Stamp,
    pub(super) uid: u32,
    /// The header: kind of journal, change counter, number of pages, schema's number, and the version that
    /// wrote last.
    head: [u8; DatabaseHeader::BYTES],
    /// Length of the `-wal` file; 0 where there is none.
    pub(super) wal_bytes: u64,
}

impl FileIdentity {
    pub(super) fn of(path: &Path) -> Result<Self, SourceError> {
        Ok(DatabaseHeader::read(path)?.identity)
    }

    /// Whether a file that had settled is still the same, by `stat` alone: while a connection holds
    /// locks the file must not be opened.
    pub(super) fn is_unchanged(&self, path: &Path) -> bool {
        let same = |meta: std::fs::Metadata| {
            (meta.dev(), meta.ino(), meta.len()) == (self.device, self.inode, self.bytes)
                && (meta.mtime(), meta.mtime_nsec()) == self.modified
                && (meta.ctime(), meta.ctime_nsec()) == self.changed
        };
        std::fs::metadata(path).is_ok_and(same)
    }

    /// Whether no write can have gone unnoticed since it was looked at, if it is the same afterwards.
    #[allow(clippy::disallowed_methods, reason = "file times are compared with the clock that made them")]
    pub(super) fn shows_each_write(&self, file_system: &FileSystem) -> bool {
        // A clock before 1970 proves nothing.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.has_fine_stamps(file_system)
            && now.is_ok_and(|now| is_at_rest([self.modified, self.changed], now))
    }

    /// Whether a write can be distinguished from the one before, if it is not too recent.
    pub(super) fn has_fine_stamps(&self, file_system: &FileSystem) -> bool {
        has_fine_stamps(file_system.magic, &file_system.layers, self.changed)
    }
}

/// The first hundred bytes of the file, and what `stat` says of it.
pub(super) struct DatabaseHeader {
    pub(super) wal: bool,
    pub(super) identity: FileIdentity,
    /// Whether another process writes it, or is about to.
    pub(super) has_writer: bool,
}

impl DatabaseHeader {
    const BYTES: usize = 100;

    pub(super) fn read(path: &Path) -> Result<Self, SourceError> {
        let io = |act| move |source: std::io::Error| SourceError::Io { act, path: path.to_owned(), source };
        let meta = std::fs::metadata(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => SourceError::Missing { path: path.to_owned() },
            _ => io("stat")(source),
        })?;
        if !meta.is_file() {
            let found = if meta.is_dir() { "a directory" } else { "a device, fifo or socket" };
            return Err(SourceError::NotAFile { path: path.to_owned(), found });
        }
        let mut head = Vec::with_capacity(Self::BYTES);
        let file = File::open(path).map_err(io("open"))?;
        let has_writer = has_writer(&file);
        file.take(Self::BYTES as u64).read_to_end(&mut head).map_err(io("read"))?;
        let wrong = |found: String| SourceError::NotADatabase { path: path.to_owned(), found };
        for path in ["-wal", "-shm", "-journal"].map(|suffix| sibling_path(path, suffix)) {
            // SQLite would follow a link elsewhere, and wait at a fifo without end.
            if path.symlink_metadata().is_ok_and(|meta| !meta.is_file()) {
                let found = if path.is_symlink() { "a link" } else { "a directory, device, fifo or socket" };
                return Err(SourceError::NotAFile { path, found });
            }
        }
        if head.is_empty() {
            return Err(wrong("the file is empty".to_owned()));
        }
        let head: [u8; Self::BYTES] = match head.try_into() {
            Ok(head) => head,
            Err(head) => return Err(wrong(described(&head))),
        };
        if !head.starts_with(MAGIC) {
            return Err(wrong(described(&head)));
        }
        let wal_bytes = length_of_log(sibling_path(path, "-wal"))?;
        let identity = FileIdentity {
            device: meta.dev(),
            inode: meta.ino(),
            bytes: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            uid: meta.uid(),
            head,
            wal_bytes,
        };
        Ok(Self { wal: head[18] == 2 || head[19] == 2, identity, has_writer })
    }
}

/// A log that cannot be asked for its length is not an empty one: what is committed may be in it.
fn length_of_log(path: PathBuf) -> Result<u64, SourceError> {
    match std::fs::metadata(&path) {
        Ok(log) => Ok(log.len()),
        // A name that is too long has no file.
        Err(source) if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::InvalidFilename) => Ok(0),
        Err(source) => Err(SourceError::Io { act: "stat the log of", path, source }),
    }
}

/// What a file is that is not a whole header.
fn described(head: &[u8]) -> String {
    match kind_of(head) {
        "a SQLite database" => format!("it ends after {} bytes", head.len()),
        kind => format!("it is {kind}"),
    }
}

/// Whether another process has a lock on the file that only writers take.
fn has_writer(file: &File) -> bool {
    let (start, length) = LOCKS;
    let asked =
        Flock { start, length, pid: None, typ: FlockType::ReadLock, offset_type: FlockOffsetType::Set };
    // Where the system cannot say, there may be one.
    !matches!(fcntl_getlk(file, &asked), Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_empty_only_where_there_is_none_and_not_where_it_cannot_be_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("log"), [0; 32]).unwrap();

        assert_eq!(length_of_log(path("log")).unwrap(), 32);
        assert_eq!(length_of_log(path("missing")).unwrap(), 0);
        assert_eq!(length_of_log(path(&"x".repeat(256))).unwrap(), 0);
        let failed = length_of_log(path("log/below-a-file"));
        assert!(matches!(failed, Err(SourceError::Io { .. })), "{failed:?}");
    }
}
