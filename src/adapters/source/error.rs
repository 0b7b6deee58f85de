//! Why the source could not be read: each state of the file has its own message.
//!
//! Reading changes nothing, so no message says what became of the file. Whether
//! a later attempt may succeed is a question to the error, never to its text.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::decide::guard::Refusal;
use crate::domain::pass::Retry;
use crate::domain::source_spec::SpecError;

/// Why the source could not be read.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error(
        "database {path} does not exist; expected the SQLite file that tag_experts.py writes (source.database or DATABASE_URL)"
    )]
    Missing { path: PathBuf },
    #[error("cannot {act} database {path}")]
    Io { act: &'static str, path: PathBuf, source: std::io::Error },
    #[error("database {path} is {found}, expected a regular file")]
    NotAFile { path: PathBuf, found: &'static str },
    #[error("{path} is not a SQLite database: {found}")]
    NotADatabase { path: PathBuf, found: String },
    /// The table or a column is missing.
    #[error("database {path}: {found}; expected {expected}")]
    Schema { path: PathBuf, found: String, expected: String },
    /// SQL of the settings, or of a view, that only the scan showed to do more than read.
    #[error(
        "database {path}: {found}; the SQL may only read, and call no function that gives another value at each call; expected {expected} to do no more; nothing was made"
    )]
    NotOnlyReading { path: PathBuf, found: String, expected: String },
    /// The settings name what the database does not have.
    #[error("database {}: {}", .path.display(), all(.errors))]
    Settings { path: PathBuf, errors: Vec<SpecError> },
    #[error("database {path}: locked by a writer for {} s; will retry", waited.as_secs())]
    Locked { path: PathBuf, waited: Duration },
    #[error(
        "database {path} has a hot journal: a writer ended in the middle of a transaction, and only the owner may roll it back; open it once as its owner, with `reindexd build` or with the program that writes it"
    )]
    HotJournal { path: PathBuf },
    /// A log without its index, which only a writer can make.
    #[error(
        "database {path} has a -wal file that cannot be read without writing beside it ({found}); expected a readable -shm beside it, or an empty -wal: let the owner open the database once, with `reindexd build` or with the program that writes it, or give this user read access to both files"
    )]
    WalUnreadable { path: PathBuf, found: String },
    /// In WAL mode, only a writer makes what a reader needs for its locks.
    #[error(
        "database {path} is in WAL mode on {file_system}, where a write need not show in the file's times, so it is not read without locks, and with locks it cannot be read without writing beside it ({found}); run as the owner of the database, or keep it open in the program that writes it, or use another journal mode there (PRAGMA journal_mode = DELETE)"
    )]
    NeedsLocks { path: PathBuf, file_system: String, found: &'static str },
    /// A log is beside the name that the writer knows.
    #[error(
        "database {path} is in WAL mode and is a mount of the single file: its -wal, with what was committed last, is where the file is mounted from; expected a mount of its directory: mount its directory instead"
    )]
    MountedFile { path: PathBuf },
    /// SQLite sorts on disk.
    #[error(
        "cannot write SQLite's temporary files {place}, where it sorts what it reads of database {path}: {found}; make room there, or name another directory in the environment variable SQLITE_TMPDIR"
    )]
    TemporaryFiles { path: PathBuf, place: String, found: String },
    /// It was read without locks, and a writer did not wait.
    #[error("database {path}: changed while it was read; will retry")]
    Changed { path: PathBuf },
    /// Damaged, or a failure that only SQLite can name.
    #[error("database {path}: {found}")]
    Sqlite { path: PathBuf, found: String },
    /// The table is larger than a guard allows.
    #[error(transparent)]
    Refused(Refusal),
    #[error("stopped while the database was read")]
    Stopped,
}

impl SourceError {
    /// A table or column that is not there.
    pub(super) fn schema(path: &Path, found: &str, expected: &str) -> Self {
        Self::Schema { path: path.to_owned(), found: found.to_owned(), expected: expected.to_owned() }
    }

    /// When a later attempt may succeed. A file that is missing gets made or mounted, which is a change.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Missing { .. }
            | Self::NotAFile { .. }
            | Self::NotADatabase { .. }
            | Self::MountedFile { .. }
            | Self::Refused(_)
            | Self::Schema { .. }
            | Self::NotOnlyReading { .. }
            | Self::Settings { .. } => Retry::OnChange,
            Self::Io { .. }
            | Self::Locked { .. }
            | Self::HotJournal { .. }
            | Self::WalUnreadable { .. }
            | Self::NeedsLocks { .. }
            | Self::TemporaryFiles { .. }
            | Self::Changed { .. }
            | Self::Sqlite { .. }
            | Self::Stopped => Retry::Soon { wait: None },
        }
    }
}

fn all(errors: &[SpecError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; and ")
}
