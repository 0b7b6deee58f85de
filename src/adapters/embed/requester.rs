//! One request, repeated until it succeeds or time cannot cure it.
//!
//! All requests of a purchase share one [`Requester`] to the provider: its retry
//! budget, our own limit, and the pause that the provider asked one of them
//! for. The budget is the time in which *no* request succeeded: as long as any
//! gets through, none gives up.
//!
//! Waits grow from half a second to half a minute, with jitter, and are never
//! shorter than what the provider names. A pause longer than the budget that
//! is left is not waited for here; whoever started the attempt is told of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep_until};
use tokio_retry::RetryIf;
use tokio_retry::strategy::ExponentialBackoff;
use tokio_util::sync::CancellationToken;

use super::batcher::{BatchEvent, ProviderWait};
use super::rate_limit::RateLimit;
use super::{EmbedError, Embedder, Failure, FailureKind, Task, check_answer};

/// What all requests of one purchase share.
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
    /// Nothing is sent before: the provider named this time.
    pause_until: Option<Instant>,
    /// What was heard last, for whoever runs out of time.
    last_message: Option<String>,
}

/// Why a request gave no vectors in the end.
#[derive(Debug)]
pub(super) enum RequestEnd {
    /// The last failure.
    Failed(Failure),
    /// Another request's failure ended the purchase.
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
        pace: RateLimit,
        notes: UnboundedSender<BatchEvent>,
    ) -> Self {
        Self {
            embedder,
            task,
            dimension,
            budget,
            state: Mutex::new(RequesterState {
                rate_limit: pace,
                silent_since: None,
                pause_until: None,
                last_message: None,
            }),
            requests: AtomicU64::new(0),
            succeeded: AtomicBool::new(false),
            closed: CancellationToken::new(),
            events: notes,
        }
    }

    /// The checked vectors of these texts, one after another.
    pub(super) async fn request(&self, texts: &[String]) -> Result<Vec<f32>, RequestEnd> {
        // The condition hears the failure first and the strategy is asked for
        // the wait next, so the provider's wish is passed on between them.
        let heard = Mutex::new(None);
        let waits = backoff().map(|usual| self.wait(usual, lock(&heard).take()));
        let on_the_wire = tokio::sync::Mutex::new(());
        let tries = RetryIf::start(
            waits,
            || self.try_once(texts, &on_the_wire),
            |ended: &RequestEnd| {
                let again = self.should_retry(ended);
                lock(&heard).clone_from(&again);
                again.is_some()
            },
        );
        // Once the line is closed no wait is worth its time, but what is on
        // the wire has been paid for and is waited for.
        let closed_between_tries = async {
            self.closed.cancelled().await;
            drop(on_the_wire.lock().await);
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
        on_the_wire: &tokio::sync::Mutex<()>,
    ) -> Result<Vec<f32>, RequestEnd> {
        self.acquire_slot(texts.len()).await;
        let _on_the_wire = on_the_wire.lock().await;
        if self.closed.is_cancelled() {
            return Err(RequestEnd::Closed);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let vectors = self.embedder.embed(texts, self.task).await.map_err(RequestEnd::Failed)?;
        let vectors = check_answer::unit_vectors(&vectors, texts.len(), self.dimension)
            .map_err(|wrong| RequestEnd::Failed(Failure::transient(None, wrong.to_string())))?;
        self.succeeded.store(true, Ordering::Relaxed);
        self.state().silent_since = None;
        Ok(vectors)
    }

    /// Waits until neither the provider's pause nor our own limit stands in the way.
    async fn acquire_slot(&self, texts: usize) {
        loop {
            let now = Instant::now();
            let (until, why) = {
                let mut shared = self.state();
                if let Some(pause) = shared.pause_until.filter(|&until| until > now) {
                    (pause, "the provider asks for a pause")
                } else if let Err(until) = shared.rate_limit.admit(texts, now) {
                    (until, "our own limit of texts a minute")
                } else {
                    shared.silent_since.get_or_insert(now);
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
        let mut shared = self.state();
        shared.last_message = Some(failure.message.clone());
        let FailureKind::Transient { wait } = failure.kind else {
            return None;
        };
        let now = Instant::now();
        let since = *shared.silent_since.get_or_insert(now);
        let left = self.budget.saturating_sub(now - since);
        let wait = wait.unwrap_or_default();
        if left.is_zero() || wait > left {
            return None;
        }
        // All requests go to the same provider: a pause for one is one for all.
        if !wait.is_zero() {
            shared.pause_until = shared.pause_until.max(Some(now + wait));
        }
        Some((failure.clone(), left))
    }

    /// How long to wait before the next try: the usual time, at least what the
    /// provider asked for, and no longer than one last try makes sense.
    fn wait(&self, usual: Duration, heard: Option<(Failure, Duration)>) -> Duration {
        let jittered = usual.mul_f64(0.5 + fastrand::f64() / 2.0);
        let Some((failure, left)) = heard else {
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

    /// What a request's last failure means for the purchase.
    pub(super) fn into_error(&self, failure: Failure) -> EmbedError {
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

    /// Sends nothing more and ends every wait; what is on the wire may still arrive.
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

    /// The last failure's words.
    pub(super) fn last_message(&self) -> Option<String> {
        self.state().last_message.clone()
    }

    /// Passes on what a task of this purchase has to say. Nobody listens once
    /// the purchase is over, and then it does not matter.
    pub(super) fn send_event(&self, note: BatchEvent) {
        self.events.send(note).ok();
    }

    fn report(&self, why: &str, wait: Duration) {
        self.send_event(BatchEvent::Waiting(ProviderWait { why: why.to_owned(), wait }));
    }

    fn state(&self) -> MutexGuard<'_, RequesterState> {
        lock(&self.state)
    }
}

/// None of the values under these locks can be left half changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To the millisecond, for people.
fn to_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
