//! A build that is not yet verified, from its first byte until it is sealed.
//!
//! [`Draft`] takes what the scan reads: records go straight into the metadata
//! file, texts to be embedded into a spool, so that neither is held in memory.
//! [`Drafted`] knows all rows; with their vectors it becomes [`Sealed`], whose
//! files are complete and durable. Only `verify` can take it further. Until
//! then the directory has a name that the sweep removes.

use std::path::{Path, PathBuf};

use super::build::Build;
use super::disk_error::DiskError;
use super::error::BuildsError;
use super::index_writer::write_index;
use super::layout::{HASHES, INDEX, Layout, MANIFEST, METADATA, STAGING};
use super::mode::Mode;
use super::spool::{SPOOL, Spool, SpoolWriter};
use super::writer::Writer;
use super::{Builds, disk};
use crate::domain::manifest::{FileFact, Files, Manifest};
use crate::domain::record::TextHash;
use crate::domain::row_hashes::{ROW_BYTES, RowHashes, hashes_header, row_bytes};
use crate::domain::stop::{Stop, Stopped};

pub use super::index_writer::{BuildContent, ReadVector};

/// The directory of a new build.
#[derive(Debug)]
pub struct Staging {
    /// The id that the build will have.
    pub id: String,
    pub directory: PathBuf,
    pub mode: Mode,
}

impl Staging {
    /// Makes the directory.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if it cannot be made.
    pub fn begin(builds: &Builds, id: String) -> Result<Self, DiskError> {
        let directory = builds.layout.build(&format!("{id}{STAGING}"));
        let mode = builds.mode()?;
        disk::make_directory(&directory, mode)?;
        Ok(Self { id, directory, mode })
    }

    /// The path of one of its files.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Creates the files that the scan fills.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if one cannot be created.
    pub fn draft(self) -> Result<Draft, DiskError> {
        let mut metadata = Writer::create(&self.path(METADATA))?;
        metadata.write(b"[")?;
        let spool = SpoolWriter::create(&self.path(SPOOL))?;
        Ok(Draft { staging: self, metadata, spool, records: 0 })
    }

    /// Writes the manifest and gives the complete build its own name: it is durable and not yet served.
    pub(super) fn take_name(self, layout: &Layout, manifest: &Manifest) -> Result<Build, DiskError> {
        let mut writer = Writer::create(&self.path(MANIFEST))?;
        writer.write(&manifest.print())?;
        writer.finish(self.mode)?;
        disk::sync_directory(&self.directory)?;
        let directory = layout.build(&self.id);
        disk::rename(&self.directory, &directory)?;
        disk::sync_directory(&layout.builds)?;
        Ok(Build { directory, manifest: manifest.clone() })
    }

    /// Removes the directory: there is nothing to build after all.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if it cannot be removed.
    pub fn discard(self) -> Result<(), DiskError> {
        disk::remove_tree(&self.directory)
    }
}

/// A staging directory during the scan.
pub struct Draft {
    staging: Staging,
    metadata: Writer,
    spool: SpoolWriter,
    records: u64,
}

impl Draft {
    /// Appends one record's JSON to the metadata: its members, and what ends it.
    ///
    /// # Errors
    ///
    /// [`DiskError`], as on a full disk.
    pub fn record(&mut self, members: &[u8], ending: &str) -> Result<(), DiskError> {
        if self.records > 0 {
            self.metadata.write(b", ")?;
        }
        self.records += 1;
        self.metadata.write(members)?;
        self.metadata.write(ending.as_bytes())
    }

    /// Keeps a text that must be embedded, with the id of the first row that has it.
    ///
    /// # Errors
    ///
    /// [`DiskError`], as on a full disk.
    pub fn text(&mut self, hash: TextHash, id: &str, text: &str) -> Result<(), DiskError> {
        self.spool.append(hash, id, text)
    }

    /// Ends the scan: the metadata are complete and durable.
    ///
    /// # Errors
    ///
    /// [`DiskError`], as on a full disk.
    pub fn finish(mut self) -> Result<Drafted, DiskError> {
        self.metadata.write(b"]")?;
        let metadata = self.metadata.finish(self.staging.mode)?;
        Ok(Drafted { staging: self.staging, metadata, texts: self.spool.finish()? })
    }
}

/// A staging directory that lacks its vectors.
#[derive(Debug)]
pub struct Drafted {
    pub staging: Staging,
    metadata: FileFact,
    /// Texts that must be embedded.
    pub texts: u64,
}

impl Drafted {
    /// The texts that must be embedded, in the order of the rows.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if the spool cannot be opened; each item if it cannot be read.
    pub fn spool(&self) -> Result<Spool, DiskError> {
        Spool::open(self.staging.path(SPOOL), self.texts)
    }

    /// Bytes that sealing will add to the disk, new vectors in the cache included.
    #[must_use]
    pub fn bytes_remaining(&self, rows: u64, dimension: usize) -> u64 {
        let vector = 4 * dimension as u64;
        rows * (vector + ROW_BYTES as u64) + 2 * self.texts * (vector + 64) + (4 << 20)
    }

    /// Writes index and hashes and makes their bytes durable; their names are so when they are promoted.
    ///
    /// Sources and `cached` must give unit vectors of the content's dimension.
    ///
    /// # Errors
    ///
    /// What reading or writing fails with; a requested stop is [`Stopped`].
    ///
    /// # Panics
    ///
    /// If there is not one origin for each row.
    pub fn seal<E: From<BuildsError> + From<Stopped>>(
        self,
        content: &BuildContent<'_>,
        cached: &mut ReadVector<'_, E>,
        stop: &Stop,
    ) -> Result<Sealed, E> {
        let BuildContent { rows, origins, dimension, .. } = *content;
        assert_eq!(rows.len(), origins.len(), "an origin for every row");
        let staging = self.staging;
        let disk = |error: DiskError| E::from(BuildsError::from(error));
        let index = write_index(&staging.path(INDEX), staging.mode, content, cached, stop)?;
        let hashes = write_hashes(&staging.path(HASHES), staging.mode, rows).map_err(disk)?;
        disk::remove_if_exists(&staging.path(SPOOL)).map_err(disk)?;
        let files = Files { index, metadata: self.metadata, hashes };
        Ok(Sealed { staging, files, rows: rows.len() as u64, dimension })
    }
}

/// A staging directory whose three data files are complete and durable.
#[derive(Debug)]
pub struct Sealed {
    pub(super) staging: Staging,
    /// Size and digest of each file as it was to be written.
    pub files: Files,
    /// Rows that each of them should have.
    pub rows: u64,
    /// Floats in a vector.
    pub dimension: usize,
}

/// Writes `hashes.bin` and makes its bytes durable.
pub(super) fn write_hashes(path: &Path, mode: Mode, rows: &[RowHashes]) -> Result<FileFact, DiskError> {
    let mut hashes = Writer::create(path)?;
    hashes.write(&hashes_header(rows))?;
    for chunk in rows.chunks(1024) {
        hashes.write(&row_bytes(chunk))?;
    }
    hashes.finish(mode)
}
