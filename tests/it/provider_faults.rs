//! A faulty provider: transient failures are retried, permanent ones end the attempt at once, and
//! nothing wrong is ever served.

use std::time::{Duration, Instant};

use crate::support::provider::Fault;
use crate::support::{MODEL, OPENAI_MODEL, Ran, World};

#[test]
fn a_transient_fault_costs_at_most_two_more_requests_and_never_a_wrong_vector() {
    at_once(passing_faults(), |fault| {
        let world = World::with_people(2);
        settings(&world, "batch_size = 1\nconcurrency = 1\nrequest_timeout = \"2s\"\n");
        // The first text shows that the provider works.
        world.provider.script([Fault::SlowDrip { bytes: usize::MAX, every: Duration::ZERO }, fault.clone()]);

        let ran = world.build();

        assert_eq!((world.provider.script_left(), ran.number("embedded")), (0, 2), "{fault:?}");
        // Where the text may be at fault, another one is sent in between.
        assert!((3..=4).contains(&world.provider.text_count()), "{fault:?}: {}", world.provider.text_count());
        assert_eq!(ran.number("requests"), world.provider.text_count() as u64, "{fault:?}");
        world.assert_true(MODEL);
        world.assert_proven();
    });
}

#[test]
fn a_lasting_fault_ends_the_attempt_with_its_message_after_the_budget() {
    let rate_limited = Fault::RateLimited { retry_info: Some("0.05s"), retry_after: None };
    let cases = vec![
        (rate_limited, "status 429: You exceeded your current quota"),
        (Fault::ServerError(503), "status 503: The model is overloaded. Please try again later."),
        // The rows have the word `title` as a value, which is not repeated.
        (Fault::ServerError(502), "status 502: <html><(text)>502 Bad Gateway</(text)></html>"),
        (Fault::Status(408, String::new()), "status 408"),
        (Fault::Hang, "within 300ms"),
        (Fault::StallInBody, "within 300ms"),
        (Fault::ResetBeforeAnswer, "no answer from http://127.0.0.1:"),
        (Fault::CloseBeforeAnswer, "no answer from http://127.0.0.1:"),
        (Fault::CutOffBody, "no answer from http://127.0.0.1:"),
        (Fault::FewerVectors(1), "expected 1 vectors, one per text, found 0"),
        (Fault::MoreVectors(1), "expected 1 vectors, one per text, found 2"),
        (Fault::WrongDimension(31), "expected vectors of 32 floats, found one of 31"),
        (Fault::NotANumber, "not finite"),
        (Fault::NullComponent, "not finite"),
        (Fault::Infinite, "not finite"),
        (Fault::Zeros, "is zero and has no direction"),
        (Fault::GarbageBody, "unreadable answer"),
        (Fault::EmptyBody, "unreadable answer"),
        (Fault::HugeBody(64 << 20), "is larger than"),
        (Fault::ErrorInside200, "You exceeded your current quota"),
    ];
    at_once(cases, |(fault, message)| {
        let (world, first) = served_world();
        let silent = matches!(fault, Fault::Hang | Fault::StallInBody);
        let timeout = if silent { "300ms" } else { "10s" };
        settings(&world, &format!("request_timeout = \"{timeout}\"\nretry_budget = \"700ms\"\n"));
        world.provider.always(Some(fault.clone()));
        let begun = Instant::now();

        let ran = world.run(&["build", "--json"]);

        let took = begun.elapsed();
        assert_failed(&world, &ran, &first, message);
        assert!(world.provider.request_count() >= 2, "{fault:?}: no second try");
        // What is wrong each time does not pass with time, and ends sooner.
        let is_wrong =
            message.starts_with("expected") || message.contains("not finite") || message.contains("zero");
        assert!(is_wrong || took >= Duration::from_millis(650), "{fault:?}: ended after {took:?}");
        assert!(world.provider.text_count() <= 8, "{fault:?}: {} texts", world.provider.text_count());
        assert!(took < Duration::from_secs(8), "{fault:?}: {took:?}");
        assert_eq!(ran.number("requests"), world.provider.request_count() as u64, "{fault:?}");
    });
}

#[test]
fn a_permanent_error_ends_the_attempt_at_the_first_request_with_its_message() {
    let elsewhere = World::new();
    let there = elsewhere.provider.base_url();
    let cases = [
        (Fault::KeyInvalid, "API key not valid. Please pass a valid API key."),
        (Fault::Forbidden, "status 403: Your project has been denied access. Please contact support."),
        (Fault::ModelNotFound, "status 404: models/MODEL is not found, or has no embeddings."),
        (Fault::PerDayQuota, "quota or credit is used up: status 429: "),
        (Fault::InsufficientQuota, "quota or credit is used up: status 429: You"),
        (Fault::Redirect(there.clone()), there.as_str()),
        (Fault::Status(401, "who are you".to_owned()), "status 401: who are you"),
        (Fault::Status(402, String::new()), "quota or credit is used up: status 402"),
        (Fault::Status(405, String::new()), "status 405"),
    ];
    let cases = cases.iter().flat_map(|case| ["gemini", "openai"].map(|api| (case, api)));
    at_once(cases.collect(), |((fault, message), api)| {
        let (world, first) = served_world();
        let budget = "retry_budget = \"3s\"\n";
        if api == "openai" {
            world.ask_openai(budget);
        } else {
            settings(&world, budget);
        }
        world.provider.always(Some(fault.clone()));
        let begun = Instant::now();

        let ran = world.run(&["build", "--accept-space", "--json"]);

        let model = if api == "openai" { OPENAI_MODEL } else { MODEL };
        assert_failed(&world, &ran, &first, &message.replace("MODEL", model));
        assert_eq!(world.provider.request_count(), 1, "{api} {fault:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{api} {fault:?}: {:?}", begun.elapsed());
    });
    assert_eq!(elsewhere.provider.request_count(), 0, "a redirect is not followed");
}

#[test]
fn an_answer_in_another_form_or_in_small_pieces_is_as_good_as_any() {
    for fault in [Fault::NumbersAsStrings, Fault::SlowDrip { bytes: 300, every: Duration::from_millis(5) }] {
        let world = World::with_people(6);
        world.provider.always(Some(fault.clone()));

        let ran = world.build();

        assert_eq!((ran.number("requests"), ran.number("records")), (1, 6), "{fault:?}");
        world.assert_true(MODEL);
    }
}

#[test]
fn a_provider_that_is_not_there_is_named_and_costs_no_more_than_the_budget() {
    let (world, first) = served_world();
    settings(&world, "retry_budget = \"300ms\"\n");
    let gone = crate::support::provider::Provider::start().base_url();

    let mut command = world.command(&["build", "--json"]);
    let ran = crate::support::run(command.env("GOOGLE_GEMINI_BASE_URL", &gone));

    assert_failed(&world, &ran, &first, &format!("no answer from {gone}"));
}

/// Faults that do not occur at the second try.
fn passing_faults() -> Vec<Fault> {
    let limited = |retry_info, retry_after: Option<&str>| Fault::RateLimited {
        retry_info,
        retry_after: retry_after.map(str::to_owned),
    };
    vec![
        limited(Some("0.35s"), None),
        limited(Some("0s"), None),
        limited(None, None),
        limited(None, Some("1")),
        limited(None, Some("0.5")),
        limited(None, Some("-1")),
        limited(None, Some("soon")),
        limited(None, Some("Wed, 21 Oct 2015 07:28:00 GMT")),
        Fault::ServerError(500),
        Fault::ServerError(502),
        Fault::ServerError(503),
        Fault::ServerError(504),
        Fault::Status(408, String::new()),
        Fault::Status(500, "{\"error\": [".to_owned()),
        Fault::Hang,
        Fault::ResetBeforeAnswer,
        Fault::CloseBeforeAnswer,
        Fault::CutOffBody,
        Fault::StallInBody,
        Fault::FewerVectors(1),
        Fault::MoreVectors(1),
        Fault::WrongDimension(31),
        Fault::WrongDimension(3072),
        Fault::NotANumber,
        Fault::NullComponent,
        Fault::Infinite,
        Fault::Zeros,
        Fault::GarbageBody,
        Fault::HugeBody(16 << 20),
        Fault::ErrorInside200,
        Fault::EmptyBody,
    ]
}

/// Three people served, a fourth in the table, nothing recorded yet.
fn served_world() -> (World, String) {
    let world = World::with_people(3);
    let first = world.build().text("build");
    world.add_people([4]);
    world.provider.forget();
    (world, first)
}

fn settings(world: &World, embedding: &str) {
    world.settings(&format!("[embedding]\n{embedding}"));
}

/// Asserts that the attempt failed with this message, and that the build of before is served and proven.
#[track_caller]
fn assert_failed(world: &World, ran: &Ran, first: &str, message: &str) {
    assert_eq!((ran.code, ran.text("outcome")), (1, "failed".to_owned()), "{message}: {ran:?}");
    assert!(ran.text("error").contains(message), "{message}: {ran:?}");
    assert!(ran.stderr.contains(message) && ran.stderr.contains(first), "{message}: {ran:?}");
    assert_eq!((ran.text("build"), world.served()), (first.to_owned(), Some(first.to_owned())), "{message}");
    assert_eq!((world.records().len(), world.staging().len()), (3, 0), "{message}");
    let requests = world.provider.request_count();
    world.assert_proven();
    assert_eq!(world.provider.request_count(), requests, "{message}");
}

/// Runs `test` on each case, a few at a time: they mostly wait.
fn at_once<C: Send>(cases: Vec<C>, test: impl Fn(C) + Sync) {
    let cases = std::sync::Mutex::new(cases.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let Some(case) = cases.lock().unwrap().next() else { return };
                    test(case);
                }
            });
        }
    });
}
