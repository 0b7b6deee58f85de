//! Whether a file with a rollback journal is at rest: no process writes it, and a write would show.
//!
//! Where a write would show is `decide::lock_free`'s. A writer that has begun
//! has a lock or a journal.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::file_system::FileSystem;
use super::header::DatabaseHeader;
use crate::domain::sibling_path::sibling_path;

/// Whether the file may be read without locks, provided that it is the same afterwards.
pub(super) fn is_quiescent(path: &Path, header: &DatabaseHeader, file_system: &FileSystem) -> bool {
    !header.wal
        && !header.has_writer
        && header.identity.wal_bytes == 0
        && header.identity.shows_each_write(file_system)
        && is_journal_inactive(&sibling_path(path, "-journal"))
}

/// Whether the journal is missing, empty, or was zeroed by a writer that keeps it for the next time.
pub(super) fn is_journal_inactive(journal: &Path) -> bool {
    match std::fs::metadata(journal) {
        Ok(meta) if meta.len() == 0 => meta.is_file(),
        Ok(meta) => meta.is_file() && first_byte(journal).is_ok_and(|first| first == 0),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

fn first_byte(journal: &Path) -> std::io::Result<u8> {
    let mut first = [0];
    File::open(journal)?.read_exact(&mut first)?;
    Ok(first[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_inactive_when_it_is_missing_empty_or_zeroed() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("experts.db-journal");
        assert!(is_journal_inactive(&journal), "missing");
        for (bytes, is_inactive) in [(&b""[..], true), (&[0; 512], true), (&[0xd9, 0xd5, 0x05, 0xf9], false)]
        {
            std::fs::write(&journal, bytes).unwrap();
            assert_eq!(is_journal_inactive(&journal), is_inactive, "{bytes:?}");
        }
        assert!(!is_journal_inactive(folder.path()), "a directory");
    }
}
