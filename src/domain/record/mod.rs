//! What one row of the source is, and when two of them are the same.
//!
//! A [`Record`] borrows the columns of one indexed row, checked for the
//! metadata: text is UTF-8, numbers are finite, JSON is JSON, and the experts'
//! tags are a list of strings or `null`. A row that is unfit is a [`RowError`],
//! which names id, column and error, so that a person can fix the row.
//!
//! Two rows are compared by digest. A [`TextHash`] with its [`Space`] decides
//! whether a vector can be reused, a [`RecordHash`] whether the metadata differ,
//! a [`ContentHash`] whether there is anything to build at all. Vectors are
//! never hashed for that: their last bits differ between machines.
//!
//! How JSON is read and written is `python_json`'s, the text of a record is
//! `document`'s.

mod hash;
mod id;
mod members;
mod metadata;
mod schema;
mod seen_ids;
mod space;
mod value;

pub use hash::{
    Basis, ContentHash, ContentHasher, IdHash, RecordHash, ScanHash, TextHash, ValuesHash, raw_row_hash,
};
pub(crate) use hash::{RecordHasher, ScanHasher, TEXT_FORMAT, feed};
pub(crate) use id::{id_hash, id_hashes_of, id_text, printable_id, seen_id};
pub(crate) use members::{Members, RecordId, chunk_index};
pub(crate) use metadata::{ChunkPlace, ending, record_text, write_members};
pub(crate) use schema::expert;
pub use schema::{Column, Kind, RowSource, Schema, quoted};
pub(crate) use seen_ids::SeenIds;
pub use space::Space;
pub(crate) use value::Value;
pub use value::{RawValue, Row, RowError};

use crate::domain::python_json::{Json, parse_json, parse_tags};
use value::checked;

/// An indexed row that can stand in index and metadata.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// Every column; [`Value::Null`] in the place of one that is parsed.
    pub values: &'a [Value<'a>],
    /// The parsed columns, in their order.
    pub parsed: Vec<Parsed>,
}

/// What the JSON text of a column holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Parsed {
    /// `None` if the column holds the JSON word `null`.
    Tags(Option<Vec<String>>),
    Json(Json),
}

impl<'a> Record<'a> {
    /// Checks a row for index and metadata. `values` is a buffer for the record, reused from row to row.
    ///
    /// # Errors
    ///
    /// The first [`RowError`] found, in column order: text that is not UTF-8,
    /// an infinite number, a BLOB; then an id that is missing; then JSON that
    /// cannot be read.
    pub(crate) fn check<'r: 'a>(
        row: &[RawValue<'r>],
        schema: &Schema,
        values: &'a mut Vec<Value<'r>>,
    ) -> Result<Self, RowError> {
        assert_eq!(row.len(), schema.width(), "the query reads the columns of the schema");
        let error = |column: usize, message: String| RowError {
            id: printable_id(schema, row),
            column: schema.columns[column].name.clone(),
            message,
        };
        values.clear();
        values.resize(schema.width(), Value::Null);
        for (at, (&raw, value)) in row.iter().zip(&mut *values).enumerate() {
            *value = checked(raw).map_err(|message| error(at, message))?;
        }
        if let Some(&missing) = schema.id.iter().find(|&&at| values[at] == Value::Null) {
            return Err(error(missing, "NULL, expected a value that identifies the row".to_owned()));
        }
        let mut parsed = Vec::new();
        for (at, column) in schema.columns.iter().enumerate().filter(|(_, column)| column.is_parsed()) {
            // A column of the id stays what it is: rows are named by it.
            let value = if schema.id.contains(&at) {
                values[at]
            } else {
                std::mem::replace(&mut values[at], Value::Null)
            };
            parsed.push(parse(column.kind, value).map_err(|message| error(at, message))?);
        }
        Ok(Self { values, parsed })
    }

    /// Whether the experts' tags are the JSON word `null`, which counts as tagged.
    pub(crate) fn has_null_tags(&self) -> bool {
        self.parsed.contains(&Parsed::Tags(None))
    }

    /// The experts' tags; `None` where the column holds `null`.
    pub(crate) fn tags(&self) -> Option<&[String]> {
        self.parsed.iter().find_map(|parsed| match parsed {
            Parsed::Tags(tags) => tags.as_deref(),
            Parsed::Json(_) => None,
        })
    }
}

/// Reads the value of a parsed column.
fn parse(kind: Kind, value: Value<'_>) -> Result<Parsed, String> {
    match (kind, value) {
        (Kind::Tags, Value::Text(text)) => parse_tags(text).map(Parsed::Tags),
        (Kind::Tags, Value::Null) => Ok(Parsed::Tags(None)),
        (Kind::Tags, Value::Integer(_) | Value::Real(_)) => {
            Err("a number, expected JSON text: a list of strings".to_owned())
        }
        (Kind::Plain | Kind::Json, Value::Null) => Ok(Parsed::Json(Json::Null)),
        (Kind::Plain | Kind::Json, Value::Text(text)) => parse_json(text).map(Parsed::Json),
        // A column declared JSON stores a number as one.
        (Kind::Plain | Kind::Json, Value::Integer(n)) => Ok(Parsed::Json(Json::Integer(n.to_string()))),
        (Kind::Plain | Kind::Json, Value::Real(x)) => Ok(Parsed::Json(Json::Real(x))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_of_a_row_is_reported_with_its_column() {
        let row = |edits: &[(usize, RawValue<'static>)]| {
            let mut row = vec![RawValue::Null; Schema::experts().width()];
            row[expert::ID] = RawValue::Integer(7);
            for &(at, value) in edits {
                row[at] = value;
            }
            row
        };
        let (text, blob) = (|bytes| RawValue::Text(bytes), RawValue::Blob(b"\0"));
        let cases = [
            (row(&[]), None),
            (row(&[(expert::TAGS, text(b"[]"))]), None),
            (row(&[(expert::ID, RawValue::Null)]), Some("row id=NULL column id: NULL, expected")),
            (
                row(&[(expert::BIO, text(b"a\xff"))]),
                Some("row id=7 column bio: text that is not UTF-8, from byte 1"),
            ),
            (
                row(&[(7, RawValue::Real(f64::INFINITY))]),
                Some("row id=7 column hourly_rate: inf is a number"),
            ),
            (row(&[(expert::COMPANY, blob)]), Some("row id=7 column company: a BLOB of 1 bytes")),
            (row(&[(expert::TAGS, RawValue::Integer(1))]), Some("row id=7 column tags: a number, expected")),
            (row(&[(expert::TAGS, text(b"bad"))]), Some("row id=7 column tags: no valid JSON")),
            // In column order, and tags last.
            (row(&[(expert::ID, RawValue::Null), (13, blob)]), Some("row id=NULL column category: a BLOB")),
            (row(&[(expert::TAGS, text(b"bad")), (13, blob)]), Some("row id=7 column category: a BLOB")),
            (
                row(&[(expert::ID, RawValue::Null), (expert::TAGS, text(b"bad"))]),
                Some("row id=NULL column id"),
            ),
        ];
        let mut values = Vec::new();
        for (row, expected) in cases {
            match (Record::check(&row, &Schema::experts(), &mut values), expected) {
                (Ok(record), None) => {
                    assert_eq!(
                        (record.values[expert::ID], record.values.len()),
                        (Value::Integer(7), row.len())
                    );
                    assert_eq!(record.values[expert::TAGS], Value::Null);
                }
                (Err(error), Some(expected)) => {
                    assert!(error.to_string().starts_with(expected), "{error}");
                }
                (found, expected) => panic!("{found:?}, expected {expected:?}"),
            }
        }
    }
}
