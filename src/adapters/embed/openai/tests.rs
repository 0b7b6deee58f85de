//! Requests and answers of the `/v1/embeddings` kind.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::adapters::embed::test_settings;
use crate::config::{ApiKey, Provider};

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn server(model: &str, dimension: usize) -> OpenAi {
    let mut settings = test_settings(Provider::OpenAi, model, dimension);
    settings.base_url = Some("http://127.0.0.1:11434".to_owned());
    OpenAi::new(&settings, Http::new().unwrap()).unwrap()
}

fn read(body: &str) -> Result<Vec<Vec<f32>>, Failure> {
    let reply = Reply { status: 200, retry_after: None, location: None, body: body.into() };
    vectors(&reply, None, &texts(&["one", "two"]), 3)
}

#[test]
fn an_address_with_or_without_a_version_leads_to_the_same_place() {
    let cases = [
        ("http://host:11434", "http://host:11434/v1/embeddings"),
        ("http://host:11434/", "http://host:11434/v1/embeddings"),
        ("http://host:11434/v1", "http://host:11434/v1/embeddings"),
        ("http://host:11434/v1/", "http://host:11434/v1/embeddings"),
        ("http://host/v1/embeddings", "http://host/v1/embeddings"),
        ("https://host/v1beta/openai", "https://host/v1beta/openai/embeddings"),
        ("https://host/deployments/x?api-version=1", "https://host/deployments/x/embeddings?api-version=1"),
    ];
    for (base, expected) in cases {
        assert_eq!(url(base).unwrap(), expected);
    }
    assert!(url("host:11434").is_err());
}

#[test]
fn the_dimension_is_sent_only_to_models_known_to_need_it() {
    let cases = [
        ("text-embedding-3-small", 768, r#","dimensions":768"#),
        ("text-embedding-3-small", 1536, ""),
        ("openai/text-embedding-3-large", 1536, r#","dimensions":1536"#),
        ("text-embedding-ada-002", 1536, ""),
        ("nomic-embed-text", 768, ""),
    ];
    for (model, dimension, field) in cases {
        let server = server(model, dimension);
        let names_dimension = server.send_dimension.load(Ordering::Relaxed);
        let body = server.body(&texts(&["é", "2"]), Task::Document, names_dimension);
        let expected = format!(r#"{{"model":"{model}","input":["é","2"]{field}}}"#);
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }
}

#[test]
fn a_server_that_answers_with_longer_vectors_is_asked_once_for_ours() {
    let server = server("qwen3-embedding", 2);
    let longer = [vec![0.0; 2], vec![0.0; 3]];
    let failure = server.check_length(&longer).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Resend);
    assert!(server.send_dimension.load(Ordering::Relaxed));
    assert_eq!(server.sent(Task::Document, true).own_dimension, Some(3));
    // From then on a wrong length is found by the check of every answer.
    assert!(server.check_length(&longer).is_ok());
    assert!(server.check_length(&[vec![0.0; 1]]).is_ok());
}

#[test]
fn vectors_stand_in_the_order_of_their_index() {
    let good = [
        r#"{"data":[{"index":1,"embedding":[3,4]},{"index":0,"embedding":["1",2.0]}],"usage":{}}"#,
        r#"{"data":[{"embedding":[1,2]},{"embedding":[3,4]}]}"#,
        r#"{"data":[{"embedding":[1,2]},{"index":1,"embedding":[3,4]}]}"#,
        r#"{"data":[{"index":1,"embedding":[3,4]},{"embedding":[1,2]}]}"#,
        r#"{"data":[{"index":0,"embedding":[1,2]},{"embedding":[3,4]}]}"#,
        r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAEA="},{"index":1,"embedding":"AABAQAAAgEA"}]}"#,
    ];
    for body in good {
        assert_eq!(read(body).unwrap(), [[1.0, 2.0], [3.0, 4.0]], "{body}");
    }
    let wrong = [
        r#"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[2]}]}"#,
        r#"{"data":[{"index":1,"embedding":[1]},{"index":2,"embedding":[2]}]}"#,
        r#"{"data":[{"index":2,"embedding":[1]},{"embedding":[2]},{"embedding":[3]}]}"#,
        r#"{"data":[{"index":2,"embedding":[1]},{"embedding":[2]}]}"#,
        r#"{"data":[{"index":1,"embedding":[1]},{"index":1,"embedding":[1]},{"embedding":[2]}]}"#,
        r#"{"data":[{"index":-1,"embedding":[1]}]}"#,
        r#"{"data":[{"index":0,"embedding":"AACAPw!="}]}"#,
        r#"{"data":[{"index":0,"embedding":"AACAPwA="}]}"#,
        r#"{"data":[{"index":0,"embedding":[1,2"#,
        r#"{"error":"rate limited"}"#,
        "[]",
    ];
    for body in wrong {
        let kind = read(body).unwrap_err().kind;
        let order = FailureKind::Wrong(WrongKind::Order);
        assert!([order, FailureKind::Transient { wait: None }].contains(&kind), "{kind:?}: {body}");
    }
}

#[test]
fn a_key_is_asked_for_only_where_the_service_wants_one() {
    let mut settings = test_settings(Provider::OpenAi, "m", 2);
    let error = OpenAi::new(&settings, Http::new().unwrap()).err().unwrap();
    assert!(error.to_string().contains("OPENAI_API_KEY"), "{error}");
    // What a header cannot carry never becomes a key, and is not printed.
    let error = ApiKey::new("sk-1 2").unwrap_err();
    assert!(!error.contains("sk-1"), "{error}");
    settings.api_key = Some(ApiKey::new("sk-1").unwrap());
    let embedder = OpenAi::new(&settings, Http::new().unwrap()).unwrap();
    assert_eq!(embedder.url, "https://api.openai.com/v1/embeddings");
    assert_eq!(embedder.key.unwrap().bearer.expose_secret(), "Bearer sk-1");
}

#[test]
fn base64_is_read_with_or_without_padding_and_spare_bits() {
    let cases: [(&str, Option<&[f32]>); 13] = [
        ("", Some(&[])),
        ("AACAPw==", Some(&[1.0])),
        ("AACAPw", Some(&[1.0])),
        ("AACAPw=====", Some(&[1.0])),
        // The last digit's four spare bits may be anything.
        ("AACAPz", Some(&[1.0])),
        ("AACAPwAAAEAAAEBA", Some(&[1.0, 2.0, 3.0])),
        // A digit that stands alone carries no byte, but must be one.
        ("AACAPwAAAEAAAEBAQ", Some(&[1.0, 2.0, 3.0])),
        ("AACAPwAAAEAAAEBA!", None),
        ("A", Some(&[])),
        ("AACAPwA", None),
        ("AACA Pw", None),
        ("AACA=Pw", None),
        ("-_CAPw", None),
    ];
    for (text, expected) in cases {
        assert_eq!(base64_floats(text).as_deref(), expected, "{text:?}");
    }
}

proptest! {
    #[test]
    fn a_vector_stands_where_its_index_says_or_there_is_none(
        sent in prop::collection::vec(prop::collection::vec(prop::num::f32::NORMAL, 0..4), 0..5),
        in_base64 in any::<bool>(),
        seed in any::<u64>(),
        at in any::<prop::sample::Index>(),
        byte in prop::sample::select(b"0123456789,.-e\" []{}".to_vec()),
    ) {
        let json = |floats: &Vec<f32>| {
            if in_base64 { base64(floats).into() } else { serde_json::json!(floats) }
        };
        let entry = |(index, floats)| serde_json::json!({"index": index, "embedding": json(floats)});
        let mut entries: Vec<Value> = sent.iter().enumerate().map(entry).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut entries);
        let mut body = serde_json::json!({ "data": entries }).to_string().into_bytes();
        prop_assert_eq!(&read(std::str::from_utf8(&body).unwrap()).unwrap(), &sent);

        let at = at.index(body.len());
        body[at] = byte;
        let reply = Reply { status: 200, retry_after: None, location: None, body };
        if let Ok(found) = vectors(&reply, None, &[], 3) {
            prop_assert_eq!(found.len(), sent.len());
            // One byte differs: at most the floats of one vector, or the places of two.
            let different = found.iter().zip(&sent).filter(|(found, sent)| found != sent).count();
            prop_assert!(different <= 1 || sent.len() == 1, "{different} vectors differ");
        }
    }

    #[test]
    fn no_text_makes_the_reader_of_base64_panic(text in "[A-Za-z0-9+/=]{0,40}|.{0,20}") {
        if let Some(floats) = base64_floats(&text) {
            prop_assert!(floats.len() * 16 <= text.len() * 3);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
        let reply = Reply { status: 200, retry_after: None, location: None, body };
        prop_assert!(vectors(&reply, None, &[], 3).is_err());
    }
}

/// Little-endian floats in standard base64, written as plainly as can be.
fn base64(floats: &[f32]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |bits: &[u8]| {
        let six = (0..6).fold(0, |six, at| six << 1 | bits.get(at).copied().unwrap_or(0));
        char::from(DIGITS[usize::from(six)])
    };
    bits.chunks(6).map(digit).collect()
}
