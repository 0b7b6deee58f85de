//! `reindexd history`: builds kept, and the last attempts.

use serde_json::json;

use super::{Context, DONE, FAILED, fail, print, print_json, table};
use crate::adapters::builds::error_chain;
use crate::adapters::builds::history::History;

pub(super) fn run(context: &Context) -> u8 {
    let builds = &context.builds;
    let kept = match builds.kept() {
        Ok(kept) => kept,
        Err(error) => return fail(context.json, FAILED, &error_chain(&error)),
    };
    let (state, _) = History::load(&builds.layout).unwrap_or_default();
    let served = builds.served().build().map(|build| build.manifest.id.clone());
    if context.json {
        let summary = |manifest| table::summary(manifest, &table::timings_of(manifest, &state));
        let builds: Vec<_> = kept.iter().map(|build| summary(&build.manifest)).collect();
        print_json(&json!({
            "served": served,
            "builds": builds,
            "promotions": state.promotions,
            "attempts": state.attempts,
        }));
        return DONE;
    }
    let now = super::clock();
    let rows: Vec<Vec<String>> = kept
        .iter()
        .map(|build| {
            let manifest = &build.manifest;
            let here = if served.as_deref() == Some(manifest.id.as_str()) { "served" } else { "" };
            let counts = &manifest.counts;
            let spent = table::timings_of(manifest, &state);
            vec![
                manifest.id.clone(),
                manifest.created.clone(),
                manifest.trigger.clone(),
                counts.records.to_string(),
                counts.embedded.to_string(),
                table::milliseconds(spent.total),
                table::longest_stage(&spent),
                here.to_owned(),
            ]
        })
        .collect();
    let mut words =
        table::columns(&["BUILD", "CREATED", "TRIGGER", "RECORDS", "EMBEDDED", "TOOK", "LONGEST", ""], &rows);
    if !state.attempts.is_empty() {
        let rows: Vec<Vec<String>> = state
            .attempts
            .iter()
            .rev()
            .map(|one| {
                let what = one.build.clone().or_else(|| one.error.clone()).unwrap_or_default();
                vec![table::ago(one.at, now), one.trigger.clone(), one.outcome.to_string(), what]
            })
            .collect();
        words.push('\n');
        words.push_str(&table::columns(&["ATTEMPT", "TRIGGER", "OUTCOME", ""], &rows));
    }
    print(&words);
    DONE
}
