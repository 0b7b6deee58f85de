//! `manifest.json` and `hashes.bin`: what a build says of itself.
//!
//! The manifest is small JSON: who made the build, of what, when, how long
//! each phase took, and size and digest of every file beside it. Its last
//! member is a digest of the bytes before it. `hashes.bin`
//! holds forty bytes a row, in index order, so that the next pass can tell
//! what changed without reading the metadata.
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
//! Bytes to types and back, nothing else: reading and writing files is left
//! to `builds`.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::domain::record::{ContentHash, IdHash, RecordHash, ScanHash, Space, TextHash};

/// The shape of `manifest.json`. A build of another shape is not read.
pub const MANIFEST_FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"RIDXHASH";
const HASHES_VERSION: u32 = 1;
const HEADER_BYTES: usize = 56;
/// Bytes of one row in `hashes.bin`.
pub const ROW_BYTES: usize = 40;
const ROW_BYTES_U32: u32 = 40;

/// What stands before the manifest's digest of its own beginning, and after it.
const CHECKSUM: [&str; 2] = [",\n  \"checksum\": \"", "\"\n}\n"];
/// More floats than the settings allow a vector.
const MAX_DIMENSIONS: usize = 65_536;

/// What a build says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The name of its directory.
    pub id: String,
    /// Order among the builds of one directory; the clock plays no part in it.
    pub sequence: u64,
    /// When its files were complete, RFC 3339 in UTC.
    pub created: String,
    /// Why it was made: `start`, `database`, `marker`, `command` …
    pub trigger: String,
    /// Whether it is a pair of files that was found, not made: nothing is proven of its rows.
    pub adopted: bool,
    /// Name and version of the program that made it.
    pub program: String,
    /// Version of Faiss that wrote the index.
    pub faiss: String,
    /// Where the rows came from.
    pub source: SourceFacts,
    /// The space of its vectors; unknown for an adopted build.
    pub space: Option<Space>,
    /// Digest of the raw values of the scan it was made from.
    pub scan_hash: Option<ScanHash>,
    /// Digest of its records and left-out rows.
    pub content_hash: Option<ContentHash>,
    /// Rows that quarantine kept out.
    #[serde(rename = "left_out")]
    pub quarantined: Vec<QuarantinedRow>,
    /// Size and digest of the files beside the manifest.
    pub files: Files,
    /// Vectors in the index, as Faiss counts them.
    pub ntotal: u64,
    /// Floats in a vector.
    pub dimension: usize,
    /// Always `inner_product` for a build of our own.
    pub metric: String,
    /// How the build came about, in rows.
    #[serde(flatten)]
    pub counts: Counts,
    /// Milliseconds by phase.
    pub took_ms: Took,
    /// The build served before.
    pub previous: Option<String>,
}

/// Where the rows of a build came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// The database file.
    pub database: String,
    /// Its tagged rows at the time.
    pub tagged: u64,
}

/// A row that quarantine kept out of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinedRow {
    /// The row's id, as far as it can be printed.
    pub id: String,
    /// Digest of its raw values.
    pub hash: RecordHash,
    /// The column at fault.
    pub column: String,
    /// What is wrong with it.
    pub reason: String,
    /// Set where the provider refused the text: it is not sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_text: Option<TextHash>,
}

/// Size and digest of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFact {
    /// Length in bytes.
    pub bytes: u64,
    /// Blake3 digest, 64 hexadecimal digits.
    pub blake3: String,
}

/// The files beside a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// `faiss.index`.
    #[serde(rename = "faiss.index")]
    pub index: FileFact,
    /// `metadata.json`.
    #[serde(rename = "metadata.json")]
    pub metadata: FileFact,
    /// `hashes.bin`.
    #[serde(rename = "hashes.bin")]
    pub hashes: FileFact,
}

/// How a build came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows in the index and in the metadata.
    pub records: u64,
    /// Records whose vector was at hand.
    pub kept: u64,
    /// Texts that were bought; copies of one text are bought once.
    pub embedded: u64,
    /// Records whose vector was at hand and whose metadata differ from the served build's.
    pub metadata_only: u64,
    /// Rows of the build served before that are gone.
    pub removed: u64,
    /// Requests sent to the provider, repeated ones included.
    pub requests: u64,
}

/// Milliseconds spent in each phase that ends before the manifest is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    /// Reading the database, metadata written on the way.
    pub snapshot: u64,
    /// Finding vectors at hand and proving the files they come from.
    pub plan: u64,
    /// Buying vectors.
    pub embed: u64,
    /// Writing index and hashes.
    pub index: u64,
    /// Reopening and proving the files.
    pub verify: u64,
    /// All of it.
    pub total: u64,
}

impl Took {
    /// The phases alone, with that of the promotion where it is over and known.
    #[must_use]
    pub fn phases(&self, promote: Option<u64>) -> Phases {
        let Self { snapshot, plan, embed, index, verify, total: _ } = *self;
        Phases { snapshot, plan, embed, index, verify, promote }
    }
}

/// Milliseconds spent in each phase of a pass. A manifest cannot say the last
/// one, since it is written before that ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// As in [`Took`].
    pub snapshot: u64,
    /// As in [`Took`].
    pub plan: u64,
    /// As in [`Took`].
    pub embed: u64,
    /// As in [`Took`].
    pub index: u64,
    /// As in [`Took`].
    pub verify: u64,
    /// From verified to served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<u64>,
}

impl Phases {
    /// The phases that are known, by name and in their order.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let Self { snapshot, plan, embed, index, verify, promote } = *self;
        let measured =
            [("snapshot", snapshot), ("plan", plan), ("embed", embed), ("index", index), ("verify", verify)];
        measured.into_iter().chain(promote.map(|promote| ("promote", promote)))
    }
}

/// The digests of one row, in index order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowHashes {
    /// Which row.
    pub id: IdHash,
    /// Which text, so which vector.
    pub text: TextHash,
    /// Which metadata.
    pub record: RecordHash,
}

/// Why bytes are no manifest or no hashes.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Not the JSON of a manifest.
    #[error("manifest is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// A manifest of another program version.
    #[error("manifest has format {found}, expected {MANIFEST_FORMAT}")]
    Format {
        /// The format it names.
        found: u32,
    },
    /// A manifest that somebody or something changed.
    #[error("manifest is not as it was written: its checksum is another's")]
    Checksum,
    /// A number that no build can have.
    #[error("manifest has vectors of {found} floats, expected at most {MAX_DIMENSIONS}")]
    Dimension {
        /// The number.
        found: usize,
    },
    /// `hashes.bin` is not what its header says.
    #[error("hashes.bin: expected {expected}, found {found}")]
    Hashes {
        /// What the header or the manifest promises.
        expected: String,
        /// What the bytes are.
        found: String,
    },
}

impl Manifest {
    /// Reads `manifest.json`.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] where the bytes are no manifest of this format.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct ManifestHead {
            format: u32,
            checksum: Option<IgnoredAny>,
        }
        let head: ManifestHead = serde_json::from_slice(bytes)?;
        if head.format != MANIFEST_FORMAT {
            return Err(ManifestError::Format { found: head.format });
        }
        // Programs before this one wrote none.
        if head.checksum.is_some() && !checksum_matches(bytes) {
            return Err(ManifestError::Checksum);
        }
        let manifest: Self = serde_json::from_slice(bytes)?;
        match manifest.dimension {
            0..=MAX_DIMENSIONS => Ok(manifest),
            found => Err(ManifestError::Dimension { found }),
        }
    }

    /// The bytes of `manifest.json`, for people to read too.
    #[must_use]
    pub fn print(&self) -> Vec<u8> {
        let mut out = serde_json::to_vec_pretty(self).expect("a manifest has string keys only");
        out.truncate(out.len() - "\n}".len());
        let ending = checksum_suffix(&out);
        out.extend_from_slice(ending.as_bytes());
        out
    }
}

/// What follows these bytes in a manifest.
fn checksum_suffix(beginning: &[u8]) -> String {
    CHECKSUM.join(blake3::hash(beginning).to_hex().as_str())
}

/// Whether a manifest ends with the digest of the rest of it.
fn checksum_matches(bytes: &[u8]) -> bool {
    let beginning = bytes.len().saturating_sub(checksum_suffix(b"").len());
    let (beginning, end) = bytes.split_at(beginning);
    end == checksum_suffix(beginning).as_bytes()
}

/// The bytes of `hashes.bin`'s header for these rows.
#[must_use]
pub fn hashes_header(rows: &[RowHashes]) -> [u8; HEADER_BYTES] {
    let mut hasher = blake3::Hasher::new();
    for piece in rows.chunks(1024) {
        hasher.update(&row_bytes(piece));
    }
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&HASHES_VERSION.to_le_bytes());
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

/// Reads `hashes.bin`, proving its digest first.
///
/// # Errors
///
/// [`ManifestError::Hashes`] with what was expected and what was found.
pub fn parse_hashes(bytes: &[u8]) -> Result<Vec<RowHashes>, ManifestError> {
    let wrong = |expected: String, found: String| Err(ManifestError::Hashes { expected, found });
    if bytes.len() < HEADER_BYTES {
        return wrong(format!("a header of {HEADER_BYTES} bytes"), format!("{} bytes", bytes.len()));
    }
    let (header, body) = bytes.split_at(HEADER_BYTES);
    if &header[..8] != MAGIC {
        return wrong("its magic number".to_owned(), format!("{:02x?}", &header[..8]));
    }
    let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let (version, row_size) = (u32_at(8), u32_at(12));
    if version != HASHES_VERSION || row_size as usize != ROW_BYTES {
        return wrong(
            format!("version {HASHES_VERSION} with rows of {ROW_BYTES} bytes"),
            format!("version {version} with rows of {row_size} bytes"),
        );
    }
    let rows = u64::from_le_bytes(header[16..24].try_into().expect("eight bytes"));
    if rows.checked_mul(ROW_BYTES as u64) != Some(body.len() as u64) {
        return wrong(format!("{rows} rows"), format!("{} bytes of rows", body.len()));
    }
    let digest = blake3::hash(body);
    if digest.as_bytes() != &header[24..] {
        return wrong("rows that match the header's digest".to_owned(), "other rows".to_owned());
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(count: u8) -> Vec<RowHashes> {
        (0..count)
            .map(|n| RowHashes {
                id: IdHash([n; 8]),
                text: TextHash([n; 16]),
                record: RecordHash([n ^ 0xff; 16]),
            })
            .collect()
    }

    fn file(rows: &[RowHashes]) -> Vec<u8> {
        [hashes_header(rows).to_vec(), row_bytes(rows)].concat()
    }

    #[test]
    fn hashes_come_back_as_they_were_written() {
        for count in [0, 1, 200] {
            assert_eq!(parse_hashes(&file(&rows(count))).unwrap(), rows(count));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_hashes_is_noticed() {
        let whole = file(&rows(3));
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert!(parse_hashes(&flipped).is_err(), "byte {at} flipped");
            assert!(parse_hashes(&whole[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_header_that_claims_more_rows_than_memory_is_an_error_and_no_allocation() {
        let mut file = file(&rows(1));
        file[16..24].copy_from_slice(&u64::MAX.to_le_bytes());

        assert!(parse_hashes(&file).unwrap_err().to_string().contains("18446744073709551615 rows"));
    }

    /// A manifest as small as one can be.
    fn manifest(dimension: usize) -> Manifest {
        let fact = r#"{"bytes": 1, "blake3": "00"}"#;
        let json = format!(
            r#"{{"format": 1, "id": "x", "sequence": 1, "created": "", "trigger": "", "adopted": false, "program": "",
            "faiss": "", "source": {{"database": "", "tagged": 1}}, "space": null, "scan_hash": null,
            "content_hash": null, "left_out": [], "files": {{"faiss.index": {fact}, "metadata.json": {fact},
            "hashes.bin": {fact}}}, "ntotal": 1, "dimension": {dimension}, "metric": "", "records": 1, "kept": 1,
            "embedded": 0, "metadata_only": 0, "removed": 0, "requests": 0, "took_ms": {{"snapshot": 0, "plan": 0,
            "embed": 0, "index": 0, "verify": 0, "total": 0}}, "previous": null}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_manifest_comes_back_as_it_was_written_or_not_at_all() {
        let manifest = manifest(32);
        let whole = manifest.print();
        assert_eq!(Manifest::parse(&whole).unwrap(), manifest);
        for at in 0..whole.len() {
            assert!(Manifest::parse(&whole[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                // Without its name the checksum is not known, and what it is of is as it was.
                let found = Manifest::parse(&flipped);
                assert!(found.is_err() || found.unwrap() == manifest, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_manifest_without_a_checksum_is_one_of_an_earlier_program() {
        let earlier = serde_json::to_vec_pretty(&manifest(32)).unwrap();

        assert_eq!(Manifest::parse(&earlier).unwrap(), manifest(32));
    }

    #[test]
    fn a_manifest_of_vectors_that_no_setting_allows_is_refused() {
        let error = Manifest::parse(&manifest(65_537).print()).unwrap_err();

        assert!(error.to_string().contains("65537 floats"), "{error}");
    }

    #[test]
    fn a_manifest_of_a_later_format_is_refused_by_its_number() {
        let error = Manifest::parse(br#"{"format": 2, "news": true}"#).unwrap_err();

        assert_eq!(error.to_string(), "manifest has format 2, expected 1");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_of_manifest_and_hashes_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            head in prop::sample::select(vec![&b""[..], b"RIDXHASH\x01\0\0\0\x28\0\0\0", b"{\"format\": 1, "]),
        ) {
            let bytes = [head, &bytes].concat();
            prop_assert!(Manifest::parse(&bytes).is_err());
            if let Ok(rows) = parse_hashes(&bytes) {
                prop_assert_eq!(file(&rows), bytes);
            }
        }

        #[test]
        fn rows_come_back_from_their_bytes_and_from_no_others(
            raw in prop::collection::vec(any::<[u8; ROW_BYTES]>(), 0..20),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let rows: Vec<RowHashes> = raw.iter().map(|row| row_of(row)).collect();
            let mut bytes = file(&rows);
            prop_assert_eq!(parse_hashes(&bytes).unwrap(), rows.clone());
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            prop_assert!(parse_hashes(&bytes).is_err());
        }
    }
}
