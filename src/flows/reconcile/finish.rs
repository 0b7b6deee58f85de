//! What a pass leaves behind: no staging of its own, no builds that nobody needs, one line for people.

use std::time::Instant;

use super::{Done, Outcome, Pass, PassContext, PassError, PassOptions, PassProgress, millis};
use crate::adapters::builds::state::{AttemptRecord, History};
use crate::adapters::builds::{Builds, error_chain, sweep};
use crate::domain::manifest::Counts;

impl Pass<'_> {
    /// Clears up after a failure and notes the attempt for people. What fails
    /// here is only said: the outcome of the pass stands.
    pub(super) fn finish(&mut self, result: &Result<Done, PassError>) {
        match result {
            Ok(_) => self.collect_old_builds(),
            Err(_) => self.charge_current_stage(),
        }
        let keeps_staging = matches!(result, Ok(_) | Err(PassError::Verify(_)));
        if !keeps_staging {
            sweep_after_failure(self.context, &self.builds);
        }
        let failed_before = self.history.attempts.last().is_some_and(|last| last.error.is_some());
        let (outcome, error) = match result {
            Ok(done) if done.outcome == Outcome::Promoted => ("promoted", None),
            Ok(_) if !failed_before => return,
            Ok(_) => ("unchanged", None),
            Err(PassError::Stopped) => return,
            Err(error) => (error.exit_kind().outcome(), Some(error.to_line())),
        };
        let build =
            result.as_ref().ok().and_then(|done| done.build.clone()).filter(|_| outcome == "promoted");
        // What a command says of its own pass is what is remembered of it.
        let took_ms = result.as_ref().map_or_else(|_| millis(self.started.elapsed()), |done| done.took.total);
        let attempt = AttemptRecord {
            at: (self.context.clock)(),
            trigger: self.options.trigger.clone(),
            outcome: outcome.to_owned(),
            build,
            error,
            counts: self.counts,
            took_ms,
            promote_ms: self.promote_ms,
            stages_ms: Some(self.took.phases(Some(self.promote_ms))),
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
        trigger: job.trigger.clone(),
        outcome: error.exit_kind().outcome().to_owned(),
        build: None,
        error: Some(error.to_line()),
        counts: Counts::default(),
        took_ms: millis(started.elapsed()),
        promote_ms: 0,
        stages_ms: None,
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
