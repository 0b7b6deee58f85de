//! The sections source and document: which rows are read, and what is made of each.
//!
//! Without table and query the source is the table of experts, whose rules are
//! known; with either of them a template is required. What two keys contradict
//! is refused here, what only the database can say in the scan.

use std::collections::HashSet;
use std::sync::Arc;

use super::ConfigError;
use super::declare::Key;
use super::keys::{
    DocumentSettings, RawDocument, RawSource, SourceSettings, document as document_keys, source as keys,
};
use super::kinds::DatabasePath;
use super::origin::{Sourced, ValueOrigin};
use super::resolved::Resolved;
use super::written_source::{WrittenChunk, WrittenColumn, WrittenId};
use crate::domain::document::{CHUNK, ChunkSize, Template};
use crate::domain::record::RowSource;
use crate::domain::source_spec::{AnySource, ChunkSpec, ColumnSpec, SourceSpec};

/// Longest chunk, in code points: far more than any model reads.
const MAX_CHUNK_SIZE: i64 = 1_000_000;

/// Settles both sections.
pub(super) fn source(
    raw: &RawSource,
    document: &RawDocument,
    resolved: &mut Resolved<'_>,
) -> Result<(SourceSettings, DocumentSettings), ConfigError> {
    let database = resolved.settle::<DatabasePath>(&keys::database, raw.database.as_ref())?;
    let table = text(&keys::table, raw.table.as_ref(), resolved)?;
    let query = text(&keys::query, raw.query.as_ref(), resolved)?;
    let filter = text(&keys::filter, raw.filter.as_ref(), resolved)?;
    let id = resolved.written(raw.id.as_ref());
    let columns = resolved.written(raw.columns.as_ref());
    let template = template(document, resolved)?;
    let chunk = resolved.written(document.chunk.as_ref());
    if let (Some(query), Some(_)) = (&query, &table) {
        return Err(query.refused(&keys::query.path(), "either table or query, not both"));
    }
    if let (Some(filter), Some(_)) = (&filter, &query) {
        return Err(filter.refused(&keys::filter.path(), "a condition in the query itself"));
    }
    let is_any = table.is_some() || query.is_some();
    if !is_any {
        let needs = "source.table or source.query beside it: without them the source is the table of experts, \
                     whose id, columns and text are known";
        let refused = [
            filter.as_ref().map(|given| given.refused(&keys::filter.path(), needs)),
            id.as_ref().map(|given| given.clone().map(|id| id.0).refused(&keys::id.path(), needs)),
            columns.as_ref().map(|given| named(given).refused(&keys::columns.path(), needs)),
            template.as_ref().map(|given| source_of(given).refused(&document_keys::template.path(), needs)),
            chunk.as_ref().map(|given| given.refused(&document_keys::chunk.path(), needs)),
        ];
        if let Some(error) = refused.into_iter().flatten().next() {
            return Err(error);
        }
    }
    if is_any && template.is_none() {
        let expected = "the text to embed for a row, such as \"{{ title }}\": a source that is not the table of \
                        experts needs one";
        return Err(ConfigError::Absent {
            key: document_keys::template.path(),
            expected: expected.to_owned(),
        });
    }
    let settings = SourceSettings {
        database,
        table: recorded(&keys::table, table, resolved),
        id: checked_id(id, resolved)?,
        filter: recorded(&keys::filter, filter, resolved),
        columns: checked_columns(columns, resolved)?,
        query: recorded(&keys::query, query, resolved),
    };
    let chunk_spec = chunk.as_ref().map(checked_chunk).transpose()?;
    check_chunk_use(template.as_ref(), chunk_spec.as_ref())?;
    let shown = template.as_ref().map(source_of);
    recorded(&document_keys::template, shown, resolved);
    let shown = chunk_spec.as_ref().zip(chunk).map(|(chunk, given)| given.map(|_| print_chunk(chunk)));
    recorded(&document_keys::chunk, shown, resolved);
    Ok((settings, DocumentSettings { template: template.map(|given| given.value), chunk: chunk_spec }))
}

/// Records a text, or that there is none.
fn recorded(key: &Key, given: Option<Sourced<String>>, resolved: &mut Resolved<'_>) -> Option<String> {
    let (shown, origin) =
        given.as_ref().map_or(("none", &ValueOrigin::Default), |given| (given.value.trim(), &given.origin));
    resolved.record(key.path(), shown, origin);
    given.map(|given| given.value)
}

/// A text that is not empty.
fn text(
    key: &Key,
    raw: Option<&toml::Spanned<String>>,
    resolved: &Resolved<'_>,
) -> Result<Option<Sourced<String>>, ConfigError> {
    match resolved.written(raw) {
        Some(given) if given.value.trim().is_empty() || given.value.contains('\0') => {
            Err(given.refused(&key.path(), "a text that is not empty"))
        }
        given => Ok(given),
    }
}

fn template(
    raw: &RawDocument,
    resolved: &Resolved<'_>,
) -> Result<Option<Sourced<Arc<Template>>>, ConfigError> {
    let Some(given) = resolved.written(raw.template.as_ref()) else { return Ok(None) };
    let template = Template::compile(&given.value).map_err(|found| {
        let expected = format!("a MiniJinja template; {found}");
        given.refused(&document_keys::template.path(), expected)
    })?;
    Ok(Some(given.map(|_| Arc::new(template))))
}

fn source_of(given: &Sourced<Arc<Template>>) -> Sourced<String> {
    given.clone().map(|template| template.source().to_owned())
}

fn named(given: &Sourced<Vec<WrittenColumn>>) -> Sourced<Vec<String>> {
    given.clone().map(|columns| columns.into_iter().map(|column| column.0.name).collect())
}

fn checked_id(
    given: Option<Sourced<WrittenId>>,
    resolved: &mut Resolved<'_>,
) -> Result<Vec<String>, ConfigError> {
    let given = given.map(|given| given.map(|id| id.0));
    if let Some(given) = &given {
        let mut seen = HashSet::new();
        let is_right =
            given.value.iter().all(|name| !name.is_empty() && seen.insert(name.to_ascii_lowercase()));
        if given.value.is_empty() || !is_right {
            return Err(
                given.refused(&keys::id.path(), "the name of a column, or a list of names, each once")
            );
        }
    }
    recorded(&keys::id, given.clone().map(|given| given.map(|names| names.join(", "))), resolved);
    Ok(given.map(|given| given.value).unwrap_or_default())
}

fn checked_columns(
    given: Option<Sourced<Vec<WrittenColumn>>>,
    resolved: &mut Resolved<'_>,
) -> Result<Vec<ColumnSpec>, ConfigError> {
    let names = given.as_ref().map(named);
    if let Some(names) =
        names.as_ref().filter(|names| names.value.is_empty() || names.value.iter().any(String::is_empty))
    {
        let expected = "a list of columns, each a name or { name = \"…\", key = \"…\", json = true }";
        return Err(names.refused(&keys::columns.path(), expected));
    }
    recorded(&keys::columns, names.map(|given| given.map(|names| names.join(", "))), resolved);
    let columns = given.map(|given| given.value).unwrap_or_default();
    Ok(columns.into_iter().map(|column| column.0).collect())
}

fn checked_chunk(given: &Sourced<WrittenChunk>) -> Result<ChunkSpec, ConfigError> {
    let WrittenChunk { column, size, overlap } = &given.value;
    let bounded = |value: i64, range: std::ops::Range<i64>| {
        usize::try_from(value).ok().filter(|_| range.contains(&value))
    };
    let sizes = bounded(*size, 1..MAX_CHUNK_SIZE + 1).zip(bounded(*overlap, 0..*size));
    let Some((size, overlap)) = sizes.filter(|_| !column.is_empty()) else {
        let expected =
            format!("a column, a size from 1 to {MAX_CHUNK_SIZE} characters, and an overlap below the size");
        return Err(given.refused(&document_keys::chunk.path(), expected));
    };
    Ok(ChunkSpec { column: column.clone(), size: ChunkSize { size, overlap } })
}

fn print_chunk(chunk: &ChunkSpec) -> String {
    let ChunkSpec { column, size: ChunkSize { size, overlap } } = chunk;
    format!("{size} characters of {column}, of which {overlap} repeat")
}

/// A template that names the chunk and chunks belong together.
fn check_chunk_use(
    template: Option<&Sourced<Arc<Template>>>,
    chunk: Option<&ChunkSpec>,
) -> Result<(), ConfigError> {
    let Some(template) = template else { return Ok(()) };
    // Of a template that may assign it before it reads it, its names do not say so.
    let names_chunk = template.value.names().iter().any(|name| name == CHUNK)
        || (chunk.is_some() && template.value.mentions(CHUNK));
    let expected = match (names_chunk, chunk) {
        (true, None) => "[document.chunk] beside it, since the template names chunk",
        (false, Some(_)) => "{{ chunk }} in it, since [document.chunk] cuts rows into chunks",
        (true, Some(_)) | (false, None) => return Ok(()),
    };
    Err(source_of(template).refused(&document_keys::template.path(), expected))
}

/// What is read and what is made of it, before the database was asked.
pub(super) fn spec(source: &SourceSettings, document: &DocumentSettings) -> SourceSpec {
    let SourceSettings { table, id, filter, columns, query, .. } = source;
    let rows = match (table, query) {
        (Some(name), _) => RowSource::Table { name: name.clone(), filter: filter.clone() },
        (None, Some(query)) => RowSource::Query(query.clone()),
        (None, None) => return SourceSpec::Experts,
    };
    let Some(template) = &document.template else { return SourceSpec::Experts };
    SourceSpec::Any(AnySource {
        rows,
        id: id.clone(),
        columns: columns.clone(),
        template: Arc::clone(template),
        chunk: document.chunk.clone(),
    })
}
