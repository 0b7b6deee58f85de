//! Sends one request, retrying transient failures.
//!
//! All requests of an attempt share one [`Requester`]: its retry budget, our
//! own rate limit, and the pause that the provider asked one of them for. The
//! budget is the time in which *no* request succeeded: as long as any succeeds,
//! none gives up.
//!
//! Waits grow from half a second to half a minute, with jitter, and are never
//! shorter than the provider asks for. A pause longer than the remaining budget
//! is not waited for here; it is returned with the error.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep_until};
use tokio_retry::RetryIf;
use tokio_retry::strategy::ExponentialBackoff;
use tokio_util::sync::CancellationToken;

use super::check_answer;
use super::error::EmbedError;
use super::rate_limit::RateLimit;
use super::types::{BatchEvent, Embedder, Failure, FailureKind, ProviderWait, Task};
use crate::domain::parallel::lock;

/// What all requests of one attempt share.
pub(super) struct Requester {
    embedder: Arc<dyn Embedder>,
    task: Task,
    dimension: usize,
    budget: Duration,
    state: Mutex<RequesterState>,
    requests: AtomicU64,
    succeeded: AtomicBool,
    closed: CancellationToken,
    events: UnboundedSender<BatchEvent>,
}

struct RequesterState {
    rate_limit: RateLimit,
    /// When the first request was sent, or failed, after the last success.
    silent_since: Option<Instant>,
    /// Nothing is sent before: the provider asked for a pause until then.
    pause_until: Option<Instant>,
    /// The last failure's message, for a query whose time is over.
    last_message: Option<String>,
}

/// Why a request gave no vectors in the end.
#[derive(Debug)]
pub(super) enum RequestEnd {
    /// With the last failure.
    Failed(Failure),
    /// Another request's failure ended the attempt.
    Closed,
}

/// The waits between tries: 0.5 s, 1 s, 2 s … 30 s. The base is raised to the
/// n-th power and only the factor stretches it, hence not `from_millis(500)`.
fn backoff() -> impl Iterator<Item = Duration> {
    ExponentialBackoff::from_millis(2).factor(250).max_delay(Duration::from_secs(30))
}

impl Requester {
    pub(super) fn new(
        embedder: Arc<dyn Embedder>,
        task: Task,
        dimension: usize,
        budget: Duration,
        rate_limit: RateLimit,
        events: UnboundedSender<BatchEvent>,
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
            succeeded: AtomicBool::new(false),
            closed: CancellationToken::new(),
            events,
        }
    }

    /// The checked vectors of these texts, one after another.
    pub(super) async fn request(&self, texts: &[String]) -> Result<Vec<f32>, RequestEnd> {
        // The condition sees the failure first and the strategy gives the wait
        // next, so the wait that the provider asks for is passed between them.
        let last_failure = Mutex::new(None);
        let waits = backoff().map(|usual| self.wait(usual, lock(&last_failure).take()));
        let in_flight = tokio::sync::Mutex::new(());
        let tries = RetryIf::start(
            waits,
            || self.try_once(texts, &in_flight),
            |ended: &RequestEnd| {
                let retry = self.should_retry(ended);
                lock(&last_failure).clone_from(&retry);
                retry.is_some()
            },
        );
        // Once the requester is closed, waits between tries end at once; a
        // request in flight has been paid for, and its answer is waited for.
        let closed_between_tries = async {
            self.closed.cancelled().await;
            drop(in_flight.lock().await);
        };
        tokio::select! {
            biased;
            result = tries => result,
            () = closed_between_tries => Err(RequestEnd::Closed),
        }
    }

    async fn try_once(
        &self,
        texts: &[String],
        in_flight: &tokio::sync::Mutex<()>,
    ) -> Result<Vec<f32>, RequestEnd> {
        self.acquire_slot(texts.len()).await;
        let _in_flight = in_flight.lock().await;
        if self.closed.is_cancelled() {
            return Err(RequestEnd::Closed);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let vectors = self.embedder.embed(texts, self.task).await.map_err(RequestEnd::Failed)?;
        let vectors = check_answer::unit_vectors(&vectors, texts.len(), self.dimension)
            .map_err(|error| RequestEnd::Failed(Failure::transient(None, error.to_string())))?;
        self.succeeded.store(true, Ordering::Relaxed);
        self.state().silent_since = None;
        Ok(vectors)
    }

    /// Waits until neither the provider's pause nor our own limit forbids a request.
    async fn acquire_slot(&self, texts: usize) {
        loop {
            let now = Instant::now();
            let (until, why) = {
                let mut state = self.state();
                if let Some(pause) = state.pause_until.filter(|&until| until > now) {
                    (pause, "the provider asks for a pause")
                } else if let Err(until) = state.rate_limit.admit(texts, now) {
                    (until, "limit of embedding.items_per_minute")
                } else {
                    state.silent_since.get_or_insert(now);
                    return;
                }
            };
            self.report(why, until - now);
            sleep_until(until).await;
        }
    }

    /// The failure and the time left, if the same request may succeed within it.
    fn should_retry(&self, ended: &RequestEnd) -> Option<(Failure, Duration)> {
        let RequestEnd::Failed(failure) = ended else {
            return None;
        };
        let mut state = self.state();
        state.last_message = Some(failure.message.clone());
        let FailureKind::Transient { wait } = failure.kind else {
            return None;
        };
        let now = Instant::now();
        let since = *state.silent_since.get_or_insert(now);
        let left = self.budget.saturating_sub(now - since);
        let wait = wait.unwrap_or_default();
        if left.is_zero() || wait > left {
            return None;
        }
        // All requests go to the same provider: a pause for one is one for all.
        if !wait.is_zero() {
            state.pause_until = state.pause_until.max(Some(now + wait));
        }
        Some((failure.clone(), left))
    }

    /// How long to wait before the next try: the usual time, at least what the
    /// provider asked for, and no longer than the remaining budget.
    fn wait(&self, usual: Duration, last_failure: Option<(Failure, Duration)>) -> Duration {
        let jittered = usual.mul_f64(0.5 + fastrand::f64() / 2.0);
        let Some((failure, left)) = last_failure else {
            return jittered;
        };
        let asked = match failure.kind {
            FailureKind::Transient { wait } => wait.unwrap_or_default(),
            FailureKind::Exhausted | FailureKind::Final | FailureKind::BadRequest => Duration::ZERO,
        };
        let wait = jittered.max(asked).min(left);
        self.report(&failure.message, wait);
        wait
    }

    /// What a request's last failure means for the attempt.
    pub(super) fn attempt_error(&self, failure: Failure) -> EmbedError {
        let Failure { kind, message } = failure;
        match kind {
            FailureKind::Transient { wait } => {
                let silent = self.state().silent_since.map_or(Duration::ZERO, |since| since.elapsed());
                EmbedError::GaveUp { tried: to_millis(silent), wait, message }
            }
            FailureKind::Exhausted => EmbedError::Exhausted(message),
            FailureKind::Final => EmbedError::Refused(message),
            FailureKind::BadRequest => EmbedError::BadRequest(message),
        }
    }

    /// Sends nothing more and ends every wait; requests in flight may still be answered.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Whether any request has succeeded, so that the requests are well formed.
    pub(super) fn has_succeeded(&self) -> bool {
        self.succeeded.load(Ordering::Relaxed)
    }

    /// Requests sent so far, retries included.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn last_message(&self) -> Option<String> {
        self.state().last_message.clone()
    }

    /// Sends an event to the batcher. After the attempt has ended nothing
    /// receives it, which does not matter then.
    pub(super) fn send_event(&self, event: BatchEvent) {
        self.events.send(event).ok();
    }

    fn report(&self, why: &str, wait: Duration) {
        self.send_event(BatchEvent::Waiting(ProviderWait { why: why.to_owned(), wait }));
    }

    fn state(&self) -> MutexGuard<'_, RequesterState> {
        lock(&self.state)
    }
}

/// Cut to the millisecond, for messages.
fn to_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
