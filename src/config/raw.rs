//! The settings file as it was written: every key optional, nothing checked but its type.
//!
//! An unknown key is refused by name and line, with the nearest known one.
//! Each value keeps its place in the text, so that a later complaint about it
//! can name the line.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::duration;
use super::file::Settings;
use super::nearest;
use super::origin::line_of;

/// Declares a section once, as a type and as the list of its keys.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $(pub(super) $key: Option<Spanned<$kind>>,)*
        }

        impl $name {
            /// The keys of this section, in the order in which they are shown.
            pub(super) const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];
        }
    };
}

section!(
    /// `[source]`
    RawSource { database: String, }
);
section!(
    /// `[trigger]`
    RawTrigger {
        marker: String,
        on: Vec<String>,
        quiet: DurationText,
        max_wait: DurationText,
        marker_quiet: DurationText,
        resync: DurationText,
        watch: String,
        poll_interval: DurationText,
    }
);
section!(
    /// `[embedding]`
    RawEmbedding {
        provider: String,
        model: String,
        dimension: i64,
        task_type: String,
        base_url: String,
        api_key_file: String,
        batch_size: i64,
        concurrency: i64,
        items_per_minute: i64,
        request_timeout: DurationText,
        retry_budget: DurationText,
    }
);
section!(
    /// `[publish]`
    RawPublish { index: String, metadata: String, keep: i64, }
);
section!(
    /// `[guard]`
    RawGuard { max_shrink: f64, max_texts: i64, quarantine: i64, }
);
section!(
    /// One `[[announce]]`
    RawAnnounce {
        post: String,
        command: Vec<String>,
        confirm: String,
        token_file: String,
        timeout: DurationText,
    }
);
section!(
    /// `[log]`
    RawLog { level: String, format: String, }
);

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) source: RawSource,
    pub(super) trigger: RawTrigger,
    pub(super) embedding: RawEmbedding,
    pub(super) publish: RawPublish,
    pub(super) guard: RawGuard,
    pub(super) announce: Vec<RawAnnounce>,
    pub(super) log: RawLog,
}

/// Every section with its keys.
pub(super) const SECTIONS: [(&str, &[&str]); 7] = [
    ("source", RawSource::KEYS),
    ("trigger", RawTrigger::KEYS),
    ("embedding", RawEmbedding::KEYS),
    ("publish", RawPublish::KEYS),
    ("guard", RawGuard::KEYS),
    ("announce", RawAnnounce::KEYS),
    ("log", RawLog::KEYS),
];

/// A duration as it was written; a bare number is refused in words.
#[derive(Clone)]
pub(super) struct DurationText(pub(super) String);

impl fmt::Debug for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = DurationText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(duration::SYNTAX)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<DurationText, E> {
                Ok(DurationText(text.to_owned()))
            }
        }
        from.deserialize_str(Text)
    }
}

/// Reads a settings file.
pub(super) fn parse(file: &Settings) -> Result<RawConfig, ConfigError> {
    let syntax = |span: Option<Range<usize>>, message: String| ConfigError::Syntax {
        path: file.path.clone(),
        line: line_of(&file.text, span.map_or(0, |span| span.start)),
        message,
    };
    let table =
        DeTable::parse(&file.text).map_err(|error| syntax(error.span(), one_line(error.message())))?;
    if let Some(fault) = wrong_shape(table.get_ref()) {
        return Err(syntax(Some(fault.span), fault.message));
    }
    if let Some(unknown) = first_unknown(table.get_ref()) {
        return Err(ConfigError::UnknownKey {
            path: file.path.clone(),
            line: line_of(&file.text, unknown.span.start),
            hint: nearest::hint(&unknown.key),
            key: nearest::printable(&unknown.key),
        });
    }
    RawConfig::deserialize(toml::Deserializer::from(table)).map_err(|error| {
        // The parser names types of our code.
        let message = one_line(error.message())
            .replace("expected i64", "expected a whole number")
            .replace("expected f64", "expected a number");
        let key = error.span().and_then(|span| key_at(&file.text, span.start));
        syntax(error.span(), key.map_or_else(|| message.clone(), |key| format!("{key}: {message}")))
    })
}

struct ShapeError {
    span: Range<usize>,
    message: String,
}

/// A section that is no section: the parser's own words for it would speak of types in our code.
fn wrong_shape(table: &DeTable<'_>) -> Option<ShapeError> {
    table.iter().find_map(|(name, value)| {
        let section = name.get_ref().as_ref();
        let expected = match (section, value.get_ref()) {
            ("announce", DeValue::Array(entries))
                if entries.iter().all(|entry| entry.get_ref().is_table()) =>
            {
                None
            }
            ("announce", _) => Some("[[announce]], with two brackets: there may be several".to_owned()),
            (_, DeValue::Table(_)) => None,
            (known, _) if SECTIONS.iter().any(|(section, _)| *section == known) => {
                Some(format!("the section [{known}]"))
            }
            _ => None,
        };
        expected.map(|expected| ShapeError {
            span: name.span(),
            message: format!("{section}: expected {expected}"),
        })
    })
}

struct UnknownKey {
    span: Range<usize>,
    key: String,
}

/// The unknown key that stands first in the file.
fn first_unknown(table: &DeTable<'_>) -> Option<UnknownKey> {
    let mut all = Vec::new();
    for (name, value) in table {
        let section = name.get_ref().as_ref();
        let Some((_, keys)) = SECTIONS.iter().find(|(known, _)| *known == section) else {
            all.push(UnknownKey { span: name.span(), key: section.to_owned() });
            continue;
        };
        let tables: Vec<&DeTable<'_>> = match value.get_ref() {
            DeValue::Array(entries) => {
                entries.iter().filter_map(|entry| entry.get_ref().as_table()).collect()
            }
            other => other.as_table().into_iter().collect(),
        };
        for key in tables.into_iter().flat_map(DeTable::keys) {
            if !keys.contains(&key.get_ref().as_ref()) {
                all.push(UnknownKey { span: key.span(), key: format!("{section}.{}", key.get_ref()) });
            }
        }
    }
    all.into_iter().min_by_key(|unknown| unknown.span.start)
}

/// The key whose value covers a byte of the text.
fn key_at(text: &str, at: usize) -> Option<String> {
    let table = DeTable::parse(text).ok()?;
    let mut names = Vec::new();
    let mut inside = table.get_ref();
    while let Some((name, value)) = inside.iter().find(|(_, value)| covers(value, at)) {
        names.push(name.get_ref().to_string());
        let entry = match value.get_ref() {
            DeValue::Array(entries) => entries.iter().find(|entry| covers(entry, at)).map(Spanned::get_ref),
            other => Some(other),
        };
        match entry.and_then(DeValue::as_table) {
            Some(table) => inside = table,
            None => break,
        }
    }
    (!names.is_empty()).then(|| names.join("."))
}

/// A table's own span is its header, so its entries are asked as well.
fn covers(value: &Spanned<DeValue<'_>>, at: usize) -> bool {
    value.span().contains(&at)
        || match value.get_ref() {
            DeValue::Table(table) => table.values().any(|value| covers(value, at)),
            DeValue::Array(entries) => entries.iter().any(|entry| covers(entry, at)),
            _ => false,
        }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
