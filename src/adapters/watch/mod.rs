//! File system events on the database and the marker become [`Hint`]s.
//!
//! The parent directories are watched with inotify and compared again at
//! intervals, so that a directory that is created later, replaced or mounted
//! over is found. Where inotify is not available, or reports nothing, the same
//! files are polled with `stat`.
//!
//! A hint is not a proof. Lost events cost a delay that the resync bounds;
//! events that our own reading causes are recognised by `flows::agent`, by
//! [`FileStamps`]. No file is ever opened here: closing one would drop
//! SQLite's locks.
//!
//! [`Hint`]: crate::decide::debounce::Hint

mod arm;
mod control;
mod events;
mod hints;
mod paths;
mod spec;
mod stat;
mod watcher;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use control::CurrentBackend;
pub(crate) use hints::Hints;
#[cfg(test)]
pub(crate) use hints::{HintSender, channel};
pub(crate) use spec::WatchSpec;
pub(crate) use stat::{FileStamps, TrackedFiles, settled_source};

use arm::MakeWatcher;
use control::Control;
use watcher::FileWatcher;

/// How long to wait before inotify is tried again after it was refused.
const INOTIFY_RETRY: Duration = Duration::from_secs(30);

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watch {
    control: Arc<Control>,
}

impl Watch {
    /// Starts to watch. What happens after this has returned causes a hint.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread. Without inotify the files are polled, which is not an error.
    pub(crate) fn start(spec: WatchSpec) -> io::Result<(Self, Hints)> {
        Self::start_with(spec, Box::new(arm::inotify), INOTIFY_RETRY)
    }

    /// Watches something else, or by another backend, from now on.
    pub(crate) fn retarget(&self, spec: WatchSpec) {
        self.control.request(|requests| requests.retarget = Some(spec));
    }

    /// Shows how the files are watched, now and later.
    #[must_use]
    pub(crate) fn backend(&self) -> CurrentBackend {
        CurrentBackend(Arc::clone(&self.control))
    }

    fn start_with(spec: WatchSpec, make: MakeWatcher, retry_interval: Duration) -> io::Result<(Self, Hints)> {
        let (sender, hints) = hints::channel();
        let control = Arc::new(Control::default());
        let mut watcher = FileWatcher::new(spec, sender, Arc::clone(&control), make, retry_interval);
        // The first check runs here, so that the caller can rely on it; hints
        // are only of use from the second on.
        watcher.check(Instant::now());
        thread::Builder::new().name("watch".to_owned()).spawn(move || watcher.run())?;
        Ok((Self { control }, hints))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Not joined: a stat on a dead network file system may never return.
        self.control.request(|requests| requests.end = true);
    }
}

#[cfg(test)]
mod tests;
