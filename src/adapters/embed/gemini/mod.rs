//! The Gemini API: `batchEmbedContents`, one request inside it per text.
//!
//! Every text is a content of its own. Several texts as parts of one content
//! would give one vector for all of them. The key travels in a header, never
//! in the address, which logs on the way would keep. Functions here turn texts
//! into a body and a reply into vectors; their values are checked by the caller.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::error::EmbedError;
use super::extras::Extras;
use super::float_list::{self, Entries, ListLimits, Numbers};
use super::refused_field::{self, SentFields};
use super::request_size::bytes_per_text;
use super::types::{Embedder, Failure, Task};
use super::wire;
use crate::adapters::http::{HeaderText, Http, HttpMethod, HttpRequest, Reply};
use crate::config::{EmbeddingSettings, GEMINI_ADDRESS};
use crate::domain::request_extras::RequestFields;

const BASE: &str = GEMINI_ADDRESS;

/// One model of the Gemini API.
pub(super) struct Gemini {
    http: Http,
    url: String,
    template: GeminiTemplate,
    key: SecretString,
    timeout: Duration,
    bytes_per_text: usize,
}

/// What is the same in every text's request.
struct GeminiTemplate {
    /// With `models/` before it.
    model: String,
    dimension: usize,
    task_type: Option<String>,
    extras: Extras,
}

impl Gemini {
    /// More requests in a batch are refused by the service.
    pub(super) const MAX_REQUEST_TEXTS: usize = 100;
    /// A body of more than 4 MiB is refused; a text's share of the rest of it is far below 512 bytes.
    pub(super) const MAX_REQUEST_BYTES: usize = (4 << 20) - Self::MAX_REQUEST_TEXTS * 512;

    pub(super) fn new(settings: &EmbeddingSettings, http: Http) -> Result<Self, EmbedError> {
        let key = settings
            .api_key
            .as_ref()
            .ok_or(EmbedError::NoKey { provider: "gemini", variables: "GOOGLE_API_KEY or GEMINI_API_KEY" })?;
        let base = wire::base_address(settings.base_url.as_deref().unwrap_or(BASE))?;
        let template = GeminiTemplate::new(settings)?;
        Ok(Self {
            http,
            url: format!("{base}/v1beta/{}:batchEmbedContents", template.model),
            template,
            key: wire::header_key(key),
            timeout: settings.request_timeout,
            bytes_per_text: bytes_per_text(settings),
        })
    }
}

impl Embedder for Gemini {
    fn embed<'a>(&'a self, texts: &'a [String], task: Task) -> BoxFuture<'a, Result<Vec<Vec<f32>>, Failure>> {
        async move {
            let texts = &*self.template.extras.prefixed(texts, task);
            let headers = [
                ("content-type", HeaderText::Plain("application/json")),
                ("x-goog-api-key", HeaderText::Secret(&self.key)),
            ];
            let request = HttpRequest {
                method: HttpMethod::Post(self.template.body(texts, task)),
                url: &self.url,
                headers: &headers,
                max_bytes: wire::max_answer_bytes(texts.len(), self.template.dimension),
                timeout: self.timeout,
            };
            let reply = self.http.send(request).await?;
            let sent = SentFields {
                task,
                fields: &self.template.extras.of(task).fields,
                names_dimension: true,
                own_dimension: None,
                task_setting: Some("embedding.task_type"),
            };
            vectors(&reply, &self.key, texts, self.template.dimension)
                .map_err(|failure| refused_field::explain(failure, &reply, &sent))
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

#[derive(Serialize)]
struct GeminiBatch<'a> {
    requests: Vec<GeminiRequest<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GeminiRequest<'a> {
    content: GeminiContent<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_type: Option<&'a str>,
    output_dimensionality: usize,
    model: &'a str,
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct GeminiContent<'a> {
    parts: [GeminiPart<'a>; 1],
    role: &'static str,
}

#[derive(Serialize)]
struct GeminiPart<'a> {
    text: &'a str,
}

impl GeminiTemplate {
    fn new(settings: &EmbeddingSettings) -> Result<Self, EmbedError> {
        let EmbeddingSettings { model, dimension, task_type, .. } = settings;
        let name = model.strip_prefix("models/").unwrap_or(model);
        let is_allowed = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
        if name.is_empty() || !name.chars().all(is_allowed) {
            return Err(EmbedError::Settings(format!(
                "embedding.model: expected a name such as gemini-embedding-001, found {model:?}"
            )));
        }
        // The second generation refuses the field; there the task is part of the text.
        let takes_task = !name.contains("gemini-embedding-2");
        let task_type = task_type.clone().filter(|_| takes_task);
        let extras = Extras::new(settings);
        Ok(Self { model: format!("models/{name}"), dimension: *dimension, task_type, extras })
    }

    /// The body for texts that have their prefix.
    fn body(&self, texts: &[String], task: Task) -> Vec<u8> {
        let fields = &self.extras.of(task).fields;
        let task_type = self.task_type(task).filter(|_| !names_task_type(fields));
        let request = |text| GeminiRequest {
            content: GeminiContent { parts: [GeminiPart { text }], role: "user" },
            task_type,
            output_dimensionality: self.dimension,
            model: &self.model,
            fields: &fields.0,
        };
        let batch = GeminiBatch { requests: texts.iter().map(|text| request(text)).collect() };
        serde_json::to_vec(&batch).expect("strings and numbers always have a JSON form")
    }

    /// Only retrieval has another task type for queries; the symmetric ones
    /// (similarity, clustering, classification) have the same.
    fn task_type(&self, task: Task) -> Option<&str> {
        match (self.task_type.as_deref(), task) {
            (Some("RETRIEVAL_DOCUMENT"), Task::Query) => Some("RETRIEVAL_QUERY"),
            (task_type, Task::Document | Task::Query) => task_type,
        }
    }
}

/// Whether fields of the settings take the place of our task type; both spellings mean the same.
fn names_task_type(fields: &RequestFields) -> bool {
    ["taskType", "task_type"].iter().any(|name| fields.0.contains_key(*name))
}

#[derive(Deserialize)]
struct GeminiAnswer<'a> {
    #[serde(borrow)]
    embeddings: Option<Entries<GeminiEmbedding<'a>>>,
    /// Whatever it is: `wire` reads it.
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct GeminiEmbedding<'a> {
    // A missing list has no floats, which is the wrong dimension.
    #[serde(default, borrow)]
    values: Numbers<'a>,
    /// Why this text has none; `wire` reads it.
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

fn vectors(
    reply: &Reply,
    key: &SecretString,
    texts: &[String],
    dimension: usize,
) -> Result<Vec<Vec<f32>>, Failure> {
    if reply.status != 200 {
        return Err(wire::failure(reply, Some(key), texts));
    }
    let unreadable = |error: serde_json::Error| wire::unreadable(&error, reply, texts);
    let mut lists = float_list::extract(&reply.body, ListLimits::of(texts.len(), dimension));
    let json = std::mem::take(&mut lists.json);
    match serde_json::from_slice(&json).map_err(unreadable)? {
        GeminiAnswer { embeddings: Some(embeddings), error: None } => {
            if embeddings.count > embeddings.kept.len() {
                return Err(wire::too_many(texts, embeddings.count));
            }
            let errors = embeddings.kept.iter().map(|embedding| embedding.error);
            if let Some(failure) = wire::entry_failure(errors, reply, Some(key), texts) {
                return Err(failure);
            }
            let vectors = embeddings.kept.iter().map(|embedding| lists.floats(&embedding.values));
            vectors.collect::<Result<_, _>>().map_err(unreadable)
        }
        GeminiAnswer { .. } => Err(wire::failure(reply, Some(key), texts)),
    }
}

#[cfg(test)]
mod tests;
