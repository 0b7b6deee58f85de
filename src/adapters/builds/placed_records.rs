//! The records of a build one after the other, each with its place in the metadata.
//!
//! By its place a record can be read again without the others, so that two
//! builds of any size can be compared while only digests are held. The file is
//! checked against the manifest as it is read. Single records by their row are
//! given by `records`.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::build::Build;
use super::disk;
use super::disk_error::DiskError;
use super::layout::METADATA;
use crate::domain::python_json::MAX_RECORD_BYTES;

const BUFFER_BYTES: usize = 1 << 18;
/// A record ends with the place of its chunk, which its own limit does not count.
const MAX_BYTES: usize = MAX_RECORD_BYTES + 1024;

/// The records of one build.
#[derive(Debug)]
pub struct PlacedRecords {
    file: File,
    path: PathBuf,
    digest: String,
}

/// Where a record stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    start: u64,
    bytes: u32,
}

/// Finds the objects of a JSON array as its bytes come.
#[derive(Default)]
struct RecordFinder {
    record: Vec<u8>,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl PlacedRecords {
    /// Opens the metadata of a build.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if the file cannot be opened, or has another length than the manifest says.
    pub fn open(build: &Build) -> Result<Self, DiskError> {
        let (path, fact) = (build.path(METADATA), &build.manifest.files.metadata);
        Ok(Self { file: disk::open_file_of(&path, fact.bytes)?, path, digest: fact.blake3.clone() })
    }

    /// Gives every record to `each`, in the order of the index, as the text that stands there.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if the file cannot be read or differs from the manifest, or the first error of `each`.
    pub fn for_each<E: From<DiskError>>(
        &self,
        each: &mut dyn FnMut(RecordPlace, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        let invalid = |found: String| DiskError::invalid(&self.path, found);
        let (mut found, mut hasher, mut at) = (RecordFinder::default(), blake3::Hasher::new(), 0_u64);
        let mut file = &self.file;
        file.rewind().map_err(DiskError::at("read", &self.path))?;
        let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
        loop {
            let buffer = file.fill_buf().map_err(DiskError::at("read", &self.path))?;
            if buffer.is_empty() {
                break;
            }
            hasher.update(buffer);
            for &byte in buffer {
                at += 1;
                if !found.take(byte) {
                    continue;
                }
                let bytes = u32::try_from(found.record.len()).unwrap_or(u32::MAX);
                let text = std::str::from_utf8(&found.record)
                    .map_err(|_| invalid(format!("expected UTF-8 before byte {at}, found other bytes")))?;
                each(RecordPlace { start: at - u64::from(bytes), bytes }, text)?;
                found.record.clear();
            }
            if found.record.len() > MAX_BYTES {
                return Err(
                    invalid(format!("a record before byte {at} of more than {MAX_BYTES} bytes")).into()
                );
            }
            let taken = buffer.len();
            file.consume(taken);
        }
        let digest = hasher.finalize().to_hex();
        if digest.as_str() != self.digest {
            return Err(invalid(format!("expected blake3 {}, found {digest}", self.digest)).into());
        }
        Ok(())
    }

    /// The first record; `None` of none.
    ///
    /// # Errors
    ///
    /// As for [`Self::for_each`].
    pub fn first(&self) -> Result<Option<String>, DiskError> {
        enum FirstOnly {
            Failed(DiskError),
            Found(String),
        }
        impl From<DiskError> for FirstOnly {
            fn from(error: DiskError) -> Self {
                Self::Failed(error)
            }
        }
        match self.for_each(&mut |_, text| Err(FirstOnly::Found(text.to_owned()))) {
            Ok(()) => Ok(None),
            Err(FirstOnly::Found(text)) => Ok(Some(text)),
            Err(FirstOnly::Failed(error)) => Err(error),
        }
    }

    /// The record at a place.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if it cannot be read.
    pub fn read(&self, place: RecordPlace) -> Result<String, DiskError> {
        let mut bytes = vec![0; place.bytes as usize];
        self.file.read_exact_at(&mut bytes, place.start).map_err(DiskError::at("read", &self.path))?;
        String::from_utf8(bytes)
            .map_err(|_| DiskError::invalid(&self.path, "expected UTF-8, found other bytes".to_owned()))
    }
}

impl RecordFinder {
    /// Whether this byte ends a record.
    fn take(&mut self, byte: u8) -> bool {
        if self.depth == 0 && byte != b'{' {
            return false;
        }
        self.record.push(byte);
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        self.depth == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn placed(json: &[u8], digest: &str) -> (tempfile::TempDir, PlacedRecords) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.json");
        std::fs::write(&path, json).unwrap();
        let file = File::open(&path).unwrap();
        (folder, PlacedRecords { file, path, digest: digest.to_owned() })
    }

    fn all(records: &PlacedRecords) -> Result<Vec<(RecordPlace, String)>, DiskError> {
        let mut found = Vec::new();
        records.for_each::<DiskError>(&mut |place, text| {
            found.push((place, text.to_owned()));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn metadata_that_are_not_those_of_the_manifest_are_an_error() {
        let (_folder, records) = placed(b"[{\"a\": 1}]", &blake3::hash(b"[{\"a\": 2}]").to_hex());
        let error = all(&records).unwrap_err();
        assert!(error.proves_damage() && error.source.to_string().contains("expected blake3"), "{error:?}");
    }

    proptest! {
        #[test]
        fn each_record_comes_as_it_stands_and_can_be_read_again(
            texts in prop::collection::vec("[\\[\\]{}\"\\\\a, é]{0,9}", 0..6),
            pretty in any::<bool>(),
        ) {
            let json = serde_json::json!(
                texts.iter().map(|text| serde_json::json!({ text: [{ "x": text }] })).collect::<Vec<_>>()
            );
            let write = if pretty { serde_json::to_vec_pretty } else { serde_json::to_vec };
            let bytes = write(&json).unwrap();
            let (_folder, records) = placed(&bytes, &blake3::hash(&bytes).to_hex());

            let found = all(&records).unwrap();

            let parsed: Vec<serde_json::Value> =
                found.iter().map(|(_, text)| serde_json::from_str(text).unwrap()).collect();
            prop_assert_eq!(serde_json::json!(parsed), json);
            for (place, text) in found {
                prop_assert_eq!(records.read(place).unwrap(), text);
            }
        }
    }
}
