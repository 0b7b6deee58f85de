//! Decides which texts are sent next, and what an answer leaves to be sent.
//!
//! While no request has succeeded and one has failed, a single text is on its
//! way at a time, each time another one: an outage costs one text a try, and
//! one text that the server cannot take does not hold up the others. Texts that
//! need another success before they are sent again wait for it; where nothing
//! else is left to send, the witness is, a text that anybody would take.
//!
//! Pure: instants are arguments. What a failure means is `next_step`'s decision.

use std::collections::VecDeque;
use std::io;

use tokio::time::Instant;

use super::batches::Batches;
use super::next_step::{Step, Tries, after_failure};
use super::part::{AfterFailure, Ending, Next, Part, Role};
use super::types::{EmbedLimits, Failure, FailureKind, RefusedText, TextItem, WrongKind};
use crate::domain::record::TextHash;

/// The parts of an attempt that are not on their way.
#[derive(Debug)]
pub(super) struct Queue {
    ready: VecDeque<Part>,
    /// Sent again from their instants on.
    delayed: Vec<(Instant, Part)>,
    /// Refused alone; sent again after another success.
    suspects: Vec<Part>,
    /// Probes that failed.
    tried: Vec<Part>,
    /// Probes since the last witness.
    probes: usize,
    /// Texts that are not sent first.
    to_skip: usize,
    witness: TextItem,
    /// Whether requests are probes until one succeeds.
    is_silent: bool,
    /// No probe and no witness is sent before.
    not_before: Option<Instant>,
    /// Failures since the last success that may pass; those on their way together count once.
    misses: u32,
    /// Requests that gave at least one vector.
    successes: u64,
    /// Single texts that were refused while none was taken.
    lone_refusals: u32,
    /// Wrong answers of one kind since the last right one.
    wrong: Option<(WrongKind, u32)>,
    /// The most texts in a request.
    limit: usize,
    /// The same when the attempt began.
    first_limit: usize,
    /// The most texts in a request that succeeded.
    most_taken: usize,
    /// Every text was refused before: one more refusal needs no proof.
    are_refused: bool,
}

impl Queue {
    /// Other texts that are tried before the witness is.
    const MAX_PROBES: usize = 3;
    /// Wrong answers of one kind in a row that end the attempt.
    const MAX_WRONG: u32 = 3;
    /// The same, for a wrong length before any right one.
    const MAX_WRONG_LENGTH: u32 = 2;

    pub(super) fn new(limit: usize, is_silent: bool, limits: &EmbedLimits) -> Self {
        Self {
            ready: VecDeque::new(),
            delayed: Vec::new(),
            suspects: Vec::new(),
            tried: Vec::new(),
            probes: 0,
            to_skip: 0,
            witness: TextItem { hash: TextHash::of(&limits.witness), text: limits.witness.clone() },
            is_silent,
            not_before: None,
            misses: 0,
            successes: 0,
            lone_refusals: 0,
            wrong: None,
            limit,
            first_limit: limit,
            most_taken: 0,
            are_refused: limits.are_refused,
        }
    }

    /// The same, beginning with another text than `attempts` before it.
    pub(super) fn skipping(self, attempts: usize) -> Self {
        Self { to_skip: attempts % Self::MAX_PROBES, ..self }
    }

    /// The most texts in a request, if that was found during this attempt.
    pub(super) fn found_limit(&self) -> Option<usize> {
        Some(self.limit).filter(|_| self.limit < self.first_limit && self.has_succeeded())
    }

    pub(super) fn has_succeeded(&self) -> bool {
        self.successes > 0
    }

    /// A text that was refused, without proof that it is at fault.
    pub(super) fn suspect(&self) -> Option<TextHash> {
        self.suspects.first().map(|part| part.items[0].hash)
    }

    /// Takes back what may not be sent now; it is the next to be sent.
    pub(super) fn take_back(&mut self, part: Part) {
        if !part.items.is_empty() && part.role != Role::Witness {
            self.ready.push_front(Part { role: Role::Batch, ..part });
        }
    }

    /// What to send while `in_flight` requests are on their way, of at most `concurrency`.
    pub(super) fn next(
        &mut self,
        batches: &mut Batches<'_>,
        now: Instant,
        in_flight: usize,
        concurrency: usize,
    ) -> io::Result<Next> {
        if self.is_silent {
            return self.next_probe(batches, now, in_flight);
        }
        if in_flight >= concurrency {
            return Ok(Next::Wait(None));
        }
        self.release(now);
        if let Some(part) = self.ready.pop_front() {
            return Ok(Next::Send(self.cut(part)));
        }
        // What failed stays in memory until it is sent again, so it takes a place.
        if in_flight + self.delayed.len() < concurrency
            && let Some(items) = batches.next(self.limit)?
        {
            return Ok(Next::Send(Part { items, tries: Tries::default(), role: Role::Batch }));
        }
        let lacks = self.due(true).is_some() || !self.suspects.is_empty();
        if in_flight > 0 || !lacks {
            return Ok(match self.due(false) {
                None if in_flight == 0 => Next::Done,
                at => Next::Wait(at),
            });
        }
        if let Some(at) = self.due(false) {
            return Ok(Next::Wait(Some(at)));
        }
        let first = self.suspects.is_empty().then(|| self.due(true)).flatten();
        match self.not_before.max(first).filter(|at| *at > now) {
            Some(at) => Ok(Next::Wait(Some(at))),
            None => Ok(Next::Send(self.witness())),
        }
    }

    /// When the first of the delayed parts is due, of those that need another success or of the others.
    fn due(&self, lacking: bool) -> Option<Instant> {
        let parts =
            self.delayed.iter().filter(|(_, part)| part.tries.lack_a_success(self.successes) == lacking);
        parts.map(|(at, _)| *at).min()
    }

    /// The next single text, one at a time.
    fn next_probe(&mut self, batches: &mut Batches<'_>, now: Instant, in_flight: usize) -> io::Result<Next> {
        if in_flight > 0 {
            return Ok(Next::Wait(None));
        }
        if let Some(at) = self.not_before.filter(|at| *at > now) {
            return Ok(Next::Wait(Some(at)));
        }
        if self.ready.is_empty()
            && let Some(items) = batches.next(self.limit)?
        {
            self.ready.push_back(Part { items, tries: Tries::default(), role: Role::Batch });
        }
        if self.probes < Self::MAX_PROBES {
            self.skip_probes();
            if let Some(probe) = self.take_probe() {
                return Ok(Next::Send(probe));
            }
        }
        self.probes = 0;
        self.ready.extend(self.tried.drain(..));
        if self.ready.is_empty() && self.suspects.is_empty() {
            return Ok(Next::Done);
        }
        Ok(Next::Send(self.witness()))
    }

    /// Lets texts wait that earlier attempts began with, as long as there are others.
    fn skip_probes(&mut self) {
        for _ in 0..std::mem::take(&mut self.to_skip) {
            if self.ready.iter().map(|part| part.items.len()).sum::<usize>() > 1 {
                let probe = self.take_probe();
                self.tried.extend(probe);
            }
        }
    }

    /// The shortest text of all at first, then the shortest of the part after the one it came from.
    fn take_probe(&mut self) -> Option<Part> {
        let shortest = |part: &Part| part.items.iter().map(|item| item.text.len()).min();
        if self.probes == 0 {
            let (place, _) = self.ready.iter().enumerate().min_by_key(|(_, part)| shortest(part))?;
            self.ready.rotate_left(place);
        }
        let mut part = self.ready.pop_front()?;
        self.probes += 1;
        let (place, _) = part.items.iter().enumerate().min_by_key(|(_, item)| item.text.len())?;
        let item = part.items.remove(place);
        let tries = if part.items.is_empty() { part.tries } else { Tries::default() };
        if !part.items.is_empty() {
            self.ready.push_back(part);
        }
        Some(Part { items: vec![item], tries, role: Role::Probe })
    }

    /// A request gave `taken` vectors of this part that could be used, and these texts had none.
    pub(super) fn answered(&mut self, part: &Part, taken: usize, flawed: Vec<TextItem>) {
        if taken > 0 {
            self.succeeded(part.items.len());
        }
        for item in flawed {
            let tries = Tries { is_flawed: true, ..Tries::default() };
            self.ready.push_back(Part { items: vec![item], tries, role: Role::Batch });
        }
    }

    fn succeeded(&mut self, texts: usize) {
        self.successes += 1;
        self.wrong = None;
        self.misses = 0;
        self.most_taken = self.most_taken.max(texts);
        if self.is_silent {
            self.is_silent = false;
            self.ready.extend(self.tried.drain(..));
        }
    }

    /// After how many failures the wait before the next try is chosen.
    pub(super) fn failures(&self, part: &Part) -> u32 {
        if self.has_succeeded() && part.role == Role::Batch { part.tries.failures } else { self.misses }
    }

    /// A request for this part failed; what may pass is not sent again before
    /// `later`, and ends the attempt where there is no such instant.
    pub(super) fn failed(
        &mut self,
        mut part: Part,
        failure: &Failure,
        later: Option<Instant>,
    ) -> AfterFailure {
        let texts = part.items.len();
        if let Some(ending) = self.count_wrong(failure.kind, &part) {
            return AfterFailure::End(ending);
        }
        let step = after_failure(failure.kind, texts, &part.tries, self.successes);
        if self.successes == 0 && step != Step::Resend {
            self.is_silent = true;
        }
        let needs_time = matches!(step, Step::Repeat | Step::Halve { wait: true, .. });
        if needs_time && later.is_none() {
            self.ready.push_back(part);
            return AfterFailure::End(Ending::GaveUp);
        }
        self.misses += u32::from(needs_time && (part.role != Role::Batch || self.misses == 0));
        if part.role == Role::Witness {
            return self.witness_failed(step, later);
        }
        match step {
            Step::End => return AfterFailure::End(Ending::Failed),
            Step::Resend => self.ready.push_front(part),
            Step::Repeat => {
                part.tries.failures += 1;
                if matches!(failure.kind, FailureKind::ServerError { .. }) {
                    part.tries.server_error_at = Some(self.successes);
                }
                self.park(part, later);
            }
            Step::Halve { shrink, wait } => self.halve(part, shrink, later.filter(|_| wait)),
            Step::Suspect if !self.are_refused => return self.suspected(part, failure.kind),
            Step::Suspect | Step::Refuse => {
                return AfterFailure::Refused(RefusedText::new(&part.items[0], failure));
            }
        }
        AfterFailure::GoOn
    }

    fn witness_failed(&mut self, step: Step, later: Option<Instant>) -> AfterFailure {
        match step {
            Step::End => AfterFailure::End(Ending::Failed),
            Step::Suspect | Step::Refuse | Step::Halve { .. } => AfterFailure::End(Ending::Request),
            Step::Repeat | Step::Resend => {
                self.not_before = later;
                AfterFailure::GoOn
            }
        }
    }

    /// Keeps a text that was refused alone until another one was taken.
    fn suspected(&mut self, mut part: Part, kind: FailureKind) -> AfterFailure {
        part.tries.refused_at = Some(self.successes);
        if kind == FailureKind::TooLarge {
            // The text itself was too large for the batches before, not their number of texts.
            self.limit = self.first_limit;
        }
        self.suspects.push(part);
        self.lone_refusals += u32::from(self.successes == 0);
        if self.lone_refusals >= 2 { AfterFailure::End(Ending::Request) } else { AfterFailure::GoOn }
    }

    /// Wrong answers in a row that end the attempt.
    fn count_wrong(&mut self, kind: FailureKind, part: &Part) -> Option<Ending> {
        let FailureKind::Wrong(kind) = kind else { return None };
        if part.tries.is_flawed {
            return None;
        }
        let count = self.wrong.filter(|(last, _)| *last == kind).map_or(0, |(_, count)| count) + 1;
        self.wrong = Some((kind, count));
        if kind == WrongKind::Length && self.successes == 0 {
            return (count >= Self::MAX_WRONG_LENGTH).then_some(Ending::WrongLength);
        }
        (count >= Self::MAX_WRONG).then_some(Ending::WrongAnswers)
    }

    fn halve(&mut self, mut part: Part, shrink: bool, later: Option<Instant>) {
        let texts = part.items.len();
        // What took too long may pass; requests as large that were taken prove nothing against it.
        if shrink && (later.is_none() || texts > self.most_taken) {
            self.limit = self.limit.min(texts / 2).max(1);
        }
        part.tries.server_error_at = None;
        part.tries.failures += u32::from(later.is_some());
        let second = Part { items: part.items.split_off(texts / 2), ..part.clone() };
        for half in [part, second] {
            if later.is_some() { self.park(half, later) } else { self.ready.push_back(half) }
        }
    }

    /// Keeps what may pass.
    fn park(&mut self, part: Part, later: Option<Instant>) {
        if let (false, Some(later)) = (self.is_silent, later) {
            self.delayed.push((later, part));
            return;
        }
        self.not_before = self.not_before.max(later);
        match part.role {
            Role::Probe => self.tried.push(part),
            Role::Batch | Role::Witness => self.ready.push_back(part),
        }
    }

    /// Makes ready what is due and what another success was needed for.
    fn release(&mut self, now: Instant) {
        let successes = self.successes;
        let is_due = |(at, part): &mut (Instant, Part)| *at <= now && !part.tries.lack_a_success(successes);
        self.ready.extend(self.delayed.extract_if(.., is_due).map(|(_, part)| part));
        self.ready.extend(self.suspects.extract_if(.., |part| !part.tries.lack_a_success(successes)));
    }

    /// The part itself, if it is not larger than the limit; else its beginning.
    fn cut(&mut self, mut part: Part) -> Part {
        if part.items.len() > self.limit {
            self.ready.push_front(Part { items: part.items.split_off(self.limit), ..part.clone() });
        }
        part
    }

    fn witness(&self) -> Part {
        Part { items: vec![self.witness.clone()], tries: Tries::default(), role: Role::Witness }
    }
}
