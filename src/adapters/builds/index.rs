//! The one place that knows Faiss and its file.
//!
//! A build's index is an `IndexFlatIP`. Faiss writes its beginning and is the
//! judge of the finished file; the rows between are streamed by `builds`, as
//! unit vectors, so that an index larger than memory costs only its bytes.
//!
//! ```text
//! faiss.index, little endian, as Faiss writes a flat index
//!  0  magic       4 bytes  "IxFI"
//!  4  dimension   u32
//!  8  ntotal      i64
//! 16  unused      i64 × 2
//! 32  trained     u8
//! 33  metric      i32      0: inner product
//! 37  floats      u64      ntotal × dimension
//! 45  rows        f32 …    so a row does not lie on a four-byte boundary
//! ```
//!
//! Sizes are checked before Faiss sees a file: it believes what a header says.

use std::io::Read;
use std::path::{Path, PathBuf};

use faiss::index::flat::FlatIndexImpl;
use faiss::index::io_flags::IoFlags;
use faiss::index::{ConcurrentIndex, Index};
use faiss::{FlatIndex, MetricType};
use rustix::process::{Resource, getrlimit};
use thiserror::Error;

use super::disk::{self, DiskError};

/// Version of the Faiss that is built into the program.
pub const FAISS_VERSION: &str = "1.12.0";
/// Bytes before the first row.
pub const HEADER_BYTES: usize = 45;

/// Faiss's flag to map a flat index instead of loading it (`IO_FLAG_MMAP_IFC`, `faiss/index_io.h`).
const MAP_FLAT: i32 = 1 << 9;
const MAGIC: &[u8; 4] = b"IxFI";

/// Why a file is not the index that was expected.
#[derive(Debug, Error)]
pub enum IndexError {
    /// A system call failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The bytes are no flat index.
    #[error("{path} is not a flat Faiss index: expected {expected}, found {found}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// What a flat index would have.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// Faiss refused.
    #[error("faiss cannot {act} {path}: {message}")]
    Faiss {
        /// What was tried.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// Its words, shortened.
        message: String,
    },
}

/// What the header of a flat index says, checked against the file's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexHeader {
    /// Floats in a vector.
    pub dimension: usize,
    /// Vectors.
    pub ntotal: u64,
    /// Whether scores are inner products.
    pub inner_product: bool,
}

/// One answer of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The row in the index, and so in the metadata.
    pub row: usize,
    /// The inner product.
    pub score: f32,
}

/// Lets Faiss write an empty inner-product index at `path`.
///
/// # Errors
///
/// [`IndexError::Faiss`] with its words.
pub fn write_empty(path: &Path, dimension: usize) -> Result<(), IndexError> {
    let failed = |act| move |error: faiss::error::Error| faiss_error(act, path, &error);
    let dimension = u32::try_from(dimension).expect("settings allow no such dimension");
    let index = FlatIndex::new_ip(dimension).map_err(failed("make an index for"))?;
    faiss::write_index(&index, utf8(path)).map_err(failed("write"))
}

/// The header that Faiss wrote for an empty index, changed to announce `rows`.
///
/// # Errors
///
/// [`IndexError::Shape`] where it is not the header drawn above: a Faiss of another format.
pub fn header_for(empty: &[u8], rows: u64, path: &Path) -> Result<[u8; HEADER_BYTES], IndexError> {
    let head = parse(empty, HEADER_BYTES as u64, path)?;
    let mut out = [0; HEADER_BYTES];
    out.copy_from_slice(&empty[..HEADER_BYTES]);
    let floats = rows * head.dimension as u64;
    out[8..16].copy_from_slice(&rows.to_le_bytes());
    out[37..45].copy_from_slice(&floats.to_le_bytes());
    Ok(out)
}

/// Reads a header and checks it against the size of the file; Faiss is not asked.
///
/// # Errors
///
/// [`IndexError`] where the file cannot be read or is no flat index of that size.
pub fn header(path: &Path) -> Result<IndexHeader, IndexError> {
    let file = disk::open_file(path)?;
    let bytes = file.metadata().map_err(DiskError::at("stat", path))?.len();
    let mut head = Vec::with_capacity(HEADER_BYTES);
    file.take(HEADER_BYTES as u64).read_to_end(&mut head).map_err(DiskError::at("read", path))?;
    parse(&head, bytes, path)
}

fn parse(head: &[u8], bytes: u64, path: &Path) -> Result<IndexHeader, IndexError> {
    let shape =
        |expected: String, found: String| IndexError::Shape { path: path.to_owned(), expected, found };
    if head.len() < HEADER_BYTES {
        return Err(shape(format!("at least {HEADER_BYTES} bytes"), format!("{} bytes", head.len())));
    }
    if &head[..4] != MAGIC {
        return Err(shape(
            "the magic number IxFI".to_owned(),
            format!("{:?}", String::from_utf8_lossy(&head[..4])),
        ));
    }
    let u64_at = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    let dimension = u32::from_le_bytes(head[4..8].try_into().expect("four bytes"));
    let (ntotal, floats) = (u64_at(8), u64_at(37));
    let expected = ntotal.checked_mul(u64::from(dimension)).filter(|all| *all == floats);
    let size =
        expected.and_then(|all| all.checked_mul(4)).and_then(|all| all.checked_add(HEADER_BYTES as u64));
    if dimension == 0 || size != Some(bytes) {
        return Err(shape(
            format!("a file as long as {ntotal} vectors of {dimension} floats"),
            format!("{bytes} bytes and {floats} floats"),
        ));
    }
    let metric = i32::from_le_bytes(head[33..37].try_into().expect("four bytes"));
    Ok(IndexHeader { dimension: dimension as usize, ntotal, inner_product: metric == 0 })
}

/// An index that Faiss has opened. Its rows are mapped: they take no memory of their own.
pub struct MappedIndex {
    index: FlatIndexImpl,
    /// What Faiss says of it.
    pub header: IndexHeader,
}

impl MappedIndex {
    /// Opens a flat index, its size checked first.
    ///
    /// # Errors
    ///
    /// [`IndexError`] where the file is no flat index or Faiss refuses it.
    pub fn map(path: &Path) -> Result<Self, IndexError> {
        let claimed = header(path)?;
        may_map(path, 4 * claimed.ntotal * claimed.dimension as u64)?;
        let failed = |error: faiss::error::Error| faiss_error("read", path, &error);
        let index = faiss::index::io::read_index_with_flags(utf8(path), IoFlags::from(MAP_FLAT))
            .and_then(faiss::index::IndexImpl::into_flat)
            .map_err(failed)?;
        let header = IndexHeader {
            dimension: index.d() as usize,
            ntotal: index.ntotal(),
            inner_product: index.metric_type() == MetricType::InnerProduct,
        };
        if header != claimed {
            return Err(IndexError::Shape {
                path: path.to_owned(),
                expected: format!("{claimed:?}, as its header says"),
                found: format!("{header:?}, as Faiss says"),
            });
        }
        Ok(Self { index, header })
    }

    /// The `k` nearest rows, best first; fewer where the index has fewer.
    ///
    /// # Errors
    ///
    /// [`IndexError::Faiss`] where the search fails.
    ///
    /// # Panics
    ///
    /// Where `query` has another dimension: Faiss would read past its end.
    pub fn search(&self, query: &[f32], k: usize, path: &Path) -> Result<Vec<Hit>, IndexError> {
        assert_eq!(query.len(), self.header.dimension, "a query of the index's dimension");
        let k = k.min(usize::try_from(self.header.ntotal).unwrap_or(usize::MAX));
        if k == 0 {
            return Ok(Vec::new());
        }
        let found = ConcurrentIndex::search(&self.index, query, k)
            .map_err(|error| faiss_error("search", path, &error))?;
        let hits = found.labels.iter().zip(&found.distances);
        Ok(hits
            .filter_map(|(label, &score)| Some(Hit { row: usize::try_from(label.get()?).ok()?, score }))
            .collect())
    }
}

/// Refuses to map more than the limit on the address space leaves.
///
/// Faiss takes a mapping that the system refused for one that it made, and crashes as it reads it.
fn may_map(path: &Path, bytes: u64) -> Result<(), IndexError> {
    const PAGE: u64 = 4096;
    // What Faiss and a search need beside the rows.
    const SPARE: u64 = 4 << 20;
    let Some(most) = getrlimit(Resource::As).current else { return Ok(()) };
    let taken = std::fs::read_to_string("/proc/self/statm");
    let taken = taken.map_err(DiskError::at("reckon the memory to map", path))?;
    let pages: u64 = taken.split(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or_default();
    if pages * PAGE + bytes + SPARE <= most {
        return Ok(());
    }
    Err(DiskError::at("map", path)(rustix::io::Errno::NOMEM.into()).into())
}

/// One row, read without Faiss.
///
/// # Errors
///
/// [`IndexError::Disk`] where it cannot be read.
pub fn vector(path: &Path, dimension: usize, row: u64) -> Result<Vec<f32>, IndexError> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; 4 * dimension];
    let at = HEADER_BYTES as u64 + row * bytes.len() as u64;
    disk::open_file(path)?.read_exact_at(&mut bytes, at).map_err(DiskError::at("read", path))?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|float| f32::from_le_bytes(*float)).collect())
}

/// Faiss takes paths as text.
fn utf8(path: &Path) -> &str {
    path.to_str().expect("`Layout` refuses such paths")
}

/// Faiss's messages name its own source files; only the last part is for an operator.
fn faiss_error(act: &'static str, path: &Path, error: &faiss::error::Error) -> IndexError {
    let words = error.to_string();
    let words = words.rsplit(" at ").next().unwrap_or(&words);
    let words: String = words.chars().filter(|c| !c.is_control()).take(200).collect();
    IndexError::Faiss { act, path: path.to_owned(), message: words }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(seed: u32, dimension: usize) -> Vec<f32> {
        let raw: Vec<f32> =
            (0..dimension).map(|n| ((n as u32 * 37 + seed * 101) % 97) as f32 - 48.0).collect();
        let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
        raw.iter().map(|x| x / norm).collect()
    }

    /// A file as `builds` streams it.
    fn streamed(path: &Path, vectors: &[Vec<f32>], dimension: usize) {
        write_empty(path, dimension).unwrap();
        let mut file =
            header_for(&std::fs::read(path).unwrap(), vectors.len() as u64, path).unwrap().to_vec();
        file.extend(vectors.iter().flatten().flat_map(|x| x.to_le_bytes()));
        std::fs::write(path, file).unwrap();
    }

    #[test]
    fn a_streamed_index_is_byte_for_byte_what_faiss_writes() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
        for (rows, dimension) in [(1, 1), (3, 7), (50, 384)] {
            let vectors: Vec<_> = (0..rows).map(|row| unit(row, dimension)).collect();
            let mut index = FlatIndex::new_ip(dimension as u32).unwrap();
            index.add(&vectors.concat()).unwrap();
            faiss::write_index(&index, theirs.to_str().unwrap()).unwrap();

            streamed(&ours, &vectors, dimension);

            assert!(std::fs::read(&ours).unwrap() == std::fs::read(&theirs).unwrap(), "{rows} x {dimension}");
        }
    }

    #[test]
    fn a_mapped_index_finds_each_of_its_rows_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let vectors: Vec<_> = (0..20).map(|row| unit(row, 33)).collect();
        streamed(&path, &vectors, 33);

        let index = MappedIndex::map(&path).unwrap();

        assert_eq!(index.header, IndexHeader { dimension: 33, ntotal: 20, inner_product: true });
        for (row, vector) in vectors.iter().enumerate() {
            assert_eq!(index.search(vector, 3, &path).unwrap()[0].row, row);
        }
        assert_eq!(index.search(&vectors[0], 99, &path).unwrap().len(), 20);
    }

    #[test]
    fn non_flat_index_is_refused_before_faiss_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        streamed(&path, &[unit(1, 4), unit(2, 4)], 4);
        let whole = std::fs::read(&path).unwrap();
        let with = |at: usize, bytes: &[u8]| {
            let mut out = whole.clone();
            out[at..at + bytes.len()].copy_from_slice(bytes);
            out
        };
        let cases = [
            ("cut", whole[..whole.len() - 1].to_vec()),
            ("longer", [&whole[..], b"x"].concat()),
            ("empty", Vec::new()),
            ("other magic", with(0, b"IwFl")),
            ("huge ntotal", with(8, &i64::MAX.to_le_bytes())),
            ("huge dimension", with(4, &u32::MAX.to_le_bytes())),
            ("no dimension", with(4, &0_u32.to_le_bytes())),
        ];
        for (what, bytes) in cases {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(MappedIndex::map(&path), Err(IndexError::Shape { .. })), "{what}");
        }
    }

    proptest! {
        #[test]
        fn a_header_is_taken_only_where_the_file_is_as_long_as_it_says(
            dimension in prop_oneof![0_u32..5, any::<u32>()],
            ntotal in prop_oneof![0_u64..5, any::<u64>()],
            floats in prop_oneof![0_u64..20, any::<u64>()],
            bytes in prop_oneof![0_u64..200, any::<u64>()],
            length in 0..=HEADER_BYTES,
            honest in any::<bool>(),
            longer in 0_u64..2,
        ) {
            let (floats, bytes) = match ntotal.checked_mul(u64::from(dimension)) {
                Some(floats) if honest && floats < 1 << 60 => (floats, 45 + 4 * floats + longer),
                _ => (floats, bytes),
            };
            let mut head = vec![0; HEADER_BYTES];
            head[..4].copy_from_slice(MAGIC);
            head[4..8].copy_from_slice(&dimension.to_le_bytes());
            head[8..16].copy_from_slice(&ntotal.to_le_bytes());
            head[37..45].copy_from_slice(&floats.to_le_bytes());

            let whole = parse(&head, bytes, Path::new("x"));

            prop_assert!(parse(&head[..length], bytes, Path::new("x")).is_err() || length == HEADER_BYTES);
            let all = u128::from(ntotal) * u128::from(dimension);
            let fits = dimension > 0 && u128::from(floats) == all && u128::from(bytes) == 45 + 4 * all;
            prop_assert_eq!(whole.is_ok(), fits);
        }

        #[test]
        fn no_bytes_make_the_reader_of_headers_panic(head in prop::collection::vec(any::<u8>(), 0..60), bytes in any::<u64>()) {
            parse(&head, bytes, Path::new("x")).ok();
        }
    }
}
