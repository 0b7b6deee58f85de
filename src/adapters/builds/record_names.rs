//! The ids of records as text, as they stand in a build's metadata.
//!
//! A build keeps digests of ids. Where its records have the id too, it is found
//! by what stands in the first of them: the value with the digest of its row.

use serde_json::{Map, Value};

use super::build::Build;
use super::disk_error::DiskError;
use super::layout::METADATA;
use super::records;
use crate::domain::record::{IdHash, id_hashes_of};

/// The key of a record of `ingest.py` that identifies it.
const EXPERT_ID: &str = "id";

/// Gives each row and its record's id, if it stands there, in the order of the rows. `first`: the digest of
/// the first row's id; an adopted build has none.
///
/// # Errors
///
/// [`DiskError`] if the metadata cannot be read.
pub fn each_name(
    build: &Build,
    first: Option<&IdHash>,
    each: &mut dyn FnMut(usize, Option<String>),
) -> Result<(), DiskError> {
    let (mut row, mut key) = (0, None);
    let bytes = build.manifest.files.metadata.bytes;
    records::for_each(&build.path(METADATA), bytes, &mut |record: Map<String, Value>| {
        if row == 0 {
            key = id_key(&record, first);
        }
        each(row, key.as_ref().and_then(|key| record.get(key)).map(name_of));
        row += 1;
        true
    })
}

/// The key under which records have their id.
fn id_key(record: &Map<String, Value>, id: Option<&IdHash>) -> Option<String> {
    let Some(id) = id else { return Some(EXPERT_ID.to_owned()) };
    let is_id = |value: &Value| id_hashes_of(&name_of(value)).contains(id);
    record.iter().find(|(_, value)| is_id(value)).map(|(key, _)| key.clone())
}

fn name_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::RawValue;

    #[test]
    fn the_id_is_found_by_its_digest_whatever_its_key() {
        let record = |json: &str| serde_json::from_str::<Map<String, Value>>(json).unwrap();
        let cases = [
            (r#"{"a": "8", "b": 7}"#, Some(RawValue::Integer(7)), Some("b")),
            (r#"{"a": "8", "b": 7}"#, Some(RawValue::Text(b"8")), Some("a")),
            (r#"{"a": "8", "b": 7}"#, Some(RawValue::Text(b"9")), None),
            (r#"{"a": "8", "b": 7}"#, None, Some("id")),
        ];
        for (json, id, expected) in cases {
            let id = id.map(IdHash::of);
            assert_eq!(id_key(&record(json), id.as_ref()).as_deref(), expected, "{json}");
        }
    }
}
