//! How far a build is: a bar on a terminal.
//!
//! Elsewhere each stage is a line at the debug level, and once a minute one line
//! says what is done or waited for, until when, and when that is given up.
//! Warnings are logged everywhere. With `--json` there is no bar.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::{clock, print_error};
use crate::adapters::builds::CurrentPass;
use crate::domain::parallel::lock;
use crate::domain::pass::Stage;
use crate::flows::reconcile::PassProgress;

/// How often a line says what is done, where there is no bar.
pub(super) const LINE_INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct BuildProgress {
    shows_bar: bool,
    bar: Mutex<Option<ProgressBar>>,
    step: Mutex<StepLines>,
    texts_sent: AtomicU64,
}

/// What is done now, and when the next line about it is due.
struct StepLines {
    interval: Duration,
    line: Option<String>,
    last: Option<Instant>,
}

impl StepLines {
    fn new(interval: Duration) -> Self {
        Self { interval, line: None, last: None }
    }

    fn enter(&mut self, line: String, now: Instant) {
        self.line = Some(line);
        self.last.get_or_insert(now);
    }

    /// The line that is due now; an interval after the first step began at the earliest.
    fn due(&mut self, now: Instant) -> Option<String> {
        let is_due = self.last.is_some_and(|last| now.saturating_duration_since(last) >= self.interval);
        let line = self.line.clone().filter(|_| is_due)?;
        self.last = Some(now);
        Some(line)
    }
}

impl BuildProgress {
    pub(super) fn new(json: bool) -> Arc<Self> {
        Self::with_interval(!json && std::io::stderr().is_terminal(), LINE_INTERVAL)
    }

    fn with_interval(shows_bar: bool, interval: Duration) -> Arc<Self> {
        Arc::new(Self {
            shows_bar,
            bar: Mutex::new(None),
            step: Mutex::new(StepLines::new(interval)),
            texts_sent: AtomicU64::new(0),
        })
    }

    /// Prints the lines that are due until the build has ended, whatever holds up the build.
    pub(super) fn print_lines(
        self: &Arc<Self>,
        runtime: &tokio::runtime::Handle,
        print: fn(&str),
    ) -> tokio::task::JoinHandle<()> {
        let progress = Arc::clone(self);
        let period = lock(&progress.step).interval.min(Duration::from_secs(1));
        runtime.spawn(async move {
            if progress.shows_bar {
                return;
            }
            loop {
                tokio::time::sleep(period).await;
                let line = lock(&progress.step).due(Instant::now());
                let Some(line) = line else { continue };
                // It may not be read.
                tokio::task::spawn_blocking(move || print(&line)).await.ok();
            }
        })
    }

    /// Another pass has the lock, and this one waits for it.
    pub(super) fn waits_for(&self, other: Option<&CurrentPass>, since: Timestamp) {
        let line = waits_for(other, since);
        if self.shows_bar {
            let mut bar = lock(&self.bar);
            bar.get_or_insert_with(spinner).set_message(line);
            return;
        }
        let is_first = {
            let mut step = lock(&self.step);
            let is_first = step.line.is_none();
            step.enter(line.clone(), Instant::now());
            is_first
        };
        if is_first {
            print_error(&line);
        }
    }

    pub(super) fn update(&self, progress: PassProgress<'_>) {
        let mut bar = lock(&self.bar);
        match progress {
            PassProgress::Sent { texts } => self.texts_sent.store(texts, Ordering::Relaxed),
            PassProgress::Note(message) => {
                let log = || tracing::info!("pass: {message}");
                bar.as_ref().map_or_else(log, |bar| bar.suspend(log));
            }
            PassProgress::Warning(message) => {
                let log = || tracing::warn!("{message}");
                bar.as_ref().map_or_else(log, |bar| bar.suspend(log));
            }
            PassProgress::Stage(Stage::Prepare) => {
                tracing::debug!(stage = %Stage::Prepare, "pass: stage started");
            }
            PassProgress::Stage(stage) => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
                tracing::debug!(%stage, "pass: stage started");
                if self.shows_bar {
                    *bar = Some(spinner().with_message(stage.to_string()));
                }
                lock(&self.step).enter(in_stage(stage, clock()), Instant::now());
            }
            PassProgress::Embedded { done, total, waiting } => {
                let waits = waiting.map(|waiting| format!("; waiting: {waiting}")).unwrap_or_default();
                lock(&self.step).enter(format!("embed: {done} of {total} texts{waits}"), Instant::now());
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

    /// Texts that left this host during the pass.
    pub(super) fn texts_sent(&self) -> u64 {
        self.texts_sent.load(Ordering::Relaxed)
    }

    /// Removes the bar.
    pub(super) fn end(&self) {
        if let Some(bar) = lock(&self.bar).take() {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// What a stage is, for a line: none of them but `embed` gives up by itself.
fn in_stage(stage: Stage, since: Timestamp) -> String {
    // The stored word of a scan is another.
    let stage = if stage == Stage::Scan { "scan".to_owned() } else { stage.to_string() };
    format!("{stage}: since {since:.0}, until it is done; without a limit of time, SIGINT or SIGTERM ends it")
}

/// What a build waits for that may not begin.
fn waits_for(other: Option<&CurrentPass>, since: Timestamp) -> String {
    let other = other.map(|pass| {
        let texts = pass.done.zip(pass.total).map(|(done, total)| format!(" {done} of {total} texts,"));
        format!(": stage {},{} since {:.0}", pass.stage, texts.unwrap_or_default(), pass.started)
    });
    format!(
        "waiting since {since:.0} until another pass has ended{}; without a limit of time, SIGINT or SIGTERM ends the wait",
        other.unwrap_or_default()
    )
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
    fn without_a_terminal_there_is_one_line_a_minute_and_it_says_the_last_step() {
        let start = Instant::now();
        let mut lines = StepLines::new(LINE_INTERVAL);
        assert_eq!(lines.due(start), None, "nothing has begun");
        let mut said = Vec::new();
        for second in 0..=190 {
            let now = start + Duration::from_secs(second);
            lines.enter(format!("step {second}"), now);
            said.extend(lines.due(now));
        }

        assert_eq!(said, ["step 60", "step 120", "step 180"]);
    }

    #[test]
    fn lines_come_while_a_stage_reports_nothing() {
        static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let progress = BuildProgress::with_interval(false, Duration::from_millis(5));
        progress.update(PassProgress::Stage(Stage::Scan));
        let lines = progress.print_lines(runtime.handle(), |line| lock(&SAID).push(line.to_owned()));

        let deadline = Instant::now() + Duration::from_secs(30);
        while lock(&SAID).len() < 3 {
            assert!(Instant::now() < deadline, "{:?}", lock(&SAID));
            std::thread::yield_now();
        }
        lines.abort();
        let said = lock(&SAID);
        assert!(
            said.iter().all(|line| line.starts_with("scan: since 2") && line.contains("until")),
            "{said:?}"
        );
    }

    #[test]
    fn a_wait_for_another_pass_says_what_that_does_and_what_ends_the_wait() {
        let since = Timestamp::from_second(1_000_000).unwrap();
        let other = |done: Option<u64>| CurrentPass {
            trigger: "marker".to_owned(),
            stage: "embed".to_owned(),
            done,
            total: done.map(|_| 400),
            started: Timestamp::UNIX_EPOCH,
        };
        let waiting = "waiting since 1970-01-12T13:46:40Z until another pass has ended";
        let ends = "; without a limit of time, SIGINT or SIGTERM ends the wait";
        for (other, does) in [
            (None, ""),
            (Some(other(None)), ": stage embed, since 1970-01-01T00:00:00Z"),
            (Some(other(Some(7))), ": stage embed, 7 of 400 texts, since 1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(waits_for(other.as_ref(), since), format!("{waiting}{does}{ends}"));
        }
    }
}
