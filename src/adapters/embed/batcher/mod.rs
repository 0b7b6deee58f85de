//! A purchase: many texts, in batches, several at a time.
//!
//! Requests run as tasks of their own; the texts are pulled and the vectors
//! handed on by the caller's thread, which may block for it. At most
//! `concurrency` batches are in memory at any time. Batches arrive in any
//! order: each vector comes with the hash of its text.
//!
//! Whatever ends a purchase early, an answer that has arrived is handed on
//! first, since it is paid for. Only a sink that fails ends everything at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::rate_limit::{RateLimit, SentLog};
use super::requester::{RequestEnd, Requester};
use super::{EmbedError, EmbedFailure, Embedder, SinkError, Task, bisect};
use crate::domain::record::TextHash;
use crate::domain::stop::Stop;

/// A text to buy a vector for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextItem {
    /// Digest of the text.
    pub hash: TextHash,
    /// The text.
    pub text: String,
}

/// Vectors that were checked: right number, right dimension, finite, of unit length.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddedBatch {
    /// The texts' digests.
    pub hashes: Vec<TextHash>,
    /// Their vectors in the same order, one after another.
    pub vectors: Vec<f32>,
}

/// The bounds of a purchase.
#[derive(Clone, Debug)]
pub struct EmbedLimits {
    /// Floats in a vector.
    pub dimension: usize,
    /// The most texts in a request.
    pub batch_size: usize,
    /// The most requests at a time.
    pub concurrency: usize,
    /// The most texts in a minute; zero means no limit.
    pub items_per_minute: u32,
    /// What purchases before this one sent: it counts against that limit.
    pub sent: SentLog,
    /// How long to go on without a single success.
    pub retry_budget: Duration,
    /// How many texts the provider may refuse before the purchase fails.
    pub refusals_allowed: usize,
}

/// What was bought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmbedReport {
    /// Texts whose vectors were handed on.
    pub texts: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Texts that the provider does not take.
    pub refused: Vec<RefusedText>,
}

/// A text that the provider does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedText {
    /// Digest of the text.
    pub hash: TextHash,
    /// The provider's words.
    pub message: String,
}

/// How far a purchase is; told after every change and once a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedProgress {
    /// Texts bought or refused.
    pub done: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    /// The wait that was last begun, while it lasts and nothing arrives.
    pub waiting: Option<ProviderWait>,
}

/// A wait between two requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderWait {
    /// The provider's words, or our own reason.
    pub why: String,
    /// How long the wait is in all.
    pub wait: Duration,
}

/// What the tasks tell the caller's thread. At most what `concurrency` batches
/// hold is on its way at a time, so the channel needs no bound of its own.
pub(super) enum BatchEvent {
    Arrived(EmbeddedBatch),
    Refused(RefusedText),
    Waiting(ProviderWait),
}

/// Buys vectors for all of `items`, and hands them to `arrived` as they come.
///
/// Must be called within a runtime; [`tokio::runtime::Handle::block_on`] on a
/// blocking thread will do, and lets `items` and `arrived` block.
///
/// # Errors
///
/// [`EmbedFailure`] with the first [`EmbedError`] and with how much was bought
/// before it; that much has been handed on.
pub async fn embed_all(
    embedder: Arc<dyn Embedder>,
    terms: &EmbedLimits,
    items: &mut dyn Iterator<Item = io::Result<TextItem>>,
    arrived: &mut dyn FnMut(EmbeddedBatch) -> Result<(), SinkError>,
    progress: &dyn Fn(EmbedProgress),
    stop: &Stop,
) -> Result<EmbedReport, EmbedFailure> {
    let batches = Batches::new(items, embedder.as_ref(), terms);
    let (notes, heard) = mpsc::unbounded_channel();
    let pace = RateLimit::new(terms.items_per_minute, terms.sent.clone());
    let line = Requester::new(embedder, Task::Document, terms.dimension, terms.retry_budget, pace, notes);
    let mut buyer = Batcher {
        limits: terms,
        batches,
        requester: Arc::new(line),
        events: heard,
        in_flight: JoinSet::new(),
        on_batch: arrived,
        progress,
        waiting: None,
        last_arrival: None,
        report: EmbedReport::default(),
    };
    let result = match buyer.run(stop).await {
        // Nothing may be lost to a failure of another batch.
        Err(error) if !matches!(error, EmbedError::Sink(_) | EmbedError::Stopped) => {
            Err(buyer.finish_in_flight(stop).await.err().unwrap_or(error))
        }
        other => other,
    };
    let Batcher { report: mut purchase, requester: line, .. } = buyer;
    purchase.requests = line.requests();
    match result {
        Ok(()) => Ok(purchase),
        Err(error) => Err(EmbedFailure { error, texts: purchase.texts, requests: purchase.requests }),
    }
}

/// Embeds one query, with retries only as far as `limit` allows.
///
/// # Errors
///
/// An [`EmbedError`] with the provider's words, once `limit` is over or as
/// soon as it is plain that waiting will not help.
pub async fn embed_query(
    embedder: Arc<dyn Embedder>,
    dimension: usize,
    text: &str,
    limit: Duration,
) -> Result<Vec<f32>, EmbedError> {
    let (notes, _nobody_listens) = mpsc::unbounded_channel();
    let line =
        Requester::new(embedder, Task::Query, dimension, limit, RateLimit::new(0, SentLog::default()), notes);
    match timeout(limit, line.request(&[text.to_owned()])).await {
        Ok(Ok(vector)) => Ok(vector),
        Ok(Err(RequestEnd::Failed(failure))) => Err(line.into_error(failure)),
        Ok(Err(RequestEnd::Closed)) => Err(EmbedError::Stopped),
        Err(_elapsed) => {
            let message = line.last_message().unwrap_or_else(|| "no answer came".to_owned());
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
    /// The wait that was last begun, and its end.
    waiting: Option<(ProviderWait, Instant)>,
    last_arrival: Option<Instant>,
    report: EmbedReport,
}

impl Batcher<'_> {
    /// How often progress is told while nothing happens, and how long requests
    /// on the wire may take to come home after a failure elsewhere.
    const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
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
                Some(note) = self.events.recv() => self.drain_events(note)?,
                Some(ended) = self.in_flight.join_next() => outcome(ended)?,
                _ = tick.tick() => self.report_progress(),
            }
        }
    }

    /// Starts batches until as many are at work as may be.
    fn fill(&mut self) -> Result<(), EmbedError> {
        while self.in_flight.len() < self.limits.concurrency.max(1) {
            let Some(batch) = self.batches.next().map_err(EmbedError::Items)? else {
                break;
            };
            let line = Arc::clone(&self.requester);
            self.in_flight.spawn(async move { bisect::embed_batch(&line, batch).await });
        }
        Ok(())
    }

    /// Hears a note, and with an answer every other one that has arrived meanwhile: they are
    /// kept by one step, whose cost is a flush of the disk.
    fn drain_events(&mut self, note: BatchEvent) -> Result<(), EmbedError> {
        let BatchEvent::Arrived(mut arrived) = note else { return self.on_event(note) };
        let mut after = None;
        while let Ok(note) = self.events.try_recv() {
            match note {
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
        after.map_or(Ok(()), |note| self.on_event(note))
    }

    fn on_event(&mut self, note: BatchEvent) -> Result<(), EmbedError> {
        match note {
            BatchEvent::Arrived(arrived) => {
                let texts = arrived.hashes.len();
                assert_eq!(arrived.vectors.len(), texts * self.limits.dimension, "checked when it arrived");
                (self.on_batch)(arrived).map_err(EmbedError::Sink)?;
                self.report.texts += texts as u64;
                self.last_arrival = Some(Instant::now());
            }
            BatchEvent::Refused(RefusedText { hash, message }) => {
                if self.report.refused.len() >= self.limits.refusals_allowed {
                    return Err(EmbedError::TextRefused { hash, message });
                }
                self.report.refused.push(RefusedText { hash, message });
            }
            BatchEvent::Waiting(waiting) => {
                let until = Instant::now() + waiting.wait;
                self.waiting = Some((waiting, until));
            }
        }
        self.report_progress();
        Ok(())
    }

    /// Hears everything that has been said so far.
    fn drain(&mut self) -> Result<(), EmbedError> {
        while let Ok(note) = self.events.try_recv() {
            self.on_event(note)?;
        }
        Ok(())
    }

    /// Gives up what is on the wire, but not what has arrived.
    async fn stopped(&mut self) -> Result<(), EmbedError> {
        self.in_flight.shutdown().await;
        self.drain()?;
        Err(EmbedError::Stopped)
    }

    /// Lets requests that are on the wire come home, sends no more, and hands on what they bring.
    async fn finish_in_flight(&mut self, stop: &Stop) -> Result<(), EmbedError> {
        self.requester.close();
        let home = async {
            // The failure to report is the first one, already in the caller's hands.
            while self.in_flight.join_next().await.is_some() {}
        };
        tokio::select! {
            biased;
            () = stop.requested() => {}
            _ = timeout(Self::IN_FLIGHT_LIMIT, home) => {}
        }
        self.in_flight.shutdown().await;
        while let Ok(note) = self.events.try_recv() {
            if let Err(error @ EmbedError::Sink(_)) = self.on_event(note) {
                return Err(error);
            }
        }
        Ok(())
    }

    fn report_progress(&self) {
        let EmbedReport { texts, refused, .. } = &self.report;
        let now = Instant::now();
        // What arrives while another batch waits is no wait; a wait that outlasts it is one again.
        let arriving = self.last_arrival.is_some_and(|at| now - at < Self::PROGRESS_INTERVAL);
        let waiting = self.waiting.as_ref().filter(|(_, until)| !arriving && *until > now);
        (self.progress)(EmbedProgress {
            done: texts + refused.len() as u64,
            requests: self.requester.requests(),
            waiting: waiting.map(|(waiting, _)| waiting.clone()),
        });
    }
}

/// A task's panic is our own bug and goes on here.
fn outcome(ended: Result<Result<(), EmbedError>, JoinError>) -> Result<(), EmbedError> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(result) => result,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // Only the runtime's end takes a task away before its time.
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
        terms: &EmbedLimits,
    ) -> Self {
        let a_minute = match usize::try_from(terms.items_per_minute) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(most) => most,
        };
        let most_texts = terms.batch_size.min(embedder.max_texts()).min(a_minute).max(1);
        Self { items, deferred: None, max_texts: most_texts, max_bytes: embedder.max_bytes() }
    }

    /// The next batch. A text that is too large by itself goes alone: what to
    /// do about it is for the provider to say.
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

/// The bytes that a text takes within a JSON string.
fn escaped_len(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0x00..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

#[cfg(test)]
mod tests;
