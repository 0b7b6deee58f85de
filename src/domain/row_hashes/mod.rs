//! `hashes.bin`: the digests of a build's rows.
//!
//! Forty bytes a row, in index order, so that the next pass can compare rows
//! without reading the metadata.
//!
//! ```text
//! hashes.bin, little endian
//!  0  magic     8 bytes  "RIDXHASH"
//!  8  version   u32      1
//! 12  row size  u32      40
//! 16  rows      u64
//! 24  digest   32 bytes  blake3 of everything after the header
//! 56  row 0    40 bytes  id hash 8, text hash 16, record hash 16
//! 96  row 1    …
//! ```
//!
//! Bytes to types and back, nothing else: `builds` reads and writes the file.

use thiserror::Error;

use crate::domain::record::{IdHash, RecordHash, TextHash};

const MAGIC: &[u8; 8] = b"RIDXHASH";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 56;
/// Bytes of one row.
pub const ROW_BYTES: usize = 40;
const ROW_BYTES_U32: u32 = 40;
/// Rows that are turned into bytes at a time for the digest.
const ROWS_PER_CHUNK: usize = 1024;

/// The digests of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowHashes {
    pub id: IdHash,
    /// Equal texts have equal vectors.
    pub text: TextHash,
    pub record: RecordHash,
}

/// Why bytes are not a `hashes.bin`.
#[derive(Debug, Error)]
pub enum RowHashesError {
    #[error("hashes.bin: expected {expected}, found {found}")]
    Wrong { expected: String, found: String },
    /// Of a newer program version.
    #[error("hashes.bin: has version {found}, this program knows up to {known}")]
    Newer { found: u32, known: u32 },
}

/// The bytes of `hashes.bin`'s header for these rows.
#[must_use]
pub fn hashes_header(rows: &[RowHashes]) -> [u8; HEADER_BYTES] {
    let mut hasher = blake3::Hasher::new();
    for chunk in rows.chunks(ROWS_PER_CHUNK) {
        hasher.update(&row_bytes(chunk));
    }
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..16].copy_from_slice(&ROW_BYTES_U32.to_le_bytes());
    out[16..24].copy_from_slice(&(rows.len() as u64).to_le_bytes());
    out[24..].copy_from_slice(hasher.finalize().as_bytes());
    out
}

/// The bytes of rows in `hashes.bin`.
#[must_use]
pub fn row_bytes(rows: &[RowHashes]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() * ROW_BYTES);
    for row in rows {
        out.extend_from_slice(&row.id.0);
        out.extend_from_slice(&row.text.0);
        out.extend_from_slice(&row.record.0);
    }
    out
}

/// Reads `hashes.bin`, checking its digest first.
///
/// # Errors
///
/// [`RowHashesError`] with what was expected and what was found.
pub fn parse_hashes(bytes: &[u8]) -> Result<Vec<RowHashes>, RowHashesError> {
    let wrong = |expected: String, found: String| Err(RowHashesError::Wrong { expected, found });
    if bytes.len() < HEADER_BYTES {
        return wrong(format!("a header of {HEADER_BYTES} bytes"), format!("{} bytes", bytes.len()));
    }
    let (header, body) = bytes.split_at(HEADER_BYTES);
    if &header[..8] != MAGIC {
        return wrong("its magic number".to_owned(), format!("{:02x?}", &header[..8]));
    }
    let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let (version, row_size) = (u32_at(8), u32_at(12));
    if version > VERSION {
        return Err(RowHashesError::Newer { found: version, known: VERSION });
    }
    if version != VERSION || row_size as usize != ROW_BYTES {
        return wrong(
            format!("version {VERSION} with rows of {ROW_BYTES} bytes"),
            format!("version {version} with rows of {row_size} bytes"),
        );
    }
    let rows = u64::from_le_bytes(header[16..24].try_into().expect("eight bytes"));
    if rows.checked_mul(ROW_BYTES as u64) != Some(body.len() as u64) {
        return wrong(format!("{rows} rows"), format!("{} bytes of rows", body.len()));
    }
    let digest = blake3::hash(body);
    if digest.as_bytes() != &header[24..] {
        return wrong("rows that match the digest in the header".to_owned(), "other rows".to_owned());
    }
    Ok(body.chunks_exact(ROW_BYTES).map(row_of).collect())
}

fn row_of(bytes: &[u8]) -> RowHashes {
    RowHashes {
        id: IdHash(bytes[..8].try_into().expect("eight bytes")),
        text: TextHash(bytes[8..24].try_into().expect("sixteen bytes")),
        record: RecordHash(bytes[24..40].try_into().expect("sixteen bytes")),
    }
}

#[cfg(test)]
mod tests;
