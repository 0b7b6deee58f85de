//! One attempt to embed many texts: in batches, several at a time.
//!
//! Requests run as their own tasks; the texts are pulled and the vectors handed
//! on by the caller's thread, which may block for it. Batches arrive in any
//! order: each vector comes with the hash of its text.
//!
//! Whatever ends an attempt early, requests on their way may still be answered,
//! for a bounded time, and their vectors are handed on, because they have been
//! paid for. Only a sink that fails ends everything at once. Which texts are
//! sent next is `queue`'s decision.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use super::batches::Batches;
use super::check_answer::{CheckedAnswer, Flaw};
use super::error::{EmbedError, EmbedFailure, SinkError};
use super::part::{AfterFailure, Ending, Next, Part, Role};
use super::queue::Queue;
use super::rate_limit::{Learnt, RateLimits};
use super::requester::{RequestEnd, Requester};
use super::send_meter::AtCeiling;
use super::types::{
    Cost, EmbedLimits, EmbedProgress, EmbedReport, EmbeddedBatch, Embedder, Failure, FailureKind,
    ProviderWait, TextItem,
};
use crate::domain::record::TextHash;
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
    let (sender, waits) = mpsc::unbounded_channel();
    let rate_limit = RateLimits::new(limits.items_per_minute, limits.tokens_per_minute, &limits.sent);
    let requester =
        Requester::new(embedder, limits.task, limits.dimension, limits.retry_budget, rate_limit, sender)
            .counted_by(limits.meter.clone());
    let learnt = limits.sent.learnt();
    let most = batches.max_texts().min(learnt.max_texts.unwrap_or(usize::MAX));
    let mut attempt = Batcher {
        limits,
        batches,
        requester: Arc::new(requester),
        waits,
        queue: Queue::new(most, learnt.is_silent, limits).skipping(learnt.probes_to_skip),
        in_flight: JoinSet::new(),
        on_batch,
        progress,
        waiting: None,
        last_arrival: None,
        report: EmbedReport::default(),
    };
    let result = match attempt.run(stop).await {
        Err(error @ EmbedError::Sink(_)) => Err(error),
        Err(error) => Err(attempt.finish_in_flight(stop).await.err().unwrap_or(error)),
        Ok(()) => Ok(()),
    };
    attempt.learn();
    let Batcher { mut report, requester, .. } = attempt;
    report.requests = requester.requests();
    match result {
        Ok(()) => Ok(report),
        Err(error) => {
            let EmbedReport { texts, requests, sent, .. } = report;
            Err(EmbedFailure { error, texts, requests, sent })
        }
    }
}

/// What a request's last failure means for the attempt.
pub(super) fn attempt_error(
    requester: &Requester,
    failure: Failure,
    suspect: Option<TextHash>,
) -> EmbedError {
    let Failure { kind, message, .. } = failure;
    match kind {
        FailureKind::Exhausted => EmbedError::Exhausted(message),
        FailureKind::Final => EmbedError::Refused(message),
        FailureKind::BadRequest | FailureKind::TooLarge => EmbedError::BadRequest(message),
        FailureKind::Transient { .. }
        | FailureKind::Timeout
        | FailureKind::ServerError { .. }
        | FailureKind::Resend
        | FailureKind::Wrong(_) => {
            EmbedError::GaveUp { tried: requester.silent_for(), wait: kind.wait(), message, suspect }
        }
    }
}

/// A text whose vector cannot be used is refused like one that the provider itself refuses.
pub(super) fn flawed_text(flaw: &Flaw) -> Failure {
    Failure::new(FailureKind::BadRequest, flaw.to_string())
}

/// A request that has ended, with what it was for.
type EndedRequest = (Part, Result<CheckedAnswer, RequestEnd>);

struct Batcher<'a> {
    limits: &'a EmbedLimits,
    batches: Batches<'a>,
    requester: Arc<Requester>,
    waits: UnboundedReceiver<ProviderWait>,
    queue: Queue,
    in_flight: JoinSet<EndedRequest>,
    on_batch: &'a mut dyn FnMut(EmbeddedBatch) -> Result<(), SinkError>,
    progress: &'a dyn Fn(EmbedProgress),
    /// The wait that began last, and its end.
    waiting: Option<(ProviderWait, Instant)>,
    last_arrival: Option<Instant>,
    report: EmbedReport,
}

impl Batcher<'_> {
    /// When a single text may be sent after the ceiling was reached.
    const CEILING_WAIT: Duration = Duration::from_secs(3600);
    /// How often progress is reported while nothing happens.
    const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
    /// How long requests in flight may take to be answered after another one failed.
    const IN_FLIGHT_LIMIT: Duration = Duration::from_secs(10);
    /// The same after a stop was requested: the program must end within five seconds.
    const STOP_LIMIT: Duration = Duration::from_millis(3500);

    async fn run(&mut self, stop: &Stop) -> Result<(), EmbedError> {
        let mut tick = interval_at(Instant::now() + Self::PROGRESS_INTERVAL, Self::PROGRESS_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if stop.is_requested() {
                return Err(EmbedError::Stopped);
            }
            let until = match self.fill()? {
                Next::Wait(until) => until,
                Next::Done | Next::Send(_) => return Ok(()),
            };
            // Without an instant, the timer is off.
            let due = sleep_until(until.unwrap_or_else(Instant::now));
            tokio::select! {
                biased;
                () = stop.requested() => return Err(EmbedError::Stopped),
                Some(wait) = self.waits.recv() => self.began_wait(wait),
                Some(ended) = self.in_flight.join_next() => self.ended(ended)?,
                () = due, if until.is_some() => {}
                _ = tick.tick() => self.report_progress(),
            }
        }
    }

    /// Sends what may be sent now, and returns what comes after that.
    fn fill(&mut self) -> Result<Next, EmbedError> {
        loop {
            let concurrency = self.limits.concurrency.max(1);
            let next = self.queue.next(&mut self.batches, Instant::now(), self.in_flight.len(), concurrency);
            match next.map_err(EmbedError::Items)? {
                Next::Send(part) => {
                    let Some(part) = self.admit(part)? else { return Ok(Next::Wait(None)) };
                    let requester = Arc::clone(&self.requester);
                    self.in_flight.spawn(async move {
                        let texts: Vec<String> = part.items.iter().map(|item| item.text.clone()).collect();
                        let result = requester.send(&texts).await;
                        (part, result)
                    });
                }
                after @ (Next::Wait(_) | Next::Done) => return Ok(after),
            }
        }
    }

    /// What may leave of a part. What may not is the next to be sent, once answers to others have come.
    fn admit(&mut self, mut part: Part) -> Result<Option<Part>, EmbedError> {
        let Some(meter) = &self.limits.meter else { return Ok(Some(part)) };
        let texts = match meter.admit(part.items.len()) {
            Ok(texts) => texts,
            Err(AtCeiling { unanswered, ceiling }) if self.in_flight.is_empty() => {
                let (unanswered, message) = (Some(unanswered), self.requester.last_message());
                return Err(EmbedError::Ceiling { unanswered, ceiling, message, wait: Self::CEILING_WAIT });
            }
            Err(_) => 0,
        };
        self.report.sent += texts as u64;
        let Part { tries, role, .. } = part;
        self.queue.take_back(Part { items: part.items.split_off(texts), tries, role });
        Ok((texts > 0).then_some(part))
    }

    /// Texts that have cost nothing.
    fn returned(&mut self, part: &Part, cost: Cost) {
        let texts = part.items.len();
        if let (Some(meter), Cost::Refused | Cost::NotSent) = (&self.limits.meter, cost) {
            meter.returned(texts);
            self.report.sent -= if cost == Cost::NotSent { texts as u64 } else { 0 };
        }
    }

    /// Takes a request that ended, with all others that have ended by now: their
    /// vectors are stored in one step, which costs a flush of the disk.
    fn ended(&mut self, first: Result<EndedRequest, JoinError>) -> Result<(), EmbedError> {
        let (mut arrived, mut failed) = (EmbeddedBatch { hashes: vec![], vectors: vec![] }, Vec::new());
        let (mut next, mut not_counted) = (Some(first), None);
        while let Some(ended) = next {
            match task_result(ended)? {
                (part, Ok(answer)) => failed.extend(self.answered(part, answer, &mut arrived)),
                (part, Err(RequestEnd::Failed(failure))) => {
                    self.returned(&part, failure.cost);
                    failed.push((part, failure));
                }
                (part, Err(RequestEnd::Closed)) => self.returned(&part, Cost::NotSent),
                (part, Err(RequestEnd::NotCounted(error))) => {
                    self.returned(&part, Cost::NotSent);
                    not_counted = not_counted.or(Some(error));
                }
            }
            next = self.in_flight.try_join_next();
        }
        self.store(arrived)?;
        if let Some(error) = not_counted {
            return Err(EmbedError::NotCounted(error));
        }
        failed.into_iter().try_for_each(|(part, failure)| self.failed(part, failure))
    }

    /// Takes the vectors of an answer. A text that was alone and has none counts as refused.
    fn answered(
        &mut self,
        mut part: Part,
        answer: CheckedAnswer,
        arrived: &mut EmbeddedBatch,
    ) -> Option<(Part, Failure)> {
        let CheckedAnswer { places, vectors, flawed } = answer;
        if let ([_], [(_, flaw)]) = (part.items.as_slice(), flawed.as_slice()) {
            part.tries.is_flawed = true;
            return Some((part, flawed_text(flaw)));
        }
        if part.role != Role::Witness {
            arrived.hashes.extend(places.iter().map(|&place| part.items[place].hash));
            arrived.vectors.extend(vectors);
        }
        let again = flawed.iter().map(|(place, _)| part.items[*place].clone()).collect();
        self.queue.answered(&part, places.len(), again);
        None
    }

    fn store(&mut self, arrived: EmbeddedBatch) -> Result<(), EmbedError> {
        let texts = arrived.hashes.len();
        assert_eq!(arrived.vectors.len(), texts * self.limits.dimension, "checked when it arrived");
        if texts > 0 {
            (self.on_batch)(arrived).map_err(EmbedError::Sink)?;
            if let Some(meter) = &self.limits.meter {
                meter.stored(texts);
            }
            self.report.texts += texts as u64;
            self.last_arrival = Some(Instant::now());
            self.report_progress();
        }
        Ok(())
    }

    fn failed(&mut self, part: Part, failure: Failure) -> Result<(), EmbedError> {
        let later = match failure.kind {
            FailureKind::Exhausted
            | FailureKind::Final
            | FailureKind::BadRequest
            | FailureKind::TooLarge
            | FailureKind::Resend => None,
            FailureKind::Transient { .. }
            | FailureKind::Timeout
            | FailureKind::ServerError { .. }
            | FailureKind::Wrong(_) => self.requester.later(&failure, self.queue.failures(&part)),
        };
        match self.queue.failed(part, &failure, later) {
            AfterFailure::GoOn => Ok(()),
            AfterFailure::Refused(refused) if self.report.refused.len() >= self.limits.refusals_allowed => {
                Err(refused.into())
            }
            AfterFailure::Refused(refused) => {
                self.report.refused.push(refused);
                self.report_progress();
                Ok(())
            }
            AfterFailure::End(Ending::WrongLength) => Err(EmbedError::WrongLength(failure.message)),
            AfterFailure::End(Ending::WrongAnswers) => Err(EmbedError::WrongAnswers(failure.message)),
            AfterFailure::End(Ending::Request) => Err(EmbedError::BadRequest(failure.message)),
            AfterFailure::End(Ending::Failed | Ending::GaveUp) => {
                Err(attempt_error(&self.requester, failure, self.queue.suspect()))
            }
        }
    }

    /// Lets requests in flight be answered, sends no more, and hands on what arrives.
    async fn finish_in_flight(&mut self, stop: &Stop) -> Result<(), EmbedError> {
        self.requester.close();
        let mut limit = Box::pin(sleep(Self::IN_FLIGHT_LIMIT));
        let mut is_stopping = false;
        loop {
            tokio::select! {
                biased;
                () = stop.requested(), if !is_stopping => {
                    is_stopping = true;
                    let stopped = Instant::now() + Self::STOP_LIMIT;
                    let earlier = limit.deadline().min(stopped);
                    limit.as_mut().reset(earlier);
                }
                ended = self.in_flight.join_next() => match ended {
                    // The failure to report is the first one, which the caller has already.
                    Some(ended) => if let Err(error @ EmbedError::Sink(_)) = self.ended(ended) {
                        return Err(error);
                    },
                    None => return Ok(()),
                },
                () = &mut limit => {
                    self.in_flight.shutdown().await;
                    return Ok(());
                }
            }
        }
    }

    /// Leaves to the next attempt what was learnt of the provider.
    fn learn(&self) {
        let found = self.queue.found_limit();
        let Learnt { max_texts, is_silent, .. } = self.limits.sent.learnt();
        let has_succeeded = self.queue.has_succeeded();
        let was_asked = self.requester.requests() > 0;
        if let Some(limit) = found {
            tracing::warn!(
                "the provider takes at most {limit} texts in a request; set embedding.batch_size = {limit}"
            );
        }
        self.limits.sent.learn(Learnt {
            max_texts: found.or(max_texts),
            is_silent: if was_asked { !has_succeeded } else { is_silent },
            probes_to_skip: 0,
        });
    }

    fn began_wait(&mut self, wait: ProviderWait) {
        let until = Instant::now() + wait.wait;
        // The provider's own message stays: other requests report the same pause without it.
        if self.waiting.as_ref().is_none_or(|(_, ends)| *ends < until) {
            self.waiting = Some((wait, until));
        }
        self.report_progress();
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
            waiting: waiting.map(|(waiting, until)| waiting.at(*until - now)),
        });
    }
}

/// The result of a task. Its panic is our own bug and resumes here.
fn task_result(ended: Result<EndedRequest, JoinError>) -> Result<EndedRequest, EmbedError> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(result) => Ok(result),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // Only the end of the runtime cancels a task that has not ended.
        Err(Err(_cancelled)) => Err(EmbedError::Stopped),
    }
}

#[cfg(test)]
mod tests;
