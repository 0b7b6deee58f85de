//! A build that is not yet proven, from its first byte until it is sealed.
//!
//! [`Draft`] takes what the look sees: records go straight into the metadata
//! file, texts to be bought into a spool, so that neither is held in memory.
//! [`Drafted`] knows all rows; with the vectors it becomes [`Sealed`], whose
//! files are complete and durable. Only `verify` can take it further.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::disk::{self, Mode, Writer};
use super::index::{self, HEADER_BYTES};
use super::layout::{HASHES, INDEX, METADATA};
use super::{Build, Builds, BuildsError, DiskError, STAGING};
use crate::decide::plan::VectorOrigin;
use crate::domain::manifest::{FileFact, Files};
use crate::domain::record::TextHash;
use crate::domain::row_hashes::{RowHashes, hashes_header, row_bytes};
use crate::domain::stop::{Stop, Stopped};

/// The ending of an adopted build's id.
pub const ADOPTED: &str = "-adopted";
const SPOOL: &str = "texts.spool";
/// A longer text in the spool is damage: SQLite itself holds no longer value.
const MAX_TEXT_BYTES: u32 = 1 << 30;
/// Bytes of vectors moved at a time, between which a stop is heard.
const CHUNK_BYTES: usize = 1 << 20;

/// Makes a new id, such as `20261122T101500Z-7f3a9c`. Order among builds is the manifest's, not the name's.
#[must_use]
pub fn new_id(now: Timestamp) -> String {
    format!("{}-{:06x}", now.strftime("%Y%m%dT%H%M%SZ"), fastrand::u32(..1 << 24))
}

/// Whether a name has the form of an id.
#[must_use]
pub fn is_id(name: &str) -> bool {
    let name = name.strip_suffix(ADOPTED).unwrap_or(name);
    let form: String = name
        .chars()
        .map(|c| match c {
            '0'..='9' => '0',
            'a'..='f' => 'a',
            other => other,
        })
        .collect();
    let tail = form.strip_prefix("00000000T000000Z-");
    tail.is_some_and(|tail| tail.len() == 6 && tail.bytes().all(|byte| byte == b'0' || byte == b'a'))
}

/// Fills in the vector of a text.
pub type ReadVector<'a, E> = dyn FnMut(&TextHash, &mut [f32]) -> Result<(), E> + 'a;

/// The directory of a build in the making.
#[derive(Debug)]
pub struct Staging {
    /// What it will be called.
    pub id: String,
    /// Where it is now.
    pub directory: PathBuf,
    /// Who may read it.
    pub mode: Mode,
}

impl Staging {
    /// Makes the directory of a new build.
    ///
    /// # Errors
    ///
    /// [`DiskError`].
    pub fn begin(builds: &Builds, id: String) -> Result<Self, DiskError> {
        let directory = builds.layout.build(&format!("{id}{STAGING}"));
        let mode = builds.mode();
        disk::make_directory(&directory, mode)?;
        Ok(Self { id, directory, mode })
    }

    /// The path of one of its files.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Opens it for what the look sees.
    ///
    /// # Errors
    ///
    /// [`DiskError`].
    pub fn draft(self) -> Result<Draft, DiskError> {
        let mut metadata = Writer::create(&self.path(METADATA))?;
        metadata.write(b"[")?;
        let spool = Writer::create(&self.path(SPOOL))?;
        Ok(Draft { staging: self, metadata, spool, records: 0, texts: 0 })
    }

    /// Removes it: there was nothing to build after all.
    ///
    /// # Errors
    ///
    /// [`DiskError`].
    pub fn discard(self) -> Result<(), DiskError> {
        disk::remove_tree(&self.directory)
    }
}

/// A staging directory while the look goes on.
pub struct Draft {
    staging: Staging,
    metadata: Writer,
    spool: Writer,
    records: u64,
    texts: u64,
}

impl Draft {
    /// Appends one record's JSON to the metadata.
    ///
    /// # Errors
    ///
    /// [`DiskError`].
    pub fn record(&mut self, json: &[u8]) -> Result<(), DiskError> {
        if self.records > 0 {
            self.metadata.write(b", ")?;
        }
        self.records += 1;
        self.metadata.write(json)
    }

    /// Sets a text aside that must be bought, with the id of the first row that has it.
    ///
    /// # Errors
    ///
    /// [`DiskError`].
    pub fn text(&mut self, hash: TextHash, id: &str, text: &str) -> Result<(), DiskError> {
        self.texts += 1;
        self.spool.write(&hash.0)?;
        for part in [id, text] {
            let length = u32::try_from(part.len()).expect("SQLite holds no text of 4 GiB");
            self.spool.write(&length.to_le_bytes())?;
            self.spool.write(part.as_bytes())?;
        }
        Ok(())
    }

    /// Ends the look: the metadata are complete and durable.
    ///
    /// # Errors
    ///
    /// [`DiskError`].
    pub fn finish(mut self) -> Result<Drafted, DiskError> {
        self.metadata.write(b"]")?;
        let metadata = self.metadata.finish(self.staging.mode)?;
        self.spool.flush()?;
        Ok(Drafted { staging: self.staging, metadata, texts: self.texts })
    }
}

/// A staging directory that lacks its vectors.
#[derive(Debug)]
pub struct Drafted {
    /// The directory.
    pub staging: Staging,
    metadata: FileFact,
    /// Texts set aside.
    pub texts: u64,
}

impl Drafted {
    /// The texts set aside, in the order in which they came.
    ///
    /// # Errors
    ///
    /// [`DiskError`] where the spool cannot be opened; each item where it cannot be read.
    pub fn spool(&self) -> Result<Spool, DiskError> {
        let path = self.staging.path(SPOOL);
        let file = File::open(&path).map_err(DiskError::at("open", &path))?;
        Ok(Spool { from: BufReader::new(file), path, left: self.texts })
    }

    /// Bytes that sealing will add to the disk, bought vectors in the cache included.
    #[must_use]
    pub fn bytes_remaining(&self, rows: u64, dimension: usize) -> u64 {
        let vector = 4 * dimension as u64;
        rows * (vector + crate::domain::row_hashes::ROW_BYTES as u64)
            + 2 * self.texts * (vector + 64)
            + (4 << 20)
    }

    /// Writes index and hashes, and makes their bytes durable; their names are so when they are promoted.
    ///
    /// `sources` are the builds that `origins` name; `cached` fills in a vector
    /// that was bought. Both give unit vectors of `dimension` floats.
    ///
    /// # Errors
    ///
    /// Whatever reading or writing meets; [`io::ErrorKind::Interrupted`] is never
    /// among them: a stop is [`Stopped`].
    pub fn seal<E: From<BuildsError> + From<Stopped>>(
        self,
        rows: &[RowHashes],
        origins: &[VectorOrigin],
        dimension: usize,
        sources: &[&Build],
        cached: &mut ReadVector<'_, E>,
        stop: &Stop,
    ) -> Result<Sealed, E> {
        assert_eq!(rows.len(), origins.len(), "an origin for every row");
        let staging = self.staging;
        let disk = |error: DiskError| E::from(BuildsError::from(error));
        let index = write_index(&staging, rows, origins, dimension, sources, cached, stop)?;
        let mut hashes = Writer::create(&staging.path(HASHES)).map_err(disk)?;
        hashes.write(&hashes_header(rows)).map_err(disk)?;
        for piece in rows.chunks(1024) {
            hashes.write(&row_bytes(piece)).map_err(disk)?;
        }
        let hashes = hashes.finish(staging.mode).map_err(disk)?;
        disk::remove_if_exists(&staging.path(SPOOL)).map_err(disk)?;
        let files = Files { index, metadata: self.metadata, hashes };
        Ok(Sealed { staging, files, rows: rows.len() as u64, dimension })
    }
}

/// A staging directory whose three data files are complete and durable.
#[derive(Debug)]
pub struct Sealed {
    pub(super) staging: Staging,
    /// Size and digest of each file as it was meant to be written.
    pub files: Files,
    /// Rows that each of them should have.
    pub rows: u64,
    /// Floats in a vector.
    pub dimension: usize,
}

fn write_index<E: From<BuildsError> + From<Stopped>>(
    staging: &Staging,
    rows: &[RowHashes],
    origins: &[VectorOrigin],
    dimension: usize,
    sources: &[&Build],
    cached: &mut ReadVector<'_, E>,
    stop: &Stop,
) -> Result<FileFact, E> {
    let path = staging.path(INDEX);
    let header = faiss_header(&path, rows.len() as u64, dimension)?;
    let disk = |error: DiskError| E::from(BuildsError::from(error));
    // Opened when first needed: of the builds at hand most give no vector, and those may be gone.
    let mut open: Vec<Option<IndexVectors>> = sources.iter().map(|_| None).collect();
    let mut out = Writer::create(&path).map_err(disk)?;
    out.write(&header).map_err(disk)?;
    let at_most = (CHUNK_BYTES / (4 * dimension)).max(1);
    let mut piece = Vec::new();
    let mut vector = vec![0.0; dimension];
    let mut next = 0;
    while next < rows.len() {
        stop.check()?;
        let run = run_length(&origins[next..], at_most);
        piece.clear();
        match origins[next] {
            VectorOrigin::Build { build, row } => {
                let build = usize::from(build);
                let vectors = match &mut open[build] {
                    Some(vectors) => vectors,
                    none => none.insert(IndexVectors::open(sources[build], dimension)?),
                };
                vectors.read(u64::from(row), run, &mut piece)?;
            }
            VectorOrigin::Cache => {
                for row in &rows[next..next + run] {
                    cached(&row.text, &mut vector)?;
                    let begin = piece.len();
                    piece.resize(begin + 4 * dimension, 0);
                    for (bytes, float) in piece[begin..].as_chunks_mut().0.iter_mut().zip(&vector) {
                        *bytes = float.to_le_bytes();
                    }
                }
            }
        }
        out.write(&piece).map_err(disk)?;
        next += run;
    }
    out.finish(staging.mode).map_err(disk)
}

/// How many rows from here on come from one place, one after the other.
fn run_length(origins: &[VectorOrigin], at_most: usize) -> usize {
    let follows = |nth: usize, origin: &VectorOrigin| match (origins[0], *origin) {
        (VectorOrigin::Cache, VectorOrigin::Cache) => true,
        (VectorOrigin::Build { build, row }, VectorOrigin::Build { build: other, row: there }) => {
            build == other && u64::from(there) == u64::from(row) + nth as u64
        }
        (VectorOrigin::Cache, VectorOrigin::Build { .. })
        | (VectorOrigin::Build { .. }, VectorOrigin::Cache) => false,
    };
    origins.iter().take(at_most).enumerate().take_while(|(nth, origin)| follows(*nth, origin)).count()
}

/// The beginning of the index as Faiss writes it, by way of a file that is then gone.
fn faiss_header(path: &Path, rows: u64, dimension: usize) -> Result<[u8; HEADER_BYTES], BuildsError> {
    // Faiss does not tell of a full disk: as many bytes of our own do.
    let mut room = Writer::create(path)?;
    room.write(&[0; HEADER_BYTES])?;
    room.flush()?;
    index::write_empty(path, dimension)?;
    let empty = disk::read_small(path, 4096)?;
    if empty.len() < HEADER_BYTES {
        let found = format!("Faiss wrote {} of {HEADER_BYTES} bytes and gave no reason", empty.len());
        return Err(DiskError::at("write", path)(io::Error::new(io::ErrorKind::WriteZero, found)).into());
    }
    disk::remove_if_exists(path)?;
    Ok(index::header_for(&empty, rows, path)?)
}

/// The vectors of a build whose index has been proven.
struct IndexVectors {
    file: File,
    path: PathBuf,
    dimension: usize,
}

impl IndexVectors {
    fn open(build: &Build, dimension: usize) -> Result<Self, BuildsError> {
        let path = build.path(INDEX);
        let file = disk::open_file(&path)?;
        Ok(Self { file, path, dimension })
    }

    fn read(&self, row: u64, rows: usize, out: &mut Vec<u8>) -> Result<(), BuildsError> {
        let bytes = 4 * self.dimension;
        out.resize(rows * bytes, 0);
        let at = HEADER_BYTES as u64 + row * bytes as u64;
        self.file.read_exact_at(out, at).map_err(DiskError::at("read", &self.path))?;
        Ok(())
    }
}

/// A text that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpooledText {
    /// Digest of the text.
    pub hash: TextHash,
    /// The first row that has it, as a message names it.
    pub id: String,
    /// The text.
    pub text: String,
}

/// Texts that were set aside, read back one by one.
pub struct Spool {
    from: BufReader<File>,
    path: PathBuf,
    left: u64,
}

impl Iterator for Spool {
    type Item = io::Result<SpooledText>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let read = self.read();
        Some(read.map_err(|error| io::Error::new(error.kind(), DiskError::at("read", &self.path)(error))))
    }
}

impl Spool {
    fn read(&mut self) -> io::Result<SpooledText> {
        let mut hash = [0; 16];
        self.from.read_exact(&mut hash)?;
        Ok(SpooledText { hash: TextHash(hash), id: self.part()?, text: self.part()? })
    }

    fn part(&mut self) -> io::Result<String> {
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{SPOOL}: {what}"));
        let mut length = [0; 4];
        self.from.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > MAX_TEXT_BYTES {
            return Err(damaged("a text longer than SQLite can hold"));
        }
        let mut text = Vec::new();
        self.from.by_ref().take(u64::from(length)).read_to_end(&mut text)?;
        if text.len() != length as usize {
            return Err(damaged("cut short"));
        }
        String::from_utf8(text).map_err(|_| damaged("not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_distinguished_from_other_names() {
        let now = "2026-11-22T10:15:00Z".parse().unwrap();
        assert!(new_id(now).starts_with("20261122T101500Z-"));
        let cases = [
            (new_id(now), true),
            (format!("{}{ADOPTED}", new_id(now)), true),
            ("20261122T101500Z-7f3a9c".to_owned(), true),
            ("20261122T101500Z-7f3a9c.staging".to_owned(), false),
            ("20261122T101500Z-7f3a9".to_owned(), false),
            ("20261122T101500Z-7F3A9C".to_owned(), false),
            ("lost+found".to_owned(), false),
            (String::new(), false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_id(&name), expected, "{name}");
        }
    }

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
