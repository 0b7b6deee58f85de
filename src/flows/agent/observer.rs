//! How others learn what the agent does.
//!
//! The loop reports each thing once, as an [`AgentEvent`], to every
//! [`Observer`]. [`LogObserver`] writes one line for each change of state and
//! one for the end of each pass. What an operator need not know is at the debug
//! level: a pass that found nothing, unless somebody asked for it, the changes
//! of state around it, and the same trouble again, whatever its numbers and
//! times. Passes that found nothing are counted once an hour. The service
//! manager and the status file have observers of their own in `daemon`.

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use super::quiet_passes::QuietPasses;
use crate::decide::agent_state::AgentState;
use crate::decide::source_path::PathWarning;
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
    /// What an operator should know of the path to the database is another now.
    PathChanged {
        warnings: &'a [PathWarning],
    },
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
    /// A pass had a line, so the state that follows has one too.
    has_news: bool,
    quiet: QuietPasses,
    rechecking: bool,
    /// The running pass only repeats a scan, and is logged only if it finds something.
    is_recheck: bool,
}

impl Observer for LogObserver {
    fn on_event(&mut self, event: &AgentEvent<'_>) {
        if let Some(passes) = self.quiet.take_due(Instant::now()) {
            info!(passes, "agent: passes that found nothing, in the last hour");
        }
        match event {
            AgentEvent::Started => info!("agent: watching"),
            AgentEvent::StateEntered { state, wait } => self.state_entered(state, *wait),
            AgentEvent::PassStarted { request } if self.is_recheck => {
                debug!(trigger = %request.trigger, "pass: repeated");
            }
            AgentEvent::PassStarted { request } if !is_asked_for(request.trigger) => {
                debug!(trigger = %request.trigger, full_check = request.full_check, "pass: started");
            }
            AgentEvent::PassStarted { request } => {
                info!(trigger = %request.trigger, full_check = request.full_check, "pass: started");
            }
            AgentEvent::PassFinished { request, report, took } => self.pass_finished(*request, report, *took),
            AgentEvent::ChangeIgnored => debug!("database: changed, not a trigger (trigger.on)"),
            AgentEvent::PathChanged { warnings: [] } => info!("database: its path hides no changes any more"),
            AgentEvent::PathChanged { warnings } => warnings.iter().for_each(|warning| warn!("{warning}")),
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
            AgentState::Settling { .. } => {
                self.rechecking = false;
                debug!(%state, wait_ms = wait.map(millis), "agent: state entered");
            }
            AgentState::Idle { .. } | AgentState::BackingOff { .. } if !self.has_news => {
                self.rechecking = false;
                debug!(%state, wait_ms = wait.map(millis), "agent: state entered");
            }
            AgentState::Idle { .. } | AgentState::BackingOff { .. } | AgentState::Stopping => {
                self.rechecking = false;
                self.has_news = false;
                info!(%state, wait_ms = wait.map(millis), "agent: state entered");
            }
        }
    }

    fn pass_finished(&mut self, request: PassRequest, report: &PassReport, took: Duration) {
        let (outcome, trigger) = (report.outcome, request.trigger);
        let (message, took_ms) = (report.message.as_str(), millis(took));
        let is_news = self.is_worth_a_line(outcome, trigger, message);
        self.has_news |= is_news;
        if !is_news {
            if outcome == Outcome::Unchanged && !self.is_recheck {
                self.quiet.add(Instant::now());
            }
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
    fn is_worth_a_line(&mut self, outcome: Outcome, trigger: Trigger, message: &str) -> bool {
        match outcome {
            Outcome::Promoted | Outcome::Unchanged => {
                let ends_a_failure = self.last_failure.take().is_some();
                let is_answer = is_asked_for(trigger) && !self.is_recheck;
                outcome == Outcome::Promoted || ends_a_failure || is_answer
            }
            Outcome::Refused | Outcome::Held | Outcome::Failed(_) | Outcome::Busy => {
                // How long it waited, or when it tries again, is not another failure.
                let failure = without_numbers(message);
                self.last_failure.replace(failure.clone()) != Some(failure)
            }
            Outcome::Stopped => true,
        }
    }
}

/// Whether somebody asked for the pass, and waits for an answer.
fn is_asked_for(trigger: Trigger) -> bool {
    match trigger {
        Trigger::Start | Trigger::Marker | Trigger::Signal | Trigger::Command => true,
        Trigger::Database | Trigger::Resync | Trigger::Reload | Trigger::Retry => false,
    }
}

/// A message with each word in which there is a digit, and several of them in a row, as one `0`: numbers,
/// times with their units, and ids are not what makes another trouble of it.
fn without_numbers(message: &str) -> String {
    let mut bare = String::with_capacity(message.len());
    // What stands between the last number and this one, if there was nothing else.
    let mut between: Option<String> = None;
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let is_word = first.is_alphanumeric();
        let end = rest.find(|char: char| char.is_alphanumeric() != is_word).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after;
        if is_word && part.contains(|char: char| char.is_ascii_digit()) {
            if between.take().is_none() {
                bare.push('0');
            }
            between = Some(String::new());
        } else if let Some(gap) = between.as_mut().filter(|_| !is_word && part.len() == 1) {
            gap.push_str(part);
        } else {
            bare.push_str(&between.take().unwrap_or_default());
            bare.push_str(part);
        }
    }
    bare + &between.unwrap_or_default()
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
            ("no request succeeded in 59s; status 503", true),
            ("no request succeeded in 1m 2s 500ms; status 503", false),
            ("no request succeeded in 6ms; status 502", false),
            ("cannot write data/builds/20261127T231539Z-02b1de.staging/faiss.index", true),
            ("cannot write data/builds/20261128T000000Z-858561.staging/faiss.index", false),
            ("cannot write data/builds/20261128T000000Z-858561.staging/hashes.bin", true),
            ("", true),
        ] {
            assert_eq!(log.is_worth_a_line(failed, Trigger::Retry, message), expected, "{message}");
        }
    }

    #[test]
    fn what_found_nothing_is_worth_a_line_only_as_an_answer_or_after_a_failure() {
        let mut log = LogObserver::default();
        let failed = Outcome::Failed(Retry::Soon { wait: None });
        for (outcome, trigger, expected) in [
            (Outcome::Unchanged, Trigger::Start, true),
            (Outcome::Unchanged, Trigger::Database, false),
            (Outcome::Unchanged, Trigger::Resync, false),
            (Outcome::Unchanged, Trigger::Marker, true),
            (Outcome::Unchanged, Trigger::Signal, true),
            (Outcome::Promoted, Trigger::Database, true),
            (Outcome::Busy, Trigger::Database, true),
            (Outcome::Busy, Trigger::Database, false),
            (Outcome::Unchanged, Trigger::Retry, true),
            (failed, Trigger::Database, true),
            (Outcome::Unchanged, Trigger::Retry, true),
            (Outcome::Unchanged, Trigger::Retry, false),
        ] {
            assert_eq!(log.is_worth_a_line(outcome, trigger, "x"), expected, "{outcome} by {trigger}");
        }
    }
}
