//! Who is told what the agent does.
//!
//! The loop says each thing once, as [`AgentEvent`]; a [`Observer`] makes of it what
//! its listeners need. [`LogObserver`] writes one line for each change of
//! phase and one for the end of each pass, and says the same trouble only once
//! until it changes. A service manager's notices are another reporter's matter.

use std::error::Error;
use std::io;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::decide::agent_state::AgentState;
use crate::domain::pass::{Outcome, PassReport, PassRequest, Retry, Trigger};

/// Something the agent did or met.
#[derive(Debug)]
pub enum AgentEvent<'a> {
    /// Swept and watching; the first pass has not begun.
    Started,
    /// Another phase was entered.
    StateEntered {
        /// The new one.
        state: &'a AgentState,
        /// How long it lasts if nothing happens.
        wait: Option<Duration>,
    },
    /// A pass began.
    PassStarted {
        /// What is asked of it.
        request: PassRequest,
    },
    /// A pass ended.
    PassFinished {
        /// What was asked of it.
        request: PassRequest,
        /// What became of it.
        report: &'a PassReport,
        /// How long it took.
        took: Duration,
    },
    /// The settings are about to be read again.
    Reloading,
    /// They were read.
    Reloaded {
        /// Anything of them is in force now.
        accepted: bool,
    },
    /// A sweep could not be done, or not wholly.
    SweepFailed {
        /// Why.
        error: &'a (dyn Error + Send + Sync),
    },
    /// The marker was acted on, but that could not be written down.
    MarkerNotSaved {
        /// Why.
        error: &'a io::Error,
    },
    /// The loop goes round; told as often as [`Observer::heartbeat`] asks.
    Heartbeat {
        /// The phase at work.
        state: &'a AgentState,
    },
    /// A signal to end was heard.
    Stopping,
    /// The pass or the last sweep did not end in time.
    StopTimedOut,
}

/// Is told what the agent does. Must not wait for anything.
pub trait Observer: Send {
    /// Takes one piece of news.
    fn report(&mut self, news: &AgentEvent<'_>);

    /// How often to be told [`AgentEvent::Heartbeat`]; not at all by default.
    fn heartbeat(&self) -> Option<Duration> {
        None
    }
}

/// Writes the news to the log.
#[derive(Debug, Default)]
pub struct LogObserver {
    /// The last refusal or failure, so that it is said once.
    last_failure: Option<String>,
    /// Looks are being repeated.
    rechecking: bool,
    /// The pass at work only makes sure, and is of interest to nobody unless it finds something.
    is_recheck: bool,
}

impl Observer for LogObserver {
    fn report(&mut self, news: &AgentEvent<'_>) {
        match news {
            AgentEvent::Started => info!("watching"),
            AgentEvent::StateEntered { state: phase, wait } => self.state_entered(phase, *wait),
            AgentEvent::PassStarted { request } if self.is_recheck => {
                debug!(trigger = %request.trigger, "pass repeated");
            }
            AgentEvent::PassStarted { request } => {
                info!(trigger = %request.trigger, full_check = request.full_check, "pass began");
            }
            AgentEvent::PassFinished { request, report, took } => self.pass_finished(*request, report, *took),
            AgentEvent::Reloading => info!("reading the settings again"),
            AgentEvent::Reloaded { accepted: true } => info!("settings in force"),
            AgentEvent::Reloaded { accepted: false } => info!("the settings in force stay as they are"),
            AgentEvent::SweepFailed { error } => {
                warn!(error = %error, "sweep failed; stale staging may be left");
            }
            AgentEvent::MarkerNotSaved { error } => {
                warn!(error = %error, "the marker was acted on, and will be again after a restart");
            }
            AgentEvent::Heartbeat { state: phase } => debug!(phase = %phase, "alive"),
            AgentEvent::Stopping => info!("stopping"),
            AgentEvent::StopTimedOut => warn!("work did not end in time; the next start clears up"),
        }
    }
}

impl LogObserver {
    fn state_entered(&mut self, phase: &AgentState, wait: Option<Duration>) {
        match phase {
            // The pass has lines of its own.
            AgentState::Running { attempt: look, .. } => {
                // Reading makes events too: a hint between two looks is no news, a person's order is.
                let hinted = self.rechecking && look.request.trigger == Trigger::Database;
                self.is_recheck = look.is_recheck() || hinted;
            }
            AgentState::Rechecking { .. } => {
                self.rechecking = true;
                debug!(%phase, wait_ms = wait.map(millis), "phase");
            }
            AgentState::Idle { .. }
            | AgentState::Settling { .. }
            | AgentState::BackingOff { .. }
            | AgentState::Stopping => {
                self.rechecking = false;
                info!(%phase, wait_ms = wait.map(millis), "phase");
            }
        }
    }

    fn pass_finished(&mut self, request: PassRequest, report: &PassReport, took: Duration) {
        let (outcome, trigger) = (report.outcome, request.trigger);
        let (message, took_ms) = (report.message.as_str(), millis(took));
        let is_news = match outcome {
            Outcome::Promoted | Outcome::Unchanged => {
                self.last_failure = None;
                outcome == Outcome::Promoted || !self.is_recheck
            }
            Outcome::Refused | Outcome::Held | Outcome::Failed(_) => {
                self.last_failure.as_deref() != Some(message)
            }
            Outcome::Busy | Outcome::Stopped => true,
        };
        if !is_news {
            debug!(%outcome, %trigger, took_ms, "{message}");
            return;
        }
        if let (Outcome::Promoted, Some(build)) = (outcome, &report.build) {
            let counts = report.counts;
            info!(
                %outcome,
                %trigger,
                took_ms,
                _build = build,
                _records = counts.records,
                _kept = counts.kept,
                _embedded = counts.embedded,
                _removed = counts.removed,
                _requests = counts.requests,
                "{message}"
            );
            return;
        }
        match outcome {
            Outcome::Promoted | Outcome::Unchanged | Outcome::Busy | Outcome::Stopped => {
                info!(%outcome, %trigger, took_ms, "{message}");
                return;
            }
            Outcome::Held => info!(%outcome, %trigger, took_ms, "{message}"),
            Outcome::Refused | Outcome::Failed(Retry::Soon { .. }) => {
                warn!(%outcome, %trigger, took_ms, "{message}");
            }
            Outcome::Failed(Retry::Hourly | Retry::OnChange) => {
                error!(%outcome, %trigger, took_ms, "{message}");
            }
        }
        self.last_failure = Some(message.to_owned());
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
