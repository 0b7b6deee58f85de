//! The answers of a build's index to many queries, as rankings of records.
//!
//! Faiss finds the rows, a block of queries at a time: large enough that it
//! multiplies matrices, small enough that a stop is noticed. Where rows share
//! the score at which a ranking is cut, it is asked for more. Chunks of a
//! record, which stand beside each other, are found in the metadata.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::build::Build;
use super::error::BuildsError;
use super::index::{Hit, MappedIndex};
use super::layout::{INDEX, METADATA};
use super::records;
use super::verify::Verified;
use crate::domain::evaluate::{RankedRow, is_settled, rank};
use crate::domain::stop::{Stop, Stopped};

/// Queries of a block, at least and at most; below the first, Faiss asks one by one.
const BLOCK_QUERIES: [usize; 2] = [20, 256];
/// Products of floats that take about a second.
const BLOCK_PRODUCTS: usize = 20_000_000_000;
/// Rows that are asked for beyond k, so that few rankings are cut among equal scores.
const SPARE_ROWS: usize = 8;
/// How many times more is asked for at each further question, and for a record of several rows.
const MORE: usize = 4;

/// An index whose bytes were proven, ready to be asked.
pub struct AnsweringIndex {
    index: MappedIndex,
    path: PathBuf,
    /// The first row of each row's record, where a record may have several.
    first_rows: Option<Vec<u32>>,
}

/// The part of a record that says which piece of it this is.
#[derive(Deserialize)]
struct PieceOfRecord {
    #[serde(default)]
    chunk: Option<ChunkOrOther>,
}

/// A column may have the name of a chunk's place, and hold anything.
#[derive(Deserialize)]
#[serde(untagged)]
enum ChunkOrOther {
    Chunk(ChunkMembers),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChunkMembers {
    index: u32,
    #[serde(rename = "of")]
    _of: u32,
    #[serde(rename = "start")]
    _start: u64,
    #[serde(rename = "end")]
    _end: u64,
}

impl AnsweringIndex {
    /// Opens the index of a build that was just verified and is not served yet.
    ///
    /// # Errors
    ///
    /// [`BuildsError`] if a file cannot be read.
    pub fn of_verified(verified: &Verified) -> Result<Self, BuildsError> {
        let metadata = verified.staging.path(METADATA);
        Self::open(verified.staging.path(INDEX), &metadata, verified.files.metadata.bytes)
    }

    /// Opens the index of a build whose bytes were read before: Faiss maps it, and an unreadable sector
    /// would end the process.
    ///
    /// # Errors
    ///
    /// [`BuildsError`] if a file cannot be read.
    pub fn of_build(build: &Build) -> Result<Self, BuildsError> {
        Self::open(build.path(INDEX), &build.path(METADATA), build.manifest.files.metadata.bytes)
    }

    fn open(path: PathBuf, metadata: &Path, bytes: u64) -> Result<Self, BuildsError> {
        let first_rows = first_rows(metadata, bytes)?;
        let index = MappedIndex::map(&path)?;
        Ok(Self { index, path, first_rows })
    }

    /// Floats in a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.index.header.dimension
    }

    /// The best k records for each query, whose vectors follow each other.
    ///
    /// # Errors
    ///
    /// What Faiss fails with; a requested stop is [`Stopped`].
    pub fn rank<E: From<BuildsError> + From<Stopped>>(
        &self,
        queries: &[f32],
        k: usize,
        stop: &Stop,
    ) -> Result<Vec<Vec<RankedRow>>, E> {
        let floats = (self.rows() * self.dimension()).max(1);
        let [fewest, most] = BLOCK_QUERIES;
        let block = (BLOCK_PRODUCTS / floats).clamp(fewest, most);
        let several = if self.first_rows.is_some() { MORE } else { 1 };
        let asked = (k + SPARE_ROWS) * several;
        let mut rankings = Vec::with_capacity(queries.len() / self.dimension());
        for block in queries.chunks(block * self.dimension()) {
            stop.check()?;
            let found = self.index.search_all(block, asked, &self.path).map_err(BuildsError::from)?;
            for (query, found) in block.chunks(self.dimension()).zip(found) {
                rankings.push(self.settled(query, found, asked, k)?);
            }
        }
        Ok(rankings)
    }

    /// The ranking of one query; the index is asked for more as long as rows may be missing.
    fn settled(
        &self,
        query: &[f32],
        mut found: Vec<Hit>,
        mut asked: usize,
        k: usize,
    ) -> Result<Vec<RankedRow>, BuildsError> {
        let record_of = |row: usize| match &self.first_rows {
            Some(first_rows) => first_rows.get(row).map_or(row, |first| *first as usize),
            None => row,
        };
        loop {
            let rows: Vec<RankedRow> =
                found.iter().map(|hit| RankedRow { row: hit.row, score: hit.score }).collect();
            let ranking = rank(&rows, &record_of, k);
            if is_settled(&rows, &ranking, k, self.rows()) {
                return Ok(ranking);
            }
            asked = asked.saturating_mul(MORE);
            found = self.index.search(query, asked, &self.path)?;
        }
    }

    fn rows(&self) -> usize {
        usize::try_from(self.index.header.ntotal).unwrap_or(usize::MAX)
    }
}

/// The first row of each row's record; `None` where the first record has no chunks, and so none has.
fn first_rows(metadata: &Path, bytes: u64) -> Result<Option<Vec<u32>>, BuildsError> {
    let mut first_rows = Vec::new();
    let mut row = 0_u32;
    records::for_each(metadata, bytes, &mut |piece: PieceOfRecord| {
        let Some(ChunkOrOther::Chunk(ChunkMembers { index, .. })) = piece.chunk else { return false };
        first_rows.push(row.saturating_sub(index));
        row = row.saturating_add(1);
        true
    })?;
    Ok((!first_rows.is_empty()).then_some(first_rows))
}

#[cfg(test)]
mod tests {
    use super::super::index::{header_for, write_empty};
    use super::*;

    #[derive(Debug)]
    struct RankError;

    impl From<BuildsError> for RankError {
        fn from(_: BuildsError) -> Self {
            Self
        }
    }

    impl From<Stopped> for RankError {
        fn from(_: Stopped) -> Self {
            Self
        }
    }

    /// An index of these vectors beside these metadata.
    fn index(folder: &Path, vectors: &[[f32; 2]], metadata: &str) -> AnsweringIndex {
        let (path, records) = (folder.join("index"), folder.join("metadata"));
        write_empty(&path, 2).unwrap();
        let empty = std::fs::read(&path).unwrap();
        let mut file = header_for(&empty, vectors.len() as u64, &path).unwrap().to_vec();
        file.extend(vectors.iter().flatten().flat_map(|float| float.to_le_bytes()));
        std::fs::write(&path, file).unwrap();
        std::fs::write(&records, metadata).unwrap();
        AnsweringIndex::open(path, &records, metadata.len() as u64).unwrap()
    }

    fn rows(index: &AnsweringIndex, queries: &[f32], k: usize) -> Vec<Vec<usize>> {
        let rankings = index.rank::<RankError>(queries, k, &Stop::new()).unwrap();
        rankings.iter().map(|ranking| ranking.iter().map(|ranked| ranked.row).collect()).collect()
    }

    #[test]
    fn of_rows_that_share_the_last_score_the_earliest_are_ranked_however_many_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let mut vectors = vec![[1.0, 0.0]; 100];
        vectors[60] = [0.0, 1.0];
        let index = index(folder.path(), &vectors, "[{}]");

        let found = rows(&index, &[1.0, 0.0, 0.0, 1.0], 3);

        assert_eq!(found, [[0, 1, 2], [60, 0, 1]]);
        assert_eq!(rows(&index, &[1.0, 0.0], 200)[0].len(), 100);
        assert_eq!(rows(&index, &[1.0, 0.0].repeat(300), 1), vec![vec![0]; 300], "more than one block");
    }

    #[test]
    fn chunks_of_a_record_are_one_record_ranked_by_its_best() {
        let folder = tempfile::tempdir().unwrap();
        let piece =
            |index, of| format!(r#"{{"chunk": {{"index": {index}, "of": {of}, "start": 0, "end": 1}}}}"#);
        let pieces =
            [piece(0, 3), piece(1, 3), piece(2, 3), piece(0, 1), piece(0, 2), piece(1, 2)].join(", ");
        let vectors = [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.8, 0.6]];
        let chunked = index(folder.path(), &vectors, &format!("[{pieces}]"));
        assert_eq!(rows(&chunked, &[1.0, 0.0], 9), [[0, 4, 3]]);
        assert_eq!(rows(&chunked, &[1.0, 0.0], 2), [[0, 4]]);
        // A column of that name need not be a chunk.
        let other = index(folder.path(), &vectors, r#"[{"chunk": {"index": 0}}, {"chunk": 7}]"#);
        assert_eq!(rows(&other, &[1.0, 0.0], 2), [[2, 5]]);
    }
}
