//! The names of files that stand beside another file and are called after it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// `path` with `suffix` added to its last name: `data/a.db` and `-wal` give `data/a.db-wal`.
#[must_use]
pub fn sibling_path(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_follows_the_last_name_whatever_its_ending() {
        let cases = [("a.db", "a.db-wal"), ("data/a", "data/a-wal"), ("/d.x/.a", "/d.x/.a-wal")];
        for (path, expected) in cases {
            assert_eq!(sibling_path(Path::new(path), "-wal"), Path::new(expected));
        }
    }
}
