//! Reads single records out of a build's metadata without loading all of it.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;

use super::DiskError;

/// The records at these rows, in the order of `rows`.
///
/// # Errors
///
/// [`DiskError`] where the file cannot be read, is not a JSON array, or has too few records.
pub fn pick(metadata: &Path, rows: &[usize]) -> Result<Vec<Value>, DiskError> {
    let file = File::open(metadata).map_err(DiskError::at("open", metadata))?;
    let mut found = vec![Value::Null; rows.len()];
    let mut from = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 18, file));
    from.deserialize_seq(Picker { rows, found: &mut found })
        .map_err(|error| DiskError::at("read", metadata)(error.into()))?;
    if let Some(missing) = rows.iter().zip(&found).find(|(_, record)| record.is_null()) {
        let words = format!("expected a record at row {}, found none", missing.0);
        return Err(DiskError::at("read", metadata)(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            words,
        )));
    }
    Ok(found)
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
    use super::*;

    #[test]
    fn records_come_in_the_order_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.json");
        std::fs::write(&path, r#"[{"id": 0}, {"id": 1}, {"id": 2}]"#).unwrap();

        let ids = |rows: &[usize]| {
            pick(&path, rows).unwrap().iter().map(|record| record["id"].clone()).collect::<Vec<_>>()
        };

        assert_eq!(ids(&[2, 0, 2]), [2, 0, 2]);
        assert_eq!(ids(&[]), [0; 0]);
        assert!(pick(&path, &[3]).unwrap_err().source.to_string().contains("row 3"));
    }
}
