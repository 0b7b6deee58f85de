//! What one row of the source is, and when two of them are the same.
//!
//! A [`Record`] borrows the fourteen columns of one tagged row, already proven
//! fit for the metadata: text is UTF-8, numbers are finite, tags are a JSON
//! list of strings or `null`. A row that is not fit is a [`RowError`], which
//! names id, column and fault, so that a person can mend the row.
//!
//! Sameness is by digest. A [`TextHash`] with its [`Space`] decides whether a
//! vector can be kept, a [`RecordHash`] whether the metadata differ, a
//! [`ContentHash`] whether there is anything to build at all. Vectors are
//! never hashed for that: their last bits differ between machines.

use std::fmt;

use crate::domain::document;
use crate::domain::python_json;

mod hash;

pub use hash::{
    ContentHash, ContentHasher, IdHash, RecordHash, ScanHash, ScanHasher, Space, TextHash, feed, raw_row_hash,
};

/// The columns of a row, in the order of the SELECT and of `metadata.json`.
pub const COLUMNS: [&str; 14] = [
    "id",
    "username",
    "first_name",
    "last_name",
    "job_title",
    "company",
    "bio",
    "hourly_rate",
    "currency",
    "profile_url",
    "profile_url_utm",
    "tags",
    "findability_score",
    "category",
];

/// The keys of a record in `metadata.json`, one for each of [`COLUMNS`].
pub const KEYS: [&str; 14] = [
    "id",
    "username",
    "First Name",
    "Last Name",
    "Job Title",
    "Company",
    "Bio",
    "Hourly Rate",
    "Currency",
    "Profile URL",
    "Profile URL with UTM",
    "tags",
    "findability_score",
    "category",
];

/// Where the columns that mean something to the document text stand in [`COLUMNS`].
pub mod column {
    /// The row's identity, and the order of the index.
    pub const ID: usize = 0;
    /// Stands in for a row that has no other text.
    pub const USERNAME: usize = 1;
    /// First name.
    pub const FIRST_NAME: usize = 2;
    /// Last name.
    pub const LAST_NAME: usize = 3;
    /// Job title.
    pub const JOB_TITLE: usize = 4;
    /// Company.
    pub const COMPANY: usize = 5;
    /// Free text about the person.
    pub const BIO: usize = 6;
    /// JSON text: a list of strings.
    pub const TAGS: usize = 11;
}

/// Which rules made document texts and records. A new number makes every record different.
pub const FORMAT_VERSION: u32 = 1;

/// One column's value in SQLite's storage class, as it was read: nothing is proven of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RawValue<'a> {
    /// SQL NULL.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// A 64-bit float. SQLite stores NaN as NULL, but infinities as they are.
    Real(f64),
    /// Bytes that the database calls text, whatever they are.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

/// The raw values of one row, in the order of the SELECT.
pub type Row<'a> = &'a [RawValue<'a>];

/// One column's value that `metadata.json` can hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Printed as `null`.
    Null,
    /// Printed in decimal.
    Integer(i64),
    /// Printed as Python prints a float; always finite.
    Real(f64),
    /// Printed as a JSON string.
    Text(&'a str),
}

/// A tagged row that can be indexed.
#[derive(Debug)]
pub struct Record<'a> {
    /// Every column but the tags, whose place holds [`Value::Null`].
    pub values: [Value<'a>; 14],
    /// The domain tags; `None` where the column holds the JSON word `null`.
    pub tags: Option<Vec<String>>,
}

/// Why a row cannot be indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// The row's id, as far as it can be printed.
    pub id: String,
    /// The column at fault, one of [`COLUMNS`].
    pub column: &'static str,
    /// What is wrong with it, and what was expected.
    pub message: String,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row id={} column {}: {}", self.id, self.column, self.message)
    }
}

impl<'a> Record<'a> {
    /// Proves a row fit for index and metadata.
    ///
    /// # Errors
    ///
    /// The first [`RowError`] found, in column order: id missing, text that is
    /// not UTF-8, an infinite number, a BLOB, tags that are not a JSON list of
    /// strings or `null`, or a lone surrogate in them. A row without document
    /// text is found by [`document::text`].
    pub fn from_raw(raw: &[RawValue<'a>]) -> Result<Self, RowError> {
        let at = |column: usize, fault: String| RowError {
            id: printable_id(raw[column::ID]),
            column: COLUMNS[column],
            message: fault,
        };
        let mut values = [Value::Null; 14];
        for (column, &value) in raw.iter().enumerate() {
            values[column] = to_value(value).map_err(|fault| at(column, fault))?;
        }
        if values[column::ID] == Value::Null {
            return Err(at(column::ID, "NULL, expected a value that identifies the row".to_owned()));
        }
        let tags = match values[column::TAGS] {
            Value::Text(text) => python_json::parse_tags(text).map_err(|fault| at(column::TAGS, fault))?,
            Value::Null => None,
            Value::Integer(_) | Value::Real(_) => {
                return Err(at(column::TAGS, "a number, expected JSON text: a list of strings".to_owned()));
            }
        };
        values[column::TAGS] = Value::Null;
        Ok(Self { values, tags })
    }

    /// The document text: what is embedded for this record.
    ///
    /// # Errors
    ///
    /// A [`RowError`] on `username` when every part of the text is empty.
    pub fn document(&self, out: &mut String) -> Result<(), RowError> {
        out.clear();
        document::text(self, out);
        if out.is_empty() {
            return Err(RowError {
                id: self.id(),
                column: COLUMNS[column::USERNAME],
                message: "no document text: name, title, company, bio, tags and username are all empty"
                    .to_owned(),
            });
        }
        Ok(())
    }

    /// The id as a person would write it.
    #[must_use]
    pub fn id(&self) -> String {
        match self.values[column::ID] {
            Value::Null => "NULL".to_owned(),
            Value::Integer(n) => n.to_string(),
            Value::Real(x) => x.to_string(),
            Value::Text(text) => text.to_owned(),
        }
    }
}

fn to_value(value: RawValue<'_>) -> Result<Value<'_>, String> {
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

/// An id for messages: long or unprintable ones are cut and escaped, so that a
/// hostile value cannot forge a log line.
#[must_use]
pub fn printable_id(id: RawValue<'_>) -> String {
    const MAX_PRINTED_ID: usize = 80;
    match id {
        RawValue::Null => "NULL".to_owned(),
        RawValue::Integer(n) => n.to_string(),
        RawValue::Real(x) => x.to_string(),
        RawValue::Text(bytes) | RawValue::Blob(bytes) => {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MAX_PRINTED_ID)]);
            text.chars().take(MAX_PRINTED_ID).flat_map(char::escape_debug).collect()
        }
    }
}
