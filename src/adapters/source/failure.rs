//! What an error of SQLite means: which state the file is in, and whether a moment later may differ.
//!
//! Decided by SQLite's codes and by the files next to the database. How long an
//! attempt is repeated is `sqlite`'s.

use std::path::Path;
use std::time::Duration;

use rusqlite::ErrorCode;

use super::error::SourceError;
use crate::domain::sibling_path::sibling_path;

/// How long a read waits for a writer's lock.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How SQLite names a function that it may not call; its code is that of any error in a statement.
const REFUSED_FUNCTION: &str = "not authorized to use function";

pub(super) enum SqliteFailure {
    /// Another attempt a moment later may succeed.
    Wait(SourceError),
    Final(SourceError),
}

impl SqliteFailure {
    pub(super) fn into_error(self) -> SourceError {
        match self {
            Self::Wait(error) | Self::Final(error) => error,
        }
    }
}

pub(super) fn locked(path: &Path) -> SqliteFailure {
    SqliteFailure::Wait(SourceError::Locked { path: path.to_owned(), waited: LOCK_TIMEOUT })
}

pub(super) fn changed(path: &Path) -> SqliteFailure {
    SqliteFailure::Wait(SourceError::Changed { path: path.to_owned() })
}

/// Whether SQLite could not write, or found no directory to write in: while it only reads, that is about
/// its temporary files.
pub(super) fn is_about_temporary_files(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|failure| (failure.code, failure.extended_code));
    matches!(
        code,
        Some(
            (ErrorCode::DiskFull, _)
                | (_, rusqlite::ffi::SQLITE_IOERR_WRITE | rusqlite::ffi::SQLITE_IOERR_GETTEMPPATH)
        )
    )
}

/// What an error means; `expected`: the table and columns that the settings name.
pub(super) fn classify(path: &Path, error: &rusqlite::Error, expected: &str) -> SqliteFailure {
    use SqliteFailure::{Final, Wait};
    let (owned, found) = (path.to_owned(), error.to_string());
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return Final(match error {
            rusqlite::Error::SqlInputError { error, msg, .. }
                if error.code == ErrorCode::AuthorizationForStatementDenied
                    || msg.starts_with(REFUSED_FUNCTION) =>
            {
                SourceError::NotOnlyReading { path: owned, found: msg.clone(), expected: expected.to_owned() }
            }
            rusqlite::Error::SqlInputError { msg, .. } => SourceError::schema(path, msg, expected),
            _ => SourceError::Sqlite { path: owned, found },
        });
    };
    match (failure.code, failure.extended_code) {
        (ErrorCode::OperationInterrupted, _) => Final(SourceError::Stopped),
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => locked(path),
        (_, rusqlite::ffi::SQLITE_READONLY_ROLLBACK) => Wait(SourceError::HotJournal { path: owned }),
        (ErrorCode::ReadOnly, _) if sibling_path(path, "-journal").exists() => {
            Wait(SourceError::HotJournal { path: owned })
        }
        (ErrorCode::ReadOnly | ErrorCode::FileLockingProtocolFailed | ErrorCode::CannotOpen, _)
            if sibling_path(path, "-wal").exists() =>
        {
            Wait(SourceError::WalUnreadable { path: owned, found })
        }
        (ErrorCode::NotADatabase, _) => Final(SourceError::NotADatabase { path: owned, found }),
        (ErrorCode::Unknown, _) if found.starts_with("no such") => {
            Final(SourceError::schema(path, &found, expected))
        }
        _ => Final(SourceError::Sqlite { path: owned, found }),
    }
}
