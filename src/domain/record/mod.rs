//! What one row of the source is, and when two of them are the same.
//!
//! A [`Record`] borrows the columns of one indexed row, checked for the
//! metadata: text is UTF-8, numbers are finite, tags are a JSON list of strings
//! or `null`. A row that is unfit is a [`RowError`], which names id, column and
//! error, so that a person can fix the row.
//!
//! Two rows are compared by digest. A [`TextHash`] with its [`Space`] decides
//! whether a vector can be reused, a [`RecordHash`] whether the metadata differ,
//! a [`ContentHash`] whether there is anything to build at all. Vectors are
//! never hashed for that: their last bits differ between machines.
//!
//! How tags are parsed is an argument, the text of a record is `document`'s.

mod hash;
mod schema;
mod seen_ids;
mod space;
mod value;

pub use hash::{Basis, ContentHash, ContentHasher, IdHash, RecordHash, ScanHash, TextHash, raw_row_hash};
pub(crate) use hash::{ScanHasher, TEXT_FORMAT, feed};
pub(crate) use schema::expert;
pub use schema::{Column, Kind, Schema, TextRules};
pub(crate) use seen_ids::SeenIds;
pub use space::Space;
pub use value::{RawValue, Row, RowError};
pub(crate) use value::{Value, printable_id};

use value::checked;

/// An indexed row that can stand in index and metadata.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// Every column but the tags, whose place holds [`Value::Null`].
    pub values: &'a [Value<'a>],
    /// `None` if the column holds the JSON word `null`.
    pub tags: Option<Vec<String>>,
}

/// Reads the text of a tags column, or says what is wrong with it.
pub(crate) type TagParser = fn(&str) -> Result<Option<Vec<String>>, String>;

impl<'a> Record<'a> {
    /// Checks a row for index and metadata. `values` is a buffer for the record, reused from row to row.
    ///
    /// # Errors
    ///
    /// The first [`RowError`] found, in column order: text that is not UTF-8,
    /// an infinite number, a BLOB; then an id that is missing; then tags that
    /// the parser refuses.
    pub(crate) fn check<'r: 'a>(
        row: &[RawValue<'r>],
        schema: &Schema,
        parse_tags: TagParser,
        values: &'a mut Vec<Value<'r>>,
    ) -> Result<Self, RowError> {
        assert_eq!(row.len(), schema.width(), "the query reads the columns of the schema");
        let error = |column: usize, message: String| RowError {
            id: printable_id(row[schema.id]),
            column: schema.columns[column].name.clone(),
            message,
        };
        values.clear();
        values.resize(schema.width(), Value::Null);
        let mut tags_at = None;
        for (at, ((&raw, column), value)) in row.iter().zip(&schema.columns).zip(&mut *values).enumerate() {
            *value = checked(raw).map_err(|message| error(at, message))?;
            if column.kind == Kind::Tags {
                tags_at = Some(at);
            }
        }
        if values[schema.id] == Value::Null {
            return Err(error(schema.id, "NULL, expected a value that identifies the row".to_owned()));
        }
        let mut tags = None;
        if let Some(at) = tags_at {
            tags = match std::mem::replace(&mut values[at], Value::Null) {
                Value::Text(text) => parse_tags(text).map_err(|message| error(at, message))?,
                Value::Null => None,
                Value::Integer(_) | Value::Real(_) => {
                    return Err(error(at, "a number, expected JSON text: a list of strings".to_owned()));
                }
            };
        }
        Ok(Self { values, tags })
    }

    /// The id as a person would write it.
    pub(crate) fn id(&self, schema: &Schema) -> String {
        match self.values[schema.id] {
            Value::Null => "NULL".to_owned(),
            Value::Integer(n) => n.to_string(),
            Value::Real(x) => x.to_string(),
            Value::Text(text) => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Result<Option<Vec<String>>, String> {
        if text == "bad" { Err("refused".to_owned()) } else { Ok(Some(vec![text.to_owned()])) }
    }

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
            (row(&[(expert::TAGS, text(b"a"))]), None),
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
            (row(&[(expert::TAGS, text(b"bad"))]), Some("row id=7 column tags: refused")),
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
            match (Record::check(&row, Schema::experts(), split, &mut values), expected) {
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
