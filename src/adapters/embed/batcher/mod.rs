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
use tokio_util::sync::CancellationToken;

use super::rate_limit::{Pace, Sent};
use super::requester::{Ended, Line};
use super::{EmbedError, Embedder, Failed, SinkError, Task, bisect};
use crate::domain::record::TextHash;

/// A text to buy a vector for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Digest of the text.
    pub hash: TextHash,
    /// The text.
    pub text: String,
}

/// Vectors that were checked: right number, right dimension, finite, of unit length.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrived {
    /// The texts' digests.
    pub hashes: Vec<TextHash>,
    /// Their vectors in the same order, one after another.
    pub vectors: Vec<f32>,
}

/// The bounds of a purchase.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Floats in a vector.
    pub dimension: usize,
    /// The most texts in a request.
    pub batch_size: usize,
    /// The most requests at a time.
    pub concurrency: usize,
    /// The most texts in a minute; zero means no limit.
    pub items_per_minute: u32,
    /// What purchases before this one sent: it counts against that limit.
    pub sent: Sent,
    /// How long to go on without a single success.
    pub retry_budget: Duration,
    /// How many texts the provider may refuse before the purchase fails.
    pub refusals_allowed: usize,
}

/// What was bought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purchase {
    /// Texts whose vectors were handed on.
    pub texts: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Texts that the provider does not take.
    pub refused: Vec<Refusal>,
}

/// A text that the provider does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Digest of the text.
    pub hash: TextHash,
    /// The provider's words.
    pub message: String,
}

/// How far a purchase is; told after every change and once a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Texts bought or refused.
    pub done: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    /// The wait that was last begun, while it lasts and nothing arrives.
    pub waiting: Option<Waiting>,
}

/// A wait between two requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The provider's words, or our own reason.
    pub why: String,
    /// How long the wait is in all.
    pub wait: Duration,
}

/// What the tasks tell the caller's thread. At most what `concurrency` batches
/// hold is on its way at a time, so the channel needs no bound of its own.
pub(super) enum Note {
    Arrived(Arrived),
    Refused(Refusal),
    Waiting(Waiting),
}

/// Buys vectors for all of `items`, and hands them to `arrived` as they come.
///
/// Must be called within a runtime; [`tokio::runtime::Handle::block_on`] on a
/// blocking thread will do, and lets `items` and `arrived` block.
///
/// # Errors
///
/// [`Failed`] with the first [`EmbedError`] and with how much was bought
/// before it; that much has been handed on.
pub async fn buy(
    embedder: Arc<dyn Embedder>,
    terms: &Terms,
    items: &mut dyn Iterator<Item = io::Result<Item>>,
    arrived: &mut dyn FnMut(Arrived) -> Result<(), SinkError>,
    progress: &dyn Fn(Progress),
    stop: &CancellationToken,
) -> Result<Purchase, Failed> {
    let batches = Batches::new(items, embedder.as_ref(), terms);
    let (notes, heard) = mpsc::unbounded_channel();
    let pace = Pace::new(terms.items_per_minute, terms.sent.clone());
    let line = Line::new(embedder, Task::Document, terms.dimension, terms.retry_budget, pace, notes);
    let mut buyer = Buyer {
        terms,
        batches,
        line: Arc::new(line),
        heard,
        at_work: JoinSet::new(),
        arrived,
        progress,
        waiting: None,
        last_arrival: None,
        purchase: Purchase::default(),
    };
    let result = match buyer.run(stop).await {
        // Nothing may be lost to a failure of another batch.
        Err(error) if !matches!(error, EmbedError::Sink(_) | EmbedError::Stopped) => {
            Err(buyer.wind_down(stop).await.err().unwrap_or(error))
        }
        other => other,
    };
    let Buyer { mut purchase, line, .. } = buyer;
    purchase.requests = line.requests();
    match result {
        Ok(()) => Ok(purchase),
        Err(error) => Err(Failed { error, texts: purchase.texts, requests: purchase.requests }),
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
    let line = Line::new(embedder, Task::Query, dimension, limit, Pace::new(0, Sent::default()), notes);
    match timeout(limit, line.request(&[text.to_owned()])).await {
        Ok(Ok(vector)) => Ok(vector),
        Ok(Err(Ended::Failed(failure))) => Err(line.verdict(failure)),
        Ok(Err(Ended::Closed)) => Err(EmbedError::Stopped),
        Err(_elapsed) => {
            let message = line.last_words().unwrap_or_else(|| "no answer came".to_owned());
            Err(EmbedError::GaveUp { tried: limit, wait: None, message })
        }
    }
}

struct Buyer<'a> {
    terms: &'a Terms,
    batches: Batches<'a>,
    line: Arc<Line>,
    heard: UnboundedReceiver<Note>,
    at_work: JoinSet<Result<(), EmbedError>>,
    arrived: &'a mut dyn FnMut(Arrived) -> Result<(), SinkError>,
    progress: &'a dyn Fn(Progress),
    /// The wait that was last begun, and its end.
    waiting: Option<(Waiting, Instant)>,
    last_arrival: Option<Instant>,
    purchase: Purchase,
}

impl Buyer<'_> {
    /// How often progress is told while nothing happens, and how long requests
    /// on the wire may take to come home after a failure elsewhere.
    const TICK: Duration = Duration::from_secs(1);
    const GRACE: Duration = Duration::from_secs(10);

    async fn run(&mut self, stop: &CancellationToken) -> Result<(), EmbedError> {
        let mut tick = interval_at(Instant::now() + Self::TICK, Self::TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if stop.is_cancelled() {
                return self.stopped().await;
            }
            self.fill()?;
            if self.at_work.is_empty() {
                return self.drain();
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.stopped().await,
                Some(note) = self.heard.recv() => self.hear_all(note)?,
                Some(ended) = self.at_work.join_next() => outcome(ended)?,
                _ = tick.tick() => self.tell(),
            }
        }
    }

    /// Starts batches until as many are at work as may be.
    fn fill(&mut self) -> Result<(), EmbedError> {
        while self.at_work.len() < self.terms.concurrency.max(1) {
            let Some(batch) = self.batches.next().map_err(EmbedError::Items)? else {
                break;
            };
            let line = Arc::clone(&self.line);
            self.at_work.spawn(async move { bisect::batch(&line, batch).await });
        }
        Ok(())
    }

    /// Hears a note, and with an answer every other one that has arrived meanwhile: they are
    /// kept by one step, whose cost is a flush of the disk.
    fn hear_all(&mut self, note: Note) -> Result<(), EmbedError> {
        let Note::Arrived(mut arrived) = note else { return self.hear(note) };
        let mut after = None;
        while let Ok(note) = self.heard.try_recv() {
            match note {
                Note::Arrived(more) => {
                    arrived.hashes.extend(more.hashes);
                    arrived.vectors.extend(more.vectors);
                }
                other => {
                    after = Some(other);
                    break;
                }
            }
        }
        self.hear(Note::Arrived(arrived))?;
        after.map_or(Ok(()), |note| self.hear(note))
    }

    fn hear(&mut self, note: Note) -> Result<(), EmbedError> {
        match note {
            Note::Arrived(arrived) => {
                let texts = arrived.hashes.len();
                assert_eq!(arrived.vectors.len(), texts * self.terms.dimension, "checked when it arrived");
                (self.arrived)(arrived).map_err(EmbedError::Sink)?;
                self.purchase.texts += texts as u64;
                self.last_arrival = Some(Instant::now());
            }
            Note::Refused(Refusal { hash, message }) => {
                if self.purchase.refused.len() >= self.terms.refusals_allowed {
                    return Err(EmbedError::TextRefused { hash, message });
                }
                self.purchase.refused.push(Refusal { hash, message });
            }
            Note::Waiting(waiting) => {
                let until = Instant::now() + waiting.wait;
                self.waiting = Some((waiting, until));
            }
        }
        self.tell();
        Ok(())
    }

    /// Hears everything that has been said so far.
    fn drain(&mut self) -> Result<(), EmbedError> {
        while let Ok(note) = self.heard.try_recv() {
            self.hear(note)?;
        }
        Ok(())
    }

    /// Gives up what is on the wire, but not what has arrived.
    async fn stopped(&mut self) -> Result<(), EmbedError> {
        self.at_work.shutdown().await;
        self.drain()?;
        Err(EmbedError::Stopped)
    }

    /// Lets requests that are on the wire come home, sends no more, and hands on what they bring.
    async fn wind_down(&mut self, stop: &CancellationToken) -> Result<(), EmbedError> {
        self.line.close();
        let home = async {
            // The failure to report is the first one, already in the caller's hands.
            while self.at_work.join_next().await.is_some() {}
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = timeout(Self::GRACE, home) => {}
        }
        self.at_work.shutdown().await;
        while let Ok(note) = self.heard.try_recv() {
            if let Err(error @ EmbedError::Sink(_)) = self.hear(note) {
                return Err(error);
            }
        }
        Ok(())
    }

    fn tell(&self) {
        let Purchase { texts, refused, .. } = &self.purchase;
        let now = Instant::now();
        // What arrives while another batch waits is no wait; a wait that outlasts it is one again.
        let arriving = self.last_arrival.is_some_and(|at| now - at < Self::TICK);
        let waiting = self.waiting.as_ref().filter(|(_, until)| !arriving && *until > now);
        (self.progress)(Progress {
            done: texts + refused.len() as u64,
            requests: self.line.requests(),
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
    items: &'a mut dyn Iterator<Item = io::Result<Item>>,
    /// Pulled, but too large for the batch before.
    held_back: Option<Item>,
    most_texts: usize,
    most_bytes: usize,
}

impl<'a> Batches<'a> {
    fn new(
        items: &'a mut dyn Iterator<Item = io::Result<Item>>,
        embedder: &dyn Embedder,
        terms: &Terms,
    ) -> Self {
        let a_minute = match usize::try_from(terms.items_per_minute) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(most) => most,
        };
        let most_texts = terms.batch_size.min(embedder.most_texts()).min(a_minute).max(1);
        Self { items, held_back: None, most_texts, most_bytes: embedder.most_bytes() }
    }

    /// The next batch. A text that is too large by itself goes alone: what to
    /// do about it is for the provider to say.
    fn next(&mut self) -> io::Result<Option<Vec<Item>>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < self.most_texts {
            let Some(item) = self.held_back.take().map(Ok).or_else(|| self.items.next()).transpose()? else {
                break;
            };
            bytes += escaped_len(&item.text);
            if bytes > self.most_bytes && !batch.is_empty() {
                self.held_back = Some(item);
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
