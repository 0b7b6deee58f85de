//! How others learn what the agent does.
//!
//! The loop reports each thing once, as an [`AgentEvent`], to every
//! [`Observer`]. [`LogObserver`] writes one line for each change of state and
//! one for the end of each pass; it logs the same failure only once until it
//! changes. The service manager and the status file have observers of their own
//! in `daemon`.

use std::error::Error;
use std::io;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::decide::agent_state::AgentState;
use crate::domain::pass::{Outcome, PassReport, PassRequest, Retry, Trigger};

/// Something that the agent did, or that happened to it.
#[derive(Debug)]
pub(crate) enum AgentEvent<'a> {
    /// Swept and watching; the first pass has not started.
    Started,
    StateEntered {
        state: &'a AgentState,
        /// How long it lasts if nothing happens.
        wait: Option<Duration>,
    },
    PassStarted {
        request: PassRequest,
    },
    PassFinished {
        request: PassRequest,
        report: &'a PassReport,
        took: Duration,
    },
    /// The source changed, and the triggers in force let no pass follow.
    ChangeIgnored,
    /// The settings are about to be read again.
    Reloading,
    Reloaded {
        /// A part of them is in force now.
        accepted: bool,
    },
    /// Staging may remain.
    SweepFailed {
        error: &'a (dyn Error + Send + Sync),
    },
    /// The marker was handled, but that could not be written.
    MarkerNotSaved {
        error: &'a io::Error,
    },
    /// The loop is running; sent as often as [`Observer::heartbeat`] asks.
    Heartbeat {
        state: &'a AgentState,
    },
    /// A signal asked the agent to end.
    Stopping,
    /// The pass or the last sweep did not end in time.
    StopTimedOut,
}

/// Receives what the agent does. Must not wait for anything.
pub(crate) trait Observer: Send {
    fn on_event(&mut self, event: &AgentEvent<'_>);

    /// How often to receive [`AgentEvent::Heartbeat`]; `None` if no observer needs it for itself.
    fn heartbeat(&self) -> Option<Duration> {
        None
    }
}

/// All observers, in the order in which they receive an event.
pub(super) struct Observers(pub(super) Vec<Box<dyn Observer>>);

impl Observers {
    pub(super) fn report(&mut self, event: &AgentEvent<'_>) {
        for observer in &mut self.0 {
            observer.on_event(event);
        }
    }

    /// The shortest interval that any of them asks for.
    pub(super) fn heartbeat(&self) -> Option<Duration> {
        self.0.iter().filter_map(|observer| observer.heartbeat()).min()
    }
}

/// Writes the events to the log.
#[derive(Debug, Default)]
pub(crate) struct LogObserver {
    /// The last refusal or failure, so that it is logged once.
    last_failure: Option<String>,
    rechecking: bool,
    /// The running pass only repeats a scan, and is logged only if it finds something.
    is_recheck: bool,
}

impl Observer for LogObserver {
    fn on_event(&mut self, event: &AgentEvent<'_>) {
        match event {
            AgentEvent::Started => info!("agent: watching"),
            AgentEvent::StateEntered { state, wait } => self.state_entered(state, *wait),
            AgentEvent::PassStarted { request } if self.is_recheck => {
                debug!(trigger = %request.trigger, "pass: repeated");
            }
            AgentEvent::PassStarted { request } => {
                info!(trigger = %request.trigger, full_check = request.full_check, "pass: started");
            }
            AgentEvent::PassFinished { request, report, took } => self.pass_finished(*request, report, *took),
            AgentEvent::ChangeIgnored => debug!("database: changed, not a trigger (trigger.on)"),
            AgentEvent::Reloading => info!("settings: reading them again"),
            AgentEvent::Reloaded { accepted: true } => info!("settings: new values in force"),
            AgentEvent::Reloaded { accepted: false } => info!("settings: the previous values stay in force"),
            AgentEvent::SweepFailed { error } => {
                warn!(%error, "sweep: failed, stale staging may remain");
            }
            AgentEvent::MarkerNotSaved { error } => {
                warn!(%error, "marker: handled, but not saved; it is handled again after a restart");
            }
            AgentEvent::Heartbeat { state } => debug!(%state, "agent: alive"),
            AgentEvent::Stopping => info!("agent: stopping"),
            AgentEvent::StopTimedOut => {
                warn!("stop: pass or sweep did not end in time, the next start removes its staging");
            }
        }
    }
}

impl LogObserver {
    fn state_entered(&mut self, state: &AgentState, wait: Option<Duration>) {
        match state {
            // The pass has lines of its own.
            AgentState::Running { attempt, .. } => {
                // A scan causes events too: a hint between two scans is not worth
                // a line, a person's request is.
                let is_hint = self.rechecking && attempt.request.trigger == Trigger::Database;
                self.is_recheck = attempt.is_recheck() || is_hint;
            }
            AgentState::Rechecking { .. } => {
                self.rechecking = true;
                debug!(%state, wait_ms = wait.map(millis), "agent: state entered");
            }
            AgentState::Idle { .. }
            | AgentState::Settling { .. }
            | AgentState::BackingOff { .. }
            | AgentState::Stopping => {
                self.rechecking = false;
                info!(%state, wait_ms = wait.map(millis), "agent: state entered");
            }
        }
    }

    fn pass_finished(&mut self, request: PassRequest, report: &PassReport, took: Duration) {
        let (outcome, trigger) = (report.outcome, request.trigger);
        let (message, took_ms) = (report.message.as_str(), millis(took));
        if !self.is_worth_a_line(outcome, message) {
            debug!(%outcome, %trigger, took_ms, "pass: {message}");
            return;
        }
        if let (Outcome::Promoted, Some(build)) = (outcome, &report.build) {
            let counts = report.counts;
            info!(
                %outcome,
                %trigger,
                took_ms,
                %build,
                records = counts.records,
                kept = counts.kept,
                embedded = counts.embedded,
                metadata_only = counts.metadata_only,
                removed = counts.removed,
                requests = counts.requests,
                "pass: finished"
            );
            return;
        }
        match outcome {
            Outcome::Promoted | Outcome::Unchanged | Outcome::Held | Outcome::Busy | Outcome::Stopped => {
                info!(%outcome, %trigger, took_ms, "pass: {message}");
            }
            Outcome::Refused | Outcome::Failed(Retry::Soon { .. }) => {
                warn!(%outcome, %trigger, took_ms, "pass: {message}");
            }
            Outcome::Failed(Retry::Hourly | Retry::OnChange) => {
                error!(%outcome, %trigger, took_ms, "pass: {message}");
            }
        }
    }

    /// Whether an outcome is new to an operator; a failure is remembered.
    fn is_worth_a_line(&mut self, outcome: Outcome, message: &str) -> bool {
        match outcome {
            Outcome::Promoted | Outcome::Unchanged => {
                self.last_failure = None;
                outcome == Outcome::Promoted || !self.is_recheck
            }
            Outcome::Refused | Outcome::Held | Outcome::Failed(_) => {
                // How long it waited, or when it tries again, is not another failure.
                let failure = without_numbers(message);
                self.last_failure.replace(failure.clone()) != Some(failure)
            }
            Outcome::Busy | Outcome::Stopped => true,
        }
    }
}

/// A message with each run of digits as one `0`.
fn without_numbers(message: &str) -> String {
    let mut bare = String::with_capacity(message.len());
    for char in message.chars() {
        match char {
            '0'..='9' if bare.ends_with('0') => {}
            '0'..='9' => bare.push('0'),
            other => bare.push(other),
        }
    }
    bare
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_worth_one_line_however_its_numbers_change() {
        let mut log = LogObserver::default();
        let failed = Outcome::Failed(Retry::Soon { wait: None });
        for (message, expected) in [
            ("locked for 9 s; retry at 10:01:59", true),
            ("locked for 10 s; retry at 10:02:08", false),
            ("locked for 10 s", true),
            ("", true),
        ] {
            assert_eq!(log.is_worth_a_line(failed, message), expected, "{message}");
        }
    }
}
