//! `manifest.json`: what a build states about itself.
//!
//! Small JSON: who made the build, of what, when, how long the stages took,
//! and size and digest of every file beside it. Promotion is not in it: the
//! manifest is written before that. Its last member is a digest of the bytes
//! before it.
//!
//! Bytes to types and back, nothing else: `builds` reads and writes the file,
//! `row_hashes` has the format of `hashes.bin`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::domain::evaluate::Evaluation;
use crate::domain::pass::{Counts, Timings};
use crate::domain::record::{ContentHash, RecordHash, ScanHash, Space, TEXT_FORMAT, TextHash, ValuesHash};
use crate::domain::source_facts::RulesFacts;
use crate::domain::text::one_line;
use crate::domain::tokens::LongTexts;

/// The format of `manifest.json`, and of the records and files that it is about. A build of another format
/// is not read.
pub const MANIFEST_FORMAT: u32 = 1;

/// What stands before and after the manifest's digest of its own beginning.
const CHECKSUM: [&str; 2] = [",\n  \"checksum\": \"", "\"\n}\n"];
/// More of a program's name is not shown.
const MAX_PROGRAM_CHARS: usize = 80;
/// More floats than the settings allow in a vector.
const MAX_DIMENSIONS: usize = 65_536;

/// What a build states about itself.
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
    /// Why it was made, as text: a later version may have other triggers.
    pub trigger: String,
    /// Whether it is a pair of files that was found, not made: nothing is known about its rows.
    pub adopted: bool,
    pub program: String,
    /// Version of Faiss that wrote the index.
    pub faiss: String,
    pub source: SourceFacts,
    /// What was read and how texts were made of it; not known of an adopted build and of those of 0.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesFacts>,
    /// The space of its vectors; unknown for an adopted build.
    pub space: Option<Space>,
    /// Where its vectors came from; unknown for an adopted build and for those of 0.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Digest of the raw values of the scan it was made from.
    pub scan_hash: Option<ScanHash>,
    /// Digest of the raw values alone; known where `rules` are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values_hash: Option<ValuesHash>,
    /// Digest of its records and quarantined rows.
    pub content_hash: Option<ContentHash>,
    #[serde(rename = "left_out")]
    pub quarantined: Vec<QuarantinedRow>,
    pub files: Files,
    /// Vectors in the index, as Faiss counts them.
    pub ntotal: u64,
    pub dimension: usize,
    /// Always `inner_product` for a build of our own.
    pub metric: String,
    #[serde(flatten)]
    pub counts: Counts,
    #[serde(rename = "took_ms")]
    pub timings: Timings,
    /// How well it answers judged queries, where they were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// The build served before.
    pub previous: Option<String>,
}

/// Where the rows of a build came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFacts {
    pub database: String,
    /// Its indexed rows at the time.
    #[serde(rename = "tagged")]
    pub indexed_rows: u64,
    /// Of its records, those whose tags are the JSON word `null`, which counts as tagged. Not written
    /// where there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub null_tags: u64,
    /// Of its texts, those that the model does not read whole. Not written where there is none.
    #[serde(default, skip_serializing_if = "LongTexts::is_empty")]
    pub too_long: LongTexts,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A row that quarantine excluded from a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinedRow {
    /// The row's id, as far as it can be printed.
    pub id: String,
    /// Digest of its raw values.
    pub hash: RecordHash,
    pub column: String,
    /// What is wrong with the column.
    pub reason: String,
    /// Set where the provider refused the text: it is sent again once a day at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_text: Option<TextHash>,
    /// Since when the row is out, RFC 3339 in UTC. 0.1.0 did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

impl QuarantinedRow {
    /// Since when the row is out, as far as the manifest that lists it says so.
    #[must_use]
    pub fn since<'a>(&'a self, manifest: &'a Manifest) -> &'a str {
        self.since.as_deref().unwrap_or(&manifest.created)
    }
}

/// Size and digest of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFact {
    pub bytes: u64,
    /// Blake3 digest, 64 hexadecimal digits.
    pub blake3: String,
}

/// The files beside a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    #[serde(rename = "faiss.index")]
    pub index: FileFact,
    #[serde(rename = "metadata.json")]
    pub metadata: FileFact,
    #[serde(rename = "hashes.bin")]
    pub hashes: FileFact,
}

/// Why bytes are not the manifest that was expected.
#[derive(Debug, Error)]
pub enum ManifestError {
    #[error("manifest is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// A number that no format has.
    #[error("manifest has format {found}, expected {MANIFEST_FORMAT}")]
    Format { found: u32 },
    /// A manifest of a newer program version: nothing is known about its build.
    #[error("manifest has format {found} of {by}, this program knows up to {known}")]
    Newer {
        found: u32,
        known: u32,
        /// The program that wrote it, as far as it says so.
        by: String,
    },
    #[error("manifest has changed since it was written: its checksum is missing or does not match")]
    Checksum,
    /// A number that no build can have.
    #[error("manifest has vectors of {found} floats, expected at most {MAX_DIMENSIONS}")]
    Dimension { found: usize },
    /// The manifest is whole, but stands in the directory of another build.
    #[error("manifest belongs to build {found}, expected {expected}")]
    WrongBuild { found: String, expected: String },
}

impl Manifest {
    /// Reads `manifest.json`.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] for bytes that are not a manifest of this format.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct ManifestHead {
            format: u32,
            #[serde(default)]
            program: Value,
            #[serde(default)]
            space: Value,
        }
        let head: ManifestHead = serde_json::from_slice(bytes)?;
        let ManifestHead { format: found, program, space } = head;
        let newer = |found, known| {
            let by = program.as_str().unwrap_or("another program");
            ManifestError::Newer { found, known, by: one_line(by, MAX_PROGRAM_CHARS) }
        };
        // Before any other rule: a newer format may have others.
        if found > MANIFEST_FORMAT && !was_format_1(bytes, found) {
            return Err(newer(found, MANIFEST_FORMAT));
        }
        if found != MANIFEST_FORMAT {
            return Err(ManifestError::Format { found });
        }
        if !checksum_matches(bytes) {
            return Err(ManifestError::Checksum);
        }
        // Its text hashes would name no text of this program: all would be embedded again.
        let texts = space.get("text_format").and_then(Value::as_u64).unwrap_or_default();
        if texts > u64::from(TEXT_FORMAT) {
            return Err(newer(u32::try_from(texts).unwrap_or(u32::MAX), TEXT_FORMAT));
        }
        let manifest: Self = serde_json::from_slice(bytes)?;
        match manifest.dimension {
            0..=MAX_DIMENSIONS => Ok(manifest),
            found => Err(ManifestError::Dimension { found }),
        }
    }

    /// Fails if this is not the manifest of the build `id`.
    ///
    /// # Errors
    ///
    /// [`ManifestError::WrongBuild`].
    pub fn belongs_to(self, id: &str) -> Result<Self, ManifestError> {
        if self.id == id {
            return Ok(self);
        }
        Err(ManifestError::WrongBuild { found: self.id, expected: id.to_owned() })
    }

    /// The bytes of `manifest.json`, on several lines because people read it too.
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

/// Whether only the number of its format has changed since a manifest was written: then it is not newer.
fn was_format_1(bytes: &[u8], found: u32) -> bool {
    let name = format!("\"format\": {found}");
    let at = bytes.windows(name.len()).position(|part| part == name.as_bytes());
    at.is_some_and(|at| {
        let first = format!("\"format\": {MANIFEST_FORMAT}");
        checksum_matches(&[&bytes[..at], first.as_bytes(), &bytes[at + name.len()..]].concat())
    })
}

/// Whether a manifest ends with the digest of the rest of it.
fn checksum_matches(bytes: &[u8]) -> bool {
    let beginning = bytes.len().saturating_sub(checksum_suffix(b"").len());
    let (beginning, end) = bytes.split_at(beginning);
    end == checksum_suffix(beginning).as_bytes()
}

#[cfg(test)]
mod tests;
