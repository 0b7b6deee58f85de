//! Who may read what is published.
//!
//! The umask is set once, from what is published: the service's own could take
//! bits away. Files that replace published ones are readable by the same group
//! and users as those were. Where a directory has the setgid bit, all that is
//! made in it has its group, and directories have the bit too: the kernel sees
//! to both, and a later chmod would clear the bit.

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

    /// Makes the process's umask the bits that these permissions do not grant, and never lets others write.
    pub fn set_umask(self) {
        let closed = (0o777 & !self.directory) | 0o022;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(closed));
    }

    /// Gives an open file the group and these permission bits.
    pub(super) fn apply(self, file: &File, bits: u32, path: &Path) -> Result<(), DiskError> {
        self.give_group(file, bits, path)?;
        let found = file.metadata().map_err(DiskError::at("stat", path))?.permissions().mode() & 0o7777;
        // A file that is only linked here may belong to another user, and have the right mode already.
        if found == bits {
            return Ok(());
        }
        file.set_permissions(Permissions::from_mode(bits)).map_err(DiskError::at("chmod", path))
    }

    /// Gives a new directory the group, and the permission bits where the umask took some away.
    pub(super) fn apply_to_directory(self, directory: &File, path: &Path) -> Result<(), DiskError> {
        self.give_group(directory, self.directory, path)?;
        let found = directory.metadata().map_err(DiskError::at("stat", path))?.permissions().mode();
        if found & 0o777 == self.directory {
            return Ok(());
        }
        let bits = self.directory | (found & 0o2000);
        directory.set_permissions(Permissions::from_mode(bits)).map_err(DiskError::at("chmod", path))
    }

    fn give_group(self, file: &File, bits: u32, path: &Path) -> Result<(), DiskError> {
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
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;
    use crate::adapters::builds::disk::{make_directory, switch_file};

    const GROUP: u32 = 61_010;

    #[test]
    fn all_that_is_made_below_a_setgid_directory_has_its_group() {
        if !rustix::process::geteuid().is_root() {
            // Only root can give a directory to any group; said past the harness, which hides what passes.
            use std::io::Write;
            writeln!(std::io::stderr(), "NOT RUN: groups of a setgid directory: this user is not root")
                .unwrap();
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        chown(folder.path(), None, Some(GROUP)).unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o2770)).unwrap();
        let (outer, inner) = (folder.path().join("a"), folder.path().join("a/b"));

        make_directory(&outer, Mode::DEFAULT).unwrap();
        make_directory(&inner, Mode::like(0o644, GROUP)).unwrap();
        switch_file(&inner.join("file"), b"x", Mode::DEFAULT).unwrap();

        for (path, bits) in [(&outer, 0o2750), (&inner, 0o2755), (&inner.join("file"), 0o440)] {
            let meta = path.metadata().unwrap();
            assert_eq!((meta.gid(), meta.mode() & 0o7777), (GROUP, bits), "{}", path.display());
        }
    }
}
