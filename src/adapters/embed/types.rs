//! What embedding is asked for, what it returns, and the [`Embedder`] that does it.
//!
//! The batcher, its queue and the requester share these types and know of each
//! other only what they call. A [`Failure`] says what can be done about one
//! request; what its end means for a whole attempt is `error`'s.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::rate_limit::SentLog;
use super::send_meter::SendMeter;
use crate::adapters::http::HttpError;
use crate::domain::record::TextHash;

/// One request to a provider.
pub trait Embedder: Send + Sync {
    /// Asks once for one vector per text, in the order of the texts. The
    /// caller checks number, length and values of the answer. Dropping the
    /// future abandons the request.
    fn embed<'a>(&'a self, texts: &'a [String], task: Task) -> BoxFuture<'a, Result<Vec<Vec<f32>>, Failure>>;

    /// The most texts that one request can hold.
    fn max_texts(&self) -> usize;

    /// The most bytes of text, escaped for JSON, that one request should hold.
    fn max_bytes(&self) -> usize;

    /// The bytes that a request has more for each text, such as those of a prefix.
    fn bytes_per_text(&self) -> usize {
        0
    }
}

/// What a text is embedded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// To be found.
    Document,
    /// To find others.
    Query,
}

/// Why a request gave no vectors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub kind: FailureKind,
    /// The provider's own message, cut short, on one line and without the key.
    pub message: String,
    pub cost: Cost,
}

/// What a request without vectors may have cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// The texts left this host: a provider may charge for them.
    Possible,
    /// The provider refused the request as a whole, with a 4xx.
    Refused,
    /// The texts did not leave this host.
    NotSent,
}

/// What can be done about a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The same request may succeed later.
    Transient {
        /// How long the provider asks us to wait, if it does; zero counts as asked.
        wait: Option<Duration>,
    },
    /// No answer within the request's own timeout: later, or with fewer texts.
    Timeout,
    /// The server failed: later, or it fails because of these texts.
    ServerError {
        /// How long the provider asks us to wait, if it does.
        wait: Option<Duration>,
    },
    /// The next request has another form: the same texts are sent again at once.
    Resend,
    /// Nothing of the answer can be used.
    Wrong(WrongKind),
    /// The request is too large: too many texts, bytes or tokens.
    TooLarge,
    /// A day's quota or the credit is used up.
    Exhausted,
    /// No request will succeed: a wrong key, an unknown model, a wrong address.
    Final,
    /// The provider refuses this request; a text in it may be the reason.
    BadRequest,
}

/// Why nothing of an answer can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongKind {
    /// Another number of vectors than of texts.
    Count,
    /// No certain order of the vectors.
    Order,
    /// Another length of every vector.
    Length,
}

impl FailureKind {
    /// How long the provider asks us to wait, if it does.
    pub(super) fn wait(self) -> Option<Duration> {
        match self {
            Self::Transient { wait } | Self::ServerError { wait } => wait,
            Self::Timeout
            | Self::Resend
            | Self::Wrong(_)
            | Self::TooLarge
            | Self::Exhausted
            | Self::Final
            | Self::BadRequest => None,
        }
    }
}

impl Failure {
    /// A failure of a request that may have cost something.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cost: Cost::Possible }
    }

    pub(super) fn transient(wait: Option<Duration>, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Transient { wait }, message)
    }

    pub(super) fn permanent(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Final, message)
    }

    pub(super) fn with_cost(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        let cost = if error.has_left() { Cost::Possible } else { Cost::NotSent };
        let failure = if matches!(error, HttpError::Timeout { .. }) {
            Self::new(FailureKind::Timeout, error.to_string())
        } else if error.retry() {
            Self::transient(None, error.to_string())
        } else {
            Self::permanent(error.to_string())
        };
        failure.with_cost(cost)
    }
}

/// A text to embed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextItem {
    pub(crate) hash: TextHash,
    pub(crate) text: String,
}

/// Vectors that were checked: right number, right dimension, finite, of unit length.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EmbeddedBatch {
    pub(crate) hashes: Vec<TextHash>,
    /// One vector per hash, in the same order, joined.
    pub(crate) vectors: Vec<f32>,
}

/// The limits of one attempt to embed many texts.
#[derive(Clone, Debug)]
pub(crate) struct EmbedLimits {
    /// What the texts are embedded for.
    pub(crate) task: Task,
    /// Floats in a vector.
    pub(crate) dimension: usize,
    /// The most texts in a request.
    pub(crate) batch_size: usize,
    /// The most requests at a time.
    pub(crate) concurrency: usize,
    /// The most texts in a minute; zero means no limit.
    pub(crate) items_per_minute: u32,
    /// The most tokens in a minute, by estimate; zero means no limit.
    pub(crate) tokens_per_minute: u32,
    /// What earlier attempts sent: it counts against that limit.
    pub(crate) sent: SentLog,
    /// How long to go on without a single success.
    pub(crate) retry_budget: Duration,
    /// How many texts the provider may refuse before the attempt fails.
    pub(crate) refusals_allowed: usize,
    /// The texts were refused before: each is asked for once, and one more refusal needs no proof.
    pub(crate) are_refused: bool,
    /// A text that the provider is known to take, or takes from anybody: sent where no other text can
    /// show whether the provider works.
    pub(crate) witness: String,
    /// Counts the texts that leave; `None` where none does.
    pub(crate) meter: Option<Arc<dyn SendMeter>>,
}

/// The result of one attempt to embed many texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EmbedReport {
    /// Texts whose vectors were handed on.
    pub(crate) texts: u64,
    /// Requests sent, retries included.
    pub(crate) requests: u64,
    /// Texts that left this host, however they were answered.
    pub(crate) sent: u64,
    pub(crate) refused: Vec<RefusedText>,
}

/// A text that the provider refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefusedText {
    pub(crate) hash: TextHash,
    /// The provider's message.
    pub(crate) message: String,
}

impl RefusedText {
    pub(super) fn new(item: &TextItem, failure: &Failure) -> Self {
        Self { hash: item.hash, message: failure.message.clone() }
    }
}

/// How far an attempt is; reported after every change and once a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EmbedProgress {
    /// Texts embedded or refused.
    pub(crate) done: u64,
    /// Requests sent, retries included.
    pub(crate) requests: u64,
    /// The wait that began last, while it lasts and nothing arrives.
    pub(crate) waiting: Option<ProviderWait>,
}

/// A wait between two requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProviderWait {
    /// The provider's message, or our own reason.
    pub(crate) why: String,
    /// How long the wait is in all.
    pub(crate) wait: Duration,
    /// How much of it is left.
    pub(crate) left: Duration,
    /// When the attempt gives up unless a request succeeds, from now on; `None` where it does not.
    pub(crate) gives_up: Option<Duration>,
}

impl ProviderWait {
    /// The same wait when this much of it is left.
    pub(super) fn at(&self, left: Duration) -> Self {
        let passed = self.wait.saturating_sub(left);
        Self { left, gives_up: self.gives_up.map(|time| time.saturating_sub(passed)), ..self.clone() }
    }
}
