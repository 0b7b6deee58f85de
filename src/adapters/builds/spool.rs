//! Texts that must be embedded, kept in a file until they are.
//!
//! The scan writes them in the order of the rows, each with the id of the
//! first row that has it; the pass reads them back one by one, so that no
//! more than one is held in memory. The file never outlives its pass, so it
//! is not made durable.
//!
//! ```text
//! one text, little endian
//!  0  text hash  16 bytes
//! 16  length     u32
//! 20  id         UTF-8
//!  …  length     u32
//!  …  text       UTF-8
//! ```

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::disk_error::DiskError;
use super::open;
use super::writer::Writer;
use crate::domain::record::TextHash;

/// The file in the staging directory.
pub(super) const SPOOL: &str = "texts.spool";
/// A longer text in the spool is damage: SQLite itself holds no longer value.
const MAX_TEXT_BYTES: u32 = 1 << 30;

/// Appends texts.
pub(super) struct SpoolWriter {
    writer: Writer,
    texts: u64,
}

impl SpoolWriter {
    pub(super) fn create(path: &Path) -> Result<Self, DiskError> {
        Ok(Self { writer: Writer::create(path)?, texts: 0 })
    }

    pub(super) fn append(&mut self, hash: TextHash, id: &str, text: &str) -> Result<(), DiskError> {
        self.texts += 1;
        self.writer.write(&hash.0)?;
        for part in [id, text] {
            let length = u32::try_from(part.len()).expect("SQLite holds no text of 4 GiB");
            self.writer.write(&length.to_le_bytes())?;
            self.writer.write(part.as_bytes())?;
        }
        Ok(())
    }

    /// Returns how many texts there are.
    pub(super) fn finish(self) -> Result<u64, DiskError> {
        self.writer.flush()?;
        Ok(self.texts)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpooledText {
    pub hash: TextHash,
    /// The first row that has the text, as a message names it.
    pub id: String,
    pub text: String,
}

/// The texts in the order in which they were appended.
pub struct Spool {
    from: BufReader<File>,
    path: PathBuf,
    left: u64,
}

impl Spool {
    pub(super) fn open(path: PathBuf, texts: u64) -> Result<Self, DiskError> {
        let file = open::open_to_read(&path).map_err(DiskError::at("open", &path))?;
        Ok(Self { from: BufReader::new(file), path, left: texts })
    }

    fn read(&mut self) -> io::Result<SpooledText> {
        let mut hash = [0; 16];
        self.from.read_exact(&mut hash)?;
        Ok(SpooledText { hash: TextHash(hash), id: self.part()?, text: self.part()? })
    }

    fn part(&mut self) -> io::Result<String> {
        let damaged = |found: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{SPOOL}: {found}"));
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

impl Iterator for Spool {
    type Item = io::Result<SpooledText>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let read = self.read();
        Some(read.map_err(|error| io::Error::new(error.kind(), DiskError::at("read", &self.path)(error))))
    }
}
