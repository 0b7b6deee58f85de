//! Who may read what is published.
//!
//! As the settings say, else as the files that stand there already are readable,
//! so that an API keeps its access. The umask is set from that, since the
//! service's own could take bits away. Where a directory has the setgid bit, all
//! that is made in it has its group, and directories have the bit too: the kernel
//! sees to both, so the mode of a directory is never changed after it was made.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use super::disk_error::DiskError;
use crate::config::{PublishSettings, group_name};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Permission bits of a sealed file.
    pub file: u32,
    /// Permission bits of a build's directory.
    pub directory: u32,
    /// The group that files and directories are given.
    pub group: Option<GivenGroup>,
}

/// A group that is given to what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenGroup {
    id: u32,
    /// By `publish.group`, not by the files that were found.
    is_set: bool,
}

/// What the settings say of who may read; what they leave open follows from the files that are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    group: Option<u32>,
    file: Option<u32>,
}

impl From<&PublishSettings> for Access {
    fn from(settings: &PublishSettings) -> Self {
        Self { group: settings.group.as_ref().map(|group| group.id), file: settings.mode }
    }
}

impl Access {
    /// The permissions of what is published next, from those of what is published now.
    pub(super) fn or_as_found(self, found: Mode) -> Mode {
        let bits = self.file.map_or(found, |file| Mode::like(file, 0));
        let group = self.group.map(|id| GivenGroup { id, is_set: true });
        Mode { group: group.or(found.group), ..bits }
    }

    /// Why a directory that stands there already keeps readers out whom the settings let in.
    pub(super) fn fault(self, found: u32) -> Option<String> {
        let needed = Mode::like(self.file?, 0).directory;
        let missing = needed & !found;
        (missing != 0).then(|| {
            let found = found & 0o7777;
            format!(
                "has mode {found:04o}, publish.mode needs {:04o}; its mode is not changed: chmod {:04o} it",
                needed,
                found | needed
            )
        })
    }
}

impl Mode {
    /// Owner and group may read. Only the owner may write, and only to directories.
    pub const DEFAULT: Self = Self { file: 0o440, directory: 0o750, group: None };

    /// The read bits of group and world, and the group, of a file that was published before.
    pub(super) fn like(mode: u32, group: u32) -> Self {
        let read = mode & 0o044;
        let group = Some(GivenGroup { id: group, is_set: false });
        Self { file: 0o400 | read, directory: 0o700 | read | (read >> 2), group }
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

    /// Gives a directory the group. Its mode stays: to change it would take the setgid bit away.
    pub(super) fn apply_to_directory(self, directory: &File, path: &Path) -> Result<(), DiskError> {
        self.give_group(directory, self.directory, path)
    }

    /// Gives a directory that stood there already the group that the settings name, if they name one.
    pub(super) fn apply_to_found(self, directory: &File, path: &Path) -> Result<(), DiskError> {
        match self.group {
            Some(GivenGroup { is_set: true, .. }) => self.apply_to_directory(directory, path),
            _ => Ok(()),
        }
    }

    fn give_group(self, file: &File, bits: u32, path: &Path) -> Result<(), DiskError> {
        let Some(GivenGroup { id, is_set }) = self.group else { return Ok(()) };
        let found = file.metadata().map_err(DiskError::at("stat", path))?.gid();
        if found == id {
            return Ok(());
        }
        let Err(error) = fchown(file, None, Some(id)) else { return Ok(()) };
        if is_set {
            let group = group_name(id).map_or_else(|| id.to_string(), |name| format!("{name} ({id})"));
            let found = format!(
                "{error}: publish.group is {group}; the user that runs this must be a member of it \
                 (usermod -aG), and a service needs the drop-in group.conf (PrivateUsers=no) as well"
            );
            let error = std::io::Error::other(found);
            return Err(DiskError::at("set the group of", path)(error));
        }
        // If all may read the file, so may the group; if only the group may, the API would lose it.
        let (group_reads, all_read) = (bits & 0o070 != 0, bits.trailing_zeros() < 3);
        if group_reads && !all_read {
            return Err(DiskError::at("give the group of the old files to", path)(error));
        }
        let path = path.display();
        tracing::warn!(%path, group = id, "cannot give the group of the old files; all users may read the new ones");
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
