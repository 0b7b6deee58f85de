//! The cache's file: made private, checked before use, moved away when damaged.
//!
//! What the file system may hold under its name is taken as hostile: links,
//! pipes and directories are refused, other programs' databases and damaged
//! ones are moved away, and reading one that has no end reaches a limit. What
//! is in the tables is left to the parent module.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::error::{CacheError, Warning};
use crate::domain::sibling_path::sibling_path;
use crate::domain::sqlite_uri;
use crate::domain::text::literal;

/// Each table exactly as SQLite records it: any other text is another layout.
const TABLES: [&str; 2] = [
    "CREATE TABLE entry(place INTEGER PRIMARY KEY, space INTEGER NOT NULL, \
     text BLOB NOT NULL CHECK(length(text) = 16), stored_at INTEGER NOT NULL) STRICT",
    "CREATE TABLE vector(place INTEGER PRIMARY KEY, proof BLOB NOT NULL, floats BLOB NOT NULL) STRICT",
];

/// Marks the file as ours: "rixc".
const APPLICATION: i64 = 0x7269_7863;

/// A new layout begins with an empty cache.
pub(super) const LAYOUT: i64 = 3;

/// Why a file could not be opened as a cache.
pub(super) enum CacheFileError {
    /// The content is wrong: a new file in its place would work.
    Damaged(String),
    /// A new file would not help.
    Failed(CacheError),
    /// SQLite failed for a reason other than the content.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for CacheFileError {
    fn from(error: rusqlite::Error) -> Self {
        match &error {
            rusqlite::Error::SqliteFailure(cause, _) => match cause.code {
                // Our statements are right, so a file that they do not fit (`Unknown`) is not ours;
                // and the only interruption is the limit on checking a file.
                ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::Unknown
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::OperationInterrupted => Self::Damaged(error.to_string()),
                // The system allows the write, so the file's own header forbids it.
                ErrorCode::ReadOnly if cause.extended_code == rusqlite::ffi::SQLITE_READONLY => {
                    Self::Damaged(error.to_string())
                }
                _ => Self::Sqlite(error),
            },
            _ => Self::Damaged(error.to_string()),
        }
    }
}

impl CacheFileError {
    pub(super) fn at(self, path: &Path) -> CacheError {
        let act = "open";
        match self {
            Self::Failed(error) => error,
            Self::Sqlite(source) => CacheError::Sqlite { act, path: path.to_owned(), source },
            Self::Damaged(why) => {
                CacheError::Io { act, path: path.to_owned(), source: io::Error::other(why) }
            }
        }
    }
}

/// Opens the cache for its one user; a damaged file is moved away and an empty one created, with a warning.
pub(super) fn open(path: &Path, now: i64) -> Result<(Connection, PathBuf, Option<Warning>), CacheError> {
    let path = resolved(path)?;
    let checked = match open_checked(&path) {
        // SQLite takes a page that could not be read once for damage: only what is found twice is damage.
        Err(CacheFileError::Damaged(_)) => open_checked(&path),
        other => other,
    };
    if let Err(CacheFileError::Damaged(_)) = &checked {
        read_to_the_end(&path)?;
    }
    match checked {
        Ok(connection) => Ok((connection, path, None)),
        Err(CacheFileError::Damaged(why)) => {
            let moved_to = move_damaged(&path, now)?;
            let connection = open_checked(&path).map_err(|error| error.at(&path))?;
            let warning = damage_warning(&path, &moved_to, &why);
            Ok((connection, path, Some(warning)))
        }
        Err(error) => Err(error.at(&path)),
    }
}

/// Asks the cache as [`open_read_only`] opens it; `None` if there is none.
pub(super) fn read_only<T>(
    path: &Path,
    ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<Option<T>, CacheFileError> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let connection = open_read_only(path)?;
    let (application, layout): (i64, i64) =
        (mark(&connection, "application_id")?, mark(&connection, "user_version")?);
    if application == APPLICATION && layout > LAYOUT {
        let newer = CacheError::Newer { path: path.to_owned(), found: layout, known: LAYOUT };
        return Err(CacheFileError::Failed(newer));
    }
    Ok(Some(ask(&connection)?))
}

/// Opens the cache for reading without taking a lock or making a file.
///
/// An idle file is read as one that does not change, because reading a WAL file
/// in the usual way leaves files beside it; the log of a killed or running pass is
/// read with an index in memory. Closing must not clean up: the log may be in use.
fn open_read_only(path: &Path) -> Result<Connection, CacheFileError> {
    let path = resolved(path).map_err(CacheFileError::Failed)?;
    only_regular_files(&path).map_err(CacheFileError::Failed)?;
    let idle = fs::symlink_metadata(sibling_path(&path, "-wal")).map_or(true, |log| log.len() == 0);
    let parameters = if idle { "mode=ro&immutable=1" } else { "mode=ro&vfs=unix-none" };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(sqlite_uri::uri(&path, parameters), flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    limit_steps(&mut connection, &path)?;
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF")?;
    Ok(connection)
}

/// The cache's path with the links of its directory followed. With `NOFOLLOW`
/// SQLite would refuse a state directory that is itself reached by a link.
fn resolved(path: &Path) -> Result<PathBuf, CacheError> {
    let failed = |source| CacheError::Io { act: "find the directory of", path: path.to_owned(), source };
    let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok(directory.canonicalize().map_err(failed)?.join(name))
}

/// The suffixes of the cache itself and of the files that SQLite keeps beside it.
pub(super) const SIDE_FILES: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Refuses links, pipes and directories, which SQLite might follow, wait for or fail on.
fn only_regular_files(path: &Path) -> Result<(), CacheError> {
    for path in SIDE_FILES.map(|suffix| sibling_path(path, suffix)) {
        let found = match fs::symlink_metadata(&path) {
            Ok(about) if about.is_file() => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(CacheError::Io { act: "examine", path, source });
            }
            Ok(about) if about.is_symlink() => "a symbolic link",
            Ok(about) if about.is_dir() => "a directory",
            Ok(_) => "a pipe, socket or device",
        };
        return Err(CacheError::NotAFile { path, found });
    }
    Ok(())
}

fn open_checked(path: &Path) -> Result<Connection, CacheFileError> {
    only_regular_files(path).map_err(CacheFileError::Failed)?;
    make_private(path).map_err(CacheFileError::Failed)?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    if connection.is_readonly("main")? {
        return Err(CacheFileError::Failed(CacheError::ReadOnly { path: path.to_owned() }));
    }
    limit_steps(&mut connection, path)?;
    // Exclusive comes first: one owner at a time needs no shared memory, and so no third file.
    // The next two must come before the first table; on a file that has tables they change nothing.
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA page_size = 16384;
         PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA synchronous = FULL;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -16384;
         PRAGMA journal_mode = WAL;
         PRAGMA wal_autocheckpoint = 4096;",
    )?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    begin_if_empty(&transaction)?;
    check_format(&transaction, path)?;
    transaction.commit()?;
    connection.progress_handler(0, None::<fn() -> bool>)?;
    Ok(connection)
}

/// Makes the file if it does not exist, readable by its owner alone, since texts can be guessed from
/// vectors. An existing file is not opened: closing it would drop the locks of a process that uses it.
fn make_private(path: &Path) -> Result<(), CacheError> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(CacheError::Io { act: "make", path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// A file can be made so that reading it never ends. An honest one needs at most
/// about a step for every byte it has; the limit is well above that.
fn limit_steps(connection: &mut Connection, path: &Path) -> rusqlite::Result<()> {
    const STEPS_PER_CALL: i32 = 1000;
    let length = |suffix| fs::symlink_metadata(sibling_path(path, suffix)).map_or(0, |about| about.len());
    let mut calls_left = 1000 + (length("") + length("-wal")) / 250;
    let spent = move || {
        calls_left = calls_left.saturating_sub(1);
        calls_left == 0
    };
    connection.progress_handler(STEPS_PER_CALL, Some(spent))
}

fn begin_if_empty(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let (_, version) = marks(transaction)?;
    if version != 0 || !tables(transaction)?.is_empty() {
        return Ok(());
    }
    for table in TABLES {
        transaction.execute(table, [])?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", LAYOUT)
}

/// Checks that the file has our layout and that its trees are sound. Vectors are checked when they are read.
fn check_format(transaction: &Transaction<'_>, path: &Path) -> Result<(), CacheFileError> {
    let found = marks(transaction)?;
    if found.0 == APPLICATION && found.1 > LAYOUT {
        let newer = CacheError::Newer { path: path.to_owned(), found: found.1, known: LAYOUT };
        return Err(CacheFileError::Failed(newer));
    }
    if found != (APPLICATION, LAYOUT) {
        return Err(CacheFileError::Damaged(format!(
            "expected marks {APPLICATION}, {LAYOUT}, found {}, {}",
            found.0, found.1
        )));
    }
    if tables(transaction)? != TABLES {
        return Err(CacheFileError::Damaged("expected the tables of a cache, found others".to_owned()));
    }
    let vacuum: i64 = transaction.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
    if vacuum != 2 {
        return Err(CacheFileError::Damaged(format!("expected incremental vacuum (2), found {vacuum}")));
    }
    let sound: String = transaction.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(CacheFileError::Damaged(sound));
    }
    Ok(())
}

fn marks(transaction: &Transaction<'_>) -> rusqlite::Result<(i64, i64)> {
    Ok((mark(transaction, "application_id")?, mark(transaction, "user_version")?))
}

fn mark(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

fn tables(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<String>> {
    let mut select =
        transaction.prepare("SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY rowid LIMIT 3")?;
    let tables = select.query_map([], |row| row.get(0))?;
    tables.collect()
}

// --- damage -----------------------------------------------------------------

/// Fails if the bytes of the cache cannot all be read: SQLite reports such a page as a damaged one, and only
/// what was read to its end is known to be damaged. No process uses the file, so closing it drops no lock.
fn read_to_the_end(path: &Path) -> Result<(), CacheError> {
    for path in SIDE_FILES.map(|suffix| sibling_path(path, suffix)) {
        match fs::File::open(&path).and_then(|mut file| io::copy(&mut file, &mut io::sink())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(CacheError::Io { act: "read", path, source: error });
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Moves a damaged cache and its side files away, for a person to examine, and
/// removes those that were moved before: one is enough, and they are large.
#[allow(clippy::disallowed_methods, reason = "a file that no reader is served from is moved away")]
fn move_damaged(path: &Path, now: i64) -> Result<PathBuf, CacheError> {
    let prefix = sibling_path(path, ".damaged-");
    let moved_to = sibling_path(&prefix, &now.to_string());
    remove_others(path, &prefix)?;
    for suffix in SIDE_FILES {
        let from = sibling_path(path, suffix);
        match fs::rename(&from, sibling_path(&moved_to, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(CacheError::Io { act: "move a damaged file", path: from, source: error });
            }
            _ => {}
        }
    }
    Ok(moved_to)
}

#[allow(clippy::disallowed_methods, reason = "files that were moved away before are removed")]
fn remove_others(path: &Path, prefix: &Path) -> Result<(), CacheError> {
    let failed =
        |source| CacheError::Io { act: "remove an older damaged file", path: path.to_owned(), source };
    let (Some(directory), Some(prefix)) = (path.parent(), prefix.file_name()) else {
        return Ok(());
    };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let ours = entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes());
        if ours && !entry.file_type().map_err(failed)?.is_dir() {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

fn damage_warning(path: &Path, moved_to: &Path, why: &str) -> Warning {
    const MAX_REASON_CHARS: usize = 200;
    format!(
        "embedding cache {} was damaged ({}); moved to {}, an empty one is used: \
         texts whose vectors no kept build holds are embedded again",
        path.display(),
        literal(why, MAX_REASON_CHARS),
        moved_to.display()
    )
}
