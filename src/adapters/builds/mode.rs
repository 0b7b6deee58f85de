//! Who may read what is published.
//!
//! Modes are set explicitly, since the umask is the service's, not ours to
//! trust. Files that replace published ones are readable by the same group
//! and users as those were.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use super::disk_error::DiskError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Permission bits of a sealed file.
    pub file: u32,
    /// Permission bits of a build's directory.
    pub directory: u32,
    /// The group that files and directories are given.
    pub group: Option<u32>,
}

impl Mode {
    /// Owner and group may read. Only the owner may write, and only to directories.
    pub const DEFAULT: Self = Self { file: 0o440, directory: 0o750, group: None };

    /// The read bits of group and world, and the group, of a file that was published before.
    pub(super) fn like(mode: u32, group: u32) -> Self {
        let read = mode & 0o044;
        Self { file: 0o400 | read, directory: 0o700 | read | (read >> 2), group: Some(group) }
    }

    /// Gives an open file or directory the group and these permission bits.
    pub(super) fn apply(self, file: &File, bits: u32, path: &Path) -> Result<(), DiskError> {
        if let Some(group) = self.group {
            let found = file.metadata().map_err(DiskError::at("stat", path))?.gid();
            if found != group
                && let Err(error) = fchown(file, None, Some(group))
            {
                // If all may read the file, so may the group; if only the group may, the API would lose it.
                let (group_reads, all_read) = (bits & 0o070 != 0, bits.trailing_zeros() < 3);
                if group_reads && !all_read {
                    return Err(DiskError::at("give the group of the old files to", path)(error));
                }
                let path = path.display();
                tracing::warn!(%path, group, "cannot give the group of the old files; all users may read the new ones");
            }
        }
        let found = file.metadata().map_err(DiskError::at("stat", path))?.permissions().mode() & 0o7777;
        // A file that is only linked here may belong to another user, and have the right mode already.
        if found == bits {
            return Ok(());
        }
        file.set_permissions(Permissions::from_mode(bits)).map_err(DiskError::at("chmod", path))
    }
}
