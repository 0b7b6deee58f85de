//! Requests to an API: their bytes, every answer, tokens, confirmations.

use std::fs;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

/// What 0.1.0 sent for the same build.
const BODY: &str = r#"{"adopted":false,"content_hash":"1aa7e45a4ef79a3012b4e6261ffc191400920440b16daee64a5972a2dafa9448","created":"2026-11-27T19:54:31.938991593Z","dimension":8,"embedded":1,"id":"20261127T195431Z-258913","kept":27,"left_out":2,"metadata_only":0,"metric":"inner_product","ntotal":28,"phases_ms":{"embed":6,"index":1,"plan":0,"snapshot":2,"total":11,"verify":0},"previous":"20261127T195431Z-bd6ae4","records":28,"removed":1,"requests":1,"sequence":3,"space":{"dimension":8,"model":"text-embedding-3-small","provider":"openai","task_type":null,"text_format":1},"too_long":0,"took_ms":11,"trigger":"marker"}"#;

fn post(address: SocketAddr) -> AnnounceSettings {
    AnnounceSettings {
        method: AnnounceMethod::Post(format!("http://{address}/admin/reload?key=hidden")),
        ..command_settings(&[])
    }
}

fn confirmed_by(address: SocketAddr) -> AnnounceSettings {
    let confirm = Some(format!("http://{address}/health"));
    AnnounceSettings { confirm, ..command_settings(&["/bin/echo", "reloaded"]) }
}

/// Answers each request with the next of `answers`, from then on with the last; gives the requests back.
async fn api(
    answers: &'static [(&'static str, &'static str)],
) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for turn in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            requests.send(read_request(&mut stream).await.unwrap_or_default()).ok();
            let (head, body) = answers[turn.min(answers.len() - 1)];
            answer(&mut stream, head, body).await;
        }
    });
    (address, seen)
}

#[test]
fn a_target_has_the_name_that_0_1_0_recorded() {
    let named = |url| Webhook::new(url, &command_settings(&[])).name().to_owned();
    assert_eq!(named("http://127.0.0.1:8799/admin/reload"), "post http://127.0.0.1:8799/admin/reload");
    assert_eq!(
        named("http://127.0.0.1:8799/admin/reload?key=hidden"),
        "post http://127.0.0.1:8799/admin/reload?d5e333ba"
    );
}

#[tokio::test]
async fn a_post_carries_the_summary_and_the_token_of_the_moment() {
    let (address, mut seen) = api(&[("204 No Content", "")]).await;
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    let target = AnnounceSettings { token_file: Some(token_file.clone()), ..post(address) };

    for token in ["first", "second"] {
        fs::write(&token_file, format!("  {token}\n")).unwrap();
        assert_eq!(output(deliver(&target).await), "");

        let request = seen.recv().await.unwrap();
        assert!(request.starts_with("POST /admin/reload?key=hidden HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("content-type: application/json\r\n"), "{request}");
        assert!(request.contains(&format!("authorization: Bearer {token}\r\n")), "{request}");
        assert_eq!(request.split_once("\r\n\r\n").unwrap().1, BODY);
    }
}

#[tokio::test]
async fn every_answer_but_2xx_is_a_refusal_that_says_what_was_found() {
    let cases: [(&'static [(&str, &str)], &str); 4] = [
        (&[("503 Busy", "")], "found 503"),
        (&[("401 No", "who are\nyou? \u{1b}[2J")], r"found 401; answer: who are\nyou? \u{1b}[2J"),
        (&[("307 There\r\nlocation: /admin/reload/", "")], "found 307; answer: go to /admin/reload/"),
        (&[("304 Same", "")], "found 304"),
    ];
    for (answers, expected) in cases {
        let (address, _seen) = api(answers).await;

        let message = refusal(deliver(&post(address)).await);

        let prefix = format!("announce to http://{address}/admin/reload: expected a status of 200 to 299, ");
        assert_eq!(message, prefix + expected);
    }
}

#[tokio::test]
async fn no_answer_is_an_error_within_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target =
        AnnounceSettings { timeout: Duration::from_millis(200), ..post(silent.local_addr().unwrap()) };

    let error = deliver(&target).await.unwrap_err();

    assert!(matches!(&error, DeliverError::Request { source: HttpError::Timeout { .. }, .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
}

#[tokio::test]
async fn a_token_that_cannot_be_used_sends_nothing_and_shows_nothing() {
    let (address, mut seen) = api(&[("200 OK", "")]).await;
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    let target = AnnounceSettings { token_file: Some(token_file.clone()), ..post(address) };
    for content in [None, Some(""), Some("two sesames"), Some("ses\u{e4}me")] {
        if let Some(content) = content {
            fs::write(&token_file, content).unwrap();
        }

        let error = deliver(&target).await.unwrap_err();

        assert!(matches!(error, DeliverError::Token { .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("ses"), "{error:?}");
    }
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn a_build_is_confirmed_once_the_answer_shows_its_id() {
    let health = r#"{"status":"ok","build":"20261127T195431Z-258913"}"#;
    let answers = Box::leak(Box::new([
        ("200 OK", r#"{"build":"20261121T000000Z-000000"}"#),
        ("503 Loading", health),
        ("200 OK", health),
    ]));
    let (address, mut seen) = api(answers).await;

    assert_eq!(output(deliver(&confirmed_by(address)).await), "reloaded");

    for _ in 0..3 {
        assert!(seen.recv().await.unwrap().starts_with("GET /health HTTP/1.1\r\n"));
    }
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn a_build_that_is_never_shown_is_an_error_with_the_last_answer() {
    let cases: [(&'static [(&str, &str)], &str); 2] = [
        (&[("200 OK", "old")], "found status 200 without the id"),
        (&[("500 Oops", BUILD)], "found status 500"),
    ];
    for (answers, expected) in cases {
        let (address, mut seen) = api(answers).await;
        let target = AnnounceSettings { timeout: Duration::from_millis(1500), ..confirmed_by(address) };

        let error = deliver(&target).await.unwrap_err().to_string();

        let prefix = "announce accepted, but not confirmed: expected build";
        assert_eq!(error, format!("{prefix} {BUILD} at http://{address}/health within 1.5s, {expected}"));
        assert!(seen.recv().await.is_some() && seen.recv().await.is_some(), "it asked again");
    }
}
