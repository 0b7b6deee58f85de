//! The id of a row: one column or several, which identify it wherever it stands.
//!
//! As text it is what qrels, `text`, `diff` and messages use: a text as it is,
//! a number as in JSON, several columns as a JSON array. Two rows may not have
//! the same. The digest keeps the storage class as well, as version 0.1.0 did.

use super::hash::IdHash;
use super::schema::Schema;
use super::value::{RawValue, Row};
use crate::domain::python_json::{PyFloat, write_text};

/// A longer id is cut in messages.
const MAX_PRINTED_ID: usize = 80;

/// The digest of a row's id, with the number of a chunk where rows are cut into several.
pub(crate) fn id_hash(schema: &Schema, row: Row<'_>, chunk: Option<usize>) -> IdHash {
    let columns = schema.id.iter().map(|&at| row[at]);
    let chunk = chunk.map(|index| RawValue::Integer(i64::try_from(index).unwrap_or(i64::MAX)));
    IdHash::of_all(columns.chain(chunk))
}

/// The id of a row as text. Bytes that are not UTF-8 are replaced: such a row is unfit.
pub(crate) fn id_text(schema: &Schema, row: Row<'_>) -> String {
    if let &[at] = schema.id.as_slice() {
        return match row[at] {
            RawValue::Text(bytes) | RawValue::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            value => number(value),
        };
    }
    let mut text = b"[".to_vec();
    for (nth, &at) in schema.id.iter().enumerate() {
        text.extend_from_slice(if nth == 0 { b"" } else { b", " });
        match row[at] {
            RawValue::Text(bytes) | RawValue::Blob(bytes) => {
                write_text(&String::from_utf8_lossy(bytes), &mut text);
            }
            value => text.extend_from_slice(number(value).as_bytes()),
        }
    }
    text.push(b']');
    String::from_utf8(text).expect("JSON of texts and numbers")
}

/// The digests that a row may have whose id is this text, and a row's first chunk: what is a text in one
/// table is a number in another.
pub(crate) fn id_hashes_of(text: &str) -> Vec<IdHash> {
    let both = |id: &[RawValue<'_>]| {
        let chunk = RawValue::Integer(0);
        [IdHash::of_all(id.iter().copied()), IdHash::of_all(id.iter().copied().chain([chunk]))]
    };
    let bytes = text.as_bytes();
    let number = number_of(bytes);
    let single = [Some(RawValue::Text(bytes)), number, Some(RawValue::Blob(bytes))];
    let mut hashes: Vec<IdHash> = single.into_iter().flatten().flat_map(|id| both(&[id])).collect();
    if let Ok(serde_json::Value::Array(parts)) = serde_json::from_str(text) {
        let part = |part: &serde_json::Value| {
            let value = match part {
                serde_json::Value::String(text) => return Some(OwnedPart::Text(text.clone())),
                serde_json::Value::Number(number) => number_of(number.to_string().as_bytes()),
                _ => None,
            };
            match (value, part.as_f64()) {
                (Some(RawValue::Integer(n)), _) => Some(OwnedPart::Integer(n)),
                (_, float) => float.map(OwnedPart::Real),
            }
        };
        if let Some(parts) = parts.iter().map(part).collect::<Option<Vec<_>>>() {
            let values: Vec<_> = parts.iter().map(OwnedPart::raw).collect();
            hashes.extend(both(&values));
        }
    }
    hashes
}

/// One column of an id that was read from its text.
enum OwnedPart {
    Text(String),
    Integer(i64),
    Real(f64),
}

impl OwnedPart {
    fn raw(&self) -> RawValue<'_> {
        match self {
            Self::Text(text) => RawValue::Text(text.as_bytes()),
            Self::Integer(n) => RawValue::Integer(*n),
            Self::Real(x) => RawValue::Real(*x),
        }
    }
}

fn number(value: RawValue<'_>) -> String {
    match value {
        RawValue::Integer(n) => n.to_string(),
        RawValue::Real(x) if x.is_finite() => PyFloat(x).to_string(),
        RawValue::Real(x) => x.to_string(),
        RawValue::Null | RawValue::Text(_) | RawValue::Blob(_) => "NULL".to_owned(),
    }
}

/// An id for messages: a long or unprintable one is cut and escaped, so that a
/// hostile value cannot forge a log line.
pub(crate) fn printable_id(schema: &Schema, row: Row<'_>) -> String {
    let text = match schema.id.as_slice() {
        // Only the beginning of a long text is looked at.
        &[at] => match row[at] {
            RawValue::Text(bytes) | RawValue::Blob(bytes) => {
                String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MAX_PRINTED_ID)]).into_owned()
            }
            value => number(value),
        },
        _ => id_text(schema, row),
    };
    text.chars().take(MAX_PRINTED_ID).flat_map(char::escape_debug).collect()
}

/// The id as it is compared with those of other rows: of one column, a text that is a number is that
/// number, since both are the same text. Of several, the classes differ in their JSON.
///
/// `text` is a buffer.
pub(crate) fn seen_id<'r>(
    schema: &Schema,
    row: &[RawValue<'r>],
    text: &'r mut String,
) -> (RawValue<'r>, IdHash) {
    let &[at] = schema.id.as_slice() else {
        *text = id_text(schema, row);
        return (RawValue::Text(text.as_bytes()), id_hash(schema, row, None));
    };
    let id = match row[at] {
        RawValue::Text(bytes) if !schema.is_experts() => number_of(bytes).unwrap_or(row[at]),
        value => value,
    };
    (id, IdHash::of(id))
}

/// The number that prints as these bytes.
fn number_of(bytes: &[u8]) -> Option<RawValue<'static>> {
    let text = std::str::from_utf8(bytes).ok()?;
    if let Ok(n) = text.parse::<i64>() {
        return (n.to_string() == text).then_some(RawValue::Integer(n));
    }
    let x = text.parse::<f64>().ok().filter(|x| x.is_finite())?;
    (PyFloat(x).to_string() == text).then_some(RawValue::Real(x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::{Column, Kind, RowSource};

    fn schema(ids: usize) -> Schema {
        Schema {
            rows: RowSource::Table { name: "t".to_owned(), filter: None },
            columns: (0..ids).map(|_| Column::new("id", None, Kind::Plain)).collect(),
            id: (0..ids).collect(),
            digest_input: b"not empty".to_vec(),
        }
    }

    #[test]
    fn an_id_is_printed_on_one_short_line_of_plain_characters() {
        let long = "é".repeat(1000);
        let cases: [(RawValue<'_>, &str); 6] = [
            (RawValue::Null, "NULL"),
            (RawValue::Integer(-7), "-7"),
            (RawValue::Real(1.5), "1.5"),
            (RawValue::Text(b"ada\n\x1b[2J"), r"ada\n\u{1b}[2J"),
            (RawValue::Blob(b"\xff"), "\u{fffd}"),
            (RawValue::Text(long.as_bytes()), &"é".repeat(80)),
        ];
        for (id, expected) in cases {
            assert_eq!(printable_id(&schema(1), &[id]), expected);
        }
    }

    #[test]
    fn an_id_of_several_columns_is_a_json_array() {
        let row = [RawValue::Text(b"d\"e"), RawValue::Integer(7), RawValue::Real(1e16)];
        assert_eq!(id_text(&schema(3), &row), r#"["d\"e", 7, 1e+16]"#);
        assert_eq!(id_text(&schema(1), &row), "d\"e");
    }

    #[test]
    fn the_digest_of_one_column_is_that_of_its_value_and_every_part_counts() {
        let row = [RawValue::Text(b"a"), RawValue::Integer(1)];
        assert_eq!(id_hash(&schema(1), &row, None), IdHash::of(row[0]));
        let all = [
            id_hash(&schema(1), &row, None),
            id_hash(&schema(2), &row, None),
            id_hash(&schema(1), &row, Some(0)),
            id_hash(&schema(2), &row, Some(0)),
            id_hash(&schema(2), &[RawValue::Text(b"a"), RawValue::Text(b"1")], None),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
    }

    #[test]
    fn a_row_is_found_by_the_text_of_its_id_whatever_its_class_and_number_of_columns() {
        use RawValue::{Blob, Integer, Real, Text};
        let rows: [Vec<RawValue<'_>>; 8] = [
            vec![Integer(-7)],
            vec![Text(b"7")],
            vec![Text("zo\u{eb} x".as_bytes())],
            vec![Real(1.5)],
            vec![Real(1e16)],
            vec![Blob(b"b")],
            vec![Text(b"d\"e"), Integer(7), Real(1e16)],
            vec![Text(b"[1]"), Text(b"")],
        ];
        for row in rows {
            let schema = schema(row.len());
            let text = id_text(&schema, &row);
            for chunk in [None, Some(0)] {
                let found = id_hashes_of(&text).contains(&id_hash(&schema, &row, chunk));
                assert!(found, "{text} {chunk:?}");
            }
            assert!(!id_hashes_of(&text).contains(&id_hash(&schema, &row, Some(1))), "{text}");
            assert!(!id_hashes_of(&format!("{text}0")).contains(&id_hash(&schema, &row, None)), "{text}");
        }
    }

    #[test]
    fn ids_that_print_the_same_are_the_same() {
        use RawValue::{Integer, Real, Text};
        let cases = [
            (Integer(1), Text(b"1"), true),
            (Real(1.0), Text(b"1.0"), true),
            (Real(1.0), Integer(1), false),
            (Integer(1), Text(b"01"), false),
            (Integer(1), Text(b"+1"), false),
            (Text(b"a"), Text(b"A"), false),
        ];
        for (a, b, expected) in cases {
            let mut buffers = [String::new(), String::new()];
            let [one, two] = &mut buffers;
            let same = seen_id(&schema(1), &[a], one).1 == seen_id(&schema(1), &[b], two).1;
            assert_eq!(same, expected, "{a:?} {b:?}");
        }
    }
}
