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

/// Removes stale staging and returns what it removed. The caller holds the pass lock.
///
/// # Errors
///
/// The first [`DiskError`]; what was removed before stays removed.
pub fn sweep(builds: &Builds) -> Result<Vec<PathBuf>, DiskError> {
    let layout = &builds.layout;
    let mut removed = Vec::new();
    // Only the holder of the pass lock has a pass to record.
    current_pass::remove(layout)?;
    for path in stale(&layout.builds)? {
        if is_directory(&path) {
            disk::remove_tree(&path)?;
        } else {
            disk::remove_if_exists(&path)?;
        }
        removed.push(path);
    }
    // While a note is being written, its staging file is not stale.
    let notes_lock = lock::try_lock_notes(layout)?;
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
        for path in stale(directory)?.into_iter().filter(is_ours) {
            let kind = path.symlink_metadata().map_err(DiskError::at("stat", &path))?.file_type();
            if kind.is_file() || kind.is_symlink() {
                disk::remove_if_exists(&path)?;
                removed.push(path);
            }
        }
    }
    Ok(removed)
}

fn stale(directory: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let is_staging = |name: &OsString| name.as_bytes().ends_with(STAGING.as_bytes());
    let names = disk::list_names(directory)?.into_iter();
    Ok(names.filter(is_staging).map(|name| directory.join(name)).collect())
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
        assert_eq!(sweep(&builds).unwrap(), Vec::<PathBuf>::new());
        drop(writing);

        assert_eq!(sweep(&builds).unwrap(), [note]);
    }
}
