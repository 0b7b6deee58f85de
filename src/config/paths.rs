//! Paths in the settings: each one names a file, and no two conflict.
//!
//! Paths are kept as they were written, relative to the working directory, and
//! compared as texts. Links and mounts are found by `builds`, which owns the
//! directory.

use std::path::{Component, Path, PathBuf};

/// The names beside the index that only reindexd may use.
pub(crate) const RESERVED: [&str; 4] = [BUILDS, CURRENT, SERVED, PRIVATE];
/// The directory of the builds.
pub(crate) const BUILDS: &str = "builds";
/// The link to the served build.
pub(crate) const CURRENT: &str = "current";
/// The plain file that names the served build.
pub(crate) const SERVED: &str = "served.json";
/// The directory of locks, cache and state.
pub(crate) const PRIVATE: &str = ".reindexd";
/// The ending of names that the sweep removes.
pub(crate) const STAGING: &str = ".staging";

/// Checks that a text can be the name of a file. The error says what was expected.
pub(super) fn checked(text: &str) -> Result<PathBuf, String> {
    if text.contains('\0') {
        return Err("a path without NUL in it".to_owned());
    }
    if text.starts_with("~/") {
        return Err("a path written in full: ~ is not expanded".to_owned());
    }
    let path = Path::new(text);
    if text.ends_with('/') || text.ends_with("/.") || path.file_name().is_none() {
        return Err("a path that ends in the name of a file".to_owned());
    }
    Ok(path.to_path_buf())
}

/// Finds the first path that conflicts with another.
///
/// `all` holds keys with their paths; `index` is the one beside which builds
/// are kept. Gives the place in `all` of the path to change, and what was expected.
pub(super) fn conflict(all: &[(String, &Path)], index: &Path) -> Option<(usize, String)> {
    let index = plain(index);
    let home = index.parent().map(Path::to_path_buf).unwrap_or_default();
    for (nth, (_, path)) in all.iter().enumerate() {
        let path = plain(path);
        if let Some((other, _)) = all[..nth].iter().find(|(_, other)| plain(other) == path) {
            return Some((nth, format!("a path other than that of {other}")));
        }
        if let Some(name) = RESERVED.iter().find(|name| path.starts_with(home.join(name))) {
            return Some((
                nth,
                format!("a path outside {}, which belongs to the builds", home.join(name).display()),
            ));
        }
        // The sweep removes such files beside the index.
        if path.parent() == Some(&home) && path.as_os_str().as_encoded_bytes().ends_with(STAGING.as_bytes()) {
            return Some((
                nth,
                "a name that does not end in .staging: the sweep removes such files".to_owned(),
            ));
        }
    }
    None
}

/// The path without `.` in it.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_file_is_taken() {
        for text in ["a", "a/b", "/a/b.c", "./a", "../a", "a/../b", "a b", "é"] {
            assert_eq!(checked(text), Ok(PathBuf::from(text)), "{text:?}");
        }
        for text in ["", ".", "..", "/", "a/", "a/..", "a/.", "a\0b", "~/a"] {
            assert!(checked(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn conflicting_paths_are_found() {
        let table = [
            ("data/experts.db", "data/metadata.json", None),
            ("data/experts.db", "api/metadata.json", None),
            ("data/experts.db", "builds/metadata.json", None),
            ("data/faiss.index", "data/metadata.json", Some("database")),
            ("./data/./faiss.index", "data/metadata.json", Some("database")),
            ("data/experts.db", "./data/experts.db", Some("metadata")),
            ("data/builds/x/experts.db", "data/metadata.json", Some("database")),
            ("data/experts.db", "data/current/metadata.json", Some("metadata")),
            ("data/experts.db", "data/served.json", Some("metadata")),
            ("data/.reindexd", "data/metadata.json", Some("database")),
            ("data/experts.staging", "data/metadata.json", Some("database")),
            ("other/experts.staging", "data/metadata.json", None),
        ];
        let index = Path::new("data/faiss.index");
        for (database, metadata, expected) in table {
            let all =
                named(&[("index", index.to_str().unwrap()), ("database", database), ("metadata", metadata)]);
            let found = conflict(&all, index).map(|(nth, _)| all[nth].0.as_str());
            assert_eq!(found, expected, "{database} {metadata}");
        }
        let bare = Path::new("faiss.index");
        for metadata in ["current", "m.staging"] {
            assert!(conflict(&named(&[("index", "faiss.index"), ("metadata", metadata)]), bare).is_some());
        }
    }

    fn named<'a>(paths: &[(&str, &'a str)]) -> Vec<(String, &'a Path)> {
        paths.iter().map(|(key, path)| ((*key).to_owned(), Path::new(*path))).collect()
    }
}
