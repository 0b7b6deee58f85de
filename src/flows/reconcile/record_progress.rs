//! Keeps a running pass visible to `status`.
//!
//! A pass gets its file when it enters a stage or embeds texts after
//! [`MIN_AGE`], or reads the table for longer than [`MIN_READ_AGE`]: one that
//! finds nothing new in a small table writes nothing. One that waits for the
//! provider has it at once. After that the file is written at each stage, and
//! at most once in [`MIN_INTERVAL`] within one.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::context::PassProgress;
use super::said_warnings::SaidWarnings;
use crate::adapters::builds::{CurrentPass, CurrentPassFile, Layout};
use crate::domain::parallel::lock;
use crate::domain::pass::{Stage, Trigger};

/// A pass that only scans a small table is over sooner.
const MIN_AGE: Duration = Duration::from_millis(300);
const MIN_READ_AGE: Duration = Duration::from_secs(2);
const MIN_INTERVAL: Duration = Duration::from_millis(500);

pub(super) struct ProgressRecorder {
    layout: Layout,
    started: Instant,
    state: Mutex<Recorded>,
    said: SaidWarnings,
}

struct Recorded {
    pass: CurrentPass,
    file: FileState,
    written: Option<Instant>,
}

enum FileState {
    NotYet,
    Open(CurrentPassFile),
    /// It could not be written: not tried again.
    Failed,
}

impl ProgressRecorder {
    pub(super) fn new(layout: Layout, trigger: Trigger, now: Timestamp) -> Self {
        let (trigger, stage) = (trigger.to_string(), Stage::Prepare.to_string());
        let pass = CurrentPass { trigger, stage, done: None, total: None, started: now };
        let recorded = Recorded { pass, file: FileState::NotYet, written: None };
        Self { layout, started: Instant::now(), state: Mutex::new(recorded), said: SaidWarnings::default() }
    }

    /// Whether it is shown to an operator, see [`SaidWarnings`].
    pub(super) fn is_new(&self, now: &PassProgress<'_>) -> bool {
        self.said.is_new(now)
    }

    pub(super) fn record(&self, now: &PassProgress<'_>) {
        let mut recorded = lock(&self.state);
        let is_stage = match now {
            PassProgress::Stage(stage) => {
                (recorded.pass.done, recorded.pass.total) = (None, None);
                // The stored word of a scan is another.
                recorded.pass.stage =
                    if *stage == Stage::Scan { "scan".to_owned() } else { stage.to_string() };
                true
            }
            PassProgress::Embedded { done, total, .. } => {
                (recorded.pass.done, recorded.pass.total) = (Some(*done), Some(*total));
                false
            }
            PassProgress::Sent { .. } | PassProgress::Note(_) | PassProgress::Warning(_) => return,
        };
        let is_due = is_stage || recorded.written.is_none_or(|written| written.elapsed() >= MIN_INTERVAL);
        // A wait may last for an hour in which no other step comes.
        let is_waiting = matches!(now, PassProgress::Embedded { waiting: Some(_), .. });
        if (self.started.elapsed() >= MIN_AGE || is_waiting) && is_due {
            self.write(&mut recorded);
        }
    }

    /// The pass is alive, in whatever stage it is.
    pub(super) fn beat(&self) {
        if self.started.elapsed() >= MIN_READ_AGE {
            let mut recorded = lock(&self.state);
            if recorded.written.is_none() {
                self.write(&mut recorded);
            }
        }
    }

    fn write(&self, recorded: &mut Recorded) {
        if matches!(recorded.file, FileState::NotYet) {
            // A reader may hold its lock for a moment: then it is tried again at the next step.
            recorded.file = CurrentPassFile::create(&self.layout).map_or(FileState::NotYet, FileState::Open);
        }
        if let FileState::Open(file) = &recorded.file
            && !file.write(&recorded.pass)
        {
            recorded.file = FileState::Failed;
        }
        recorded.written = Some(Instant::now());
    }
}
