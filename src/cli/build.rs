//! `reindexd build`: reconcile once and exit.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{BUSY, Context, DONE, announcing, progress, say, say_json, table};
use crate::reconcile::{Done, Job, Outcome, PassError, reconcile};

/// How long `--wait` sleeps between two looks at the lock.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// What `build` can be told.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "one for each flag")]
pub(super) struct Options {
    /// Wait for another pass to end instead of exiting with 75
    #[arg(long)]
    wait: bool,
    /// Build though more rows are gone than `guard.max_shrink` allows
    #[arg(long)]
    accept_shrink: bool,
    /// Make a new build though nothing differs
    #[arg(long)]
    full: bool,
    /// Buy every vector again
    #[arg(long)]
    rebuy: bool,
}

#[allow(
    clippy::disallowed_methods,
    reason = "a command that waits for a lock, and hears a stop between two looks"
)]
pub(super) fn run(context: &Context, options: &Options) -> u8 {
    let job = Job {
        trigger: "command".to_owned(),
        full: options.full,
        rebuy: options.rebuy,
        accept_shrink: options.accept_shrink,
        full_check: false,
        ends_hold: true,
    };
    let shown = progress::Shown::new(context.json);
    let result = context.in_world(&|now| shown.update(now), |world| {
        loop {
            match reconcile(world, &job) {
                Err(PassError::Busy) if options.wait && !context.stop.is_cancelled() => {
                    std::thread::sleep(BETWEEN_LOOKS);
                }
                Err(PassError::Busy) if context.stop.is_cancelled() => return Err(PassError::Stopped),
                other => return other,
            }
        }
    });
    shown.end();
    match result {
        Ok(done) => {
            announcing::once(context);
            succeeded(context, &done);
            DONE
        }
        Err(error) => failed(context, &error),
    }
}

fn succeeded(context: &Context, done: &Done) {
    let outcome = match done.outcome {
        Outcome::Promoted => "promoted",
        Outcome::Unchanged | Outcome::Held => "unchanged",
    };
    let counts = done.counts;
    if context.json {
        say_json(&json!({
            "outcome": outcome,
            "build": done.build,
            "records": counts.records,
            "kept": counts.kept,
            "embedded": counts.embedded,
            "metadata_only": counts.metadata_only,
            "removed": counts.removed,
            "requests": counts.requests,
            "took_ms": done.took.total,
            "phases_ms": {
                "snapshot": done.took.snapshot,
                "plan": done.took.plan,
                "embed": done.took.embed,
                "index": done.took.index,
                "verify": done.took.verify,
                "promote": done.promote_ms,
            },
        }));
        return;
    }
    let build = done.build.as_deref().unwrap_or("none");
    let took = table::milliseconds(done.took.total);
    say(&match done.outcome {
        Outcome::Promoted => format!(
            "promoted {build}: {} records ({} kept, {} embedded, {} metadata only, {} removed) in {took}\n",
            counts.records, counts.kept, counts.embedded, counts.metadata_only, counts.removed
        ),
        Outcome::Unchanged | Outcome::Held => {
            format!("unchanged: {build} with {} records is up to date ({took})\n", counts.records)
        }
    });
}

fn failed(context: &Context, error: &PassError) -> u8 {
    let code = context.code(error);
    let words = error.words();
    if context.json {
        let outcome = if code == BUSY { "busy" } else { error.verdict().word() };
        let requests = if let PassError::Embed { requests, .. } = error { *requests } else { 0 };
        let embedded = if let PassError::Embed { texts, .. } = error { *texts } else { 0 };
        say_json(&json!({
            "outcome": outcome,
            "build": served(context),
            "records": 0,
            "kept": 0,
            "embedded": embedded,
            "metadata_only": 0,
            "removed": 0,
            "requests": requests,
            "took_ms": 0,
            "error": words,
        }));
    }
    let served = served(context)
        .map_or_else(|| "nothing is served yet".to_owned(), |id| format!("build {id} is served still"));
    let says_so = matches!(error, PassError::Promote(_) | PassError::Busy);
    eprintln!("reindexd: {words}{}", if says_so { String::new() } else { format!("; {served}") });
    code
}

/// The id of the served build.
fn served(context: &Context) -> Option<String> {
    let publish = &context.config.publish;
    let builds = crate::builds::Builds::at(&publish.index, &publish.metadata).ok()?;
    builds.served().build().map(|build| build.manifest.id.clone())
}
