//! Why the embedding cache could not be used, and what is logged when it was repaired.

use std::io;
use std::path::PathBuf;

use crate::domain::record::TextHash;

/// A line for the log about damage that was repaired.
pub type Warning = String;

/// Unless a variant says otherwise, nothing more may be embedded.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Something else has the name of the cache or of one of its side files.
    #[error("embedding cache {}: expected a regular file, found {found}", path.display())]
    NotAFile { path: PathBuf, found: &'static str },
    #[error("embedding cache {}: expected a file that can be written, found it read-only", path.display())]
    ReadOnly { path: PathBuf },
    #[error("embedding cache {}: cannot {act}", path.display())]
    Io { act: &'static str, path: PathBuf, source: io::Error },
    /// A damaged file is found and moved away at the next [`Cache::open`](super::Cache::open).
    #[error("embedding cache {}: cannot {act}", path.display())]
    Sqlite { act: &'static str, path: PathBuf, source: rusqlite::Error },
    /// Another program wrote it: it is not damaged, and not used.
    #[error(
        "embedding cache {} was made by a newer version: it has layout {found}, and this is {}, which knows \
         layout {known}; nothing was changed: install the newer version again, or move the file away if there was none", path.display(), crate::PROGRAM
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    /// One vector is missing or not as it was stored. It is no longer listed, so
    /// its text may be embedded again; the rest of the cache is good.
    #[error("embedding cache holds no vector of text {text}: {message}")]
    Missing { text: TextHash, message: String },
}
