//! Measures the stages of a pass, and reports each as it begins.
//!
//! Time is charged to the current stage, at the points where the pass says so:
//! preparing is measured by the total alone, and so is what a pass does after
//! it has found that nothing is to be built. A full check of what is served is
//! charged to verifying.

use std::time::{Duration, Instant};

use super::context::{PassContext, PassProgress};
use crate::domain::pass::{Stage, Timings};

pub(super) struct Stopwatch {
    started: Instant,
    lap_started: Instant,
    stage: Stage,
    timings: Timings,
}

impl Stopwatch {
    /// `started`: when the pass began, of which the total is counted.
    pub(super) fn new(started: Instant) -> Self {
        Self { started, lap_started: Instant::now(), stage: Stage::Prepare, timings: Timings::zero() }
    }

    pub(super) fn enter(&mut self, context: &PassContext<'_>, stage: Stage) {
        self.stage = stage;
        (context.progress)(PassProgress::Stage(stage));
    }

    /// Charges the time since the last call to the current stage. After a
    /// failure too: an hour of waiting for a provider must not look like none.
    pub(super) fn lap(&mut self) {
        self.charge(self.stage);
    }

    /// Charges it to a stage whose work was done although it has not begun.
    pub(super) fn charge(&mut self, stage: Stage) {
        let elapsed = millis(self.lap_started.elapsed());
        self.lap_started = Instant::now();
        self.timings.add(stage, elapsed);
    }

    /// The stage at work, or at which the pass ended.
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// The stages so far, and the total up to now.
    pub(super) fn timings(&self) -> Timings {
        self.timings.with_total(millis(self.started.elapsed()))
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
