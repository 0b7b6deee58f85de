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
pub const VISIBLE_AFTER: Duration = Duration::from_secs(2);
/// How soon to look again after a look that found nothing; each further time twice as long.
const FIRST_REPEAT: Duration = Duration::from_millis(250);

/// One pass and the tries before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// What was asked of it.
    pub request: PassRequest,
    /// When it began.
    pub began: Instant,
    /// The last hint before it.
    hinted: Option<Instant>,
    /// How often it was repeated because it followed that hint closely.
    repeats: u32,
    /// Failures one after the other.
    pub(super) failures: u32,
    /// How often one after the other another process held the lock.
    pub(super) locked_out: u32,
}

impl Look {
    pub(super) fn new(request: PassRequest, hinted: Option<Instant>, now: Instant) -> Self {
        Self { request, began: now, hinted, repeats: 0, failures: 0, locked_out: 0 }
    }

    /// Whether this look only repeats another one, for the same hint.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.repeats > 0
    }

    /// When to look again after this look found nothing: at rising intervals, the last one past [`VISIBLE_AFTER`].
    pub(super) fn repeat_soon(&self, now: Instant) -> Option<Instant> {
        let visible = self.visible_at()?;
        let interval = FIRST_REPEAT * 2_u32.pow(self.repeats.min(3));
        Some((now + interval).min(visible).max(now))
    }

    /// When to look again after a look that found something, if nothing else will bring one about.
    pub(super) fn repeat_once(&self, window: &Window, now: Instant) -> Option<Instant> {
        let visible = self.visible_at()?;
        (!window.has_database()).then_some(visible.max(now))
    }

    /// When everything hinted at is visible; `None` if it was when this look began.
    fn visible_at(&self) -> Option<Instant> {
        self.hinted.map(|hinted| hinted + VISIBLE_AFTER).filter(|&visible| self.began < visible)
    }

    /// The same look once more, for the same hint.
    pub(super) fn repeated(self, now: Instant) -> Self {
        Self { began: now, repeats: self.repeats + 1, ..self }
    }

    /// Another look before this one was repeated, for what came in meanwhile and for what this one leaves.
    pub(super) fn overtaken(self, window: Window, now: Instant) -> Self {
        let window = window.and_owing(self.request.full_check);
        Self::new(window.request(), window.last_hint().or(self.hinted), now)
    }

    /// This look was answered; what may be repeated of it needs no second proof of the served files.
    pub(super) fn answered(self) -> Self {
        let request = PassRequest { full_check: false, ..self.request };
        Self { request, failures: 0, locked_out: 0, ..self }
    }

    pub(super) fn failed(self) -> Self {
        let request = PassRequest { trigger: Trigger::Retry, ..self.request };
        Self { request, failures: self.failures.saturating_add(1), locked_out: 0, ..self }
    }

    pub(super) fn locked_out(self) -> Self {
        Self { locked_out: self.locked_out.saturating_add(1), ..self }
    }

    /// The next try, its time having come. Whatever came in meanwhile is looked at too.
    pub(super) fn tried_again(self, window: &Window, now: Instant) -> Self {
        let full_check = self.request.full_check || window.owes_full_check();
        let request = PassRequest { full_check, ..self.request };
        Self { request, began: now, hinted: window.last_hint().or(self.hinted), repeats: 0, ..self }
    }

    /// The next try, before its time, because somebody wants it.
    pub(super) fn urged(self, window: &Window, now: Instant) -> Self {
        let look = self.tried_again(window, now);
        Self { request: PassRequest { trigger: window.request().trigger, ..look.request }, ..look }
    }
}
