//! The values of a row, raw as they were read and checked for `metadata.json`, and why a row is unfit.
//!
//! Text is UTF-8 and numbers are finite, or the value cannot stand in a record.
//! What the columns mean is `schema`'s, what a whole row needs is `Record`'s.

use std::fmt;

/// One column's value in SQLite's storage class, as it was read, without any check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RawValue<'a> {
    Null,
    Integer(i64),
    /// SQLite stores NaN as NULL, but infinities as they are.
    Real(f64),
    /// Bytes that the database calls text, of any encoding.
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

/// The raw values of one row, in the order of the schema's columns.
pub type Row<'a> = &'a [RawValue<'a>];

/// One column's value that `metadata.json` can hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    /// Always finite.
    Real(f64),
    Text(&'a str),
}

/// Why a row cannot be indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// The row's id, as far as it can be printed.
    pub id: String,
    /// The column with the error, or another part of the row that has it.
    pub column: String,
    /// What was found, and what was expected. Stored in the manifest of a build that excludes the row.
    pub message: String,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row id={} column {}: {}", self.id, self.column, self.message)
    }
}

/// A raw value as `metadata.json` can hold it.
///
/// # Errors
///
/// A message about the value: text that is not UTF-8, an infinite number, a BLOB.
pub(super) fn checked(value: RawValue<'_>) -> Result<Value<'_>, String> {
    match value {
        RawValue::Null => Ok(Value::Null),
        RawValue::Integer(n) => Ok(Value::Integer(n)),
        RawValue::Real(x) if x.is_finite() => Ok(Value::Real(x)),
        RawValue::Real(x) => Err(format!("{x} is a number that JSON cannot hold")),
        RawValue::Text(bytes) => std::str::from_utf8(bytes)
            .map(Value::Text)
            .map_err(|error| format!("text that is not UTF-8, from byte {} on", error.valid_up_to())),
        RawValue::Blob(bytes) => {
            Err(format!("a BLOB of {} bytes, which JSON cannot hold; expected text or a number", bytes.len()))
        }
    }
}
