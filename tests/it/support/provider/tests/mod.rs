//! What the other chapters assume about the provider.

mod client;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Api, CustomAnswer, Fault, Provider, Right, Then, vector};
use client::{Client, GEMINI, OPENAI, Post, SOON, gemini, indices, openai, vectors};

#[test]
fn a_vector_follows_from_model_and_text_and_is_not_of_unit_length() {
    let one = vector(GEMINI, "a bio", 768);
    assert_eq!(one[..3], [0.749_742_03, 0.101_700_29, -0.785_636_25], "the same on every machine");
    assert_eq!(one, vector(GEMINI, "a bio", 768));
    assert_eq!(one, vector(GEMINI, "a bio", 3072)[..768]);
    assert_ne!(one, vector(GEMINI, "another", 768));
    assert_ne!(one, vector(OPENAI, "a bio", 768));
    assert!(one.iter().all(|component| (-1.0..1.0).contains(component)));
    let length: f32 = one.iter().map(|component| component * component).sum::<f32>().sqrt();
    assert!((10.0..20.0).contains(&length), "{length}");
}

#[test]
fn both_apis_answer_with_the_vectors_that_a_test_can_compute() {
    let provider = Provider::start();
    let mut client = Client::of(&provider);
    let expected = [vector(GEMINI, "é", 5), vector(GEMINI, "\u{1f980}\n", 5)];
    assert_eq!(vectors(&client.post(&gemini(&["é", "\u{1f980}\n"])).json()), expected);

    let expected = [vector(OPENAI, "a", 7), vector(OPENAI, "b", 7)];
    let body = json!({"model": OPENAI, "input": ["a", "b"], "dimensions": 7});
    assert_eq!(vectors(&client.post(&openai(&body)).json()), expected);
    let body = json!({"model": OPENAI, "input": ["a", "b"], "dimensions": 7, "encoding_format": "base64"});
    assert_eq!(vectors(&client.post(&openai(&body)).json()), expected);
}

#[test]
fn a_request_is_recorded_as_it_came() {
    let provider = Provider::start();
    let mut client = Client::of(&provider);
    client.post(&gemini(&["a", "b"]));
    client.post(&openai(&json!({"model": OPENAI, "input": "c"})));
    assert_eq!(client.post(&Post { path: "/v2/models", ..gemini(&["d"]) }).status, 404);

    let seen = provider.requests();
    assert_eq!(
        seen.iter().map(|seen| seen.api).collect::<Vec<_>>(),
        [Some(Api::Gemini), Some(Api::OpenAi), None]
    );
    assert_eq!((seen[0].model.as_str(), seen[0].dimension), (GEMINI, Some(5)));
    assert_eq!((seen[0].task_type.as_deref(), seen[0].key()), (Some("RETRIEVAL_DOCUMENT"), Some("secret")));
    assert_eq!((seen[1].model.as_str(), seen[1].dimension, seen[1].key()), (OPENAI, None, Some("secret")));
    assert_eq!(seen[0].json(), gemini(&["a", "b"]).body);
    assert!(seen.iter().all(|seen| seen.connection == 0), "one connection, kept alive");
    assert_eq!(provider.texts_seen(), ["a", "b", "c"]);
    assert_eq!((provider.request_count(), provider.text_count(), provider.peak()), (3, 3, 1));
    assert_eq!(provider.items_in_window(SOON), 3);
    assert_eq!(provider.items_in_window(Duration::ZERO), 0);

    provider.forget();
    assert_eq!((provider.request_count(), provider.text_count()), (0, 0));
}

#[test]
fn what_the_services_refuse_is_refused() {
    let provider = Provider::start();
    let texts = vec!["x"; 101];
    let mut foreign = gemini(&["a", "b"]);
    foreign.body["requests"][1]["model"] = json!("gemini-embedding-001");
    let cases = [
        (gemini(&texts[..100]), 200),
        (gemini(&texts), 400),
        (gemini(&["a", ""]), 400),
        (gemini(&[&"x".repeat(4_194_304)]), 400),
        (foreign, 400),
        (Post { body: json!({}), ..gemini(&[]) }, 400),
        (Post { key: ("x-goog-api-key", ""), ..gemini(&["a"]) }, 403),
        (Post { key: ("authorization", "Bearer secret"), ..gemini(&["a"]) }, 403),
        (Post { path: "/models/gemini-embedding-001:batchEmbedContents", ..gemini(&["a"]) }, 404),
        (openai(&json!({"model": OPENAI, "input": vec!["x"; 2048], "dimensions": 1})), 200),
        (openai(&json!({"model": OPENAI, "input": vec!["x"; 2049], "dimensions": 1})), 400),
        (openai(&json!({"model": OPENAI, "input": ["a", ""]})), 400),
        (openai(&json!({"input": ["a"]})), 400),
    ];
    for (place, (post, status)) in cases.iter().enumerate() {
        assert_eq!(Client::of(&provider).post(post).status, *status, "case {place}");
    }
}

#[test]
fn faults_come_in_the_order_of_the_script_and_then_end() {
    let provider = Provider::start();
    let mut client = Client::of(&provider);
    let gemini = gemini(&["a", "b"]);
    let openai = openai(&json!({"model": OPENAI, "input": ["a", "b"], "dimensions": 5}));
    for (fault, status, in_gemini, in_openai) in faults_with_message() {
        for (post, piece) in [(&gemini, in_gemini), (&openai, in_openai)] {
            provider.script([fault.clone()]);
            let answer = client.post(post);
            let text = String::from_utf8_lossy(&answer.body);
            assert_eq!(answer.status, status, "{fault:?}");
            assert!(text.contains(piece), "{fault:?}: expected {piece}, found {text}");
        }
    }
    provider.script([limited(None, Some("2")), Fault::KeyInvalid, Fault::Redirect("/elsewhere".to_owned())]);
    assert_eq!(client.post(&gemini).headers["retry-after"], "2");
    assert_eq!(client.post(&openai).status, 401);
    assert_eq!(client.post(&gemini).headers["location"], "/elsewhere");
    assert_eq!(client.post(&gemini).status, 200);
    assert_eq!(provider.script_left(), 0);
}

/// A fault, its status, and a piece of its body from Gemini and from `OpenAI`.
fn faults_with_message() -> Vec<(Fault, u16, &'static str, &'static str)> {
    vec![
        (limited(Some("0s"), None), 429, r#""retryDelay": "0s""#, "again in 0s"),
        (limited(None, None), 429, "PerMinute", "rate_limit_exceeded"),
        (Fault::PerDayQuota, 429, "RequestsPerDay", "(RPD)"),
        (Fault::InsufficientQuota, 429, "credits", "insufficient_quota"),
        (Fault::ServerError(503), 503, "UNAVAILABLE", "server_error"),
        (Fault::ServerError(502), 502, "<html>", "<html>"),
        (Fault::Status(418, "tea".to_owned()), 418, "tea", "tea"),
        (Fault::Forbidden, 403, "PERMISSION_DENIED", "request_forbidden"),
        (Fault::ModelNotFound, 404, "NOT_FOUND", "model_not_found"),
        (Fault::InvalidArgument, 400, "INVALID_ARGUMENT", "invalid_request_error"),
        (Fault::NotANumber, 200, ",NaN,", ",NaN,"),
        (Fault::NullComponent, 200, ",null,", ",null,"),
        (Fault::Infinite, 200, ",1e39,", ",1e39,"),
        (Fault::Zeros, 200, "[0.00000000,0.0", "[0.00000000,0.0"),
        (Fault::NumbersAsStrings, 200, r#"[""#, r#"[""#),
        (Fault::GarbageBody, 200, "\u{fffd}", "\u{fffd}"),
        (Fault::ErrorInside200, 200, "RESOURCE_EXHAUSTED", "rate_limit_exceeded"),
        (Fault::EmptyBody, 200, "", ""),
    ]
}

fn limited(retry_info: Option<&'static str>, retry_after: Option<&str>) -> Fault {
    let retry_after = retry_after.map(str::to_owned);
    Fault::RateLimited { retry_info, retry_after }
}

#[test]
fn counts_dimensions_and_indices_go_wrong_as_asked() {
    let provider = Provider::start();
    let mut client = Client::of(&provider);
    let post = openai(&json!({"model": OPENAI, "input": ["a", "b", "c"], "dimensions": 5}));
    let [a, b, c] = ["a", "b", "c"].map(|text| vector(OPENAI, text, 5));
    provider.script([
        Fault::FewerVectors(2),
        Fault::MoreVectors(2),
        Fault::WrongDimension(3),
        Fault::ReorderedIndices,
        Fault::DuplicateIndices,
    ]);
    assert_eq!(vectors(&client.post(&post).json()), std::slice::from_ref(&a));
    assert_eq!(vectors(&client.post(&post).json()).len(), 5);
    assert!(vectors(&client.post(&post).json()).iter().all(|vector| vector.len() == 3));
    let reordered = client.post(&post).json();
    assert_eq!(vectors(&reordered), [c, b, a]);
    assert_eq!(indices(&reordered), [2, 1, 0]);
    assert_eq!(indices(&client.post(&post).json()), [0, 1, 0]);
    assert_eq!(provider.times_sent("a"), 5);
    assert_eq!(provider.times_answered("a"), 1, "a wrong answer counts for nothing");
}

#[test]
fn a_connection_fails_on_the_wire_as_asked() {
    let provider = Provider::start();
    let post = gemini(&["a"]);
    let fail = |fault: Fault| {
        provider.script([fault]);
        Client::of(&provider).try_post(&post).map(|answer| answer.body.len()).map_err(|error| error.kind())
    };
    assert_eq!(fail(Fault::ResetBeforeAnswer), Err(io::ErrorKind::ConnectionReset));
    assert_eq!(fail(Fault::CloseBeforeAnswer), Err(io::ErrorKind::UnexpectedEof));
    assert_eq!(fail(Fault::CutOffBody), Err(io::ErrorKind::UnexpectedEof));
    assert_eq!(fail(Fault::HugeBody(1_000_000)), Ok(1_000_000));
    let whole = fail(Fault::SlowDrip { bytes: 20, every: Duration::from_millis(1) });
    assert_eq!(whole, Ok(Client::of(&provider).post(&post).body.len()));
    assert_eq!(provider.times_answered("a"), 2, "dripped and whole");
    assert_eq!(provider.answered_twice(), ["a"]);
}

#[test]
fn a_custom_answer_is_sent_as_it_was_made_and_counts_as_it_says() {
    fn said(right: &Right, what: &str) -> Vec<u8> {
        let head =
            format!("HTTP/1.1 200 OK\r\nx-said: {what}\r\ncontent-length: {}\r\n\r\n", right.body.len());
        [head.as_bytes(), &right.body].concat()
    }
    fn cut(right: &Right, what: &str) -> Vec<u8> {
        said(right, what).split_last().map(|(_, all_but_it)| all_but_it.to_vec()).unwrap_or_default()
    }
    let provider = Provider::start();
    let custom = CustomAnswer { what: "so", make: said, then: Then::GoOn, right: true };
    let drip = Then::Drip(Duration::from_millis(1));
    provider.script([
        Fault::Custom(custom),
        Fault::Custom(CustomAnswer { right: false, ..custom }),
        Fault::Custom(CustomAnswer { make: cut, then: drip, right: false, ..custom }),
    ]);
    let mut client = Client::of(&provider);

    for _ in 0..2 {
        let answer = client.post(&gemini(&["a"]));
        assert_eq!(answer.headers["x-said"], "so");
        assert_eq!(vectors(&answer.json()), [vector(GEMINI, "a", 5)]);
    }
    assert!(client.try_post(&gemini(&["b"])).is_err(), "its last byte never arrives");
    assert_eq!((provider.times_answered("a"), provider.request_count()), (1, 3));
}

#[test]
fn a_schedule_chooses_fault_and_wait_of_each_request() {
    let provider = Provider::start();
    let wait = Duration::from_millis(30);
    provider.schedule(move |seen| (seen.texts.contains(&"b".to_owned()).then_some(Fault::Forbidden), wait));
    let mut client = Client::of(&provider);

    assert_eq!((client.post(&gemini(&["a"])).status, client.post(&gemini(&["b"])).status), (200, 403));
    assert!(provider.requests().iter().all(|seen| seen.answered_after().is_some_and(|after| after >= wait)));
}

#[test]
fn a_failing_text_fails_only_its_own_request() {
    let provider = Provider::start();
    let mut client = Client::of(&provider);
    provider.fail_text("bad");
    assert_eq!(client.post(&gemini(&["a", "is bad", "b"])).status, 400);
    assert_eq!(client.post(&gemini(&["a", "b"])).status, 200);
    provider.clear_fault();
    assert_eq!(client.post(&gemini(&["is bad"])).status, 200);
}

#[test]
fn a_wrong_key_is_refused_and_its_echo_has_it_in_full() {
    let provider = Provider::start();
    let mut client = Client::of(&provider);
    provider.refuse_key_other_than("another");
    let refused = client.post(&gemini(&["a"]));
    let message = String::from_utf8(refused.body).unwrap();
    assert_eq!(refused.status, 400);
    assert!(message.contains("API_KEY_INVALID") && !message.contains("secret"), "{message}");

    provider.refuse_key_other_than("secret");
    assert_eq!(client.post(&gemini(&["a"])).status, 200);
    provider.script([Fault::KeyEchoed]);
    let message = String::from_utf8(client.post(&gemini(&["a"])).body).unwrap();
    assert!(message.contains("provided: secret."), "{message}");
}

#[test]
fn held_answers_wait_until_they_are_released() {
    let provider = Provider::start();
    provider.hold();
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..4).map(|_| scope.spawn(|| Client::of(&provider).post(&gemini(&["a"])).status)).collect();
        assert!(provider.wait_for_in_flight(4, SOON));
        provider.hold_after(1);
        assert!(provider.wait_for_answers(1, SOON));
        assert!(provider.wait_for_in_flight(3, SOON));
        assert!(!provider.wait_for_answers(2, Duration::from_millis(20)));
        provider.release();
        assert!(clients.into_iter().all(|client| client.join().unwrap() == 200));
    });
    assert_eq!((provider.peak(), provider.in_flight()), (4, 0));
}

#[test]
fn an_answer_is_never_earlier_than_the_latency() {
    let provider = Provider::start();
    provider.set_latency(Duration::from_millis(30));
    let begun = Instant::now();
    Client::of(&provider).post(&gemini(&["a"]));
    assert!(begun.elapsed() >= Duration::from_millis(30));
}

#[test]
fn neither_waiting_nor_odd_clients_keep_a_provider_from_ending() {
    let provider = Provider::start();
    let mut left: Vec<Client> = Vec::new();
    for fault in [Fault::Hang, Fault::StallInBody, Fault::HugeBody(usize::MAX), Fault::ResetBeforeAnswer] {
        provider.script([fault]);
        let mut client = Client::of(&provider);
        client.send(&gemini(&["a"])).unwrap();
        left.push(client);
        assert!(provider.wait_for_requests(left.len(), SOON));
    }
    for odd in [
        "",
        "\r\n",
        "GET",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf",
    ] {
        let mut client = Client::of(&provider);
        client.send_bytes(odd.as_bytes()).unwrap();
        left.push(client);
    }
    assert!(provider.wait_for_in_flight(1, SOON), "the hung one");
    drop(left.remove(0));
    assert!(provider.wait_for_in_flight(0, SOON), "its client has left");

    provider.hold();
    let mut held = Client::of(&provider);
    held.send(&gemini(&["a"])).unwrap();
    assert!(provider.wait_for_in_flight(1, SOON));
    let shared = Arc::clone(&provider.shared);
    let begun = Instant::now();
    drop(provider);
    assert_eq!(shared.lock().threads, 0);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn a_test_fails_at_its_end_if_more_was_sent_than_the_law_of_money_allows() {
    let texts: Vec<String> = (0..100).map(|number| format!("text {number}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let refused = Fault::Status(429, "no".to_owned());
    let failed = Fault::ServerError(500);
    // The answers, and what the law says of them.
    let cases: [(&[Option<&Fault>], &str); 6] = [
        (&[None], ""),
        (&[Some(&failed), Some(&failed), None], ""),
        (&[Some(&failed), Some(&failed), Some(&failed)], "300 texts were sent for 0 vectors"),
        (&[Some(&refused), Some(&refused), Some(&refused), Some(&refused)], ""),
        (&[None, None], "answered more than once: 2 times"),
        (&[Some(&failed), Some(&failed), Some(&failed), None, Some(&failed)], "500 texts were sent for 100"),
    ];
    for (answers, expected) in cases {
        for forgets in [false, true] {
            let provider = Provider::start();
            let mut client = Client::of(&provider);
            provider.shared.change(|state| state.excuse = None);
            for answer in answers {
                provider.script(answer.cloned());
                client.post(&gemini(&texts));
                if forgets {
                    provider.forget();
                }
            }

            let end = catch_unwind(AssertUnwindSafe(|| drop(provider)));

            let message = end.err().map(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default());
            assert_eq!(message.is_some(), !expected.is_empty(), "{message:?}, expected {expected:?}");
            assert!(message.unwrap_or_default().contains(expected), "{expected:?}");
        }
    }
}

#[test]
fn the_law_of_money_is_asserted_at_the_end_of_each_life_and_for_each_alone() {
    let texts: Vec<String> = (0..100).map(|number| format!("text {number}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    // For each life: how many requests fail, and how many are answered.
    let cases: [(&[(usize, usize)], bool, &str); 5] = [
        (&[(2, 1), (2, 1), (2, 1)], false, ""),
        (&[(2, 1), (3, 0), (0, 1)], false, "300 texts were sent for 0 vectors"),
        (&[(0, 1), (0, 2), (0, 1)], false, "answered more than once: 2 times"),
        (&[(0, 1), (0, 2), (0, 2)], true, ""),
        (&[(0, 1), (0, 2), (4, 0)], true, "400 texts were sent for 0 vectors"),
    ];
    for (lives, may_repeat, expected) in cases {
        let provider = Provider::start();
        let mut client = Client::of(&provider);
        provider.shared.change(|state| state.excuse = None);
        if may_repeat {
            provider.excuse_repeats("this client asks as it likes");
        }
        let ends: Vec<String> = lives
            .iter()
            .map(|&(fails, answers)| {
                provider.script(std::iter::repeat_n(Fault::ServerError(500), fails));
                for _ in 0..fails + answers {
                    client.post(&gemini(&texts));
                }
                let end = catch_unwind(AssertUnwindSafe(|| provider.begin_life()));
                end.err().and_then(|panic| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
            })
            .collect();

        let faults: Vec<&String> = ends.iter().filter(|end| !end.is_empty()).collect();
        assert_eq!(faults.len(), usize::from(!expected.is_empty()), "{faults:?}");
        assert!(ends.concat().contains(expected), "{ends:?}, expected {expected:?}");
    }
}
