//! The Gemini API: `batchEmbedContents`, one request inside it per text.
//!
//! Every text is a content of its own. Several texts as parts of one content
//! would give one vector for all of them. The key travels in a header, never
//! in the address, which logs on the way would keep.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::float_list::{self, Numbers};
use super::{EmbedError, Embedder, EmbedderSettings, Failure, Task, base_address, sendable_key, wire};
use crate::adapters::http::{HeaderText, Http, Reply};

const BASE: &str = "https://generativelanguage.googleapis.com";

/// One model of the Gemini API.
pub(super) struct Gemini {
    http: Http,
    url: String,
    shape: Shape,
    key: SecretString,
    timeout: Duration,
}

/// What every text's request looks like.
struct Shape {
    /// With `models/` before it.
    model: String,
    dimension: usize,
    task_type: Option<String>,
}

impl Gemini {
    /// More requests in a batch are refused by the service.
    const MAX_REQUEST_TEXTS: usize = 100;
    /// A body of more than 4 MiB is refused; a text's share of the rest of it is far below 512 bytes.
    const MAX_REQUEST_BYTES: usize = (4 << 20) - Self::MAX_REQUEST_TEXTS * 512;

    pub(super) fn new(settings: &EmbedderSettings, http: Http) -> Result<Self, EmbedError> {
        let key = settings
            .api_key
            .clone()
            .ok_or(EmbedError::NoKey { provider: "gemini", variables: "GOOGLE_API_KEY or GEMINI_API_KEY" })?;
        let base = base_address(settings.base_url.as_deref().unwrap_or(BASE))?;
        let shape = Shape::new(&settings.model, settings.dimension, settings.task_type.as_deref())?;
        Ok(Self {
            http,
            url: format!("{base}/v1beta/{}:batchEmbedContents", shape.model),
            shape,
            key: sendable_key(key)?,
            timeout: settings.request_timeout,
        })
    }
}

impl Embedder for Gemini {
    fn embed<'a>(&'a self, texts: &'a [String], task: Task) -> BoxFuture<'a, Result<Vec<Vec<f32>>, Failure>> {
        async move {
            let headers = [
                ("content-type", HeaderText::Plain("application/json")),
                ("x-goog-api-key", HeaderText::Secret(&self.key)),
            ];
            let body = self.shape.body(texts, task);
            let most = wire::max_answer_bytes(texts.len(), self.shape.dimension);
            let reply = self.http.post(&self.url, &headers, body, most, self.timeout).await?;
            vectors(&reply, &self.key, texts)
        }
        .boxed()
    }

    fn max_texts(&self) -> usize {
        Self::MAX_REQUEST_TEXTS
    }

    fn max_bytes(&self) -> usize {
        Self::MAX_REQUEST_BYTES
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

impl Shape {
    fn new(model: &str, dimension: usize, task_type: Option<&str>) -> Result<Self, EmbedError> {
        let name = model.strip_prefix("models/").unwrap_or(model);
        let fit = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
        if name.is_empty() || !name.chars().all(fit) {
            return Err(EmbedError::Settings(format!(
                "embedding.model: expected a name such as gemini-embedding-001, found {model:?}"
            )));
        }
        // The second generation refuses the field; there the task is part of the text.
        let takes_task = !name.contains("gemini-embedding-2");
        let task_type = task_type.filter(|_| takes_task).map(str::to_owned);
        Ok(Self { model: format!("models/{name}"), dimension, task_type })
    }

    fn body(&self, texts: &[String], task: Task) -> Vec<u8> {
        let request = |text| GeminiRequest {
            content: GeminiContent { parts: [GeminiPart { text }], role: "user" },
            task_type: self.task_type(task),
            output_dimensionality: self.dimension,
            model: &self.model,
        };
        let batch = GeminiBatch { requests: texts.iter().map(|text| request(text)).collect() };
        serde_json::to_vec(&batch).expect("strings and numbers always have a JSON form")
    }

    /// Documents made to be retrieved are asked for with another task type;
    /// the symmetric ones (similarity, clustering, classification) with the same.
    fn task_type(&self, task: Task) -> Option<&str> {
        match (self.task_type.as_deref(), task) {
            (Some("RETRIEVAL_DOCUMENT"), Task::Query) => Some("RETRIEVAL_QUERY"),
            (task_type, Task::Document | Task::Query) => task_type,
        }
    }
}

#[derive(Deserialize)]
struct GeminiAnswer<'a> {
    #[serde(borrow)]
    embeddings: Option<Vec<GeminiEmbedding<'a>>>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct GeminiEmbedding<'a> {
    // Left out where there is none; the count of its floats is then wrong.
    #[serde(default, borrow)]
    values: Numbers<'a>,
}

fn vectors(reply: &Reply, key: &SecretString, texts: &[String]) -> Result<Vec<Vec<f32>>, Failure> {
    if reply.status != 200 {
        return Err(wire::failure(reply, Some(key), texts));
    }
    let unreadable = |error: serde_json::Error| wire::unreadable(&error, reply, texts);
    let mut lists = float_list::extract(&reply.body);
    let json = std::mem::take(&mut lists.json);
    match serde_json::from_slice(&json).map_err(unreadable)? {
        GeminiAnswer { embeddings: Some(embeddings), error: None } => {
            let vectors = embeddings.iter().map(|embedding| lists.floats(&embedding.values));
            vectors.collect::<Result<_, _>>().map_err(unreadable)
        }
        GeminiAnswer { .. } => Err(wire::failure(reply, Some(key), texts)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::adapters::embed::FailureKind;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn one_request_per_text_in_the_order_of_the_fields_that_the_sdk_sends() {
        let request = |text: &str, task: &str, model: &str| {
            format!(
                r#"{{"content":{{"parts":[{{"text":"{text}"}}],"role":"user"}},{task}"outputDimensionality":768,"model":"models/{model}"}}"#
            )
        };
        let document = r#""taskType":"RETRIEVAL_DOCUMENT","#;
        let cases = [
            ("gemini-embedding-001", Some("RETRIEVAL_DOCUMENT"), Task::Document, document),
            (
                "models/gemini-embedding-001",
                Some("RETRIEVAL_DOCUMENT"),
                Task::Query,
                r#""taskType":"RETRIEVAL_QUERY","#,
            ),
            ("gemini-embedding-001", Some("CLUSTERING"), Task::Query, r#""taskType":"CLUSTERING","#),
            ("gemini-embedding-001", None, Task::Query, ""),
            ("gemini-embedding-2", Some("RETRIEVAL_DOCUMENT"), Task::Document, ""),
            ("models/gemini-embedding-2-preview", Some("RETRIEVAL_DOCUMENT"), Task::Query, ""),
        ];
        for (model, task_type, task, field) in cases {
            let body = Shape::new(model, 768, task_type).unwrap().body(&texts(&["é \"1\"", "2"]), task);
            let name = model.trim_start_matches("models/");
            let expected = format!(
                r#"{{"requests":[{},{}]}}"#,
                request(r#"é \"1\""#, field, name),
                request("2", field, name)
            );
            assert_eq!(String::from_utf8(body).unwrap(), expected);
        }
    }

    #[test]
    fn a_model_name_that_would_change_the_address_is_refused() {
        for model in ["", "models/", "a/b", "a?b", "a b", "models/../x#"] {
            assert!(matches!(Shape::new(model, 768, None), Err(EmbedError::Settings(_))), "{model}");
        }
    }

    #[test]
    fn the_address_is_the_base_with_version_and_model_and_the_key_is_not_in_it() {
        let mut settings = EmbedderSettings {
            provider: crate::adapters::embed::Provider::Gemini,
            model: "gemini-embedding-001".to_owned(),
            dimension: 768,
            task_type: None,
            base_url: None,
            api_key: Some("AIza-secret".to_owned().into()),
            request_timeout: Duration::from_secs(1),
        };
        let url = |settings: &EmbedderSettings| {
            Gemini::new(settings, Http::new().unwrap()).map(|gemini| gemini.url)
        };
        let path = "/v1beta/models/gemini-embedding-001:batchEmbedContents";
        for (base, origin) in [(None, BASE), (Some("http://127.0.0.1:8080/"), "http://127.0.0.1:8080")] {
            settings.base_url = base.map(str::to_owned);
            assert_eq!(url(&settings).unwrap(), format!("{origin}{path}"));
        }
        settings.base_url = Some("127.0.0.1:8080".to_owned());
        assert!(url(&settings).unwrap_err().to_string().starts_with("embedding.base_url: "));
        settings.api_key = None;
        assert!(url(&settings).unwrap_err().to_string().contains("GOOGLE_API_KEY or GEMINI_API_KEY"));
    }

    #[test]
    fn answers_give_vectors_in_order_or_a_failure_that_may_pass() {
        let read = |status, body: &str| {
            let reply = Reply { status, retry_after: None, location: None, body: body.into() };
            vectors(&reply, &SecretString::from("AIza-secret"), &texts(&["one", "two"]))
        };
        let good = [
            (
                r#"{"embeddings":[{"values":[1,-2.5e0]},{"values":["0.25"," -1e-3 "]}]}"#,
                vec![vec![1.0, -2.5], vec![0.25, -0.001]],
            ),
            (r#"{"embeddings":[{"values":[]}],"usage":{}}"#, vec![vec![]]),
            (r#"{"embeddings":[{}]}"#, vec![vec![]]),
            (r#"{"embeddings":[]}"#, vec![]),
        ];
        for (body, expected) in good {
            assert_eq!(read(200, body).unwrap(), expected, "{body}");
        }
        let passing = [
            r#"{"embeddings":[{"values":[1,2"#,
            r#"{"embeddings":[{"values":[NaN]}]}"#,
            r#"{"embeddings":[{"values":[null]}]}"#,
            r#"{"embeddings":[{"values":["one"]}]}"#,
            r#"{"embedding":{"values":[1,2]}}"#,
            r#"{"error":{"code":500,"message":"AIza-secret broke"}}"#,
            r#"{"embeddings":[],"error":{"message":"half"}}"#,
            "<html>",
            "",
        ];
        for body in passing {
            let failure = read(200, body).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Transient { wait: None }, "{body}");
            assert!(!failure.message.is_empty() && !failure.message.contains("AIza"), "{}", failure.message);
        }
        // Not a number as text is a float, and refused as any that is not finite.
        assert!(read(200, r#"{"embeddings":[{"values":["NaN"]}]}"#).unwrap()[0][0].is_nan());
    }

    fn read(body: &[u8]) -> Result<Vec<Vec<f32>>, Failure> {
        let reply = Reply { status: 200, retry_after: None, location: None, body: body.into() };
        vectors(&reply, &SecretString::from("AIza-secret"), &[])
    }

    proptest! {
        #[test]
        fn a_vector_is_what_the_json_says_or_there_is_none(
            sent in prop::collection::vec(prop::collection::vec(prop_oneof![prop::num::f32::NORMAL, (-99_i8..99).prop_map(f32::from)], 0..4), 0..4),
            at in any::<prop::sample::Index>(),
            byte in prop::sample::select(b"0123456789,.-e\" []{}".to_vec()),
        ) {
            let number = |x: &f32| if x.fract() == 0.0 && x.abs() < 100.0 { Value::from(*x as i64) } else { Value::from(*x) };
            let values = |floats: &Vec<f32>| floats.iter().map(number).collect::<Vec<_>>();
            let entries: Vec<Value> = sent.iter().map(|floats| serde_json::json!({ "values": values(floats) })).collect();
            let mut body = serde_json::to_vec(&serde_json::json!({ "embeddings": entries })).unwrap();
            prop_assert_eq!(read(&body).unwrap(), sent);

            let at = at.index(body.len());
            body[at] = byte;
            if let Ok(found) = read(&body) {
                let says: Value = serde_json::from_slice(&body).unwrap();
                let floats = |entry: &Value| -> Vec<f64> {
                    let values = entry.get("values").and_then(Value::as_array).cloned().unwrap_or_default();
                    let number = |x: &Value| x.as_f64().or_else(|| x.as_str()?.trim().parse().ok()).unwrap();
                    values.iter().map(number).collect()
                };
                let due: Vec<Vec<f64>> = says["embeddings"].as_array().unwrap().iter().map(floats).collect();
                let same = |found: &f32, due: &f64| found.to_bits() == (*due as f32).to_bits();
                prop_assert!(found.len() == due.len());
                for (found, due) in found.iter().zip(&due) {
                    prop_assert!(found.len() == due.len() && found.iter().zip(due).all(|(x, y)| same(x, y)));
                }
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(read(&body).is_err());
        }
    }
}
