//! Why a build could not be made, read or served.

use std::path::PathBuf;

use thiserror::Error;

use super::disk_error::DiskError;
use super::index::IndexError;
use super::layout::LayoutError;
use super::proof::{Doubt, Proof};
use crate::domain::pass::{ErrorClass, Retry};

#[derive(Debug, Error)]
pub enum BuildsError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The file system has no symbolic links.
    #[error(
        "the file system of {path} refuses symbolic links, by which index and metadata are switched together; put publish.index on another file system"
    )]
    NoLinks { path: PathBuf, source: std::io::Error },
    /// Another configuration publishes from the same directory, or fills it from another source.
    #[error(
        "{path} belongs to another configuration, which publishes {theirs}; this one publishes {ours}; nothing was sent or changed; give one of them another directory, or take this one over with `reindexd build --accept-source` ({claim} holds the claim)"
    )]
    Claimed {
        path: PathBuf,
        /// The names that the other configuration publishes, and from which source.
        theirs: String,
        ours: String,
        /// The file that says so.
        claim: PathBuf,
    },
    /// Another user publishes here.
    #[error(
        "{path} belongs to uid {theirs}, and this runs as uid {ours}: run it as that user (sudo -u '#{theirs}' reindexd …), or give the whole directory to one of them by chown -R"
    )]
    OtherUser { path: PathBuf, theirs: u32, ours: u32 },
    /// A lock that may be local to a host does not keep two hosts apart; the notes of both do.
    #[error(
        "{path} is held by another host: {theirs}; this is {ours}, and two would undo each other's builds; nothing was sent or changed; run reindexd for one directory on one host; if the other is gone, this one goes on in {seconds} s"
    )]
    OtherHost { path: PathBuf, theirs: String, ours: String, seconds: u64 },
    #[error("{path} is {found}, expected a file or a link; move it away")]
    NotFileOrLink { path: PathBuf, found: &'static str },
    /// What is written below it would be written elsewhere.
    #[error("{path} is a link, expected a directory; put what it leads to in its place")]
    DirectoryIsLink { path: PathBuf },
    /// Readers whom the settings let in could not pass it.
    #[error("{path} {why}; nothing was sent or changed")]
    Closed { path: PathBuf, why: String },
    /// One of its files is proven not to be what was written.
    #[error("build {id} is damaged: {why}")]
    Damaged { id: String, why: String },
    /// Whether a build is whole could not be found out.
    #[error(transparent)]
    NotKnown(#[from] Doubt),
    /// `hint`: the nearest id, or all that are kept.
    #[error("there is no build {id}{hint}")]
    NoSuchBuild { id: String, hint: String },
    /// Its records cannot be matched with those of another build or the table.
    #[error(
        "the records of build {id} do not say of which rows they are, so they cannot be compared: expected the id of each row among its keys ({keys})"
    )]
    NoRowIds { id: String, keys: String },
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl BuildsError {
    /// [`ErrorClass::Settings`] is refused again until the settings, or who runs with them, change.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Layout(_)
            | Self::NoLinks { .. }
            | Self::Claimed { .. }
            | Self::OtherUser { .. }
            | Self::DirectoryIsLink { .. } => ErrorClass::Settings,
            Self::OtherHost { .. } => ErrorClass::Busy,
            Self::Disk(_)
            | Self::NotFileOrLink { .. }
            | Self::Closed { .. }
            | Self::Damaged { .. }
            | Self::NotKnown(_)
            | Self::NoSuchBuild { .. }
            | Self::NoRowIds { .. }
            | Self::Index(_) => ErrorClass::Other,
        }
    }

    /// When another pass may succeed.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotKnown(doubt) => doubt.retry(),
            Self::Disk(_)
            | Self::Layout(_)
            | Self::NoLinks { .. }
            | Self::Claimed { .. }
            | Self::OtherUser { .. }
            | Self::OtherHost { .. }
            | Self::NotFileOrLink { .. }
            | Self::DirectoryIsLink { .. }
            | Self::Closed { .. }
            | Self::Damaged { .. }
            | Self::NoSuchBuild { .. }
            | Self::NoRowIds { .. }
            | Self::Index(_) => Retry::Soon { wait: None },
        }
    }
}

impl<T> Proof<T> {
    /// The value of what is whole; of the build `id`, the two other results as two errors.
    ///
    /// # Errors
    ///
    /// [`BuildsError::Damaged`] and [`BuildsError::NotKnown`].
    pub fn of_build(self, id: &str) -> Result<T, BuildsError> {
        match self {
            Self::Whole(value) => Ok(value),
            Self::Damaged(why) => Err(BuildsError::Damaged { id: id.to_owned(), why }),
            Self::NotKnown(doubt) => Err(BuildsError::NotKnown(doubt)),
        }
    }
}
