//! `reindexd history`: the kept builds and the last attempts.

use jiff::Timestamp;
use serde_json::json;

use super::{Context, DONE, FAILED, fail, print, print_json, table};
use crate::adapters::builds::history::{AttemptRecord, History};
use crate::adapters::builds::{Build, error_chain};

/// Where the values of judged queries stand, if any build has them.
const NDCG_COLUMN: usize = 5;

pub(super) fn run(context: &Context) -> u8 {
    let builds = &context.builds;
    let kept = match builds.kept() {
        Ok(kept) => kept,
        Err(error) => return fail(context.json, FAILED, &error_chain(&error)),
    };
    for (id, doubt) in &kept.not_known {
        tracing::warn!("build {id} is not shown, because it could not be read: {}", error_chain(doubt));
    }
    let kept = kept.whole;
    let (history, _) = History::load(&builds.layout).unwrap_or_default();
    let served = builds.served().build().map(|build| build.manifest.id.clone());
    if context.json {
        print_object(&kept, &history, served.as_deref());
    } else {
        print_tables(&kept, &history, served.as_deref());
    }
    DONE
}

fn print_object(kept: &[Build], history: &History, served: Option<&str>) {
    let summary = |build: &Build| {
        let manifest = &build.manifest;
        table::summary(manifest, &table::timings_of(manifest, history))
    };
    print_json(&json!({
        "served": served,
        "builds": kept.iter().map(summary).collect::<Vec<_>>(),
        "promotions": history.promotions,
        "attempts": history.attempts,
    }));
}

fn print_tables(kept: &[Build], history: &History, served: Option<&str>) {
    let mut head = vec!["BUILD", "CREATED", "TRIGGER", "RECORDS", "EMBEDDED", "TOOK", "LONGEST", ""];
    let mut rows: Vec<_> = kept.iter().map(|build| build_row(build, history, served)).collect();
    if kept.iter().any(|build| build.manifest.evaluation.is_some()) {
        head.insert(NDCG_COLUMN, "NDCG");
        for (row, build) in rows.iter_mut().zip(kept) {
            let ndcg = build.manifest.evaluation.as_ref().map(|found| format!("{:.4}", found.ndcg));
            row.insert(NDCG_COLUMN, ndcg.unwrap_or_default());
        }
    }
    let mut text = table::columns(&head, &rows);
    if !history.attempts.is_empty() {
        let now = super::clock();
        let rows: Vec<_> = history.attempts.iter().rev().map(|attempt| attempt_row(attempt, now)).collect();
        text.push('\n');
        text.push_str(&table::columns(&["ATTEMPT", "TRIGGER", "OUTCOME", ""], &rows));
    }
    print(&text);
}

fn build_row(build: &Build, history: &History, served: Option<&str>) -> Vec<String> {
    let manifest = &build.manifest;
    let timings = table::timings_of(manifest, history);
    let mark = if served == Some(manifest.id.as_str()) { "served" } else { "" };
    vec![
        manifest.id.clone(),
        manifest.created.clone(),
        manifest.trigger.clone(),
        manifest.counts.records.to_string(),
        manifest.counts.embedded.to_string(),
        table::milliseconds(timings.total),
        table::longest_stage(&timings),
        mark.to_owned(),
    ]
}

fn attempt_row(attempt: &AttemptRecord, now: Timestamp) -> Vec<String> {
    let result = attempt.build.as_ref().or(attempt.error.as_ref()).cloned().unwrap_or_default();
    vec![table::ago(attempt.at, now), attempt.trigger.clone(), attempt.outcome.to_string(), result]
}
