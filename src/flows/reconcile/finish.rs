//! What a pass leaves behind: no staging of its own, no builds that nobody needs, one line for people.

use std::time::Instant;

use super::stopwatch::millis;
use super::{Pass, PassContext, PassError, PassOptions, PassProgress};
use crate::adapters::builds::history::{AttemptRecord, History};
use crate::adapters::builds::{Builds, error_chain, sweep};
use crate::domain::pass::{Counts, Outcome, PassReport, StoredOutcome, Timings};

impl Pass<'_> {
    /// Clears up after a failure and notes the attempt for people. What fails
    /// here is only said: the outcome of the pass stands.
    pub(super) fn finish(&mut self, result: &Result<PassReport, PassError>) {
        match result {
            Ok(_) => self.collect_old_builds(),
            Err(_) => self.stopwatch.lap(),
        }
        let keeps_staging = matches!(result, Ok(_) | Err(PassError::Verify(_)));
        if !keeps_staging {
            sweep_after_failure(self.context, &self.builds);
        }
        let failed_before = self.history.attempts.last().is_some_and(|last| last.error.is_some());
        let (outcome, error) = match result {
            Ok(done) if done.outcome == Outcome::Promoted => (Outcome::Promoted, None),
            Ok(_) if !failed_before => return,
            Ok(_) => (Outcome::Unchanged, None),
            Err(PassError::Stopped) => return,
            Err(error) => (error.outcome(), Some(error.to_line())),
        };
        let build =
            result.as_ref().ok().and_then(|done| done.build.clone()).filter(|_| outcome == Outcome::Promoted);
        // What a command says of its own pass is what is remembered of it.
        let timings = result.as_ref().map_or_else(|_| self.stopwatch.timings(), |done| done.timings);
        let attempt = AttemptRecord {
            at: (self.context.clock)(),
            trigger: self.options.trigger.to_string(),
            outcome: StoredOutcome::from(outcome),
            build,
            error,
            counts: self.counts,
            timings,
        };
        record_attempt(self.context, &self.builds, &mut self.history, attempt);
    }
}

/// A pass that could not begin: an adoption that broke off leaves nothing half made behind.
pub(super) fn record_failed_start(
    world: &PassContext<'_>,
    job: &PassOptions,
    builds: &Builds,
    started: Instant,
    error: &PassError,
) {
    sweep_after_failure(world, builds);
    if matches!(error, PassError::Stopped) {
        return;
    }
    let attempt = AttemptRecord {
        at: (world.clock)(),
        trigger: job.trigger.to_string(),
        outcome: StoredOutcome::from(error.outcome()),
        build: None,
        error: Some(error.to_line()),
        counts: Counts::default(),
        timings: Timings::total(millis(started.elapsed())),
    };
    // A state that cannot be read is why it could not begin, and is not written over.
    if let Ok((mut state, _)) = History::load(&builds.layout) {
        record_attempt(world, builds, &mut state, attempt);
    }
}

/// Removes what a pass that failed left unproven.
pub(super) fn sweep_after_failure(world: &PassContext<'_>, builds: &Builds) {
    if let Err(error) = sweep::sweep(builds) {
        (world.progress)(PassProgress::Warning(&error_chain(&error)));
    }
}

fn record_attempt(world: &PassContext<'_>, builds: &Builds, state: &mut History, attempt: AttemptRecord) {
    state.record_attempt(attempt);
    if let Err(error) = state.save(&builds.layout) {
        (world.progress)(PassProgress::Warning(&error_chain(&error)));
    }
}
