//! Digests of ids, texts, records, scans and contents: equal digests mean equal things.
//!
//! Values are fed with their class and length, so that no two different rows
//! give the same bytes. All digests are blake3, cut to what a table of rows
//! needs: eight bytes for an id, sixteen for a text or a record. They are
//! stored in builds, so what is fed, in which order, never changes.
//!
//! How a scan is cut into chunks and hashed fast is `source`'s.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::space::Space;
use super::value::{RawValue, Row};
use crate::domain::tokens::TokenLimit;

/// The version of the rules that make document texts, part of a text's hash. Another number makes every
/// text another one, and every vector is embedded again.
pub(crate) const TEXT_FORMAT: u32 = 1;

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
    /// Digest of the space and of all records in order, quarantined rows included.
    ContentHash, 32
);
digest!(
    /// Digest of the space and of the raw column values as one scan gave them.
    ScanHash, 32
);

digest!(
    /// Digest of the raw column values alone, whatever is made of them.
    ValuesHash, 32
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
    /// Digest of an id of one value; `1`, `1.0` and `'1'` are three different ids.
    #[must_use]
    pub fn of(id: RawValue<'_>) -> Self {
        Self::of_all(std::iter::once(id))
    }

    /// Digest of an id of several values.
    pub(crate) fn of_all<'r>(id: impl IntoIterator<Item = RawValue<'r>>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for value in id {
            feed(
                &mut |bytes| {
                    hasher.update(bytes);
                },
                value,
            );
        }
        Self(first_bytes(&hasher.finalize()))
    }
}

impl TextHash {
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self::of_format(TEXT_FORMAT, text)
    }

    /// The first format is not fed: its hashes are those of the text alone.
    fn of_format(format: u32, text: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        if format > 1 {
            hasher.update(b"text");
            hasher.update(&format.to_le_bytes());
        }
        hasher.update(text.as_bytes());
        Self(first_bytes(&hasher.finalize()))
    }
}

impl RecordHash {
    #[must_use]
    pub fn of(json: &[u8]) -> Self {
        Self(first_bytes(&blake3::hash(json)))
    }
}

/// Makes the [`RecordHash`]es of records that begin alike.
pub(crate) struct RecordHasher(blake3::Hasher);

impl RecordHasher {
    pub(crate) fn of(beginning: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(beginning);
        Self(hasher)
    }

    /// The digest of the record that ends so.
    pub(crate) fn ended_by(&self, ending: &[u8]) -> RecordHash {
        let mut hasher = self.0.clone();
        hasher.update(ending);
        RecordHash(first_bytes(&hasher.finalize()))
    }
}

fn first_bytes<const N: usize>(hash: &blake3::Hash) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&hash.as_bytes()[..N]);
    out
}

/// A class, and a number or the length of what follows.
#[inline]
fn head(class: u8, number: u64) -> [u8; 9] {
    let mut head = [class; 9];
    head[1..].copy_from_slice(&number.to_le_bytes());
    head
}

/// Feeds one value; its class and length distinguish it from every other.
#[inline]
pub(crate) fn feed(to: &mut impl FnMut(&[u8]), value: RawValue<'_>) {
    let mut sized = |class: u8, bytes: &[u8]| {
        to(&head(class, bytes.len() as u64));
        to(bytes);
    };
    match value {
        RawValue::Null => to(&[0]),
        RawValue::Integer(n) => to(&head(1, n.cast_unsigned())),
        RawValue::Real(x) => to(&head(2, x.to_bits())),
        RawValue::Text(bytes) => sized(3, bytes),
        RawValue::Blob(bytes) => sized(4, bytes),
    }
}

/// What digests of scans and contents are fed with before any row.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    pub space: &'a Space,
    /// What is done with long texts, where that is not what the model does by itself.
    pub limit: Option<TokenLimit>,
}

impl<'a> From<&'a Space> for Basis<'a> {
    fn from(space: &'a Space) -> Self {
        Self { space, limit: None }
    }
}

impl Basis<'_> {
    fn feed(&self, hasher: &mut blake3::Hasher) {
        self.space.feed(hasher);
        if let Some(TokenLimit { max_tokens, too_long }) = self.limit {
            let name = too_long.name();
            hasher.update(b"too_long");
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(&max_tokens.to_le_bytes());
        }
    }
}

/// Makes a [`ScanHash`] of the bytes of raw values, see [`feed`].
#[derive(Clone)]
pub(crate) struct ScanHasher(blake3::Hasher);

impl ScanHasher {
    /// `rules`: what makes the same values another content; nothing for the experts.
    pub(crate) fn new(basis: Basis<'_>, rules: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"scan");
        basis.feed(&mut hasher);
        feed_rules(&mut hasher, rules);
        Self(hasher)
    }

    /// Makes a [`ValuesHash`] instead, which no setting is part of.
    pub(crate) fn of_values() -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"values");
        Self(hasher)
    }

    /// Adds bytes of values; where one chunk ends and the next begins does not matter.
    pub(crate) fn hash_chunk(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> ScanHash {
        ScanHash(*self.0.finalize().as_bytes())
    }

    pub(crate) fn finish_values(self) -> ValuesHash {
        ValuesHash(*self.0.finalize().as_bytes())
    }
}

/// Makes a [`ContentHash`] of the records and quarantined rows, in the order of the table.
pub struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    /// `schema`: the schema's own bytes; nothing for the experts.
    #[must_use]
    pub fn new<'a>(basis: impl Into<Basis<'a>>, schema: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"content");
        basis.into().feed(&mut hasher);
        feed_rules(&mut hasher, schema);
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

    /// Adds a row that is excluded from the index, by the digest of its raw values.
    pub fn quarantined(&mut self, row: RecordHash) {
        self.0.update(&[0]);
        self.0.update(&row.0);
    }

    #[must_use]
    pub fn finish(&self) -> ContentHash {
        ContentHash(*self.0.finalize().as_bytes())
    }
}

/// Feeds bytes with their length; none where there are none, so that the experts' digests stay.
fn feed_rules(hasher: &mut blake3::Hasher, rules: &[u8]) {
    if !rules.is_empty() {
        hasher.update(&(rules.len() as u64).to_le_bytes());
        hasher.update(rules);
    }
}

/// Digest of a row's raw values, for a row that makes no record.
#[must_use]
pub fn raw_row_hash(raw: Row<'_>) -> RecordHash {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_another_format_is_another_text_and_the_first_adds_no_bytes() {
        let plain = TextHash(first_bytes(&blake3::hash("Zoë".as_bytes())));
        for (format, is_plain) in [(1, true), (2, false), (3, false)] {
            assert_eq!(TextHash::of_format(format, "Zoë") == plain, is_plain, "format {format}");
        }
        assert_eq!(TextHash::of("Zoë"), plain, "that of 0.1.0");
        assert_ne!(TextHash::of_format(2, "Zoë"), TextHash::of_format(3, "Zoë"));
    }
}
