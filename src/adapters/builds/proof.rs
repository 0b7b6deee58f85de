//! What is known of a file or a build on disk: whole, damaged, or not known.
//!
//! Damage is proven: a file was read to its end and differs, has another
//! length, is missing, or contradicts itself. Every other error, and every
//! format that is newer than this program, is a [`Doubt`]: it says nothing
//! about what is on disk, so nothing is embedded, replaced or removed because
//! of it. What follows from each result is decided by the caller.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::disk_error::DiskError;
use crate::domain::manifest::ManifestError;
use crate::domain::pass::Retry;
use crate::domain::row_hashes::RowHashesError;
use crate::domain::text::error_chain;

/// What a proof came to.
#[derive(Debug)]
pub enum Proof<T> {
    Whole(T),
    /// What was expected and found.
    Damaged(String),
    NotKnown(Doubt),
}

/// Why nothing is known.
#[derive(Debug, Error)]
pub enum Doubt {
    #[error(transparent)]
    Disk(DiskError),
    /// Another program wrote it, which knows a format that this one does not.
    #[error(
        "{path} was made by a newer version: it has format {found} of {by}, and this is {}, which knows \
         format {known}; nothing was changed: install the newer version again",
        crate::PROGRAM
    )]
    Newer { path: PathBuf, found: u32, known: u32, by: String },
    /// Faiss refused a file that has the promised bytes.
    #[error("{0}")]
    Faiss(String),
}

impl<T> Proof<T> {
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Proof<U> {
        match self {
            Self::Whole(value) => Proof::Whole(change(value)),
            Self::Damaged(why) => Proof::Damaged(why),
            Self::NotKnown(doubt) => Proof::NotKnown(doubt),
        }
    }

    /// Asks further of what is whole.
    pub fn and_then<U>(self, ask: impl FnOnce(T) -> Proof<U>) -> Proof<U> {
        match self {
            Self::Whole(value) => ask(value),
            Self::Damaged(why) => Proof::Damaged(why),
            Self::NotKnown(doubt) => Proof::NotKnown(doubt),
        }
    }
}

/// What a failed reading says.
impl<T> From<DiskError> for Proof<T> {
    fn from(error: DiskError) -> Self {
        if error.proves_damage() {
            Self::Damaged(error_chain(&error))
        } else {
            Self::NotKnown(Doubt::Disk(error))
        }
    }
}

impl<T> From<Result<T, DiskError>> for Proof<T> {
    fn from(read: Result<T, DiskError>) -> Self {
        read.map_or_else(Self::from, Self::Whole)
    }
}

impl<T> Proof<T> {
    /// What bytes say that were read to their end, as the manifest at `path`.
    pub(super) fn of_manifest(parsed: Result<T, ManifestError>, path: &Path) -> Self {
        match parsed {
            Ok(value) => Self::Whole(value),
            Err(ManifestError::Newer { found, known, by }) => {
                Self::NotKnown(Doubt::Newer { path: path.to_owned(), found, known, by })
            }
            Err(error) => Self::Damaged(error.to_string()),
        }
    }

    /// What bytes say that have the promised digest, as the row hashes at `path` that `by` wrote.
    pub(super) fn of_hashes(parsed: Result<T, RowHashesError>, path: &Path, by: &str) -> Self {
        match parsed {
            Ok(value) => Self::Whole(value),
            Err(RowHashesError::Newer { found, known }) => {
                Self::NotKnown(Doubt::Newer { path: path.to_owned(), found, known, by: by.to_owned() })
            }
            Err(error @ RowHashesError::Wrong { .. }) => Self::Damaged(error.to_string()),
        }
    }
}

impl Doubt {
    /// When asking again may give another answer.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Disk(_) | Self::Faiss(_) => Retry::Soon { wait: None },
            // Until another program is installed.
            Self::Newer { .. } => Retry::OnChange,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::*;

    fn proof_of(source: io::Error) -> Proof<()> {
        DiskError::at("read", Path::new("x"))(source).into()
    }

    #[test]
    fn only_a_missing_file_and_contents_that_were_read_prove_damage() {
        for errno in (1..=133).map(Errno::from_raw_os_error) {
            let found = proof_of(errno.into());
            let is_missing = errno == Errno::NOENT;
            assert_eq!(matches!(found, Proof::Damaged(_)), is_missing, "{errno:?}");
            assert_eq!(matches!(found, Proof::NotKnown(Doubt::Disk(_))), !is_missing, "{errno:?}");
        }
        for kind in [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof] {
            assert!(matches!(proof_of(io::Error::new(kind, "other bytes")), Proof::Damaged(_)), "{kind}");
        }
    }

    #[test]
    fn a_newer_format_is_not_known_until_files_change_and_names_both_versions() {
        let parsed = Err(ManifestError::Newer { found: 7, known: 1, by: "reindexd 9.9.9".to_owned() });

        let Proof::<()>::NotKnown(doubt) = Proof::of_manifest(parsed, Path::new("m")) else {
            panic!("a newer format says nothing of the build")
        };

        assert_eq!(doubt.retry(), Retry::OnChange);
        let message = doubt.to_string();
        for part in ["m was made", "format 7 of reindexd 9.9.9", crate::PROGRAM, "format 1;"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}
