//! When to sleep, build, back off and stop.
//!
//! One enum, one total function: [`next`] takes the phase, what happened and
//! the time, and gives the next phase and the one thing to do. At most one
//! pass runs at a time, a marker is owed until a pass has answered it, and
//! nothing follows [`AgentState::Stopping`].
//!
//! A commit becomes visible a little after the event that tells of it. So a
//! look that began within [`COMMIT_VISIBLE_AFTER`] of a hint is repeated until that
//! time has passed, unless it failed and is tried again anyway.
//!
//! Pure: no clock, no log, no waiting. Instants are monotonic, so that a clock
//! set back changes nothing; a suspended machine goes on waiting where it left
//! off. Hints reach this machine filtered by `agent`, which knows their paths.

use std::fmt;
use std::time::{Duration, Instant};

use crate::decide::backoff::doubling;
use crate::decide::debounce::{Timing, Window, after};
use crate::domain::pass::{Outcome, PassRequest, Retry, Trigger};

pub use attempt::{Attempt, COMMIT_VISIBLE_AFTER};

mod attempt;

/// The first wait after a failure that time may cure; each further one is twice as long.
pub const FIRST_RETRY: Duration = Duration::from_secs(30);
/// The longest wait of our own after a failure, and the one for a quota.
pub const MAX_RETRY_WAIT: Duration = Duration::from_secs(3600);
/// The shortest wait that a provider can ask for: one that says "at once" each
/// time must not make us call it in a tight circle.
const MIN_PROVIDER_WAIT: Duration = Duration::from_secs(1);
/// The longest wait that a provider can ask for: by then a daily quota is back.
const MAX_PROVIDER_WAIT: Duration = Duration::from_secs(24 * 3600);
/// How soon to try a lock again that another process holds; each further time twice as long.
const FIRST_LOCK_WAIT: Duration = Duration::from_secs(1);
/// The longest wait for that lock.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(10);

/// What the agent is at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AgentState {
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
    Rechecking {
        /// That look.
        attempt: Attempt,
        /// When to look again.
        at: Instant,
        /// What came in since it began.
        window: Window,
    },
    /// A pass is running.
    Running {
        /// The pass.
        attempt: Attempt,
        /// What came in since it began, from the first hint on.
        window: Window,
    },
    /// The last pass could not be done, and time may cure it.
    BackingOff {
        /// What is still to be done.
        attempt: Attempt,
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
    Requested,
    /// SIGHUP.
    Reload,
    /// The settings were read again, and are in force as far as they could be.
    Reloaded,
    /// The instant of [`AgentState::due`] has come.
    Due,
    /// The running pass ended.
    Ended {
        /// What became of it.
        outcome: Outcome,
        /// Any number from 0 to 1: how much of the possible jitter to use.
        jitter: f64,
    },
    /// SIGTERM or SIGINT.
    Stop,
}

/// The one thing to do on the way into the next phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Wait for the next event, until [`AgentState::due`] at the latest.
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
pub fn next(phase: AgentState, event: Event, now: Instant, timing: &Timing) -> (AgentState, Action) {
    if !is_enabled(event, timing) {
        return (phase, Action::Wait);
    }
    match phase {
        AgentState::Idle { owed } => idle(owed, event, now, timing),
        AgentState::Settling { window } => settling(window, event, now, timing),
        AgentState::Rechecking { attempt: look, at, window } => {
            rechecking(look, at, window, event, now, timing)
        }
        AgentState::Running { attempt: look, window } => running(look, window, event, now, timing),
        AgentState::BackingOff { attempt: look, until, window } => {
            backing_off(look, until, window, event, now, timing)
        }
        AgentState::Stopping => (AgentState::Stopping, Action::Wait),
    }
}

impl AgentState {
    /// When to say [`Event::Due`]; `None` where only an event can change anything.
    #[must_use]
    pub fn due(&self, timing: &Timing) -> Option<Instant> {
        match self {
            Self::Idle { .. } | Self::Running { .. } | Self::Stopping => None,
            Self::Settling { window } => window.due(timing),
            Self::Rechecking { at, window, .. } => Some(earlier(*at, window.due(timing))),
            Self::BackingOff { until, window, .. } => Some(earlier(*until, window.urgent_due(timing))),
        }
    }
}

impl fmt::Display for AgentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle { .. } => "idle",
            Self::Settling { .. } => "settling",
            Self::Rechecking { .. } => "repeating",
            Self::Running { .. } => "building",
            Self::BackingOff { attempt: look, .. } if look.lock_failures > 0 => "waiting_for_lock",
            Self::BackingOff { .. } => "backing_off",
            Self::Stopping => "stopping",
        })
    }
}

/// With `on = ["marker"]` the database is nobody's reason to act, and the other way round.
fn is_enabled(event: Event, timing: &Timing) -> bool {
    match event {
        Event::Database | Event::Resync | Event::Reloaded => timing.on_database,
        Event::Marker => timing.on_marker,
        Event::Started { .. }
        | Event::Requested
        | Event::Reload
        | Event::Due
        | Event::Ended { .. }
        | Event::Stop => true,
    }
}

fn idle(owed: bool, event: Event, now: Instant, timing: &Timing) -> (AgentState, Action) {
    let window = Window::with_owed_marker(owed);
    match event {
        Event::Started { served, marker_owed } => {
            let marker_owed = marker_owed && timing.on_marker;
            if timing.on_database || marker_owed || !served {
                let request = PassRequest { trigger: Trigger::Start, full_check: marker_owed };
                begin(Attempt::new(request, None, now), Window::default())
            } else {
                (AgentState::Idle { owed }, Action::Wait)
            }
        }
        Event::Resync => start(window.database(Trigger::Resync, now), now),
        Event::Requested => start(window.request_now(now), now),
        Event::Database => (wait_for_due(window.database(Trigger::Database, now), timing), Action::Wait),
        Event::Marker => (wait_for_due(window.marker(now), timing), Action::Wait),
        Event::Reloaded => (wait_for_due(window.database(Trigger::Reload, now), timing), Action::Wait),
        Event::Reload => (AgentState::Idle { owed }, Action::Reload),
        Event::Due | Event::Ended { .. } => (AgentState::Idle { owed }, Action::Wait),
        Event::Stop => (AgentState::Stopping, Action::Stop),
    }
}

fn settling(window: Window, event: Event, now: Instant, timing: &Timing) -> (AgentState, Action) {
    let stay = |window, action| (AgentState::Settling { window }, action);
    match event {
        Event::Due if is_past(window.due(timing), now) => start(window, now),
        Event::Requested => start(window.request_now(now), now),
        Event::Database => stay(window.database(Trigger::Database, now), Action::Wait),
        Event::Marker => stay(window.marker(now), Action::Wait),
        Event::Resync => stay(resynced(window, now), Action::Wait),
        Event::Reloaded => stay(window.database(Trigger::Reload, now), Action::Wait),
        Event::Reload => stay(window, Action::Reload),
        Event::Started { .. } | Event::Due | Event::Ended { .. } => stay(window, Action::Wait),
        Event::Stop => (AgentState::Stopping, Action::Stop),
    }
}

fn rechecking(
    look: Attempt,
    at: Instant,
    window: Window,
    event: Event,
    now: Instant,
    timing: &Timing,
) -> (AgentState, Action) {
    let stay = |window, action| (AgentState::Rechecking { attempt: look, at, window }, action);
    match event {
        Event::Due if is_past(window.due(timing), now) => {
            begin(look.superseded(window, now), Window::default())
        }
        // The window stays open: its hints have a time of their own, and if each
        // repeated look answered them, a steady writer would keep us looking.
        Event::Due if at <= now => begin(look.rechecked(now), window),
        Event::Requested => begin(look.superseded(window.request_now(now), now), Window::default()),
        Event::Database => stay(window.database(Trigger::Database, now), Action::Wait),
        Event::Marker => stay(window.marker(now), Action::Wait),
        Event::Resync => stay(resynced(window, now), Action::Wait),
        Event::Reloaded => stay(window.database(Trigger::Reload, now), Action::Wait),
        Event::Reload => stay(window, Action::Reload),
        Event::Started { .. } | Event::Due | Event::Ended { .. } => stay(window, Action::Wait),
        Event::Stop => (AgentState::Stopping, Action::Stop),
    }
}

fn running(
    look: Attempt,
    window: Window,
    event: Event,
    now: Instant,
    timing: &Timing,
) -> (AgentState, Action) {
    let stay = |window, action| (AgentState::Running { attempt: look, window }, action);
    match event {
        Event::Ended { outcome, jitter } => {
            (ended(look, window.after_build(now), outcome, jitter, now, timing), Action::Wait)
        }
        Event::Requested => stay(window.request_now(now), Action::Wait),
        Event::Database => stay(window.database(Trigger::Database, now), Action::Wait),
        Event::Marker => stay(window.marker(now), Action::Wait),
        Event::Resync => stay(resynced(window, now), Action::Wait),
        Event::Reloaded => stay(window.database(Trigger::Reload, now), Action::Wait),
        Event::Reload => stay(window, Action::Reload),
        Event::Started { .. } | Event::Due => stay(window, Action::Wait),
        Event::Stop => (AgentState::Stopping, Action::Stop),
    }
}

fn backing_off(
    look: Attempt,
    until: Instant,
    window: Window,
    event: Event,
    now: Instant,
    timing: &Timing,
) -> (AgentState, Action) {
    let stay = |window, action| (AgentState::BackingOff { attempt: look, until, window }, action);
    match event {
        Event::Due if is_past(window.urgent_due(timing), now) => {
            begin(look.forced(&window, now), Window::default())
        }
        Event::Due if until <= now => begin(look.retried(&window, now), Window::default()),
        Event::Requested => begin(look.forced(&window.request_now(now), now), Window::default()),
        Event::Database => stay(window.database(Trigger::Database, now), Action::Wait),
        Event::Marker => stay(window.marker(now), Action::Wait),
        Event::Resync => stay(resynced(window, now), Action::Wait),
        Event::Reloaded => stay(window.database(Trigger::Reload, now), Action::Wait),
        Event::Reload => stay(window, Action::Reload),
        Event::Started { .. } | Event::Due | Event::Ended { .. } => stay(window, Action::Wait),
        Event::Stop => (AgentState::Stopping, Action::Stop),
    }
}

/// Where the end of a pass leads. `window`: what came in while it ran.
fn ended(
    look: Attempt,
    window: Window,
    outcome: Outcome,
    jitter: f64,
    now: Instant,
    timing: &Timing,
) -> AgentState {
    let back_off = |look, wait| AgentState::BackingOff { attempt: look, until: after(now, wait), window };
    match outcome {
        Outcome::Unchanged => match look.recheck_soon(now) {
            Some(at) => AgentState::Rechecking { attempt: look.recheck_only(), at, window },
            None => wait_for_due(window, timing),
        },
        // What was not yet visible then is looked for once more, unless hints
        // that came since ask for a look anyway: a steady writer must not make
        // builds follow each other without a pause.
        Outcome::Promoted | Outcome::Refused | Outcome::Held => match look.recheck_once(&window, now) {
            Some(at) => AgentState::Rechecking { attempt: look.recheck_only(), at, window },
            None => wait_for_due(window, timing),
        },
        Outcome::Failed(Retry::OnChange) => match look.recheck_once(&window, now) {
            Some(at) => AgentState::Rechecking { attempt: look, at, window },
            None => wait_for_due(window.or_owed_marker(look.request.full_check), timing),
        },
        Outcome::Failed(Retry::Soon { wait }) => {
            let look = look.failed();
            let own = || retry_wait(look.failures, jitter);
            back_off(look, wait.map_or_else(own, |asked| asked.clamp(MIN_PROVIDER_WAIT, MAX_PROVIDER_WAIT)))
        }
        Outcome::Failed(Retry::Hourly) => back_off(look.failed(), MAX_RETRY_WAIT),
        // A pass that stopped though nobody asked it to is simply still owed.
        Outcome::Busy | Outcome::Stopped => {
            let look = look.lock_failed();
            back_off(look, lock_wait(look.lock_failures))
        }
    }
}

/// Where to wait with what the window holds.
fn wait_for_due(window: Window, timing: &Timing) -> AgentState {
    match window.due(timing) {
        Some(_) => AgentState::Settling { window },
        None => AgentState::Idle { owed: window.owes_full_check() },
    }
}

/// Begins a pass that answers the whole window: dirty is cleared before the look.
fn start(window: Window, now: Instant) -> (AgentState, Action) {
    begin(Attempt::new(window.request(), window.last_hint(), now), Window::default())
}

fn begin(look: Attempt, window: Window) -> (AgentState, Action) {
    (AgentState::Running { attempt: look, window }, Action::Build(look.request))
}

/// What the slow round found counts like a hint, but puts off no window that is open already.
fn resynced(window: Window, now: Instant) -> Window {
    if window.has_database() { window } else { window.database(Trigger::Resync, now) }
}

/// The wait after so many failures: doubling, less up to a quarter, so that hosts
/// that failed together do not come back together.
fn retry_wait(failures: u32, jitter: f64) -> Duration {
    let whole = doubling(FIRST_RETRY, failures, MAX_RETRY_WAIT);
    whole.saturating_sub(whole.mul_f64(jitter.clamp(0.0, 1.0) / 4.0))
}

fn lock_wait(tries: u32) -> Duration {
    doubling(FIRST_LOCK_WAIT, tries, MAX_LOCK_WAIT)
}

fn earlier(at: Instant, other: Option<Instant>) -> Instant {
    other.map_or(at, |other| at.min(other))
}

fn is_past(due: Option<Instant>, now: Instant) -> bool {
    due.is_some_and(|due| due <= now)
}

#[cfg(test)]
mod tests;
