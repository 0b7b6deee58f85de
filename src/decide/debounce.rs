//! When to act on hints: they and the time go in, an instant comes out.
//!
//! A [`Window`] records what arrived since the last scan. A database hint is
//! acted on once `quiet` has passed without another, and at the latest
//! `max_wait` after the first; a marker after `marker_quiet`, whatever the
//! database does. A window opened while a build ran keeps the instants of its
//! hints, yet leaves a pause after that build, so that a writer that never
//! pauses cannot make builds follow each other without one.
//!
//! Pure: no clock, no waiting. Whether anything differs is what the scan finds.

use std::time::{Duration, Instant};

use crate::config;
use crate::domain::pass::{PassRequest, Trigger};

/// What may have changed, as the watch reports it: a reason to scan, never a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hint {
    /// The database, its `-wal` or its `-journal`.
    Database,
    /// The marker was created, written, touched or replaced.
    Marker,
    /// Events were lost: anything may have happened.
    Everything,
}

/// What is recorded in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The database changed.
    Database,
    /// The marker was created, written, touched or replaced.
    Marker,
    /// The resync found a difference, or an hour had passed.
    Resync,
    /// The settings were read again, and are in force as far as they can be.
    Reload,
    /// SIGUSR1.
    Request,
}

/// The settings that decide when to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Changes of the database are acted on.
    pub on_database: bool,
    /// Touches of the marker are acted on.
    pub on_marker: bool,
    /// How long the database must be quiet.
    pub quiet: Duration,
    /// How long a database that is never quiet can delay a pass.
    pub max_wait: Duration,
    /// How long the marker must be quiet.
    pub marker_quiet: Duration,
}

impl From<&config::TriggerSettings> for Timing {
    fn from(settings: &config::TriggerSettings) -> Self {
        Self {
            on_database: settings.on.database,
            on_marker: settings.on.marker,
            quiet: settings.quiet,
            max_wait: settings.max_wait,
            marker_quiet: settings.marker_quiet,
        }
    }
}

/// What arrived since the last scan, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    database: Option<HintSpan>,
    /// What opened the database's part.
    trigger: Option<Trigger>,
    marker: Option<HintSpan>,
    requested: Option<Instant>,
    /// A marker whose pass failed before its end. It waits for the next pass,
    /// but it does not start one.
    owed: bool,
    /// When the build ended during which this window was opened.
    build_ended: Option<Instant>,
}

/// The first and the last of some hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HintSpan {
    first: Instant,
    last: Instant,
}

impl Window {
    /// A window without hints, with or without a marker still owed.
    #[must_use]
    pub fn with_owed_marker(owed: bool) -> Self {
        Self { owed, ..Self::default() }
    }

    /// Adds what happened.
    #[must_use]
    pub fn record(self, cause: Cause, now: Instant) -> Self {
        match cause {
            Cause::Database => self.database(Trigger::Database, now),
            Cause::Reload => self.database(Trigger::Reload, now),
            // A resync counts like a hint, but does not delay a window that is already open.
            Cause::Resync if self.has_database() => self,
            Cause::Resync => self.database(Trigger::Resync, now),
            Cause::Marker => Self { marker: Some(HintSpan::extended(self.marker, now)), ..self },
            Cause::Request => Self { requested: self.requested.or(Some(now)), ..self },
        }
    }

    fn database(self, trigger: Trigger, now: Instant) -> Self {
        let database = Some(HintSpan::extended(self.database, now));
        Self { database, trigger: self.trigger.or(Some(trigger)), ..self }
    }

    /// Leaves a marker owed, in addition to what the window holds.
    #[must_use]
    pub fn or_owed_marker(self, owed: bool) -> Self {
        Self { owed: self.owed || owed, ..self }
    }

    /// The build ended during which this window was open.
    #[must_use]
    pub fn after_build(self, end: Instant) -> Self {
        Self { build_ended: Some(end), ..self }
    }

    /// The instant to act; `None` while there is nothing to act on.
    #[must_use]
    pub fn due(&self, timing: &Timing) -> Option<Instant> {
        [self.database_due(timing), self.urgent_due(timing)].into_iter().flatten().min()
    }

    /// The instant to act on what waits neither for a quiet database nor for
    /// the end of a back-off: the marker, and SIGUSR1.
    #[must_use]
    pub fn urgent_due(&self, timing: &Timing) -> Option<Instant> {
        [self.marker_due(timing), self.requested].into_iter().flatten().min()
    }

    /// The pass that answers everything in this window.
    #[must_use]
    pub fn request(&self) -> PassRequest {
        let trigger = if self.requested.is_some() {
            Trigger::Signal
        } else if self.marker.is_some() {
            Trigger::Marker
        } else {
            self.trigger.unwrap_or(Trigger::Database)
        };
        PassRequest { trigger, full_check: self.owes_full_check() }
    }

    /// Whether the next pass must verify the served files in full.
    #[must_use]
    pub fn owes_full_check(&self) -> bool {
        self.owed || self.marker.is_some()
    }

    /// Whether a change of the database waits for a scan.
    #[must_use]
    pub fn has_database(&self) -> bool {
        self.database.is_some()
    }

    /// The last hint of any kind.
    #[must_use]
    pub fn last_hint(&self) -> Option<Instant> {
        [self.database, self.marker].into_iter().flatten().map(|span| span.last).max()
    }

    fn database_due(&self, timing: &Timing) -> Option<Instant> {
        self.database.map(|span| {
            let latest = after(span.first, timing.max_wait);
            // The ceiling of a window opened during a long build may lie before
            // that build's end; the pause is kept all the same.
            let latest = self.build_ended.map_or(latest, |end| latest.max(after(end, timing.quiet)));
            after(span.last, timing.quiet).min(latest)
        })
    }

    fn marker_due(&self, timing: &Timing) -> Option<Instant> {
        self.marker.map(|span| {
            let due = after(span.last, timing.marker_quiet).min(after(span.first, timing.max_wait));
            self.build_ended.map_or(due, |end| due.max(after(end, timing.marker_quiet)))
        })
    }
}

impl HintSpan {
    fn extended(span: Option<Self>, now: Instant) -> Self {
        Self { first: span.map_or(now, |span| span.first), last: now }
    }
}

/// `at + wait`, or a year from then where the clock cannot represent the sum.
#[must_use]
pub fn after(at: Instant, wait: Duration) -> Instant {
    const FAR_FUTURE: Duration = Duration::from_secs(365 * 24 * 3600);
    at.checked_add(wait).unwrap_or_else(|| at + FAR_FUTURE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMING: Timing = Timing {
        on_database: true,
        on_marker: true,
        quiet: Duration::from_secs(30),
        max_wait: Duration::from_secs(600),
        marker_quiet: Duration::from_millis(250),
    };

    #[derive(Clone, Copy, Debug)]
    enum Input {
        Database(u64),
        Marker(u64),
        Requested(u64),
        BuildEnded(u64),
    }
    use Input::{BuildEnded, Database, Marker, Requested};

    /// When the window that saw these, at these milliseconds, is due.
    fn due(origin: Instant, inputs: &[Input]) -> Option<u64> {
        let at = |ms| origin + Duration::from_millis(ms);
        let window = inputs.iter().fold(Window::default(), |window, &input| match input {
            Database(ms) => window.record(Cause::Database, at(ms)),
            Marker(ms) => window.record(Cause::Marker, at(ms)),
            Requested(ms) => window.record(Cause::Request, at(ms)),
            BuildEnded(ms) => window.after_build(at(ms)),
        });
        window.due(&TIMING).map(|due| u64::try_from((due - origin).as_millis()).unwrap())
    }

    #[test]
    fn each_window_is_due_when_its_hints_say() {
        let steady: Vec<Input> = (0..700).map(|second| Database(second * 1000)).collect();
        let touched: Vec<Input> = (0..7000).map(|tenth| Marker(tenth * 100)).collect();
        let table: &[(&str, &[Input], Option<u64>)] = &[
            ("nothing arrived", &[], None),
            ("one hint", &[Database(5)], Some(30_005)),
            ("a second hint restarts the quiet time", &[Database(5), Database(20_000)], Some(50_000)),
            ("a steady writer is waited for no longer than max_wait", &steady, Some(600_000)),
            ("a marker", &[Marker(5)], Some(255)),
            ("a marker touched again", &[Marker(5), Marker(100)], Some(350)),
            ("a marker that is touched without end", &touched, Some(600_000)),
            ("a marker cuts a window short", &[Database(5), Marker(1000)], Some(1250)),
            ("a hint does not put a marker off", &[Marker(1000), Database(1100)], Some(1250)),
            ("a request is due at once", &[Database(5), Requested(7), Requested(9)], Some(7)),
            ("a hint long before the build's end", &[Database(5), BuildEnded(100_000)], Some(30_005)),
            (
                "a hint shortly before it",
                &[Database(5), Database(99_000), BuildEnded(100_000)],
                Some(129_000),
            ),
            (
                "a steady writer during a build longer than max_wait",
                &[Database(5), Database(999_900), BuildEnded(1_000_000)],
                Some(1_029_900),
            ),
            (
                "one that goes on writing after it",
                &[Database(5), BuildEnded(1_000_000), Database(1_000_100), Database(1_029_000)],
                Some(1_030_000),
            ),
            ("a marker during a build", &[Marker(5), BuildEnded(100_000)], Some(100_250)),
            ("a request during a build", &[Requested(5), BuildEnded(100_000)], Some(5)),
        ];
        let origin = Instant::now();
        for &(what, inputs, expected) in table {
            assert_eq!(due(origin, inputs), expected, "{what}");
        }
    }

    #[test]
    fn a_window_asks_for_the_pass_that_answers_all_of_it() {
        let now = Instant::now();
        let request = |trigger, full_check| PassRequest { trigger, full_check };
        let database = Window::default().record(Cause::Database, now);
        let table = [
            (database, request(Trigger::Database, false)),
            (database.record(Cause::Reload, now), request(Trigger::Database, false)),
            (Window::default().record(Cause::Reload, now), request(Trigger::Reload, false)),
            (database.record(Cause::Marker, now), request(Trigger::Marker, true)),
            (database.record(Cause::Marker, now).record(Cause::Request, now), request(Trigger::Signal, true)),
            (database.or_owed_marker(true), request(Trigger::Database, true)),
        ];
        for (window, expected) in table {
            assert_eq!(window.request(), expected, "{window:?}");
        }
    }

    #[test]
    fn an_owed_marker_alone_does_not_start_a_pass() {
        assert_eq!(Window::with_owed_marker(true).due(&TIMING), None);
    }

    #[test]
    fn settings_beyond_the_range_of_the_clock_mean_never() {
        let timing = Timing { quiet: Duration::MAX, max_wait: Duration::MAX, ..TIMING };
        let now = Instant::now();
        let due = Window::default().record(Cause::Database, now).due(&timing);
        assert!(due.is_some_and(|due| due > now + Duration::from_secs(24 * 3600)));
    }

    proptest! {
        #[test]
        fn hints_without_a_build_are_due_within_max_wait_of_the_first(
            gaps in prop::collection::vec((0_u64..60_000, any::<bool>()), 1..80)
        ) {
            let mut at = 0;
            let inputs: Vec<Input> = gaps
                .into_iter()
                .map(|(gap, marker)| {
                    at += gap;
                    if marker { Marker(at) } else { Database(at) }
                })
                .collect();
            let (Database(first) | Marker(first) | Requested(first) | BuildEnded(first)) = inputs[0];
            let due = due(Instant::now(), &inputs).expect("a hint arrived");
            prop_assert!(due <= first + 600_000);
        }
    }
}
