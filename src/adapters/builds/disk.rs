//! The steps on disk: the only file that renames, removes, links and flushes names.
//!
//! Each function is one step that a crash may follow, and each error carries
//! act and path. Whatever is switched into place is durable first: a file's
//! bytes before its name, a directory before the name that leads to it. In
//! which order steps are taken is decided by the modules around this one; how
//! a file's bytes become durable, by `writer`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::disk_error::DiskError;
use super::layout::STAGING;
use super::mode::Mode;
use super::open;
use super::writer::Writer;
use crate::domain::sibling_path::{parent, sibling_path};

/// Makes one directory with its mode. Fails if the name is taken.
pub(super) fn make_directory(path: &Path, mode: Mode) -> Result<(), DiskError> {
    let new = open::make_directory(path, mode.directory).map_err(DiskError::at("make directory", path))?;
    mode.apply_to_directory(&new, path)
}

/// Opens a directory of ours, which is not a link, and makes it if it is missing; `true` if it was. Its name
/// is not yet durable then.
pub(super) fn open_or_make_directory(path: &Path, mode: Mode) -> Result<(File, bool), DiskError> {
    match open::open_directory(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return Ok((found.map_err(DiskError::at("open", path))?, false)),
    }
    match open::make_directory(path, mode.directory) {
        Ok(new) => Ok((new, true)),
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok((open::open_directory(path).map_err(DiskError::at("open", path))?, false))
        }
        Err(error) => Err(DiskError::at("make directory", path)(error)),
    }
}

/// Makes a directory and its missing parents, each made durable in its own.
pub(super) fn make_directories(path: &Path, mode: Mode) -> Result<(), DiskError> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = parent(path);
    make_directories(parent, mode)?;
    if make_missing(path, mode)? { sync_directory(parent) } else { Ok(()) }
}

/// Makes a directory if it is missing, and returns whether it was; its name is not yet durable.
fn make_missing(path: &Path, mode: Mode) -> Result<bool, DiskError> {
    match make_directory(path, mode) {
        Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

/// Makes the names in a directory durable. If it fails, a power cut may lose them.
pub(super) fn sync_directory(path: &Path) -> Result<(), DiskError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).map_err(DiskError::at("open", path))?.sync_all().map_err(DiskError::at("fsync", path))
}

/// Makes the bytes of a file that another program wrote durable, and sets its mode.
pub(super) fn seal_file(path: &Path, mode: Mode) -> Result<(), DiskError> {
    let file = open_file(path)?;
    mode.apply(&file, mode.file, path)?;
    file.sync_all().map_err(DiskError::at("fsync", path))
}

/// Writes a small file under its staging name and renames it over `path`; the directory is flushed.
///
/// If it fails the old file still stands, unless only the last flush failed.
pub(super) fn replace_file(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), DiskError> {
    switch_file(path, bytes, mode)?;
    sync_directory(parent(path))
}

/// [`replace_file`] without the flush of the directory.
///
/// A power cut leaves the old file or the new one, whole. If it fails the old file still stands.
pub(super) fn switch_file(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), DiskError> {
    let fresh = staging_name(path);
    remove_if_exists(&fresh)?;
    let mut writer = Writer::create(&fresh)?;
    let written = writer.write(bytes).and_then(|()| writer.finish(mode)).and_then(|_| rename(&fresh, path));
    if written.is_err() {
        // On a full disk half a file would only take space; what failed first is reported.
        remove_if_exists(&fresh).ok();
    }
    written
}

/// Makes a link under its staging name and renames it over `path`: from here on readers see the new
/// target. It is durable when the directory is flushed.
///
/// If it fails the old name still stands.
pub(super) fn switch_link(path: &Path, target: &Path) -> Result<(), DiskError> {
    let fresh = staging_name(path);
    remove_if_exists(&fresh)?;
    std::os::unix::fs::symlink(target, &fresh).map_err(DiskError::at("link", &fresh))?;
    rename(&fresh, path).inspect_err(|_| {
        // What failed first is reported.
        remove_if_exists(&fresh).ok();
    })
}

/// Whether a name is a link with exactly this target.
pub(super) fn is_link_to(link: &Path, target: &Path) -> bool {
    std::fs::read_link(link).is_ok_and(|found| found == target)
}

/// One name takes the place of another in one step. If it fails both still stand.
#[allow(clippy::disallowed_methods, reason = "the one place that renames")]
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), DiskError> {
    std::fs::rename(from, to).map_err(DiskError::at("rename", from))
}

/// A second name for a file's bytes, or a [`copy`] of them if the file system refuses one.
pub(super) fn link_or_copy<E: From<DiskError>>(
    from: &Path,
    to: &Path,
    check: &dyn Fn() -> Result<(), E>,
) -> Result<(), E> {
    match std::fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => copy(from, to, check),
    }
}

/// A copy of a file's bytes under a new name. `check` is called before each chunk; its error ends the copy.
pub(super) fn copy<E: From<DiskError>>(
    from: &Path,
    to: &Path,
    check: &dyn Fn() -> Result<(), E>,
) -> Result<(), E> {
    const CHUNK_BYTES: u64 = 16 << 20;
    let source = open_file(from)?;
    let mut target = open::create(to, 0o600).map_err(DiskError::at("create", to))?;
    loop {
        check()?;
        let copied = io::copy(&mut (&source).take(CHUNK_BYTES), &mut target);
        if copied.map_err(DiskError::at("copy", from))? < CHUNK_BYTES {
            return Ok(());
        }
    }
}

/// Removes a file or link. One that does not exist is not an error.
#[allow(clippy::disallowed_methods, reason = "the one place that removes")]
pub(super) fn remove_if_exists(path: &Path) -> Result<(), DiskError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DiskError::at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a directory with all that is in it, following no link.
#[allow(clippy::disallowed_methods, reason = "the one place that removes")]
pub(super) fn remove_tree(path: &Path) -> Result<(), DiskError> {
    std::fs::remove_dir_all(path).map_err(DiskError::at("remove", path))
}

/// The names in a directory, sorted; none if it does not exist.
pub(super) fn list_names(directory: &Path) -> Result<Vec<OsString>, DiskError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(DiskError::at("list", directory)(error)),
    };
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(DiskError::at("list", directory))?;
    names.sort();
    Ok(names)
}

/// Opens a file of ours to read it, refusing anything but a regular file, and never waiting.
pub(super) fn open_file(path: &Path) -> Result<File, DiskError> {
    let not_regular = || DiskError::invalid(path, "expected a regular file, found something else".to_owned());
    let file =
        open::open_to_read(path).map_err(|error| match (path.symlink_metadata(), path.metadata()) {
            (Ok(link), Ok(_)) if link.is_symlink() => {
                DiskError::invalid(path, "expected a regular file, found a link".to_owned())
            }
            // A link that leads nowhere is a file that is missing.
            (Ok(link), Err(error)) if link.is_symlink() => DiskError::at("open", path)(error),
            // A socket cannot be opened at all.
            (_, Ok(found)) if !found.is_file() => not_regular(),
            _ => DiskError::at("open", path)(error),
        })?;
    if file.metadata().map_err(DiskError::at("stat", path))?.is_file() {
        return Ok(file);
    }
    Err(not_regular())
}

/// Opens a file whose length is known: nothing is read from a file of another length.
pub(super) fn open_file_of(path: &Path, bytes: u64) -> Result<File, DiskError> {
    let file = open_file(path)?;
    match file.metadata().map_err(DiskError::at("stat", path))?.len() {
        found if found == bytes => Ok(file),
        found => Err(DiskError::invalid(path, format!("expected {bytes} bytes, found {found}"))),
    }
}

/// Reads a small file of ours, refusing anything but a regular file of at most `max_bytes`.
pub(super) fn read_small(path: &Path, max_bytes: u64) -> Result<Vec<u8>, DiskError> {
    let file = open_file(path)?;
    let bytes = file.metadata().map_err(DiskError::at("stat", path))?.len();
    if bytes > max_bytes {
        return Err(DiskError::invalid(path, format!("expected at most {max_bytes} bytes, found {bytes}")));
    }
    let mut content = Vec::new();
    file.take(max_bytes).read_to_end(&mut content).map_err(DiskError::at("read", path))?;
    Ok(content)
}

/// Bytes that this user may still write to the file system of `path`.
///
/// # Errors
///
/// [`DiskError`] if the file system cannot be asked.
pub fn free_bytes(path: &Path) -> Result<u64, DiskError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let stat = rustix::fs::statvfs(path)
        .map_err(|error| DiskError::at("ask for free space at", path)(error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The name that a file or link has until it takes its place. The sweep knows the ending.
pub(super) fn staging_name(path: &Path) -> PathBuf {
    sibling_path(path, STAGING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_cannot_be_put_in_its_place_leaves_no_staging_name() {
        let folder = tempfile::tempdir().unwrap();
        let current = folder.path().join("current");
        std::fs::create_dir(&current).unwrap();

        let error = switch_link(&current, Path::new("builds/x")).unwrap_err();

        assert_eq!(error.act, "rename", "no link takes a directory's place");
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().path()).collect();
        assert_eq!(left, [current]);
    }
}
