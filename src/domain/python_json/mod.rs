//! A record as the bytes that Python's `json.dump` writes, and the stored tags back from JSON.
//!
//! `metadata.json` has readers, and people who compare two of them, so its
//! bytes are those of `json.dump(records, file, ensure_ascii=False)`: the same
//! separators, the same escapes, the same digits. The differences from
//! `serde_json` are the spaces after comma and colon and the way a float is
//! laid out; escapes are the same in both.
//!
//! Tags are accepted exactly where `json.loads` gives a list of strings that
//! UTF-8 can hold, or `null`. Whether a value may stand in a record at all is
//! [`Record::from_raw`]'s judgement, the brackets around the list of records
//! are the writer's of the file.

use std::fmt::{self, Display};
use std::io::Write as _;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::domain::record::{KEYS, Record, Value, column};

/// A finite float, displayed as Python's `repr` and `json` print it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PyFloat(pub f64);

impl Display for PyFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = self.0;
        debug_assert!(x.is_finite(), "only finite numbers become values of a record");
        // Both languages print the shortest digits that read back as the same
        // number. They differ in where the exponent begins and in its dress.
        if x == 0.0 || (1e-4..1e16).contains(&x.abs()) {
            let shortest = format!("{x:?}");
            return f.write_str(&half_even(x, shortest, |decimals| format!("{x:.decimals$}")));
        }
        let printed = half_even(x, format!("{x:e}"), |decimals| format!("{x:.decimals$e}"));
        let (digits, exponent) = printed.split_once('e').expect("`{:e}` prints a finite number with an e");
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(size) => ('-', size),
            None => ('+', exponent),
        };
        write!(f, "{digits}e{sign}{exponent:0>2}")
    }
}

/// Appends `record` as one JSON object with [`KEYS`] in order.
pub fn write_record(record: &Record<'_>, out: &mut Vec<u8>) {
    for (at, (key, value)) in KEYS.iter().zip(&record.values).enumerate() {
        out.extend_from_slice(if at == 0 { b"{\"" } else { b", \"" });
        // Keys are our own and have nothing to escape.
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\": ");
        if at == column::TAGS {
            write_tags(record.tags.as_deref(), out);
        } else {
            write_value(*value, out);
        }
    }
    out.push(b'}');
}

/// Reads the tags column.
///
/// An empty text counts as an empty list. `None` is the JSON word `null`.
/// Tags stay as they are: not stripped, not sorted, twice if they stand there twice.
///
/// # Errors
///
/// Everything that is not a JSON list of strings or `null`, with a sentence
/// for the person who will mend the row: what was found, where, and what was
/// expected. It never repeats the text itself.
pub fn parse_tags(text: &str) -> Result<Option<Vec<String>>, String> {
    if text.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let found = match serde_json::from_str(text) {
        Ok(TagsValue::List(tags)) => return Ok(Some(tags)),
        Ok(TagsValue::Null) => return Ok(None),
        Ok(TagsValue::ListWith { item, kind }) => format!("a list whose item {item} is {kind}"),
        Ok(other) => other.kind().to_owned(),
        Err(error) => not_json(text, &error),
    };
    Err(format!("{found}, expected a JSON list of strings"))
}

/// Breaks a tie between two equally short and equally near prints of `x`.
///
/// 2197395979265169.25 reads back from ….2 and from ….3: Rust prints the upper
/// one, Python the even one. Printed to that many decimals, Rust rounds half to
/// even as well. At a power of two, where the gap below is half the gap above,
/// that print may miss `x`: then there was no tie, and the shortest one stands.
fn half_even(x: f64, shortest: String, to_decimals: impl Fn(usize) -> String) -> String {
    // Up to 15 digits, no two decimals of one length read as the same number.
    if shortest.len() <= 15 {
        return shortest;
    }
    let Some((_, tail)) = shortest.split_once('.') else {
        return shortest;
    };
    let even = to_decimals(tail.bytes().take_while(u8::is_ascii_digit).count());
    if even.parse() == Ok(x) { even } else { shortest }
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

fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string is JSON and a Vec takes every write");
}

fn write_display(value: impl Display, out: &mut Vec<u8>) {
    write!(out, "{value}").expect("a Vec takes every write");
}

/// What a JSON text holds, as far as tags are concerned. A list's first item
/// that is no string decides; the rest is only proven to be JSON.
enum TagsValue {
    Null,
    Bool,
    Number,
    Text(String),
    List(Vec<String>),
    /// Items are counted from one, as people do.
    ListWith {
        item: usize,
        kind: &'static str,
    },
    Object,
}

impl TagsValue {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::Text(_) => "a string",
            Self::List(_) | Self::ListWith { .. } => "a list",
            Self::Object => "an object",
        }
    }
}

impl<'de> Deserialize<'de> for TagsValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TagsVisitor;

        impl<'de> Visitor<'de> for TagsVisitor {
            type Value = TagsValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON value")
            }

            fn visit_unit<E>(self) -> Result<TagsValue, E> {
                Ok(TagsValue::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<TagsValue, E> {
                Ok(TagsValue::Bool)
            }

            fn visit_i64<E>(self, _: i64) -> Result<TagsValue, E> {
                Ok(TagsValue::Number)
            }

            fn visit_u64<E>(self, _: u64) -> Result<TagsValue, E> {
                Ok(TagsValue::Number)
            }

            fn visit_f64<E>(self, _: f64) -> Result<TagsValue, E> {
                Ok(TagsValue::Number)
            }

            fn visit_str<E>(self, text: &str) -> Result<TagsValue, E> {
                Ok(TagsValue::Text(text.to_owned()))
            }

            // Lists in lists come back here, but no deeper than serde_json allows: 128.
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TagsValue, A::Error> {
                let mut texts = Vec::new();
                while let Some(item) = items.next_element()? {
                    match item {
                        TagsValue::Text(text) => texts.push(text),
                        odd => {
                            while items.next_element::<IgnoredAny>()?.is_some() {}
                            return Ok(TagsValue::ListWith { item: texts.len() + 1, kind: odd.kind() });
                        }
                    }
                }
                Ok(TagsValue::List(texts))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<TagsValue, A::Error> {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(TagsValue::Object)
            }
        }

        from.deserialize_any(TagsVisitor)
    }
}

/// Words for a text that `serde_json` refuses. Faults that cannot be seen on
/// the screen, and what Python reads but JSON does not know, go by name.
fn not_json(text: &str, error: &serde_json::Error) -> String {
    let bare = text.trim_matches([' ', '\t', '\n', '\r']);
    if matches!(bare, "NaN" | "Infinity" | "-Infinity") {
        format!("a number ({bare})")
    } else if text.starts_with('\u{feff}') {
        "a byte order mark (U+FEFF)".to_owned()
    } else if let Some(escape) = lone_surrogate(text) {
        format!("the lone surrogate {escape}, which no UTF-8 text can hold")
    } else {
        format!("no valid JSON ({error})")
    }
}

/// The first `\uXXXX` of a surrogate that is not one half of a pair.
fn lone_surrogate(text: &str) -> Option<&str> {
    let code_unit = |escape: &str| {
        let digits = escape.strip_prefix("\\u")?.get(..4)?;
        // from_str_radix would let a plus sign pass.
        let digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(digits)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        rest = &rest[at..];
        match code_unit(rest) {
            Some(0xd800..=0xdbff) if matches!(code_unit(&rest[6..]), Some(0xdc00..=0xdfff)) => {
                rest = &rest[12..];
            }
            Some(0xd800..=0xdfff) => return Some(&rest[..6]),
            _ => {
                // The backslash and what it escapes, so that `\\u` is not taken for an escape.
                let mut chars = rest.chars();
                chars.nth(1);
                rest = chars.as_str();
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
