//! Who is told what the agent does.
//!
//! The loop says each thing once, as [`News`]; a [`Reporter`] makes of it what
//! its listeners need. [`LogReporter`] writes one line for each change of
//! phase and one for the end of each pass, and says the same trouble only once
//! until it changes. A service manager's notices are another reporter's matter.

use std::error::Error;
use std::io;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::decide::agent_state::Phase;
use crate::domain::pass::{Built, Cure, PassOutcome, PassReport, PassRequest, Trigger};

/// Something the agent did or met.
#[derive(Debug)]
pub enum News<'a> {
    /// Swept and watching; the first pass has not begun.
    Up,
    /// Another phase was entered.
    Phase {
        /// The new one.
        phase: &'a Phase,
        /// How long it lasts if nothing happens.
        wait: Option<Duration>,
    },
    /// A pass began.
    PassBegan {
        /// What is asked of it.
        request: PassRequest,
    },
    /// A pass ended.
    PassEnded {
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
    MarkerNotRemembered {
        /// Why.
        error: &'a io::Error,
    },
    /// The loop goes round; told as often as [`Reporter::heartbeat`] asks.
    Alive {
        /// The phase at work.
        phase: &'a Phase,
    },
    /// A signal to end was heard.
    Stopping,
    /// The pass or the last sweep did not end in time.
    LeftBehind,
}

/// Is told what the agent does. Must not wait for anything.
pub trait Reporter: Send {
    /// Takes one piece of news.
    fn report(&mut self, news: &News<'_>);

    /// How often to be told [`News::Alive`]; not at all by default.
    fn heartbeat(&self) -> Option<Duration> {
        None
    }
}

/// Writes the news to the log.
#[derive(Debug, Default)]
pub struct LogReporter {
    /// The last refusal or failure, so that it is said once.
    trouble: Option<String>,
    /// Looks are being repeated.
    repeating: bool,
    /// The pass at work only makes sure, and is of interest to nobody unless it finds something.
    makes_sure: bool,
}

impl Reporter for LogReporter {
    fn report(&mut self, news: &News<'_>) {
        match news {
            News::Up => info!("watching"),
            News::Phase { phase, wait } => self.entered(phase, *wait),
            News::PassBegan { request } if self.makes_sure => {
                debug!(trigger = %request.trigger, "pass repeated");
            }
            News::PassBegan { request } => {
                info!(trigger = %request.trigger, full_check = request.full_check, "pass began");
            }
            News::PassEnded { request, report, took } => self.ended(*request, report, *took),
            News::Reloading => info!("reading the settings again"),
            News::Reloaded { accepted: true } => info!("settings in force"),
            News::Reloaded { accepted: false } => info!("the settings in force stay as they are"),
            News::SweepFailed { error } => {
                warn!(error = %error, "sweep failed; stale staging may be left");
            }
            News::MarkerNotRemembered { error } => {
                warn!(error = %error, "the marker was acted on, and will be again after a restart");
            }
            News::Alive { phase } => debug!(phase = %phase, "alive"),
            News::Stopping => info!("stopping"),
            News::LeftBehind => warn!("work did not end in time; the next start clears up"),
        }
    }
}

impl LogReporter {
    fn entered(&mut self, phase: &Phase, wait: Option<Duration>) {
        match phase {
            // The pass has lines of its own.
            Phase::Building { look, .. } => {
                // Reading makes events too: a hint between two looks is no news, a person's order is.
                let hinted = self.repeating && look.request.trigger == Trigger::Database;
                self.makes_sure = look.is_repeated() || hinted;
            }
            Phase::Repeating { .. } => {
                self.repeating = true;
                debug!(%phase, wait_ms = wait.map(millis), "phase");
            }
            Phase::Idle { .. } | Phase::Settling { .. } | Phase::BackingOff { .. } | Phase::Stopping => {
                self.repeating = false;
                info!(%phase, wait_ms = wait.map(millis), "phase");
            }
        }
    }

    fn ended(&mut self, request: PassRequest, report: &PassReport, took: Duration) {
        let (outcome, trigger) = (report.outcome, request.trigger);
        let (message, took_ms) = (report.message.as_str(), millis(took));
        let is_news = match outcome {
            PassOutcome::Promoted | PassOutcome::Unchanged => {
                self.trouble = None;
                outcome == PassOutcome::Promoted || !self.makes_sure
            }
            PassOutcome::Refused | PassOutcome::Held | PassOutcome::Failed(_) => {
                self.trouble.as_deref() != Some(message)
            }
            PassOutcome::Busy | PassOutcome::Stopped => true,
        };
        if !is_news {
            debug!(%outcome, %trigger, took_ms, "{message}");
            return;
        }
        if let Some(Built { build, counts }) = &report.built {
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
            PassOutcome::Promoted | PassOutcome::Unchanged | PassOutcome::Busy | PassOutcome::Stopped => {
                info!(%outcome, %trigger, took_ms, "{message}");
                return;
            }
            PassOutcome::Held => info!(%outcome, %trigger, took_ms, "{message}"),
            PassOutcome::Refused | PassOutcome::Failed(Cure::Soon { .. }) => {
                warn!(%outcome, %trigger, took_ms, "{message}");
            }
            PassOutcome::Failed(Cure::Hourly | Cure::WhenChanged) => {
                error!(%outcome, %trigger, took_ms, "{message}");
            }
        }
        self.trouble = Some(message.to_owned());
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
