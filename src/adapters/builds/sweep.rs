//! Removes what a killed pass, or a killed ingest.py, left unverified.
//!
//! That is every `*.staging` in `builds/`, whatever its id, and every regular
//! file or link `*.staging` beside the published names and in `.reindexd/`, and
//! the record of a pass that no longer runs. No link is followed, nothing else
//! is touched. The same sweep runs at every
//! start, after SIGTERM and at the beginning of every pass, so a crash needs no
//! second mechanism.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::disk_error::DiskError;
use super::layout::STAGING;
use super::{Builds, current_pass, disk, lock};
use crate::domain::sibling_path::parent;

/// What a sweep did. What it could not remove takes disk space and is in no one's way: a build has a name
/// of its own.
#[derive(Debug, Default)]
pub struct Swept {
    pub removed: Vec<PathBuf>,
    /// Why something stays.
    pub failures: Vec<DiskError>,
}

/// Removes stale staging. The caller holds the pass lock.
#[must_use]
pub fn sweep(builds: &Builds) -> Swept {
    let layout = &builds.layout;
    let mut swept = Swept::default();
    // Only the holder of the pass lock has a pass to record.
    swept.failures.extend(current_pass::remove(layout).err());
    for path in swept.stale(&layout.builds) {
        let is_gone =
            if is_directory(&path) { disk::remove_tree(&path) } else { disk::remove_if_exists(&path) };
        swept.note(path, is_gone);
    }
    // While a note is being written, its staging file is not stale.
    let notes_lock = lock::try_lock_notes(layout).unwrap_or_else(|error| {
        swept.failures.push(error);
        None
    });
    let mut directories = vec![layout.root.as_path()];
    if notes_lock.is_some() {
        directories.push(&layout.private);
    }
    if parent(&layout.metadata) != layout.root {
        directories.push(parent(&layout.metadata));
    }
    for directory in directories {
        let is_ours = |path: &PathBuf| {
            // Beside metadata that stand elsewhere, only the metadata's own staging name is ours.
            directory == layout.root
                || directory == layout.private
                || *path == disk::staging_name(&layout.metadata)
        };
        for path in swept.stale(directory).into_iter().filter(is_ours) {
            match path.symlink_metadata() {
                Ok(meta) if meta.is_file() || meta.is_symlink() => {
                    let is_gone = disk::remove_if_exists(&path);
                    swept.note(path, is_gone);
                }
                Ok(_) => {}
                Err(error) => swept.failures.push(DiskError::at("stat", &path)(error)),
            }
        }
    }
    swept
}

impl Swept {
    fn note(&mut self, path: PathBuf, is_gone: Result<(), DiskError>) {
        match is_gone {
            Ok(()) => self.removed.push(path),
            Err(error) => self.failures.push(error),
        }
    }

    /// The staging names in a directory.
    fn stale(&mut self, directory: &Path) -> Vec<PathBuf> {
        let is_staging = |name: &OsString| name.as_bytes().ends_with(STAGING.as_bytes());
        let names = disk::list_names(directory).unwrap_or_else(|error| {
            self.failures.push(error);
            Vec::new()
        });
        names.into_iter().filter(is_staging).map(|name| directory.join(name)).collect()
    }
}

fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notes_staging_file_is_stale_only_when_it_is_not_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let builds =
            Builds::at(&folder.path().join("faiss.index"), &folder.path().join("metadata.json")).unwrap();
        let _pass = builds.lock().unwrap().unwrap();
        let note = builds.layout.private.join("agent.json.staging");
        std::fs::write(&note, "{").unwrap();

        let writing = lock::lock_notes(&builds.layout).unwrap();
        assert_eq!(sweep(&builds).removed, Vec::<PathBuf>::new());
        drop(writing);

        assert_eq!(sweep(&builds).removed, [note]);
    }
}
