//! Proves a build by reopening its files from disk.
//!
//! Every promise is one [`Check`] with what was expected and what was found:
//! size and digest of each file, rows counted in index, metadata and hashes,
//! dimension and metric as Faiss says them, every vector finite and of unit
//! length, and a sample of rows that must each find itself. Nothing is taken
//! from memory or from what a writer believed, save what to expect.

use std::fmt::Display;
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use thiserror::Error;

use super::disk::{self, DiskError};
use super::index::{self, MappedIndex};
use super::layout::{HASHES, INDEX, METADATA};
use super::staging::{Sealed, Staging};
use super::{Build, MAX_HASHES_BYTES};
use crate::domain::manifest::{FileFact, Files};
use crate::domain::parallel;
use crate::domain::pass::ErrorClass;
use crate::domain::row_hashes::parse_hashes;
use crate::domain::stop::Stop;
use counters::UnitLengths;
use tree_digest::CHUNK_BYTES;

mod counters;
mod tree_digest;

pub use counters::RecordCounter;

/// How much a row's own score may be below the best: twins of other bits lie within it.
const TIE_TOLERANCE: f32 = 1e-5;
/// Rows that are asked to find themselves, in an index small enough.
const SAMPLE_ROWS: u64 = 16;
/// Bytes that the sample may read in all; a larger index is gone through once.
const SAMPLE_BYTES: u64 = 256 << 20;

/// Bytes that take longer to read and hash than a thread takes to start.
const MIN_BYTES_FOR_THREAD: u64 = 512 << 10;

/// One promise, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which promise.
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

/// What a build must be.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// Size and digest of its files.
    pub files: &'a Files,
    /// Rows of index and metadata.
    pub rows: u64,
    /// Rows of the hashes: none for an adopted build.
    pub hashed_rows: u64,
    /// Floats in a vector.
    pub dimension: usize,
    /// Whether every vector must be of unit length: not known of an adopted build.
    pub unit: bool,
}

/// Why a proof ended early.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// A check failed. The staging directory is left for inspection.
    #[error(
        "build {id} is not what was planned: {}; its staging is kept for inspection until the next sweep",
        failed(checks)
    )]
    ChecksFailed {
        /// The build.
        id: String,
        /// All checks that were made.
        checks: Vec<Check>,
    },
    /// A stop was asked for.
    #[error("stopped while the build was verified")]
    Stopped,
    /// A file could not be read for want of something, which says nothing of the file.
    #[error(transparent)]
    Shortage(DiskError),
}

/// The checks that failed, as words.
#[must_use]
pub fn failed(checks: &[Check]) -> String {
    let words = checks
        .iter()
        .filter(|check| !check.ok)
        .map(|check| format!("{}: expected {}, found {}", check.name, check.expected, check.found));
    words.collect::<Vec<_>>().join("; ")
}

/// A staging directory whose files have been proven. Only such a one can be promoted.
#[derive(Debug)]
pub struct Verified {
    pub(super) staging: Staging,
    /// Size and digest of its files.
    pub files: Files,
    /// Rows in it.
    pub rows: u64,
    /// Floats in a vector.
    pub dimension: usize,
}

impl Verified {
    /// What the build will be called.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.staging.id
    }
}

impl Sealed {
    /// Proves the files from disk.
    ///
    /// # Errors
    ///
    /// [`VerifyError`]; the staging directory then stays where it is.
    pub fn verify(self, stop: &Stop) -> Result<Verified, VerifyError> {
        let expected = Expected {
            files: &self.files,
            rows: self.rows,
            hashed_rows: self.rows,
            dimension: self.dimension,
            unit: true,
        };
        let checks = run_checks(&self.staging.directory, &expected, stop)?;
        if checks.iter().all(|check| check.ok) {
            let Self { staging, files, rows, dimension } = self;
            return Ok(Verified { staging, files, rows, dimension });
        }
        Err(VerifyError::ChecksFailed { id: self.staging.id, checks })
    }
}

impl Build {
    /// Proves a sealed build against its manifest.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Stopped`] and [`VerifyError::Shortage`] only: a damaged build is told by its checks.
    pub fn run_checks(&self, stop: &Stop) -> Result<Vec<Check>, VerifyError> {
        let manifest = &self.manifest;
        let expected = Expected {
            files: &manifest.files,
            rows: manifest.ntotal,
            hashed_rows: if manifest.adopted { 0 } else { manifest.ntotal },
            dimension: manifest.dimension,
            unit: !manifest.adopted,
        };
        run_checks(&self.directory, &expected, stop)
    }

    /// Whether its index still has the bytes that its manifest promises.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Stopped`] and [`VerifyError::Shortage`].
    pub fn index_matches_manifest(&self, stop: &Stop) -> Result<bool, VerifyError> {
        let fact = &self.manifest.files.index;
        let mut hasher = blake3::Hasher::new();
        let read = read_chunks(&self.path(INDEX), fact.bytes, stop, &mut |piece| {
            hasher.update(piece);
        });
        match read {
            Ok(()) => Ok(hasher.finalize().to_string() == fact.blake3),
            Err(ReadError::Early(error)) => Err(error),
            Err(ReadError::Disk(_)) => Ok(false),
        }
    }
}

/// Makes every check that a build can be put to.
///
/// Two threads read the index; then one reads the metadata while Faiss, which
/// maps the index, is asked by the other: a sector that cannot be read is an
/// error of the reading, and would end the process within Faiss.
///
/// # Errors
///
/// [`VerifyError::Stopped`] and [`VerifyError::Shortage`].
pub fn run_checks(directory: &Path, expected: &Expected<'_>, stop: &Stop) -> Result<Vec<Check>, VerifyError> {
    let index = directory.join(INDEX);
    let mut checks = index_file(&index, expected, stop)?;
    let whole = checks.iter().all(|check| check.ok);
    let (metadata, faiss) = parallel::join(
        expected.files.metadata.bytes.min(expected.files.index.bytes) >= MIN_BYTES_FOR_THREAD,
        || metadata_file(&directory.join(METADATA), expected, stop),
        || if whole { check_with_faiss(&index, expected, stop) } else { Ok(Vec::new()) },
    );
    checks.extend(metadata?);
    hashes_file(&directory.join(HASHES), expected, &mut checks);
    if checks.iter().all(|check| check.ok) {
        checks.extend(faiss?);
    }
    Ok(checks)
}

fn check(checks: &mut Vec<Check>, name: &'static str, expected: impl Display, found: impl Display) {
    let (expected, found) = (expected.to_string(), found.to_string());
    checks.push(Check { name, ok: expected == found, expected, found });
}

enum ReadError {
    /// Nothing is known of the file.
    Early(VerifyError),
    /// The file is not what it should be.
    Disk(DiskError),
}

impl From<DiskError> for ReadError {
    fn from(error: DiskError) -> Self {
        match error.class() {
            ErrorClass::Shortage => Self::Early(VerifyError::Shortage(error)),
            ErrorClass::Settings | ErrorClass::Other => Self::Disk(error),
        }
    }
}

/// Hands the bytes of a file of this length on in pieces, from its beginning.
fn read_chunks(path: &Path, bytes: u64, stop: &Stop, each: &mut dyn FnMut(&[u8])) -> Result<(), ReadError> {
    let mut file = disk::open_file_of(path, bytes)?.take(bytes);
    let mut buffer = vec![0; CHUNK_BYTES];
    while file.limit() > 0 {
        if stop.check().is_err() {
            return Err(ReadError::Early(VerifyError::Stopped));
        }
        match file.read(&mut buffer) {
            Ok(0) => return Err(tree_digest::cut_short(path).into()),
            Ok(read) => each(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DiskError::at("read", path)(error).into()),
        }
    }
    Ok(())
}

/// The check of a file's length and digest, from what reading it gave, and all else that was read.
fn digest<R>(
    name: &'static str,
    fact: &FileFact,
    read: Result<(blake3::Hash, R), ReadError>,
    checks: &mut Vec<Check>,
) -> Result<Option<R>, VerifyError> {
    let words = |digest: &str| format!("{} bytes, blake3 {digest}", fact.bytes);
    let (found, also) = match read {
        Ok((digest, also)) => (words(digest.to_hex().as_str()), Some(also)),
        Err(ReadError::Disk(error)) => (super::error_chain(&error), None),
        Err(ReadError::Early(error)) => return Err(error),
    };
    check(checks, name, words(&fact.blake3), found);
    Ok(also)
}

fn index_file(path: &Path, expected: &Expected<'_>, stop: &Stop) -> Result<Vec<Check>, VerifyError> {
    let mut checks = Vec::new();
    let fact = &expected.files.index;
    let read = tree_digest::read(path, fact.bytes, stop, &|at| UnitLengths::at(at, expected.dimension));
    let parts = digest("index file", fact, read, &mut checks)?;
    if let (true, Some(parts)) = (expected.unit, parts) {
        let all = "all finite and of length 1";
        let found = match UnitLengths::wrong(parts) {
            0 => all.to_owned(),
            wrong => format!("{wrong} vectors that are not"),
        };
        check(&mut checks, "unit vectors", all, found);
    }
    Ok(checks)
}

fn metadata_file(path: &Path, expected: &Expected<'_>, stop: &Stop) -> Result<Vec<Check>, VerifyError> {
    let mut checks = Vec::new();
    let fact = &expected.files.metadata;
    let (mut hasher, mut counter) = (blake3::Hasher::new(), RecordCounter::default());
    let read = read_chunks(path, fact.bytes, stop, &mut |piece| {
        hasher.update(piece);
        counter.bytes(piece);
    });
    let read = read.map(|()| (hasher.finalize(), ()));
    digest("metadata file", fact, read, &mut checks)?;
    check(&mut checks, "metadata records", expected.rows, counter.finish());
    Ok(checks)
}

fn hashes_file(path: &Path, expected: &Expected<'_>, checks: &mut Vec<Check>) {
    let fact = &expected.files.hashes;
    let most = fact.bytes.min(MAX_HASHES_BYTES);
    let found = disk::read_small(path, most).map_err(|error| super::error_chain(&error));
    let digest = found.as_ref().map(|bytes| blake3::hash(bytes).to_string());
    check(
        checks,
        "hashes file",
        &fact.blake3,
        digest.as_ref().map_or_else(|error| (*error).clone(), Clone::clone),
    );
    let rows = found.and_then(|bytes| parse_hashes(&bytes).map_err(|error| error.to_string()));
    check(
        checks,
        "hashed rows",
        expected.hashed_rows,
        rows.map_or_else(|error| error, |rows| rows.len().to_string()),
    );
}

/// What Faiss says of an index whose digest is right.
fn check_with_faiss(path: &Path, expected: &Expected<'_>, stop: &Stop) -> Result<Vec<Check>, VerifyError> {
    let mut checks = Vec::new();
    let opened = match MappedIndex::map(path) {
        Ok(opened) => opened,
        Err(error) => {
            check(&mut checks, "index", "a flat index", super::error_chain(&error));
            return Ok(checks);
        }
    };
    let header = opened.header;
    let metric = if header.inner_product { "inner product" } else { "another" };
    check(&mut checks, "ntotal", expected.rows, header.ntotal);
    check(&mut checks, "dimension", expected.dimension, header.dimension);
    check(&mut checks, "metric", "inner product", metric);
    if !expected.unit || header.ntotal == 0 || header.dimension != expected.dimension {
        return Ok(checks);
    }
    let index_bytes = 4 * header.ntotal * header.dimension as u64;
    let sample = SAMPLE_ROWS.min(SAMPLE_BYTES / index_bytes.max(1)).clamp(1, header.ntotal);
    let mut lost = Vec::new();
    for nth in 0..sample {
        if stop.check().is_err() {
            return Err(VerifyError::Stopped);
        }
        let row = if sample == 1 { header.ntotal / 2 } else { nth * (header.ntotal - 1) / (sample - 1) };
        if let Err(words) = self_search(&opened, path, row) {
            lost.push(format!("row {row}: {words}"));
        }
    }
    let found = if lost.is_empty() { format!("{sample} rows find themselves") } else { lost.join(", ") };
    check(&mut checks, "self search", format!("{sample} rows find themselves"), found);
    Ok(checks)
}

/// Whether a row is its own best answer, save for rows as good within rounding.
fn self_search(opened: &MappedIndex, path: &Path, row: u64) -> Result<(), String> {
    let words = |error: index::IndexError| super::error_chain(&error);
    let vector = index::vector(path, opened.header.dimension, row).map_err(words)?;
    let hits = opened.search(&vector, 4, path).map_err(words)?;
    let own: f32 = vector.iter().map(|x| x * x).sum();
    let best = hits.first().ok_or("nothing found")?;
    let itself = hits.iter().any(|hit| hit.row as u64 == row);
    // A row whose twins crowd it out of the answers must at least be as good as the worst of them.
    if (itself || hits.iter().all(|hit| (hit.score - own).abs() <= TIE_TOLERANCE))
        && best.score - own <= TIE_TOLERANCE
    {
        return Ok(());
    }
    Err(format!("found row {} at {}", best.row, best.score))
}
