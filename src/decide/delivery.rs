//! Decides when a target is due, and how long to wait after a failed delivery.
//!
//! A target is due while the build that it certainly received last is not the
//! served one, whatever the reason and the caller. A failed delivery is
//! retried with growing waits, without end: only the newest build counts.
//!
//! Pure. `deliver` records what was received; the daemon waits.

use std::time::Duration;

use crate::decide::backoff::doubling;
use crate::domain::pass::Retry;

const FIRST_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(5 * 60);
/// The wait for a quota of the target, which lasts for hours.
const QUOTA_WAIT: Duration = Duration::from_secs(3600);

/// Whether the served build is still to be delivered to a target that certainly received `received` last.
#[must_use]
pub(crate) fn is_due(received: Option<&str>, served: Option<&str>) -> bool {
    served.is_some() && served != received
}

/// How long to wait after this many failures in a row; `None` if only another
/// build or other settings can help.
#[must_use]
pub(crate) fn wait_after(retry: Retry, failures: u32) -> Option<Duration> {
    match retry {
        Retry::Soon { wait } => Some(doubling(FIRST_WAIT, failures, MAX_WAIT).max(wait.unwrap_or_default())),
        Retry::Hourly => Some(QUOTA_WAIT),
        Retry::OnChange => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_due_until_it_received_the_served_build() {
        let cases = [
            (None, None, false),
            (None, Some("a"), true),
            (Some("a"), Some("a"), false),
            (Some("a"), Some("b"), true),
            (Some("a"), None, false),
        ];
        for (received, served, expected) in cases {
            assert_eq!(is_due(received, served), expected, "{received:?} {served:?}");
        }
    }

    #[test]
    fn waits_double_from_a_second_to_five_minutes() {
        let cases = [(0, 1), (1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (11, 300), (u32::MAX, 300)];
        for (failures, seconds) in cases {
            let wait = wait_after(Retry::Soon { wait: None }, failures);
            assert_eq!(wait, Some(Duration::from_secs(seconds)), "{failures} failures");
        }
    }

    #[test]
    fn a_wait_is_as_long_as_the_target_asks_and_none_if_waiting_cannot_help() {
        let soon = |seconds| Retry::Soon { wait: Some(Duration::from_secs(seconds)) };
        let cases = [
            (soon(0), 1, Some(1)),
            (soon(7), 1, Some(7)),
            (soon(7), 4, Some(8)),
            (soon(900), 20, Some(900)),
            (Retry::Hourly, 1, Some(3600)),
            (Retry::Hourly, 20, Some(3600)),
            (Retry::OnChange, 1, None),
        ];
        for (retry, failures, seconds) in cases {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(wait_after(retry, failures), expected, "{retry:?} {failures}");
        }
    }
}
