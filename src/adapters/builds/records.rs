//! Reads single records from a build's metadata without holding all of it in memory.
//!
//! The file is parsed from its beginning, and records that are not wanted are
//! skipped. Which rows are wanted is the caller's question. Or all of them are read
//! one by one, as what the caller asks for, or for their hashes alone.

use std::io::{BufReader, Read};
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::build::Build;
use super::disk;
use super::disk_error::DiskError;
use super::layout::METADATA;
use crate::domain::record::RecordHash;

/// The records at these rows, in the order of `rows`, from metadata of `bytes` bytes.
///
/// # Errors
///
/// [`DiskError`] if the file cannot be read, has another length, is not a JSON array or has too few records.
pub fn pick(metadata: &Path, bytes: u64, rows: &[usize]) -> Result<Vec<Value>, DiskError> {
    let file = disk::open_file_of(metadata, bytes)?.take(bytes);
    let mut found = vec![Value::Null; rows.len()];
    let mut parser = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 18, file));
    parser
        .deserialize_seq(Picker { rows, found: &mut found })
        .map_err(|error| DiskError::at("read", metadata)(error.into()))?;
    if let Some(missing) = rows.iter().zip(&found).find(|(_, record)| record.is_null()) {
        let found = format!("expected a record at row {}, found none", missing.0);
        return Err(DiskError::invalid(metadata, found));
    }
    Ok(found)
}

/// The hash of each record of a build, in their order.
///
/// # Errors
///
/// [`DiskError`] if the metadata cannot be read or are not a JSON array.
pub fn hashes(build: &Build) -> Result<Vec<RecordHash>, DiskError> {
    let (path, bytes) = (build.path(METADATA), build.manifest.files.metadata.bytes);
    let file = disk::open_file_of(&path, bytes)?.take(bytes);
    let mut parser = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 18, file));
    parser.deserialize_seq(Hashes).map_err(|error| DiskError::at("read", &path)(error.into()))
}

/// Gives each record of the metadata at a path, which has `bytes` bytes, to `each` as a `T`, until it says
/// `false`.
///
/// # Errors
///
/// [`DiskError`] if the file cannot be read, has another length, or is not a JSON array of such.
pub fn for_each<T: DeserializeOwned>(
    metadata: &Path,
    bytes: u64,
    each: &mut dyn FnMut(T) -> bool,
) -> Result<(), DiskError> {
    let file = disk::open_file_of(metadata, bytes)?.take(bytes);
    let mut parser = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 18, file));
    let mut has_ended = false;
    let mut ended = |record| {
        has_ended = !each(record);
        has_ended
    };
    let read = parser.deserialize_seq(Each { each: &mut ended, of: PhantomData });
    match read {
        // The parser expects the end of an array that was left early.
        Err(error) if !has_ended => Err(DiskError::at("read", metadata)(error.into())),
        Ok(()) | Err(_) => Ok(()),
    }
}

struct Each<'a, T> {
    each: &'a mut dyn FnMut(T) -> bool,
    of: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Each<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while let Some(record) = records.next_element()? {
            if (self.each)(record) {
                break;
            }
        }
        Ok(())
    }
}

struct Hashes;

impl<'de> Visitor<'de> for Hashes {
    type Value = Vec<RecordHash>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<Self::Value, A::Error> {
        let mut hashes = Vec::new();
        while let Some(record) = records.next_element::<Box<RawValue>>()? {
            hashes.push(RecordHash::of(record.get().as_bytes()));
        }
        Ok(hashes)
    }
}

struct Picker<'a> {
    rows: &'a [usize],
    found: &'a mut [Value],
}

impl<'de> Visitor<'de> for Picker<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        let mut row = 0;
        loop {
            let wanted: Vec<usize> = (0..self.rows.len()).filter(|nth| self.rows[*nth] == row).collect();
            if wanted.is_empty() {
                if records.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(());
                }
            } else {
                let Some(record) = records.next_element_seed(Whole)? else { return Ok(()) };
                for nth in wanted {
                    self.found[nth] = record.clone();
                }
            }
            row += 1;
        }
    }
}

struct Whole;

impl<'de> DeserializeSeed<'de> for Whole {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        serde::Deserialize::deserialize(from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_come_in_the_order_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.json");
        let json = r#"[{"id": 0}, {"id": 1}, {"id": 2}]"#;
        std::fs::write(&path, json).unwrap();
        let bytes = json.len() as u64;

        let ids = |rows: &[usize]| {
            pick(&path, bytes, rows).unwrap().iter().map(|record| record["id"].clone()).collect::<Vec<_>>()
        };

        assert_eq!(ids(&[2, 0, 2]), [2, 0, 2]);
        assert_eq!(ids(&[]), [0; 0]);
        assert!(pick(&path, bytes, &[3]).unwrap_err().source.to_string().contains("row 3"));
        assert!(pick(&path, bytes + 1, &[0]).unwrap_err().source.to_string().contains("expected 34"));
    }

    proptest! {
        #[test]
        fn a_record_is_the_one_that_stands_there_or_an_error(
            records in prop::collection::vec("[a-z\u{e9}]{0,5}", 0..6),
            rows in prop::collection::vec(0_usize..8, 0..4),
            spoiled in any::<Option<(prop::sample::Index, u8)>>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("metadata.json");
            let mut json = serde_json::to_vec(&records).unwrap();
            if let Some((at, byte)) = &spoiled {
                let at = at.index(json.len());
                json[at] = *byte;
            }
            std::fs::write(&path, &json).unwrap();

            let found = pick(&path, json.len() as u64, &rows);

            if spoiled.is_none() {
                let there = rows.iter().all(|row| *row < records.len());
                prop_assert_eq!(found.is_ok(), there);
                let due: Option<Vec<Value>> =
                    rows.iter().map(|row| records.get(*row).map(|text| text.as_str().into())).collect();
                prop_assert_eq!(found.ok(), due);
            }
        }
    }
}
