//! Requests and answers of the Gemini API.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::adapters::embed::test_settings;
use crate::adapters::embed::types::FailureKind;
use crate::config::{ApiKey, Provider};

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
        let mut settings = test_settings(Provider::Gemini, model, 768);
        settings.task_type = task_type.map(str::to_owned);
        let body = GeminiTemplate::new(&settings).unwrap().body(&texts(&["é \"1\"", "2"]), task);
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
        let settings = test_settings(Provider::Gemini, model, 768);
        assert!(matches!(GeminiTemplate::new(&settings), Err(EmbedError::Settings(_))), "{model}");
    }
}

#[test]
fn fields_stand_in_every_request_and_may_replace_the_task_of_a_question() {
    let mut settings = test_settings(Provider::Gemini, "m", 8);
    settings.task_type = Some("RETRIEVAL_DOCUMENT".to_owned());
    let fields = |json: serde_json::Value| serde_json::from_value(json).unwrap();
    settings.document.fields = fields(serde_json::json!({"title": "t"}));
    settings.query.fields = fields(serde_json::json!({"taskType": "QUESTION_ANSWERING"}));
    let template = GeminiTemplate::new(&settings).unwrap();
    let sent = |task| -> Value { serde_json::from_slice(&template.body(&texts(&["a", "b"]), task)).unwrap() };

    let documents = sent(Task::Document);
    let question = String::from_utf8(template.body(&texts(&["q"]), Task::Query)).unwrap();

    for nth in 0..2 {
        assert_eq!(documents["requests"][nth]["title"], "t");
        assert_eq!(documents["requests"][nth]["taskType"], "RETRIEVAL_DOCUMENT");
    }
    assert_eq!(question.matches("taskType").count(), 1, "{question}");
    assert_eq!(sent(Task::Query)["requests"][0]["taskType"], "QUESTION_ANSWERING");
    assert_eq!(sent(Task::Query)["requests"][0]["title"], Value::Null);
}

#[test]
fn the_address_is_the_base_with_version_and_model_and_the_key_is_not_in_it() {
    let mut settings = test_settings(Provider::Gemini, "gemini-embedding-001", 768);
    settings.api_key = Some(ApiKey::new("AIza-secret").unwrap());
    let url =
        |settings: &EmbeddingSettings| Gemini::new(settings, Http::new().unwrap()).map(|gemini| gemini.url);
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
        vectors(&reply, &SecretString::from("AIza-secret"), &texts(&["one", "two"]), 3)
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
        r#"{"embeddings":[{"values":["one"]}]}"#,
        r#"{"embedding":{"values":[1,2]}}"#,
        r#"{"error":{"message":"AIza-secret broke"}}"#,
        r#"{"embeddings":[],"error":{"message":"half"}}"#,
        "<html>",
        "",
    ];
    for body in passing {
        let failure = read(200, body).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Transient { wait: None }, "{body}");
        assert!(!failure.message.is_empty() && !failure.message.contains("AIza"), "{}", failure.message);
    }
    // What is not a number is a float, and refused alone as any that is not finite.
    for values in ["[NaN]", "[null]", "[Infinity,9]", "[-Infinity]", r#"["NaN"]"#, r#"[null,"1"]"#] {
        let body = format!(r#"{{"embeddings":[{{"values":{values}}}]}}"#);
        assert!(read(200, &body).unwrap()[0][0].is_nan(), "{body}");
    }
    assert_eq!(read(200, r#"{"embeddings":[{"values":null}]}"#).unwrap(), [vec![0.0; 0]]);
}

fn read(body: &[u8]) -> Result<Vec<Vec<f32>>, Failure> {
    let reply = Reply { status: 200, retry_after: None, location: None, body: body.into() };
    vectors(&reply, &SecretString::from("AIza-secret"), &[], 3)
}

fn any_float() -> impl Strategy<Value = f32> {
    prop_oneof![prop::num::f32::NORMAL, (-99_i8..99).prop_map(f32::from)]
}

/// An integer is written as one.
fn json_number(x: f32) -> Value {
    if x.fract() == 0.0 && x.abs() < 100.0 { Value::from(x as i64) } else { Value::from(x) }
}

proptest! {
    #[test]
    fn a_vector_is_the_one_in_the_json_or_there_is_none(
        sent in prop::collection::vec(prop::collection::vec(any_float(), 0..4), 0..4),
        at in any::<prop::sample::Index>(),
        byte in prop::sample::select(b"0123456789,.-e\" []{}".to_vec()),
    ) {
        let values = |floats: &Vec<f32>| floats.iter().copied().map(json_number).collect::<Vec<_>>();
        let entry = |floats| serde_json::json!({ "values": values(floats) });
        let entries: Vec<Value> = sent.iter().map(entry).collect();
        let mut body = serde_json::to_vec(&serde_json::json!({ "embeddings": entries })).unwrap();
        prop_assert_eq!(read(&body).unwrap(), sent);

        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(found) = read(&body) {
            let json: Value = serde_json::from_slice(&body).unwrap();
            let floats = |entry: &Value| -> Vec<f64> {
                let values = entry.get("values").and_then(Value::as_array).cloned().unwrap_or_default();
                let number = |x: &Value| x.as_f64().or_else(|| x.as_str()?.trim().parse().ok()).unwrap();
                values.iter().map(number).collect()
            };
            let expected: Vec<Vec<f64>> = json["embeddings"].as_array().unwrap().iter().map(floats).collect();
            let is_same = |found: &f32, expected: &f64| found.to_bits() == (*expected as f32).to_bits();
            prop_assert!(found.len() == expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                let all_same = found.iter().zip(expected).all(|(x, y)| is_same(x, y));
                prop_assert!(found.len() == expected.len() && all_same);
            }
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(read(&body).is_err());
    }
}
