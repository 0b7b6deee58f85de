//! The Faiss index: the only file that uses Faiss and knows the format of its file.
//!
//! A build's index is an `IndexFlatIP`. Faiss writes its header and opens the
//! finished file; the rows between are streamed by `index_writer`, as unit
//! vectors, so that an index larger than memory costs only its bytes.
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

use super::disk;
use super::disk_error::DiskError;
use crate::domain::file_kind::kind_of;
use crate::domain::text::one_line;

/// Version of the Faiss that is built into the program.
pub const FAISS_VERSION: &str = "1.12.0";
/// Bytes before the first row.
pub const HEADER_BYTES: usize = 45;

/// Faiss's flag to map a flat index instead of loading it (`IO_FLAG_MMAP_IFC`, `faiss/index_io.h`).
const MAP_FLAT: i32 = 1 << 9;
const MAGIC: &[u8; 4] = b"IxFI";
const MAX_MESSAGE_CHARS: usize = 200;

/// Why a file is not the index that was expected.
#[derive(Debug, Error)]
pub enum IndexError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{path} is not a flat Faiss index: expected {expected}, found {found}")]
    Shape { path: PathBuf, expected: String, found: String },
    #[error("faiss cannot {act} {path}: {message}")]
    Faiss { act: &'static str, path: PathBuf, message: String },
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

/// One result of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The row in the index, and so in the metadata.
    pub row: usize,
    /// The inner product.
    pub score: f32,
}

/// Lets Faiss write an empty inner-product index at `path`.
pub(super) fn write_empty(path: &Path, dimension: usize) -> Result<(), IndexError> {
    let failed = |act| move |error: faiss::error::Error| faiss_error(act, path, &error);
    let dimension = u32::try_from(dimension).expect("settings allow no such dimension");
    let index = FlatIndex::new_ip(dimension).map_err(failed("make an index for"))?;
    faiss::write_index(&index, utf8(path)).map_err(failed("write"))
}

/// The header that Faiss wrote for an empty index, changed to say `rows`.
///
/// [`IndexError::Shape`] if it is not the header drawn above: a Faiss with another format.
pub(super) fn header_for(empty: &[u8], rows: u64, path: &Path) -> Result<[u8; HEADER_BYTES], IndexError> {
    let head = parse(empty, HEADER_BYTES as u64, path)?;
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&empty[..HEADER_BYTES]);
    let floats = rows * head.dimension as u64;
    header[8..16].copy_from_slice(&rows.to_le_bytes());
    header[37..45].copy_from_slice(&floats.to_le_bytes());
    Ok(header)
}

/// Reads a header and checks it against the size of the file, without Faiss.
pub(super) fn header(path: &Path) -> Result<IndexHeader, IndexError> {
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
        return Err(shape("the magic number IxFI".to_owned(), kind_of(head).to_owned()));
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
    /// Opens a flat index whose size is checked first.
    ///
    /// # Errors
    ///
    /// [`IndexError`] if the file is not a flat index or Faiss refuses it.
    pub fn map(path: &Path) -> Result<Self, IndexError> {
        let claimed = header(path)?;
        check_address_space(path, 4 * claimed.ntotal * claimed.dimension as u64)?;
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

    /// The `k` nearest rows, best first; fewer if the index has fewer.
    ///
    /// # Errors
    ///
    /// [`IndexError::Faiss`] if the search fails.
    ///
    /// # Panics
    ///
    /// If `query` has another dimension: Faiss would read past its end.
    pub fn search(&self, query: &[f32], k: usize, path: &Path) -> Result<Vec<Hit>, IndexError> {
        assert_eq!(query.len(), self.header.dimension, "a query of the index's dimension");
        Ok(self.search_all(query, k, path)?.pop().unwrap_or_default())
    }

    /// As [`Self::search`], for several queries that follow each other.
    ///
    /// # Errors
    ///
    /// [`IndexError::Faiss`] if the search fails.
    ///
    /// # Panics
    ///
    /// If a query has another dimension.
    pub fn search_all(&self, queries: &[f32], k: usize, path: &Path) -> Result<Vec<Vec<Hit>>, IndexError> {
        let count = queries.len() / self.header.dimension;
        assert_eq!(queries.len(), count * self.header.dimension, "queries of the index's dimension");
        let k = k.min(usize::try_from(self.header.ntotal).unwrap_or(usize::MAX));
        if k == 0 || count == 0 {
            return Ok(vec![Vec::new(); count]);
        }
        let found = ConcurrentIndex::search(&self.index, queries, k)
            .map_err(|error| faiss_error("search", path, &error))?;
        let hit = |(label, &score): (&faiss::Idx, &f32)| {
            Some(Hit { row: usize::try_from(label.get()?).ok()?, score })
        };
        let each = found.labels.chunks(k).zip(found.distances.chunks(k));
        Ok(each.map(|(labels, scores)| labels.iter().zip(scores).filter_map(hit).collect()).collect())
    }
}

/// Refuses to map more than the limit on the address space leaves.
///
/// Faiss uses a mapping that the system refused as if it had been made, and crashes when it reads it.
fn check_address_space(path: &Path, bytes: u64) -> Result<(), IndexError> {
    const PAGE_BYTES: u64 = 4096;
    // What Faiss and a search need in addition to the rows.
    const SPARE_BYTES: u64 = 4 << 20;
    let Some(max_bytes) = getrlimit(Resource::As).current else { return Ok(()) };
    let used = std::fs::read_to_string("/proc/self/statm");
    let used = used.map_err(DiskError::at("find the memory left to map", path))?;
    let pages: u64 = used.split(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or_default();
    if pages * PAGE_BYTES + bytes + SPARE_BYTES <= max_bytes {
        return Ok(());
    }
    Err(DiskError::at("map", path)(rustix::io::Errno::NOMEM.into()).into())
}

/// One row, read without Faiss.
pub(super) fn vector(path: &Path, dimension: usize, row: u64) -> Result<Vec<f32>, IndexError> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; 4 * dimension];
    let at = HEADER_BYTES as u64 + row * bytes.len() as u64;
    disk::open_file(path)?.read_exact_at(&mut bytes, at).map_err(DiskError::at("read", path))?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|float| f32::from_le_bytes(*float)).collect())
}

/// Faiss expects paths as text.
fn utf8(path: &Path) -> &str {
    path.to_str().expect("`Layout` refuses such paths")
}

/// Faiss's messages name its own source files; only the last part is for an operator.
fn faiss_error(act: &'static str, path: &Path, error: &faiss::error::Error) -> IndexError {
    let message = error.to_string();
    let message = one_line(message.rsplit(" at ").next().unwrap_or_default(), MAX_MESSAGE_CHARS);
    IndexError::Faiss { act, path: path.to_owned(), message }
}

#[cfg(test)]
mod tests;
