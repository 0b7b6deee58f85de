//! What the watch's thread and the rest of the program exchange.
//!
//! Requests to the thread are flags, not a queue: each one is set or not, so
//! nothing can fill up. In the other direction the thread publishes which
//! [`Backend`] it uses. How the files are watched is `watcher`'s matter.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::spec::WatchSpec;

#[derive(Debug, Default)]
pub(super) struct Control {
    requests: Mutex<WatchRequests>,
    changed: Condvar,
    backend: Mutex<Option<Backend>>,
}

#[derive(Debug, Default)]
pub(super) struct WatchRequests {
    pub(super) retarget: Option<WatchSpec>,
    /// Something on the way to the files was created or removed.
    pub(super) check_now: bool,
    /// A watched directory itself was removed: its watch reports nothing more,
    /// even if another directory with the same inode exists by now.
    pub(super) rearm: bool,
    pub(super) end: bool,
}

impl Control {
    pub(super) fn request(&self, change: impl FnOnce(&mut WatchRequests)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    /// Waits for a request, for `interval` at most, and takes all there are.
    pub(super) fn wait(&self, interval: Duration) -> WatchRequests {
        let idle = |requests: &mut WatchRequests| {
            requests.retarget.is_none() && !requests.check_now && !requests.rearm && !requests.end
        };
        let (mut requests, _) = self
            .changed
            .wait_timeout_while(self.lock(), interval, idle)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *requests)
    }

    pub(super) fn set_backend(&self, backend: Backend) {
        *self.backend.lock().unwrap_or_else(PoisonError::into_inner) = Some(backend);
    }

    fn lock(&self) -> MutexGuard<'_, WatchRequests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the files are watched at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The kernel reports changes.
    Inotify,
    /// The files are compared every `poll_interval`.
    Polling,
    /// Neither: only the resync finds changes.
    NotAtAll,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inotify => "inotify",
            Self::Polling => "poll",
            Self::NotAtAll => "none",
        })
    }
}

/// A view of the backend that outlives the [`super::Watch`].
#[derive(Clone, Debug)]
pub(crate) struct CurrentBackend(pub(super) Arc<Control>);

impl CurrentBackend {
    /// How the files are watched at present; `None` before the first check.
    #[must_use]
    pub(crate) fn get(&self) -> Option<Backend> {
        *self.0.backend.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
