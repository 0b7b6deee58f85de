//! `reindexd build`: reconcile once and exit.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::{Context, DONE, print, print_error, print_json, progress, table};
use crate::adapters::builds::Served;
use crate::domain::pass::{Outcome, PassReport, Trigger};
use crate::flows::reconcile::{PassError, PassOptions, reconcile};

/// How long `--wait` sleeps between two looks at the lock.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// What `build` can be told.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "one for each flag")]
pub(super) struct BuildArgs {
    /// Wait for another pass to end instead of exiting with 75
    #[arg(long)]
    wait: bool,
    #[arg(long, help = "Build though more rows are gone than guard.max_shrink allows")]
    accept_shrink: bool,
    /// Make a new build though nothing differs
    #[arg(long)]
    full: bool,
    /// Embed every text again, although its vector exists
    #[arg(long)]
    rebuy: bool,
}

#[allow(
    clippy::disallowed_methods,
    reason = "a command that waits for a lock, and hears a stop between two looks"
)]
pub(super) fn run(context: &Context, options: &BuildArgs) -> u8 {
    let job = PassOptions {
        trigger: Trigger::Command,
        full: options.full,
        embed_again: options.rebuy,
        accept_shrink: options.accept_shrink,
        full_check: false,
        ends_hold: true,
    };
    let begun = Instant::now();
    let shown = progress::BuildProgress::new(context.json);
    let result = context.with_pass(&|now| shown.update(now), |world| {
        loop {
            match reconcile(world, &job) {
                Err(PassError::Busy) if options.wait && !context.stop.is_requested() => {
                    std::thread::sleep(LOCK_POLL_INTERVAL);
                }
                Err(PassError::Busy) if context.stop.is_requested() => return Err(PassError::Stopped),
                other => return other,
            }
        }
    });
    shown.end();
    match result {
        Ok(done) => {
            context.deliver_once();
            succeeded(context, &done);
            DONE
        }
        Err(error) => failed(context, &error, begun.elapsed()),
    }
}

fn succeeded(context: &Context, done: &PassReport) {
    let is_promoted = done.outcome == Outcome::Promoted;
    let outcome = if is_promoted { Outcome::Promoted } else { Outcome::Unchanged };
    let counts = done.counts;
    if context.json {
        print_json(&json!({
            "outcome": outcome.to_string(),
            "build": done.build,
            "records": counts.records,
            "kept": counts.kept,
            "embedded": counts.embedded,
            "metadata_only": counts.metadata_only,
            "removed": counts.removed,
            "requests": counts.requests,
            "took_ms": done.timings.total,
            "phases_ms": done.timings.to_stage_times(),
        }));
        return;
    }
    let build = done.build.as_deref().unwrap_or("none");
    let took = table::milliseconds(done.timings.total);
    print(&if is_promoted {
        format!(
            "promoted {build}: {} records ({} kept, {} embedded, {} metadata only, {} removed) in {took}\n{}\n",
            counts.records,
            counts.kept,
            counts.embedded,
            counts.metadata_only,
            counts.removed,
            table::stage_times(&done.timings)
        )
    } else {
        format!("unchanged: {build} with {} records is up to date ({took})\n", counts.records)
    });
}

fn failed(context: &Context, error: &PassError, took: Duration) -> u8 {
    let code = context.code(error);
    let words = error.to_line();
    let (build, still) = served(context);
    if context.json {
        let outcome = error.outcome().to_string();
        let (embedded, requests) = match error {
            PassError::Embed { texts, requests, .. } => (*texts, *requests),
            _ => (0, 0),
        };
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        print_json(&answer(
            &outcome,
            build.as_deref(),
            &FailureCosts { embedded, requests, took_ms },
            &words,
        ));
    }
    let says_so = matches!(error, PassError::Promote(_) | PassError::Busy);
    print_error(&if says_so { words } else { format!("{words}; {still}") });
    code
}

/// The object for a build that ended before its pass began: programs find the same fields in it.
pub(super) fn not_started(words: &str) -> Value {
    answer("failed", None, &FailureCosts::default(), words)
}

/// What a failed build cost.
#[derive(Default)]
struct FailureCosts {
    embedded: u64,
    requests: u64,
    took_ms: u64,
}

fn answer(outcome: &str, build: Option<&str>, spent: &FailureCosts, words: &str) -> Value {
    json!({
        "outcome": outcome,
        "build": build,
        "records": 0,
        "kept": 0,
        "embedded": spent.embedded,
        "metadata_only": 0,
        "removed": 0,
        "requests": spent.requests,
        "took_ms": spent.took_ms,
        "error": words,
    })
}

/// The id of the served build, and words for what is served.
fn served(context: &Context) -> (Option<String>, String) {
    match context.builds.served() {
        Served::Build(build) => {
            let id = build.manifest.id;
            let words = format!("build {id} is served still");
            (Some(id), words)
        }
        Served::Damaged { .. } => (None, "what is served is damaged".to_owned()),
        Served::Nothing => (None, "nothing is served yet".to_owned()),
    }
}
