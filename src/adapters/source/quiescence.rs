//! Whether a file with a rollback journal is at rest: no process writes it, and a write would show.
//!
//! A write changes the time of last change before it changes a byte, so a file
//! whose times are older than the clock's resolution cannot be written
//! unnoticed. That holds for file systems of this machine; where another
//! machine may write too, only locks are proof.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::header::DatabaseHeader;
use crate::domain::sibling_path::sibling_path;

/// ext2 to ext4, XFS, btrfs, tmpfs, F2FS, ZFS, overlayfs.
const LOCAL: [i64; 7] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010, 0x2FC1_2FC1, 0x794C_7630];

/// Whether the file may be read without locks, provided that it is the same afterwards.
pub(super) fn is_quiescent(path: &Path, header: &DatabaseHeader) -> bool {
    !header.wal
        && !header.has_writer
        && header.identity.wal_bytes == 0
        && header.identity.is_settled()
        && is_journal_inactive(&sibling_path(path, "-journal"))
        && is_local(path)
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
        for (bytes, is_inactive) in [(&b""[..], true), (&[0; 512], true), (&[0xd9, 0xd5, 0x05, 0xf9], false)]
        {
            std::fs::write(&journal, bytes).unwrap();
            assert_eq!(is_journal_inactive(&journal), is_inactive, "{bytes:?}");
        }
        assert!(!is_journal_inactive(folder.path()), "a directory");
    }

    #[test]
    fn a_folder_of_this_machine_is_local_and_one_of_the_kernel_is_not() {
        assert!(is_local(&std::env::temp_dir()));
        assert!(!is_local(Path::new("/proc")));
    }
}
