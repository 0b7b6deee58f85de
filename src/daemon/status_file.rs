//! The agent's status for `reindexd status`, in a file that survives the agent.
//!
//! It is written when it changes, on a thread of its own and only in its newest
//! form, so that the loop never waits for a disk. An idle agent writes nothing
//! but the file's time stamp, once in [`LIFE_INTERVAL`]: the sign that its loop
//! runs, which `status` compares with the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};

use crate::adapters::builds::{AgentStatus, LastPass, json_file, lock, show_sign_of_life, sign_of_life};
use crate::adapters::builds::{Layout, error_chain};
use crate::adapters::watch::CurrentBackend;
use crate::app::clock;
use crate::decide::agent_state::AgentState;
use crate::decide::source_path::PathWarning;
use crate::domain::pass::{Outcome, StoredOutcome};
use crate::domain::stop::Stop;
use crate::flows::agent::{AgentEvent, Observer};

/// How old the sign of life of an agent that runs may become.
const LIFE_INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct StatusFile {
    status: AgentStatus,
    backend: CurrentBackend,
    to_disk: watch::Sender<AgentStatus>,
    alive: Arc<Notify>,
    last_life: Option<Instant>,
    /// What is read of the database is not what it is now.
    is_outdated: bool,
}

impl StatusFile {
    /// Starts with what the previous agent wrote: its failure counts until a pass has succeeded. Until then
    /// this agent knows no more than those before it, however often it is started.
    pub(super) fn open(layout: &Layout, backend: CurrentBackend, stop: Stop) -> Self {
        let (mut status, damaged): (AgentStatus, _) = json_file::load(&json_file::path(layout, "agent"));
        if let Some(message) = damaged {
            tracing::warn!("{message}");
        }
        let now = clock();
        status.started = Some(now);
        status.retry_at = None;
        status.warnings.clear();
        let known = [sign_of_life(layout), lock::last_good_end(layout)].into_iter().flatten().max();
        status.behind_since = status.behind_since.or(known).or(Some(now));
        let (to_disk, mut newest) = watch::channel(status.clone());
        newest.mark_changed();
        let alive = Arc::new(Notify::new());
        tokio::spawn(show_life(layout.clone(), Arc::clone(&alive), stop.clone()));
        let layout = layout.clone();
        tokio::spawn(async move {
            // A failure that lasts is logged once, whichever step of the writing it meets; each change is
            // another attempt to write.
            let mut is_failing = false;
            while stop.run_until_requested(newest.changed()).await.is_some_and(|changed| changed.is_ok()) {
                let status = newest.borrow_and_update().clone();
                let layout = layout.clone();
                let save = move || json_file::save_note(&layout, "agent", &status);
                let saved = tokio::task::spawn_blocking(save).await;
                let failure = saved.ok().and_then(Result::err).map(|error| error_chain(&error));
                if let Some(message) = failure.as_ref().filter(|_| !is_failing) {
                    tracing::warn!("{message}");
                }
                is_failing = failure.is_some();
            }
        });
        Self { status, backend, to_disk, alive, last_life: None, is_outdated: false }
    }
}

/// Touches the file when the loop says that it runs, on a thread of its own.
async fn show_life(layout: Layout, alive: Arc<Notify>, stop: Stop) {
    while stop.run_until_requested(alive.notified()).await.is_some() {
        let layout = layout.clone();
        let shown = tokio::task::spawn_blocking(move || show_sign_of_life(&layout, clock())).await;
        if let Ok(Err(error)) = shown {
            tracing::debug!(%error, "agent: no sign of life in its status file");
        }
    }
}

impl Observer for StatusFile {
    fn heartbeat(&self) -> Option<Duration> {
        Some(LIFE_INTERVAL)
    }

    fn on_event(&mut self, event: &AgentEvent<'_>) {
        let now = clock();
        match event {
            AgentEvent::StateEntered { state, wait } => self.state_entered(state, *wait, now),
            AgentEvent::PassFinished { request, report, .. } => {
                let ended = LastPass {
                    at: now,
                    trigger: request.trigger.to_string(),
                    outcome: report.outcome.into(),
                    message: report.message.clone(),
                };
                self.pass_finished(ended, report.outcome);
            }
            AgentEvent::ChangeIgnored => _ = self.status.behind_since.get_or_insert(now),
            AgentEvent::PathChanged { warnings } => self.path_changed(warnings, now),
            AgentEvent::Heartbeat { .. } => self.show_life(),
            AgentEvent::Started
            | AgentEvent::PassStarted { .. }
            | AgentEvent::Reloading
            | AgentEvent::Reloaded { .. }
            | AgentEvent::SweepFailed { .. }
            | AgentEvent::MarkerNotSaved { .. }
            | AgentEvent::Stopping
            | AgentEvent::StopTimedOut => {}
        }
        self.status.watch = self.backend.get().map(|backend| backend.to_string());
        self.to_disk.send_if_modified(|known| {
            let has_changed = *known != self.status;
            known.clone_from(&self.status);
            has_changed
        });
    }
}

impl StatusFile {
    /// The loop may turn more often than is worth a write.
    fn show_life(&mut self) {
        if self.last_life.is_none_or(|last| last.elapsed() >= LIFE_INTERVAL) {
            self.last_life = Some(Instant::now());
            self.alive.notify_one();
        }
    }

    /// While the path leads to what the database was, the agent does not know what it is.
    fn path_changed(&mut self, warnings: &[PathWarning], now: Timestamp) {
        self.status.warnings = warnings.iter().map(ToString::to_string).collect();
        self.is_outdated = warnings.iter().any(PathWarning::is_outdated);
        if self.is_outdated {
            self.status.behind_since.get_or_insert(now);
        }
    }

    /// A pass ended with all that it read served.
    fn caught_up(&mut self) {
        if !self.is_outdated {
            self.status.behind_since = None;
        }
    }

    fn state_entered(&mut self, state: &AgentState, wait: Option<Duration>, now: Timestamp) {
        self.status.retry_at = None;
        match state {
            // A scan that finds nothing passes through these: not worth a write.
            AgentState::Rechecking { .. } | AgentState::Running { .. } => return,
            AgentState::Idle { .. } | AgentState::Stopping => {}
            AgentState::Settling { .. } => {
                self.status.behind_since.get_or_insert(now);
            }
            AgentState::BackingOff { .. } => {
                self.status.behind_since.get_or_insert(now);
                let wait = wait.and_then(|wait| SignedDuration::try_from(wait).ok());
                self.status.retry_at = wait.and_then(|wait| now.checked_add(wait).ok());
            }
        }
        self.status.state = state.to_string();
    }

    fn pass_finished(&mut self, ended: LastPass, outcome: Outcome) {
        match outcome {
            // What a rollback holds back does not wait.
            Outcome::Promoted | Outcome::Held => self.caught_up(),
            Outcome::Unchanged => {
                self.caught_up();
                let succeeded = |last: &LastPass| {
                    matches!(last.outcome, StoredOutcome::Promoted | StoredOutcome::Unchanged)
                };
                if self.status.last_pass.as_ref().is_some_and(succeeded) {
                    // A scan that found nothing changes nothing.
                    return;
                }
            }
            Outcome::Busy | Outcome::Stopped => return,
            Outcome::Refused | Outcome::Failed(_) => {
                self.status.behind_since.get_or_insert(ended.at);
            }
        }
        self.status.last_pass = Some(ended);
    }
}
