//! How files and directories of ours are made and opened.
//!
//! No link is followed at the last name: what a stranger puts in its place in
//! between is refused. The mode of what is made is said here and never changed
//! afterwards for a directory: the kernel sees to its setgid bit. A fifo is not
//! waited for. Who may read what is published belongs to `mode`.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::retry_on_intr;

/// The most that others may be allowed: no file of ours is written by them.
const MODE_BITS: u32 = 0o755;

/// Opens a file to read it.
pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    open_name(path, OFlags::RDONLY, 0)
}

/// Opens a file to write it in place.
pub(super) fn open_to_write(path: &Path) -> io::Result<File> {
    open_name(path, OFlags::WRONLY, 0)
}

/// Opens a file to write it in place, and makes it with this mode if it is missing.
pub(super) fn open_or_create(path: &Path, mode: u32) -> io::Result<File> {
    open_name(path, OFlags::WRONLY | OFlags::CREATE, mode)
}

/// Makes a file with this mode. Fails if the name is taken.
pub(super) fn create(path: &Path, mode: u32) -> io::Result<File> {
    open_name(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode)
}

/// Opens a directory; [`std::io::ErrorKind::NotADirectory`] if it is a link or anything else.
pub(super) fn open_directory(path: &Path) -> io::Result<File> {
    open_name(path, OFlags::RDONLY | OFlags::DIRECTORY, 0)
}

/// Makes a directory with this mode, and opens it. Fails if the name is taken.
pub(super) fn make_directory(path: &Path, mode: u32) -> io::Result<File> {
    mkdirat(CWD, path, Mode::from_raw_mode(mode & MODE_BITS))?;
    open_directory(path)
}

fn open_name(path: &Path, flags: OFlags, mode: u32) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(mode & MODE_BITS);
    Ok(File::from(retry_on_intr(|| openat(CWD, path, flags, mode))?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn nothing_is_made_or_opened_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "theirs").unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        for (link, to) in [("to-file", "file"), ("to-directory", "directory"), ("to-nothing", "nothing")] {
            symlink(to, at(link)).unwrap();
            let path = at(link);
            assert!(open_to_read(&path).is_err(), "{link}");
            assert!(open_or_create(&path, 0o600).is_err(), "{link}");
            assert!(create(&path, 0o600).is_err(), "{link}");
            assert!(open_directory(&path).is_err(), "{link}");
            assert!(make_directory(&path, 0o700).is_err(), "{link}");
        }
        assert!(!at("nothing").exists());
        // Above the last name links are followed: a data directory may be one.
        assert!(create(&at("to-directory/new"), 0o640).is_ok());
        assert!(make_directory(&at("to-directory/below"), 0o750).is_ok());
        for (name, mode) in [("directory/new", 0o640), ("directory/below", 0o750)] {
            assert_eq!(at(name).metadata().unwrap().permissions().mode() & 0o777, mode, "{name}");
        }
    }
}
