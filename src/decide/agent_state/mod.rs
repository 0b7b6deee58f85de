//! Decides when the agent waits, runs a pass, backs off and stops.
//!
//! One enum, one total function: [`next`] takes the state, what happened and
//! the time, and returns the next state and the one thing to do. At most one
//! pass runs at a time, a marker is owed until a pass has answered it, and
//! nothing follows [`AgentState::Stopping`].
//!
//! Pure: no clock, no log, no waiting. Instants are monotonic, so a clock that
//! is set back changes nothing; a suspended machine continues its waits where
//! they stopped. Which file events are worth a hint is decided by
//! `flows::agent`, which knows the paths.

use std::fmt;
use std::time::{Duration, Instant};

use crate::decide::backoff::doubling;
use crate::decide::debounce::{Cause, Timing, Window, after};
use crate::domain::pass::{Outcome, PassRequest, Retry, Trigger};

pub(crate) use attempt::Attempt;

mod attempt;

/// The first wait after a failure that a retry can end; each further one is twice as long.
pub(crate) const FIRST_RETRY: Duration = Duration::from_secs(30);
/// The longest wait after a failure, also where a provider asks for more, and the one for a quota.
pub(crate) const MAX_RETRY_WAIT: Duration = Duration::from_secs(3600);
/// How soon to try a lock again that another process holds; each further time twice as long.
const FIRST_LOCK_WAIT: Duration = Duration::from_secs(1);
/// The longest wait for that lock.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(10);

/// What the agent is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum AgentState {
    /// Nothing has changed since the last attempt.
    Idle {
        /// A marker whose pass failed: the next pass must answer it.
        owed: bool,
    },
    /// Something changed; waiting for quiet, but never past `max_wait`.
    Settling { window: Window },
    /// The last scan followed a hint too closely; it is repeated at `at`.
    Rechecking {
        attempt: Attempt,
        at: Instant,
        /// What arrived since that scan began.
        window: Window,
    },
    /// A pass is running.
    Running {
        attempt: Attempt,
        /// What arrived since it began.
        window: Window,
    },
    /// The last pass failed, and a later one may succeed.
    BackingOff {
        attempt: Attempt,
        until: Instant,
        /// What arrived since the last try.
        window: Window,
    },
    /// SIGTERM or SIGINT arrived. No state follows this one.
    Stopping,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Event {
    /// The agent has swept and is watching.
    Started {
        /// A build is served.
        served: bool,
        /// The marker was touched since it was last handled.
        marker_owed: bool,
    },
    /// Something asks for a pass, now or when its window is due.
    Hint(Cause),
    /// SIGHUP.
    Reload,
    /// The instant of [`AgentState::due`] has come.
    Due,
    /// The running pass ended.
    Ended {
        outcome: Outcome,
        /// Any number from 0 to 1: how much of the possible jitter to use.
        jitter: f64,
    },
    /// SIGTERM or SIGINT.
    Stop,
}

/// The one thing to do on the way into the next state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Wait for the next event, until [`AgentState::due`] at the latest.
    Wait,
    /// Start a pass.
    Build(PassRequest),
    /// Read the settings again.
    Reload,
    /// Cancel what runs, wait for it, sweep and exit.
    Stop,
}

/// Decides what follows when `event` happens in `state`.
#[must_use]
pub(crate) fn next(state: AgentState, event: Event, now: Instant, timing: &Timing) -> (AgentState, Action) {
    if !is_enabled(event, timing) {
        return (state, Action::Wait);
    }
    match state {
        AgentState::Idle { owed } => idle(owed, event, now, timing),
        AgentState::Settling { window } => settling(window, event, now, timing),
        AgentState::Rechecking { attempt, at, window } => rechecking(attempt, at, window, event, now, timing),
        AgentState::Running { attempt, window } => running(attempt, window, event, now, timing),
        AgentState::BackingOff { attempt, until, window } => {
            backing_off(attempt, until, window, event, now, timing)
        }
        AgentState::Stopping => (AgentState::Stopping, Action::Wait),
    }
}

impl AgentState {
    /// When to send [`Event::Due`]; `None` where only another event can change anything.
    #[must_use]
    pub(crate) fn due(&self, timing: &Timing) -> Option<Instant> {
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
            Self::BackingOff { attempt, .. } if attempt.lock_failures > 0 => "waiting_for_lock",
            Self::BackingOff { .. } => "backing_off",
            Self::Stopping => "stopping",
        })
    }
}

/// With `on = ["marker"]` no change of the database starts a pass, and the other way round.
fn is_enabled(event: Event, timing: &Timing) -> bool {
    match event {
        Event::Hint(Cause::Database | Cause::Resync | Cause::Reload) => timing.on_database,
        Event::Hint(Cause::Marker) => timing.on_marker,
        Event::Hint(Cause::Request)
        | Event::Started { .. }
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
        Event::Hint(cause @ (Cause::Resync | Cause::Request)) => start(window.record(cause, now), now),
        Event::Hint(cause) => (wait_for_due(window.record(cause, now), timing), Action::Wait),
        Event::Reload => (AgentState::Idle { owed }, Action::Reload),
        Event::Due | Event::Ended { .. } => (AgentState::Idle { owed }, Action::Wait),
        Event::Stop => (AgentState::Stopping, Action::Stop),
    }
}

fn settling(window: Window, event: Event, now: Instant, timing: &Timing) -> (AgentState, Action) {
    let stay = |window, action| (AgentState::Settling { window }, action);
    match event {
        Event::Due if is_past(window.due(timing), now) => start(window, now),
        Event::Hint(cause @ Cause::Request) => start(window.record(cause, now), now),
        Event::Hint(cause) => stay(window.record(cause, now), Action::Wait),
        Event::Reload => stay(window, Action::Reload),
        Event::Started { .. } | Event::Due | Event::Ended { .. } => stay(window, Action::Wait),
        Event::Stop => (AgentState::Stopping, Action::Stop),
    }
}

fn rechecking(
    attempt: Attempt,
    at: Instant,
    window: Window,
    event: Event,
    now: Instant,
    timing: &Timing,
) -> (AgentState, Action) {
    let stay = |window, action| (AgentState::Rechecking { attempt, at, window }, action);
    match event {
        Event::Due if is_past(window.due(timing), now) => {
            begin(attempt.superseded(window, now), Window::default())
        }
        // The window stays open: its hints have a time of their own, and if each
        // repeated scan answered them, a steady writer would keep us scanning.
        Event::Due if at <= now => begin(attempt.rechecked(now), window),
        Event::Hint(cause @ Cause::Request) => {
            begin(attempt.superseded(window.record(cause, now), now), Window::default())
        }
        Event::Hint(cause) => stay(window.record(cause, now), Action::Wait),
        Event::Reload => stay(window, Action::Reload),
        Event::Started { .. } | Event::Due | Event::Ended { .. } => stay(window, Action::Wait),
        Event::Stop => (AgentState::Stopping, Action::Stop),
    }
}

fn running(
    attempt: Attempt,
    window: Window,
    event: Event,
    now: Instant,
    timing: &Timing,
) -> (AgentState, Action) {
    let stay = |window, action| (AgentState::Running { attempt, window }, action);
    match event {
        Event::Ended { outcome, jitter } => {
            (ended(attempt, window.after_build(now), outcome, jitter, now, timing), Action::Wait)
        }
        Event::Hint(cause) => stay(window.record(cause, now), Action::Wait),
        Event::Reload => stay(window, Action::Reload),
        Event::Started { .. } | Event::Due => stay(window, Action::Wait),
        Event::Stop => (AgentState::Stopping, Action::Stop),
    }
}

fn backing_off(
    attempt: Attempt,
    until: Instant,
    window: Window,
    event: Event,
    now: Instant,
    timing: &Timing,
) -> (AgentState, Action) {
    let stay = |window, action| (AgentState::BackingOff { attempt, until, window }, action);
    match event {
        Event::Due if is_past(window.urgent_due(timing), now) => {
            begin(attempt.forced(&window, now), Window::default())
        }
        Event::Due if until <= now => begin(attempt.retried(&window, now), Window::default()),
        Event::Hint(cause @ Cause::Request) => {
            begin(attempt.forced(&window.record(cause, now), now), Window::default())
        }
        Event::Hint(cause) => stay(window.record(cause, now), Action::Wait),
        Event::Reload => stay(window, Action::Reload),
        Event::Started { .. } | Event::Due | Event::Ended { .. } => stay(window, Action::Wait),
        Event::Stop => (AgentState::Stopping, Action::Stop),
    }
}

/// The state that follows a pass. `window`: what arrived while it ran.
fn ended(
    attempt: Attempt,
    window: Window,
    outcome: Outcome,
    jitter: f64,
    now: Instant,
    timing: &Timing,
) -> AgentState {
    let back_off = |attempt, wait| AgentState::BackingOff { attempt, until: after(now, wait), window };
    match outcome {
        Outcome::Unchanged => match attempt.recheck_soon(now) {
            Some(at) => AgentState::Rechecking { attempt: attempt.recheck_only(), at, window },
            None => wait_for_due(window, timing),
        },
        // A commit that was not yet visible is found by one more scan, unless
        // later hints cause one anyway: a steady writer must not make builds
        // follow each other without a pause.
        Outcome::Promoted | Outcome::Refused | Outcome::Held => match attempt.recheck_once(&window, now) {
            Some(at) => AgentState::Rechecking { attempt: attempt.recheck_only(), at, window },
            None => wait_for_due(window, timing),
        },
        Outcome::Failed(Retry::OnChange) => match attempt.recheck_once(&window, now) {
            Some(at) => AgentState::Rechecking { attempt, at, window },
            None => wait_for_due(window.or_owed_marker(attempt.request.full_check), timing),
        },
        Outcome::Failed(Retry::Soon { wait }) => {
            let attempt = attempt.failed();
            // A provider's wait lengthens our own and never shortens it: some always say "at once".
            let asked = wait.unwrap_or_default().min(MAX_RETRY_WAIT);
            back_off(attempt, retry_wait(attempt.failures, jitter).max(asked))
        }
        Outcome::Failed(Retry::Hourly) => back_off(attempt.failed(), MAX_RETRY_WAIT),
        // A pass that stopped without a stop request is still owed.
        Outcome::Busy | Outcome::Stopped => {
            let attempt = attempt.lock_failed();
            back_off(attempt, lock_wait(attempt.lock_failures))
        }
    }
}

/// The state that waits until the window is due.
fn wait_for_due(window: Window, timing: &Timing) -> AgentState {
    match window.due(timing) {
        Some(_) => AgentState::Settling { window },
        None => AgentState::Idle { owed: window.owes_full_check() },
    }
}

/// Starts a pass that answers the whole window: hints are cleared before the scan.
fn start(window: Window, now: Instant) -> (AgentState, Action) {
    begin(Attempt::new(window.request(), window.last_hint(), now), Window::default())
}

fn begin(attempt: Attempt, window: Window) -> (AgentState, Action) {
    (AgentState::Running { attempt, window }, Action::Build(attempt.request))
}

/// The wait after so many failures: doubling, less up to a quarter, so that hosts
/// that failed together do not retry together.
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
