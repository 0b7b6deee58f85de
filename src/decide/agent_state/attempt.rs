//! One pass, the tries before it, and when its scan must be repeated.
//!
//! A commit becomes visible a little after the event that reports it, and no
//! event follows. A scan that began too soon after a hint is therefore not
//! final: one that found nothing is repeated at rising intervals, any other a
//! single time, once every commit behind the hint is visible.

use std::time::{Duration, Instant};

use crate::decide::debounce::Window;
use crate::domain::pass::{PassRequest, Trigger};

/// How long after its event a commit may still be invisible (300 to 600 ms were seen on a slow disk).
const COMMIT_VISIBLE_AFTER: Duration = Duration::from_secs(2);
/// The first wait after a scan that found nothing; each further one is twice as long.
const FIRST_RECHECK: Duration = Duration::from_millis(250);

/// One pass and the tries before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Attempt {
    pub(crate) request: PassRequest,
    pub(crate) started: Instant,
    /// The last hint before it.
    hinted: Option<Instant>,
    /// How often its scan was repeated because it followed that hint closely.
    rechecks: u32,
    /// Failures in a row.
    pub(super) failures: u32,
    /// How often in a row another process held the lock.
    pub(super) lock_failures: u32,
}

impl Attempt {
    pub(super) fn new(request: PassRequest, hinted: Option<Instant>, now: Instant) -> Self {
        Self { request, started: now, hinted, rechecks: 0, failures: 0, lock_failures: 0 }
    }

    /// Whether this scan only repeats another one, for the same hint.
    #[must_use]
    pub(crate) fn is_recheck(&self) -> bool {
        self.rechecks > 0
    }

    /// When to scan again after this scan found nothing: at rising intervals, the
    /// last one past [`COMMIT_VISIBLE_AFTER`].
    pub(super) fn recheck_soon(&self, now: Instant) -> Option<Instant> {
        let visible = self.visible_at()?;
        let interval = FIRST_RECHECK * 2_u32.pow(self.rechecks.min(3));
        Some((now + interval).min(visible).max(now))
    }

    /// When to scan again after a scan that found something, unless a hint causes another one anyway.
    pub(super) fn recheck_once(&self, window: &Window, now: Instant) -> Option<Instant> {
        let visible = self.visible_at()?;
        (!window.has_database()).then_some(visible.max(now))
    }

    /// When every commit behind the hint is visible; `None` if it was when this scan began.
    fn visible_at(&self) -> Option<Instant> {
        self.hinted.map(|hinted| hinted + COMMIT_VISIBLE_AFTER).filter(|&visible| self.started < visible)
    }

    /// The same scan once more, for the same hint.
    pub(super) fn rechecked(self, now: Instant) -> Self {
        Self { started: now, rechecks: self.rechecks + 1, ..self }
    }

    /// Another pass before this one was repeated, for what arrived since and for what this one leaves.
    pub(super) fn superseded(self, window: Window, now: Instant) -> Self {
        let window = window.or_owed_marker(self.request.full_check);
        Self::new(window.request(), window.last_hint().or(self.hinted), now)
    }

    /// This pass is answered; a repetition need not verify the served files again.
    pub(super) fn recheck_only(self) -> Self {
        let request = PassRequest { full_check: false, ..self.request };
        Self { request, failures: 0, lock_failures: 0, ..self }
    }

    pub(super) fn failed(self) -> Self {
        let request = PassRequest { trigger: Trigger::Retry, ..self.request };
        Self { request, failures: self.failures.saturating_add(1), lock_failures: 0, ..self }
    }

    pub(super) fn lock_failed(self) -> Self {
        Self { lock_failures: self.lock_failures.saturating_add(1), ..self }
    }

    /// The next try at its time. It answers what arrived since as well.
    pub(super) fn retried(self, window: &Window, now: Instant) -> Self {
        let full_check = self.request.full_check || window.owes_full_check();
        let request = PassRequest { full_check, ..self.request };
        Self { request, started: now, hinted: window.last_hint().or(self.hinted), rechecks: 0, ..self }
    }

    /// The next try before its time, because a person requested it.
    pub(super) fn forced(self, window: &Window, now: Instant) -> Self {
        let retried = self.retried(window, now);
        Self { request: PassRequest { trigger: window.request().trigger, ..retried.request }, ..retried }
    }
}
