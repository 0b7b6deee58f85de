//! Why the source could not be read: each state of the file has words of its own.

use std::path::PathBuf;

use thiserror::Error;

use super::{LOCK_TIMEOUT, TABLE};
use crate::domain::record::COLUMNS;

/// Why the source could not be read. Nothing was changed.
#[derive(Debug, Error)]
pub enum SourceError {
    /// No file there.
    #[error(
        "database {path} does not exist; expected the SQLite file that tag_experts.py writes (source.database or DATABASE_URL)"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A system call on the file failed.
    #[error("cannot {act} database {path}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Not a regular file.
    #[error("database {path} is {found}, expected a regular file")]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What stands there.
        found: &'static str,
    },
    /// A file, but not SQLite's.
    #[error("{path} is not a SQLite database: {found}")]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What its beginning looks like.
        found: String,
    },
    /// The table or a column is missing.
    #[error("database {path}: {found}; expected table {TABLE} with the columns {}", COLUMNS.join(", "))]
    Schema {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        found: String,
    },
    /// A writer keeps the database locked.
    #[error("database {path} stayed locked by a writer for {} s; it is tried again", LOCK_TIMEOUT.as_secs())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// A writer died in mid-transaction.
    #[error(
        "database {path} has a hot journal: a writer died in mid-transaction, and only the owner may roll it back; open it once as its owner, or start the program that writes it"
    )]
    HotJournal {
        /// The file.
        path: PathBuf,
    },
    /// A log without its index, which only a writer can make.
    #[error(
        "database {path} has a -wal file that this user cannot read safely ({found}); expected a readable -shm beside it, or an empty -wal: let the owner open the database once, or give this user read access to both files"
    )]
    WalUnreadable {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        found: String,
    },
    /// The file changed while it was read without locks.
    #[error("database {path} changed while it was read; it is tried again")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Damaged, or something SQLite alone can name.
    #[error("database {path}: {found}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        found: String,
    },
    /// A stop was asked for.
    #[error("stopped while the database was read")]
    Stopped,
}

impl SourceError {
    /// Whether time alone may cure it. A file that is missing is made, or is mounted: a change, and heard of.
    #[must_use]
    pub fn retry(&self) -> bool {
        !matches!(
            self,
            Self::Missing { .. } | Self::Schema { .. } | Self::NotADatabase { .. } | Self::NotAFile { .. }
        )
    }
}
