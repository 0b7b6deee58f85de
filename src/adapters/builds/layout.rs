//! Where everything is: all paths of one published pair, made from two settings.
//!
//! ```text
//! data/
//! ├── faiss.index    -> current/faiss.index
//! ├── metadata.json  -> current/metadata.json
//! ├── current        -> builds/ID
//! ├── served.json
//! ├── builds/ID/       faiss.index, metadata.json, hashes.bin, manifest.json
//! ├── builds/ID.staging/
//! └── .reindexd/       lock, embeddings.sqlite, state.json, hold.json, …
//! ```
//!
//! All state stands beside the index. Links are relative, so that the whole
//! directory can be moved or mounted elsewhere. Names beside the index that
//! are reserved are declared by the settings, which refuse them too.

use std::path::{Component, Path, PathBuf};

use thiserror::Error;

pub(crate) use crate::config::paths::STAGING;
use crate::config::paths::{BUILDS, CURRENT, PRIVATE, RESERVED, SERVED};
use crate::domain::sibling_path::parent;

/// The index inside a build.
pub const INDEX: &str = "faiss.index";
/// The metadata inside a build.
pub const METADATA: &str = "metadata.json";
/// The manifest inside a build.
pub const MANIFEST: &str = "manifest.json";
/// The row hashes inside a build.
pub const HASHES: &str = "hashes.bin";

/// Settings whose paths cannot be published under.
#[derive(Debug, Error)]
pub enum LayoutError {
    /// Faiss opens files by names that are text.
    #[error("{key} = {path:?} is not UTF-8, which Faiss needs; move the data to another path")]
    NotUtf8 { key: &'static str, path: PathBuf },
    #[error("{key} = {path:?} {reason}")]
    BadName { key: &'static str, path: PathBuf, reason: &'static str },
}

/// The paths of one published pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The directory of the index.
    pub root: PathBuf,
    /// The name under which the API opens the index.
    pub index: PathBuf,
    /// The name under which the API opens the metadata.
    pub metadata: PathBuf,
    /// `builds/`.
    pub builds: PathBuf,
    /// The link to the served build.
    pub current: PathBuf,
    /// The served build's id, in a plain file that is replaced after each promotion.
    pub served: PathBuf,
    /// `.reindexd/`: locks, cache, state.
    pub private: PathBuf,
}

impl Layout {
    /// All paths that follow from the settings `publish.index` and `publish.metadata`.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] for names that cannot be published under.
    pub fn new(index: &Path, metadata: &Path) -> Result<Self, LayoutError> {
        for (key, path) in [("publish.index", index), ("publish.metadata", metadata)] {
            let bad = |reason| Err(LayoutError::BadName { key, path: path.to_owned(), reason });
            if path.to_str().is_none() {
                return Err(LayoutError::NotUtf8 { key, path: path.to_owned() });
            }
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return bad("is not the name of a file");
            };
            if path.to_str().is_some_and(|text| text.ends_with('/')) {
                return bad("ends with a slash, expected the name of a file");
            }
            if name.ends_with(STAGING) {
                return bad("ends with .staging, which the sweep removes");
            }
            if RESERVED.contains(&name) {
                return bad("is a name that reindexd keeps for itself");
            }
        }
        if normal(index) == normal(metadata) {
            let reason = "is the same file as publish.index";
            return Err(LayoutError::BadName { key: "publish.metadata", path: metadata.to_owned(), reason });
        }
        let root = parent(index).to_owned();
        let within = |name: &str| if root == Path::new(".") { PathBuf::from(name) } else { root.join(name) };
        Ok(Self {
            index: index.to_owned(),
            metadata: metadata.to_owned(),
            builds: within(BUILDS),
            current: within(CURRENT),
            served: within(SERVED),
            private: within(PRIVATE),
            root,
        })
    }

    /// The lock that a pass holds.
    pub(super) fn lock(&self) -> PathBuf {
        self.private.join("lock")
    }

    /// The cache of vectors.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.private.join("embeddings.sqlite")
    }

    /// The directory of one build.
    #[must_use]
    pub fn build(&self, id: &str) -> PathBuf {
        self.builds.join(id)
    }

    /// What the link at `current` says for a build.
    pub(super) fn current_target(id: &str) -> PathBuf {
        Path::new(BUILDS).join(id)
    }

    /// The two public names, each with what its link says and the file in a build that it leads to.
    #[must_use]
    pub fn public(&self) -> [(PathBuf, PathBuf, &'static str); 2] {
        let target = |link: &Path, name: &str| {
            let from = parent(link);
            relative(from, &self.root).join(CURRENT).join(name)
        };
        [
            (self.index.clone(), target(&self.index, INDEX), INDEX),
            (self.metadata.clone(), target(&self.metadata, METADATA), METADATA),
        ]
    }
}

/// The relative path from one directory to another, with as many `..` as needed.
///
/// Both are resolved first, since only the file system knows what `..` after a
/// link means; a directory that does not exist is made absolute as written.
pub(super) fn relative(from: &Path, to: &Path) -> PathBuf {
    let real = |path: &Path| {
        path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
    };
    let (from, to) = (real(from), real(to));
    let (from, to) = (normal(&from), normal(&to));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut out = PathBuf::new();
    for _ in shared..from.len() {
        out.push("..");
    }
    out.extend(&to[shared..]);
    out
}

fn normal(path: &Path) -> Vec<Component<'_>> {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_wherever_the_metadata_stand() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for directory in ["data", "data/deep", "other"] {
            std::fs::create_dir_all(at(directory)).unwrap();
        }
        let cases = [
            ("data/metadata.json", "current/metadata.json"),
            ("data/deep/m.json", "../current/metadata.json"),
            ("other/m.json", "../data/current/metadata.json"),
            ("m.json", "data/current/metadata.json"),
        ];
        for (metadata, target) in cases {
            let layout = Layout::new(&at("data/x.index"), &at(metadata)).unwrap();

            assert_eq!(layout.public()[0].1, Path::new("current/faiss.index"));
            assert_eq!(layout.public()[1].1, Path::new(target), "{metadata}");
        }
    }

    #[test]
    fn names_that_cannot_be_published_under_are_refused() {
        let cases = [
            ("data/", "data/m.json", "publish.index"),
            ("data/faiss.staging", "data/m.json", "publish.index"),
            ("data/current", "data/m.json", "publish.index"),
            ("data/faiss.index", "./data/faiss.index", "publish.metadata"),
            ("data/faiss.index", "..", "publish.metadata"),
        ];
        for (index, metadata, key) in cases {
            let error = Layout::new(Path::new(index), Path::new(metadata)).unwrap_err().to_string();
            assert!(error.starts_with(key), "{index} {metadata}: {error}");
        }
    }

    #[test]
    fn a_bare_name_lies_in_the_working_directory() {
        let layout = Layout::new(Path::new("faiss.index"), Path::new("metadata.json")).unwrap();

        assert_eq!(layout.builds, Path::new("builds"));
        assert_eq!(layout.public()[1].1, Path::new("current/metadata.json"));
    }
}
