//! Request bodies of both APIs, and what the services would refuse in them.
//!
//! Pure: path, headers and bytes in, a [`RequestBody`] out. A request that cannot be
//! understood is still a `RequestBody`, with what could be read of it and the message
//! of its refusal.

use std::collections::BTreeMap;

use serde_json::Value;

/// The API that a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `…/v1beta/models/{model}:batchEmbedContents`, or `/v1/`.
    Gemini,
    /// `…/v1/embeddings`.
    OpenAi,
}

/// What a request asks for.
#[derive(Debug, Default)]
pub(super) struct RequestBody {
    pub(super) api: Option<Api>,
    pub(super) model: String,
    pub(super) dimension: Option<usize>,
    pub(super) task_type: Option<String>,
    pub(super) texts: Vec<String>,
    /// `OpenAI`'s `encoding_format`.
    pub(super) base64: bool,
    /// Why the service would refuse it: a status and its message.
    pub(super) refusal: Option<Refusal>,
}

/// A status and its message.
pub(super) type Refusal = (u16, String);

/// Longer vectors than those of any model are refused, so that an answer has a limit.
const MAX_DIMENSION: usize = 16_384;

impl RequestBody {
    /// Reads a request as the service would.
    pub(super) fn read(method: &str, path: &str, headers: &BTreeMap<String, String>, body: &[u8]) -> Self {
        let mut ask = Self::default();
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        if let Some(model) = gemini_model(path) {
            ask.api = Some(Api::Gemini);
            model.clone_into(&mut ask.model);
        } else if path.ends_with("/v1/embeddings") {
            ask.api = Some(Api::OpenAi);
        }
        ask.refusal = match ask.api {
            None => Err((404, format!("no such path: {path}"))),
            Some(_) if method != "POST" => Err((405, format!("expected POST, found {method}"))),
            Some(Api::Gemini) => ask.read_gemini(headers, body),
            Some(Api::OpenAi) => ask.read_openai(body),
        }
        .err();
        ask
    }

    /// The dimension of the vectors of the answer.
    pub(super) fn dimension_due(&self) -> usize {
        self.dimension.unwrap_or(match self.api {
            Some(Api::OpenAi) => 1536,
            Some(Api::Gemini) | None => 3072,
        })
    }

    fn read_gemini(&mut self, headers: &BTreeMap<String, String>, body: &[u8]) -> Result<(), Refusal> {
        const MAX_BYTES: usize = 4_194_304;
        const MAX_TEXTS: usize = 100;
        let bytes = body.len();
        let body = parse(body)?;
        let requests = body["requests"].as_array().ok_or_else(|| invalid("requests: expected a list"))?;
        for request in requests {
            self.texts.push(gemini_text(request).ok_or_else(|| invalid("content.parts: expected texts"))?);
        }
        let Some(first) = requests.first() else {
            return Err(invalid("requests: expected one at least"));
        };
        self.dimension = dimension(&first["outputDimensionality"])?;
        self.task_type = first["taskType"].as_str().map(str::to_owned);

        if key(Some(Api::Gemini), headers).is_none_or(str::is_empty) {
            return Err((
                403,
                "Method doesn't allow unregistered callers. Please use an API key.".to_owned(),
            ));
        }
        if bytes > MAX_BYTES {
            return Err(invalid(&format!("Request payload size exceeds the limit: {MAX_BYTES} bytes.")));
        }
        if requests.len() > MAX_TEXTS {
            return Err(invalid(&format!(
                "BatchEmbedContentsRequest.requests: at most {MAX_TEXTS} requests can be in one batch"
            )));
        }
        let model = format!("models/{}", self.model);
        for request in requests {
            if request["model"] != model.as_str() {
                return Err(invalid(&format!(
                    "requests[].model: expected {model}, found {}",
                    request["model"]
                )));
            }
            if request["outputDimensionality"] != first["outputDimensionality"] {
                return Err(invalid("requests[].outputDimensionality: expected one for the whole batch"));
            }
        }
        self.refuse_empty("content is empty")
    }

    fn read_openai(&mut self, body: &[u8]) -> Result<(), Refusal> {
        const MAX_TEXTS: usize = 2048;
        let body = parse(body)?;
        body["model"].as_str().unwrap_or_default().clone_into(&mut self.model);
        self.texts = match &body["input"] {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(texts) => texts.iter().map(|text| text.as_str().map(str::to_owned)).collect(),
            _ => None,
        }
        .ok_or_else(|| invalid("'input': expected a text or a list of texts"))?;
        self.dimension = dimension(&body["dimensions"])?;
        self.base64 = match body["encoding_format"].as_str() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(other) => {
                return Err(invalid(&format!("'encoding_format': expected float or base64, found {other}")));
            }
        };

        if self.model.is_empty() {
            return Err(invalid("you must provide a model parameter"));
        }
        if self.texts.is_empty() || self.texts.len() > MAX_TEXTS {
            return Err(invalid(&format!(
                "'input': expected 1 to {MAX_TEXTS} texts, found {}",
                self.texts.len()
            )));
        }
        self.refuse_empty("'$.input' is invalid")
    }

    fn refuse_empty(&self, message: &str) -> Result<(), Refusal> {
        if self.texts.iter().any(String::is_empty) { Err(invalid(message)) } else { Ok(()) }
    }
}

/// The key, from the header that the API uses.
pub(super) fn key(api: Option<Api>, headers: &BTreeMap<String, String>) -> Option<&str> {
    match api? {
        Api::Gemini => headers.get("x-goog-api-key").map(String::as_str),
        Api::OpenAi => headers.get("authorization")?.strip_prefix("Bearer "),
    }
}

fn gemini_model(path: &str) -> Option<&str> {
    let (before, model) = path.strip_suffix(":batchEmbedContents")?.rsplit_once("/models/")?;
    let known = before.ends_with("/v1beta") || before.ends_with("/v1");
    (known && !model.is_empty() && !model.contains('/')).then_some(model)
}

/// One content gives one vector, however many parts it has.
fn gemini_text(request: &Value) -> Option<String> {
    let parts = request["content"]["parts"].as_array()?;
    parts.iter().map(|part| part["text"].as_str()).collect()
}

fn dimension(value: &Value) -> Result<Option<usize>, Refusal> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    match number {
        None if value.is_null() => Ok(None),
        Some(number @ 1..=MAX_DIMENSION) => Ok(Some(number)),
        _ => Err(invalid(&format!("dimension: expected 1 to {MAX_DIMENSION}, found {value}"))),
    }
}

fn parse(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| invalid(&format!("Invalid JSON payload received. {error}")))
}

fn invalid(message: &str) -> Refusal {
    (400, message.to_owned())
}
