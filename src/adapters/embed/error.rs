//! Why texts could not be embedded, and when another attempt makes sense.
//!
//! Messages name what failed, with the provider's own message where there is
//! one. Keys, texts and vectors never appear in them.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::types::RefusedText;
use crate::domain::pass::{ErrorClass, Retry};
use crate::domain::record::TextHash;

/// Vectors could not be stored.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SinkError(#[from] pub Box<dyn Error + Send + Sync>);

/// Why not every text was embedded.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The settings do not describe a provider that requests can be sent to.
    #[error("{0}")]
    Settings(String),
    #[error(
        "no API key for {provider}: expected embedding.api_key_file, the credential embedding-api-key, or {variables} in the environment"
    )]
    NoKey {
        /// The provider's name in the settings.
        provider: &'static str,
        /// The environment variables that are read.
        variables: &'static str,
    },
    #[error(
        "embedding.provider: expected gemini or openai, found local; this program was built without the local model"
    )]
    NotBuilt,
    /// No request succeeded within the retry budget.
    #[error("{}; last error: {message}", gave_up(*tried, *wait))]
    GaveUp {
        /// How long there was no single success.
        tried: Duration,
        /// How much longer the provider asks us to wait.
        wait: Option<Duration>,
        message: String,
        /// A text that was refused too, without proof that it is at fault.
        suspect: Option<TextHash>,
    },
    #[error(
        "the provider's vectors do not have the length of embedding.dimension: {0}; set embedding.dimension to the length found, or choose another model"
    )]
    WrongLength(String),
    #[error("the provider gives the same wrong answer again and again: {0}")]
    WrongAnswers(String),
    #[error("the provider's quota or credit is used up: {0}")]
    Exhausted(String),
    /// No request will succeed with this key, model or address.
    #[error("the provider cannot be used with these settings: {0}")]
    Refused(String),
    #[error("the provider refuses every request, not a single text: {0}")]
    BadRequest(String),
    /// The provider refuses this text, and no further refusal is allowed.
    #[error("the provider refuses text {hash}: {message}")]
    TextRefused { hash: TextHash, message: String },
    #[error("cannot store vectors in the cache; embedding stopped")]
    Sink(#[source] SinkError),
    /// Too many texts were sent and have no vector.
    #[error("{}", at_ceiling(*unanswered, *ceiling, message.as_deref()))]
    Ceiling {
        /// Texts that left and have no vector; `None` if that is not known.
        unanswered: Option<u64>,
        ceiling: u64,
        /// The provider's last message.
        message: Option<String>,
        /// When a single text may be sent.
        wait: Duration,
    },
    /// A start after failures: nothing was sent.
    #[error(
        "before this start embedding failed, or ended with its process, {failures} times in a row; nothing was sent, and the next try is in {wait:?}; `reindexd build` or SIGUSR1 tries at once"
    )]
    BackOff { failures: u32, wait: Duration },
    #[error("cannot record how many texts are sent; nothing more was sent")]
    NotCounted(#[source] SinkError),
    #[error("cannot read back the texts to embed; embedding stopped")]
    Items(#[source] io::Error),
    #[error("stopped while embedding")]
    Stopped,
}

impl EmbedError {
    /// When another attempt may succeed.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::GaveUp { wait, .. } => Retry::Soon { wait: *wait },
            Self::Ceiling { wait, .. } | Self::BackOff { wait, .. } => Retry::Soon { wait: Some(*wait) },
            Self::Items(_) | Self::Stopped | Self::NotCounted(_) => Retry::Soon { wait: None },
            // An attempt that cannot store its vectors costs money each time.
            Self::Exhausted(_) | Self::Sink(_) | Self::WrongAnswers(_) | Self::BadRequest(_) => Retry::Hourly,
            Self::Settings(_)
            | Self::NoKey { .. }
            | Self::NotBuilt
            | Self::Refused(_)
            | Self::WrongLength(_)
            | Self::TextRefused { .. } => Retry::OnChange,
        }
    }

    /// Whether the settings are wrong. A provider that refuses them is asked again: that is another
    /// failure.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Settings(_) | Self::NoKey { .. } | Self::NotBuilt => ErrorClass::Settings,
            Self::GaveUp { .. }
            | Self::Exhausted(_)
            | Self::Refused(_)
            | Self::BadRequest(_)
            | Self::WrongLength(_)
            | Self::WrongAnswers(_)
            | Self::TextRefused { .. }
            | Self::Sink(_)
            | Self::Ceiling { .. }
            | Self::BackOff { .. }
            | Self::NotCounted(_)
            | Self::Items(_)
            | Self::Stopped => ErrorClass::Other,
        }
    }
}

impl From<RefusedText> for EmbedError {
    fn from(RefusedText { hash, message }: RefusedText) -> Self {
        Self::TextRefused { hash, message }
    }
}

/// An attempt that failed, with what it achieved before.
#[derive(Debug)]
pub struct EmbedFailure {
    pub error: EmbedError,
    /// Texts whose vectors arrived and were handed on.
    pub texts: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Texts that left this host, however they were answered.
    pub sent: u64,
}

impl EmbedFailure {
    /// An attempt that ended before its first request.
    pub(crate) fn before_sending(error: EmbedError) -> Self {
        Self { error, texts: 0, requests: 0, sent: 0 }
    }
}

impl fmt::Display for EmbedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, texts, requests, .. } = self;
        write!(f, "{error}; texts embedded before: {texts}, requests sent: {requests}")
    }
}

impl Error for EmbedFailure {
    /// The error's own cause: the error itself is part of the message already.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

fn at_ceiling(unanswered: Option<u64>, ceiling: u64, message: Option<&str>) -> String {
    let sent = match unanswered {
        Some(texts) => format!("{texts} texts were sent without a vector that could be stored"),
        None => "it is not known how many texts were sent without a vector".to_owned(),
    };
    let message = message.map(|message| format!("; last error: {message}")).unwrap_or_default();
    format!(
        "the ceiling on texts sent is reached: {sent} since a pass last ended well, allowed are {ceiling}{message}; \
         one text is tried each hour, and `reindexd build` or SIGUSR1 begins the count again"
    )
}

fn gave_up(tried: Duration, wait: Option<Duration>) -> String {
    /// Less than this is not worth naming: the first answer asked for the wait.
    const MIN_TRY_TIME: Duration = Duration::from_secs(1);
    match wait.filter(|wait| !wait.is_zero()) {
        Some(wait) if tried < MIN_TRY_TIME => {
            format!("the provider asks to wait {wait:?}, longer than the retry budget allows")
        }
        Some(wait) => {
            format!("no request succeeded in {tried:?}, and the provider asks to wait another {wait:?}")
        }
        None => format!("no request succeeded in {tried:?}"),
    }
}
