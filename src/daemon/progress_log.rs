//! What the agent's log says of a pass while it goes on.
//!
//! A pass that finds nothing to do says nothing here. One that builds has a
//! line for each phase, and while texts are bought a line now and then: soon
//! at first, ever more rarely in a purchase that takes hours.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::pass::Stage;
use crate::flows::reconcile::PassProgress;

/// When the first line of a purchase is due.
const FIRST_LINE_AFTER: Duration = Duration::from_secs(2);
/// The longest that a purchase goes on without a line.
const MAX_LINE_INTERVAL: Duration = Duration::from_secs(300);

/// Tells the log of one pass.
#[derive(Default)]
pub(super) struct ProgressLog(Mutex<Option<LineSchedule>>);

struct LineSchedule {
    started: Instant,
    next: Duration,
}

impl ProgressLog {
    /// Takes what goes on.
    pub(super) fn update(&self, now: PassProgress<'_>) {
        match now {
            PassProgress::Stage(phase @ (Stage::Prepare | Stage::Scan)) => tracing::debug!(%phase, "pass"),
            PassProgress::Stage(phase) => tracing::info!(%phase, "pass"),
            PassProgress::Warning(words) => tracing::warn!("{words}"),
            PassProgress::Embedded { done, total, waiting } => self.log_embedding(done, total, waiting),
        }
    }

    fn log_embedding(&self, done: u64, total: u64, waiting: Option<&str>) {
        let mut purchase = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let purchase =
            purchase.get_or_insert_with(|| LineSchedule { started: Instant::now(), next: FIRST_LINE_AFTER });
        let spent = purchase.started.elapsed();
        if spent < purchase.next {
            return;
        }
        purchase.next = spent + spent.min(MAX_LINE_INTERVAL);
        let left_s = seconds_left(done, total, spent);
        tracing::info!(done, total, left_s = left_s.filter(|_| waiting.is_none()), waiting, "embedding");
    }
}

/// How long the rest takes at the pace so far; unknown before the first text.
fn seconds_left(done: u64, total: u64, spent: Duration) -> Option<u64> {
    let millis = u64::try_from(spent.as_millis()).ok()?;
    let left = total.saturating_sub(done).checked_mul(millis)?.checked_div(done)?;
    Some(left.div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_the_pace_so_far() {
        let cases =
            [((0, 10, 5), None), ((5, 10, 5), Some(5)), ((10, 10, 5), Some(0)), ((1, 1000, 2), Some(1998))];
        for ((done, total, spent), left) in cases {
            assert_eq!(seconds_left(done, total, Duration::from_secs(spent)), left, "{done} of {total}");
        }
    }
}
