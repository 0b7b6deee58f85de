//! `reindexd search`: finds records of the served build for a question.
//!
//! The question is embedded in the space of the index: with vectors of another
//! space the answers would have no meaning.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Context, DONE, FAILED, embedder, fail, print, print_json, table};
use crate::adapters::builds::index::{Hit, MappedIndex};
use crate::adapters::builds::layout::{INDEX, METADATA};
use crate::adapters::builds::{Build, Served, error_chain, records};
use crate::adapters::embed::embed_query;
use crate::domain::document::CHUNK;
use crate::domain::manifest::Manifest;
use crate::domain::record::Space;
use crate::domain::source_spec::SourceSpec;
use crate::domain::text::one_line;

/// Columns that are shown where the settings name none.
const MAX_COLUMNS: usize = 4;
/// A cell of the table shows this much of a column.
const MAX_CELL_CHARS: usize = 80;

/// A record found, with its place and score.
type Answer = (Hit, Value);

pub(super) fn run(context: &Context, query: &str, k: usize) -> u8 {
    let build = match context.builds.served() {
        Served::Build(build) => build,
        Served::Nothing => {
            return fail(context.json, FAILED, "nothing is served yet; run `reindexd build` first");
        }
        Served::Damaged { why } => return fail(context.json, FAILED, &why),
        Served::NotKnown(doubt) => return fail(context.json, FAILED, &error_chain(&doubt)),
    };
    if let Err(message) = check_space(&build.manifest, &context.space) {
        return fail(context.json, FAILED, &message);
    }
    match answers(context, &build, query, k) {
        Ok(answers) => {
            print_answers(context, &answers);
            DONE
        }
        Err(message) if context.stop.is_requested() => {
            tracing::debug!("{message}");
            context.stopped()
        }
        Err(message) => fail(context.json, FAILED, &message),
    }
}

/// Refuses a build of another space. That of an adopted build is not known, but its dimension is.
fn check_space(served: &Manifest, settings: &Space) -> Result<(), String> {
    match &served.space {
        Some(space) if space != settings => Err(format!(
            "the served build is of {space}, the settings are of {settings}; run `reindexd build`"
        )),
        _ if served.dimension != settings.dimension => Err(format!(
            "the served build has {} dimensions, the settings {}",
            served.dimension, settings.dimension
        )),
        _ => Ok(()),
    }
}

fn answers(context: &Context, build: &Build, query: &str, k: usize) -> Result<Vec<Answer>, String> {
    let vector = embed(context, query)?;
    let path = build.path(INDEX);
    let index = MappedIndex::map(&path).map_err(|error| error_chain(&error))?;
    let found = index.header.dimension;
    if found != vector.len() {
        return Err(format!("{} has {found} dimensions, its manifest {}", path.display(), vector.len()));
    }
    let bytes = build.manifest.files.metadata.bytes;
    let all = usize::try_from(build.manifest.ntotal).unwrap_or(usize::MAX);
    let mut asked = k;
    loop {
        let hits = index.search(&vector, asked, &path).map_err(|error| error_chain(&error))?;
        let rows: Vec<usize> = hits.iter().map(|hit| hit.row).collect();
        let records =
            records::pick(&build.path(METADATA), bytes, &rows).map_err(|error| error_chain(&error))?;
        let best = best_of_each_record(hits.into_iter().zip(records).collect());
        if best.len() >= k || asked >= all {
            return Ok(best.into_iter().take(k).collect());
        }
        asked = asked.saturating_mul(4).min(all);
    }
}

/// Of several chunks of one record, the first: chunks of a record stand beside each other.
fn best_of_each_record(answers: Vec<Answer>) -> Vec<Answer> {
    let mut seen = HashSet::new();
    let first_chunk = |(hit, record): &Answer| {
        let index = record.pointer("/chunk/index").and_then(Value::as_u64).unwrap_or_default();
        hit.row.saturating_sub(usize::try_from(index).unwrap_or_default())
    };
    answers.into_iter().filter(|answer| seen.insert(first_chunk(answer))).collect()
}

fn embed(context: &Context, query: &str) -> Result<Vec<f32>, String> {
    let timeout = context.config.embedding.request_timeout;
    let embedder = embedder(&context.config).map_err(|error| error_chain(&error))?;
    let request = embed_query(embedder, context.space.dimension, query, timeout);
    let answer = context.runtime.block_on(context.stop.run_until_requested(request)).ok_or("stopped")?;
    answer.map_err(|error| error_chain(&error))
}

fn print_answers(context: &Context, answers: &[Answer]) {
    let ranked = answers.iter().enumerate().map(|(nth, (hit, record))| (nth + 1, hit.score, record));
    if context.json {
        let results: Vec<Value> = ranked
            .map(|(rank, score, record)| json!({ "rank": rank, "score": score, "record": record }))
            .collect();
        print_json(&json!({ "results": results }));
    } else {
        let show = &context.config.search.show;
        if show.is_empty() && context.config.source_spec() == SourceSpec::Experts {
            let rows: Vec<_> = ranked.map(|(rank, score, record)| expert_row(rank, score, record)).collect();
            print(&table::columns(&["RANK", "SCORE", "NAME", "WHAT", "BIO"], &rows));
            return;
        }
        let keys = if show.is_empty() { first_keys(answers) } else { show.clone() };
        let rows: Vec<_> =
            ranked.map(|(rank, score, record)| record_row(rank, score, record, &keys)).collect();
        let head: Vec<_> = ["RANK", "SCORE"].into_iter().chain(keys.iter().map(String::as_str)).collect();
        print(&table::columns(&head, &rows));
    }
}

/// The first keys of the records, where the settings name none.
fn first_keys(answers: &[Answer]) -> Vec<String> {
    let keys = answers.first().and_then(|(_, record)| record.as_object()).map(serde_json::Map::keys);
    keys.into_iter().flatten().filter(|key| *key != CHUNK).take(MAX_COLUMNS).cloned().collect()
}

fn record_row(rank: usize, score: f32, record: &Value, keys: &[String]) -> Vec<String> {
    let cell = |key: &String| match record.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => one_line(text, MAX_CELL_CHARS),
        Some(value) => one_line(&value.to_string(), MAX_CELL_CHARS),
    };
    [rank.to_string(), format!("{score:.3}")].into_iter().chain(keys.iter().map(cell)).collect()
}

fn expert_row(rank: usize, score: f32, record: &Value) -> Vec<String> {
    let text =
        |key: &str| one_line(record.get(key).and_then(Value::as_str).unwrap_or_default(), MAX_CELL_CHARS);
    let name = format!("{} {}", text("First Name"), text("Last Name")).trim().to_owned();
    let about: Vec<_> =
        [text("Job Title"), text("Company")].into_iter().filter(|part| !part.is_empty()).collect();
    vec![rank.to_string(), format!("{score:.3}"), name, about.join(", "), text("Bio")]
}
