//! The age of what is cached, which is not the clock's.
//!
//! A wrong clock must cost nothing: neither one that was in the past while
//! vectors came, nor one that jumps between two passes. So the age grows by
//! what the clock moved since the cache was opened before, one day at most, and
//! never goes back. It is a number of seconds that begins with the time of day,
//! because 0.1.0 compares what is stored with that.
//!
//! Pure: the clock is an argument.

use serde::{Deserialize, Serialize};

const DAY: i64 = 24 * 60 * 60;
/// How long a vector is kept that no build uses.
const MAX_AGE: i64 = 30 * DAY;

/// How old the cache is, as of its last opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Age {
    /// What is stored now gets this as its time.
    pub(super) seconds: i64,
    /// What the clock said, in seconds since 1970.
    clock: i64,
    /// The age when a pass last ended well.
    good_end: Option<i64>,
}

impl Age {
    /// Of a cache whose age is not known: everything in it is new.
    pub(super) fn new(now: i64) -> Self {
        Self { seconds: now, clock: now, good_end: None }
    }

    /// The age at an opening after this one.
    pub(super) fn grown(self, now: i64) -> Self {
        let moved = now.saturating_sub(self.clock).clamp(0, DAY);
        let seconds = self.seconds.saturating_add(moved);
        // What is stored from now on must be younger than the pass that ended well.
        let younger = self.good_end.map_or(seconds, |end| end.saturating_add(1));
        Self { seconds: seconds.max(younger), clock: now, ..self }
    }

    /// What the clock said.
    pub(super) fn clock(self) -> i64 {
        self.clock
    }

    /// A pass ends well now.
    pub(super) fn at_good_end(self) -> Self {
        Self { good_end: Some(self.seconds), ..self }
    }

    /// What was stored at this age or before leaves: it is 30 days old, and a pass has ended well since.
    pub(super) fn last_expired(self) -> Option<i64> {
        let old = self.seconds.saturating_sub(MAX_AGE).saturating_sub(1);
        self.good_end.map(|end| end.min(old))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000;
    const YEAR: i64 = 366 * DAY;

    #[test]
    fn age_grows_by_what_the_clock_moved_by_a_day_at_most_and_never_back() {
        let cases = [
            (0, 0),
            (1, 1),
            (DAY, DAY),
            (DAY + 1, DAY),
            (YEAR, DAY),
            (-1, 0),
            (-YEAR, 0),
            (i64::MIN, 0),
            (i64::MAX, DAY),
        ];
        for (moved, expected) in cases {
            let later = Age::new(NOW).grown(NOW.saturating_add(moved));
            assert_eq!(later.seconds - NOW, expected, "{moved}");
            // A clock that is set right again is not a jump from the first one.
            assert!(later.grown(NOW).seconds - NOW <= expected + DAY, "{moved}");
        }
    }

    #[test]
    fn what_is_stored_leaves_after_thirty_days_and_a_pass_that_ended_well() {
        for (days, ends_well, expected) in [(30, true, false), (31, true, true), (400, false, false)] {
            let mut age = Age::new(NOW);
            let stored = age.seconds;
            for day in 1..=days {
                age = age.grown(NOW + day * DAY);
                if ends_well {
                    age = age.at_good_end();
                }
            }
            assert_eq!(age.last_expired().is_some_and(|last| stored <= last), expected, "{days} {ends_well}");
        }
    }

    #[test]
    fn what_came_after_a_pass_that_ended_well_waits_for_another_one() {
        for clock in [NOW, NOW - YEAR, NOW + YEAR] {
            let mut age = Age::new(NOW).at_good_end().grown(clock);
            let stored = age.seconds;
            for day in 1..400 {
                age = age.grown(clock + day * DAY);
            }
            assert!(age.last_expired().is_some_and(|last| stored > last), "{clock}");
            assert!(age.at_good_end().last_expired().is_some_and(|last| stored <= last), "{clock}");
        }
    }

    #[test]
    fn no_three_jumps_of_a_year_age_anything_by_more_than_a_day_each() {
        let years = [-1, 0, 1];
        for first in years {
            for second in years {
                for third in years {
                    let mut age = Age::new(NOW + first * YEAR);
                    let began = age.seconds;
                    for (nth, jump) in (1..).zip([second, third, 0]) {
                        let before = age.seconds;
                        age = age.grown(NOW + jump * YEAR).at_good_end();
                        assert!(age.seconds >= before && age.seconds - began <= nth * (DAY + 1));
                    }
                    assert!(age.last_expired().is_some_and(|last| last < began));
                }
            }
        }
    }
}
