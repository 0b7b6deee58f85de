//! Paths in the settings: each one names a file, and no two conflict.
//!
//! Without `directory` in the settings file, paths are kept as they were
//! written, relative to the working directory. With it, those of the file and
//! the defaults begin there, so that they mean the same from everywhere; what
//! environment, `.env` and flags name still begins at the working directory.
//! They are compared as texts. Links and mounts are found by `builds`, which
//! owns the directory.

use std::path::{Component, Path, PathBuf};

use super::origin::ValueOrigin;

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

/// Where relative paths begin.
#[derive(Debug)]
pub(super) struct Bases<'a> {
    /// Empty for the process's own working directory.
    pub(super) cwd: &'a Path,
    /// What the settings file says for its own paths and for the defaults.
    pub(super) directory: Option<PathBuf>,
}

impl Bases<'_> {
    /// The path in force for one that was written there.
    pub(super) fn placed(&self, path: PathBuf, origin: &ValueOrigin) -> PathBuf {
        match (&self.directory, origin) {
            (Some(directory), ValueOrigin::File { .. } | ValueOrigin::Default) => directory.join(path),
            _ => path,
        }
    }

    /// The path as this process opens it.
    pub(super) fn on_disk(&self, path: &Path) -> PathBuf {
        self.cwd.join(path)
    }

    /// The path for a comparison with others: where some begin at a directory, all are made whole.
    pub(super) fn compared(&self, path: &Path) -> PathBuf {
        let here = self.on_disk(path);
        match &self.directory {
            Some(_) => std::path::absolute(&here).unwrap_or(here),
            None => path.to_owned(),
        }
    }
}

/// Checks that a text can be the directory where paths begin. The error says what was expected.
pub(super) fn checked_directory(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if text.contains('\0') || !path.is_absolute() {
        return Err("a whole path, which begins with /".to_owned());
    }
    Ok(path.to_path_buf())
}

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
