//! `reindexd status`: served build, drift, last attempt, agent.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Context, DONE, say, say_json, table, warn_only};
use crate::builds::state::{Hold, State};
use crate::builds::{Builds, Served, lock, with_cause};
use crate::reconcile::{Job, PassError, Preview, preview};

pub(super) fn run(context: &Context) -> u8 {
    let publish = &context.config.publish;
    let builds = match Builds::at(&publish.index, &publish.metadata) {
        Ok(builds) => builds,
        Err(error) => return super::fail(context.json, super::USAGE, &with_cause(&error)),
    };
    let served = builds.served();
    let (state, _) = State::load(&builds.layout);
    let (hold, _) = Hold::load(&builds.layout);
    let drift = context.in_world(&warn_only, |world| preview(world, &Job::default()));
    if matches!(drift, Err(PassError::Stopped)) {
        return context.stop_code();
    }
    let agent = agent(&builds);
    if context.json {
        let error = match (&served, &drift) {
            (_, Err(error)) => Some(error.words()),
            (Served::Broken { why }, _) => Some(why.clone()),
            _ => None,
        };
        say_json(&json!({
            "served": served.build().map(|build| table::summary(&build.manifest)),
            "drift": drift.as_ref().ok(),
            "last_attempt": state.attempts.last(),
            "agent": agent,
            "hold": hold,
            "announced": crate::builds::state::load_announced(&builds.layout),
            "error": error,
        }));
        return DONE;
    }
    say(&words(&served, &drift, &state, hold.as_ref(), &agent));
    DONE
}

fn words(
    served: &Served,
    drift: &Result<Preview, PassError>,
    state: &State,
    hold: Option<&Hold>,
    agent: &Value,
) -> String {
    let now = super::clock();
    let mut rows = vec![("served", served_words(served, state, now)), ("drift", drift_words(drift))];
    if let Some(left_out) =
        served.build().map(|build| build.manifest.left_out.len()).filter(|count| *count > 0)
    {
        rows.push(("left out", format!("{left_out} rows that cannot be indexed; see the manifest")));
    }
    if let Some(hold) = hold {
        rows.push((
            "hold",
            format!(
                "{} since {} by {}, until the table changes",
                hold.build,
                table::ago(hold.at, now),
                hold.by
            ),
        ));
    }
    if let Some(last) = state.attempts.last() {
        let error = last.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
        rows.push(("last attempt", format!("{} {}{error}", last.outcome, table::ago(last.at, now))));
    }
    rows.push(("agent", agent.get("words").and_then(Value::as_str).unwrap_or("not running").to_owned()));
    table::pairs(&rows)
}

fn served_words(served: &Served, state: &State, now: Timestamp) -> String {
    match served {
        Served::Nothing => "nothing yet".to_owned(),
        Served::Broken { why } => format!("damaged: {why}"),
        Served::Build(build) => {
            let manifest = &build.manifest;
            let promoted = state.promotions.iter().rev().find(|one| one.build == manifest.id);
            let age =
                promoted.map_or_else(String::new, |one| format!(", promoted {}", table::ago(one.at, now)));
            format!(
                "{} with {} records of {} dimensions{age}",
                manifest.id, manifest.ntotal, manifest.dimension
            )
        }
    }
}

fn drift_words(drift: &Result<Preview, PassError>) -> String {
    match drift {
        Err(error) => format!("unknown: {}", error.words()),
        Ok(preview) if !preview.changes => "none".to_owned(),
        Ok(preview) => format!(
            "{} to embed, {} metadata only, {} removed ({})",
            preview.to_embed,
            preview.metadata_only,
            preview.removed,
            preview.reasons.join("; ")
        ),
    }
}

/// Whether an agent serves this directory: it holds a lock as long as it lives.
fn agent(builds: &Builds) -> Value {
    match lock::agent_runs(&builds.layout) {
        Some(true) => json!({ "running": true, "words": "running" }),
        Some(false) => json!({ "running": false, "words": "not running" }),
        None => json!({ "running": null, "words": "unknown: its lock cannot be read" }),
    }
}
