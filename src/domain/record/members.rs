//! A record of `metadata.json` read back: its members, the id of its row, and what differs between two.
//!
//! Values are compared by the bytes that stand there, so that a number keeps
//! all its digits: the program writes equal values as equal bytes. Which
//! records are compared is the caller's question.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::hash::IdHash;
use super::id::{id_hash, id_text};
use super::schema::{Kind, Schema};
use super::value::RawValue;
use crate::domain::text::json_fault;

/// The key of a chunk's place.
const CHUNK: &str = "chunk";
/// What stands before the place of a chunk, and what ends the record after it.
const CHUNK_MEMBER: (&str, &str) = (r#", "chunk": {"index": "#, "}}");

/// The members of one record, in their order.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    all: Vec<(String, &'a str)>,
    /// Whether the record is of a chunk; its place is not among the members.
    is_chunk: bool,
}

/// A row's id as a record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordId {
    pub(crate) text: String,
    pub(crate) hash: IdHash,
}

impl<'a> Members<'a> {
    /// Reads a record. The place of a chunk is not a member: it is not the row's.
    ///
    /// # Errors
    ///
    /// What is wrong, if it is not a JSON object.
    pub(crate) fn parse(record: &'a str) -> Result<Self, String> {
        let InOrder(mut all) = serde_json::from_str(record).map_err(|error| json_fault(&error))?;
        let is_chunk = chunk_index(record).is_some();
        if is_chunk {
            all.pop();
        }
        Ok(Self { all, is_chunk })
    }

    /// The keys, in their order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|(key, _)| key.as_str())
    }

    /// The keys as they stand in the record, that of a chunk's place too.
    pub(crate) fn all_keys(&self) -> Vec<String> {
        self.keys().chain(self.is_chunk.then_some(CHUNK)).map(str::to_owned).collect()
    }

    /// The keys whose value differs from that in a later version of the record, or that one of them lacks.
    pub(crate) fn changed_keys(&self, later: &Self) -> Vec<String> {
        let value =
            |of: &Self, key: &str| of.all.iter().find(|(found, _)| found == key).map(|(_, value)| *value);
        let gone = self.keys().filter(|key| value(later, key).is_none());
        let changed = later.keys().filter(|key| value(self, key) != value(later, key));
        changed.chain(gone).map(str::to_owned).collect()
    }

    /// The id of the row; `None` where the record does not have all columns of it as they are.
    pub(crate) fn id(&self, schema: &Schema) -> Option<RecordId> {
        let mut texts = Vec::new();
        for &at in &schema.id {
            let column = &schema.columns[at];
            let key = column.key.as_ref().filter(|_| column.kind == Kind::Plain)?;
            let (_, value) = self.all.iter().find(|(found, _)| found == key)?;
            let text = value.starts_with('"').then(|| serde_json::from_str::<String>(value));
            texts.push((at, *value, text.transpose().ok()?));
        }
        let mut row = vec![RawValue::Null; schema.width()];
        for (at, value, text) in &texts {
            row[*at] = match text {
                Some(text) => RawValue::Text(text.as_bytes()),
                None => number(value)?,
            };
        }
        Some(RecordId { text: id_text(schema, &row), hash: id_hash(schema, &row, None) })
    }
}

fn number(value: &str) -> Option<RawValue<'static>> {
    let integer = value.parse().map(RawValue::Integer);
    integer.ok().or_else(|| value.parse().ok().map(RawValue::Real))
}

/// The number of the chunk that a record is of, as [`ending`](super::ending) writes it.
pub(crate) fn chunk_index(record: &str) -> Option<usize> {
    let (before, after) = CHUNK_MEMBER;
    let (_, place) = record.strip_suffix(after)?.rsplit_once(before)?;
    let (index, place) = place.split_once(r#", "of": "#)?;
    let (of, place) = place.split_once(r#", "start": "#)?;
    let (start, end) = place.split_once(r#", "end": "#)?;
    [of, start, end].iter().all(|number| number.parse::<usize>().is_ok()).then(|| index.parse().ok())?
}

/// The members of a JSON object, in their order.
struct InOrder<'a>(Vec<(String, &'a str)>);

impl<'de> Deserialize<'de> for InOrder<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OfObject;

        impl<'de> Visitor<'de> for OfObject {
            type Value = InOrder<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a record")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut found = Vec::new();
                while let Some((key, value)) = members.next_entry::<String, &serde_json::value::RawValue>()? {
                    found.push((key, value.get()));
                }
                Ok(InOrder(found))
            }
        }

        from.deserialize_map(OfObject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::{ChunkPlace, Column, RowSource, ending};

    fn schema(ids: &[Column]) -> Schema {
        Schema {
            rows: RowSource::Table { name: "t".to_owned(), filter: None },
            columns: ids.to_vec(),
            id: (0..ids.len()).collect(),
            digest_input: b"not empty".to_vec(),
        }
    }

    #[test]
    fn the_keys_whose_bytes_differ_are_named_and_the_place_of_a_chunk_is_none_of_them() {
        let whole = r#"{"id": 1, "a": 10000000000000000001, "b": null}"#;
        let cases = [
            (whole, whole, vec![]),
            (whole, r#"{"id": 1, "a": 10000000000000000002, "b": null}"#, vec!["a"]),
            (whole, r#"{"b": null, "id": 1, "a": 10000000000000000001}"#, vec![]),
            (whole, r#"{"id": 1, "b": "", "c": [1]}"#, vec!["b", "c", "a"]),
            (
                r#"{"id": 1, "chunk": {"index": 0, "of": 1, "start": 0, "end": 9}}"#,
                r#"{"id": 1, "chunk": {"index": 0, "of": 2, "start": 0, "end": 4}}"#,
                vec![],
            ),
            (r#"{"chunk": {"index": 0}}"#, r#"{"chunk": {"index": 1}}"#, vec!["chunk"]),
        ];
        for (before, after, expected) in cases {
            let [one, two] = [before, after].map(|record| Members::parse(record).unwrap());
            assert_eq!(one.changed_keys(&two), expected, "{before} {after}");
        }
        assert!(Members::parse("[1]").is_err());
    }

    #[test]
    fn an_id_read_back_is_the_one_that_the_row_had() {
        let plain = |name: &str| Column::new(name, Some(name), Kind::Plain);
        let one = schema(&[plain("id")]);
        let two = schema(&[plain("lang"), plain("n")]);
        let text = RawValue::Text("ä\"".as_bytes());
        let cases: [(&Schema, &str, Vec<RawValue<'_>>); 5] = [
            (&one, r#"{"id": 7}"#, vec![RawValue::Integer(7)]),
            (&one, r#"{"id": 1.0}"#, vec![RawValue::Real(1.0)]),
            (&one, r#"{"id": 0.1}"#, vec![RawValue::Real(0.1)]),
            (&one, r#"{"x": 1, "id": "ä\""}"#, vec![text]),
            (&two, r#"{"n": 1e+16, "lang": "ä\""}"#, vec![text, RawValue::Real(1e16)]),
        ];
        for (schema, record, row) in cases {
            let expected = RecordId { text: id_text(schema, &row), hash: id_hash(schema, &row, None) };
            assert_eq!(Members::parse(record).unwrap().id(schema), Some(expected), "{record}");
        }
        let hidden = schema(&[Column::new("id", None, Kind::Plain)]);
        let parsed = schema(&[Column::new("id", Some("id"), Kind::Json)]);
        for schema in [&hidden, &parsed, &two] {
            assert_eq!(Members::parse(r#"{"id": 7}"#).unwrap().id(schema), None);
        }
    }

    #[test]
    fn the_number_of_a_chunk_is_the_one_that_was_written_and_nothing_else() {
        for index in [0, 12] {
            let written = ending(Some(ChunkPlace { index, of: 13, start: 5, end: 987 }));
            assert_eq!(chunk_index(&format!("{{\"id\": 1{written}")), Some(index));
        }
        for other in [
            r#"{"id": 1}"#.to_owned(),
            r#"{"a": {"b": 1, "chunk": {"index": 0, "of": 1, "start": 0, "end": 1}}}"#.to_owned(),
            r#"{"a": 1, "chunk": {"index": "x", "of": 1, "start": 0, "end": 1}}"#.to_owned(),
            r#"{"a": ", \"chunk\": {\"index\": 0, \"of\": 1, \"start\": 0, \"end\": 1}}"}"#.to_owned(),
        ] {
            assert_eq!(chunk_index(&other), None, "{other}");
        }
    }
}
