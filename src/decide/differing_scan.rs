//! Whether a scan differs because a file was written, or by itself.
//!
//! A query may say `date('now')`: then its rows are others although no process
//! wrote any. Acting on each such scan would make a build at every pass, so it
//! is acted on at most once an hour, unless a person asks for it.
//!
//! Pure. What is remembered of the last scan is `history`'s.

use std::time::Duration;

/// Between two builds for such a scan. A little less than an hour, so that the pass that the agent makes
/// once an hour in any case does not come a moment too early.
pub const MIN_INTERVAL: Duration = Duration::from_secs(58 * 60);

/// Why a scan differs from the one that the served build was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The files or the settings are others, or it is not known that they are not.
    Written,
    /// Nothing was written.
    ByItself { is_due: bool },
}

/// `is_same_source`: files and settings are those of the scan before; `is_asked_for`: a person wants a build
/// now; `since`: at least so much time has passed since that scan.
#[must_use]
pub fn difference(is_same_source: bool, is_asked_for: bool, since: Duration) -> Difference {
    if is_same_source {
        Difference::ByItself { is_due: is_asked_for || since >= MIN_INTERVAL }
    } else {
        Difference::Written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_that_differs_by_itself_waits_for_the_hour_or_for_a_wish() {
        let (waits, due) = (Difference::ByItself { is_due: false }, Difference::ByItself { is_due: true });
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let cases = [
            // same source, asked for, since
            (false, false, minutes(0), Difference::Written),
            (false, true, minutes(90), Difference::Written),
            (true, false, minutes(0), waits),
            (true, false, minutes(57), waits),
            (true, false, minutes(58), due),
            (true, true, minutes(0), due),
        ];
        for (is_same_source, is_asked_for, since, expected) in cases {
            let found = difference(is_same_source, is_asked_for, since);
            assert_eq!(found, expected, "{is_same_source} {is_asked_for} {since:?}");
        }
    }
}
