//! The error of a system call on a file of ours: what was tried, where, and why it failed.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

use crate::domain::pass::ErrorClass;

#[derive(Debug, Error)]
#[error("cannot {act} {path}")]
pub struct DiskError {
    /// What was tried: a verb, as in "open".
    pub act: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

impl DiskError {
    /// Wraps an error of the operating system: `.map_err(DiskError::at("open", path))`.
    pub(super) fn at(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { act, path: path.to_owned(), source }
    }

    /// A file whose bytes or kind are not what they must be.
    pub(super) fn invalid(path: &Path, found: String) -> Self {
        Self::at("read", path)(io::Error::new(io::ErrorKind::InvalidData, found))
    }

    /// Whether the system was short of descriptors or memory, which says nothing about the file.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        const SHORTAGE_ERRNOS: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
        match Errno::from_io_error(&self.source) {
            Some(errno) if SHORTAGE_ERRNOS.contains(&errno) => ErrorClass::Shortage,
            _ => ErrorClass::Other,
        }
    }
}
