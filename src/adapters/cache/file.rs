//! The cache's file: made private, proven before use, set aside when damaged.
//!
//! What the file system may hold in its place is taken as hostile: links, pipes
//! and directories are refused, other programs' databases and damaged ones are
//! moved away, and one made to be read for ever runs into a limit. What stands
//! in the tables is left to the parent module.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::{CacheError, Warning};
use crate::domain::sqlite_uri;

/// Each table as SQLite remembers it, word for word: another layout is another version's.
const TABLES: [&str; 2] = [
    "CREATE TABLE entry(place INTEGER PRIMARY KEY, space INTEGER NOT NULL, \
     text BLOB NOT NULL CHECK(length(text) = 16), stored_at INTEGER NOT NULL) STRICT",
    "CREATE TABLE vector(place INTEGER PRIMARY KEY, proof BLOB NOT NULL, floats BLOB NOT NULL) STRICT",
];

/// Marks the file as ours: "rixc".
const APPLICATION: i64 = 0x7269_7863;

/// Which layout the file has. A new one begins with an empty cache.
pub(super) const LAYOUT: i64 = 3;

/// Why a file could not be opened as a cache.
pub(super) enum CacheFileError {
    /// Its content is at fault, and another file in its place would do.
    Damaged(String),
    /// Another file would do no better.
    Failed(CacheError),
    /// SQLite failed for a reason that is not the content's.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for CacheFileError {
    fn from(error: rusqlite::Error) -> Self {
        match &error {
            rusqlite::Error::SqliteFailure(cause, _) => match cause.code {
                // Our statements are right, so a file that they do not fit (`Unknown`) is not ours;
                // and the only thing that interrupts is the limit on proving a file.
                ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::Unknown
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::OperationInterrupted => Self::Damaged(error.to_string()),
                // The system lets us write, so it is the file's own header that forbids it.
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
    fn at(self, path: &Path) -> CacheError {
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

/// Opens the cache for its one user; a damaged one is set aside and begun anew, with a warning.
pub(super) fn open(path: &Path, now: i64) -> Result<(Connection, PathBuf, Option<Warning>), CacheError> {
    let path = resolved(path)?;
    let proven = match open_checked(&path) {
        // A page that could not be read once looks like damage to SQLite: only what is found twice is.
        Err(CacheFileError::Damaged(_)) => open_checked(&path),
        other => other,
    };
    match proven {
        Ok(connection) => Ok((connection, path, None)),
        Err(CacheFileError::Damaged(why)) => {
            let aside = move_damaged(&path, now)?;
            let connection = open_checked(&path).map_err(|fault| fault.at(&path))?;
            let warning = damage_warning(&path, &aside, &why);
            Ok((connection, path, Some(warning)))
        }
        Err(fault) => Err(fault.at(&path)),
    }
}

/// Opens the cache for a look that takes no lock and makes no file.
///
/// An idle file is read as one that nobody changes, because reading a WAL file in
/// the usual way leaves files beside it; the log of a killed or running pass is
/// read with an index in memory. The close must not tidy up: the log may be in use.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, CacheFileError> {
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

/// The cache's path with the links of its directory followed. SQLite, told to
/// follow none, would refuse a state directory that itself is reached by one.
fn resolved(path: &Path) -> Result<PathBuf, CacheError> {
    let failed = |source| CacheError::Io { act: "find the directory of", path: path.to_owned(), source };
    let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok(directory.canonicalize().map_err(failed)?.join(name))
}

/// The cache and the files that SQLite keeps beside it, by what is added to its name.
pub(super) const SIDE_FILES: [&str; 4] = ["", "-wal", "-shm", "-journal"];

pub(super) fn sibling_path(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Refuses links, pipes and directories, which SQLite might follow, wait for or trip over.
fn only_regular_files(path: &Path) -> Result<(), CacheError> {
    for path in SIDE_FILES.map(|suffix| sibling_path(path, suffix)) {
        let found = match fs::symlink_metadata(&path) {
            Ok(about) if about.is_file() => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(CacheError::Io { act: "look at", path, source });
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
    check_format(&transaction)?;
    transaction.commit()?;
    connection.progress_handler(0, None::<fn() -> bool>)?;
    Ok(connection)
}

/// Makes the file if there is none: texts can be guessed from vectors, so it is the owner's alone.
/// A file that is there is not touched, since closing it would drop the locks of a process that has it open.
fn make_private(path: &Path) -> Result<(), CacheError> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(CacheError::Io { act: "make", path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// A file can be made so that reading it takes for ever. An honest one needs at
/// most about a step for every byte it has; the limit is well above that.
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

/// Proves that the file has our layout and that its trees are sound. Vectors are proven when they are read.
fn check_format(transaction: &Transaction<'_>) -> Result<(), CacheFileError> {
    let found = marks(transaction)?;
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
    let mark = |name| transaction.pragma_query_value(None, name, |row| row.get(0));
    Ok((mark("application_id")?, mark("user_version")?))
}

fn tables(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<String>> {
    let mut select =
        transaction.prepare("SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY rowid LIMIT 3")?;
    let tables = select.query_map([], |row| row.get(0))?;
    tables.collect()
}

// --- setting aside ----------------------------------------------------------

/// Moves a damaged cache and its companions out of the way, for a person to look
/// at, and removes those set aside before: one is enough, and they are large.
#[allow(clippy::disallowed_methods, reason = "a file that nobody is served from goes aside")]
fn move_damaged(path: &Path, now: i64) -> Result<PathBuf, CacheError> {
    let prefix = sibling_path(path, ".damaged-");
    let aside = sibling_path(&prefix, &now.to_string());
    remove_others(path, &prefix)?;
    for suffix in SIDE_FILES {
        let from = sibling_path(path, suffix);
        match fs::rename(&from, sibling_path(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(CacheError::Io { act: "set aside", path: from, source: error });
            }
            _ => {}
        }
    }
    Ok(aside)
}

#[allow(clippy::disallowed_methods, reason = "what was set aside earlier goes")]
fn remove_others(path: &Path, prefix: &Path) -> Result<(), CacheError> {
    let failed =
        |source| CacheError::Io { act: "remove what was set aside before", path: path.to_owned(), source };
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

fn damage_warning(path: &Path, aside: &Path, why: &str) -> Warning {
    let why: String = why.chars().take(200).flat_map(char::escape_debug).collect();
    format!(
        "embedding cache {} was damaged ({why}); it is set aside as {} and an empty one begun, \
         so vectors that no kept build holds are bought again",
        path.display(),
        aside.display()
    )
}
