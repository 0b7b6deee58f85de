//! Reads a file in chunks, checking the stop before each.
//!
//! A reading ends with the bytes, with a requested stop, or with an error, of
//! which `proof` says whether it says anything about the file.

use std::io::{self, Read};
use std::path::Path;

use super::super::disk;
use super::super::disk_error::DiskError;
use crate::domain::stop::{Stop, Stopped};

/// Half of what a small processor core caches for itself.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

pub(in super::super) enum ReadError {
    Stopped,
    Disk(DiskError),
}

impl From<DiskError> for ReadError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<Stopped> for ReadError {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

/// Reads a file of any length, and returns it.
pub(in super::super) fn read_to_end(
    path: &Path,
    stop: &Stop,
    each: &mut dyn FnMut(&[u8]),
) -> Result<u64, ReadError> {
    read_chunks(&disk::open_file(path)?, path, stop, each)
}

/// Reads a file of exactly this length.
pub(super) fn read_exactly(
    path: &Path,
    bytes: u64,
    stop: &Stop,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), ReadError> {
    let file = disk::open_file_of(path, bytes)?;
    let read = read_chunks((&file).take(bytes), path, stop, each)?;
    if read == bytes { Ok(()) } else { Err(cut_short(path).into()) }
}

fn read_chunks(
    mut from: impl Read,
    path: &Path,
    stop: &Stop,
    each: &mut dyn FnMut(&[u8]),
) -> Result<u64, ReadError> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        stop.check()?;
        match from.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(read) => {
                bytes += read as u64;
                each(&buffer[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DiskError::at("read", path)(error).into()),
        }
    }
}

/// The file was longer when it was opened.
pub(super) fn cut_short(path: &Path) -> DiskError {
    let found = "the file became shorter while it was read";
    DiskError::at("read", path)(io::Error::new(io::ErrorKind::UnexpectedEof, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::stop::stop_at_check;

    #[test]
    fn a_file_is_read_whole_unless_it_has_another_length_or_a_stop_is_requested() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let read = |length: usize, expected: u64, stop: &Stop| {
            std::fs::write(&path, vec![1; length]).unwrap();
            let mut bytes = 0;
            let mut count = |chunk: &[u8]| bytes += chunk.len();
            read_exactly(&path, expected, stop, &mut count).map(|()| bytes)
        };
        for length in [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 7] {
            assert!(matches!(read(length, length as u64, &Stop::new()), Ok(bytes) if bytes == length));
            assert!(matches!(read(length, length as u64 + 1, &Stop::new()), Err(ReadError::Disk(_))));
            assert!(matches!(read(length, length as u64, &stop_at_check(1)), Err(ReadError::Stopped)));
        }
    }
}
