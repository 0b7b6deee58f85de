//! The embedding section: what is allowed, and what is the default, hangs on the provider.
//!
//! Model, dimension, task type, address and key belong to one provider. Where
//! a higher layer chooses another one, those of the lower layer are set aside
//! and the operator is told: one provider's key is never sent to another.

use std::path::Path;

use super::check::{choice, duration, integer, number_in, within};
use super::origin::{Resolved, Sourced, ValueOrigin};
use super::{ConfigError, EmbeddingSettings, Provider, api_key, duration, paths, process_env, raw, url};

const MODEL: &str = "embedding.model";
const DIMENSION: &str = "embedding.dimension";
const TASK_TYPE: &str = "embedding.task_type";

/// The one model that travels with the program.
const LOCAL_MODEL: &str = "paraphrase-MiniLM-L3-v2";
/// The length of its vectors.
const LOCAL_DIMENSION: i64 = 384;

const PROVIDERS: [(&str, Provider); 3] =
    [("gemini", Provider::Gemini), ("openai", Provider::OpenAi), ("local", Provider::Local)];

/// The section as one layer at a time sees it.
struct Layers<'a> {
    raw: &'a raw::RawEmbedding,
    /// The provider in force.
    provider: Provider,
    /// The settings file speaks of another provider.
    without_file: bool,
    /// `.env` speaks of another provider.
    without_dotenv: bool,
}

/// Settles the section. `keys`: where a relative key file begins; `None` where no key is looked for.
pub(super) fn embedding(
    raw: &raw::RawEmbedding,
    sheet: &mut Resolved<'_>,
    keys: Option<&Path>,
) -> Result<EmbeddingSettings, ConfigError> {
    let layers = layers(raw, sheet)?;
    let provider = layers.provider;
    let model = model(&layers, sheet)?;
    let dimension = dimension(&layers, sheet, &model)?;
    let task_type = task_type(&layers, sheet, &model)?;
    let base_url = base_url(&layers, sheet)?;
    let api_key = api_key(&layers, sheet, keys)?;
    if let (Some(base), true) = (&base_url, api_key.is_some())
        && url::is_open_to_others(base)
    {
        sheet.note(format!("embedding.base_url is {base}: the API key goes there unencrypted"));
    }
    let batch_size = batch_size(&layers, sheet)?;
    let concurrency = integer(sheet, "embedding.concurrency", raw.concurrency.as_ref(), 4, 1..=64)?;
    let items_per_minute =
        integer(sheet, "embedding.items_per_minute", raw.items_per_minute.as_ref(), 0, 0..=1_000_000)?;
    let [hundred_ms, minute, hour, day] =
        ["100ms", "1m", "1h", "24h"].map(|text| duration::parse(text).expect("these four are durations"));
    let request_timeout = duration(
        sheet,
        "embedding.request_timeout",
        raw.request_timeout.as_ref(),
        minute,
        hundred_ms..=hour,
    )?;
    let retry_budget = duration(
        sheet,
        "embedding.retry_budget",
        raw.retry_budget.as_ref(),
        10 * minute,
        std::time::Duration::ZERO..=day,
    )?;
    Ok(EmbeddingSettings {
        provider,
        model,
        dimension,
        task_type,
        base_url,
        api_key,
        batch_size,
        concurrency,
        items_per_minute,
        request_timeout,
        retry_budget,
    })
}

/// Settles the provider, and which layers speak of it.
fn layers<'a>(raw: &'a raw::RawEmbedding, sheet: &mut Resolved<'_>) -> Result<Layers<'a>, ConfigError> {
    const KEY: &str = "embedding.provider";
    let default = || Sourced::from_default("gemini".to_owned());
    let written = sheet.written(raw.provider.as_ref()).unwrap_or_else(default);
    let given = sheet.variables.get(process_env::EMBEDDING_PROVIDER)?.unwrap_or_else(|| written.clone());
    let provider = choice(sheet, KEY, &given, &PROVIDERS)?;
    if provider == Provider::Local && !cfg!(feature = "local") {
        return Err(given.refused(KEY, "gemini or openai: this program was built without the local model"));
    }
    let file_aside = written.value != given.value;
    let in_dotenv = sheet.variables.dotenv(process_env::EMBEDDING_PROVIDER).unwrap_or("gemini");
    let dotenv_aside = matches!(given.origin, ValueOrigin::Environment(_)) && in_dotenv != given.value;
    let bound = [
        raw.model.is_some(),
        raw.dimension.is_some(),
        raw.task_type.is_some(),
        raw.base_url.is_some(),
        raw.api_key_file.is_some(),
    ];
    if file_aside && bound.contains(&true) {
        sheet.note(format!(
            "embedding.provider is {provider} ({}): model, dimension, task_type, base_url and api_key_file of the \
             settings file are set aside, because they belong to {}",
            given.origin, written.value
        ));
    }
    Ok(Layers { raw, provider, without_file: file_aside, without_dotenv: dotenv_aside })
}

impl Layers<'_> {
    /// A variable that belongs to the provider its layer speaks of.
    fn variable(
        &self,
        sheet: &mut Resolved<'_>,
        name: &'static str,
    ) -> Result<Option<Sourced<String>>, ConfigError> {
        let given = sheet.variables.get(name)?;
        let (true, Some(Sourced { origin: ValueOrigin::DotEnv(_), .. })) = (self.without_dotenv, &given)
        else {
            return Ok(given);
        };
        sheet.note(format!(
            "{name} in .env is set aside: it belongs to another provider than {}",
            self.provider
        ));
        Ok(None)
    }

    /// A value of the settings file that belongs to the provider it speaks of.
    fn written<T: Clone>(&self, sheet: &Resolved<'_>, raw: Option<&toml::Spanned<T>>) -> Option<Sourced<T>> {
        sheet.written(raw.filter(|_| !self.without_file))
    }
}

fn model(layers: &Layers<'_>, sheet: &mut Resolved<'_>) -> Result<String, ConfigError> {
    let default = match layers.provider {
        Provider::Gemini => "gemini-embedding-001",
        Provider::OpenAi => "text-embedding-3-small",
        Provider::Local => LOCAL_MODEL,
    };
    let given = layers
        .variable(sheet, process_env::EMBEDDING_MODEL)?
        .or_else(|| layers.written(sheet, layers.raw.model.as_ref()))
        .unwrap_or_else(|| Sourced::from_default(default.to_owned()));
    let name = given.value.trim();
    let model = match layers.provider {
        // The name becomes part of the request's path.
        Provider::Gemini => {
            let name = name.strip_prefix("models/").unwrap_or(name);
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            if !plain || name.trim_matches('.').is_empty() {
                return Err(given.refused(MODEL, "a model's name, such as gemini-embedding-001"));
            }
            name
        }
        Provider::OpenAi => {
            if name.is_empty()
                || name.len() > 256
                || name.contains(|c: char| c.is_whitespace() || c.is_control())
            {
                return Err(given.refused(MODEL, "a model's name, such as text-embedding-3-small"));
            }
            name
        }
        Provider::Local => {
            if name != LOCAL_MODEL {
                let expected = format!("{LOCAL_MODEL}, the only model of provider local; leave it out");
                return Err(given.refused(MODEL, expected));
            }
            name
        }
    };
    sheet.record(MODEL, model, &given.origin);
    Ok(model.to_owned())
}

fn dimension(layers: &Layers<'_>, sheet: &mut Resolved<'_>, model: &str) -> Result<usize, ConfigError> {
    let given = number(layers.variable(sheet, process_env::OUTPUT_DIM)?, DIMENSION)?
        .or_else(|| layers.written(sheet, layers.raw.dimension.as_ref()));
    let default = match (layers.provider, model) {
        (Provider::Gemini, _) => Some(768),
        (Provider::Local, _) => Some(LOCAL_DIMENSION),
        (Provider::OpenAi, "text-embedding-3-small" | "text-embedding-ada-002") => Some(1536),
        (Provider::OpenAi, "text-embedding-3-large") => Some(3072),
        (Provider::OpenAi, _) => None,
    };
    let Some(given) = given.or_else(|| default.map(Sourced::from_default)) else {
        let expected =
            format!("the number of floats in a vector of model {model:?}, which only its server knows");
        return Err(ConfigError::Absent { key: DIMENSION.to_owned(), expected });
    };
    if layers.provider == Provider::Local && given.value != LOCAL_DIMENSION {
        return Err(
            given.refused(DIMENSION, format!("{LOCAL_DIMENSION}, which model {model} gives; leave it out"))
        );
    }
    within(sheet, DIMENSION, &given, &(1..=65_536))
}

fn task_type(
    layers: &Layers<'_>,
    sheet: &mut Resolved<'_>,
    model: &str,
) -> Result<Option<String>, ConfigError> {
    // Newer Gemini models know no such field: their task would have to stand in the text.
    let taken = layers.provider == Provider::Gemini && !model.starts_with("gemini-embedding-2");
    let default = if taken { "RETRIEVAL_DOCUMENT" } else { "" };
    let given = layers
        .written(sheet, layers.raw.task_type.as_ref())
        .unwrap_or_else(|| Sourced::from_default(default.to_owned()));
    if given.value.is_empty() {
        sheet.record(TASK_TYPE, "none", &given.origin);
        return Ok(None);
    }
    if !taken {
        let expected = format!("no task type: {} with model {model} takes none", layers.provider);
        return Err(given.refused(TASK_TYPE, expected));
    }
    if given.value.len() > 64 || !given.value.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
        return Err(given.refused(TASK_TYPE, "a name such as RETRIEVAL_DOCUMENT, or \"\" for none"));
    }
    sheet.record(TASK_TYPE, &given.value, &given.origin);
    Ok(Some(given.value))
}

fn base_url(layers: &Layers<'_>, sheet: &mut Resolved<'_>) -> Result<Option<String>, ConfigError> {
    const KEY: &str = "embedding.base_url";
    let set = match layers.provider {
        Provider::Gemini => layers.variable(sheet, process_env::GOOGLE_GEMINI_BASE_URL)?,
        Provider::OpenAi | Provider::Local => None,
    };
    let Some(given) = set.or_else(|| layers.written(sheet, layers.raw.base_url.as_ref())) else {
        sheet.record(KEY, "none", &ValueOrigin::Default);
        return Ok(None);
    };
    if layers.provider == Provider::Local {
        return Err(url::refused(KEY, &given, "no address: provider local asks nobody".to_owned()));
    }
    let base = url::checked_base(&given.value).map_err(|expected| url::refused(KEY, &given, expected))?;
    sheet.record(KEY, &base, &given.origin);
    Ok(Some(base))
}

/// Settles two lines: the file that was named, and the key wherever it came from.
fn api_key(
    layers: &Layers<'_>,
    sheet: &mut Resolved<'_>,
    keys: Option<&Path>,
) -> Result<Option<api_key::ApiKey>, ConfigError> {
    const FILE: &str = "embedding.api_key_file";
    let file = match layers.written(sheet, layers.raw.api_key_file.as_ref()) {
        Some(given) if is_key_shaped(&given.value) => {
            let expected = "the path of a file that holds the key, never the key itself";
            return Err(given.map(|_| "***").refused(FILE, expected));
        }
        Some(given) => {
            let path = paths::checked(&given.value).map_err(|expected| given.refused(FILE, expected))?;
            sheet.record(FILE, path.display(), &given.origin);
            Some(path)
        }
        None => {
            sheet.record(FILE, "none", &ValueOrigin::Default);
            None
        }
    };
    let Some(cwd) = keys else { return Ok(None) };
    let mut notes = Vec::new();
    let found = api_key::find(layers.provider, file.as_deref(), cwd, sheet.variables, &mut |words| {
        notes.push(words)
    })?;
    for words in notes {
        sheet.note(words);
    }
    let (value, origin) =
        found.map_or((None, ValueOrigin::Default), |given| (Some(given.value), given.origin));
    let shown = value.as_ref().map_or("none", |_| "***");
    sheet.record("embedding.api_key", shown, &origin);
    Ok(value)
}

/// A key written where its file should be named must not come back in an error message.
fn is_key_shaped(text: &str) -> bool {
    !text.contains(['/', '.']) && (text.starts_with("AIza") || text.starts_with("sk-"))
}

fn batch_size(layers: &Layers<'_>, sheet: &mut Resolved<'_>) -> Result<usize, ConfigError> {
    const KEY: &str = "embedding.batch_size";
    let given = number(sheet.variables.get(process_env::INGEST_BATCH_SIZE)?, KEY)?
        .or_else(|| sheet.written(layers.raw.batch_size.as_ref()))
        .unwrap_or_else(|| Sourced::from_default(100));
    let most = match layers.provider {
        Provider::Gemini => 100,
        Provider::OpenAi | Provider::Local => 2048,
    };
    let allowed = 1..=most;
    if layers.provider == Provider::Gemini && !allowed.contains(&given.value) {
        let expected = format!("{}: the Gemini API takes no more in one request", number_in(&allowed));
        return Err(given.refused(KEY, expected));
    }
    within(sheet, KEY, &given, &allowed)
}

/// A variable's text as a number, as Python's `int` would read it in the usual cases.
fn number(given: Option<Sourced<String>>, key: &str) -> Result<Option<Sourced<i64>>, ConfigError> {
    let Some(given) = given else { return Ok(None) };
    match given.value.trim().parse() {
        Ok(value) => Ok(Some(given.map(|_| value))),
        Err(_) => Err(given.refused(key, "a whole number")),
    }
}
