//! The stored tags, read from JSON.
//!
//! Tags are accepted exactly if `json.loads` gives a list of strings that UTF-8
//! can hold, or `null`. For everything else there is a sentence for the person
//! who fixes the row: what was found, where, and what was expected. It never
//! repeats the text itself. That a row with such tags is unfit is `record`'s
//! decision.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Reads the tags column.
///
/// An empty text counts as an empty list. `None` is the JSON word `null`.
/// Tags stay as they are: not stripped, not sorted, twice if they stand there twice.
///
/// # Errors
///
/// A sentence about everything that is not a JSON list of strings or `null`.
pub(crate) fn parse_tags(text: &str) -> Result<Option<Vec<String>>, String> {
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

/// What a JSON text holds, as far as tags are concerned. A list's first item
/// that is not a string decides; of the rest only the syntax is checked.
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
                        other => {
                            while items.next_element::<IgnoredAny>()?.is_some() {}
                            return Ok(TagsValue::ListWith { item: texts.len() + 1, kind: other.kind() });
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

/// What is wrong with a text that `serde_json` refuses. Errors that cannot be seen on the screen, and
/// what Python reads but JSON does not know, are named.
pub(super) fn not_json(text: &str, error: &serde_json::Error) -> String {
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
        // from_str_radix would accept a plus sign.
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
                // The backslash and what it escapes, so that `\\u` is not read as an escape.
                let mut chars = rest.chars();
                chars.nth(1);
                rest = chars.as_str();
            }
        }
    }
    None
}
