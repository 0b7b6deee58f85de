//! What a pass leaves behind: no staging of its own, no builds that nobody needs, one line for people.

use std::time::Instant;

use super::{Done, Job, Outcome, Pass, PassError, Progress, World, millis};
use crate::adapters::builds::state::{Attempt, State};
use crate::adapters::builds::{Builds, sweep, with_cause};
use crate::domain::manifest::Counts;

impl Pass<'_> {
    /// Clears up after a failure and notes the attempt for people. What fails
    /// here is only said: the outcome of the pass stands.
    pub(super) fn leave(&mut self, result: &Result<Done, PassError>) {
        match result {
            Ok(_) => self.tidy(),
            Err(_) => self.broke_off(),
        }
        let keeps_staging = matches!(result, Ok(_) | Err(PassError::Verify(_)));
        if !keeps_staging {
            clear_up(self.world, &self.builds);
        }
        let failed_before = self.state.attempts.last().is_some_and(|last| last.error.is_some());
        let (outcome, error) = match result {
            Ok(done) if done.outcome == Outcome::Promoted => ("promoted", None),
            Ok(_) if !failed_before => return,
            Ok(_) => ("unchanged", None),
            Err(PassError::Stopped) => return,
            Err(error) => (error.verdict().word(), Some(error.words())),
        };
        let build =
            result.as_ref().ok().and_then(|done| done.build.clone()).filter(|_| outcome == "promoted");
        // What a command says of its own pass is what is remembered of it.
        let took_ms = result.as_ref().map_or_else(|_| millis(self.started.elapsed()), |done| done.took.total);
        let attempt = Attempt {
            at: (self.world.clock)(),
            trigger: self.job.trigger.clone(),
            outcome: outcome.to_owned(),
            build,
            error,
            counts: self.counts,
            took_ms,
            promote_ms: self.promote_ms,
            phases_ms: Some(self.took.phases(Some(self.promote_ms))),
        };
        note(self.world, &self.builds, &mut self.state, attempt);
    }
}

/// A pass that could not begin: an adoption that broke off leaves nothing half made behind.
pub(super) fn broken_off(world: &World<'_>, job: &Job, builds: &Builds, started: Instant, error: &PassError) {
    clear_up(world, builds);
    if matches!(error, PassError::Stopped) {
        return;
    }
    let attempt = Attempt {
        at: (world.clock)(),
        trigger: job.trigger.clone(),
        outcome: error.verdict().word().to_owned(),
        build: None,
        error: Some(error.words()),
        counts: Counts::default(),
        took_ms: millis(started.elapsed()),
        promote_ms: 0,
        phases_ms: None,
    };
    // A state that cannot be read is why it could not begin, and is not written over.
    if let Ok((mut state, _)) = State::load(&builds.layout) {
        note(world, builds, &mut state, attempt);
    }
}

/// Removes what a pass that failed left unproven.
pub(super) fn clear_up(world: &World<'_>, builds: &Builds) {
    if let Err(error) = sweep::sweep(builds) {
        (world.progress)(Progress::Warning(&with_cause(&error)));
    }
}

fn note(world: &World<'_>, builds: &Builds, state: &mut State, attempt: Attempt) {
    state.attempted(attempt);
    if let Err(error) = state.save(&builds.layout) {
        (world.progress)(Progress::Warning(&with_cause(&error)));
    }
}
