//! What one row of the source is, and when two of them are the same.
//!
//! A [`Record`] borrows the fourteen columns of one tagged row, already proven
//! fit for the metadata: text is UTF-8, numbers are finite, tags are a JSON
//! list of strings or `null`. A row that is not fit is a [`RowFault`], which
//! names id, column and fault, so that a person can mend the row.
//!
//! Sameness is by digest. A [`TextHash`] with its [`Space`] decides whether a
//! vector can be kept, a [`RecordHash`] whether the metadata differ, a
//! [`ContentHash`] whether there is anything to build at all. Vectors are
//! never hashed for that: their last bits differ between machines.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::document;
use crate::pyjson;

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
pub struct RowFault {
    /// The row's id, as far as it can be printed.
    pub id: String,
    /// The column at fault, one of [`COLUMNS`].
    pub column: &'static str,
    /// What is wrong with it, and what was expected.
    pub fault: String,
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row id={} column {}: {}", self.id, self.column, self.fault)
    }
}

impl<'a> Record<'a> {
    /// Proves a row fit for index and metadata.
    ///
    /// # Errors
    ///
    /// The first [`RowFault`] found, in column order: id missing, text that is
    /// not UTF-8, an infinite number, a BLOB, tags that are not a JSON list of
    /// strings or `null`, or a lone surrogate in them. A row without document
    /// text is found by [`document::text`].
    pub fn from_raw(raw: &[RawValue<'a>; 14]) -> Result<Self, RowFault> {
        let at = |column: usize, fault: String| RowFault {
            id: printable_id(raw[column::ID]),
            column: COLUMNS[column],
            fault,
        };
        let mut values = [Value::Null; 14];
        for (column, &value) in raw.iter().enumerate() {
            values[column] = proven(value).map_err(|fault| at(column, fault))?;
        }
        if values[column::ID] == Value::Null {
            return Err(at(column::ID, "NULL, expected a value that identifies the row".to_owned()));
        }
        let tags = match values[column::TAGS] {
            Value::Text(text) => pyjson::parse_tags(text).map_err(|fault| at(column::TAGS, fault))?,
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
    /// A [`RowFault`] on `username` when every part of the text is empty.
    pub fn document(&self, out: &mut String) -> Result<(), RowFault> {
        out.clear();
        document::text(self, out);
        if out.is_empty() {
            return Err(RowFault {
                id: self.id(),
                column: COLUMNS[column::USERNAME],
                fault: "no document text: name, title, company, bio, tags and username are all empty"
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

fn proven(value: RawValue<'_>) -> Result<Value<'_>, String> {
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
    const MOST: usize = 80;
    match id {
        RawValue::Null => "NULL".to_owned(),
        RawValue::Integer(n) => n.to_string(),
        RawValue::Real(x) => x.to_string(),
        RawValue::Text(bytes) | RawValue::Blob(bytes) => {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MOST)]);
            text.chars().take(MOST).flat_map(char::escape_debug).collect()
        }
    }
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                from_hex(text).map($name)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

digest!(
    /// Digest of a row's id, with its storage class.
    IdHash, 8
);
digest!(
    /// Digest of a document text.
    TextHash, 16
);
digest!(
    /// Digest of a record's bytes as they stand in `metadata.json`.
    RecordHash, 16
);
digest!(
    /// Digest of the space and of all records in order, left-out rows included.
    ContentHash, 32
);
digest!(
    /// Digest of the space and of the raw column values as one scan gave them.
    ScanHash, 32
);

fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let wrong = || {
        format!(
            "expected {} hexadecimal digits, found {:?}",
            2 * N,
            text.chars().take(80).collect::<String>()
        )
    };
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut out = [0; N];
    for (byte, digits) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(out)
}

impl IdHash {
    /// Digest of an id; `1`, `1.0` and `'1'` are three different ids.
    #[must_use]
    pub fn of(id: RawValue<'_>) -> Self {
        let mut hasher = blake3::Hasher::new();
        feed(
            &mut |bytes| {
                hasher.update(bytes);
            },
            id,
        );
        Self(first_bytes(&hasher.finalize()))
    }
}

impl TextHash {
    /// Digest of one document text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(first_bytes(&blake3::hash(text.as_bytes())))
    }
}

impl RecordHash {
    /// Digest of one record as `metadata.json` holds it.
    #[must_use]
    pub fn of(json: &[u8]) -> Self {
        Self(first_bytes(&blake3::hash(json)))
    }
}

fn first_bytes<const N: usize>(hash: &blake3::Hash) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&hash.as_bytes()[..N]);
    out
}

/// Feeds one value, told apart from every other by its class and length.
fn feed(to: &mut impl FnMut(&[u8]), value: RawValue<'_>) {
    let mut sized = |class: u8, bytes: &[u8]| {
        let mut head = [class; 9];
        head[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        to(&head);
        to(bytes);
    };
    match value {
        RawValue::Null => to(&[0]),
        RawValue::Integer(n) => {
            let mut all = [1; 9];
            all[1..].copy_from_slice(&n.to_le_bytes());
            to(&all);
        }
        RawValue::Real(x) => {
            let mut all = [2; 9];
            all[1..].copy_from_slice(&x.to_bits().to_le_bytes());
            to(&all);
        }
        RawValue::Text(bytes) => sized(3, bytes),
        RawValue::Blob(bytes) => sized(4, bytes),
    }
}

/// Provider, model, dimension, task type and text format: vectors of two spaces never meet in one index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// `gemini`, `openai` or `local`.
    pub provider: String,
    /// The model as the provider names it; for `local`, with the digest of its weights.
    pub model: String,
    /// Floats in a vector.
    pub dimension: usize,
    /// What the vectors are for, where the model takes it.
    pub task_type: Option<String>,
    /// The rules that made the texts: [`FORMAT_VERSION`].
    pub text_format: u32,
}

impl Space {
    /// Sixteen hexadecimal digits that name this space in the cache.
    #[must_use]
    pub fn key(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        self.feed(&mut hasher);
        hasher.finalize().to_hex()[..16].to_owned()
    }

    fn feed(&self, hasher: &mut blake3::Hasher) {
        let numbers = [self.dimension as u64, u64::from(self.text_format)];
        for text in [self.provider.as_str(), &self.model, self.task_type.as_deref().unwrap_or("")] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        for number in numbers {
            hasher.update(&number.to_le_bytes());
        }
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} of {} dimensions", self.provider, self.model, self.dimension)
    }
}

/// Makes a [`ScanHash`] of raw values as they come.
///
/// Values are gathered into pieces large enough for the digest's wide lanes:
/// hashing field by field costs several times as much.
pub struct ScanHasher {
    hasher: blake3::Hasher,
    gathered: Vec<u8>,
}

impl ScanHasher {
    const PIECE: usize = 64 * 1024;

    /// Begins a scan in one space.
    #[must_use]
    pub fn new(space: &Space) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"scan");
        space.feed(&mut hasher);
        Self { hasher, gathered: Vec::with_capacity(2 * Self::PIECE) }
    }

    /// Adds one column's value. Every row must give the same number of them.
    pub fn value(&mut self, value: RawValue<'_>) {
        let Self { hasher, gathered } = self;
        feed(
            &mut |bytes| {
                if bytes.len() >= Self::PIECE {
                    hasher.update(gathered);
                    gathered.clear();
                    hasher.update(bytes);
                } else {
                    gathered.extend_from_slice(bytes);
                }
            },
            value,
        );
        if gathered.len() >= Self::PIECE {
            hasher.update(gathered);
            gathered.clear();
        }
    }

    /// Ends the scan.
    #[must_use]
    pub fn finish(mut self) -> ScanHash {
        self.hasher.update(&self.gathered);
        ScanHash(*self.hasher.finalize().as_bytes())
    }
}

/// Makes a [`ContentHash`] of records and left-out rows as they come.
pub struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    /// Begins the content of one space.
    #[must_use]
    pub fn new(space: &Space) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"content");
        space.feed(&mut hasher);
        Self(hasher)
    }

    /// Adds a record that goes into the index.
    pub fn record(&mut self, id: IdHash, text: TextHash, record: RecordHash) {
        let mut all = [1; 41];
        all[1..9].copy_from_slice(&id.0);
        all[9..25].copy_from_slice(&text.0);
        all[25..].copy_from_slice(&record.0);
        self.0.update(&all);
    }

    /// Adds a row that is left out of it, by its raw values.
    pub fn left_out(&mut self, row: RecordHash) {
        self.0.update(&[0]);
        self.0.update(&row.0);
    }

    /// Ends the content.
    #[must_use]
    pub fn finish(&self) -> ContentHash {
        ContentHash(*self.0.finalize().as_bytes())
    }
}

/// Digest of a row's raw values, for a row that makes no record.
#[must_use]
pub fn raw_row_hash(raw: &[RawValue<'_>; 14]) -> RecordHash {
    let mut hasher = blake3::Hasher::new();
    for &value in raw {
        feed(
            &mut |bytes| {
                hasher.update(bytes);
            },
            value,
        );
    }
    RecordHash(first_bytes(&hasher.finalize()))
}
