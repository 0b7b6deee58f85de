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
pub(crate) enum Hint {
    /// The database, its `-wal` or its `-journal`.
    Database,
    /// The marker was created, written, touched or replaced.
    Marker,
    /// Events were lost: anything may have happened.
    Everything,
}

/// What is recorded in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cause {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) on_database: bool,
    pub(crate) on_marker: bool,
    pub(crate) quiet: Duration,
    /// How long a database that is never quiet can delay a pass.
    pub(crate) max_wait: Duration,
    pub(crate) marker_quiet: Duration,
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
pub(crate) struct Window {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HintSpan {
    first: Instant,
    last: Instant,
}

impl Window {
    /// A window without hints, with or without a marker still owed.
    #[must_use]
    pub(crate) fn with_owed_marker(owed: bool) -> Self {
        Self { owed, ..Self::default() }
    }

    #[must_use]
    pub(crate) fn record(self, cause: Cause, now: Instant) -> Self {
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
    pub(crate) fn or_owed_marker(self, owed: bool) -> Self {
        Self { owed: self.owed || owed, ..self }
    }

    /// The build ended during which this window was open.
    #[must_use]
    pub(crate) fn after_build(self, end: Instant) -> Self {
        Self { build_ended: Some(end), ..self }
    }

    /// The instant to act; `None` while there is nothing to act on.
    #[must_use]
    pub(crate) fn due(&self, timing: &Timing) -> Option<Instant> {
        [self.database_due(timing), self.urgent_due(timing)].into_iter().flatten().min()
    }

    /// The instant to act on what waits neither for a quiet database nor for
    /// the end of a back-off: the marker, and SIGUSR1.
    #[must_use]
    pub(crate) fn urgent_due(&self, timing: &Timing) -> Option<Instant> {
        [self.marker_due(timing), self.requested].into_iter().flatten().min()
    }

    /// The pass that answers everything in this window.
    #[must_use]
    pub(crate) fn request(&self) -> PassRequest {
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
    pub(crate) fn owes_full_check(&self) -> bool {
        self.owed || self.marker.is_some()
    }

    #[must_use]
    pub(crate) fn has_database(&self) -> bool {
        self.database.is_some()
    }

    #[must_use]
    pub(crate) fn last_hint(&self) -> Option<Instant> {
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
pub(crate) fn after(at: Instant, wait: Duration) -> Instant {
    const FAR_FUTURE: Duration = Duration::from_secs(365 * 24 * 3600);
    at.checked_add(wait).unwrap_or_else(|| at + FAR_FUTURE)
}

#[cfg(test)]
mod tests;
