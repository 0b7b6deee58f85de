//! Our own limit on texts a minute.
//!
//! In no minute, wherever it begins, are more texts sent than allowed. A
//! bucket that refills would let through nearly twice the limit in its first
//! minute, and a provider that counts by the minute answers that with 429;
//! so the sends of the last minute are remembered instead.
//!
//! Retries count: a failed request uses the provider's quota too. So does an
//! earlier attempt, which may have failed a moment ago, so the [`SentLog`]
//! outlives it. No clock is read: `now` is an argument, waiting is the caller's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::send_meter::SentInMinute;
use crate::domain::parallel::lock;

/// A minute, and a second for requests that travel at unequal speed: two sends
/// a minute apart here must not arrive within one minute there.
const WINDOW: Duration = Duration::from_secs(61);

/// What attempts leave to those that follow them in the same process: the sends
/// of the last minute, and what was learnt of the provider.
#[derive(Clone, Debug, Default)]
pub struct SentLog(SharedSends, Arc<Mutex<Learnt>>, SharedSends);

/// When how much was sent: texts, or tokens by estimate.
type SharedSends = Arc<Mutex<VecDeque<(Instant, usize)>>>;

/// What was learnt of the provider; it holds for the life of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Learnt {
    /// The most texts in a request, where that was found to be fewer than the settings say.
    pub(super) max_texts: Option<usize>,
    /// Whether no request of the last attempt succeeded: the next one begins with a single text.
    pub(super) is_silent: bool,
    /// Texts that the next attempt does not begin with, because those before it did.
    pub(super) probes_to_skip: usize,
}

impl SentLog {
    /// The same in tokens.
    pub(super) fn of_tokens(&self) -> Self {
        Self(Arc::clone(&self.2), Arc::default(), Arc::default())
    }

    pub(super) fn learnt(&self) -> Learnt {
        *lock(&self.1)
    }

    pub(super) fn learn(&self, learnt: Learnt) {
        *lock(&self.1) = learnt;
    }

    /// Takes over what another process sent within a minute before `at`, as far as this one has not.
    pub(crate) fn recall(&self, minute: SentInMinute, at: Instant) {
        for (sends, amount) in [(&self.0, minute.texts), (&self.2, minute.tokens)] {
            let mut sent = lock(sends);
            let known: usize =
                sent.iter().filter(|(known, _)| *known + WINDOW > at).map(|(_, amount)| amount).sum();
            if amount > known {
                let place = sent.partition_point(|(known, _)| *known <= at);
                sent.insert(place, (at, amount - known));
            }
        }
    }

    /// The next attempt begins with a single text, whatever this process has seen; with another one than
    /// the attempts before it.
    pub(crate) fn begin_with_probe(&self, attempts_before: usize) {
        let mut learnt = lock(&self.1);
        (learnt.is_silent, learnt.probes_to_skip) = (true, attempts_before);
    }
}

/// What one attempt may add to a [`SentLog`].
#[derive(Debug)]
pub(super) struct RateLimit {
    /// Texts a minute; zero means no limit.
    max_per_minute: usize,
    sent: SentLog,
}

impl RateLimit {
    pub(super) fn new(items_per_minute: u32, sent: SentLog) -> Self {
        let max_per_minute = usize::try_from(items_per_minute).unwrap_or(usize::MAX);
        Self { max_per_minute, sent }
    }

    /// As much as was counted within the last minute.
    fn in_minute(&self, now: Instant) -> usize {
        let sent = lock(&self.sent.0);
        sent.iter().filter(|(at, _)| *at + WINDOW > now).map(|(_, texts)| texts).sum()
    }

    /// Counts `texts` as sent now, or returns when to ask again.
    pub(super) fn admit(&self, texts: usize, now: Instant) -> Result<(), Instant> {
        self.free_at(texts, now)?;
        if self.max_per_minute > 0 {
            lock(&self.sent.0).push_back((now, texts));
        }
        Ok(())
    }

    /// Whether so much can be sent now; else when to ask again.
    pub(super) fn free_at(&self, texts: usize, now: Instant) -> Result<(), Instant> {
        if self.max_per_minute == 0 {
            return Ok(());
        }
        assert!(
            texts <= self.max_per_minute,
            "a batch of {texts} texts under a limit of {} a minute",
            self.max_per_minute
        );
        let mut sent = lock(&self.sent.0);
        while sent.front().is_some_and(|(at, _)| *at + WINDOW <= now) {
            sent.pop_front();
        }
        let mut in_window: usize = sent.iter().map(|(_, texts)| texts).sum();
        for (at, leaving) in sent.iter() {
            if in_window + texts <= self.max_per_minute {
                break;
            }
            in_window -= leaving;
            if in_window + texts <= self.max_per_minute {
                return Err(*at + WINDOW);
            }
        }
        Ok(())
    }

    /// As much of one request as counts: one that exceeds a minute by itself is sent in an empty one.
    fn counted(&self, amount: usize) -> usize {
        if self.max_per_minute == 0 { amount } else { amount.min(self.max_per_minute) }
    }
}

/// Our own limits on texts and on tokens a minute, of which both must permit a request.
#[derive(Debug)]
pub(super) struct RateLimits {
    texts: RateLimit,
    tokens: RateLimit,
}

impl RateLimits {
    /// What was counted within the last minute.
    pub(super) fn in_minute(&self, now: Instant) -> SentInMinute {
        SentInMinute { texts: self.texts.in_minute(now), tokens: self.tokens.in_minute(now) }
    }

    pub(super) fn new(items_per_minute: u32, tokens_per_minute: u32, sent: &SentLog) -> Self {
        let tokens = RateLimit::new(tokens_per_minute, sent.of_tokens());
        Self { texts: RateLimit::new(items_per_minute, sent.clone()), tokens }
    }

    /// Counts a request as sent now, or returns when to ask again and which setting says so.
    pub(super) fn admit(
        &self,
        texts: usize,
        tokens: usize,
        now: Instant,
    ) -> Result<(), (Instant, &'static str)> {
        let tokens = self.tokens.counted(tokens);
        // What one of them forbids must not be counted by the other.
        self.tokens.free_at(tokens, now).map_err(|at| (at, "limit of embedding.tokens_per_minute"))?;
        self.texts.admit(texts, now).map_err(|at| (at, "limit of embedding.items_per_minute"))?;
        self.tokens.admit(tokens, now).map_err(|at| (at, "limit of embedding.tokens_per_minute"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_sees_more_texts_than_allowed() {
        let start = Instant::now();
        let mut now = start;
        let rate_limit = RateLimit::new(100, SentLog::default());
        let mut sends: Vec<(Duration, usize)> = Vec::new();
        for texts in [60, 40, 100, 1, 99, 1, 50, 50, 33, 67, 100].repeat(5) {
            while let Err(later) = rate_limit.admit(texts, now) {
                assert!(later > now, "asked to wait for the past");
                now = later;
            }
            sends.push((now - start, texts));
            now += Duration::from_millis(700);
        }

        for (begin, _) in &sends {
            let end = *begin + Duration::from_secs(60);
            let within = sends.iter().filter(|(at, _)| at >= begin && *at < end);
            assert!(within.map(|(_, texts)| texts).sum::<usize>() <= 100);
        }
    }

    #[test]
    fn what_fits_goes_at_once_and_what_does_not_waits_for_the_oldest_to_leave() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let rate_limit = RateLimit::new(10, SentLog::default());
        assert_eq!(rate_limit.admit(6, now), Ok(()));
        assert_eq!(rate_limit.admit(4, now + second), Ok(()));
        assert_eq!(rate_limit.admit(6, now + second), Err(now + WINDOW));
        assert_eq!(rate_limit.admit(7, now + second), Err(now + second + WINDOW));
        assert_eq!(rate_limit.admit(6, now + WINDOW), Ok(()));
    }

    #[test]
    fn the_next_attempt_counts_what_the_last_one_sent_under_a_lower_limit_too() {
        let now = Instant::now();
        let sent = SentLog::default();
        assert_eq!(RateLimit::new(10, sent.clone()).admit(8, now), Ok(()));
        assert_eq!(RateLimit::new(10, sent.clone()).admit(2, now), Ok(()));
        assert_eq!(RateLimit::new(10, sent.clone()).admit(1, now), Err(now + WINDOW));
        assert_eq!(RateLimit::new(3, sent.clone()).admit(3, now), Err(now + WINDOW));
        assert_eq!(RateLimit::new(3, sent).admit(3, now + WINDOW), Ok(()));
    }

    #[test]
    fn zero_means_no_limit() {
        let now = Instant::now();
        let rate_limit = RateLimit::new(0, SentLog::default());
        assert!((0..1000).all(|_| rate_limit.admit(2048, now).is_ok()));
    }

    #[test]
    fn a_request_needs_room_for_its_texts_and_for_its_tokens() {
        let now = Instant::now();
        let sent = SentLog::default();
        let limits = RateLimits::new(10, 100, &sent);
        let by = |kind: &'static str| Err((now + WINDOW, kind));
        assert_eq!(limits.admit(2, 80, now), Ok(()));
        assert_eq!(limits.admit(1, 30, now), by("limit of embedding.tokens_per_minute"));
        assert_eq!(limits.admit(9, 20, now), by("limit of embedding.items_per_minute"));
        // What was forbidden was not counted.
        assert_eq!(limits.admit(8, 20, now), Ok(()));
        // The next attempt counts what this one sent.
        let next = RateLimits::new(0, 100, &sent);
        assert_eq!(next.admit(1, 1, now), by("limit of embedding.tokens_per_minute"));
        // A text that exceeds a minute by itself goes in an empty one.
        assert_eq!(next.admit(1, 5000, now + WINDOW), Ok(()));
        assert_eq!(
            next.admit(1, 1, now + WINDOW),
            Err((now + WINDOW * 2, "limit of embedding.tokens_per_minute"))
        );
    }
}
