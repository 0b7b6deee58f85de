//! Counts passes that found nothing, for one line an hour.
//!
//! Each of them alone is not worth a line of an operator's log; that none
//! appears at all would look like an agent that does nothing.
//!
//! Pure: instants are arguments.

use std::time::{Duration, Instant};

/// How often such a line is due.
const INTERVAL: Duration = Duration::from_secs(3600);

/// Passes since the last line.
#[derive(Debug, Default)]
pub(super) struct QuietPasses {
    count: u64,
    /// When the first of them ended.
    since: Option<Instant>,
}

impl QuietPasses {
    /// A pass found nothing.
    pub(super) fn add(&mut self, now: Instant) {
        self.count += 1;
        self.since.get_or_insert(now);
    }

    /// How many there were, once a line about them is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u64> {
        let is_due = self.since.is_some_and(|since| now.saturating_duration_since(since) >= INTERVAL);
        is_due.then(|| std::mem::take(self).count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_that_found_nothing_have_one_line_an_hour() {
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let mut quiet = QuietPasses::default();
        assert_eq!(quiet.take_due(at(600)), None, "there was none");

        for minute in 0..59 {
            quiet.add(at(minute));
            assert_eq!(quiet.take_due(at(minute)), None);
        }
        assert_eq!(quiet.take_due(at(60)), Some(59));
        assert_eq!(quiet.take_due(at(60)), None, "each is counted once");

        quiet.add(at(100));
        assert_eq!((quiet.take_due(at(159)), quiet.take_due(at(160))), (None, Some(1)));
    }
}
