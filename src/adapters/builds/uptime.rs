//! How long the system has run: a clock that cannot be set, and that goes on while the system sleeps.
//!
//! Two instants of one run of the system can be compared whichever process
//! noted them. After a restart the clock begins again, so an instant that it
//! has not reached yet was before that.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// An instant of that clock, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uptime(pub i64);

impl Uptime {
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        Self(now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000))
    }

    /// How much time has passed since an earlier instant, at the least: where the system was restarted in
    /// between, the time that it has run since may be all.
    #[must_use]
    pub fn at_least_since(self, earlier: Self) -> Duration {
        let passed = if earlier <= self { self.0.saturating_sub(earlier.0) } else { self.0 };
        Duration::from_millis(u64::try_from(passed).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_the_time_since_passed_and_after_a_restart_the_time_that_the_system_runs() {
        for (now, earlier, passed) in
            [(900, 300, 600), (900, 900, 0), (900, 5000, 900), (0, 5000, 0), (5, -5, 10)]
        {
            assert_eq!(Uptime(now).at_least_since(Uptime(earlier)), Duration::from_millis(passed));
        }
    }

    #[test]
    fn the_clock_of_the_system_goes_on() {
        let before = Uptime::now();
        assert!(before > Uptime(0) && Uptime::now() >= before);
    }
}
