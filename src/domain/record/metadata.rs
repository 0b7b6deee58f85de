//! A record as it stands in `metadata.json`.
//!
//! One JSON object with the keys of the published columns, in their order, as
//! `python_json` writes values. Whether a value may stand there at all is
//! decided by [`Record::check`]; the brackets around the list of records belong
//! to the writer of the file.

use super::{Parsed, Record, Schema, Value};
use crate::domain::python_json::{PyFloat, write_display, write_text};

/// Where a chunk stands in the text that it is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkPlace {
    /// Its number, from 0.
    pub(crate) index: usize,
    /// How many chunks the text has.
    pub(crate) of: usize,
    /// Code points before it.
    pub(crate) start: usize,
    /// Code points up to its end.
    pub(crate) end: usize,
}

/// Appends `record` as one JSON object without its closing brace, see [`ending`].
pub(crate) fn write_members(schema: &Schema, record: &Record<'_>, out: &mut Vec<u8>) {
    let mut parsed = record.parsed.iter();
    let mut separator: &[u8] = b"{";
    for (column, value) in schema.columns.iter().zip(record.values) {
        let parsed = if column.is_parsed() { parsed.next() } else { None };
        let Some(label) = column.label() else { continue };
        out.extend_from_slice(separator);
        separator = b", ";
        out.extend_from_slice(label);
        match parsed {
            None => write_value(*value, out),
            Some(Parsed::Json(json)) => json.write(out),
            Some(Parsed::Tags(tags)) => write_tags(tags.as_deref(), out),
        }
    }
}

/// What ends a record after its members: the place of a chunk, if it is one, and the brace.
pub(crate) fn ending(chunk: Option<ChunkPlace>) -> String {
    chunk.map_or_else(
        || "}".to_owned(),
        |ChunkPlace { index, of, start, end }| {
            format!(r#", "chunk": {{"index": {index}, "of": {of}, "start": {start}, "end": {end}}}}}"#)
        },
    )
}

/// A record as it stands in the metadata, of what was written of it.
pub(crate) fn record_text(members: &[u8], ending: &str) -> String {
    String::from_utf8_lossy(members).into_owned() + ending
}

fn write_tags(tags: Option<&[String]>, out: &mut Vec<u8>) {
    let Some(tags) = tags else {
        out.extend_from_slice(b"null");
        return;
    };
    out.push(b'[');
    for (at, tag) in tags.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        write_text(tag, out);
    }
    out.push(b']');
}

fn write_value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Integer(n) => write_display(n, out),
        Value::Real(x) => write_display(PyFloat(x), out),
        Value::Text(text) => write_text(text, out),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::python_json::{Json, parse_tags};
    use crate::domain::record::{Column, Kind, RowSource, expert};

    fn nulls() -> Vec<Value<'static>> {
        vec![Value::Null; Schema::experts().width()]
    }

    fn written(
        schema: &Schema,
        values: &[Value<'_>],
        parsed: Vec<Parsed>,
        chunk: Option<ChunkPlace>,
    ) -> String {
        let mut out = Vec::new();
        write_members(schema, &Record { values, parsed }, &mut out);
        String::from_utf8(out).unwrap() + &ending(chunk)
    }

    fn expert_written(values: &[Value<'_>], tags: Option<Vec<String>>) -> String {
        written(&Schema::experts(), values, vec![Parsed::Tags(tags)], None)
    }

    #[test]
    fn a_record_is_written_as_json_dump_writes_it() {
        let mut values = nulls();
        values[expert::ID] = Value::Integer(7);
        values[expert::USERNAME] = Value::Text("zoë");
        values[expert::BIO] = Value::Text("says \"hi\"\n");
        values[7] = Value::Real(100.0);

        let json = expert_written(&values, Some(vec!["machine learning".to_owned(), "a, b".to_owned()]));

        assert_eq!(
            json,
            r#"{"id": 7, "username": "zoë", "First Name": null, "Last Name": null, "Job Title": null, "#
                .to_owned()
                + r#""Company": null, "Bio": "says \"hi\"\n", "Hourly Rate": 100.0, "Currency": null, "#
                + r#""Profile URL": null, "Profile URL with UTM": null, "tags": ["machine learning", "a, b"], "#
                + r#""findability_score": null, "category": null}"#
        );
    }

    #[test]
    fn tags_are_written_as_a_list_or_null() {
        let cases = [(None, "null"), (Some(vec![]), "[]"), (Some(vec![String::new()]), r#"[""]"#)];
        for (tags, expected) in cases {
            let json = expert_written(&nulls(), tags);
            assert!(json.contains(&format!(r#""tags": {expected}, "#)), "{json}");
        }
    }

    #[test]
    fn published_columns_are_written_by_their_keys_and_a_chunk_says_its_place() {
        let schema = Schema {
            rows: RowSource::Table { name: "t".to_owned(), filter: None },
            columns: vec![
                Column::new("id", None, Kind::Plain),
                Column::new("j", Some("a \"key\""), Kind::Json),
                Column::new("hidden", None, Kind::Json),
                Column::new("n", Some("n"), Kind::Plain),
            ],
            id: vec![0],
            digest_input: b"not empty".to_vec(),
        };
        let values = [Value::Integer(1), Value::Null, Value::Null, Value::Real(2.0)];
        let parsed = vec![Parsed::Json(Json::List(vec![])), Parsed::Json(Json::Null)];
        let place = ChunkPlace { index: 0, of: 3, start: 0, end: 987 };

        let json = written(&schema, &values, parsed, Some(place));

        assert_eq!(
            json,
            r#"{"a \"key\"": [], "n": 2.0, "chunk": {"index": 0, "of": 3, "start": 0, "end": 987}}"#
        );
    }

    proptest! {
        #[test]
        fn a_written_record_reads_back_as_the_same_strings(
            text in any::<String>(),
            tags in any::<Option<Vec<String>>>(),
        ) {
            let mut values = vec![Value::Text(&text); Schema::experts().width()];
            values[expert::TAGS] = Value::Null;

            let read: serde_json::Value =
                serde_json::from_str(&expert_written(&values, tags.clone())).unwrap();

            for (at, column) in Schema::experts().columns.iter().enumerate() {
                let found = &read[column.key.as_ref().unwrap()];
                if at == expert::TAGS {
                    prop_assert_eq!(found, &serde_json::json!(tags));
                } else {
                    prop_assert_eq!(found.as_str(), Some(text.as_str()));
                }
            }
        }

        #[test]
        fn tags_read_back_from_what_was_written(tags in any::<Option<Vec<String>>>()) {
            let mut out = Vec::new();
            write_tags(tags.as_deref(), &mut out);
            prop_assert_eq!(parse_tags(std::str::from_utf8(&out).unwrap()), Ok(tags));
        }
    }
}
