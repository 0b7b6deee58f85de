//! Names derived from a path: the files beside it that are called after it, and its directory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// `path` with `suffix` added to its last name: `data/a.db` and `-wal` give `data/a.db-wal`.
#[must_use]
pub fn sibling_path(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory that holds a name; `.` if the path is a bare name.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
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

    #[test]
    fn every_path_has_a_directory() {
        let cases = [("a", "."), ("./a", "."), ("data/a", "data"), ("/a", "/"), ("/", "/")];
        for (path, expected) in cases {
            assert_eq!(parent(Path::new(path)), Path::new(expected), "{path}");
        }
    }
}
