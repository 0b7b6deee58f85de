//! The thread that watches: it arms inotify again, polls, and sends hints.
//!
//! Each check compares the directories with those that are watched, and the
//! files with what the check before saw. Where inotify is not available, or
//! reports nothing, the same files are polled; each change of the backend is
//! logged once. How events become hints is `events`' matter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::arm::{InotifyWatches, MakeWatcher, is_gone};
use super::control::{Backend, Control};
use super::hints::HintSender;
use super::paths::WatchedPaths;
use super::spec::WatchSpec;
use super::stat::{self, stamp_of};
use crate::config::WatchMode;
use crate::decide::debounce::Hint;
use crate::domain::file_stamp::FileStamp;

/// How often directories are compared at least while they are watched.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Whatever the settings say, checks are no closer than this.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(10);

pub(super) struct FileWatcher {
    spec: WatchSpec,
    hints: HintSender,
    control: Arc<Control>,
    make: MakeWatcher,
    retry_interval: Duration,
    pub(super) inotify: Option<InotifyWatches>,
    /// When inotify is tried again after it was refused.
    retry_at: Option<Instant>,
    /// What the last check saw; `None` before the first one of a spec.
    pub(super) polled: Option<PolledStamps>,
    pub(super) logged: Option<Backend>,
    /// The first check is over: what happens from here on must cause a hint.
    started: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PolledStamps {
    source: [Option<FileStamp>; 2],
    marker: Option<FileStamp>,
}

impl FileWatcher {
    pub(super) fn new(
        spec: WatchSpec,
        hints: HintSender,
        control: Arc<Control>,
        make: MakeWatcher,
        retry_interval: Duration,
    ) -> Self {
        Self {
            spec,
            hints,
            control,
            make,
            retry_interval,
            inotify: None,
            retry_at: None,
            polled: None,
            logged: None,
            started: false,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let requests = self.control.wait(self.next_interval());
            if requests.end {
                return;
            }
            if requests.rearm && self.inotify.take().is_some() {
                self.hints.send(Hint::Everything);
            }
            if let Some(spec) = requests.retarget.filter(|spec| *spec != self.spec) {
                self.spec = spec;
                self.inotify = None;
                self.retry_at = None;
                self.polled = None;
                self.hints.send(Hint::Everything);
            }
            self.check(Instant::now());
        }
    }

    /// How long to the next check. A long `poll_interval` must not delay the
    /// discovery of a replaced directory.
    fn next_interval(&self) -> Duration {
        let slowest = if self.inotify.is_some() { MAX_CHECK_INTERVAL } else { Duration::MAX };
        self.spec.poll_interval.min(slowest).max(MIN_CHECK_INTERVAL)
    }

    /// Compares directories and files once.
    pub(super) fn check(&mut self, now: Instant) {
        match self.spec.mode {
            WatchMode::Poll => self.log_backend(Backend::Polling, "the settings say so"),
            WatchMode::Auto | WatchMode::Inotify => self.rearm(now),
        }
        if self.spec.mode != WatchMode::Inotify {
            self.poll(now);
        }
        self.started = true;
    }

    /// Adds the watches, unless they are on the directories that exist now.
    fn rearm(&mut self, now: Instant) {
        let paths = WatchedPaths::of(&self.spec.database, &self.spec.marker);
        if self.inotify.as_ref().is_some_and(|watches| watches.paths == paths) {
            return;
        }
        if self.inotify.take().is_some() {
            self.hints.send(Hint::Everything);
        }
        if self.retry_at.is_some_and(|from| now < from) {
            return;
        }
        match InotifyWatches::add(paths, self.hints.clone(), Arc::clone(&self.control), &self.make) {
            Ok(watches) => {
                for directory in watches.paths.missing() {
                    let directory = directory.display();
                    warn!(%directory, "watch: a directory does not exist yet, it is watched once it does");
                }
                self.inotify = Some(watches);
                self.retry_at = None;
                // Earlier changes had no event, and must not count as changes
                // that inotify failed to report.
                self.polled = None;
                if self.started {
                    self.hints.send(Hint::Everything);
                }
                self.log_backend(Backend::Inotify, "the directories can be watched");
            }
            // Removed since they were found: the next check finds what exists then.
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                self.retry_at = Some(now + self.retry_interval);
                let is_auto = self.spec.mode == WatchMode::Auto;
                let backend = if is_auto { Backend::Polling } else { Backend::NotAtAll };
                self.log_backend(backend, &error.to_string());
            }
        }
    }

    /// Compares the files with what the last check saw.
    fn poll(&mut self, now: Instant) {
        // Events are counted first: one that arrives between the two readings must
        // not be counted now and explain nothing at the next check.
        let counted = self.inotify.as_ref().map(|watches| watches.counts.counts());
        let seen =
            PolledStamps { source: stat::source(&self.spec.database), marker: stamp_of(&self.spec.marker) };
        let Some(before) = self.polled.replace(seen) else { return };
        // A removed marker requests nothing.
        let changed = [seen.source != before.source, seen.marker != before.marker && seen.marker.is_some()];
        match (self.inotify.as_mut().filter(|watches| !watches.is_silent()), counted) {
            (Some(watches), Some(counted)) => {
                if watches.becomes_silent(changed, counted, now) {
                    self.log_backend(Backend::Polling, "a file changed and inotify did not report it");
                    self.hints.send(Hint::Everything);
                }
            }
            _ => {
                for (changed, hint) in changed.into_iter().zip([Hint::Database, Hint::Marker]) {
                    if changed {
                        self.hints.send(hint);
                    }
                }
            }
        }
    }

    fn log_backend(&mut self, backend: Backend, reason: &str) {
        let before = self.logged.replace(backend);
        self.control.set_backend(backend);
        if before == Some(backend) {
            return;
        }
        let watch = backend.to_string();
        match backend {
            Backend::Inotify if before.is_none() => {}
            Backend::Inotify => info!(watch, reason, "watch: inotify in use"),
            Backend::Polling if self.spec.mode == WatchMode::Poll => {
                info!(watch, reason, "watch: polling in use");
            }
            Backend::Polling => warn!(watch, reason, "watch: polling in use"),
            Backend::NotAtAll => {
                warn!(
                    watch,
                    reason,
                    "watch: inotify is not available and trigger.watch allows nothing else; only the \
                     resync finds changes"
                );
            }
        }
    }
}
