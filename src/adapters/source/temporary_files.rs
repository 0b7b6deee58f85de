//! SQLite's temporary files, in which it sorts what does not fit into memory.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::config::sqlite_temporary_directories;

/// How `/proc` shows them: made without a name, or under one that is removed at once.
const PREFIXES: [&str; 2] = ["#", "etilqs_"];

/// What this process has in such files; 0 where the system does not say.
pub(super) fn bytes() -> u64 {
    let Ok(files) = std::fs::read_dir("/proc/self/fd") else { return 0 };
    let bytes = |file: std::fs::DirEntry| {
        let target = std::fs::read_link(file.path()).ok()?;
        let name = target.file_name()?.to_str()?;
        let is_temporary = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        is_temporary.then(|| std::fs::metadata(file.path()).map_or(0, |file| file.len()))
    };
    files.filter_map(|file| bytes(file.ok()?)).sum()
}

/// Where SQLite makes them, for a message.
pub(super) fn place() -> String {
    first_usable(sqlite_temporary_directories()).map_or_else(
        || "in any of $SQLITE_TMPDIR, $TMPDIR, /var/tmp, /usr/tmp and /tmp".to_owned(),
        |directory| format!("in {}", directory.display()),
    )
}

/// The first directory that this process may write in, in SQLite's order.
fn first_usable(named: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let known = ["/var/tmp", "/usr/tmp", "/tmp", "."].map(PathBuf::from);
    let may_write =
        |path: &Path| accessat(CWD, path, Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty()).is_ok();
    named.chain(known).find(|path| path.is_dir() && may_write(path))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_of_sqlite_without_a_name_counts_with_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etilqs_0123456789abcdef");
        let mut file = std::fs::File::create(&path).unwrap();
        std::fs::remove_file(&path).unwrap();

        file.write_all(&[0; 12_345]).unwrap();

        // Other tests of this process may have some as well.
        assert!(bytes() >= 12_345, "{}", bytes());
    }

    #[test]
    fn temporary_files_are_in_the_first_directory_that_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "").unwrap();
        std::fs::create_dir(path("one")).unwrap();
        std::fs::create_dir(path("two")).unwrap();
        for (named, expected) in
            [(&["one", "two"][..], "one"), (&["missing", "two"], "two"), (&["file", "one"], "one")]
        {
            let named = named.iter().map(|name| path(name));
            assert_eq!(first_usable(named), Some(path(expected)), "{expected}");
        }
        assert!(first_usable(std::iter::empty()).is_some_and(|found| found.is_absolute()));
    }
}
