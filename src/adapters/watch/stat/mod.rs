//! What `stat` says of the watched files, and whether it changed.
//!
//! Between scans nothing is opened: a stamp is enough to show that a file was
//! written, touched or replaced. Equal stamps prove that nothing changed only
//! where the files had not been written for a while when the first was taken,
//! since the file system's clock ticks coarsely; [`FileStamps`] knows that.
//!
//! What a stamp cannot show, such as a commit not yet visible, is handled by
//! `decide::agent_state`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::domain::file_stamp::FileStamp;

/// How long a file must have been unchanged for its stamp to be trusted: FAT and some
/// network file systems keep times to two seconds.
const STAMP_SETTLE_TIME: Duration = Duration::from_secs(3);

/// The files that the resync and the filter of hints compare.
#[derive(Clone, Debug)]
pub(crate) struct TrackedFiles {
    pub(crate) database: PathBuf,
    /// The links that make a build the served one.
    pub(crate) links: Vec<PathBuf>,
}

/// The stamps of the [`TrackedFiles`] and of the marker at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileStamps {
    /// Database and `-wal`.
    pub(crate) source: [Option<FileStamp>; 2],
    /// The database had been unchanged for long enough: equal stamps found later can be trusted.
    pub(crate) source_settled: bool,
    pub(crate) marker: Option<FileStamp>,
    /// The links, in the order of [`TrackedFiles::links`].
    pub(crate) links: Vec<Option<FileStamp>>,
}

impl TrackedFiles {
    /// The stamps of now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "file times are compared with the clock that made them")]
    pub(crate) fn stat(&self, marker: &Path) -> FileStamps {
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
    pub(crate) fn source_differs(&self, then: &Self) -> bool {
        !then.source_settled || self.source != then.source
    }
}

/// The stamps of database and `-wal`, if equal ones found later prove that neither was written since.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "file times are compared with the clock that made them")]
pub(crate) fn settled_source(database: &Path) -> Option<[Option<FileStamp>; 2]> {
    let found = source(database);
    is_settled(&found, SystemTime::now()).then_some(found)
}

/// The stamp of the file that `path` leads to; `None` where it does not exist or cannot be reached.
#[must_use]
pub(super) fn stamp_of(path: &Path) -> Option<FileStamp> {
    fs::metadata(path).ok().as_ref().map(stamp)
}

/// The stamp of the link at `path` itself, or of anything else under that name.
#[must_use]
fn stamp_of_link(path: &Path) -> Option<FileStamp> {
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
/// make and remove one; `-journal` is not read, since no commit changes it alone.
pub(super) fn source(database: &Path) -> [Option<FileStamp>; 2] {
    // SQLite keeps the log next to the file that a link leads to.
    let database = fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    let log = stamp_of(&with_suffix(&database, "-wal")).filter(|stamp| stamp.size > 0);
    // A process that opens a log as root gives it to the owner of its database,
    // which sets its ctime: a scan would count as a change, and cause the next
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

/// Whether another write would change every timestamp. A time in the future, as
/// after the clock was set back, is as safe as one long past: otherwise such a
/// file would be scanned again and again.
fn is_settled(stamps: &[Option<FileStamp>], now: SystemTime) -> bool {
    // A clock before 1970 or after 2262 settles nothing, which costs a scan.
    let now_ns = now.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_nanos()).ok());
    let Some(now_ns) = now_ns else { return false };
    let is_far = |ns: i64| u128::from(ns.abs_diff(now_ns)) >= STAMP_SETTLE_TIME.as_nanos();
    stamps.iter().flatten().all(|stamp| is_far(stamp.mtime_ns) && is_far(stamp.ctime_ns))
}

#[cfg(test)]
mod tests;
