//! Which directories to watch, and which names in them matter.
//!
//! A watch on a file follows its inode and reports nothing once the file is
//! replaced, so directories are watched. A path that is a link is followed
//! step by step, since both the link and its target can be replaced. SQLite
//! keeps `-wal` and `-journal` next to the file; `-shm` is not watched, since
//! readers write it too.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::stat::with_suffix;

/// As many links in a row as the kernel follows.
const MAX_LINKS: usize = 40;

/// The directories that hold all that is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WatchedPaths {
    existing: Vec<WatchedDirectory>,
    missing: BTreeSet<PathBuf>,
}

/// One directory, and the names in it that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WatchedDirectory {
    /// Its path without links.
    pub(super) dir: PathBuf,
    /// Device and inode: others after the directory was replaced, or mounted over.
    id: (u64, u64),
    names: BTreeMap<OsString, WatchedName>,
}

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WatchedName {
    pub(super) file: WatchedFile,
    /// A step on the way to the file, which may be a link: when it
    /// is replaced, other directories may have to be watched.
    pub(super) is_step: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchedFile {
    Database,
    Marker,
}

impl WatchedPaths {
    /// The directories of one database and one marker, as far as they exist.
    pub(super) fn of(database: &Path, marker: &Path) -> Self {
        let mut paths = Self::default();
        for step in steps(database) {
            paths.add(&step, WatchedName { file: WatchedFile::Database, is_step: true });
            for suffix in ["-wal", "-journal"] {
                paths.add(
                    &with_suffix(&step, suffix),
                    WatchedName { file: WatchedFile::Database, is_step: false },
                );
            }
        }
        for step in steps(marker) {
            paths.add(&step, WatchedName { file: WatchedFile::Marker, is_step: true });
        }
        paths
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &WatchedDirectory> {
        self.existing.iter()
    }

    /// Directories that would be watched if they existed.
    pub(super) fn missing(&self) -> impl Iterator<Item = &Path> {
        self.missing.iter().map(PathBuf::as_path)
    }

    /// Whether `path` is one of the directories themselves.
    pub(super) fn is_dir(&self, path: &Path) -> bool {
        self.existing.iter().any(|directory| directory.dir == path)
    }

    /// What `path` stands for, if it matters.
    pub(super) fn find(&self, path: &Path) -> Option<WatchedName> {
        let (dir, name) = (path.parent()?, path.file_name()?);
        self.existing.iter().find(|directory| directory.dir == dir)?.names.get(name).copied()
    }

    fn add(&mut self, path: &Path, name: WatchedName) {
        let Some(file_name) = path.file_name().map(OsStr::to_owned) else { return };
        let Some((dir, id)) = identify(parent(path)) else {
            self.missing.insert(parent(path).to_owned());
            return;
        };
        // By identity: a directory reached by two paths has one watch, and its
        // events carry one of them.
        let at = self.existing.iter().position(|directory| directory.id == id).unwrap_or_else(|| {
            self.existing.push(WatchedDirectory { dir, id, names: BTreeMap::new() });
            self.existing.len() - 1
        });
        self.existing[at].names.entry(file_name).or_insert(name);
    }
}

/// `path`, and the target of each link on the way.
fn steps(path: &Path) -> Vec<PathBuf> {
    let mut steps = vec![path.to_owned()];
    while let Some(last) = steps.last()
        && steps.len() <= MAX_LINKS
        && let Ok(target) = fs::read_link(last)
    {
        let step = parent(last).join(target);
        steps.push(step);
    }
    steps
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn identify(dir: &Path) -> Option<(PathBuf, (u64, u64))> {
    let dir = fs::canonicalize(dir).ok()?;
    let metadata = fs::metadata(&dir).ok()?;
    metadata.is_dir().then(|| (dir, (metadata.dev(), metadata.ino())))
}

#[cfg(test)]
mod tests;
