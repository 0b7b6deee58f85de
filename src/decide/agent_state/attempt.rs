//! One pass, the tries before it, and when it must be repeated.
//!
//! A commit becomes visible a little after the event that tells of it, and no
//! event follows. A look that began too soon after a hint is therefore not the
//! last word: after one that found nothing another follows at rising
//! intervals, after any other a single one, once everything hinted at is
//! visible.

use std::time::{Duration, Instant};

use crate::decide::debounce::Window;
use crate::domain::pass::{PassRequest, Trigger};

/// How long after its event a commit may still be invisible (300 to 600 ms were seen on a slow disk).
pub const COMMIT_VISIBLE_AFTER: Duration = Duration::from_secs(2);
/// How soon to look again after a look that found nothing; each further time twice as long.
const FIRST_RECHECK: Duration = Duration::from_millis(250);

/// One pass and the tries before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attempt {
    /// What was asked of it.
    pub request: PassRequest,
    /// When it began.
    pub started: Instant,
    /// The last hint before it.
    hinted: Option<Instant>,
    /// How often it was repeated because it followed that hint closely.
    rechecks: u32,
    /// Failures one after the other.
    pub(super) failures: u32,
    /// How often one after the other another process held the lock.
    pub(super) lock_failures: u32,
}

impl Attempt {
    pub(super) fn new(request: PassRequest, hinted: Option<Instant>, now: Instant) -> Self {
        Self { request, started: now, hinted, rechecks: 0, failures: 0, lock_failures: 0 }
    }

    /// Whether this look only repeats another one, for the same hint.
    #[must_use]
    pub fn is_recheck(&self) -> bool {
        self.rechecks > 0
    }

    /// When to look again after this look found nothing: at rising intervals, the last one past [`COMMIT_VISIBLE_AFTER`].
    pub(super) fn recheck_soon(&self, now: Instant) -> Option<Instant> {
        let visible = self.visible_at()?;
        let interval = FIRST_RECHECK * 2_u32.pow(self.rechecks.min(3));
        Some((now + interval).min(visible).max(now))
    }

    /// When to look again after a look that found something, if nothing else will bring one about.
    pub(super) fn recheck_once(&self, window: &Window, now: Instant) -> Option<Instant> {
        let visible = self.visible_at()?;
        (!window.has_database()).then_some(visible.max(now))
    }

    /// When everything hinted at is visible; `None` if it was when this look began.
    fn visible_at(&self) -> Option<Instant> {
        self.hinted.map(|hinted| hinted + COMMIT_VISIBLE_AFTER).filter(|&visible| self.started < visible)
    }

    /// The same look once more, for the same hint.
    pub(super) fn rechecked(self, now: Instant) -> Self {
        Self { started: now, rechecks: self.rechecks + 1, ..self }
    }

    /// Another look before this one was repeated, for what came in meanwhile and for what this one leaves.
    pub(super) fn superseded(self, window: Window, now: Instant) -> Self {
        let window = window.or_owed_marker(self.request.full_check);
        Self::new(window.request(), window.last_hint().or(self.hinted), now)
    }

    /// This look was answered; what may be repeated of it needs no second proof of the served files.
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

    /// The next try, its time having come. Whatever came in meanwhile is looked at too.
    pub(super) fn retried(self, window: &Window, now: Instant) -> Self {
        let full_check = self.request.full_check || window.owes_full_check();
        let request = PassRequest { full_check, ..self.request };
        Self { request, started: now, hinted: window.last_hint().or(self.hinted), rechecks: 0, ..self }
    }

    /// The next try, before its time, because somebody wants it.
    pub(super) fn forced(self, window: &Window, now: Instant) -> Self {
        let look = self.retried(window, now);
        Self { request: PassRequest { trigger: window.request().trigger, ..look.request }, ..look }
    }
}
