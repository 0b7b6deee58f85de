//! A file that is written once, in order, while its digest is made.
//!
//! The bytes of a long file go to the disk while more of them come: left to
//! itself, the system would begin when some gigabytes wait, and the flush at
//! the end would take as long again as everything before. The file is durable
//! when [`Writer::finish`] returns; its name is not, which is `disk`'s part.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::disk_error::DiskError;
use super::mode::Mode;
use super::open;
use crate::domain::manifest::FileFact;
use crate::domain::parallel::{self, Background};

/// Bytes that take longer to hash than a thread takes to start.
const MIN_BYTES_FOR_THREAD: u64 = 512 << 10;

pub(super) struct Writer {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    bytes: u64,
    /// Bytes written since the background flush was last asked for.
    unflushed: usize,
    background_flush: Option<BackgroundFlush>,
}

/// Flushes the file each time it is asked to; what fails is reported at the end.
type BackgroundFlush = Background<(), io::Result<()>>;

impl Writer {
    /// Buffers of this size are hashed by wide instructions, on a thread beside the one that writes.
    const BUFFER_BYTES: usize = 1 << 20;
    /// Bytes after which a flush begins in the background: some tenths of a second for most disks.
    const FLUSH_BYTES: usize = 64 << 20;

    /// Creates a file that only its owner can read until it is finished. Fails if the name is taken.
    pub(super) fn create(path: &Path) -> Result<Self, DiskError> {
        let file = open::create(path, 0o600).map_err(DiskError::at("create", path))?;
        let (path, hasher) = (path.to_owned(), blake3::Hasher::new());
        Ok(Self { path, file, buffer: Vec::new(), hasher, bytes: 0, unflushed: 0, background_flush: None })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
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

    /// Sets the mode, makes all bytes durable and returns size and digest of what was to be written.
    /// If it fails the file is useless.
    pub(super) fn finish(mut self, mode: Mode) -> Result<FileFact, DiskError> {
        self.empty_buffer()?;
        let Self { path, file, hasher, bytes, background_flush, .. } = self;
        mode.apply(&file, mode.file, &path)?;
        // The system reports a failed write once: what failed in the background would not fail again.
        background_flush.map_or(Ok(()), Background::finish).map_err(DiskError::at("fsync", &path))?;
        file.sync_all().map_err(DiskError::at("fsync", &path))?;
        Ok(FileFact { bytes, blake3: hasher.finalize().to_string() })
    }

    /// Passes what is buffered to the system; a file that only this process reads need not be durable.
    pub(super) fn flush(mut self) -> Result<(), DiskError> {
        self.empty_buffer()
    }

    fn empty_buffer(&mut self) -> Result<(), DiskError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let handed_over = self.hand_over(&buffer);
        buffer.clear();
        self.buffer = buffer;
        handed_over
    }

    fn hand_over(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let Self { file, hasher, .. } = self;
        let is_large = bytes.len() as u64 >= MIN_BYTES_FOR_THREAD;
        let ((), written) = parallel::join(is_large, || _ = hasher.update(bytes), || file.write_all(bytes));
        written.map_err(DiskError::at("write", &self.path))?;
        self.bytes += bytes.len() as u64;
        self.unflushed += bytes.len();
        if self.unflushed >= Self::FLUSH_BYTES {
            self.unflushed = 0;
            self.flush_in_background();
        }
        Ok(())
    }

    /// Without a thread or a descriptor for it, everything waits for the flush at the end.
    fn flush_in_background(&mut self) {
        if self.background_flush.is_none() {
            self.background_flush = self.file.try_clone().ok().and_then(|file| {
                Background::start("flush-ahead", 1, move |requests| {
                    requests.into_iter().try_for_each(|()| file.sync_data())
                })
            });
        }
        if let Some(flush) = &self.background_flush {
            // One that is already asked for will do.
            flush.try_send(()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
