//! Any server that speaks `/v1/embeddings`: `OpenAI`, Ollama, llama.cpp, vLLM, TEI, LM Studio.
//!
//! The address may be given with or without `/v1`, or with whatever path a
//! gateway needs. The order of an answer is its `index` fields, each exactly
//! once; one may be missing, because some servers omit a zero. Vectors may come as
//! numbers or as base64 of little-endian floats.
//!
//! `dimensions` is sent only if needed, because many servers refuse or ignore
//! it: to models known to have another length, and to those that have answered
//! with longer vectors than ours. Nothing is sent that is every server's
//! default, such as `encoding_format`: some refuse it.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use serde::de::{self, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::error::EmbedError;
use super::extras::Extras;
use super::float_list::{self, Entries, FloatLists, ListLimits, Numbers};
use super::refused_field::{self, SentFields};
use super::request_size::bytes_per_text;
use super::types::{Embedder, Failure, FailureKind, Task, WrongKind};
use super::wire;
use crate::adapters::http::{HeaderText, Http, HttpMethod, HttpRequest, Reply};
use crate::config::{EmbeddingSettings, OPENAI_ADDRESS};

const BASE: &str = OPENAI_ADDRESS;

/// Standard base64, whose last digit may carry bits that belong to no byte.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

/// One model behind one `/v1/embeddings`.
pub(super) struct OpenAi {
    http: Http,
    url: String,
    model: String,
    dimension: usize,
    /// Whether requests name our dimension.
    send_dimension: AtomicBool,
    /// The length of the model's vectors if a request names none; 0 as long as it is not known.
    own_dimension: AtomicUsize,
    key: Option<OpenAiKey>,
    timeout: Duration,
    extras: Extras,
    bytes_per_text: usize,
}

struct OpenAiKey {
    secret: SecretString,
    bearer: SecretString,
}

impl OpenAi {
    pub(super) const MAX_REQUEST_TEXTS: usize = 2048;
    /// The service takes 300,000 tokens in a request. A token is rarely less
    /// than three bytes of any script; a batch that is still too large is
    /// halved like any that is refused.
    pub(super) const MAX_REQUEST_BYTES: usize = 768 << 10;

    pub(super) fn new(settings: &EmbeddingSettings, http: Http) -> Result<Self, EmbedError> {
        let key = settings.api_key.as_ref().map(wire::header_key);
        if key.is_none() && settings.base_url.is_none() {
            return Err(EmbedError::NoKey { provider: "openai", variables: "OPENAI_API_KEY" });
        }
        let known = native_dimension(&settings.model);
        Ok(Self {
            http,
            url: url(settings.base_url.as_deref().unwrap_or(BASE))?,
            model: settings.model.clone(),
            dimension: settings.dimension,
            send_dimension: AtomicBool::new(known.is_some_and(|known| known != settings.dimension)),
            own_dimension: AtomicUsize::new(known.unwrap_or(0)),
            key: key.map(OpenAiKey::new),
            timeout: settings.request_timeout,
            extras: Extras::new(settings),
            bytes_per_text: bytes_per_text(settings),
        })
    }

    /// The body for texts that have their prefix.
    fn body(&self, texts: &[String], task: Task, names_dimension: bool) -> Vec<u8> {
        let dimensions = names_dimension.then_some(self.dimension);
        let fields = &self.extras.of(task).fields.0;
        let request = OpenAiRequest { model: &self.model, input: texts, dimensions, fields };
        serde_json::to_vec(&request).expect("strings and numbers always have a JSON form")
    }

    /// What a request said besides its texts.
    fn sent(&self, task: Task, names_dimension: bool) -> SentFields<'_> {
        let own = self.own_dimension.load(Ordering::Relaxed);
        SentFields {
            task,
            fields: &self.extras.of(task).fields,
            names_dimension,
            own_dimension: (own > 0).then_some(own),
            task_setting: None,
        }
    }

    /// After an answer with longer vectors, requests name our dimension.
    fn check_length(&self, vectors: &[Vec<f32>]) -> Result<(), Failure> {
        let longer = vectors.iter().map(Vec::len).find(|&length| length > self.dimension);
        if let Some(length) = longer {
            self.own_dimension.store(length, Ordering::Relaxed);
        }
        match longer {
            Some(length) if !self.send_dimension.swap(true, Ordering::Relaxed) => Err(Failure::new(
                FailureKind::Resend,
                format!(
                    "wrong answer: expected vectors of {} floats, found one of {length}; requests now name dimensions",
                    self.dimension
                ),
            )),
            _ => Ok(()),
        }
    }
}

impl Embedder for OpenAi {
    fn embed<'a>(&'a self, texts: &'a [String], task: Task) -> BoxFuture<'a, Result<Vec<Vec<f32>>, Failure>> {
        async move {
            let texts = &*self.extras.prefixed(texts, task);
            let names_dimension = self.send_dimension.load(Ordering::Relaxed);
            let mut headers = vec![("content-type", HeaderText::Plain("application/json"))];
            if let Some(key) = &self.key {
                headers.push(("authorization", HeaderText::Secret(&key.bearer)));
            }
            let request = HttpRequest {
                method: HttpMethod::Post(self.body(texts, task, names_dimension)),
                url: &self.url,
                headers: &headers,
                max_bytes: wire::max_answer_bytes(texts.len(), self.dimension),
                timeout: self.timeout,
            };
            let reply = self.http.send(request).await?;
            let key = self.key.as_ref().map(|key| &key.secret);
            let vectors = vectors(&reply, key, texts, self.dimension).map_err(|failure| {
                refused_field::explain(failure, &reply, &self.sent(task, names_dimension))
            })?;
            self.check_length(&vectors)?;
            Ok(vectors)
        }
        .boxed()
    }

    fn max_texts(&self) -> usize {
        Self::MAX_REQUEST_TEXTS
    }

    fn max_bytes(&self) -> usize {
        Self::MAX_REQUEST_BYTES
    }

    fn bytes_per_text(&self) -> usize {
        self.bytes_per_text
    }
}

impl OpenAiKey {
    fn new(secret: SecretString) -> Self {
        let bearer = SecretString::from(format!("Bearer {}", secret.expose_secret()));
        Self { secret, bearer }
    }
}

/// The length of a model's vectors if a request names none.
fn native_dimension(model: &str) -> Option<usize> {
    let lengths = [
        ("text-embedding-3-small", 1536),
        ("text-embedding-3-large", 3072),
        ("text-embedding-ada-002", 1536),
        ("gemini-embedding", 3072),
    ];
    lengths.iter().find(|(name, _)| model.contains(name)).map(|(_, length)| *length)
}

/// `http://host` and `http://host/v1` mean the same; any other path is taken as it stands, with its query.
fn url(base: &str) -> Result<String, EmbedError> {
    let base = wire::base_address(base)?;
    let (base, query) = base.find('?').map_or((base, ""), |at| base.split_at(at));
    let base = base.trim_end_matches('/');
    let has_path = base.find("://").is_some_and(|scheme| base[scheme + 3..].contains('/'));
    let version = if has_path { "" } else { "/v1" };
    let base = base.strip_suffix("/embeddings").unwrap_or(base);
    Ok(format!("{base}{version}/embeddings{query}"))
}

#[derive(Serialize)]
struct OpenAiRequest<'a> {
    model: &'a str,
    input: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
}

#[derive(Deserialize)]
struct OpenAiAnswer<'a> {
    #[serde(borrow)]
    data: Option<Entries<OpenAiEntry<'a>>>,
    /// Whatever it is: `wire` reads it.
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct OpenAiEntry<'a> {
    index: Option<usize>,
    /// A list of numbers, or base64.
    #[serde(default, borrow)]
    embedding: Numbers<'a>,
    /// Why this text has none; `wire` reads it.
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

/// The floats of an entry, sent as numbers or as base64.
fn floats_of(entry: &OpenAiEntry<'_>, lists: &mut FloatLists) -> serde_json::Result<Vec<f32>> {
    match entry.embedding.raw().map(RawValue::get) {
        Some(text) if text.starts_with('"') => {
            let text: Cow<'_, str> = serde_json::from_str(text)?;
            base64_floats(&text).ok_or_else(|| de::Error::custom("expected base64 of 32-bit floats"))
        }
        _ => lists.floats(&entry.embedding),
    }
}

/// Little-endian floats in standard base64, padded or not.
fn base64_floats(text: &str) -> Option<Vec<f32>> {
    let digits = text.trim_end_matches('=');
    // A last digit that stands alone carries no whole byte, and is ignored:
    // with a second digit it is one byte, which is dropped again.
    let bytes = if digits.len() % 4 == 1 {
        let mut bytes = BASE64.decode(format!("{digits}A")).ok()?;
        bytes.pop();
        bytes
    } else {
        BASE64.decode(digits).ok()?
    };
    let (floats, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| floats.iter().copied().map(f32::from_le_bytes).collect())
}

fn vectors(
    reply: &Reply,
    key: Option<&SecretString>,
    texts: &[String],
    dimension: usize,
) -> Result<Vec<Vec<f32>>, Failure> {
    if reply.status != 200 {
        return Err(wire::failure(reply, key, texts));
    }
    let unreadable = |error: serde_json::Error| wire::unreadable(&error, reply, texts);
    let mut lists = float_list::extract(&reply.body, ListLimits::of(texts.len(), dimension));
    let json = std::mem::take(&mut lists.json);
    match serde_json::from_slice(&json).map_err(unreadable)? {
        OpenAiAnswer { data: Some(entries), error: None } => {
            if entries.count > entries.kept.len() {
                return Err(wire::too_many(texts, entries.count));
            }
            let errors = entries.kept.iter().map(|entry| entry.error);
            if let Some(failure) = wire::entry_failure(errors, reply, key, texts) {
                return Err(failure);
            }
            let read = |entry: &OpenAiEntry<'_>| Ok((entry.index, floats_of(entry, &mut lists)?));
            in_order(entries.kept.iter().map(read).collect::<Result<_, _>>().map_err(unreadable)?)
        }
        OpenAiAnswer { .. } => Err(wire::failure(reply, key, texts)),
    }
}

/// The vectors by their index. If no entry has one, their order is kept; a single
/// entry without one has the place that no other has.
fn in_order(entries: Vec<(Option<usize>, Vec<f32>)>) -> Result<Vec<Vec<f32>>, Failure> {
    let count = entries.len();
    let without = entries.iter().filter(|(index, _)| index.is_none()).count();
    if without == count {
        return Ok(entries.into_iter().map(|(_, vector)| vector).collect());
    }
    let mut places: Vec<Option<Vec<f32>>> = vec![None; count];
    let mut unplaced = None;
    for (index, vector) in entries {
        match index.map(|index| places.get_mut(index)) {
            None if without == 1 => unplaced = Some(vector),
            Some(Some(place @ None)) => *place = Some(vector),
            None | Some(_) => {
                let message = format!(
                    "wrong answer: expected each index from 0 to {} once, found {index:?}",
                    count - 1
                );
                return Err(Failure::new(FailureKind::Wrong(WrongKind::Order), message));
            }
        }
    }
    // All others have a place of their own, so exactly one is free.
    if let Some(free) = places.iter_mut().find(|place| place.is_none()) {
        *free = unplaced;
    }
    Ok(places.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests;
