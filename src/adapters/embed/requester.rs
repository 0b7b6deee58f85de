//! Sends one request, as soon as neither the provider nor our own limit forbids it.
//!
//! All requests of an attempt share one [`Requester`]: its retry budget, our
//! own rate limit, and the pause that the provider asked one of them for. The
//! budget is the time in which *no* request succeeded: as long as any succeeds,
//! none gives up.
//!
//! Waits grow from half a second to half a minute, with jitter, and are never
//! shorter than the provider asks for. A pause longer than the remaining budget
//! is not waited for. What is sent again, and when, is `queue`'s decision.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use tokio_retry::strategy::ExponentialBackoff;
use tokio_util::sync::CancellationToken;

use super::check_answer::{self, CheckedAnswer};
use super::error::SinkError;
use super::rate_limit::RateLimits;
use super::recent_texts::RecentTexts;
use super::request_size::estimated_tokens;
use super::send_meter::SendMeter;
use super::types::{Embedder, Failure, ProviderWait, Task};
use crate::domain::parallel::lock;

/// What all requests of one attempt share.
pub(super) struct Requester {
    embedder: Arc<dyn Embedder>,
    task: Task,
    dimension: usize,
    budget: Duration,
    state: Mutex<RequesterState>,
    requests: AtomicU64,
    recent: Mutex<RecentTexts>,
    closed: CancellationToken,
    waits: UnboundedSender<ProviderWait>,
    meter: Option<Arc<dyn SendMeter>>,
}

struct RequesterState {
    rate_limit: RateLimits,
    /// When the first request was sent, or failed, after the last success.
    silent_since: Option<Instant>,
    /// Nothing is sent before: the provider asked for a pause until then.
    pause_until: Option<Instant>,
    /// The last failure's message, for a query whose time is over.
    last_message: Option<String>,
}

/// Why a request gave no vectors.
#[derive(Debug)]
pub(super) enum RequestEnd {
    Failed(Failure),
    /// It was not sent: the attempt is over.
    Closed,
    /// It was not sent: that it leaves could not be recorded.
    NotCounted(SinkError),
}

impl Requester {
    pub(super) fn new(
        embedder: Arc<dyn Embedder>,
        task: Task,
        dimension: usize,
        budget: Duration,
        rate_limit: RateLimits,
        waits: UnboundedSender<ProviderWait>,
    ) -> Self {
        Self {
            embedder,
            task,
            dimension,
            budget,
            state: Mutex::new(RequesterState {
                rate_limit,
                silent_since: None,
                pause_until: None,
                last_message: None,
            }),
            requests: AtomicU64::new(0),
            recent: Mutex::default(),
            closed: CancellationToken::new(),
            waits,
            meter: None,
        }
    }

    /// Nothing leaves before `meter` has recorded it.
    pub(super) fn counted_by(self, meter: Option<Arc<dyn SendMeter>>) -> Self {
        Self { meter, ..self }
    }

    /// Sends the texts once and checks the answer.
    ///
    /// Once the requester is closed, waits end at once; a request that is on its
    /// way has been paid for, and its answer is waited for.
    pub(super) async fn send(&self, texts: &[String]) -> Result<CheckedAnswer, RequestEnd> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => return Err(RequestEnd::Closed),
            () = self.acquire_slot(texts) => {}
        }
        self.record_leaving().await?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        lock(&self.recent).add(texts);
        let answer = self.embedder.embed(texts, self.task).await;
        let answer = answer.and_then(|vectors| check_answer::check(&vectors, texts.len(), self.dimension));
        match answer {
            Ok(answer) => {
                if !answer.places.is_empty() {
                    self.state().silent_since = None;
                }
                Ok(answer)
            }
            Err(mut failure) => {
                failure.message = lock(&self.recent).redact(&failure.message);
                self.state().last_message = Some(failure.message.clone());
                Err(RequestEnd::Failed(failure))
            }
        }
    }

    /// Waits until neither the provider's pause nor our own limit forbids a request.
    async fn acquire_slot(&self, texts: &[String]) {
        let more = self.embedder.bytes_per_text();
        let tokens = texts.iter().map(|text| estimated_tokens(text, more)).sum::<usize>();
        loop {
            let now = Instant::now();
            let (until, why) = {
                let mut state = self.state();
                if let Some(pause) = state.pause_until.filter(|&until| until > now) {
                    (pause, "the provider asks for a pause")
                } else if let Err(forbidden) = state.rate_limit.admit(texts.len(), tokens, now) {
                    forbidden
                } else {
                    state.silent_since.get_or_insert(now);
                    return;
                }
            };
            self.report(why, until - now, None);
            sleep_until(until).await;
        }
    }

    /// Records durably that texts leave, on a thread that may wait for the disk.
    async fn record_leaving(&self) -> Result<(), RequestEnd> {
        let Some(meter) = self.meter.clone() else { return Ok(()) };
        let in_minute = self.state().rate_limit.in_minute(Instant::now());
        match spawn_blocking(move || meter.leaving(in_minute)).await.map_err(JoinError::try_into_panic) {
            Ok(recorded) => recorded.map_err(|error| RequestEnd::NotCounted(SinkError(error))),
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // Only the end of the runtime cancels it.
            Err(Err(_cancelled)) => Err(RequestEnd::Closed),
        }
    }

    /// When the same texts may be sent again after a failure that may pass
    /// and `failures` before it; `None` where that is not within the budget.
    pub(super) fn later(&self, failure: &Failure, failures: u32) -> Option<Instant> {
        let now = Instant::now();
        let asked = failure.kind.wait().unwrap_or_default();
        let left = {
            let mut state = self.state();
            let since = *state.silent_since.get_or_insert(now);
            let left = self.budget.saturating_sub(now - since);
            if left.is_zero() || asked > left {
                return None;
            }
            // All requests go to the same provider: a pause for one is one for all.
            if !asked.is_zero() {
                state.pause_until = state.pause_until.max(Some(now + asked));
            }
            left
        };
        let jittered = usual_wait(failures).mul_f64(0.5 + fastrand::f64() / 2.0);
        let wait = jittered.max(asked).min(left);
        self.report(&failure.message, wait, Some(left));
        Some(now + wait)
    }

    /// How long there was no success.
    pub(super) fn silent_for(&self) -> Duration {
        let silent = self.state().silent_since.map_or(Duration::ZERO, |since| since.elapsed());
        Duration::from_millis(u64::try_from(silent.as_millis()).unwrap_or(u64::MAX))
    }

    /// Sends nothing more and ends every wait; requests on their way may still be answered.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Requests sent so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn last_message(&self) -> Option<String> {
        self.state().last_message.clone()
    }

    /// After the attempt has ended nothing receives it, which does not matter then.
    fn report(&self, why: &str, wait: Duration, gives_up: Option<Duration>) {
        self.waits.send(ProviderWait { why: why.to_owned(), wait, left: wait, gives_up }).ok();
    }

    fn state(&self) -> MutexGuard<'_, RequesterState> {
        lock(&self.state)
    }
}

/// The waits between tries: 0.5 s, 1 s, 2 s … 30 s. The base is raised to the
/// n-th power and only the factor stretches it, hence not `from_millis(500)`.
fn usual_wait(failures: u32) -> Duration {
    const MAX_WAIT: Duration = Duration::from_secs(30);
    let mut waits = ExponentialBackoff::from_millis(2).factor(250).max_delay(MAX_WAIT);
    waits.nth(failures.min(16) as usize).unwrap_or(MAX_WAIT)
}
