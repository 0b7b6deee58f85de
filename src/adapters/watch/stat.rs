//! What `stat` says of the files that matter, and whether it changed.
//!
//! Between looks nothing is opened: a stamp is enough to tell that a file was
//! written, touched or replaced. Equal stamps prove that nothing changed only
//! where the files had rested for a while when the first was taken, since the
//! file system's clock ticks coarsely; [`FileStamps`] knows that.
//!
//! What a stamp cannot see, such as a commit not yet visible, is `phase`'s matter.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::domain::file_stamp::FileStamp;

/// How long a file must have rested for its stamp to be trusted: FAT and some
/// network file systems keep times to two seconds.
const STAMP_SETTLE_TIME: Duration = Duration::from_secs(3);

/// The files that the slow round and the filter of hints compare.
#[derive(Clone, Debug)]
pub struct TrackedFiles {
    /// The database.
    pub database: PathBuf,
    /// The links that make a build the served one.
    pub links: Vec<PathBuf>,
}

/// What was at the [`TrackedFiles`], and at the marker, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStamps {
    /// Database and `-wal`.
    pub source: [Option<FileStamp>; 2],
    /// The database had rested by then: who finds equal stamps later can trust them.
    pub source_settled: bool,
    /// The marker.
    pub marker: Option<FileStamp>,
    /// The links, in the order of [`TrackedFiles::links`].
    pub links: Vec<Option<FileStamp>>,
}

impl TrackedFiles {
    /// What is there now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "file times are compared with the clock that made them")]
    pub fn stat(&self, marker: &Path) -> FileStamps {
        let source = source(&self.database);
        FileStamps {
            source,
            source_settled: is_settled(&source, SystemTime::now()),
            marker: stamp_of(marker),
            links: self.links.iter().map(|link| stamp_of_link(link)).collect(),
        }
    }
}

impl FileStamps {
    /// Whether the source may have changed since `then`.
    #[must_use]
    pub fn source_differs(&self, then: &Self) -> bool {
        !then.source_settled || self.source != then.source
    }
}

/// The stamp of the file that `path` leads to; `None` where there is none to be seen.
#[must_use]
pub fn stamp_of(path: &Path) -> Option<FileStamp> {
    fs::metadata(path).ok().as_ref().map(stamp)
}

/// The stamp of the link at `path` itself, or of whatever else is there.
#[must_use]
pub fn stamp_of_link(path: &Path) -> Option<FileStamp> {
    fs::symlink_metadata(path).ok().as_ref().map(stamp)
}

fn stamp(metadata: &fs::Metadata) -> FileStamp {
    let ns = |secs: i64, ns: i64| secs.saturating_mul(1_000_000_000).saturating_add(ns);
    FileStamp {
        inode: metadata.ino(),
        size: metadata.size(),
        mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// Database and `-wal`. An empty `-wal` counts as none, since a mere reader may
/// make and remove one; `-journal` is left out, since no commit changes it alone.
pub(super) fn source(database: &Path) -> [Option<FileStamp>; 2] {
    // SQLite keeps the log beside the file that a link leads to.
    let database = fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    let log = stamp_of(&with_suffix(&database, "-wal")).filter(|stamp| stamp.size > 0);
    // Whoever opens a log as root gives it to the owner of its database, which
    // sets its ctime: a look would count as a change, and bring about the next
    // one. A commit is written, and shows in the mtime.
    let log = log.map(|stamp| FileStamp { ctime_ns: stamp.mtime_ns, ..stamp });
    [stamp_of(&database), log]
}

/// `path` with something added to its last name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Whether the next write gives each of the stamps another time. A time yet to
/// come, as a clock leaves it that was set back, is as safe as one long past:
/// were it not, such a file would be looked at without end.
fn is_settled(stamps: &[Option<FileStamp>], now: SystemTime) -> bool {
    // A clock before 1970 or after 2262 makes nothing rested, which costs a look.
    let now_ns = now.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_nanos()).ok());
    let Some(now_ns) = now_ns else { return false };
    let is_far = |ns: i64| u128::from(ns.abs_diff(now_ns)) >= STAMP_SETTLE_TIME.as_nanos();
    stamps.iter().flatten().all(|stamp| is_far(stamp.mtime_ns) && is_far(stamp.ctime_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "every stamp in a sighting may be missing")]
    fn at(ns: i64) -> Option<FileStamp> {
        Some(FileStamp { inode: 7, size: 8, mtime_ns: ns, ctime_ns: ns })
    }

    #[test]
    fn equal_stamps_are_trusted_only_where_the_files_had_settled() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let second = 1_000_000_000;
        let table = [
            ("no file", [None, None], true),
            ("long rested", [at(900 * second), None], true),
            ("just rested", [at(997 * second), None], true),
            ("just written", [at(998 * second), None], false),
            ("the log just written", [at(0), at(999 * second)], false),
            ("the clock was set back by a second", [at(1001 * second), None], false),
            ("the clock was set back by far", [at(2000 * second), None], true),
        ];
        for (what, stamps, expected) in table {
            assert_eq!(is_settled(&stamps, now), expected, "{what}");
        }
        assert!(!is_settled(&[at(0)], UNIX_EPOCH - Duration::from_secs(1)), "a clock before 1970");
    }

    #[test]
    fn an_unsettled_source_counts_as_changed_though_its_stamps_are_equal() {
        let rested = FileStamps { source: [at(1), None], source_settled: true, marker: None, links: vec![] };
        let unrested = FileStamps { source_settled: false, ..rested.clone() };
        let other = FileStamps { source: [at(2), None], ..rested.clone() };
        assert!(!rested.source_differs(&rested));
        assert!(rested.source_differs(&unrested));
        assert!(other.source_differs(&rested));
    }

    #[test]
    fn every_way_to_change_a_file_changes_its_stamp_and_reading_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("experts.db");
        assert_eq!(stamp_of(&path), None);
        fs::write(&path, "one").unwrap();
        let written = stamp_of(&path).unwrap();
        fs::read(&path).unwrap();
        assert_eq!(stamp_of(&path), Some(written), "read");
        fs::write(dir.path().join("new"), "one").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        let replaced = stamp_of(&path).unwrap();
        assert_ne!(replaced.inode, written.inode, "replaced");
        fs::File::open(&path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(5)).unwrap();
        assert_eq!(stamp_of(&path).unwrap().mtime_ns, 5_000_000_000, "touched");
    }

    #[test]
    fn the_log_is_searched_next_to_the_file_that_a_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        fs::create_dir(&real).unwrap();
        fs::write(real.join("experts.db"), "x").unwrap();
        let link = dir.path().join("link.db");
        std::os::unix::fs::symlink("real/experts.db", &link).unwrap();
        assert_eq!(source(&link)[1], None);
        fs::write(real.join("experts.db-wal"), "").unwrap();
        assert_eq!(source(&link)[1], None, "an empty log is none");
        fs::write(real.join("experts.db-wal"), "frames").unwrap();
        let log = source(&link)[1].unwrap();
        let (log_file, times) = (real.join("experts.db-wal"), fs::FileTimes::new());
        let is_given_away = || {
            let before = stamp_of(&log_file).unwrap().ctime_ns;
            fs::File::open(&log_file).unwrap().set_times(times.set_accessed(SystemTime::now())).unwrap();
            stamp_of(&log_file).unwrap().ctime_ns != before
        };
        while !is_given_away() {}
        assert_eq!(source(&link)[1], Some(log), "a log that was not written");
    }

    #[test]
    fn a_link_has_a_stamp_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let sites = TrackedFiles { database: dir.path().join("db"), links: vec![dir.path().join("current")] };
        std::os::unix::fs::symlink("builds/one", &sites.links[0]).unwrap();
        let before = sites.stat(&dir.path().join("marker"));
        std::os::unix::fs::symlink("builds/two", dir.path().join("new")).unwrap();
        fs::rename(dir.path().join("new"), &sites.links[0]).unwrap();
        let after = sites.stat(&dir.path().join("marker"));
        assert_ne!(before.links, after.links);
        assert_eq!((before.marker, before.source), (None, [None, None]));
    }
}
