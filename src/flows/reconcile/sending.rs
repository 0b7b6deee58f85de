//! Counts the texts that leave the host, from before they leave until their vectors are stored.
//!
//! Joins the decision (`decide::ceiling`) with the file that remembers across
//! passes, restarts and crashes. Texts that stay within this process, as for
//! the local model, are not counted.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::context::{PassContext, PassProgress};
use crate::adapters::builds::{Layout, SentTextsFile, error_chain, sent_texts};
use crate::adapters::embed::{
    AtCeiling, EmbedError, EmbedFailure, EmbedReport, Embedder, SendMeter, SentInMinute, SentLog, SinkError,
};
use crate::config::{EmbeddingSettings, Provider};
use crate::decide::ceiling::{self, Allowance, Asked, Begin};
use crate::domain::parallel::lock;
use crate::domain::pass::{Counts, Trigger};
use crate::domain::sent_texts::SentTexts;

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct EmbedPlan {
    pub(super) trigger: Trigger,
    /// Texts that the pass embeds.
    pub(super) planned: u64,
    /// Whether the vectors are stored; if not, all of its texts count.
    pub(super) stores: bool,
}

/// Embeds as `embed` does, and counts what it sends. Adds to `counts` what was sent, also if it fails.
pub(super) fn attempt(
    context: &PassContext<'_>,
    attempt: &EmbedPlan,
    counts: &mut Counts,
    embed: impl FnOnce(Arc<dyn Embedder>, Option<Arc<dyn SendMeter>>) -> Result<EmbedReport, EmbedFailure>,
) -> Result<EmbedReport, EmbedFailure> {
    let embedder = (context.embedder)().map_err(EmbedFailure::before_sending)?;
    // A person has asked once, however many attempts the pass makes.
    let trigger = if counts.texts_sent > 0 { Trigger::Retry } else { attempt.trigger };
    let sending = Sending::begin(context, &EmbedPlan { trigger, ..*attempt });
    let sending = sending.map_err(EmbedFailure::before_sending)?;
    let result = embed(embedder, sending.clone().map(|sending| sending as Arc<dyn SendMeter>));
    if let Some(sending) = &sending {
        sending.end(context, result.as_ref().map(drop));
    }
    let (requests, sent) = match &result {
        Ok(report) => (report.requests, report.sent),
        Err(failure) => (failure.requests, failure.sent),
    };
    (counts.requests, counts.texts_sent) = (counts.requests + requests, counts.texts_sent + sent);
    (context.progress)(PassProgress::Sent { texts: counts.texts_sent });
    result
}

/// What is sent by one attempt.
#[derive(Debug)]
struct Sending {
    stores: bool,
    file: SentTextsFile,
    clock: fn() -> Timestamp,
    state: Mutex<SendingState>,
}

#[derive(Debug)]
struct SendingState {
    sent: SentTexts,
    allowance: Allowance,
}

impl Sending {
    /// Begins an attempt; `None` where no text leaves the host.
    ///
    /// # Errors
    ///
    /// [`EmbedError`] where nothing may be sent now, or what was sent before cannot be read.
    fn begin(context: &PassContext<'_>, attempt: &EmbedPlan) -> Result<Option<Arc<Self>>, EmbedError> {
        let EmbedPlan { trigger, planned, stores } = *attempt;
        if context.config.embedding.provider == Provider::Local {
            return Ok(None);
        }
        let publish = &context.config.publish;
        let layout = Layout::new(&publish.index, &publish.metadata).map_err(not_counted)?;
        let (file, remembered, warning) = SentTextsFile::open(&layout).map_err(not_counted)?;
        if let Some(warning) = &warning {
            context.warn(warning);
        }
        let now = (context.clock)().as_second();
        recall(&remembered, &context.sent, now);
        let settings = settings_key(&context.config.embedding);
        let is_unknown = remembered.is_unknown;
        match ceiling::begin(remembered, &Asked { trigger, planned, settings: &settings, now }) {
            Begin::BackOff { wait, failures } => Err(EmbedError::BackOff { failures, wait }),
            Begin::Ceiling { wait, unanswered, ceiling } => {
                let unanswered = (!is_unknown).then_some(unanswered);
                Err(EmbedError::Ceiling { unanswered, ceiling, message: None, wait })
            }
            Begin::Send(sent, allowance) => {
                if allowance.begins_with_probe {
                    context.sent.begin_with_probe(sent.probes as usize);
                }
                let state = Mutex::new(SendingState { sent, allowance });
                Ok(Some(Arc::new(Self { stores, file, clock: context.clock, state })))
            }
        }
    }

    /// Remembers how the attempt ended. If that cannot be written, the file says more than is true.
    fn end(&self, context: &PassContext<'_>, result: Result<(), &EmbedFailure>) {
        let state = &mut *lock(&self.state);
        match result {
            Ok(()) => ceiling::succeeded(&mut state.sent),
            Err(failure) => {
                let is_stop = matches!(failure.error, EmbedError::Stopped);
                // Where nothing left, trying again costs nothing.
                let retry = (!is_stop && failure.sent > 0).then(|| failure.error.retry());
                let at_ceiling = matches!(failure.error, EmbedError::Ceiling { .. });
                ceiling::failed(&mut state.sent, retry, at_ceiling, (self.clock)().as_second());
            }
        }
        if let Err(error) = self.file.write(&state.sent, false) {
            context.warn(&error_chain(&error));
        }
    }
}

impl SendMeter for Sending {
    fn admit(&self, texts: usize) -> Result<usize, AtCeiling> {
        let SendingState { sent, allowance } = &mut *lock(&self.state);
        let (before, ceiling) = (sent.unanswered, allowance.ceiling);
        match allowance.admit(sent, texts as u64, (self.clock)().as_second()) {
            0 => Err(AtCeiling { unanswered: before, ceiling }),
            admitted => Ok(usize::try_from(admitted).expect("at most as many as were asked for")),
        }
    }

    fn leaving(&self, in_minute: SentInMinute) -> Result<(), Box<dyn Error + Send + Sync>> {
        let sent = &mut lock(&self.state).sent;
        let now = (self.clock)().as_second();
        sent.sending = Some(now);
        let SentInMinute { texts, tokens } = in_minute;
        (sent.minute_texts, sent.minute_tokens, sent.minute_at) = (texts as u64, tokens as u64, Some(now));
        Ok(self.file.write(sent, true)?)
    }

    fn stored(&self, texts: usize) {
        let SendingState { sent, allowance } = &mut *lock(&self.state);
        if self.stores && allowance.stored(sent, texts as u64) {
            // Not flushed, and if it fails the file says that the provider was silent: it costs a probe.
            self.file.write(sent, false).ok();
        }
    }

    fn returned(&self, texts: usize) {
        ceiling::returned(&mut lock(&self.state).sent, texts as u64);
    }
}

/// A pass ended well: what was sent before is of no further interest.
pub(super) fn forget(context: &PassContext<'_>, layout: &Layout) {
    match sent_texts(layout) {
        None => {}
        Some(sent) if ceiling::is_clear(&sent) => {}
        Some(sent) => {
            let written =
                SentTextsFile::open(layout).and_then(|(file, ..)| file.write(&ceiling::cleared(sent), false));
            if let Err(error) = written {
                context.warn(&error_chain(&error));
            }
        }
    }
}

fn not_counted(error: impl Error + Send + Sync + 'static) -> EmbedError {
    EmbedError::NotCounted(SinkError(Box::new(error)))
}

/// What another process sent counts against the minute's limits of this one.
fn recall(remembered: &SentTexts, sent: &SentLog, now: i64) {
    const MINUTE: Duration = Duration::from_secs(61);
    let Some(at) = remembered.minute_at else { return };
    // Whole seconds, so that it may be less by one; after a clock that was moved back, a moment ago.
    let age = Duration::from_secs(u64::try_from(now.saturating_sub(at)).unwrap_or(0).saturating_sub(1));
    if age < MINUTE
        && let Some(at) = Instant::now().checked_sub(age)
    {
        let amount = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let [texts, tokens] = [remembered.minute_texts, remembered.minute_tokens].map(amount);
        sent.recall(SentInMinute { texts, tokens }, at);
    }
}

/// Names the settings of embedding, the key included: with others an attempt may succeed.
fn settings_key(settings: &EmbeddingSettings) -> String {
    let key = settings.api_key.as_ref().map_or("", |key| key.expose());
    let digest = blake3::hash(format!("{settings:?} {key}").as_bytes()).to_hex();
    digest[..16].to_owned()
}
