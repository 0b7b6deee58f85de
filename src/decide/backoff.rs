//! Waits that double with each failure in a row.
//!
//! Never longer than their limit, whatever the number of failures. Jitter, and
//! what counts as a failure, are left to the caller.

use std::time::Duration;

/// `first` after one failure, twice as long after each further one, at most `max`.
#[must_use]
pub(crate) fn doubling(first: Duration, failures: u32, max: Duration) -> Duration {
    let doublings = failures.saturating_sub(1);
    first.saturating_mul(2_u32.saturating_pow(doublings)).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_with_each_failure_up_to_its_limit() {
        let cases = [(0, 3), (1, 3), (2, 6), (3, 12), (8, 384), (9, 500), (33, 500), (u32::MAX, 500)];
        for (failures, seconds) in cases {
            let wait = doubling(Duration::from_secs(3), failures, Duration::from_secs(500));
            assert_eq!(wait, Duration::from_secs(seconds), "{failures} failures");
        }
    }
}
