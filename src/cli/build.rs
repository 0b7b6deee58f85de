//! `reindexd build`: runs one pass and exits.

use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Context, DONE, print, print_error, print_json, progress, table};
use crate::adapters::builds::{Served, current_pass};
use crate::domain::pass::{Outcome, PassReport, Retry, Trigger};
use crate::flows::reconcile::{PassContext, PassError, PassOptions, reconcile};

/// How long `--wait` sleeps before it tries the lock again.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The flags of `build`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "one for each flag")]
pub(super) struct BuildArgs {
    /// Wait for another pass to end instead of exiting with 75
    #[arg(long)]
    wait: bool,
    #[arg(long, help = "Build though more rows are gone than guard.max_shrink allows")]
    accept_shrink: bool,
    /// Build in another space than the served build's: another provider, model, dimension or task
    #[arg(long)]
    accept_space: bool,
    #[arg(long, help = "Serve a build that answers judged queries worse than [evaluate] allows")]
    accept_quality: bool,
    /// Keep the vectors of ingest.py for unchanged records, after some of them came out the same
    #[arg(long, conflicts_with = "rebuy")]
    trust_adopted: bool,
    /// Take over a directory that another configuration claims, with this database and these names
    #[arg(long)]
    accept_source: bool,
    /// Make a new build though nothing differs
    #[arg(long)]
    full: bool,
    #[arg(long, help = "Try the quarantined rows again that the provider refused")]
    retry_quarantined: bool,
    /// Embed every text again, although its vector exists; one that was cut short goes on
    #[arg(long)]
    rebuy: bool,
}

pub(super) fn run(context: &Context, args: &BuildArgs) -> u8 {
    let options = PassOptions {
        trigger: Trigger::Command,
        full: args.full,
        embed_again: args.rebuy,
        retry_quarantined: args.retry_quarantined,
        accept_shrink: args.accept_shrink,
        accept_space: args.accept_space,
        accept_quality: args.accept_quality,
        trust_adopted: args.trust_adopted,
        accept_source: args.accept_source,
        full_check: false,
        ends_hold: true,
    };
    let started = Instant::now();
    let progress = progress::BuildProgress::new(context.json);
    let lines = progress.print_lines(context.runtime.handle(), print_error);
    let waits_for = |since| progress.waits_for(current_pass(&context.builds.layout).as_ref(), since);
    let waits_for = args.wait.then_some(&waits_for as &dyn Fn(Timestamp));
    let result =
        context.with_pass(&|now| progress.update(now), |pass| reconcile_or_wait(pass, &options, waits_for));
    lines.abort();
    progress.end();
    match result {
        Ok(report) => {
            context.deliver_once();
            print_success(context, &report);
            DONE
        }
        Err(error) => print_failure(context, &error, progress.texts_sent(), started.elapsed()),
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a command that waits for a lock, and checks for a stop each time"
)]
fn reconcile_or_wait(
    pass: &PassContext<'_>,
    options: &PassOptions,
    waits_for: Option<&dyn Fn(Timestamp)>,
) -> Result<PassReport, PassError> {
    let since = (pass.clock)();
    loop {
        match (reconcile(pass, options), waits_for) {
            (Err(error), _) if is_busy(&error) && pass.stop.is_requested() => {
                return Err(PassError::Stopped);
            }
            (Err(error), Some(waits_for)) if is_busy(&error) => {
                waits_for(since);
                std::thread::sleep(LOCK_POLL_INTERVAL);
            }
            (other, _) => return other,
        }
    }
}

fn is_busy(error: &PassError) -> bool {
    error.outcome() == Outcome::Busy
}

fn print_success(context: &Context, report: &PassReport) {
    let is_promoted = report.outcome == Outcome::Promoted;
    let PassReport { build, counts, timings, .. } = report;
    let served = context.builds.served();
    let evaluation = served.build().filter(|_| is_promoted).and_then(|build| build.manifest.evaluation);
    if context.json {
        // A hold ends when a person asks for a build, so there is no other outcome.
        let outcome = if is_promoted { Outcome::Promoted } else { Outcome::Unchanged };
        let mut object = json!({
            "outcome": outcome.to_string(),
            "build": build,
            "records": counts.records,
            "kept": counts.kept,
            "embedded": counts.embedded,
            "metadata_only": counts.metadata_only,
            "removed": counts.removed,
            "requests": counts.requests,
            "texts_sent": counts.texts_sent,
            "took_ms": timings.total,
            "phases_ms": timings.to_stage_times(),
        });
        if let Some(evaluation) = evaluation {
            object["evaluation"] = json!(evaluation);
        }
        print_json(&object);
        return;
    }
    let build = build.as_deref().unwrap_or("none");
    let (records, took) = (counts.records, table::milliseconds(timings.total));
    if is_promoted {
        let counts = format!(
            "{} kept, {} embedded, {} metadata only, {} removed",
            counts.kept, counts.embedded, counts.metadata_only, counts.removed
        );
        let stages = table::stage_times(timings);
        let answers = evaluation.map(|found| format!("{}\n", found.describe())).unwrap_or_default();
        print(&format!("promoted {build}: {records} records ({counts}) in {took}\n{stages}\n{answers}"));
    } else {
        print(&format!("unchanged: {build} with {records} records is up to date ({took})\n"));
    }
}

fn print_failure(context: &Context, error: &PassError, texts_sent: u64, took: Duration) -> u8 {
    let mut report = error.report();
    report.counts.texts_sent = texts_sent;
    let (build, still_served) = describe_served(context);
    if context.json {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let mut object = failure(build.as_deref(), took_ms, &report);
        if let PassError::Quality(refusal) = error {
            object["evaluation"] = json!(refusal.evaluation());
            object["lost"] = json!(refusal.worst());
        }
        print_json(&object);
    }
    let says_what_is_served = is_busy(error) || matches!(error, PassError::Promote(_));
    let message = report.message;
    print_error(&if says_what_is_served { message } else { format!("{message}; {still_served}") });
    context.code(error)
}

/// The object for a build whose pass did not begin. It has the keys of any other that failed.
pub(super) fn not_started(message: &str) -> Value {
    let outcome = Outcome::Failed(Retry::OnChange);
    failure(None, 0, &PassReport::without_build(outcome, message.to_owned()))
}

fn failure(build: Option<&str>, took_ms: u64, report: &PassReport) -> Value {
    let counts = report.counts;
    json!({
        "outcome": report.outcome.to_string(),
        "build": build,
        "records": counts.records,
        "kept": counts.kept,
        "embedded": counts.embedded,
        "metadata_only": counts.metadata_only,
        "removed": counts.removed,
        "requests": counts.requests,
        "texts_sent": counts.texts_sent,
        "took_ms": took_ms,
        "error": report.message,
    })
}

/// The id of the served build, and what is served as text.
fn describe_served(context: &Context) -> (Option<String>, String) {
    match context.builds.served() {
        Served::Build(build) => {
            let id = build.manifest.id;
            let text = format!("build {id} is still served");
            (Some(id), text)
        }
        Served::Damaged { .. } => (None, "what is served is damaged".to_owned()),
        Served::NotKnown(_) => {
            let id = context.builds.served_id().ok().flatten();
            let text = id.as_ref().map(|id| format!("`current` still leads to build {id}"));
            (id, text.unwrap_or_else(|| "what is served could not be read".to_owned()))
        }
        Served::Nothing => (None, "nothing is served yet".to_owned()),
    }
}
