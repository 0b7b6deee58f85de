//! Verifies a build by opening its files again from disk.
//!
//! Every promise is one [`Check`] with what was expected and what was found:
//! size and digest of each file, rows counted in index, metadata and hashes,
//! dimension and metric as Faiss reads them, every vector finite and of unit
//! length, and a sample of rows each of which must find itself. Nothing is
//! taken from memory or from what a writer believed, except what to expect.
//! What follows from a failed check is decided by the caller.

use std::fmt::Display;
use std::path::Path;

use serde::Serialize;
use thiserror::Error;

use super::build::{Build, MAX_HASHES_BYTES};
use super::disk;
use super::index::{self, Hit, IndexError, MappedIndex};
use super::layout::{HASHES, INDEX, METADATA};
use super::proof::{Doubt, Proof};
use super::staging::{Sealed, Staging};
use crate::domain::manifest::{FileFact, Files};
use crate::domain::parallel;
use crate::domain::row_hashes::parse_hashes;
use crate::domain::stop::{Stop, Stopped};
use counters::UnitLengths;
use read::read_exactly;

mod counters;
mod read;
mod tree_digest;

pub(super) use counters::RecordCounter;
pub(super) use read::{ReadError, read_to_end};

/// How far a row's own score may be below the best: equal vectors of other bits are within it.
const TIE_TOLERANCE: f32 = 1e-5;
/// Rows that must find themselves, in an index small enough.
const SAMPLE_ROWS: u64 = 16;
/// Bytes that the sample may read in all; a larger index is searched once.
const SAMPLE_BYTES: u64 = 256 << 20;
/// Bytes that take longer to read and hash than a thread takes to start.
const MIN_BYTES_FOR_THREAD: u64 = 512 << 10;

/// One promise, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    pub expected: String,
    pub found: String,
}

impl Check {
    fn equal<T: PartialEq + Display>(name: &'static str, expected: &T, found: &T) -> Self {
        Self { name, ok: expected == found, expected: expected.to_string(), found: found.to_string() }
    }

    /// As [`Check::equal`], for a value that may be missing: then the text says why.
    fn found<T: PartialEq + Display>(name: &'static str, expected: &T, found: Result<T, String>) -> Self {
        match found {
            Ok(found) => Self::equal(name, expected, &found),
            Err(found) => Self { name, ok: false, expected: expected.to_string(), found },
        }
    }

    fn all_ok(checks: &[Self]) -> bool {
        checks.iter().all(|check| check.ok)
    }
}

/// The checks that failed, as text.
#[must_use]
pub fn failed(checks: &[Check]) -> String {
    let failed = checks
        .iter()
        .filter(|check| !check.ok)
        .map(|check| format!("{}: expected {}, found {}", check.name, check.expected, check.found));
    failed.collect::<Vec<_>>().join("; ")
}

/// Why a verification did not succeed.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// A check failed. The staging directory is left for inspection.
    #[error(
        "build {id} is not what was planned: {}; its staging is kept for inspection until the next sweep",
        failed(checks)
    )]
    ChecksFailed {
        id: String,
        /// All checks that were made.
        checks: Vec<Check>,
    },
    #[error("stopped while the build was verified")]
    Stopped,
    /// A file could not be checked, which says nothing about it.
    #[error(transparent)]
    NotKnown(Doubt),
}

impl From<Stopped> for VerifyError {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

/// A staging directory whose files were verified. Only such a one can be promoted.
#[derive(Debug)]
pub struct Verified {
    pub(super) staging: Staging,
    /// Size and digest of its files.
    pub files: Files,
    pub rows: u64,
    /// Floats in a vector.
    pub dimension: usize,
}

impl Verified {
    /// The id that the build will have.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.staging.id
    }
}

impl Sealed {
    /// Verifies the files from disk.
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
            by: crate::PROGRAM,
            unit: true,
        };
        let checks = run_checks(&self.staging.directory, &expected, stop)?;
        if Check::all_ok(&checks) {
            let Self { staging, files, rows, dimension } = self;
            return Ok(Verified { staging, files, rows, dimension });
        }
        Err(VerifyError::ChecksFailed { id: self.staging.id, checks })
    }
}

impl Build {
    /// Verifies a sealed build against its manifest.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Stopped`] and [`VerifyError::NotKnown`] only: the checks report damage.
    pub fn run_checks(&self, stop: &Stop) -> Result<Vec<Check>, VerifyError> {
        let manifest = &self.manifest;
        let expected = Expected {
            files: &manifest.files,
            rows: manifest.ntotal,
            hashed_rows: if manifest.adopted { 0 } else { manifest.ntotal },
            dimension: manifest.dimension,
            by: &manifest.program,
            unit: !manifest.adopted,
        };
        run_checks(&self.directory, &expected, stop)
    }

    /// Whether its index still has the bytes that its manifest promises.
    ///
    /// # Errors
    ///
    /// [`Stopped`] only.
    pub fn prove_index(&self, stop: &Stop) -> Result<Proof<()>, Stopped> {
        let (path, fact) = (self.path(INDEX), &self.manifest.files.index);
        let mut hasher = blake3::Hasher::new();
        let read = read_exactly(&path, fact.bytes, stop, &mut |chunk| {
            hasher.update(chunk);
        });
        let found = hasher.finalize();
        match read {
            Ok(()) if digest_of(fact) == Some(found) => Ok(Proof::Whole(())),
            Ok(()) => {
                let (path, expected) = (path.display(), &fact.blake3);
                Ok(Proof::Damaged(format!("{path}: expected blake3 {expected}, found {found}")))
            }
            Err(ReadError::Disk(error)) => Ok(error.into()),
            Err(ReadError::Stopped) => Err(Stopped),
        }
    }
}

/// What a build must be.
struct Expected<'a> {
    files: &'a Files,
    /// Rows of index and metadata.
    rows: u64,
    /// Rows of the hashes: none for an adopted build.
    hashed_rows: u64,
    /// Floats in a vector.
    dimension: usize,
    /// The program that made it.
    by: &'a str,
    /// Whether every vector must be of unit length: unknown for an adopted build.
    unit: bool,
}

/// Makes all checks. Faiss, which maps the index, opens it only after every
/// byte was read once: an unreadable sector is an error when it is read, and
/// would end the process within Faiss.
fn run_checks(directory: &Path, expected: &Expected<'_>, stop: &Stop) -> Result<Vec<Check>, VerifyError> {
    let index = directory.join(INDEX);
    let mut checks = check_index(&index, expected, stop)?;
    let index_ok = Check::all_ok(&checks);
    let (metadata, faiss) = parallel::join(
        expected.files.metadata.bytes.min(expected.files.index.bytes) >= MIN_BYTES_FOR_THREAD,
        || check_metadata(&directory.join(METADATA), expected, stop),
        || if index_ok { check_with_faiss(&index, expected, stop) } else { Ok(Vec::new()) },
    );
    checks.extend(metadata?);
    checks.extend(check_hashes(&directory.join(HASHES), expected)?);
    if Check::all_ok(&checks) {
        checks.extend(faiss?);
    }
    Ok(checks)
}

/// What a reading says about the file, or what is wrong with it; a doubt ends the verification.
fn about_the_file<T>(read: Result<T, ReadError>) -> Result<Result<T, String>, VerifyError> {
    match read {
        Ok(read) => Ok(Ok(read)),
        Err(ReadError::Disk(error)) => settled(error.into()),
        Err(ReadError::Stopped) => Err(VerifyError::Stopped),
    }
}

fn settled<T>(proof: Proof<T>) -> Result<Result<T, String>, VerifyError> {
    match proof {
        Proof::Whole(value) => Ok(Ok(value)),
        Proof::Damaged(why) => Ok(Err(why)),
        Proof::NotKnown(doubt) => Err(VerifyError::NotKnown(doubt)),
    }
}

/// What Faiss says about a file whose bytes are right: a failure to map or search it says nothing about them.
fn about_the_index<T>(answer: Result<T, IndexError>) -> Result<Result<T, String>, VerifyError> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(IndexError::Disk(error)) => settled(error.into()),
        Err(error @ IndexError::Shape { .. }) => Ok(Err(error.to_string())),
        Err(error @ IndexError::Faiss { .. }) => Err(VerifyError::NotKnown(Doubt::Faiss(error.to_string()))),
    }
}

fn digest_of(fact: &FileFact) -> Option<blake3::Hash> {
    blake3::Hash::from_hex(&fact.blake3).ok()
}

/// The check of a file of the right length, or of one that could not be read as such.
fn check_digest(name: &'static str, fact: &FileFact, found: Result<blake3::Hash, String>) -> Check {
    let describe = |digest: &str| format!("{} bytes, blake3 {digest}", fact.bytes);
    let ok = found.as_ref().ok().is_some_and(|found| digest_of(fact) == Some(*found));
    let found = found.map_or_else(|why| why, |found| describe(&found.to_hex()));
    Check { name, ok, expected: describe(&fact.blake3), found }
}

fn check_index(path: &Path, expected: &Expected<'_>, stop: &Stop) -> Result<Vec<Check>, VerifyError> {
    let fact = &expected.files.index;
    let read = tree_digest::read(path, fact.bytes, stop, &|at| UnitLengths::at(at, expected.dimension));
    let (digest, parts) = about_the_file(read)?.map_or_else(
        |error| (Err(error), None),
        |(digest, parts)| (Ok(digest), Some(parts).filter(|_| expected.unit)),
    );
    let mut checks = vec![check_digest("index file", fact, digest)];
    checks.extend(parts.map(|parts| {
        let wrong = UnitLengths::wrong(parts);
        let all = "all finite and of length 1".to_owned();
        let found = if wrong == 0 { all.clone() } else { format!("{wrong} vectors that are not") };
        Check { name: "unit vectors", ok: wrong == 0, expected: all, found }
    }));
    Ok(checks)
}

fn check_metadata(path: &Path, expected: &Expected<'_>, stop: &Stop) -> Result<[Check; 2], VerifyError> {
    let fact = &expected.files.metadata;
    let (mut hasher, mut counter) = (blake3::Hasher::new(), RecordCounter::default());
    let read = read_exactly(path, fact.bytes, stop, &mut |chunk| {
        hasher.update(chunk);
        counter.bytes(chunk);
    });
    let digest = about_the_file(read)?.map(|()| hasher.finalize());
    let records = counter.finish().map_err(|error| error.to_string());
    Ok([
        check_digest("metadata file", fact, digest),
        Check::found("metadata records", &expected.rows, records),
    ])
}

fn check_hashes(path: &Path, expected: &Expected<'_>) -> Result<[Check; 2], VerifyError> {
    let fact = &expected.files.hashes;
    let bytes = settled(disk::read_small(path, fact.bytes.min(MAX_HASHES_BYTES)).into())?;
    let digest = bytes.as_ref().map(|bytes| blake3::hash(bytes));
    let ok = digest.as_ref().ok().is_some_and(|digest| digest_of(fact) == Some(*digest));
    let found = digest.map_or_else(Clone::clone, |digest| digest.to_string());
    let rows = match bytes {
        // Of a newer version only if they are as they were written.
        Ok(bytes) if ok => settled(Proof::of_hashes(parse_hashes(&bytes), path, expected.by))?,
        Ok(bytes) => parse_hashes(&bytes).map_err(|error| error.to_string()),
        Err(why) => Err(why),
    };
    Ok([
        Check { name: "hashes file", ok, expected: fact.blake3.clone(), found },
        Check::found("hashed rows", &expected.hashed_rows, rows.map(|rows| rows.len() as u64)),
    ])
}

/// What Faiss reads from an index whose digest is right.
fn check_with_faiss(path: &Path, expected: &Expected<'_>, stop: &Stop) -> Result<Vec<Check>, VerifyError> {
    let index = match about_the_index(MappedIndex::map(path))? {
        Ok(index) => index,
        Err(why) => return Ok(vec![Check::found("index", &"a flat index", Err(why))]),
    };
    let header = index.header;
    let metric = if header.inner_product { "inner product" } else { "another" };
    let mut checks = vec![
        Check::equal("ntotal", &expected.rows, &header.ntotal),
        Check::equal("dimension", &expected.dimension, &header.dimension),
        Check::equal("metric", &"inner product", &metric),
    ];
    if expected.unit && header.ntotal > 0 && header.dimension == expected.dimension {
        checks.push(check_self_search(&index, path, stop)?);
    }
    Ok(checks)
}

/// Whether each row of a sample finds itself.
fn check_self_search(index: &MappedIndex, path: &Path, stop: &Stop) -> Result<Check, VerifyError> {
    let rows = index.header.ntotal;
    let index_bytes = 4 * rows * index.header.dimension as u64;
    let sample = SAMPLE_ROWS.min(SAMPLE_BYTES / index_bytes.max(1)).clamp(1, rows);
    let mut lost = Vec::new();
    for nth in 0..sample {
        stop.check()?;
        let row = if sample == 1 { rows / 2 } else { nth * (rows - 1) / (sample - 1) };
        if let Err(found) = self_search(index, path, row)? {
            lost.push(format!("row {row}: {found}"));
        }
    }
    let expected = format!("{sample} rows find themselves");
    let found = if lost.is_empty() { expected.clone() } else { lost.join(", ") };
    Ok(Check { name: "self search", ok: lost.is_empty(), expected, found })
}

/// Whether a row is its own best result, except for rows that are as good within rounding.
fn self_search(index: &MappedIndex, path: &Path, row: u64) -> Result<Result<(), String>, VerifyError> {
    let answer = index::vector(path, index.header.dimension, row)
        .and_then(|vector| index.search(&vector, 4, path).map(|hits| (vector, hits)));
    let found = about_the_index(answer)?;
    Ok(found.and_then(|(vector, hits)| is_found(&vector, &hits, row)))
}

fn is_found(vector: &[f32], hits: &[Hit], row: u64) -> Result<(), String> {
    let own: f32 = vector.iter().map(|x| x * x).sum();
    let best = hits.first().ok_or("nothing found")?;
    let is_hit = hits.iter().any(|hit| hit.row as u64 == row);
    // A row that equal ones push out of the results must at least be as good as the worst of them.
    if (is_hit || hits.iter().all(|hit| (hit.score - own).abs() <= TIE_TOLERANCE))
        && best.score - own <= TIE_TOLERANCE
    {
        return Ok(());
    }
    Err(format!("found row {} at {}", best.row, best.score))
}
