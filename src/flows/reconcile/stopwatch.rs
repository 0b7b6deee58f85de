//! Measures the stages of a pass, and reports each as it begins.
//!
//! Time is charged to the current stage, at the points where the pass says so:
//! preparing is measured by the total alone, and so is what a pass does after
//! it has found that nothing is to be built.

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
        let elapsed = millis(self.lap_started.elapsed());
        self.lap_started = Instant::now();
        self.timings.add(self.stage, elapsed);
    }

    /// The stages so far, and the total up to now.
    pub(super) fn timings(&self) -> Timings {
        self.timings.with_total(millis(self.started.elapsed()))
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
