//! One stop request, and the signs of life of the work that may be stopped.
//!
//! A [`Stop`] is cloned freely: all clones see the same request. Work calls
//! [`Stop::check`] between its small steps; a step that was reached is a sign
//! of life, so a pass that hangs can be distinguished from one that is slow.
//! Work that only waits asks [`Stop::is_requested`] or awaits
//! [`Stop::requested`], which are not signs of life.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};

/// A request to end the work that holds a clone of it.
#[derive(Clone)]
pub struct Stop {
    token: CancellationToken,
    heartbeat: Arc<dyn Fn() + Send + Sync>,
}

/// The work was asked to stop and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl Stop {
    /// Not requested yet; signs of life go nowhere.
    #[must_use]
    pub fn new() -> Self {
        Self::with_heartbeat(|| ())
    }

    /// Not requested yet; `heartbeat` is called for every sign of life.
    pub fn with_heartbeat(heartbeat: impl Fn() + Send + Sync + 'static) -> Self {
        Self { token: CancellationToken::new(), heartbeat: Arc::new(heartbeat) }
    }

    /// The same request with signs of life of its own.
    #[must_use]
    pub fn reporting_to(&self, heartbeat: impl Fn() + Send + Sync + 'static) -> Self {
        Self { token: self.token.clone(), heartbeat: Arc::new(heartbeat) }
    }

    /// The same request, whose signs of life go to `heartbeat` as well.
    #[must_use]
    pub fn also_reporting_to(&self, heartbeat: impl Fn() + Send + Sync + 'static) -> Self {
        let first = self.clone();
        self.reporting_to(move || {
            first.beat();
            heartbeat();
        })
    }

    /// A request that follows this one and can also be made alone: by dropping the guard.
    #[must_use]
    pub fn child(&self) -> (Self, DropGuard) {
        let token = self.token.child_token();
        let guard = token.clone().drop_guard();
        (Self { token, heartbeat: Arc::clone(&self.heartbeat) }, guard)
    }

    /// Asks all holders of this request to stop.
    pub fn request(&self) {
        self.token.cancel();
    }

    /// Whether the work should end.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Completes when the work should end.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// What `work` gives, or `None` if the stop is requested first.
    pub async fn run_until_requested<F: Future>(&self, work: F) -> Option<F::Output> {
        self.token.run_until_cancelled(work).await
    }

    /// A sign of life: the work has got one step further.
    pub fn beat(&self) {
        (self.heartbeat)();
    }

    /// A sign of life, and whether to go on.
    ///
    /// # Errors
    ///
    /// [`Stopped`] once the stop was requested.
    pub fn check(&self) -> Result<(), Stopped> {
        self.beat();
        if self.is_requested() { Err(Stopped) } else { Ok(()) }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").field("is_requested", &self.is_requested()).finish_non_exhaustive()
    }
}

/// Requested by the work itself when it asks for the `nth` time, counted from one.
#[cfg(test)]
pub(crate) fn stop_at_check(nth: usize) -> Stop {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let (stop, checks) = (Stop::new(), AtomicUsize::new(0));
    let requested = stop.clone();
    stop.reporting_to(move || {
        if checks.fetch_add(1, Ordering::Relaxed) + 1 == nth {
            requested.request();
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn all_clones_see_one_request_and_a_child_can_stop_alone() {
        let stop = Stop::new();
        let clone = stop.clone();
        let (child, guard) = stop.child();
        drop(guard);
        assert_eq!((child.is_requested(), stop.is_requested()), (true, false));

        let (child, _guard) = stop.child();
        assert_eq!((clone.check(), child.check()), (Ok(()), Ok(())));
        stop.request();
        assert_eq!((clone.check(), child.check()), (Err(Stopped), Err(Stopped)));
    }

    #[test]
    fn only_a_check_and_a_beat_are_signs_of_life() {
        let beats = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&beats);
        let stop = Stop::new().reporting_to(move || _ = counted.fetch_add(1, Ordering::Relaxed));

        assert!(!stop.is_requested());
        assert_eq!(beats.load(Ordering::Relaxed), 0);
        stop.beat();
        stop.check().unwrap();
        assert_eq!(beats.load(Ordering::Relaxed), 2);
    }
}
