//! What `status` can tell of the agent: kept in a file that survives it.
//!
//! The note is written when it says something new, on a thread of its own and
//! only in its newest form, so that the loop never waits for a disk. An idle
//! agent writes nothing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::clock;
use crate::adapters::builds::json_file;
use crate::adapters::builds::{AgentStatus, LastPass, Layout, error_chain};
use crate::adapters::watch::CurrentBackend;
use crate::decide::agent_state::AgentState;
use crate::domain::pass::{Outcome, StoredOutcome};
use crate::domain::stop::Stop;
use crate::flows::agent::AgentEvent;

/// Keeps the agent's note.
pub(super) struct StatusFile {
    status: AgentStatus,
    backend: CurrentBackend,
    to_disk: watch::Sender<AgentStatus>,
}

impl StatusFile {
    /// Begins with what the agent before left: a failure is one until a pass has ended better.
    pub(super) fn open(layout: &Layout, way: CurrentBackend, stop: Stop) -> Self {
        let (mut note, damaged): (AgentStatus, _) = json_file::load(&json_file::path(layout, "agent"));
        if let Some(words) = damaged {
            tracing::warn!("{words}");
        }
        note.started = Some(clock());
        note.retry_at = None;
        let (to_disk, mut newest) = watch::channel(note.clone());
        newest.mark_changed();
        let layout = layout.clone();
        tokio::spawn(async move {
            // A trouble that lasts is said once: the note is tried again at each piece of news.
            let mut said = None;
            while stop.run_until_requested(newest.changed()).await.is_some_and(|changed| changed.is_ok()) {
                let note = newest.borrow_and_update().clone();
                let layout = layout.clone();
                let save = move || json_file::save_note(&layout, "agent", &note);
                let saved = tokio::task::spawn_blocking(save).await;
                let trouble = saved.ok().and_then(Result::err).map(|error| error_chain(&error));
                if let Some(words) = trouble.as_ref().filter(|_| trouble != said) {
                    tracing::warn!("{words}");
                }
                said = trouble;
            }
        });
        Self { status: note, backend: way, to_disk }
    }

    /// Takes the agent's news, and has the note written where it changes.
    pub(super) fn on_event(&mut self, news: &AgentEvent<'_>) {
        let now = clock();
        match news {
            AgentEvent::StateEntered { state: phase, wait } => self.state_entered(phase, *wait, now),
            AgentEvent::PassFinished { request, report, .. } => {
                let ended = LastPass {
                    at: now,
                    trigger: request.trigger.to_string(),
                    outcome: report.outcome.into(),
                    message: report.message.clone(),
                };
                self.pass_finished(ended, report.outcome);
            }
            AgentEvent::Started
            | AgentEvent::PassStarted { .. }
            | AgentEvent::Reloading
            | AgentEvent::Reloaded { .. }
            | AgentEvent::SweepFailed { .. }
            | AgentEvent::MarkerNotSaved { .. }
            | AgentEvent::Heartbeat { .. }
            | AgentEvent::Stopping
            | AgentEvent::StopTimedOut => {}
        }
        self.status.watch = self.backend.get().map(|way| way.to_string());
        self.to_disk.send_if_modified(|known| {
            let is_news = *known != self.status;
            known.clone_from(&self.status);
            is_news
        });
    }

    fn state_entered(&mut self, phase: &AgentState, wait: Option<Duration>, now: Timestamp) {
        self.status.retry_at = None;
        match phase {
            // Passing states of a look that finds nothing: not worth a write.
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
        self.status.state = phase.to_string();
    }

    fn pass_finished(&mut self, ended: LastPass, outcome: Outcome) {
        match outcome {
            Outcome::Promoted => self.status.behind_since = None,
            Outcome::Unchanged => {
                self.status.behind_since = None;
                let was_well = |last: &LastPass| {
                    matches!(last.outcome, StoredOutcome::Promoted | StoredOutcome::Unchanged)
                };
                if self.status.last_pass.as_ref().is_some_and(was_well) {
                    // A look that found nothing says nothing new.
                    return;
                }
            }
            Outcome::Busy | Outcome::Stopped => return,
            Outcome::Refused | Outcome::Held | Outcome::Failed(_) => {
                self.status.behind_since.get_or_insert(ended.at);
            }
        }
        self.status.last_pass = Some(ended);
    }
}
