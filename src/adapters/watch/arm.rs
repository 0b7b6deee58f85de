//! Inotify on directories, and the check that its events arrive.
//!
//! [`InotifyWatches`] lives as long as its directories are the right ones:
//! where a directory is replaced, it is dropped and made again. Inotify may be
//! granted and yet report nothing, as on network file systems; a change that
//! stays without an event for [`EVENT_TIMEOUT`] shows that, and from then on
//! the watches count as silent. What follows from it is `watcher`'s decision.

use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{RecursiveMode, Watcher};

use super::control::Control;
use super::events::{EventCounts, EventHandler};
use super::hints::HintSender;
use super::paths::WatchedPaths;

/// How long a change may stay without an event before the file system counts as
/// one that reports none: well above any delay of a busy host.
const EVENT_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes the watcher that calls the handler: inotify, or what a test puts in its place.
pub(super) type MakeWatcher = Box<dyn Fn(EventHandler) -> Result<BoxWatcher, ArmError> + Send>;

type BoxWatcher = Box<dyn Watcher + Send>;

/// Why directories cannot be watched.
pub(super) type ArmError = notify::Error;

pub(super) fn inotify(handler: EventHandler) -> Result<BoxWatcher, ArmError> {
    let on_event = move |event| handler.handle(event);
    Ok(Box::new(notify::RecommendedWatcher::new(on_event, notify::Config::default())?))
}

/// Whether a directory was gone by the time it was to be watched.
pub(super) fn is_gone(error: &ArmError) -> bool {
    matches!(error.kind, notify::ErrorKind::PathNotFound)
}

/// The watcher and the directories that it watches.
pub(super) struct InotifyWatches {
    pub(super) paths: WatchedPaths,
    pub(super) counts: Arc<EventCounts>,
    /// Events up to the last check.
    counted: [u64; 2],
    /// For database and marker: since when a change waits for its event, and
    /// how many events had arrived by then.
    unexplained: [Option<(Instant, u64)>; 2],
    silent: bool,
    /// Ends the watches when it is dropped.
    _watcher: BoxWatcher,
}

impl InotifyWatches {
    pub(super) fn add(
        paths: WatchedPaths,
        hints: HintSender,
        control: Arc<Control>,
        make: &MakeWatcher,
    ) -> Result<Self, ArmError> {
        let counts = Arc::new(EventCounts::default());
        let handler = EventHandler { paths: paths.clone(), hints, counts: Arc::clone(&counts), control };
        let mut watcher = make(handler)?;
        for directory in paths.iter() {
            watcher.watch(&directory.dir, RecursiveMode::NonRecursive)?;
        }
        let (counted, unexplained, silent) = ([0; 2], [None; 2], false);
        Ok(Self { paths, counts, counted, unexplained, silent, _watcher: watcher })
    }

    /// A change was seen that no event reported.
    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }

    /// Compares the changes that `stat` shows, of database and marker, with the
    /// events that arrived; `counted` was read before `stat`. True if the
    /// watches are silent from now on.
    pub(super) fn becomes_silent(&mut self, changed: [bool; 2], counted: [u64; 2], now: Instant) -> bool {
        for (which, changed) in changed.into_iter().enumerate() {
            let waiting = &mut self.unexplained[which];
            if waiting.is_some_and(|(_, before)| counted[which] != before) {
                *waiting = None;
            }
            if changed && waiting.is_none() && counted[which] == self.counted[which] {
                *waiting = Some((now, counted[which]));
            }
        }
        self.counted = counted;
        let is_overdue = |(since, _): &(Instant, u64)| now.duration_since(*since) >= EVENT_TIMEOUT;
        self.silent = self.unexplained.iter().flatten().any(is_overdue);
        self.silent
    }
}
