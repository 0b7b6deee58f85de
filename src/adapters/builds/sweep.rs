//! Clears what a killed pass, or a killed ingest.py, left unproven.
//!
//! Removed is every `*.staging` in `builds/`, whatever its id, and every
//! regular file or link `*.staging` beside the published names and in
//! `.reindexd/`. No link is followed, nothing else is touched. The same sweep
//! runs at every start, after SIGTERM and at the head of every pass: a crash
//! needs no second mechanism.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Builds, DiskError, STAGING, disk, lock};

/// Removes stale staging and says what it removed. The caller holds the lock.
///
/// # Errors
///
/// The first [`DiskError`]; what was removed before stays removed.
pub fn sweep(builds: &Builds) -> Result<Vec<PathBuf>, DiskError> {
    let layout = &builds.layout;
    let mut removed = Vec::new();
    for path in stale(&layout.builds)? {
        if is_directory(&path) {
            disk::remove_tree(&path)?;
        } else {
            disk::remove_if_exists(&path)?;
        }
        removed.push(path);
    }
    // Where a note is being written, what it is made of is not stale.
    let no_notes = lock::try_lock_notes(layout)?;
    let mut beside = vec![layout.root.as_path()];
    if no_notes.is_some() {
        beside.push(&layout.private);
    }
    if disk::parent(&layout.metadata) != layout.root {
        beside.push(disk::parent(&layout.metadata));
    }
    for directory in beside {
        let ours = |path: &PathBuf| {
            // Beside metadata that stand elsewhere, only our own name is ours to remove.
            directory == layout.root
                || directory == layout.private
                || *path == disk::staging_name(&layout.metadata)
        };
        for path in stale(directory)?.into_iter().filter(ours) {
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
    let ends = |name: &OsString| name.as_bytes().ends_with(STAGING.as_bytes());
    Ok(names(directory)?.into_iter().filter(ends).map(|name| directory.join(name)).collect())
}

/// The names in a directory, sorted; none where it does not exist.
///
/// # Errors
///
/// [`DiskError`] where it cannot be listed.
pub fn names(directory: &Path) -> Result<Vec<OsString>, DiskError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(DiskError::at("list", directory)(error)),
    };
    let mut out = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(DiskError::at("list", directory))?;
    out.sort();
    Ok(out)
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
