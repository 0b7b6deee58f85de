//! The error of a system call on a file of ours: what was tried, where, and why it failed.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

#[derive(Debug, Error)]
#[error("cannot {act} {path}{}", whose(.path, .source))]
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

    /// Whether it proves that the file is missing, or is not what was written. Every other error, as of
    /// a disk, a network or a permission, says nothing about the file.
    #[must_use]
    pub fn proves_damage(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        )
    }
}

/// Where a permission is the cause: whose file it is, and as whom to run.
fn whose(path: &Path, source: &io::Error) -> String {
    if source.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    // What may not be looked at belongs to whom the directory above it belongs to.
    let Some(owner) = path.ancestors().find_map(|path| path.symlink_metadata().ok()).map(|meta| meta.uid())
    else {
        return String::new();
    };
    let ours = rustix::process::geteuid().as_raw();
    if owner == ours {
        return format!(
            ", though it belongs to uid {ours}, as which this runs: check the modes of it and of the directories above it"
        );
    }
    let name = user_name(owner).map(|name| format!("{name}, ")).unwrap_or_default();
    format!(
        ", which cannot be done by this user: it belongs to {name}uid {owner}, and this runs as uid {ours}; \
         run it as that user (sudo -u '#{owner}' reindexd …)"
    )
}

/// The name of a user of this host, where its list of users has one.
fn user_name(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    })
}
