//! Whether a file with a rollback journal is at rest: nobody writes it, and if somebody began to, it would show.
//!
//! A write changes the time of last change before it changes a byte, so a file
//! whose times are older than the clock's grain cannot be written unnoticed.
//! That holds for file systems of this machine; where another machine may write
//! too, locks alone can tell.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::header::DatabaseHeader;
use super::sibling;

/// Where SQLite's locks lie in the file: one byte for a writer who waits, one for a
/// writer who has begun, and those of all readers.
const LOCKS: (u64, u64) = (0x4000_0000, 512);
/// ext2 to ext4, XFS, btrfs, tmpfs, F2FS, ZFS, overlayfs.
const LOCAL: [i64; 7] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010, 0x2FC1_2FC1, 0x794C_7630];

/// Whether the file may be read without locks, if it is the same afterwards.
pub(super) fn is_quiescent(path: &Path, header: &DatabaseHeader) -> bool {
    !header.wal
        && !header.has_writer
        && header.identity.wal_bytes == 0
        && header.identity.is_settled()
        && is_journal_inactive(&sibling(path, "-journal"))
        && is_local(path)
}

/// Whether another process has a lock on the file that only writers take.
pub(super) fn has_writer(file: &File) -> bool {
    let (start, length) = LOCKS;
    let asked =
        Flock { start, length, pid: None, typ: FlockType::ReadLock, offset_type: FlockOffsetType::Set };
    // Where nobody can say, somebody may.
    !matches!(fcntl_getlk(file, &asked), Ok(None))
}

/// Whether the journal is missing, empty, or was crossed out by a writer who keeps it for the next time.
fn is_journal_inactive(journal: &Path) -> bool {
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

#[allow(clippy::useless_conversion, reason = "on other machines it is a narrower number")]
fn is_local(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| LOCAL.contains(&i64::from(stat.f_type)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_inactive_when_it_is_missing_empty_or_zeroed() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("experts.db-journal");
        assert!(is_journal_inactive(&journal), "missing");
        for (bytes, dead) in [(&b""[..], true), (&[0; 512], true), (&[0xd9, 0xd5, 0x05, 0xf9], false)] {
            std::fs::write(&journal, bytes).unwrap();
            assert_eq!(is_journal_inactive(&journal), dead, "{bytes:?}");
        }
        assert!(!is_journal_inactive(folder.path()), "a directory");
    }

    #[test]
    fn a_folder_of_this_machine_is_local_and_one_of_the_kernel_is_not() {
        assert!(is_local(&std::env::temp_dir()));
        assert!(!is_local(Path::new("/proc")));
    }
}
