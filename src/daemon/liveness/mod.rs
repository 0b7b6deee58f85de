//! Whether the running pass makes progress.
//!
//! The thread of a pass leaves its signs of life here and the agent's loop reads
//! them, so that a pass that hangs can be distinguished from one that is slow.
//! While texts are embedded only a text that arrives counts; in every other
//! stage each step does. What follows from silence is decided by `systemd`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::pass::Stage;
use crate::flows::reconcile::PassProgress;

/// How long a stage may go without a sign of life: an fsync of a large file, a
/// wait for a writer's lock, one search by Faiss.
const STAGE_TIMEOUT: Duration = Duration::from_secs(120);

/// Signs of life of the running pass; shared between its thread and the loop.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    ticks: AtomicU64,
    ready: AtomicBool,
    current: Mutex<Option<CurrentStage>>,
}

#[derive(Clone, Debug, PartialEq)]
struct CurrentStage {
    stage: Stage,
    last_progress: Instant,
    ticks: u64,
    embedding: Option<EmbedEstimate>,
}

#[derive(Clone, Debug, PartialEq)]
struct EmbedEstimate {
    started: Instant,
    done: u64,
    total: u64,
    waiting: Option<String>,
}

impl Liveness {
    /// A step of the pass: a row read, a chunk written, a batch handed over.
    pub(super) fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    /// Records the progress of a pass. True if the agent becomes ready by it:
    /// the first plan is about to be made.
    pub(super) fn update(&self, progress: PassProgress<'_>) -> bool {
        let now = Instant::now();
        self.tick();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            PassProgress::Stage(stage) => {
                *current = Some(CurrentStage { stage, last_progress: now, ticks: 0, embedding: None });
                stage == Stage::Plan && self.becomes_ready()
            }
            PassProgress::Embedded { done, total, waiting } => {
                if let Some(current) = current.as_mut() {
                    current.embedded(done, total, waiting, now);
                }
                false
            }
            PassProgress::Sent { .. } | PassProgress::Note(_) | PassProgress::Warning(_) => false,
        }
    }

    pub(super) fn pass_finished(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// True the first time it is called.
    pub(super) fn becomes_ready(&self) -> bool {
        !self.ready.swap(true, Ordering::SeqCst)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    /// Whether the running pass makes progress; without one the loop itself is
    /// the sign of life. `embed_limit`: how long the settings let a pass try to
    /// embed without a success.
    pub(super) fn is_alive(&self, now: Instant, embed_limit: Duration) -> bool {
        let ticks = self.ticks.load(Ordering::Relaxed);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(current) = current.as_mut() else { return true };
        // While texts are embedded, waiting for the provider ticks as well.
        if current.stage != Stage::Embed && current.ticks != ticks {
            current.last_progress = now;
        }
        current.ticks = ticks;
        now.saturating_duration_since(current.last_progress) <= deadline(current.stage, embed_limit)
    }

    /// The stage of the running pass and how long it has been silent.
    pub(super) fn silence(&self, now: Instant) -> Option<(Stage, Duration)> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let current = current.as_ref()?;
        Some((current.stage, now.saturating_duration_since(current.last_progress)))
    }

    /// What the running pass does, for people.
    pub(super) fn describe(&self, now: Instant) -> Option<String> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let current = current.as_ref()?;
        Some(match &current.embedding {
            Some(embedding) if current.stage == Stage::Embed => embedding.describe(now),
            _ => current.stage.to_string(),
        })
    }
}

impl CurrentStage {
    fn embedded(&mut self, done: u64, total: u64, waiting: Option<&str>, now: Instant) {
        let before = self.embedding.as_ref();
        if before.is_none_or(|before| before.done != done) {
            self.last_progress = now;
        }
        let started = before.map_or(now, |before| before.started);
        self.embedding = Some(EmbedEstimate { started, done, total, waiting: waiting.map(str::to_owned) });
    }
}

fn deadline(stage: Stage, embed_limit: Duration) -> Duration {
    match stage {
        Stage::Embed => embed_limit + STAGE_TIMEOUT,
        Stage::Prepare
        | Stage::Scan
        | Stage::Plan
        | Stage::Index
        | Stage::Verify
        | Stage::Evaluate
        | Stage::Promote => STAGE_TIMEOUT,
    }
}

impl EmbedEstimate {
    fn describe(&self, now: Instant) -> String {
        let Self { started, done, total, waiting } = self;
        let percent = 100 * done / total.max(&1);
        let progress = format!("embed {percent} %, {done} of {total}");
        if let Some(waiting) = waiting {
            return format!("{progress}, waiting: {waiting}");
        }
        let spent = now.saturating_duration_since(*started).as_secs();
        match (total.saturating_sub(*done) * spent).checked_div(*done) {
            Some(left) if spent > 0 => format!("{progress}, {left} s left"),
            _ => progress,
        }
    }
}

#[cfg(test)]
mod tests;
