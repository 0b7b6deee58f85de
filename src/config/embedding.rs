//! The embedding section: values and defaults depend on the provider.
//!
//! Model, dimension, task type, address and key belong to one provider. Where
//! a higher layer chooses another one, those of the lower layer are ignored
//! with a note: the key of one provider is never sent to another.

use toml::Spanned;

use super::choices::Provider;
use super::keys::{EmbeddingSettings, RawEmbedding, embedding as keys};
use super::kinds::{Choice, Period, ValueKind, WholeNumber, allowed, number_in, within};
use super::origin::{Sourced, ValueOrigin};
use super::request_extras::{self, TextKind};
use super::resolved::{Resolved, default_of, from_variable};
use super::{ApiKey, ConfigError, api_key, paths, process_env, token_limit, url};
use crate::domain::request_extras::RequestExtras;

/// The one model that is built into the program.
const LOCAL_MODEL: &str = "paraphrase-MiniLM-L3-v2";
/// The length of its vectors.
const LOCAL_DIMENSION: i64 = 384;

/// The largest number of texts that the Gemini API takes in one request.
const MAX_GEMINI_BATCH: i64 = 100;

/// The section as one layer at a time sees it.
struct Layers<'a> {
    raw: &'a RawEmbedding,
    /// The provider in force.
    provider: Provider,
    /// The settings file is for another provider.
    without_file: bool,
    /// `.env` is for another provider.
    without_dotenv: bool,
}

/// Settles the section. `needs_key`: whether the API key is read.
pub(super) fn embedding(
    raw: &RawEmbedding,
    resolved: &mut Resolved<'_>,
    needs_key: bool,
) -> Result<EmbeddingSettings, ConfigError> {
    let layers = layers(raw, resolved)?;
    let model = model(&layers, resolved)?;
    let dimension = dimension(&layers, resolved, &model)?;
    let task_type = task_type(&layers, resolved, &model)?;
    let base_url = base_url(&layers, resolved)?;
    let api_key = api_key(&layers, resolved, needs_key)?;
    let document = layers.extras(resolved, TextKind::Document)?;
    let query = layers.extras(resolved, TextKind::Query)?;
    if let (Some(base), true) = (&base_url, api_key.is_some())
        && url::is_open_to_others(base)
    {
        resolved.note(format!("embedding.base_url is {base}: the API key is sent there unencrypted"));
    }
    let max_tokens = layers.written(resolved, raw.max_tokens.as_ref());
    let max_tokens = token_limit::max_tokens(layers.provider, &model, max_tokens.as_ref(), resolved)?;
    let settings = EmbeddingSettings {
        provider: layers.provider,
        model,
        dimension,
        task_type,
        base_url,
        api_key,
        batch_size: batch_size(&layers, resolved)?,
        concurrency: resolved.settle::<WholeNumber<_>>(&keys::concurrency, raw.concurrency.as_ref())?,
        items_per_minute: resolved
            .settle::<WholeNumber<_>>(&keys::items_per_minute, raw.items_per_minute.as_ref())?,
        tokens_per_minute: resolved
            .settle::<WholeNumber<_>>(&keys::tokens_per_minute, raw.tokens_per_minute.as_ref())?,
        request_timeout: resolved.settle::<Period>(&keys::request_timeout, raw.request_timeout.as_ref())?,
        retry_budget: resolved.settle::<Period>(&keys::retry_budget, raw.retry_budget.as_ref())?,
        max_tokens,
        too_long: resolved.settle::<Choice<_>>(&keys::too_long, raw.too_long.as_ref())?,
        document,
        query,
    };
    token_limit::check(&settings)?;
    Ok(settings)
}

/// Settles the provider, and which layers are for it.
fn layers<'a>(raw: &'a RawEmbedding, resolved: &mut Resolved<'_>) -> Result<Layers<'a>, ConfigError> {
    let default = default_of::<String>(&keys::provider);
    let in_dotenv = resolved.variables.dotenv(process_env::EMBEDDING_PROVIDER).unwrap_or(&default.value);
    let in_dotenv = in_dotenv.to_owned();
    let written = resolved.written(raw.provider.as_ref()).unwrap_or(default);
    let given = resolved.variable(&keys::provider)?.unwrap_or_else(|| written.clone());
    let name = keys::provider.path();
    let provider = Choice::<Provider>::check(&keys::provider, &name, &given, &resolved.bases)?;
    resolved.record(&name, provider, &given.origin);
    if provider == Provider::Local && !cfg!(feature = "local") {
        return Err(given.refused(&name, "gemini or openai: this program was built without the local model"));
    }
    let without_file = written.value != given.value;
    let without_dotenv = matches!(given.origin, ValueOrigin::Environment(_)) && in_dotenv != given.value;
    let has_values_of_a_provider = raw.model.is_some()
        || raw.dimension.is_some()
        || raw.task_type.is_some()
        || raw.base_url.is_some()
        || raw.api_key.is_some()
        || raw.max_tokens.is_some()
        || raw.document.is_some()
        || raw.query.is_some();
    if without_file && has_values_of_a_provider {
        resolved.note(format!(
            "embedding.provider is {provider} ({}): model, dimension, task_type, base_url, api_key_file, max_tokens, \
             document and query of the settings file are ignored, because they belong to {}",
            given.origin, written.value
        ));
    }
    Ok(Layers { raw, provider, without_file, without_dotenv })
}

impl Layers<'_> {
    /// A variable's text, unless its layer is for another provider.
    fn variable(
        &self,
        resolved: &mut Resolved<'_>,
        name: &'static str,
    ) -> Result<Option<Sourced<String>>, ConfigError> {
        let given = resolved.variables.get(name)?;
        let (true, Some(Sourced { origin: ValueOrigin::DotEnv(_), .. })) = (self.without_dotenv, &given)
        else {
            return Ok(given);
        };
        resolved.note(format!("{name} in .env is ignored: it does not belong to provider {}", self.provider));
        Ok(None)
    }

    /// A value of the settings file, unless that is for another provider.
    fn written<T: Clone>(&self, resolved: &Resolved<'_>, raw: Option<&Spanned<T>>) -> Option<Sourced<T>> {
        resolved.written(raw.filter(|_| !self.without_file))
    }

    /// What texts of one kind are sent with.
    fn extras(&self, resolved: &mut Resolved<'_>, kind: TextKind) -> Result<RequestExtras, ConfigError> {
        let (key, raw) = match kind {
            TextKind::Document => (&keys::document, &self.raw.document),
            TextKind::Query => (&keys::query, &self.raw.query),
        };
        let raw = raw.as_ref().filter(|_| !self.without_file);
        request_extras::settle(key, raw.map(Spanned::get_ref), kind, self.provider, resolved)
    }
}

fn model(layers: &Layers<'_>, resolved: &mut Resolved<'_>) -> Result<String, ConfigError> {
    let default = || match layers.provider {
        Provider::Gemini => default_of(&keys::model),
        Provider::OpenAi => Sourced::from_default("text-embedding-3-small".to_owned()),
        Provider::Local => Sourced::from_default(LOCAL_MODEL.to_owned()),
    };
    let given = layers
        .variable(resolved, process_env::EMBEDDING_MODEL)?
        .or_else(|| layers.written(resolved, layers.raw.model.as_ref()))
        .unwrap_or_else(default);
    let key = keys::model.path();
    let model =
        model_name(layers.provider, &given.value).map_err(|expected| given.refused(&key, expected))?;
    resolved.record(key, &model, &given.origin);
    Ok(model)
}

/// The model as its provider names it. The error says what was expected.
fn model_name(provider: Provider, written: &str) -> Result<String, String> {
    let name = written.trim();
    match provider {
        // The name becomes part of the request's path.
        Provider::Gemini => {
            let name = name.strip_prefix("models/").unwrap_or(name);
            let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            if !is_plain || name.trim_matches('.').is_empty() {
                return Err("a model's name, such as gemini-embedding-001".to_owned());
            }
            Ok(name.to_owned())
        }
        Provider::OpenAi => {
            let has_gaps = name.contains(|c: char| c.is_whitespace() || c.is_control());
            if name.is_empty() || name.len() > 256 || has_gaps {
                return Err("a model's name, such as text-embedding-3-small".to_owned());
            }
            Ok(name.to_owned())
        }
        Provider::Local => {
            if name != LOCAL_MODEL {
                return Err(format!("{LOCAL_MODEL}, the only model of provider local; remove this setting"));
            }
            Ok(name.to_owned())
        }
    }
}

fn dimension(layers: &Layers<'_>, resolved: &mut Resolved<'_>, model: &str) -> Result<usize, ConfigError> {
    let key = keys::dimension.path();
    let set = layers.variable(resolved, process_env::OUTPUT_DIM)?;
    let set = set.map(|given| from_variable(&keys::dimension, given)).transpose()?;
    let default = match (layers.provider, model) {
        (Provider::Gemini, _) => Some(default_of(&keys::dimension)),
        (Provider::Local, _) => Some(Sourced::from_default(LOCAL_DIMENSION)),
        (Provider::OpenAi, "text-embedding-3-small" | "text-embedding-ada-002") => {
            Some(Sourced::from_default(1536))
        }
        (Provider::OpenAi, "text-embedding-3-large") => Some(Sourced::from_default(3072)),
        (Provider::OpenAi, _) => None,
    };
    let given = set.or_else(|| layers.written(resolved, layers.raw.dimension.as_ref()));
    let Some(given) = given.or(default) else {
        let expected =
            format!("the number of floats in a vector of model {model:?}; the program does not know it");
        return Err(ConfigError::Absent { key, expected });
    };
    if layers.provider == Provider::Local && given.value != LOCAL_DIMENSION {
        let expected = format!("{LOCAL_DIMENSION}, the dimension of model {model}; remove this setting");
        return Err(given.refused(&key, expected));
    }
    let dimension = within(&key, &given, &allowed(&keys::dimension))?;
    resolved.record(key, dimension, &given.origin);
    Ok(dimension)
}

fn task_type(
    layers: &Layers<'_>,
    resolved: &mut Resolved<'_>,
    model: &str,
) -> Result<Option<String>, ConfigError> {
    let key = keys::task_type.path();
    // Newer Gemini models have no such field: their task would be a part of the text.
    let is_taken = layers.provider == Provider::Gemini && !model.starts_with("gemini-embedding-2");
    let default = || {
        if is_taken { default_of(&keys::task_type) } else { Sourced::from_default(String::new()) }
    };
    let given = layers.written(resolved, layers.raw.task_type.as_ref()).unwrap_or_else(default);
    if given.value.is_empty() {
        resolved.record(key, "none", &given.origin);
        return Ok(None);
    }
    if !is_taken {
        let expected = format!("no task type: {} with model {model} takes none", layers.provider);
        return Err(given.refused(&key, expected));
    }
    if given.value.len() > 64 || !given.value.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
        return Err(given.refused(&key, "a name such as RETRIEVAL_DOCUMENT, or \"\" for none"));
    }
    resolved.record(key, &given.value, &given.origin);
    Ok(Some(given.value))
}

fn base_url(layers: &Layers<'_>, resolved: &mut Resolved<'_>) -> Result<Option<String>, ConfigError> {
    let key = keys::base_url.path();
    let set = match layers.provider {
        Provider::Gemini => layers.variable(resolved, process_env::GOOGLE_GEMINI_BASE_URL)?,
        Provider::OpenAi | Provider::Local => None,
    };
    let Some(given) = set.or_else(|| layers.written(resolved, layers.raw.base_url.as_ref())) else {
        resolved.record(key, "none", &ValueOrigin::Default);
        return Ok(None);
    };
    if layers.provider == Provider::Local {
        return Err(url::refused(&key, &given, "no address: provider local sends no requests".to_owned()));
    }
    let base = url::checked_base(&given.value).map_err(|expected| url::refused(&key, &given, expected))?;
    resolved.record(key, &base, &given.origin);
    Ok(Some(base))
}

/// Settles two rows: the file that was named, and the key wherever it came from.
fn api_key(
    layers: &Layers<'_>,
    resolved: &mut Resolved<'_>,
    needs_key: bool,
) -> Result<Option<ApiKey>, ConfigError> {
    let name = keys::api_key.path();
    let file = match layers.written(resolved, layers.raw.api_key.as_ref()) {
        Some(given) if is_key_shaped(&given.value) => {
            let expected = "the path of a file that holds the key, never the key itself";
            return Err(given.map(|_| "***").refused(&name, expected));
        }
        Some(given) => {
            let path = paths::checked(&given.value).map_err(|expected| given.refused(&name, expected))?;
            let path = resolved.bases.placed(path, &given.origin);
            resolved.record(name, path.display(), &given.origin);
            Some(path)
        }
        None => {
            resolved.record(name, "none", &ValueOrigin::Default);
            None
        }
    };
    if !needs_key {
        return Ok(None);
    }
    let found = api_key::find(layers.provider, file.as_deref(), resolved)?;
    let (value, origin) =
        found.map_or((None, ValueOrigin::Default), |given| (Some(given.value), given.origin));
    let shown = value.as_ref().map_or("none", |_| "***");
    resolved.record("embedding.api_key", shown, &origin);
    Ok(value)
}

/// A key that is written in place of its file must not be repeated in an error message.
fn is_key_shaped(text: &str) -> bool {
    !text.contains(['/', '.']) && (text.starts_with("AIza") || text.starts_with("sk-"))
}

fn batch_size(layers: &Layers<'_>, resolved: &mut Resolved<'_>) -> Result<usize, ConfigError> {
    let key = keys::batch_size.path();
    let given = resolved
        .variable(&keys::batch_size)?
        .or_else(|| resolved.written(layers.raw.batch_size.as_ref()))
        .unwrap_or_else(|| default_of(&keys::batch_size));
    let allowed = allowed(&keys::batch_size);
    let by_gemini = *allowed.start()..=MAX_GEMINI_BATCH;
    if layers.provider == Provider::Gemini && !by_gemini.contains(&given.value) {
        let expected = format!("{}: the Gemini API takes no more in one request", number_in(&by_gemini));
        return Err(given.refused(&key, expected));
    }
    let batch_size = within(&key, &given, &allowed)?;
    resolved.record(key, batch_size, &given.origin);
    Ok(batch_size)
}
