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
//! events that our own reading causes are `agent`'s to recognise, by [`Sighting`].
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
use crate::domain::file_stamp::Stamp;

pub use hints::{HintSender, Hints, channel};
pub use stat::{Sighting, Sites, stamp_of, stamp_of_link};

use events::{Ear, Heard};
use paths::Places;

mod events;
mod hints;
mod paths;
mod stat;

/// How long to wait before inotify is asked for again after it was refused.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// How long a change may go without an event before the file system counts as
/// one that gives none: well above any delay of a busy host.
const SILENCE: Duration = Duration::from_secs(1);
/// How often directories are compared at least while they are watched.
const SLOWEST_ARMED: Duration = Duration::from_secs(10);
/// Whatever the settings say, rounds are no closer than this.
const FASTEST: Duration = Duration::from_millis(10);

/// What to watch, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aim {
    /// The database, as it is written in the settings.
    pub database: PathBuf,
    /// The marker.
    pub marker: PathBuf,
    /// By inotify, by polling, or as it turns out.
    pub mode: WatchMode,
    /// How often to poll, and to compare directories.
    pub poll_interval: Duration,
}

impl Aim {
    /// What the settings say.
    #[must_use]
    pub fn new(database: &Path, settings: &config::Trigger) -> Self {
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
    pub fn start(aim: Aim) -> io::Result<(Self, Hints)> {
        Self::start_with(aim, Box::new(inotify), ASK_AGAIN)
    }

    /// Watches something else, or in another way, from now on.
    pub fn aim(&self, aim: Aim) {
        self.control.order(|orders| orders.aim = Some(aim));
    }

    /// Who can be asked how the files are watched.
    #[must_use]
    pub fn way(&self) -> WayNow {
        WayNow(Arc::clone(&self.control))
    }

    fn start_with(aim: Aim, make: MakeWatcher, ask_again: Duration) -> io::Result<(Self, Hints)> {
        let (hints, heard) = channel();
        let control = Arc::new(Control::default());
        let mut sentry = Sentry::new(aim, hints, Arc::clone(&control), make, ask_again);
        // The first round is gone here, so that whoever started the watch can
        // rely on it; hints are only of use from the second on.
        sentry.round(Instant::now());
        thread::Builder::new().name("watch".to_owned()).spawn(move || sentry.keep())?;
        Ok((Self { control }, heard))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Not waited for: a stat on a dead network file system may never return.
        self.control.order(|orders| orders.end = true);
    }
}

type MakeWatcher = Box<dyn Fn(Ear) -> notify::Result<Box<dyn Watcher + Send>> + Send>;

fn inotify(ear: Ear) -> notify::Result<Box<dyn Watcher + Send>> {
    let heard = move |event| ear.hear(event);
    Ok(Box::new(notify::RecommendedWatcher::new(heard, notify::Config::default())?))
}

/// How orders reach the thread that watches. Each one can only be given or not,
/// so nothing here can fill up.
#[derive(Debug, Default)]
struct Control {
    orders: Mutex<Orders>,
    given: Condvar,
    way: Mutex<Option<Way>>,
}

#[derive(Debug, Default)]
struct Orders {
    aim: Option<Aim>,
    /// Something on the way to the files came or went.
    look_now: bool,
    /// A watched directory itself went: its watch is worth nothing, even if
    /// another directory of the same inode stands there by now.
    arm_anew: bool,
    end: bool,
}

impl Control {
    fn order(&self, order: impl FnOnce(&mut Orders)) {
        order(&mut self.lock());
        self.given.notify_one();
    }

    /// Waits for orders, or until `patience` is at its end.
    fn wait(&self, patience: Duration) -> Orders {
        let idle =
            |orders: &mut Orders| orders.aim.is_none() && !orders.look_now && !orders.arm_anew && !orders.end;
        let (mut orders, _) = self
            .given
            .wait_timeout_while(self.lock(), patience, idle)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *orders)
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that keeps watch: rearms, polls, and finds silent file systems.
struct Sentry {
    aim: Aim,
    hints: HintSender,
    control: Arc<Control>,
    make: MakeWatcher,
    ask_again: Duration,
    armed: Option<Armed>,
    /// When to ask for inotify again after it was refused.
    ask_from: Option<Instant>,
    /// What the last round saw; `None` before the first one of an aim.
    polled: Option<Polled>,
    /// For database and marker: since when a change waits for its event, and
    /// how many events had come by then.
    unexplained: [Option<(Instant, u64)>; 2],
    /// A change was seen that no event told of.
    silent: bool,
    said: Option<Way>,
    /// The first round is over: from here on what happens must not go unheard.
    begun: bool,
}

/// The watcher and what it was set on.
struct Armed {
    places: Places,
    heard: Arc<Heard>,
    /// Events heard up to the last round.
    counted: [u64; 2],
    /// Ends the watch when it is dropped.
    _watcher: Box<dyn Watcher + Send>,
}

/// How the files are watched at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The kernel tells of changes.
    Inotify,
    /// The files are looked at every `poll_interval`.
    Polling,
    /// Neither: only the resync finds changes.
    NotAtAll,
}

impl std::fmt::Display for Way {
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
pub struct WayNow(Arc<Control>);

impl WayNow {
    /// How the files are watched at present; `None` before that is known.
    #[must_use]
    pub fn get(&self) -> Option<Way> {
        *self.0.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Polled {
    source: [Option<Stamp>; 2],
    marker: Option<Stamp>,
}

impl Sentry {
    fn new(
        aim: Aim,
        hints: HintSender,
        control: Arc<Control>,
        make: MakeWatcher,
        ask_again: Duration,
    ) -> Self {
        Self {
            aim,
            hints,
            control,
            make,
            ask_again,
            armed: None,
            ask_from: None,
            polled: None,
            unexplained: [None; 2],
            silent: false,
            said: None,
            begun: false,
        }
    }

    fn keep(mut self) {
        loop {
            let orders = self.control.wait(self.patience());
            if orders.end {
                return;
            }
            if orders.arm_anew && self.armed.is_some() {
                self.forget();
                self.hints.send(Hint::Everything);
            }
            if let Some(aim) = orders.aim.filter(|aim| *aim != self.aim) {
                self.aim = aim;
                self.forget();
                self.ask_from = None;
                self.polled = None;
                self.hints.send(Hint::Everything);
            }
            self.round(Instant::now());
        }
    }

    /// How long to the next round. A long `poll_interval` is no reason to find a
    /// replaced directory late.
    fn patience(&self) -> Duration {
        let slowest = if self.armed.is_some() { SLOWEST_ARMED } else { Duration::MAX };
        self.aim.poll_interval.min(slowest).max(FASTEST)
    }

    /// One look at directories and files.
    fn round(&mut self, now: Instant) {
        match self.aim.mode {
            WatchMode::Poll => self.say(Way::Polling, "the settings say so"),
            WatchMode::Auto | WatchMode::Inotify => self.keep_armed(now),
        }
        if self.aim.mode != WatchMode::Inotify {
            self.poll(now);
        }
        self.begun = true;
    }

    /// Sets the watches, where they are not set on the directories that are there now.
    fn keep_armed(&mut self, now: Instant) {
        let places = Places::of(&self.aim.database, &self.aim.marker);
        if self.armed.as_ref().is_some_and(|armed| armed.places == places) {
            return;
        }
        if self.armed.is_some() {
            self.forget();
            self.hints.send(Hint::Everything);
        }
        if self.ask_from.is_some_and(|from| now < from) {
            return;
        }
        match self.arm(places) {
            Ok(armed) => {
                self.armed = Some(armed);
                self.ask_from = None;
                // Whatever happened before went unheard, and must not count as
                // a change that no event told of.
                self.polled = None;
                if self.begun {
                    self.hints.send(Hint::Everything);
                }
                self.say(Way::Inotify, "the directories can be watched");
            }
            // Gone since they were found a moment ago: the next round finds what is there.
            Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
            Err(error) => {
                self.ask_from = Some(now + self.ask_again);
                let way = if self.aim.mode == WatchMode::Auto { Way::Polling } else { Way::NotAtAll };
                self.say(way, &error.to_string());
            }
        }
    }

    fn arm(&self, places: Places) -> notify::Result<Armed> {
        let heard = Arc::new(Heard::default());
        let ear = Ear {
            places: places.clone(),
            hints: self.hints.clone(),
            heard: Arc::clone(&heard),
            control: Arc::clone(&self.control),
        };
        let mut watcher = (self.make)(ear)?;
        for place in places.iter() {
            watcher.watch(&place.dir, RecursiveMode::NonRecursive)?;
        }
        for directory in places.missing() {
            warn!(directory = %directory.display(), "no such directory yet; it is watched once it is there");
        }
        Ok(Armed { places, heard, counted: [0; 2], _watcher: watcher })
    }

    fn forget(&mut self) {
        self.armed = None;
        self.unexplained = [None; 2];
        self.silent = false;
    }

    /// Compares the files with what the last round saw.
    fn poll(&mut self, now: Instant) {
        // Events are counted first: one that comes between the two readings must
        // not be counted now and explain nothing in the next round.
        let counted = self.armed.as_ref().map(|armed| armed.heard.counts());
        let seen = Polled { source: stat::source(&self.aim.database), marker: stamp_of(&self.aim.marker) };
        let Some(before) = self.polled.replace(seen) else { return };
        // A marker that went away asks for nothing.
        let changed = [seen.source != before.source, seen.marker != before.marker && seen.marker.is_some()];
        let (Some(armed), Some(counted), false) = (self.armed.as_mut(), counted, self.silent) else {
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
        if self.unexplained.iter().flatten().any(|&(since, _)| now.duration_since(since) >= SILENCE) {
            self.silent = true;
            self.say(Way::Polling, "a file changed and no event told of it");
            self.hints.send(Hint::Everything);
        }
    }

    fn say(&mut self, way: Way, reason: &str) {
        let before = self.said.replace(way);
        *self.control.way.lock().unwrap_or_else(PoisonError::into_inner) = Some(way);
        if before == Some(way) {
            return;
        }
        match way {
            Way::Inotify if before.is_none() => {}
            Way::Inotify => info!(watch = "inotify", reason, "watching by inotify"),
            Way::Polling if self.aim.mode == WatchMode::Poll => {
                info!(watch = "poll", reason, "watching by polling");
            }
            Way::Polling => warn!(watch = "poll", reason, "watching by polling"),
            Way::NotAtAll => warn!(
                watch = "none",
                reason,
                "inotify cannot be had and the settings allow nothing else: only the resync finds changes"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
