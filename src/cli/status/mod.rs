//! `reindexd status`: served build, drift, last attempt, agent.

mod advice;
mod targets;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Context, DONE, FAILED, log_warnings, print, print_json, table};
use crate::adapters::builds::history::History;
use crate::adapters::builds::{AgentStatus, Builds, Hold, Served, error_chain, json_file, lock};
use crate::adapters::deliver::state as delivery_state;
use crate::flows::deliver::{TargetStatus, target_states, targets};
use crate::flows::reconcile::{PassError, PassOptions, Preview, preview};

/// What `status` can be told.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Exit 1 if the served build is behind the table, or a target behind it, for longer than --max-age
    #[arg(long)]
    check: bool,
    /// How long it may be behind, such as 30m or 2h
    #[arg(long, default_value = "1h", value_name = "TIME")]
    max_age: SignedDuration,
}

pub(super) fn run(context: &Context, options: &StatusArgs) -> u8 {
    let publish = &context.config.publish;
    let builds = match Builds::at(&publish.index, &publish.metadata) {
        Ok(builds) => builds,
        Err(error) => return super::fail(context.json, super::USAGE, &error_chain(&error)),
    };
    let served = builds.served();
    let (state, _) = History::load(&builds.layout).unwrap_or_default();
    let (hold, _) = Hold::load(&builds.layout).unwrap_or_default();
    let drift = context.with_pass(&log_warnings, |world| preview(world, &PassOptions::default()));
    if matches!(drift, Err(PassError::Stopped)) {
        return context.stopped();
    }
    let (note, _): (AgentStatus, _) = json_file::load(&json_file::path(&builds.layout, "agent"));
    let agent_runs = lock::is_agent_running(&builds.layout);
    let promoted = served.build().and_then(|build| promoted_at(&state, &build.manifest.id));
    let told = target_states(
        &targets(&context.config.announce),
        &delivery_state::load(&builds.layout),
        served.build().map(|build| build.manifest.id.as_str()),
        &state,
    );
    let stale_since = told.iter().filter_map(|target| target.stale_since).min();
    let found =
        advice::Status { served: &served, drift: &drift, agent_runs, note: &note, promoted, stale_since };
    let behind = advice::behind_for(&found, super::clock());
    let code =
        if options.check && behind.is_some_and(|behind| behind > options.max_age) { FAILED } else { DONE };
    let to_do = advice::to_do(&found);
    let agent = agent(agent_runs, &note);
    if context.json {
        let error = match (&served, &drift) {
            (_, Err(error)) => Some(error.to_line()),
            (Served::Damaged { why }, _) => Some(why.clone()),
            _ => None,
        };
        print_json(&json!({
            "served": served.build().map(|build| {
                table::summary(&build.manifest, &table::timings_of(&build.manifest, &state))
            }),
            "drift": drift.as_ref().ok(),
            "last_attempt": state.attempts.last(),
            "agent": agent,
            "hold": hold,
            "announced": told,
            "error": error,
            "behind_s": behind.map(|behind| behind.as_secs()),
            "to_do": to_do,
        }));
        return code;
    }
    print(&describe(&served, &drift, &state, hold.as_ref(), &told, &agent));
    print(&format!("\nto do: {to_do}\n"));
    code
}

fn promoted_at(state: &History, id: &str) -> Option<Timestamp> {
    state.promotions.iter().rev().find(|one| one.build == id).map(|one| one.at)
}

fn describe(
    served: &Served,
    drift: &Result<Preview, PassError>,
    state: &History,
    hold: Option<&Hold>,
    told: &[TargetStatus],
    agent: &Value,
) -> String {
    let now = super::clock();
    let mut rows = vec![("served", describe_served(served, state, now))];
    // The making of an adopted build was not ours to measure.
    if let Some(build) = served.build().filter(|build| !build.manifest.adopted) {
        let spent = table::timings_of(&build.manifest, state);
        let words = format!("{}: {}", table::milliseconds(spent.total), table::stage_times(&spent));
        rows.push(("took", words));
    }
    rows.push(("drift", describe_drift(drift)));
    if let Some(left_out) =
        served.build().map(|build| build.manifest.quarantined.len()).filter(|count| *count > 0)
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
    rows.extend(told.iter().map(|target| ("announced", targets::describe_target(target, now))));
    rows.push(("agent", agent.get("words").and_then(Value::as_str).unwrap_or("not running").to_owned()));
    table::pairs(&rows)
}

fn describe_served(served: &Served, state: &History, now: Timestamp) -> String {
    match served {
        Served::Nothing => "nothing yet".to_owned(),
        Served::Damaged { why } => format!("damaged: {why}"),
        Served::Build(build) => {
            let manifest = &build.manifest;
            let promoted = promoted_at(state, &manifest.id);
            let age = promoted.map_or_else(String::new, |at| format!(", promoted {}", table::ago(at, now)));
            format!(
                "{} with {} records of {} dimensions{age}",
                manifest.id, manifest.ntotal, manifest.dimension
            )
        }
    }
}

fn describe_drift(drift: &Result<Preview, PassError>) -> String {
    match drift {
        Err(error) => format!("unknown: {}", error.to_line()),
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

/// The agent, by its lock and by its own last words.
fn agent(runs: Option<bool>, note: &AgentStatus) -> Value {
    let now = super::clock();
    let state = match runs {
        Some(true) => format!("running, {}", note.state),
        Some(false) => "not running".to_owned(),
        None => "unknown: its lock cannot be read".to_owned(),
    };
    let only_running = runs == Some(true);
    let watch = note.watch.as_ref().map(|watch| format!(", watching by {watch}"));
    let last = note.last_pass.as_ref();
    let last = last
        .map(|last| format!("; last pass {} {} ({})", last.outcome, table::ago(last.at, now), last.trigger));
    let retry = note.retry_at.map(|at| format!("; next try {at:.0}"));
    let details: String = [watch, last, retry].into_iter().flatten().filter(|_| only_running).collect();
    let words = format!("{state}{details}");
    json!({
        "running": runs,
        "words": words,
        "started": note.started,
        "phase": note.state,
        "watch": note.watch,
        "behind_since": note.behind_since,
        "retry_at": note.retry_at,
        "last_pass": note.last_pass,
    })
}
