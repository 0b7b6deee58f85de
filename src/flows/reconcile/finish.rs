//! What a pass leaves: old builds collected, its own staging removed, one record in the history.
//!
//! Failures here are logged and do not change the outcome of the pass.

use std::time::Instant;

use super::context::{PassContext, PassOptions};
use super::disk_space::collect_old_builds;
use super::error::PassError;
use super::prepare::Prepared;
use super::stopwatch::{Stopwatch, millis};
use crate::adapters::builds::history::{AttemptRecord, History};
use crate::adapters::builds::{Builds, error_chain, sweep};
use crate::domain::pass::{Counts, Outcome, PassReport, Stage, StoredOutcome, Timings};

/// What a pass that failed had done of its plan: a text is embedded when its vector has come. What was
/// sent is counted as it is.
fn counts_of_failure(error: &PassError, planned: Counts, stage: Stage) -> Counts {
    match (error, stage) {
        (PassError::Embed { texts, .. }, _) => Counts { embedded: *texts, ..planned },
        (_, Stage::Prepare | Stage::Scan | Stage::Plan) => Counts { embedded: 0, ..planned },
        (_, Stage::Embed | Stage::Index | Stage::Verify | Stage::Evaluate | Stage::Promote) => planned,
    }
}

/// Cleans up after a pass and records it. `counts`: what the pass had planned.
pub(super) fn finish(
    context: &PassContext<'_>,
    options: &PassOptions,
    prepared: &mut Prepared,
    counts: Counts,
    stopwatch: &mut Stopwatch,
    result: &Result<PassReport, PassError>,
) {
    if result.is_err() {
        stopwatch.lap();
    }
    match result {
        Ok(_) => collect_old_builds(context, prepared),
        // The staging of a build that is not what was planned is kept for inspection.
        Err(PassError::Verify(_)) => {}
        Err(_) => sweep(context, &prepared.builds),
    }
    let has_failed_before = prepared.history.attempts.last().is_some_and(|last| last.error.is_some());
    let record = match result {
        Ok(report) if report.outcome == Outcome::Promoted => {
            AttemptRecord { build: report.build.clone(), ..attempt(context, options, report) }
        }
        // A pass that changed nothing is worth a record only where it ends a failure.
        Ok(report) if has_failed_before => {
            AttemptRecord { outcome: StoredOutcome::Unchanged, counts, ..attempt(context, options, report) }
        }
        Ok(_) | Err(PassError::Stopped) => return,
        Err(error) => {
            let counts = counts_of_failure(error, counts, stopwatch.stage());
            let report = PassReport { counts, timings: stopwatch.timings(), ..error.report() };
            AttemptRecord { error: Some(report.message.clone()), ..attempt(context, options, &report) }
        }
    };
    record_attempt(context, &prepared.builds, &mut prepared.history, record);
}

/// Cleans up after a pass that could not begin: an interrupted adoption must not leave half a build.
pub(super) fn record_failed_start(
    context: &PassContext<'_>,
    options: &PassOptions,
    builds: &Builds,
    started: Instant,
    error: &PassError,
) {
    sweep(context, builds);
    if matches!(error, PassError::Stopped) {
        return;
    }
    let timings = Timings::total(millis(started.elapsed()));
    let report = PassReport { counts: Counts::default(), timings, ..error.report() };
    let record = AttemptRecord { error: Some(report.message.clone()), ..attempt(context, options, &report) };
    // A history that cannot be read may be why it could not begin, and is not replaced.
    if let Ok((mut history, _)) = History::load(&builds.layout) {
        record_attempt(context, builds, &mut history, record);
    }
}

/// Removes stale staging, as a failed pass leaves it. What cannot be removed takes disk space and ends
/// no pass.
pub(super) fn sweep(context: &PassContext<'_>, builds: &Builds) {
    for error in sweep::sweep(builds).failures {
        context.warn(&format!("stale staging stays and takes disk space: {}", error_chain(&error)));
    }
}

fn attempt(context: &PassContext<'_>, options: &PassOptions, report: &PassReport) -> AttemptRecord {
    AttemptRecord {
        at: (context.clock)(),
        trigger: options.trigger.to_string(),
        outcome: report.outcome.into(),
        build: None,
        error: None,
        counts: report.counts,
        timings: report.timings,
    }
}

fn record_attempt(context: &PassContext<'_>, builds: &Builds, history: &mut History, attempt: AttemptRecord) {
    history.record_attempt(attempt);
    if let Err(error) = history.save(&builds.layout) {
        context.warn(&error_chain(&error));
    }
}
