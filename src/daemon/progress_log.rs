//! What the agent's log says of a running pass.
//!
//! A pass that finds nothing to do logs nothing here. One that builds has a
//! line for each stage, and lines while texts are embedded: soon at first, and
//! less often the longer it takes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::pass::Stage;
use crate::flows::reconcile::PassProgress;

/// When the first line about embedding is due.
const FIRST_LINE_AFTER: Duration = Duration::from_secs(2);
/// The longest time between two such lines.
const MAX_LINE_INTERVAL: Duration = Duration::from_secs(60);

/// The log of one pass.
#[derive(Default)]
pub(super) struct ProgressLog(Mutex<Option<LineSchedule>>);

struct LineSchedule {
    started: Instant,
    next: Duration,
}

impl ProgressLog {
    pub(super) fn update(&self, progress: PassProgress<'_>) {
        match progress {
            PassProgress::Stage(stage @ (Stage::Prepare | Stage::Scan)) => {
                tracing::debug!(%stage, "pass: stage started");
            }
            PassProgress::Stage(stage) => tracing::info!(%stage, "pass: stage started"),
            PassProgress::Note(message) => tracing::info!("pass: {message}"),
            PassProgress::Warning(message) => tracing::warn!("{message}"),
            PassProgress::Embedded { done, total, waiting } => self.log_embedding(done, total, waiting),
            PassProgress::Sent { .. } => {}
        }
    }

    fn log_embedding(&self, done: u64, total: u64, waiting: Option<&str>) {
        let mut schedule = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let schedule =
            schedule.get_or_insert_with(|| LineSchedule { started: Instant::now(), next: FIRST_LINE_AFTER });
        let spent = schedule.started.elapsed();
        if spent < schedule.next {
            return;
        }
        schedule.next = spent + spent.min(MAX_LINE_INTERVAL);
        let left_s = seconds_left(done, total, spent);
        tracing::info!(
            done,
            total,
            left_s = left_s.filter(|_| waiting.is_none()),
            waiting,
            "pass: embedding"
        );
    }
}

/// How long the rest takes at the rate so far; unknown before the first text.
fn seconds_left(done: u64, total: u64, spent: Duration) -> Option<u64> {
    let millis = u64::try_from(spent.as_millis()).ok()?;
    let left = total.saturating_sub(done).checked_mul(millis)?.checked_div(done)?;
    Some(left.div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_the_rate_so_far() {
        let cases =
            [((0, 10, 5), None), ((5, 10, 5), Some(5)), ((10, 10, 5), Some(0)), ((1, 1000, 2), Some(1998))];
        for ((done, total, spent), left) in cases {
            assert_eq!(seconds_left(done, total, Duration::from_secs(spent)), left, "{done} of {total}");
        }
    }
}
