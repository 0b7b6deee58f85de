//! How far a build is: a bar on a terminal.
//!
//! Elsewhere each stage is a line at the debug level, and while texts are
//! embedded one line a minute says how far it is and what is waited for.
//! Warnings are logged everywhere. With `--json` there is no bar.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::print_error;
use crate::domain::parallel::lock;
use crate::domain::pass::Stage;
use crate::flows::reconcile::PassProgress;

pub(super) struct BuildProgress {
    shows_bar: bool,
    bar: Mutex<Option<ProgressBar>>,
    lines: Mutex<MinuteLines>,
    texts_sent: AtomicU64,
}

/// When the next line is due where there is no bar.
#[derive(Default)]
struct MinuteLines(Option<Instant>);

impl MinuteLines {
    const INTERVAL: Duration = Duration::from_secs(60);

    /// Whether a line is due now; a minute after the first question at the earliest.
    fn is_due(&mut self, now: Instant) -> bool {
        let last = *self.0.get_or_insert(now);
        let is_due = now.saturating_duration_since(last) >= Self::INTERVAL;
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

impl BuildProgress {
    pub(super) fn new(json: bool) -> Self {
        Self {
            shows_bar: !json && std::io::stderr().is_terminal(),
            bar: Mutex::new(None),
            lines: Mutex::default(),
            texts_sent: AtomicU64::new(0),
        }
    }

    pub(super) fn update(&self, progress: PassProgress<'_>) {
        let mut bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match progress {
            PassProgress::Sent { texts } => self.texts_sent.store(texts, Ordering::Relaxed),
            PassProgress::Warning(message) => {
                let log = || tracing::warn!("{message}");
                bar.as_ref().map_or_else(log, |bar| bar.suspend(log));
            }
            PassProgress::Stage(stage) => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
                tracing::debug!(%stage, "pass: stage started");
                if self.shows_bar && stage != Stage::Prepare {
                    let spinner = ProgressBar::new_spinner().with_message(stage.to_string());
                    spinner.enable_steady_tick(std::time::Duration::from_millis(100));
                    *bar = Some(spinner);
                }
            }
            PassProgress::Embedded { done, total, waiting } => {
                if self.shows_bar {
                    let bar = bar.get_or_insert_with(|| ProgressBar::new(total));
                    if bar.length() != Some(total) {
                        bar.finish_and_clear();
                        *bar = ProgressBar::new(total);
                    }
                    bar.set_style(style(waiting.is_some()));
                    bar.set_message(waiting.unwrap_or_default().to_owned());
                    bar.set_position(done);
                } else if lock(&self.lines).is_due(Instant::now()) {
                    let waiting = waiting.map(|waiting| format!("; waiting: {waiting}"));
                    print_error(&format!("embed: {done} of {total} texts{}", waiting.unwrap_or_default()));
                }
            }
        }
    }

    /// Texts that left this host during the pass.
    pub(super) fn texts_sent(&self) -> u64 {
        self.texts_sent.load(Ordering::Relaxed)
    }

    /// Removes the bar.
    pub(super) fn end(&self) {
        let bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }
}

fn style(waiting: bool) -> ProgressStyle {
    let template = if waiting {
        "embed {bar:30} {pos}/{len}  waiting: {wide_msg}"
    } else {
        "embed {bar:30} {pos}/{len}  {per_sec}  {eta} left"
    };
    ProgressStyle::with_template(template).expect("both templates are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_there_is_one_line_a_minute() {
        let start = Instant::now();
        let mut lines = MinuteLines::default();
        let due: Vec<u64> =
            (0..=190).filter(|second| lines.is_due(start + Duration::from_secs(*second))).collect();

        assert_eq!(due, [60, 120, 180]);
    }
}
