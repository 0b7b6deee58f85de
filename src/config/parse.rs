//! Reads the settings file: every key optional, checked for its type alone.
//!
//! An unknown key is refused by name and line, with the nearest known one.
//! Each value keeps its place in the text, so that a later error about it can
//! name the line.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::file::SettingsFile;
use super::keys::{
    DIRECTORY, RawAnnounce, RawDocument, RawEmbedding, RawEvaluate, RawGuard, RawLog, RawPublish, RawSearch,
    RawSource, RawTrigger, SECTIONS,
};
use super::nearest;
use super::origin::line_of;
use crate::domain::text::one_line;

/// Longer than any message of the parser, unless it quotes from the file.
const MAX_MESSAGE_CHARS: usize = 300;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) directory: Option<Spanned<String>>,
    pub(super) source: RawSource,
    pub(super) document: RawDocument,
    pub(super) trigger: RawTrigger,
    pub(super) embedding: RawEmbedding,
    pub(super) publish: RawPublish,
    pub(super) guard: RawGuard,
    pub(super) evaluate: RawEvaluate,
    pub(super) announce: Vec<RawAnnounce>,
    pub(super) search: RawSearch,
    pub(super) log: RawLog,
}

/// Reads a settings file.
pub(super) fn parse(file: &SettingsFile) -> Result<RawConfig, ConfigError> {
    let syntax = |span: Option<Range<usize>>, message: String| ConfigError::Syntax {
        path: file.path.clone(),
        line: line_of(&file.text, span.map_or(0, |span| span.start)),
        message,
    };
    let table = DeTable::parse(&file.text)
        .map_err(|error| syntax(error.span(), one_line(error.message(), MAX_MESSAGE_CHARS)))?;
    if let Some(error) = wrong_shape(table.get_ref()) {
        return Err(syntax(Some(error.span), error.message));
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
        // The parser names types of the program.
        let message = one_line(error.message(), MAX_MESSAGE_CHARS)
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

/// A known section that is not a table: the parser's own message would name types of the program.
fn wrong_shape(table: &DeTable<'_>) -> Option<ShapeError> {
    table.iter().find_map(|(name, value)| {
        let section = SECTIONS.iter().find(|section| section.name == name.get_ref().as_ref())?;
        let expected = match value.get_ref() {
            DeValue::Array(entries)
                if section.is_list && entries.iter().all(|entry| entry.get_ref().is_table()) =>
            {
                return None;
            }
            DeValue::Table(_) if !section.is_list => return None,
            _ if section.is_list => {
                format!("[[{}]], with two brackets: there may be several", section.name)
            }
            _ => format!("the section [{}]", section.name),
        };
        Some(ShapeError { span: name.span(), message: format!("{}: expected {expected}", section.name) })
    })
}

struct UnknownKey {
    span: Range<usize>,
    key: String,
}

/// The first unknown key of the file.
fn first_unknown(table: &DeTable<'_>) -> Option<UnknownKey> {
    let mut all = Vec::new();
    for (name, value) in table {
        let section = name.get_ref().as_ref();
        if section == DIRECTORY.name {
            continue;
        }
        let Some(known) = SECTIONS.iter().find(|known| known.name == section) else {
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
            if !known.has(key.get_ref()) {
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

/// The span of a table is its header, so its entries are searched as well.
fn covers(value: &Spanned<DeValue<'_>>, at: usize) -> bool {
    value.span().contains(&at)
        || match value.get_ref() {
            DeValue::Table(table) => table.values().any(|value| covers(value, at)),
            DeValue::Array(entries) => entries.iter().any(|entry| covers(entry, at)),
            _ => false,
        }
}
