//! When to sleep, build, back off and stop.
//!
//! One enum, one total function: [`next`] takes the phase, what happened and
//! the time, and gives the next phase and the one thing to do. At most one
//! pass runs at a time, a marker is owed until a pass has answered it, and
//! nothing follows [`Phase::Stopping`].
//!
//! A commit becomes visible a little after the event that tells of it. So a
//! look that began within [`VISIBLE_AFTER`] of a hint is repeated until that
//! time has passed, unless it failed and is tried again anyway.
//!
//! Pure: no clock, no log, no waiting. Instants are monotonic, so that a clock
//! set back changes nothing; a suspended machine goes on waiting where it left
//! off. Hints reach this machine filtered by `agent`, which knows their paths.

use std::fmt;
use std::time::{Duration, Instant};

use crate::decide::debounce::{Timing, Window, after};
use crate::domain::pass::{Cure, PassOutcome, PassRequest, Trigger};

pub use attempt::{Look, VISIBLE_AFTER};

mod attempt;

/// The first wait after a failure that time may cure; each further one is twice as long.
pub const FIRST_RETRY: Duration = Duration::from_secs(30);
/// The longest wait of our own after a failure, and the one for a quota.
pub const LONGEST_RETRY: Duration = Duration::from_secs(3600);
/// The shortest wait that a provider can ask for: one that says "at once" each
/// time must not make us call it in a tight circle.
const SHORTEST_ASKED: Duration = Duration::from_secs(1);
/// The longest wait that a provider can ask for: by then a daily quota is back.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);
/// How soon to try a lock again that another process holds; each further time twice as long.
const FIRST_LOCK_WAIT: Duration = Duration::from_secs(1);
/// The longest wait for that lock.
const LONGEST_LOCK_WAIT: Duration = Duration::from_secs(10);

/// What the agent is at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// Nothing has changed since the last attempt.
    Idle {
        /// A marker that a failed pass left: it goes into the next one.
        owed: bool,
    },
    /// Something changed; waiting for quiet, but never past `max_wait`.
    Settling {
        /// What came in.
        window: Window,
    },
    /// The last look followed a hint too closely to be the last word.
    Repeating {
        /// That look.
        look: Look,
        /// When to look again.
        at: Instant,
        /// What came in since it began.
        window: Window,
    },
    /// A pass is running.
    Building {
        /// The pass.
        look: Look,
        /// What came in since it began, from the first hint on.
        window: Window,
    },
    /// The last pass could not be done, and time may cure it.
    BackingOff {
        /// What is still to be done.
        look: Look,
        /// When to try again.
        until: Instant,
        /// What came in since the last try.
        window: Window,
    },
    /// SIGTERM was heard. No phase follows this one.
    Stopping,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// The agent came up: swept, watching.
    Started {
        /// There is a served build.
        served: bool,
        /// The marker was touched since it was last acted on.
        marker_owed: bool,
    },
    /// The database changed.
    Database,
    /// The marker was created, written, touched or replaced.
    Marker,
    /// The slow round found a difference, or an hour had passed.
    Resync,
    /// SIGUSR1.
    Asked,
    /// SIGHUP.
    Reload,
    /// The settings were read again, and are in force as far as they could be.
    Reloaded,
    /// The instant of [`Phase::due`] has come.
    Due,
    /// The running pass ended.
    Ended {
        /// What became of it.
        outcome: PassOutcome,
        /// Any number from 0 to 1: how much of the possible jitter to use.
        jitter: f64,
    },
    /// SIGTERM or SIGINT.
    Stop,
}

/// The one thing to do on the way into the next phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Wait for the next event, until [`Phase::due`] at the latest.
    Wait,
    /// Begin a pass.
    Build(PassRequest),
    /// Read the settings again.
    Reload,
    /// Cancel what runs, wait for it, sweep and leave.
    Stop,
}

/// Decides what follows when `event` happens in `phase`.
#[must_use]
pub fn next(phase: Phase, event: Event, now: Instant, timing: &Timing) -> (Phase, Action) {
    if !heeded(event, timing) {
        return (phase, Action::Wait);
    }
    match phase {
        Phase::Idle { owed } => idle(owed, event, now, timing),
        Phase::Settling { window } => settling(window, event, now, timing),
        Phase::Repeating { look, at, window } => repeating(look, at, window, event, now, timing),
        Phase::Building { look, window } => building(look, window, event, now, timing),
        Phase::BackingOff { look, until, window } => backing_off(look, until, window, event, now, timing),
        Phase::Stopping => (Phase::Stopping, Action::Wait),
    }
}

impl Phase {
    /// When to say [`Event::Due`]; `None` where only an event can change anything.
    #[must_use]
    pub fn due(&self, timing: &Timing) -> Option<Instant> {
        match self {
            Self::Idle { .. } | Self::Building { .. } | Self::Stopping => None,
            Self::Settling { window } => window.due(timing),
            Self::Repeating { at, window, .. } => Some(earlier(*at, window.due(timing))),
            Self::BackingOff { until, window, .. } => Some(earlier(*until, window.urgent_due(timing))),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle { .. } => "idle",
            Self::Settling { .. } => "settling",
            Self::Repeating { .. } => "repeating",
            Self::Building { .. } => "building",
            Self::BackingOff { look, .. } if look.locked_out > 0 => "waiting_for_lock",
            Self::BackingOff { .. } => "backing_off",
            Self::Stopping => "stopping",
        })
    }
}

/// With `on = ["marker"]` the database is nobody's reason to act, and the other way round.
fn heeded(event: Event, timing: &Timing) -> bool {
    match event {
        Event::Database | Event::Resync | Event::Reloaded => timing.on_database,
        Event::Marker => timing.on_marker,
        Event::Started { .. }
        | Event::Asked
        | Event::Reload
        | Event::Due
        | Event::Ended { .. }
        | Event::Stop => true,
    }
}

fn idle(owed: bool, event: Event, now: Instant, timing: &Timing) -> (Phase, Action) {
    let window = Window::owing(owed);
    match event {
        Event::Started { served, marker_owed } => {
            let marker_owed = marker_owed && timing.on_marker;
            if timing.on_database || marker_owed || !served {
                let request = PassRequest { trigger: Trigger::Start, full_check: marker_owed };
                begin(Look::new(request, None, now), Window::default())
            } else {
                (Phase::Idle { owed }, Action::Wait)
            }
        }
        Event::Resync => look_at(window.database(Trigger::Resync, now), now),
        Event::Asked => look_at(window.asked(now), now),
        Event::Database => (rest(window.database(Trigger::Database, now), timing), Action::Wait),
        Event::Marker => (rest(window.marker(now), timing), Action::Wait),
        Event::Reloaded => (rest(window.database(Trigger::Reload, now), timing), Action::Wait),
        Event::Reload => (Phase::Idle { owed }, Action::Reload),
        Event::Due | Event::Ended { .. } => (Phase::Idle { owed }, Action::Wait),
        Event::Stop => (Phase::Stopping, Action::Stop),
    }
}

fn settling(window: Window, event: Event, now: Instant, timing: &Timing) -> (Phase, Action) {
    let stay = |window, action| (Phase::Settling { window }, action);
    match event {
        Event::Due if is_past(window.due(timing), now) => look_at(window, now),
        Event::Asked => look_at(window.asked(now), now),
        Event::Database => stay(window.database(Trigger::Database, now), Action::Wait),
        Event::Marker => stay(window.marker(now), Action::Wait),
        Event::Resync => stay(resynced(window, now), Action::Wait),
        Event::Reloaded => stay(window.database(Trigger::Reload, now), Action::Wait),
        Event::Reload => stay(window, Action::Reload),
        Event::Started { .. } | Event::Due | Event::Ended { .. } => stay(window, Action::Wait),
        Event::Stop => (Phase::Stopping, Action::Stop),
    }
}

fn repeating(
    look: Look,
    at: Instant,
    window: Window,
    event: Event,
    now: Instant,
    timing: &Timing,
) -> (Phase, Action) {
    let stay = |window, action| (Phase::Repeating { look, at, window }, action);
    match event {
        Event::Due if is_past(window.due(timing), now) => {
            begin(look.overtaken(window, now), Window::default())
        }
        // The window stays open: its hints have a time of their own, and if each
        // repeated look answered them, a steady writer would keep us looking.
        Event::Due if at <= now => begin(look.repeated(now), window),
        Event::Asked => begin(look.overtaken(window.asked(now), now), Window::default()),
        Event::Database => stay(window.database(Trigger::Database, now), Action::Wait),
        Event::Marker => stay(window.marker(now), Action::Wait),
        Event::Resync => stay(resynced(window, now), Action::Wait),
        Event::Reloaded => stay(window.database(Trigger::Reload, now), Action::Wait),
        Event::Reload => stay(window, Action::Reload),
        Event::Started { .. } | Event::Due | Event::Ended { .. } => stay(window, Action::Wait),
        Event::Stop => (Phase::Stopping, Action::Stop),
    }
}

fn building(look: Look, window: Window, event: Event, now: Instant, timing: &Timing) -> (Phase, Action) {
    let stay = |window, action| (Phase::Building { look, window }, action);
    match event {
        Event::Ended { outcome, jitter } => {
            (ended(look, window.after_build(now), outcome, jitter, now, timing), Action::Wait)
        }
        Event::Asked => stay(window.asked(now), Action::Wait),
        Event::Database => stay(window.database(Trigger::Database, now), Action::Wait),
        Event::Marker => stay(window.marker(now), Action::Wait),
        Event::Resync => stay(resynced(window, now), Action::Wait),
        Event::Reloaded => stay(window.database(Trigger::Reload, now), Action::Wait),
        Event::Reload => stay(window, Action::Reload),
        Event::Started { .. } | Event::Due => stay(window, Action::Wait),
        Event::Stop => (Phase::Stopping, Action::Stop),
    }
}

fn backing_off(
    look: Look,
    until: Instant,
    window: Window,
    event: Event,
    now: Instant,
    timing: &Timing,
) -> (Phase, Action) {
    let stay = |window, action| (Phase::BackingOff { look, until, window }, action);
    match event {
        Event::Due if is_past(window.urgent_due(timing), now) => {
            begin(look.urged(&window, now), Window::default())
        }
        Event::Due if until <= now => begin(look.tried_again(&window, now), Window::default()),
        Event::Asked => begin(look.urged(&window.asked(now), now), Window::default()),
        Event::Database => stay(window.database(Trigger::Database, now), Action::Wait),
        Event::Marker => stay(window.marker(now), Action::Wait),
        Event::Resync => stay(resynced(window, now), Action::Wait),
        Event::Reloaded => stay(window.database(Trigger::Reload, now), Action::Wait),
        Event::Reload => stay(window, Action::Reload),
        Event::Started { .. } | Event::Due | Event::Ended { .. } => stay(window, Action::Wait),
        Event::Stop => (Phase::Stopping, Action::Stop),
    }
}

/// Where the end of a pass leads. `window`: what came in while it ran.
fn ended(
    look: Look,
    window: Window,
    outcome: PassOutcome,
    jitter: f64,
    now: Instant,
    timing: &Timing,
) -> Phase {
    let back_off = |look, wait| Phase::BackingOff { look, until: after(now, wait), window };
    match outcome {
        PassOutcome::Unchanged => match look.repeat_soon(now) {
            Some(at) => Phase::Repeating { look: look.answered(), at, window },
            None => rest(window, timing),
        },
        // What was not yet visible then is looked for once more, unless hints
        // that came since ask for a look anyway: a steady writer must not make
        // builds follow each other without a pause.
        PassOutcome::Promoted | PassOutcome::Refused | PassOutcome::Held => {
            match look.repeat_once(&window, now) {
                Some(at) => Phase::Repeating { look: look.answered(), at, window },
                None => rest(window, timing),
            }
        }
        PassOutcome::Failed(Cure::WhenChanged) => match look.repeat_once(&window, now) {
            Some(at) => Phase::Repeating { look, at, window },
            None => rest(window.and_owing(look.request.full_check), timing),
        },
        PassOutcome::Failed(Cure::Soon { wait }) => {
            let look = look.failed();
            let own = || retry_wait(look.failures, jitter);
            back_off(look, wait.map_or_else(own, |asked| asked.clamp(SHORTEST_ASKED, LONGEST_ASKED)))
        }
        PassOutcome::Failed(Cure::Hourly) => back_off(look.failed(), LONGEST_RETRY),
        // A pass that stopped though nobody asked it to is simply still owed.
        PassOutcome::Busy | PassOutcome::Stopped => {
            let look = look.locked_out();
            back_off(look, lock_wait(look.locked_out))
        }
    }
}

/// Where to wait with what the window holds.
fn rest(window: Window, timing: &Timing) -> Phase {
    match window.due(timing) {
        Some(_) => Phase::Settling { window },
        None => Phase::Idle { owed: window.owes_full_check() },
    }
}

/// Begins a pass that answers the whole window: dirty is cleared before the look.
fn look_at(window: Window, now: Instant) -> (Phase, Action) {
    begin(Look::new(window.request(), window.last_hint(), now), Window::default())
}

fn begin(look: Look, window: Window) -> (Phase, Action) {
    (Phase::Building { look, window }, Action::Build(look.request))
}

/// What the slow round found counts like a hint, but puts off no window that is open already.
fn resynced(window: Window, now: Instant) -> Window {
    if window.has_database() { window } else { window.database(Trigger::Resync, now) }
}

/// The wait after so many failures: doubling, less up to a quarter, so that hosts
/// that failed together do not come back together.
fn retry_wait(failures: u32, jitter: f64) -> Duration {
    let whole = FIRST_RETRY.saturating_mul(2_u32.pow(failures.saturating_sub(1).min(16))).min(LONGEST_RETRY);
    whole.saturating_sub(whole.mul_f64(jitter.clamp(0.0, 1.0) / 4.0))
}

fn lock_wait(tries: u32) -> Duration {
    FIRST_LOCK_WAIT.saturating_mul(2_u32.pow(tries.saturating_sub(1).min(8))).min(LONGEST_LOCK_WAIT)
}

fn earlier(at: Instant, other: Option<Instant>) -> Instant {
    other.map_or(at, |other| at.min(other))
}

fn is_past(due: Option<Instant>, now: Instant) -> bool {
    due.is_some_and(|due| due <= now)
}

#[cfg(test)]
mod tests;
