//! What `status` can tell of the agent: kept in a file that survives it.
//!
//! The note is written when it says something new, on a thread of its own and
//! only in its newest form, so that the loop never waits for a disk. An idle
//! agent writes nothing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::clock;
use crate::adapters::builds::state::{self, AgentNote, LastPass};
use crate::adapters::builds::{Layout, with_cause};
use crate::adapters::watch::WayNow;
use crate::decide::agent_state::Phase;
use crate::domain::pass::PassOutcome;
use crate::flows::agent::News;

/// Keeps the agent's note.
pub(super) struct Ledger {
    note: AgentNote,
    way: WayNow,
    to_disk: watch::Sender<AgentNote>,
}

impl Ledger {
    /// Begins with what the agent before left: a failure is one until a pass has ended better.
    pub(super) fn open(layout: &Layout, way: WayNow, stop: CancellationToken) -> Self {
        let (mut note, damaged): (AgentNote, _) = state::load(&state::path(layout, "agent"));
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
            while stop.run_until_cancelled(newest.changed()).await.is_some_and(|changed| changed.is_ok()) {
                let note = newest.borrow_and_update().clone();
                let layout = layout.clone();
                let save = move || state::save_note(&layout, "agent", &note);
                let saved = tokio::task::spawn_blocking(save).await;
                let trouble = saved.ok().and_then(Result::err).map(|error| with_cause(&error));
                if let Some(words) = trouble.as_ref().filter(|_| trouble != said) {
                    tracing::warn!("{words}");
                }
                said = trouble;
            }
        });
        Self { note, way, to_disk }
    }

    /// Takes the agent's news, and has the note written where it changes.
    pub(super) fn hear(&mut self, news: &News<'_>) {
        let now = clock();
        match news {
            News::Phase { phase, wait } => self.entered(phase, *wait, now),
            News::PassEnded { request, report, .. } => {
                let ended = LastPass {
                    at: now,
                    trigger: request.trigger.to_string(),
                    outcome: report.outcome.to_string(),
                    message: report.message.clone(),
                };
                self.ended(ended, report.outcome);
            }
            News::Up
            | News::PassBegan { .. }
            | News::Reloading
            | News::Reloaded { .. }
            | News::SweepFailed { .. }
            | News::MarkerNotRemembered { .. }
            | News::Alive { .. }
            | News::Stopping
            | News::LeftBehind => {}
        }
        self.note.watch = self.way.get().map(|way| way.to_string());
        self.to_disk.send_if_modified(|known| {
            let is_news = *known != self.note;
            known.clone_from(&self.note);
            is_news
        });
    }

    fn entered(&mut self, phase: &Phase, wait: Option<Duration>, now: Timestamp) {
        self.note.retry_at = None;
        match phase {
            // Passing states of a look that finds nothing: not worth a write.
            Phase::Repeating { .. } | Phase::Building { .. } => return,
            Phase::Idle { .. } | Phase::Stopping => {}
            Phase::Settling { .. } => {
                self.note.behind_since.get_or_insert(now);
            }
            Phase::BackingOff { .. } => {
                self.note.behind_since.get_or_insert(now);
                let wait = wait.and_then(|wait| SignedDuration::try_from(wait).ok());
                self.note.retry_at = wait.and_then(|wait| now.checked_add(wait).ok());
            }
        }
        self.note.phase = phase.to_string();
    }

    fn ended(&mut self, ended: LastPass, outcome: PassOutcome) {
        match outcome {
            PassOutcome::Promoted => self.note.behind_since = None,
            PassOutcome::Unchanged => {
                self.note.behind_since = None;
                let was_well = |last: &LastPass| ["promoted", "unchanged"].contains(&last.outcome.as_str());
                if self.note.last_pass.as_ref().is_some_and(was_well) {
                    // A look that found nothing says nothing new.
                    return;
                }
            }
            PassOutcome::Busy | PassOutcome::Stopped => return,
            PassOutcome::Refused | PassOutcome::Held | PassOutcome::Failed(_) => {
                self.note.behind_since.get_or_insert(ended.at);
            }
        }
        self.note.last_pass = Some(ended);
    }
}
