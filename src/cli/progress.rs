//! How far a build is: a bar on a terminal.
//!
//! Elsewhere each stage is a line at the debug level. Warnings are logged
//! everywhere. With `--json` there is no bar.

use std::io::IsTerminal;
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};

use crate::domain::pass::Stage;
use crate::flows::reconcile::PassProgress;

pub(super) struct BuildProgress {
    shows_bar: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl BuildProgress {
    pub(super) fn new(json: bool) -> Self {
        Self { shows_bar: !json && std::io::stderr().is_terminal(), bar: Mutex::new(None) }
    }

    pub(super) fn update(&self, progress: PassProgress<'_>) {
        let mut bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match progress {
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
                }
            }
        }
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
