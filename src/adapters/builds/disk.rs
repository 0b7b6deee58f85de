//! The only file that renames, removes, links and flushes.
//!
//! Each function is one step that a crash may follow, and each error carries
//! act and path. Whatever is switched into place is durable first: a file's
//! bytes before its name, a directory before the name that leads to it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use thiserror::Error;

use crate::domain::manifest::FileFact;
use crate::domain::parallel;
use crate::domain::pass::ErrorClass;

/// A system call on a file of ours that failed.
#[derive(Debug, Error)]
#[error("cannot {act} {path}")]
pub struct DiskError {
    /// What was tried.
    pub act: &'static str,
    /// On which path.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl DiskError {
    /// Wraps an error of the operating system: `.map_err(DiskError::at("open", path))`.
    pub fn at(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { act, path: path.to_owned(), source }
    }

    /// Whether the system was short of something, which says nothing about the file.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        const SHORTAGE_ERRNOS: [rustix::io::Errno; 4] = [
            rustix::io::Errno::MFILE,
            rustix::io::Errno::NFILE,
            rustix::io::Errno::NOMEM,
            rustix::io::Errno::AGAIN,
        ];
        match rustix::io::Errno::from_io_error(&self.source) {
            Some(errno) if SHORTAGE_ERRNOS.contains(&errno) => ErrorClass::Shortage,
            _ => ErrorClass::Other,
        }
    }
}

/// Bytes that take longer to hash than a thread takes to start.
const MIN_BYTES_FOR_THREAD: u64 = 512 << 10;

/// A file that is written once, in order, while its digest is made.
///
/// The bytes of a long file are handed to the disk while more of them come:
/// left to itself, the system would begin when some gigabytes wait, and the
/// flush at the end would take as long again as everything before.
pub struct Writer {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    bytes: u64,
    /// Bytes written since the disk was last asked to begin.
    unflushed: usize,
    background_flush: Option<BackgroundFlush>,
}

impl Writer {
    /// Pieces of this size are hashed by wide instructions, and by a thread beside the one that writes.
    const BUFFER_BYTES: usize = 1 << 20;
    /// So much at a time goes to the disk ahead of the end: some tenths of a second for most.
    const FLUSH_BYTES: usize = 64 << 20;

    /// Makes a new file, readable by its owner alone until it is sealed.
    ///
    /// # Errors
    ///
    /// [`DiskError`], also where the name is taken.
    pub fn create(path: &Path) -> Result<Self, DiskError> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(DiskError::at("create", path))?;
        let (path, hasher) = (path.to_owned(), blake3::Hasher::new());
        Ok(Self { path, file, buffer: Vec::new(), hasher, bytes: 0, unflushed: 0, background_flush: None })
    }

    /// Appends.
    ///
    /// # Errors
    ///
    /// [`DiskError`], as on a full disk.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let is_long = bytes.len() >= Self::BUFFER_BYTES / 2;
        if is_long || self.buffer.len() + bytes.len() > Self::BUFFER_BYTES {
            self.empty_buffer()?;
        }
        if is_long {
            return self.hand_over(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Hands all bytes to the disk and gives size and digest of what was meant to be written.
    ///
    /// # Errors
    ///
    /// [`DiskError`]: the file is then worth nothing.
    pub fn finish(mut self, mode: Mode) -> Result<FileFact, DiskError> {
        self.empty_buffer()?;
        let Self { path, file, hasher, bytes, background_flush: ahead, .. } = self;
        mode.apply(&file, mode.file, &path)?;
        // The system tells of a failed write once: what failed ahead would not fail again.
        ahead.map_or(Ok(()), BackgroundFlush::finish).map_err(DiskError::at("fsync", &path))?;
        file.sync_all().map_err(DiskError::at("fsync", &path))?;
        Ok(FileFact { bytes, blake3: hasher.finalize().to_string() })
    }

    /// Hands what is buffered to the system; a file that only this process reads need not be durable.
    ///
    /// # Errors
    ///
    /// [`DiskError`], as on a full disk.
    pub fn flush(mut self) -> Result<(), DiskError> {
        self.empty_buffer()
    }

    fn empty_buffer(&mut self) -> Result<(), DiskError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let passed_on = self.hand_over(&buffer);
        buffer.clear();
        self.buffer = buffer;
        passed_on
    }

    fn hand_over(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let Self { file, hasher, .. } = self;
        let length = bytes.len() as u64;
        let is_long = length >= MIN_BYTES_FOR_THREAD;
        let ((), written) = parallel::join(is_long, || _ = hasher.update(bytes), || file.write_all(bytes));
        written.map_err(DiskError::at("write", &self.path))?;
        self.bytes += bytes.len() as u64;
        self.unflushed += bytes.len();
        if self.unflushed >= Self::FLUSH_BYTES {
            self.unflushed = 0;
            if self.background_flush.is_none() {
                // Without a thread for it everything waits for the flush at the end.
                self.background_flush = BackgroundFlush::start(&self.file).ok();
            }
            if let Some(ahead) = &self.background_flush {
                ahead.wake();
            }
        }
        Ok(())
    }
}

/// A thread that flushes a file which is still being written.
struct BackgroundFlush {
    wake: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl BackgroundFlush {
    fn start(file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (wake, woken) = sync_channel(1);
        let flush = move || woken.iter().try_for_each(|()| file.sync_data());
        let thread = std::thread::Builder::new().name("flush-ahead".to_owned()).spawn(flush)?;
        Ok(Self { wake, thread })
    }

    /// Asks for one more flush. One that is asked for already will do; what failed is told at the end.
    fn wake(&self) {
        self.wake.try_send(()).ok();
    }

    fn finish(self) -> io::Result<()> {
        drop(self.wake);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Who may read what is published. Set explicitly: the umask is the service's, not ours to trust.
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
    /// Owner and group may read, nobody may write.
    pub const DEFAULT: Self = Self { file: 0o440, directory: 0o750, group: None };

    /// The group and world bits of a file that was published before, for those to come.
    #[must_use]
    pub fn like(mode: u32, group: u32) -> Self {
        let read = mode & 0o044;
        Self { file: 0o400 | read, directory: 0o700 | read | (read >> 2), group: Some(group) }
    }

    fn apply(self, file: &File, bits: u32, path: &Path) -> Result<(), DiskError> {
        if let Some(group) = self.group {
            let now =
                std::os::unix::fs::MetadataExt::gid(&file.metadata().map_err(DiskError::at("stat", path))?);
            if now != group
                && let Err(error) = std::os::unix::fs::fchown(file, None, Some(group))
            {
                // Where everybody may read, its members may too; where only they may, the API would lose the file.
                let (group_may, all_may) = (bits & 0o070 != 0, bits.trailing_zeros() < 3);
                if group_may && !all_may {
                    return Err(DiskError::at("give the group of the old files to", path)(error));
                }
                tracing::warn!(path = %path.display(), group, "the group of the old files cannot be given; everybody may read them");
            }
        }
        let now = file.metadata().map_err(DiskError::at("stat", path))?.permissions().mode() & 0o7777;
        // A file that is only linked here may be another user's, and right as it is.
        if now == bits {
            return Ok(());
        }
        file.set_permissions(Permissions::from_mode(bits)).map_err(DiskError::at("chmod", path))
    }
}

/// Makes one directory and sets its mode.
///
/// # Errors
///
/// [`DiskError`], also where the name is taken.
pub fn make_directory(path: &Path, mode: Mode) -> Result<(), DiskError> {
    std::fs::DirBuilder::new().mode(0o700).create(path).map_err(DiskError::at("make directory", path))?;
    let directory = File::open(path).map_err(DiskError::at("open", path))?;
    mode.apply(&directory, mode.directory, path)
}

/// Makes a directory and its missing parents, each made durable in its own.
///
/// # Errors
///
/// [`DiskError`], also where something else has the name.
pub fn make_directories(path: &Path, mode: Mode) -> Result<(), DiskError> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = parent(path);
    make_directories(parent, mode)?;
    if make_missing(path, mode)? { sync_directory(parent) } else { Ok(()) }
}

/// Makes a directory where there is none, and says whether it did; its name is not yet durable.
///
/// # Errors
///
/// [`DiskError`], also where something else has the name.
pub fn make_missing(path: &Path, mode: Mode) -> Result<bool, DiskError> {
    if path.is_dir() {
        return Ok(false);
    }
    match make_directory(path, mode) {
        Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

/// Makes the names in a directory durable.
///
/// # Errors
///
/// [`DiskError`]: the names may be lost in a power cut.
pub fn sync_directory(path: &Path) -> Result<(), DiskError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).map_err(DiskError::at("open", path))?.sync_all().map_err(DiskError::at("fsync", path))
}

/// Makes the bytes of a file that somebody else wrote durable, and sets its mode.
///
/// # Errors
///
/// [`DiskError`].
pub fn seal_file(path: &Path, mode: Mode) -> Result<(), DiskError> {
    let file = open_file(path)?;
    mode.apply(&file, mode.file, path)?;
    file.sync_all().map_err(DiskError::at("fsync", path))
}

/// Writes a small file under a name of its own and renames it over `path`; the directory is flushed.
///
/// # Errors
///
/// [`DiskError`]; the old file then stands, except where only the last flush failed.
pub fn replace_file(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), DiskError> {
    switch_file(path, bytes, mode)?;
    sync_directory(parent(path))
}

/// [`replace_file`] without the flush of the directory: a power cut leaves the old file or the new one, whole.
///
/// # Errors
///
/// [`DiskError`]; the old file then stands.
pub fn switch_file(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), DiskError> {
    let fresh = staging_name(path);
    remove_if_exists(&fresh)?;
    let mut writer = Writer::create(&fresh)?;
    let written = writer.write(bytes).and_then(|()| writer.finish(mode)).and_then(|_| rename(&fresh, path));
    if written.is_err() {
        // On a full disk half a file would only take up room; what failed first is what is told.
        remove_if_exists(&fresh).ok();
    }
    written
}

/// Makes a link under a name of its own and renames it over `path`: from here on readers see the new
/// target. It is durable when the directory is flushed.
///
/// # Errors
///
/// [`DiskError`]; the old name then stands.
pub fn switch_link(path: &Path, target: &Path) -> Result<(), DiskError> {
    let fresh = staging_name(path);
    remove_if_exists(&fresh)?;
    std::os::unix::fs::symlink(target, &fresh).map_err(DiskError::at("link", &fresh))?;
    rename(&fresh, path).inspect_err(|_| {
        // What failed first is what is told.
        remove_if_exists(&fresh).ok();
    })
}

/// One name takes the place of another in one step.
///
/// # Errors
///
/// [`DiskError`]; both names then stand as before.
#[allow(clippy::disallowed_methods, reason = "the one place that renames")]
pub fn rename(from: &Path, to: &Path) -> Result<(), DiskError> {
    std::fs::rename(from, to).map_err(DiskError::at("rename", from))
}

/// A second name for a file's bytes, or a [`copy`] of them where that cannot be.
///
/// # Errors
///
/// [`DiskError`], or what `go_on` says.
pub fn link_or_copy<E: From<DiskError>>(
    from: &Path,
    to: &Path,
    go_on: &dyn Fn() -> Result<(), E>,
) -> Result<(), E> {
    match std::fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => copy(from, to, go_on),
    }
}

/// A copy of a file's bytes under a new name; `go_on` is asked before each piece of it.
///
/// # Errors
///
/// [`DiskError`], or what `go_on` says.
pub fn copy<E: From<DiskError>>(from: &Path, to: &Path, go_on: &dyn Fn() -> Result<(), E>) -> Result<(), E> {
    const CHUNK_BYTES: u64 = 16 << 20;
    let source = open_file(from)?;
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(DiskError::at("create", to))?;
    loop {
        go_on()?;
        let copied = io::copy(&mut (&source).take(CHUNK_BYTES), &mut target);
        if copied.map_err(DiskError::at("copy", from))? < CHUNK_BYTES {
            return Ok(());
        }
    }
}

/// Removes a file or link; one that is not there is no error.
///
/// # Errors
///
/// [`DiskError`].
#[allow(clippy::disallowed_methods, reason = "the one place that removes")]
pub fn remove_if_exists(path: &Path) -> Result<(), DiskError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DiskError::at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a directory with all that is in it, following no link.
///
/// # Errors
///
/// [`DiskError`].
#[allow(clippy::disallowed_methods, reason = "the one place that removes")]
pub fn remove_tree(path: &Path) -> Result<(), DiskError> {
    std::fs::remove_dir_all(path).map_err(DiskError::at("remove", path))
}

/// Opens a file to read it, refusing anything but a regular file, and never waiting.
///
/// # Errors
///
/// [`DiskError`] of kind `NotFound`, `InvalidData` or what the system says.
pub fn open_file(path: &Path) -> Result<File, DiskError> {
    // Without O_NONBLOCK, opening a fifo would wait for a writer that never comes.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(DiskError::at("open", path))?;
    if file.metadata().map_err(DiskError::at("stat", path))?.is_file() {
        return Ok(file);
    }
    Err(invalid(path, "not a regular file".to_owned()))
}

/// Opens a file whose length is known beforehand, so that nothing is read of one that cannot be it.
///
/// # Errors
///
/// As [`open_file`], also where the length is another.
pub fn open_file_of(path: &Path, bytes: u64) -> Result<File, DiskError> {
    let file = open_file(path)?;
    match file.metadata().map_err(DiskError::at("stat", path))?.len() {
        found if found == bytes => Ok(file),
        found => Err(invalid(path, format!("{found} bytes, expected {bytes}"))),
    }
}

/// Reads a small file of ours, refusing anything but a regular file of at most `most` bytes.
///
/// # Errors
///
/// [`DiskError`] of kind `NotFound`, `InvalidData` or what the system says.
pub fn read_small(path: &Path, most: u64) -> Result<Vec<u8>, DiskError> {
    let file = open_file(path)?;
    let bytes = file.metadata().map_err(DiskError::at("stat", path))?.len();
    if bytes > most {
        return Err(invalid(path, format!("{bytes} bytes, expected at most {most}")));
    }
    let mut out = Vec::new();
    file.take(most).read_to_end(&mut out).map_err(DiskError::at("read", path))?;
    Ok(out)
}

fn invalid(path: &Path, found: String) -> DiskError {
    DiskError::at("read", path)(io::Error::new(io::ErrorKind::InvalidData, found))
}

/// Bytes that this user may still write to the file system of `path`.
///
/// # Errors
///
/// [`DiskError`].
pub fn free_bytes(path: &Path) -> Result<u64, DiskError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let stat = rustix::fs::statvfs(path)
        .map_err(|error| DiskError::at("ask for free space at", path)(error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The directory that holds a name; `.` where the path is a bare name.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// `X` before it is `X`. The sweep knows the ending.
#[must_use]
pub fn staging_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(super::STAGING);
    PathBuf::from(name)
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

    #[test]
    fn what_is_written_in_chunks_of_any_size_is_in_the_file_in_order_and_in_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let mode = Mode { file: 0o600, directory: 0o700, group: None };
        let sizes = [
            45,
            Writer::BUFFER_BYTES - 60,
            1,
            Writer::BUFFER_BYTES,
            3,
            Writer::BUFFER_BYTES / 2,
            2 * Writer::FLUSH_BYTES,
            7,
        ];
        let path = folder.path().join("file");
        let mut writer = Writer::create(&path).unwrap();
        let mut expected = Vec::new();
        for (nth, size) in sizes.into_iter().enumerate() {
            let piece: Vec<u8> = (0..size).map(|at| (at * 7 + nth) as u8).collect();
            writer.write(&piece).unwrap();
            expected.extend(piece);
        }

        let fact = writer.finish(mode).unwrap();

        assert!(std::fs::read(&path).unwrap() == expected);
        assert_eq!((fact.bytes, fact.blake3), (expected.len() as u64, blake3::hash(&expected).to_string()));
    }
}
