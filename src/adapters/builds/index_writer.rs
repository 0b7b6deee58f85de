//! Writes the index of a new build from vectors that all exist already.
//!
//! Vectors come from indexes of kept builds, copied in runs, and from the
//! cache. They are streamed, so that an index larger than memory costs only
//! its bytes. The header is Faiss's own. That the vectors have the right
//! dimension and length is the caller's promise; `verify` checks it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::build::Build;
use super::disk;
use super::disk_error::DiskError;
use super::error::BuildsError;
use super::index::{self, HEADER_BYTES};
use super::layout::INDEX;
use super::mode::Mode;
use super::writer::Writer;
use crate::decide::plan::VectorOrigin;
use crate::domain::manifest::FileFact;
use crate::domain::record::TextHash;
use crate::domain::row_hashes::RowHashes;
use crate::domain::stop::{Stop, Stopped};

/// Bytes of vectors moved at a time, between which the stop is checked.
const CHUNK_BYTES: usize = 1 << 20;

/// The rows of a new build, and where the vector of each comes from.
#[derive(Clone, Copy)]
pub struct BuildContent<'a> {
    pub rows: &'a [RowHashes],
    /// One for each row.
    pub origins: &'a [VectorOrigin],
    /// The builds that `origins` name.
    pub sources: &'a [&'a Build],
    pub dimension: usize,
}

/// Fills in the vector of a text from the cache.
pub type ReadVector<'a, E> = dyn FnMut(&TextHash, &mut [f32]) -> Result<(), E> + 'a;

pub(super) fn write_index<E: From<BuildsError> + From<Stopped>>(
    path: &Path,
    mode: Mode,
    content: &BuildContent<'_>,
    cached: &mut ReadVector<'_, E>,
    stop: &Stop,
) -> Result<FileFact, E> {
    let BuildContent { rows, origins, sources, dimension } = *content;
    let header = faiss_header(path, rows.len() as u64, dimension)?;
    let disk = |error: DiskError| E::from(BuildsError::from(error));
    // Opened when first needed: most of the kept builds provide no vector, and those may be gone.
    let mut open: Vec<Option<IndexVectors>> = sources.iter().map(|_| None).collect();
    let mut index = Writer::create(path).map_err(disk)?;
    index.write(&header).map_err(disk)?;
    let max_run = (CHUNK_BYTES / (4 * dimension)).max(1);
    let mut chunk = Vec::new();
    let mut vector = vec![0.0; dimension];
    let mut next = 0;
    while next < rows.len() {
        stop.check()?;
        let run = run_length(&origins[next..], max_run);
        chunk.clear();
        match origins[next] {
            VectorOrigin::Build { build, row } => {
                let build = usize::from(build);
                let vectors = match &mut open[build] {
                    Some(vectors) => vectors,
                    none => none.insert(IndexVectors::open(sources[build], dimension)?),
                };
                vectors.read(u64::from(row), run, &mut chunk)?;
            }
            VectorOrigin::Cache => {
                for row in &rows[next..next + run] {
                    cached(&row.text, &mut vector)?;
                    append_floats(&vector, &mut chunk);
                }
            }
        }
        index.write(&chunk).map_err(disk)?;
        next += run;
    }
    index.finish(mode).map_err(disk)
}

fn append_floats(vector: &[f32], chunk: &mut Vec<u8>) {
    let begin = chunk.len();
    chunk.resize(begin + 4 * vector.len(), 0);
    for (bytes, float) in chunk[begin..].as_chunks_mut().0.iter_mut().zip(vector) {
        *bytes = float.to_le_bytes();
    }
}

/// How many rows from the first on come from one place, one after the other.
fn run_length(origins: &[VectorOrigin], max_run: usize) -> usize {
    let follows = |nth: usize, origin: &VectorOrigin| match (origins[0], *origin) {
        (VectorOrigin::Cache, VectorOrigin::Cache) => true,
        (VectorOrigin::Build { build, row }, VectorOrigin::Build { build: other, row: other_row }) => {
            build == other && u64::from(other_row) == u64::from(row) + nth as u64
        }
        (VectorOrigin::Cache, VectorOrigin::Build { .. })
        | (VectorOrigin::Build { .. }, VectorOrigin::Cache) => false,
    };
    origins.iter().take(max_run).enumerate().take_while(|(nth, origin)| follows(*nth, origin)).count()
}

/// The beginning of the index as Faiss writes it, by way of a file that is then removed.
fn faiss_header(path: &Path, rows: u64, dimension: usize) -> Result<[u8; HEADER_BYTES], BuildsError> {
    // Faiss does not report a full disk: writing as many bytes of our own does.
    let mut probe = Writer::create(path)?;
    probe.write(&[0; HEADER_BYTES])?;
    probe.flush()?;
    index::write_empty(path, dimension)?;
    let empty = disk::read_small(path, 4096)?;
    if empty.len() < HEADER_BYTES {
        let found = format!("expected {HEADER_BYTES} bytes, Faiss wrote {} and gave no reason", empty.len());
        return Err(DiskError::at("write", path)(io::Error::new(io::ErrorKind::WriteZero, found)).into());
    }
    disk::remove_if_exists(path)?;
    Ok(index::header_for(&empty, rows, path)?)
}

/// The vectors of a build whose index has been checked.
pub struct IndexVectors {
    file: File,
    path: PathBuf,
    dimension: usize,
}

impl IndexVectors {
    /// Opens the index.
    ///
    /// # Errors
    ///
    /// [`BuildsError`] if it cannot be opened.
    pub fn open(build: &Build, dimension: usize) -> Result<Self, BuildsError> {
        let path = build.path(INDEX);
        let file = disk::open_file(&path)?;
        Ok(Self { file, path, dimension })
    }

    /// Appends the vector of one row.
    ///
    /// # Errors
    ///
    /// [`BuildsError`] if it cannot be read.
    pub fn append(&self, row: u64, floats: &mut Vec<f32>) -> Result<(), BuildsError> {
        let mut bytes = Vec::new();
        self.read(row, 1, &mut bytes)?;
        floats.extend(bytes.as_chunks().0.iter().map(|float| f32::from_le_bytes(*float)));
        Ok(())
    }

    fn read(&self, row: u64, rows: usize, chunk: &mut Vec<u8>) -> Result<(), BuildsError> {
        let row_bytes = 4 * self.dimension;
        chunk.resize(rows * row_bytes, 0);
        let at = HEADER_BYTES as u64 + row * row_bytes as u64;
        self.file.read_exact_at(chunk, at).map_err(DiskError::at("read", &self.path))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_follow_each_other_in_one_build_are_moved_together() {
        let from = |build, row| VectorOrigin::Build { build, row };
        let cases = [
            (vec![from(0, 5), from(0, 6), from(0, 7)], 3),
            (vec![from(0, 5), from(0, 7)], 1),
            (vec![from(0, 5), from(1, 6)], 1),
            (vec![from(0, 5), VectorOrigin::Cache], 1),
            (vec![VectorOrigin::Cache, VectorOrigin::Cache, from(0, 0)], 2),
            (vec![from(0, 5), from(0, 5)], 1),
            (vec![VectorOrigin::Cache; 9], 4),
        ];
        for (origins, run) in cases {
            assert_eq!(run_length(&origins, 4), run, "{origins:?}");
        }
    }
}
