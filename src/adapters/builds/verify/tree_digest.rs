//! Reads a large file once, in parts side by side, for its digest and for whatever else needs its bytes.
//!
//! blake3 is a tree over its input: the digests of its branches can be made
//! separately and joined. The file is cut into parts as long as a branch, and
//! each thread takes the next one. A chunk stays in the processor's own cache
//! until digest and reader have used it. Written by hand, since blake3's own
//! threads take whole buffers and leave nothing for the reader.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

use super::read::{CHUNK_BYTES, ReadError, cut_short};
use crate::adapters::builds::disk;
use crate::adapters::builds::disk_error::DiskError;
use crate::domain::parallel;
use crate::domain::stop::Stop;

/// A power of two, so that parts are branches of the digest.
const PART_BYTES: u64 = 16 << 20;

/// What else the bytes of a part are read for.
pub(super) trait PartReader: Send {
    /// Takes the next bytes of the part.
    fn bytes(&mut self, chunk: &[u8]);
}

/// Reads a file of this length, and returns its digest and the reader of each part, in order.
///
/// `begin` makes the reader of a part from its offset in the file.
pub(super) fn read<R: PartReader>(
    path: &Path,
    bytes: u64,
    stop: &Stop,
    begin: &(dyn Fn(u64) -> R + Sync),
) -> Result<(blake3::Hash, Vec<R>), ReadError> {
    let file = disk::open_file_of(path, bytes)?;
    let parts = usize::try_from(bytes.div_ceil(PART_BYTES)).expect("parts of a file that can be read");
    if parts <= 1 {
        let mut buffer = vec![0; CHUNK_BYTES];
        let (hasher, reader) = read_part(&file, path, 0..bytes, &mut buffer, stop, begin)?;
        return Ok((hasher.finalize(), vec![reader]));
    }
    let next = AtomicUsize::new(0);
    let take_parts = || {
        let (mut done, mut buffer) = (Vec::new(), vec![0; CHUNK_BYTES]);
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= parts {
                return Ok::<_, ReadError>(done);
            }
            let at = nth as u64 * PART_BYTES;
            let end = bytes.min(at + PART_BYTES);
            let part = read_part(&file, path, at..end, &mut buffer, stop, begin);
            // After an error the other thread takes no further part.
            let (hasher, reader) = part.inspect_err(|_| next.store(parts, Ordering::Relaxed))?;
            done.push((nth, hasher.finalize_non_root(), reader));
        }
    };
    // Two parts at least, each of which takes longer to read than a thread takes to start.
    let (some, others) = parallel::join(true, take_parts, take_parts);
    let mut done: Vec<_> = some?;
    done.extend(others?);
    done.sort_unstable_by_key(|(nth, ..)| *nth);
    let (branches, readers): (Vec<_>, Vec<_>) =
        done.into_iter().map(|(_, branch, reader)| (branch, reader)).unzip();
    let (left, right) = halves(&branches, bytes);
    Ok((merge_subtrees_root(&left, &right, Mode::Hash), readers))
}

fn read_part<R: PartReader>(
    file: &File,
    path: &Path,
    part: Range<u64>,
    buffer: &mut [u8],
    stop: &Stop,
    begin: &(dyn Fn(u64) -> R + Sync),
) -> Result<(blake3::Hasher, R), ReadError> {
    let Range { start: mut at, end } = part;
    let (mut hasher, mut reader) = (blake3::Hasher::new(), begin(at));
    hasher.set_input_offset(at);
    while at < end {
        stop.check()?;
        let wanted = usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        match file.read_at(&mut buffer[..wanted], at) {
            Ok(0) => return Err(cut_short(path).into()),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                reader.bytes(&buffer[..read]);
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DiskError::at("read", path)(error).into()),
        }
    }
    Ok((hasher, reader))
}

/// The two branches below the root of an input of this length.
fn halves(parts: &[ChainingValue], bytes: u64) -> (ChainingValue, ChainingValue) {
    let left = left_subtree_len(bytes);
    let cut = usize::try_from(left / PART_BYTES).expect("no more than there are parts");
    let (before, after) = parts.split_at(cut);
    (branch(before, left), branch(after, bytes - left))
}

fn branch(parts: &[ChainingValue], bytes: u64) -> ChainingValue {
    if let [part] = parts {
        return *part;
    }
    let (left, right) = halves(parts, bytes);
    merge_subtrees_non_root(&left, &right, Mode::Hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::stop::stop_at_check;

    struct Bytes(Vec<u8>);

    impl PartReader for Bytes {
        fn bytes(&mut self, chunk: &[u8]) {
            self.0.extend_from_slice(chunk);
        }
    }

    fn parts_of(path: &Path, bytes: u64, stop: &Stop) -> Result<(blake3::Hash, Vec<Bytes>), ReadError> {
        read(path, bytes, stop, &|_| Bytes(Vec::new()))
    }

    #[test]
    fn whatever_the_length_the_digest_is_that_of_the_whole_and_the_parts_are_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let part = PART_BYTES as usize;
        for length in [0, 1, 1025, part - 1, part, part + 1, 2 * part, 3 * part + 7, 5 * part] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();

            let Ok((digest, parts)) = parts_of(&path, length as u64, &Stop::new()) else {
                panic!("{length} bytes can be read")
            };

            assert_eq!(digest, blake3::hash(&bytes), "{length} bytes");
            let read: Vec<u8> = parts.into_iter().flat_map(|part| part.0).collect();
            assert!(read == bytes, "{length} bytes");
        }
    }

    #[test]
    fn another_length_and_a_stop_end_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let length = 3 * PART_BYTES;
        std::fs::write(&path, vec![1; length as usize]).unwrap();

        assert!(matches!(parts_of(&path, length + 1, &Stop::new()), Err(ReadError::Disk(_))));
        let third = stop_at_check(3);
        assert!(matches!(parts_of(&path, length, &third), Err(ReadError::Stopped)));
    }
}
