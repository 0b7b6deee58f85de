//! One attempt to embed many texts: in batches, several at a time.
//!
//! Requests run as their own tasks; the texts are pulled and the vectors handed
//! on by the caller's thread, which may block for it. At most `concurrency`
//! batches are in memory at any time. Batches arrive in any order: each vector
//! comes with the hash of its text.
//!
//! Whatever ends an attempt early, an answer that has arrived is handed on
//! first, because it has been paid for. Only a sink that fails ends everything
//! at once. Retries are `requester`'s, refused batches `bisect`'s.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::batch_count::{batch_texts, escaped_len};
use super::bisect;
use super::error::{EmbedError, EmbedFailure, SinkError};
use super::rate_limit::{RateLimit, SentLog};
use super::requester::{RequestEnd, Requester};
use super::types::{
    BatchEvent, EmbedLimits, EmbedProgress, EmbedReport, EmbeddedBatch, Embedder, ProviderWait, Task,
    TextItem,
};
use crate::domain::stop::Stop;

/// Embeds all of `items` and hands their vectors to `on_batch` as they arrive.
///
/// Must be called within a runtime; [`tokio::runtime::Handle::block_on`] on a
/// blocking thread is enough, and lets `items` and `on_batch` block.
///
/// # Errors
///
/// [`EmbedFailure`] with the first [`EmbedError`] and how much was embedded
/// before it; that much has been handed on.
pub(crate) async fn embed_all(
    embedder: Arc<dyn Embedder>,
    limits: &EmbedLimits,
    items: &mut dyn Iterator<Item = io::Result<TextItem>>,
    on_batch: &mut dyn FnMut(EmbeddedBatch) -> Result<(), SinkError>,
    progress: &dyn Fn(EmbedProgress),
    stop: &Stop,
) -> Result<EmbedReport, EmbedFailure> {
    let batches = Batches::new(items, embedder.as_ref(), limits);
    let (sender, events) = mpsc::unbounded_channel();
    let rate_limit = RateLimit::new(limits.items_per_minute, limits.sent.clone());
    let requester =
        Requester::new(embedder, Task::Document, limits.dimension, limits.retry_budget, rate_limit, sender);
    let mut attempt = Batcher {
        limits,
        batches,
        requester: Arc::new(requester),
        events,
        in_flight: JoinSet::new(),
        on_batch,
        progress,
        waiting: None,
        last_arrival: None,
        report: EmbedReport::default(),
    };
    let result = match attempt.run(stop).await {
        // Nothing may be lost to a failure of another batch.
        Err(error) if !matches!(error, EmbedError::Sink(_) | EmbedError::Stopped) => {
            Err(attempt.finish_in_flight(stop).await.err().unwrap_or(error))
        }
        other => other,
    };
    let Batcher { mut report, requester, .. } = attempt;
    report.requests = requester.requests();
    match result {
        Ok(()) => Ok(report),
        Err(error) => Err(EmbedFailure { error, texts: report.texts, requests: report.requests }),
    }
}

/// Embeds one query, with retries only as far as `limit` allows.
///
/// # Errors
///
/// An [`EmbedError`] with the provider's message, once `limit` is over or as
/// soon as waiting cannot help.
pub(crate) async fn embed_query(
    embedder: Arc<dyn Embedder>,
    dimension: usize,
    text: &str,
    limit: Duration,
) -> Result<Vec<f32>, EmbedError> {
    let (sender, _events) = mpsc::unbounded_channel();
    let no_limit = RateLimit::new(0, SentLog::default());
    let requester = Requester::new(embedder, Task::Query, dimension, limit, no_limit, sender);
    match timeout(limit, requester.request(&[text.to_owned()])).await {
        Ok(Ok(vector)) => Ok(vector),
        Ok(Err(RequestEnd::Failed(failure))) => Err(requester.attempt_error(failure)),
        Ok(Err(RequestEnd::Closed)) => Err(EmbedError::Stopped),
        Err(_elapsed) => {
            let message = requester.last_message().unwrap_or_else(|| "no answer received".to_owned());
            Err(EmbedError::GaveUp { tried: limit, wait: None, message })
        }
    }
}

struct Batcher<'a> {
    limits: &'a EmbedLimits,
    batches: Batches<'a>,
    requester: Arc<Requester>,
    events: UnboundedReceiver<BatchEvent>,
    in_flight: JoinSet<Result<(), EmbedError>>,
    on_batch: &'a mut dyn FnMut(EmbeddedBatch) -> Result<(), SinkError>,
    progress: &'a dyn Fn(EmbedProgress),
    /// The wait that began last, and its end.
    waiting: Option<(ProviderWait, Instant)>,
    last_arrival: Option<Instant>,
    report: EmbedReport,
}

impl Batcher<'_> {
    /// How often progress is reported while nothing happens.
    const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
    /// How long requests in flight may take to be answered after another one failed.
    const IN_FLIGHT_LIMIT: Duration = Duration::from_secs(10);

    async fn run(&mut self, stop: &Stop) -> Result<(), EmbedError> {
        let mut tick = interval_at(Instant::now() + Self::PROGRESS_INTERVAL, Self::PROGRESS_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if stop.is_requested() {
                return self.stopped().await;
            }
            self.fill()?;
            if self.in_flight.is_empty() {
                return self.drain();
            }
            tokio::select! {
                biased;
                () = stop.requested() => return self.stopped().await,
                Some(event) = self.events.recv() => self.drain_events(event)?,
                Some(ended) = self.in_flight.join_next() => task_result(ended)?,
                _ = tick.tick() => self.report_progress(),
            }
        }
    }

    /// Starts batches until as many are in flight as allowed.
    fn fill(&mut self) -> Result<(), EmbedError> {
        while self.in_flight.len() < self.limits.concurrency.max(1) {
            let Some(batch) = self.batches.next().map_err(EmbedError::Items)? else {
                break;
            };
            let requester = Arc::clone(&self.requester);
            self.in_flight.spawn(async move { bisect::embed_batch(&requester, batch).await });
        }
        Ok(())
    }

    /// Takes an event; if it is an answer, then with all answers that have arrived
    /// after it: they are stored in one step, which costs a flush of the disk.
    fn drain_events(&mut self, event: BatchEvent) -> Result<(), EmbedError> {
        let BatchEvent::Arrived(mut arrived) = event else { return self.on_event(event) };
        let mut after = None;
        while let Ok(event) = self.events.try_recv() {
            match event {
                BatchEvent::Arrived(more) => {
                    arrived.hashes.extend(more.hashes);
                    arrived.vectors.extend(more.vectors);
                }
                other => {
                    after = Some(other);
                    break;
                }
            }
        }
        self.on_event(BatchEvent::Arrived(arrived))?;
        after.map_or(Ok(()), |event| self.on_event(event))
    }

    fn on_event(&mut self, event: BatchEvent) -> Result<(), EmbedError> {
        match event {
            BatchEvent::Arrived(arrived) => {
                let texts = arrived.hashes.len();
                assert_eq!(arrived.vectors.len(), texts * self.limits.dimension, "checked when it arrived");
                (self.on_batch)(arrived).map_err(EmbedError::Sink)?;
                self.report.texts += texts as u64;
                self.last_arrival = Some(Instant::now());
            }
            BatchEvent::Refused(refused) => {
                if self.report.refused.len() >= self.limits.refusals_allowed {
                    return Err(refused.into());
                }
                self.report.refused.push(refused);
            }
            BatchEvent::Waiting(waiting) => {
                let until = Instant::now() + waiting.wait;
                self.waiting = Some((waiting, until));
            }
        }
        self.report_progress();
        Ok(())
    }

    /// Takes every event sent so far.
    fn drain(&mut self) -> Result<(), EmbedError> {
        while let Ok(event) = self.events.try_recv() {
            self.on_event(event)?;
        }
        Ok(())
    }

    /// Abandons the requests in flight, but not the answers that have arrived.
    async fn stopped(&mut self) -> Result<(), EmbedError> {
        self.in_flight.shutdown().await;
        self.drain()?;
        Err(EmbedError::Stopped)
    }

    /// Lets requests in flight be answered, sends no more, and hands on what arrives.
    async fn finish_in_flight(&mut self, stop: &Stop) -> Result<(), EmbedError> {
        self.requester.close();
        let all_ended = async {
            // The failure to report is the first one, which the caller has already.
            while self.in_flight.join_next().await.is_some() {}
        };
        tokio::select! {
            biased;
            () = stop.requested() => {}
            _ = timeout(Self::IN_FLIGHT_LIMIT, all_ended) => {}
        }
        self.in_flight.shutdown().await;
        while let Ok(event) = self.events.try_recv() {
            if let Err(error @ EmbedError::Sink(_)) = self.on_event(event) {
                return Err(error);
            }
        }
        Ok(())
    }

    fn report_progress(&self) {
        let EmbedReport { texts, refused, .. } = &self.report;
        let now = Instant::now();
        // While answers arrive, another batch's wait is not shown; a wait that outlasts them is shown again.
        let arriving = self.last_arrival.is_some_and(|at| now - at < Self::PROGRESS_INTERVAL);
        let waiting = self.waiting.as_ref().filter(|(_, until)| !arriving && *until > now);
        (self.progress)(EmbedProgress {
            done: texts + refused.len() as u64,
            requests: self.requester.requests(),
            waiting: waiting.map(|(waiting, _)| waiting.clone()),
        });
    }
}

/// The result of a task. Its panic is our own bug and resumes here.
fn task_result(ended: Result<Result<(), EmbedError>, JoinError>) -> Result<(), EmbedError> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(result) => result,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // Only the end of the runtime cancels a task that has not ended.
        Err(Err(_cancelled)) => Err(EmbedError::Stopped),
    }
}

/// Cuts the texts into batches as they are pulled.
struct Batches<'a> {
    items: &'a mut dyn Iterator<Item = io::Result<TextItem>>,
    /// Pulled, but too large for the batch before.
    deferred: Option<TextItem>,
    max_texts: usize,
    max_bytes: usize,
}

impl<'a> Batches<'a> {
    fn new(
        items: &'a mut dyn Iterator<Item = io::Result<TextItem>>,
        embedder: &dyn Embedder,
        limits: &EmbedLimits,
    ) -> Self {
        let max_texts = batch_texts(limits.batch_size, embedder.max_texts(), limits.items_per_minute);
        Self { items, deferred: None, max_texts, max_bytes: embedder.max_bytes() }
    }

    /// The next batch. A text that is too large by itself is a batch of its
    /// own: whether to refuse it is the provider's decision.
    fn next(&mut self) -> io::Result<Option<Vec<TextItem>>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < self.max_texts {
            let Some(item) = self.deferred.take().map(Ok).or_else(|| self.items.next()).transpose()? else {
                break;
            };
            bytes += escaped_len(&item.text);
            if bytes > self.max_bytes && !batch.is_empty() {
                self.deferred = Some(item);
                break;
            }
            batch.push(item);
        }
        Ok((!batch.is_empty()).then_some(batch))
    }
}

#[cfg(test)]
mod tests;
