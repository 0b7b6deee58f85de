//! Decides how many texts may leave the host before vectors come back.
//!
//! Counted are texts that left and whose vectors were not stored, since a pass
//! last ended well. The count may reach twice what a pass plans, or
//! [`MIN_CEILING`], whichever is more; beyond it a single text may leave in
//! [`PROBE_INTERVAL`], and the count begins again when its vector is stored. A
//! person who asks for a build, or changes the settings, clears the count; the
//! marker, which a script may touch, allows a single text at once.
//!
//! A process that died while texts were on their way counts as a failure, and
//! a start of the agent waits like any try after failures.
//!
//! Pure: what is remembered and the time go in and come out. Writing it down
//! before the texts leave is the caller's work.

use std::time::Duration;

use crate::decide::agent_state::{FIRST_RETRY, MAX_RETRY_WAIT};
use crate::decide::backoff::doubling;
use crate::domain::pass::{Retry, Trigger};
use crate::domain::sent_texts::SentTexts;

/// A ceiling is never lower: retries of a few texts must not reach it.
pub(crate) const MIN_CEILING: u64 = 200;
/// How often a single text may leave beyond the ceiling.
pub(crate) const PROBE_INTERVAL: Duration = Duration::from_secs(3600);

/// What an attempt is about.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) trigger: Trigger,
    /// Texts that the pass embeds.
    pub(crate) planned: u64,
    /// Names the settings of embedding.
    pub(crate) settings: &'a str,
    /// Seconds since 1970.
    pub(crate) now: i64,
}

/// How an attempt begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Texts may leave, as [`Allowance::admit`] says.
    Send(SentTexts, Allowance),
    /// Earlier attempts failed: nothing leaves before this has passed.
    BackOff { wait: Duration, failures: u32 },
    /// The ceiling is reached: a single text may leave after this.
    Ceiling { wait: Duration, unanswered: u64, ceiling: u64 },
}

/// What may leave during one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) ceiling: u64,
    /// Whether a single text is sent until one is answered.
    pub(crate) begins_with_probe: bool,
    /// Whether a single text may leave beyond the ceiling.
    has_probe: bool,
}

/// The most texts without a stored vector for a pass that embeds so many.
pub(crate) fn ceiling(planned: u64) -> u64 {
    planned.saturating_mul(2).max(MIN_CEILING)
}

/// Decides whether an attempt may send at all, by what is remembered.
pub(crate) fn begin(remembered: SentTexts, asked: &Asked<'_>) -> Begin {
    let Asked { trigger, planned, settings, now } = *asked;
    let is_person = matches!(trigger, Trigger::Command | Trigger::Signal);
    let mut sent = counted_death(remembered);
    // Of a count that is lost, the settings are not known either.
    if is_person || sent.settings != settings && !sent.is_unknown {
        sent = cleared(sent);
    }
    settings.clone_into(&mut sent.settings);
    if trigger == Trigger::Start
        && let Some(wait) = left(sent.retry_at, MAX_RETRY_WAIT, now)
    {
        return Begin::BackOff { wait, failures: sent.failures };
    }
    let ceiling = ceiling(planned);
    let is_beyond = sent.is_unknown || sent.unanswered >= ceiling;
    if is_beyond {
        let wait = left(sent.probed_at.map(|at| later(at, PROBE_INTERVAL)), PROBE_INTERVAL, now);
        if let Some(wait) = wait.filter(|_| trigger != Trigger::Marker) {
            return Begin::Ceiling { wait, unanswered: sent.unanswered, ceiling };
        }
    }
    let begins_with_probe = sent.is_silent || is_beyond;
    // Until a vector is stored: this process may die before.
    sent.is_silent = true;
    Begin::Send(sent, Allowance { ceiling, begins_with_probe, has_probe: is_beyond })
}

/// What remains after a process that died while it was sending.
fn counted_death(mut sent: SentTexts) -> SentTexts {
    if let Some(at) = sent.sending.take() {
        sent.failures = if sent.is_silent { sent.failures.saturating_add(1) } else { 0 };
        let wait = doubling(FIRST_RETRY, sent.failures, MAX_RETRY_WAIT);
        sent.retry_at = (sent.failures > 0).then(|| later(at, wait));
    }
    sent
}

/// A count that begins again. What a minute's limits need stays, and whether the provider was silent.
pub(crate) fn cleared(sent: SentTexts) -> SentTexts {
    let SentTexts { is_silent, settings, minute_texts, minute_tokens, minute_at, .. } = sent;
    SentTexts { is_silent, settings, minute_texts, minute_tokens, minute_at, ..SentTexts::default() }
}

/// Whether anything is remembered that a pass that ended well clears.
pub(crate) fn is_clear(sent: &SentTexts) -> bool {
    *sent == cleared(sent.clone())
}

impl Allowance {
    /// How many of so many texts may leave now; they are counted.
    pub(crate) fn admit(&mut self, sent: &mut SentTexts, texts: u64, now: i64) -> u64 {
        let room = if sent.is_unknown { 0 } else { self.ceiling.saturating_sub(sent.unanswered) };
        let mut admitted = texts.min(room);
        if admitted == 0 && texts > 0 && std::mem::take(&mut self.has_probe) {
            admitted = 1;
            sent.probed_at = Some(now);
            sent.probes = sent.probes.saturating_add(1);
        }
        sent.unanswered = sent.unanswered.saturating_add(admitted);
        admitted
    }

    /// The vectors of so many texts are stored. True if that is the first sign that the provider works.
    pub(crate) fn stored(&mut self, sent: &mut SentTexts, texts: u64) -> bool {
        let was_silent = sent.is_silent;
        let is_beyond = sent.is_unknown || sent.unanswered > self.ceiling;
        sent.unanswered = if is_beyond { 0 } else { sent.unanswered.saturating_sub(texts) };
        (sent.is_unknown, sent.is_held, sent.is_silent) = (false, false, false);
        (sent.failures, sent.retry_at, sent.probed_at, sent.probes) = (0, None, None, 0);
        was_silent || is_beyond
    }
}

/// Texts that did not leave, or that a provider refused as a whole with a 4xx: they cost nothing.
pub(crate) fn returned(sent: &mut SentTexts, texts: u64) {
    sent.unanswered = sent.unanswered.saturating_sub(texts);
}

/// An attempt has ended with everything that it wanted.
pub(crate) fn succeeded(sent: &mut SentTexts) {
    (sent.sending, sent.is_silent, sent.failures, sent.retry_at) = (None, false, 0, None);
}

/// An attempt ended, or could not go on. `retry`: when another may succeed; `None` after a stop.
pub(crate) fn failed(sent: &mut SentTexts, retry: Option<Retry>, at_ceiling: bool, now: i64) {
    sent.sending = None;
    if at_ceiling {
        sent.is_held = true;
        sent.probed_at = Some(now);
    }
    let asked = match retry {
        Some(Retry::Soon { wait }) => wait.unwrap_or_default().min(MAX_RETRY_WAIT),
        Some(Retry::Hourly) => MAX_RETRY_WAIT,
        // Nothing but a change makes another try useful.
        Some(Retry::OnChange) | None => return,
    };
    sent.failures = sent.failures.saturating_add(1);
    sent.retry_at = Some(later(now, doubling(FIRST_RETRY, sent.failures, MAX_RETRY_WAIT).max(asked)));
}

fn later(at: i64, wait: Duration) -> i64 {
    at.saturating_add(i64::try_from(wait.as_secs()).unwrap_or(i64::MAX))
}

/// How long it is until then, if it has not come. Longer than `max` means that the clock was moved back,
/// and must not keep anything waiting.
fn left(until: Option<i64>, max: Duration, now: i64) -> Option<Duration> {
    let left = Duration::from_secs(u64::try_from(until?.saturating_sub(now)).ok()?);
    (!left.is_zero() && left <= max).then_some(left)
}

#[cfg(test)]
mod tests;
