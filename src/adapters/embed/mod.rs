//! Buys vectors for texts.
//!
//! [`Embedder`] is one request to one provider; [`buy()`] makes a purchase of
//! them: batches, several at a time, under our own limit, repeated where time
//! can cure and taken apart where one text spoils the rest. Nothing of an
//! answer is handed on before all of it was checked, and what is handed on has
//! unit length.
//!
//! A provider is never changed for another. Which texts to buy is `plan`'s
//! matter; keeping what was bought is `cache`'s.

mod batcher;
mod bisect;
mod check_answer;
mod float_list;
mod gemini;
#[cfg(feature = "local")]
mod in_process;
#[cfg(feature = "local")]
pub mod local;
mod openai;
mod rate_limit;
mod redact;
mod requester;
mod wire;

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};

pub use self::batcher::{
    EmbedLimits, EmbedProgress, EmbedReport, EmbeddedBatch, ProviderWait, RefusedText, TextItem, embed_all,
    embed_query,
};
pub use self::rate_limit::SentLog;
use crate::adapters::http::{self, Http, HttpError};
use crate::domain::pass::{ErrorClass, Retry};
use crate::domain::record::TextHash;

/// Who makes the vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The Gemini API.
    Gemini,
    /// Any server that speaks `/v1/embeddings`.
    OpenAi,
    /// The model that travels with the program.
    Local,
}

/// What a text is embedded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// To be found.
    Document,
    /// To find others.
    Query,
}

/// Everything that one provider needs to know.
#[derive(Clone, Debug)]
pub struct EmbedderSettings {
    /// Who makes the vectors.
    pub provider: Provider,
    /// The model, as the provider names it.
    pub model: String,
    /// Floats in a vector.
    pub dimension: usize,
    /// What documents are embedded for, for models that take it.
    pub task_type: Option<String>,
    /// Where the provider is, if not where it usually is.
    pub base_url: Option<String>,
    /// The key, for providers that want one.
    pub api_key: Option<SecretString>,
    /// The longest that one request may take, its answer included.
    pub request_timeout: Duration,
}

/// One request to a provider.
pub trait Embedder: Send + Sync {
    /// Asks once for one vector per text, in the order of the texts. The
    /// caller checks number, length and values of what comes back. Dropping
    /// the future gives the request up.
    fn embed<'a>(&'a self, texts: &'a [String], task: Task) -> BoxFuture<'a, Result<Vec<Vec<f32>>, Failure>>;

    /// The most texts that one request can hold.
    fn max_texts(&self) -> usize;

    /// The most bytes of text, escaped for JSON, that one request should hold.
    fn max_bytes(&self) -> usize;
}

/// Why a request gave no vectors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What can be done about it.
    pub kind: FailureKind,
    /// The provider's own words, cut short, on one line and without the key.
    pub message: String,
}

/// What can be done about a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The same request may succeed later.
    Transient {
        /// How long the provider asks us to wait, if it does; zero counts as asked.
        wait: Option<Duration>,
    },
    /// A day's quota or the credit is used up.
    Exhausted,
    /// No request will succeed: a wrong key, an unknown model, a wrong address.
    Final,
    /// The provider does not take this request; a text in it may be why.
    BadRequest,
}

impl Failure {
    fn transient(wait: Option<Duration>, message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Transient { wait }, message: message.into() }
    }

    fn permanent(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Final, message: message.into() }
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        if error.retry() {
            Self::transient(None, error.to_string())
        } else {
            Self::permanent(error.to_string())
        }
    }
}

/// Where bought vectors could not be kept.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SinkError(#[from] pub Box<dyn Error + Send + Sync>);

/// Why not everything was bought.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The settings name no provider that could be asked.
    #[error("{0}")]
    Settings(String),
    /// The provider wants a key and none was found.
    #[error(
        "no API key for {provider}: expected embedding.api_key_file, the credential embedding-api-key, or {variables} in the environment"
    )]
    NoKey {
        /// The provider's name in the settings.
        provider: &'static str,
        /// The environment variables that are looked at.
        variables: &'static str,
    },
    /// This program was built without the part that is asked for.
    #[error("this program was built without its own model: expected provider gemini or openai")]
    NotBuilt,
    /// Nothing succeeded for as long as we are willing to try.
    #[error("{}; the last failure: {message}", gave_up(*tried, *wait))]
    GaveUp {
        /// How long there was no single success.
        tried: Duration,
        /// How much longer the provider asks us to wait.
        wait: Option<Duration>,
        /// The last failure.
        message: String,
    },
    /// A day's quota or the credit is used up.
    #[error("the provider's quota or credit is used up: {0}")]
    Exhausted(String),
    /// No request will succeed with this key, model or address.
    #[error("the provider cannot be used with these settings: {0}")]
    Refused(String),
    /// The provider does not take our requests, whatever the texts are.
    #[error("the provider does not take the request itself, whichever half of its texts is sent: {0}")]
    BadRequest(String),
    /// The provider does not take this text, and no more of them may be left out.
    #[error("the provider does not take text {hash}: {message}")]
    TextRefused {
        /// The text.
        hash: TextHash,
        /// The provider's words.
        message: String,
    },
    /// What was bought could not be kept.
    #[error("bought vectors could not be kept, nothing more is bought")]
    Sink(#[source] SinkError),
    /// The texts to buy could not be read.
    #[error("the texts to embed could not be read back")]
    Items(#[source] io::Error),
    /// We were told to stop.
    #[error("stopped while texts were being embedded")]
    Stopped,
}

impl EmbedError {
    /// Whether another attempt could go better, and when.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::GaveUp { wait, .. } => Retry::Soon { wait: *wait },
            Self::Items(_) | Self::Stopped => Retry::Soon { wait: None },
            // An attempt that cannot keep what it buys costs money each time.
            Self::Exhausted(_) | Self::Sink(_) => Retry::Hourly,
            Self::Settings(_)
            | Self::NoKey { .. }
            | Self::NotBuilt
            | Self::Refused(_)
            | Self::BadRequest(_)
            | Self::TextRefused { .. } => Retry::OnChange,
        }
    }

    /// Whether the settings are wrong. A provider that refuses them is asked again, so that is another failure.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Settings(_) | Self::NoKey { .. } | Self::NotBuilt => ErrorClass::Settings,
            Self::GaveUp { .. }
            | Self::Exhausted(_)
            | Self::Refused(_)
            | Self::BadRequest(_)
            | Self::TextRefused { .. }
            | Self::Sink(_)
            | Self::Items(_)
            | Self::Stopped => ErrorClass::Other,
        }
    }
}

/// A purchase that came to nothing, or only to a part.
#[derive(Debug)]
pub struct EmbedFailure {
    /// Why.
    pub error: EmbedError,
    /// Texts whose vectors arrived and were handed on all the same.
    pub texts: u64,
    /// Requests sent, retries included.
    pub requests: u64,
}

impl fmt::Display for EmbedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, texts, requests } = self;
        write!(f, "{error}; texts embedded before: {texts}, requests sent: {requests}")
    }
}

impl Error for EmbedFailure {
    /// The reason's own cause: the reason itself is part of the message already.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// The provider that the settings name. No request is sent.
///
/// # Errors
///
/// [`EmbedError::NoKey`], [`EmbedError::NotBuilt`], or [`EmbedError::Settings`]
/// for an address, a key or a model that cannot be sent.
pub fn embedder(settings: &EmbedderSettings) -> Result<Arc<dyn Embedder>, EmbedError> {
    match settings.provider {
        Provider::Gemini => Ok(Arc::new(gemini::Gemini::new(settings, client()?)?)),
        Provider::OpenAi => Ok(Arc::new(openai::OpenAi::new(settings, client()?)?)),
        Provider::Local => local_embedder(settings),
    }
}

fn client() -> Result<Http, EmbedError> {
    Http::new().map_err(|error| EmbedError::Settings(error.to_string()))
}

#[cfg(feature = "local")]
fn local_embedder(settings: &EmbedderSettings) -> Result<Arc<dyn Embedder>, EmbedError> {
    if settings.dimension != local::DIMENSION {
        return Err(EmbedError::Settings(format!(
            "embedding.dimension: expected {} for the local model, found {}",
            local::DIMENSION,
            settings.dimension
        )));
    }
    Ok(Arc::new(in_process::InProcess::default()))
}

#[cfg(not(feature = "local"))]
fn local_embedder(_settings: &EmbedderSettings) -> Result<Arc<dyn Embedder>, EmbedError> {
    Err(EmbedError::NotBuilt)
}

fn gave_up(tried: Duration, wait: Option<Duration>) -> String {
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

/// The base address without a slash at its end, proven fit for a request.
fn base_address(base: &str) -> Result<&str, EmbedError> {
    let base = base.trim().trim_end_matches('/');
    http::check_address(base)
        .map_err(|error| EmbedError::Settings(format!("embedding.base_url: {error}")))?;
    Ok(base)
}

/// A key as a header can carry it. What is wrong with another is not told by its characters.
fn sendable_key(key: SecretString) -> Result<SecretString, EmbedError> {
    let text = key.expose_secret();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(EmbedError::Settings(
            "the API key is empty or has a space, a line break or another character that no key has"
                .to_owned(),
        ));
    }
    Ok(key)
}
