//! File system events on the database and the marker become [`Hint`]s.
//!
//! The parent directories are watched with inotify, and their identity is
//! compared again every `poll_interval`, so that a directory that is made
//! later, replaced or mounted over is found. Where inotify cannot be had the
//! same files are polled with `stat`; so they are where inotify was granted but
//! a change is seen that no event told of, as on network file systems. Each
//! turn from one to the other is said once.
//!
//! A hint is no proof. Lost events cost a delay that the slow round bounds;
//! events that our own reading causes are `agent`'s to recognise, by [`FileStamps`].
//! No file is ever opened here: closing one would drop SQLite's locks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use notify::{RecursiveMode, Watcher};
use tracing::{info, warn};

use crate::config::{self, WatchMode};
use crate::decide::debounce::Hint;
use crate::domain::file_stamp::FileStamp;

pub use hints::{HintSender, Hints, channel};
pub use stat::{FileStamps, TrackedFiles, stamp_of, stamp_of_link};

use events::{EventCounts, EventHandler};
use paths::WatchedPaths;

mod events;
mod hints;
mod paths;
mod stat;

/// How long to wait before inotify is asked for again after it was refused.
const INOTIFY_RETRY: Duration = Duration::from_secs(30);
/// How long a change may go without an event before the file system counts as
/// one that gives none: well above any delay of a busy host.
const EVENT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often directories are compared at least while they are watched.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Whatever the settings say, rounds are no closer than this.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// What to watch, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSpec {
    /// The database, as it is written in the settings.
    pub database: PathBuf,
    /// The marker.
    pub marker: PathBuf,
    /// By inotify, by polling, or as it turns out.
    pub mode: WatchMode,
    /// How often to poll, and to compare directories.
    pub poll_interval: Duration,
}

impl WatchSpec {
    /// What the settings say.
    #[must_use]
    pub fn new(database: &Path, settings: &config::TriggerSettings) -> Self {
        Self {
            database: database.to_owned(),
            marker: settings.marker.clone(),
            mode: settings.watch,
            poll_interval: settings.poll_interval,
        }
    }
}

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    control: Arc<Control>,
}

impl Watch {
    /// Starts to watch. What happens after this has returned is hinted at.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread. That inotify cannot be had is no error.
    pub fn start(aim: WatchSpec) -> io::Result<(Self, Hints)> {
        Self::start_with(aim, Box::new(inotify), INOTIFY_RETRY)
    }

    /// Watches something else, or in another way, from now on.
    pub fn retarget(&self, aim: WatchSpec) {
        self.control.request(|orders| orders.retarget = Some(aim));
    }

    /// Who can be asked how the files are watched.
    #[must_use]
    pub fn backend(&self) -> CurrentBackend {
        CurrentBackend(Arc::clone(&self.control))
    }

    fn start_with(aim: WatchSpec, make: MakeWatcher, ask_again: Duration) -> io::Result<(Self, Hints)> {
        let (hints, heard) = channel();
        let control = Arc::new(Control::default());
        let mut sentry = FileWatcher::new(aim, hints, Arc::clone(&control), make, ask_again);
        // The first round is gone here, so that whoever started the watch can
        // rely on it; hints are only of use from the second on.
        sentry.check(Instant::now());
        thread::Builder::new().name("watch".to_owned()).spawn(move || sentry.run())?;
        Ok((Self { control }, heard))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Not waited for: a stat on a dead network file system may never return.
        self.control.request(|orders| orders.end = true);
    }
}

type MakeWatcher = Box<dyn Fn(EventHandler) -> notify::Result<Box<dyn Watcher + Send>> + Send>;

fn inotify(ear: EventHandler) -> notify::Result<Box<dyn Watcher + Send>> {
    let heard = move |event| ear.handle(event);
    Ok(Box::new(notify::RecommendedWatcher::new(heard, notify::Config::default())?))
}

/// How orders reach the thread that watches. Each one can only be given or not,
/// so nothing here can fill up.
#[derive(Debug, Default)]
struct Control {
    requests: Mutex<WatchRequests>,
    changed: Condvar,
    backend: Mutex<Option<Backend>>,
}

#[derive(Debug, Default)]
struct WatchRequests {
    retarget: Option<WatchSpec>,
    /// Something on the way to the files came or went.
    check_now: bool,
    /// A watched directory itself went: its watch is worth nothing, even if
    /// another directory of the same inode stands there by now.
    rearm: bool,
    end: bool,
}

impl Control {
    fn request(&self, order: impl FnOnce(&mut WatchRequests)) {
        order(&mut self.lock());
        self.changed.notify_one();
    }

    /// Waits for orders, or until `patience` is at its end.
    fn wait(&self, patience: Duration) -> WatchRequests {
        let idle = |orders: &mut WatchRequests| {
            orders.retarget.is_none() && !orders.check_now && !orders.rearm && !orders.end
        };
        let (mut orders, _) = self
            .changed
            .wait_timeout_while(self.lock(), patience, idle)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *orders)
    }

    fn lock(&self) -> MutexGuard<'_, WatchRequests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that keeps watch: rearms, polls, and finds silent file systems.
struct FileWatcher {
    spec: WatchSpec,
    hints: HintSender,
    control: Arc<Control>,
    make: MakeWatcher,
    retry_interval: Duration,
    inotify: Option<InotifyWatches>,
    /// When to ask for inotify again after it was refused.
    retry_at: Option<Instant>,
    /// What the last round saw; `None` before the first one of an aim.
    polled: Option<PolledStamps>,
    /// For database and marker: since when a change waits for its event, and
    /// how many events had come by then.
    unexplained: [Option<(Instant, u64)>; 2],
    /// A change was seen that no event told of.
    silent: bool,
    logged: Option<Backend>,
    /// The first round is over: from here on what happens must not go unheard.
    started: bool,
}

/// The watcher and what it was set on.
struct InotifyWatches {
    paths: WatchedPaths,
    counts: Arc<EventCounts>,
    /// Events heard up to the last round.
    counted: [u64; 2],
    /// Ends the watch when it is dropped.
    _watcher: Box<dyn Watcher + Send>,
}

/// How the files are watched at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The kernel tells of changes.
    Inotify,
    /// The files are looked at every `poll_interval`.
    Polling,
    /// Neither: only the resync finds changes.
    NotAtAll,
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Inotify => "inotify",
            Self::Polling => "poll",
            Self::NotAtAll => "none",
        })
    }
}

/// Tells how the files are watched, as long as anybody asks.
#[derive(Clone, Debug)]
pub struct CurrentBackend(Arc<Control>);

impl CurrentBackend {
    /// How the files are watched at present; `None` before that is known.
    #[must_use]
    pub fn get(&self) -> Option<Backend> {
        *self.0.backend.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct PolledStamps {
    source: [Option<FileStamp>; 2],
    marker: Option<FileStamp>,
}

impl FileWatcher {
    fn new(
        aim: WatchSpec,
        hints: HintSender,
        control: Arc<Control>,
        make: MakeWatcher,
        ask_again: Duration,
    ) -> Self {
        Self {
            spec: aim,
            hints,
            control,
            make,
            retry_interval: ask_again,
            inotify: None,
            retry_at: None,
            polled: None,
            unexplained: [None; 2],
            silent: false,
            logged: None,
            started: false,
        }
    }

    fn run(mut self) {
        loop {
            let orders = self.control.wait(self.next_interval());
            if orders.end {
                return;
            }
            if orders.rearm && self.inotify.is_some() {
                self.drop_watches();
                self.hints.send(Hint::Everything);
            }
            if let Some(aim) = orders.retarget.filter(|aim| *aim != self.spec) {
                self.spec = aim;
                self.drop_watches();
                self.retry_at = None;
                self.polled = None;
                self.hints.send(Hint::Everything);
            }
            self.check(Instant::now());
        }
    }

    /// How long to the next round. A long `poll_interval` is no reason to find a
    /// replaced directory late.
    fn next_interval(&self) -> Duration {
        let slowest = if self.inotify.is_some() { MAX_CHECK_INTERVAL } else { Duration::MAX };
        self.spec.poll_interval.min(slowest).max(MIN_CHECK_INTERVAL)
    }

    /// One look at directories and files.
    fn check(&mut self, now: Instant) {
        match self.spec.mode {
            WatchMode::Poll => self.log_backend(Backend::Polling, "the settings say so"),
            WatchMode::Auto | WatchMode::Inotify => self.rearm(now),
        }
        if self.spec.mode != WatchMode::Inotify {
            self.poll(now);
        }
        self.started = true;
    }

    /// Sets the watches, where they are not set on the directories that are there now.
    fn rearm(&mut self, now: Instant) {
        let places = WatchedPaths::of(&self.spec.database, &self.spec.marker);
        if self.inotify.as_ref().is_some_and(|armed| armed.paths == places) {
            return;
        }
        if self.inotify.is_some() {
            self.drop_watches();
            self.hints.send(Hint::Everything);
        }
        if self.retry_at.is_some_and(|from| now < from) {
            return;
        }
        match self.add_watches(places) {
            Ok(armed) => {
                self.inotify = Some(armed);
                self.retry_at = None;
                // Whatever happened before went unheard, and must not count as
                // a change that no event told of.
                self.polled = None;
                if self.started {
                    self.hints.send(Hint::Everything);
                }
                self.log_backend(Backend::Inotify, "the directories can be watched");
            }
            // Gone since they were found a moment ago: the next round finds what is there.
            Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
            Err(error) => {
                self.retry_at = Some(now + self.retry_interval);
                let way =
                    if self.spec.mode == WatchMode::Auto { Backend::Polling } else { Backend::NotAtAll };
                self.log_backend(way, &error.to_string());
            }
        }
    }

    fn add_watches(&self, places: WatchedPaths) -> notify::Result<InotifyWatches> {
        let heard = Arc::new(EventCounts::default());
        let ear = EventHandler {
            paths: places.clone(),
            hints: self.hints.clone(),
            counts: Arc::clone(&heard),
            control: Arc::clone(&self.control),
        };
        let mut watcher = (self.make)(ear)?;
        for place in places.iter() {
            watcher.watch(&place.dir, RecursiveMode::NonRecursive)?;
        }
        for directory in places.missing() {
            warn!(directory = %directory.display(), "no such directory yet; it is watched once it is there");
        }
        Ok(InotifyWatches { paths: places, counts: heard, counted: [0; 2], _watcher: watcher })
    }

    fn drop_watches(&mut self) {
        self.inotify = None;
        self.unexplained = [None; 2];
        self.silent = false;
    }

    /// Compares the files with what the last round saw.
    fn poll(&mut self, now: Instant) {
        // Events are counted first: one that comes between the two readings must
        // not be counted now and explain nothing in the next round.
        let counted = self.inotify.as_ref().map(|armed| armed.counts.counts());
        let seen =
            PolledStamps { source: stat::source(&self.spec.database), marker: stamp_of(&self.spec.marker) };
        let Some(before) = self.polled.replace(seen) else { return };
        // A marker that went away asks for nothing.
        let changed = [seen.source != before.source, seen.marker != before.marker && seen.marker.is_some()];
        let (Some(armed), Some(counted), false) = (self.inotify.as_mut(), counted, self.silent) else {
            for (changed, hint) in changed.into_iter().zip([Hint::Database, Hint::Marker]) {
                if changed {
                    self.hints.send(hint);
                }
            }
            return;
        };
        for (which, changed) in changed.into_iter().enumerate() {
            let waiting = &mut self.unexplained[which];
            if waiting.is_some_and(|(_, before)| counted[which] != before) {
                *waiting = None;
            }
            if changed && waiting.is_none() && counted[which] == armed.counted[which] {
                *waiting = Some((now, counted[which]));
            }
        }
        armed.counted = counted;
        if self.unexplained.iter().flatten().any(|&(since, _)| now.duration_since(since) >= EVENT_TIMEOUT) {
            self.silent = true;
            self.log_backend(Backend::Polling, "a file changed and no event told of it");
            self.hints.send(Hint::Everything);
        }
    }

    fn log_backend(&mut self, way: Backend, reason: &str) {
        let before = self.logged.replace(way);
        *self.control.backend.lock().unwrap_or_else(PoisonError::into_inner) = Some(way);
        if before == Some(way) {
            return;
        }
        match way {
            Backend::Inotify if before.is_none() => {}
            Backend::Inotify => info!(watch = "inotify", reason, "watching by inotify"),
            Backend::Polling if self.spec.mode == WatchMode::Poll => {
                info!(watch = "poll", reason, "watching by polling");
            }
            Backend::Polling => warn!(watch = "poll", reason, "watching by polling"),
            Backend::NotAtAll => warn!(
                watch = "none",
                reason,
                "inotify cannot be had and the settings allow nothing else: only the resync finds changes"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
