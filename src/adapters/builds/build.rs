//! One sealed build: its id, its directory and what its manifest says.
//!
//! Reading a build checks the manifest and the row hashes, which are small.
//! Whether index and metadata have the promised bytes is `verify`'s to say.

use std::path::PathBuf;

use jiff::Timestamp;

use super::disk;
use super::error::BuildsError;
use super::index;
use super::layout::{HASHES, INDEX, MANIFEST};
use super::proof::Proof;
use crate::domain::manifest::Manifest;
use crate::domain::row_hashes::{RowHashes, parse_hashes};

/// A manifest is small; a larger file is something else.
const MAX_MANIFEST_BYTES: u64 = 64 << 20;
/// Forty bytes for each of more rows than fit a host.
pub(super) const MAX_HASHES_BYTES: u64 = 16 << 30;
/// The ending of an adopted build's id.
pub(super) const ADOPTED: &str = "-adopted";

#[derive(Clone, Debug)]
pub struct Build {
    pub directory: PathBuf,
    pub manifest: Manifest,
}

impl Build {
    /// Reads a build's manifest.
    pub(super) fn read(directory: PathBuf, id: &str) -> Proof<Self> {
        let path = directory.join(MANIFEST);
        Proof::from(disk::read_small(&path, MAX_MANIFEST_BYTES)).and_then(|bytes| {
            let manifest = Manifest::parse(&bytes).and_then(|manifest| manifest.belongs_to(id));
            Proof::of_manifest(manifest, &path).map(|manifest| Self { directory, manifest })
        })
    }

    /// Reads the build's row hashes and checks them against the manifest.
    #[must_use]
    pub fn rows(&self) -> Proof<Vec<RowHashes>> {
        let (path, fact) = (self.path(HASHES), &self.manifest.files.hashes);
        Proof::from(disk::read_small(&path, fact.bytes.min(MAX_HASHES_BYTES))).and_then(|bytes| {
            let found = blake3::hash(&bytes).to_hex();
            if found.as_str() != fact.blake3 {
                let path = path.display();
                return Proof::Damaged(format!("{path}: expected blake3 {}, found {found}", fact.blake3));
            }
            Proof::of_hashes(parse_hashes(&bytes), &path, &self.manifest.program)
        })
    }

    /// The vector of one row, of an index that was proven to be whole.
    ///
    /// # Errors
    ///
    /// [`BuildsError`] if it cannot be read.
    pub fn vector(&self, row: u64) -> Result<Vec<f32>, BuildsError> {
        Ok(index::vector(&self.path(INDEX), self.manifest.dimension, row)?)
    }

    /// The path of one of its four files.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// Makes a new id, such as `20261122T101500Z-7f3a9c`. The order of builds is in their manifests.
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
}
