//! Which directories to watch, and which names in them matter.
//!
//! A watch on a file follows its inode and goes blind when the file is
//! replaced, so directories are watched. A path that is a link is followed
//! step by step, since both the link and what it leads to can be replaced.
//! SQLite keeps `-wal` and `-journal` beside the file; `-shm` is nobody's
//! business, since readers write it too.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::stat::with_suffix;

/// As many links in a row as the kernel follows.
const MAX_LINKS: usize = 40;

/// The directories that hold everything there is to watch.
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
    /// A step on the way to the file, which may turn out to be a link: when it
    /// is replaced, other directories may have to be watched.
    pub(super) is_step: bool,
}

/// The two things that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchedFile {
    Database,
    Marker,
}

impl WatchedPaths {
    /// The places of one database and one marker, as far as their directories exist.
    pub(super) fn of(database: &Path, marker: &Path) -> Self {
        let mut places = Self::default();
        for step in steps(database) {
            places.add(&step, WatchedName { file: WatchedFile::Database, is_step: true });
            for suffix in ["-wal", "-journal"] {
                places.add(
                    &with_suffix(&step, suffix),
                    WatchedName { file: WatchedFile::Database, is_step: false },
                );
            }
        }
        for step in steps(marker) {
            places.add(&step, WatchedName { file: WatchedFile::Marker, is_step: true });
        }
        places
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
        self.existing.iter().any(|place| place.dir == path)
    }

    /// What `path` stands for, if it matters.
    pub(super) fn find(&self, path: &Path) -> Option<WatchedName> {
        let (dir, name) = (path.parent()?, path.file_name()?);
        self.existing.iter().find(|place| place.dir == dir)?.names.get(name).copied()
    }

    fn add(&mut self, path: &Path, name: WatchedName) {
        let Some(file_name) = path.file_name().map(OsStr::to_owned) else { return };
        let Some((dir, id)) = identify(parent(path)) else {
            self.missing.insert(parent(path).to_owned());
            return;
        };
        // By identity: a directory reached by two paths has one watch, and its
        // events carry one of them.
        let at = self.existing.iter().position(|place| place.id == id).unwrap_or_else(|| {
            self.existing.push(WatchedDirectory { dir, id, names: BTreeMap::new() });
            self.existing.len() - 1
        });
        self.existing[at].names.entry(file_name).or_insert(name);
    }
}

/// `path`, and what each link on the way leads to.
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
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_database_behind_links_is_watched_at_every_step() {
        let temp = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(temp.path()).unwrap();
        for dir in ["data", "mnt/volume", "releases"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        symlink("../releases/now.db", root.join("data/experts.db")).unwrap();
        symlink(root.join("mnt/volume/real.db"), root.join("releases/now.db")).unwrap();

        let places = WatchedPaths::of(&root.join("data/experts.db"), &root.join("data/marker"));

        let step = Some(WatchedName { file: WatchedFile::Database, is_step: true });
        let beside = Some(WatchedName { file: WatchedFile::Database, is_step: false });
        let table = [
            ("data/experts.db", step),
            ("releases/now.db", step),
            ("mnt/volume/real.db", step),
            ("mnt/volume/real.db-wal", beside),
            ("mnt/volume/real.db-journal", beside),
            ("mnt/volume/real.db-shm", None),
            ("mnt/volume/other.db", None),
            ("data/marker", Some(WatchedName { file: WatchedFile::Marker, is_step: true })),
            ("data/marker-wal", None),
        ];
        for (path, expected) in table {
            assert_eq!(places.find(&root.join(path)), expected, "{path}");
        }
        assert_eq!(places.iter().count(), 3);
        assert!(places.is_dir(&root.join("releases")));
    }

    #[test]
    fn a_directory_reached_by_two_paths_is_watched_once() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("data")).unwrap();
        symlink("data", temp.path().join("alias")).unwrap();
        let places = WatchedPaths::of(&temp.path().join("data/db"), &temp.path().join("alias/marker"));
        assert_eq!(places.iter().count(), 1);
    }

    #[test]
    fn a_missing_directory_is_not_watched_and_a_circle_of_links_ends() {
        let temp = tempfile::tempdir().unwrap();
        symlink("b", temp.path().join("a")).unwrap();
        symlink("a", temp.path().join("b")).unwrap();
        let places = WatchedPaths::of(&temp.path().join("a"), &temp.path().join("gone/marker"));
        assert_eq!(places.iter().count(), 1);
        assert!(places.missing().eq([temp.path().join("gone")]));
    }

    #[test]
    fn a_recreated_directory_is_another_directory() {
        let temp = tempfile::tempdir().unwrap();
        let (data, aside) = (temp.path().join("data"), temp.path().join("aside"));
        fs::create_dir(&data).unwrap();
        let of = || WatchedPaths::of(&data.join("db"), &data.join("marker"));
        let before = of();
        assert_eq!(of(), before);
        fs::rename(&data, &aside).unwrap();
        fs::create_dir(&data).unwrap();
        assert_ne!(of(), before);
    }
}
