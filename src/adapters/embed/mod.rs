//! Gets vectors for texts from a provider.
//!
//! [`Embedder`] is one request to one provider; `embed_all` makes an attempt
//! of many: batches, several at a time, within a rate limit, repeated after
//! failures that may pass and halved where a request is too large or one
//! text makes the provider refuse it. Nothing of an answer is handed on before
//! all of it was checked, and every vector handed on has unit length.
//!
//! A provider is never replaced by another. Which texts to embed is `plan`'s
//! decision; storing the vectors is `cache`'s.

mod batch_count;
mod batcher;
mod batches;
mod check_answer;
mod error;
mod extras;
mod float_list;
mod gemini;
#[cfg(feature = "local")]
mod in_process;
#[cfg(feature = "local")]
pub(crate) mod local;
mod next_step;
mod openai;
mod part;
mod query;
mod queue;
mod rate_limit;
mod recent_texts;
mod redact;
mod refused_field;
mod request_size;
mod requester;
mod send_meter;
mod types;
mod wire;

use std::sync::Arc;

pub(crate) use self::batch_count::BatchCounter;
pub(crate) use self::batcher::embed_all;
pub use self::error::{EmbedError, EmbedFailure, SinkError};
pub(crate) use self::query::embed_query;
pub use self::rate_limit::SentLog;
pub(crate) use self::send_meter::{AtCeiling, SendMeter, SentInMinute};
pub use self::types::{Cost, Embedder, Failure, FailureKind, Task, WrongKind};
pub(crate) use self::types::{
    EmbedLimits, EmbedProgress, EmbedReport, EmbeddedBatch, ProviderWait, TextItem,
};
use crate::adapters::http::Http;
use crate::config::{EmbeddingSettings, Provider};
use crate::domain::tokens::ExactCount;

/// The provider that the settings name. No request is sent.
///
/// # Errors
///
/// [`EmbedError::NoKey`], [`EmbedError::NotBuilt`], or [`EmbedError::Settings`]
/// for an address, a key or a model that cannot be sent.
pub(crate) fn embedder(settings: &EmbeddingSettings) -> Result<Arc<dyn Embedder>, EmbedError> {
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
fn local_embedder(settings: &EmbeddingSettings) -> Result<Arc<dyn Embedder>, EmbedError> {
    if settings.dimension != local::DIMENSION {
        return Err(EmbedError::Settings(format!(
            "embedding.dimension: expected {} for the local model, found {}",
            local::DIMENSION,
            settings.dimension
        )));
    }
    Ok(Arc::new(in_process::InProcess::new(settings)))
}

/// Counts tokens as the model of these settings does, where that can be done here: the local one's.
pub(crate) fn exact_token_count(settings: &EmbeddingSettings) -> Option<ExactCount> {
    match settings.provider {
        Provider::Gemini | Provider::OpenAi => None,
        #[cfg(feature = "local")]
        Provider::Local => local::token_count(),
        #[cfg(not(feature = "local"))]
        Provider::Local => None,
    }
}

#[cfg(not(feature = "local"))]
fn local_embedder(_settings: &EmbeddingSettings) -> Result<Arc<dyn Embedder>, EmbedError> {
    Err(EmbedError::NotBuilt)
}

/// Settings of a model without address, key or task; limits are those of no test.
#[cfg(test)]
fn test_settings(provider: Provider, model: &str, dimension: usize) -> EmbeddingSettings {
    use crate::domain::request_extras::RequestExtras;
    use crate::domain::tokens::TooLong;
    use std::time::Duration;

    EmbeddingSettings {
        provider,
        model: model.to_owned(),
        dimension,
        task_type: None,
        base_url: None,
        api_key: None,
        batch_size: 1,
        concurrency: 1,
        items_per_minute: 0,
        tokens_per_minute: 0,
        request_timeout: Duration::from_secs(1),
        retry_budget: Duration::from_secs(1),
        max_tokens: None,
        too_long: TooLong::Warn,
        document: RequestExtras::default(),
        query: RequestExtras::default(),
    }
}
