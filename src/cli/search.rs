//! `reindexd search`: ask the served build.
//!
//! The question is embedded in the space that the index was made in; another
//! space's vectors would give answers without meaning.

use serde_json::{Value, json};

use super::{Context, DONE, FAILED, embedder, fail, print, print_json, table};
use crate::adapters::builds::index::{Hit, MappedIndex};
use crate::adapters::builds::layout::{INDEX, METADATA};
use crate::adapters::builds::{Build, Served, error_chain, records};
use crate::adapters::embed::embed_query;
use crate::domain::text::one_line;

/// A cell of the table shows this much of a column.
const MAX_CELL_CHARS: usize = 80;

pub(super) fn run(context: &Context, query: &str, k: usize) -> u8 {
    let builds = &context.builds;
    let build = match builds.served() {
        Served::Build(build) => build,
        Served::Nothing => {
            return fail(context.json, FAILED, "nothing is served yet; run `reindexd build` first");
        }
        Served::Damaged { why } => return fail(context.json, FAILED, &why),
    };
    let manifest = &build.manifest;
    let other = manifest.space.as_ref().filter(|space| **space != context.space);
    if let Some(space) = other {
        let words = format!(
            "the served build is of {space}, the settings are of {}; run `reindexd build`",
            context.space
        );
        return fail(context.json, FAILED, &words);
    }
    if manifest.dimension != context.space.dimension {
        let words = format!(
            "the served build has {} dimensions, the settings {}",
            manifest.dimension, context.space.dimension
        );
        return fail(context.json, FAILED, &words);
    }
    match answers(context, &build, query, k) {
        Ok(answers) => {
            print_answers(context, &answers);
            DONE
        }
        Err(words) if context.stop.is_requested() => {
            tracing::debug!("{words}");
            context.stopped()
        }
        Err(words) => fail(context.json, FAILED, &words),
    }
}

fn answers(context: &Context, build: &Build, query: &str, k: usize) -> Result<Vec<(Hit, Value)>, String> {
    let settings = &context.config.embedding;
    let embedder = embedder(&context.config).map_err(|error| error_chain(&error))?;
    let asked = embed_query(embedder, context.space.dimension, query, settings.request_timeout);
    let asked = context.runtime.block_on(context.stop.run_until_requested(asked)).ok_or("stopped")?;
    let vector = asked.map_err(|error| error_chain(&error))?;
    let index_of = |error: crate::adapters::builds::index::IndexError| error_chain(&error);
    let index = build.path(INDEX);
    let opened = MappedIndex::map(&index).map_err(index_of)?;
    if opened.header.dimension != vector.len() {
        let found = opened.header.dimension;
        return Err(format!("{} has {found} dimensions, its manifest {}", index.display(), vector.len()));
    }
    let hits = opened.search(&vector, k, &index).map_err(index_of)?;
    let rows: Vec<usize> = hits.iter().map(|hit| hit.row).collect();
    let bytes = build.manifest.files.metadata.bytes;
    let records = records::pick(&build.path(METADATA), bytes, &rows).map_err(|error| error_chain(&error))?;
    Ok(hits.into_iter().zip(records).collect())
}

fn print_answers(context: &Context, answers: &[(Hit, Value)]) {
    let ranked = answers.iter().enumerate().map(|(nth, (hit, record))| (nth + 1, hit.score, record));
    if context.json {
        let results: Vec<Value> = ranked
            .map(|(rank, score, record)| json!({ "rank": rank, "score": score, "record": record }))
            .collect();
        print_json(&json!({ "results": results }));
        return;
    }
    let rows: Vec<Vec<String>> = ranked
        .map(|(rank, score, record)| {
            let text = |key: &str| {
                one_line(record.get(key).and_then(Value::as_str).unwrap_or_default(), MAX_CELL_CHARS)
            };
            let name = format!("{} {}", text("First Name"), text("Last Name")).trim().to_owned();
            let about = [text("Job Title"), text("Company")].into_iter().filter(|part| !part.is_empty());
            vec![
                rank.to_string(),
                format!("{score:.3}"),
                name,
                about.collect::<Vec<_>>().join(", "),
                text("Bio"),
            ]
        })
        .collect();
    print(&table::columns(&["RANK", "SCORE", "NAME", "WHAT", "BIO"], &rows));
}
