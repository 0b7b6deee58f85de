//! How far a build is: a bar on a terminal, one line a phase elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};

use crate::domain::pass::Stage;
use crate::flows::reconcile::PassProgress;

/// What a person sees while a build goes on.
pub(super) struct BuildProgress {
    /// Whether standard error is a terminal that a person watches.
    terminal: bool,
    quiet: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl BuildProgress {
    /// Begins; with `--json` only warnings are shown.
    pub(super) fn new(json: bool) -> Self {
        Self { terminal: std::io::stderr().is_terminal(), quiet: json, bar: Mutex::new(None) }
    }

    /// Shows what goes on.
    pub(super) fn update(&self, now: PassProgress<'_>) {
        let mut bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match now {
            PassProgress::Warning(words) => {
                if let Some(bar) = bar.as_ref() {
                    bar.suspend(|| log_warning(words));
                } else {
                    log_warning(words);
                }
            }
            PassProgress::Stage(phase) => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
                tracing::debug!(%phase, "phase");
                if self.terminal && !self.quiet && phase != Stage::Prepare {
                    let spinner = ProgressBar::new_spinner().with_message(phase.to_string());
                    spinner.enable_steady_tick(std::time::Duration::from_millis(100));
                    *bar = Some(spinner);
                }
            }
            PassProgress::Embedded { done, total, waiting } => {
                if self.terminal && !self.quiet {
                    let bar = bar.get_or_insert_with(|| ProgressBar::new(total));
                    if bar.length() != Some(total) {
                        bar.finish_and_clear();
                        *bar = ProgressBar::new(total);
                    }
                    bar.set_style(style(waiting.is_some()));
                    bar.set_message(waiting.unwrap_or_default().to_owned());
                    bar.set_position(done);
                }
            }
        }
    }

    /// Clears the bar away.
    pub(super) fn end(&self) {
        let bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }
}

fn log_warning(words: &str) {
    tracing::warn!("{words}");
}

fn style(waiting: bool) -> ProgressStyle {
    let shape = if waiting {
        "embed {bar:30} {pos}/{len}  waiting: {wide_msg}"
    } else {
        "embed {bar:30} {pos}/{len}  {per_sec}  {eta} left"
    };
    ProgressStyle::with_template(shape).expect("a template of known words")
}
