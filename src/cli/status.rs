//! `reindexd status`: served build, drift, last attempt, agent, targets.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::print::{ago, log_warnings, print, print_json};
use super::read_limit::ReadLimit;
use super::table::{milliseconds, pairs, stage_times};
use super::targets::describe_target;
use crate::adapters::builds::{CurrentPass, Served, error_chain};
use crate::app::{Context, DONE, FAILED};
use crate::config::parse_duration;
use crate::decide::build_space::BuildSpace;
use crate::domain::build_summary::summary;
use crate::domain::pass::Stage;
use crate::flows::reconcile::{PassError, PassProgress, Preview};
use crate::flows::status::{QuarantineStatus, QuarantinedRowStatus, RebuyStatus, Status, advice};

/// Quarantined rows that are listed for people.
const MAX_LISTED: usize = 5;

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Exit 1 if the served build is behind the table, or a target behind it, for longer than --max-age
    #[arg(long)]
    check: bool,
    /// How long it may be behind, such as 30m, 2h or 1d
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = parse_duration)]
    max_age: Duration,
}

pub(super) fn run(context: &Context, options: &StatusArgs, limit: Option<&ReadLimit>) -> u8 {
    let progress = |now: PassProgress<'_>| {
        if let (PassProgress::Stage(Stage::Scan), Some(limit)) = (now, limit) {
            limit.begin(&context.config.source.database);
        }
        log_warnings(now);
    };
    let status = context.with_pass(&progress, |pass| Status::read(pass, &context.builds));
    if matches!(status.drift, Err(PassError::Stopped)) {
        return context.stopped();
    }
    if context.json {
        print_json(&object(&status));
    } else {
        print(&describe(&status));
        print(&format!("\nto do: {}\n", advice::to_do(&status)));
    }
    let delays = [advice::behind_for(&status), advice::silent_for(&status)];
    let is_late = delays.into_iter().flatten().any(|delay| delay.unsigned_abs() > options.max_age);
    if options.check && is_late { FAILED } else { DONE }
}

fn object(status: &Status) -> Value {
    let served = status.build().zip(status.timings.as_ref());
    json!({
        "served": served.map(|(build, timings)| summary(&build.manifest, timings)),
        "drift": status.drift.as_ref().ok(),
        "warnings": status.warnings(),
        "pass": status.pass,
        "last_attempt": status.last_attempt,
        "agent": agent_object(status),
        "hold": status.hold,
        "quarantined": status.quarantined,
        "rebuys": status.rebuys,
        "announced": status.targets,
        "settings": status.settings,
        "error": status.error(),
        "behind_s": advice::behind_for(status).map(|behind| behind.as_secs()),
        "to_do": advice::to_do(status),
    })
}

fn agent_object(status: &Status) -> Value {
    let agent = &status.agent;
    json!({
        "running": status.agent_runs,
        "words": describe_agent(status),
        "started": agent.started,
        "phase": agent.state,
        "watch": agent.watch,
        "behind_since": agent.behind_since,
        "retry_at": agent.retry_at,
        "last_pass": agent.last_pass,
        "sign_of_life": status.sign_of_life,
    })
}

fn describe(status: &Status) -> String {
    let now = status.now;
    let mut rows = vec![("served", describe_served(status))];
    if let (Some(build), Some(timings)) = (status.build(), &status.timings) {
        // The time of an adopted build was not measured.
        if !build.manifest.adopted {
            rows.push(("took", format!("{}: {}", milliseconds(timings.total), stage_times(timings))));
        }
    }
    let evaluation = status.build().and_then(|build| build.manifest.evaluation.as_ref());
    rows.extend(evaluation.map(|evaluation| ("answers", evaluation.describe())));
    rows.push(("drift", describe_drift(&status.drift)));
    rows.extend(status.warnings().into_iter().map(|warning| ("database", warning)));
    let note = status.drift.as_ref().ok().and_then(Preview::null_tags_note);
    rows.extend(note.map(|note| ("tags", note)));
    let long = status.drift.as_ref().ok().and_then(|preview| preview.too_long.note());
    rows.extend(long.map(|note| ("too long", note)));
    rows.extend(describe_quarantined(status).into_iter().map(|text| ("quarantined", text)));
    if status.pass.is_none() {
        rows.extend(status.rebuys.iter().map(|rebuy| ("rebuy", describe_rebuy(rebuy, now))));
    }
    if let Some(hold) = &status.hold {
        let (build, at, by) = (&hold.build, ago(hold.at, now), &hold.by);
        rows.push(("hold", format!("{build}, rolled back to {at} by {by}, until the table changes")));
    }
    if let Some(pass) = &status.pass {
        rows.push(("pass", describe_pass(pass, now)));
    }
    if let Some(last) = &status.last_attempt {
        let error = last.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
        rows.push(("last attempt", format!("{} {}{error}", last.outcome, ago(last.at, now))));
    }
    rows.extend(status.targets.iter().map(|target| ("announced", describe_target(target, now))));
    rows.push(("agent", describe_agent(status)));
    let settings = status.settings.as_deref().map(|path| path.display().to_string());
    rows.push(("settings", settings.unwrap_or_else(|| "no file; environment and defaults".to_owned())));
    pairs(&rows)
}

fn describe_served(status: &Status) -> String {
    match &status.served {
        Served::Nothing => "nothing yet".to_owned(),
        Served::Damaged { why } => format!("damaged: {why}"),
        Served::NotKnown(doubt) => format!("not known: {}", error_chain(doubt)),
        Served::Build(build) => {
            let manifest = &build.manifest;
            let age = status.promoted_at.map(|at| format!(", promoted {}", ago(at, status.now)));
            let space = BuildSpace::of(manifest).map(|space| format!(" in {space}"));
            format!(
                "{} with {} records{}{}",
                manifest.id,
                manifest.ntotal,
                space.unwrap_or_default(),
                age.unwrap_or_default()
            )
        }
    }
}

fn describe_rebuy(rebuy: &RebuyStatus, now: Timestamp) -> String {
    let RebuyStatus { space, began, vectors } = rebuy;
    let began = began.map(|at| format!(", begun {}", ago(at, now))).unwrap_or_default();
    format!("not ended{began}: {vectors} vectors of {space} wait for the next `reindexd build --rebuy`")
}

/// The rows that are out: how many, then why and since when for the first.
fn describe_quarantined(status: &Status) -> Vec<String> {
    let QuarantineStatus { count, rows } = &status.quarantined;
    if *count == 0 {
        return Vec::new();
    }
    let since = |row: &QuarantinedRowStatus| {
        let at = row.since.parse().map_or_else(|_| row.since.clone(), |at| ago(at, status.now));
        let tried = row.refused_at.map(|at| format!(", tried {}", ago(at, status.now)));
        format!(
            "row id={}, {}: {}; out since {at}{}",
            row.id,
            row.column,
            row.reason,
            tried.unwrap_or_default()
        )
    };
    let more = count.saturating_sub(MAX_LISTED);
    let head = format!("{count} rows are not in the index: `left_out` of the manifest lists them");
    let listed = rows.iter().take(MAX_LISTED).map(since);
    let rest = (more > 0).then(|| format!("and {more} more"));
    std::iter::once(head).chain(listed).chain(rest).collect()
}

fn describe_drift(drift: &Result<Preview, PassError>) -> String {
    match drift {
        Err(error) => format!("unknown: {}", error.to_line()),
        Ok(preview) if !preview.changes && preview.reasons.is_empty() => "none".to_owned(),
        Ok(preview) if !preview.changes => format!("none ({})", reasons(preview)),
        Ok(preview) => format!(
            "{} to embed, {} metadata only, {} removed ({})",
            preview.to_embed,
            preview.metadata_only,
            preview.removed,
            reasons(preview)
        ),
    }
}

fn reasons(preview: &Preview) -> String {
    preview.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn describe_pass(pass: &CurrentPass, now: Timestamp) -> String {
    let CurrentPass { trigger, stage, done, total, started } = pass;
    let texts = match (done, total) {
        (Some(done), Some(total)) => format!(", {done} of {total} texts"),
        _ => String::new(),
    };
    format!("running, stage {stage}{texts}; started {} ({trigger})", ago(*started, now))
}

/// Whether the agent runs, by its lock, and what it wrote last.
fn describe_agent(status: &Status) -> String {
    let agent = &status.agent;
    match status.agent_runs {
        None => "unknown: only the user that publishes here can see its lock".to_owned(),
        Some(false) => "not running".to_owned(),
        Some(true) => {
            let watch = agent.watch.as_ref().map(|watch| format!(", watching by {watch}"));
            let last = agent.last_pass.as_ref().map(|last| {
                format!("; last pass {} {} ({})", last.outcome, ago(last.at, status.now), last.trigger)
            });
            let retry = agent.retry_at.map(|at| format!("; next try at {at:.0}"));
            let silence = advice::silent_for(status).and(status.sign_of_life);
            let silence = silence.map(|at| format!("; hangs, last sign of life {}", ago(at, status.now)));
            let details: String = [watch, last, retry, silence].into_iter().flatten().collect();
            format!("running, {}{details}", agent.state)
        }
    }
}
