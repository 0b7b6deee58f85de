//! What each answer of a provider costs: every text that left the host is counted, however it was answered.

use std::time::Duration;

use crate::support::World;
use crate::support::provider::{Fault, Seen};

/// Answers each request as `fault` decides.
fn answer_by(world: &World, fault: impl Fn(&Seen) -> Option<Fault> + Send + 'static) {
    world.provider.schedule(move |seen| (fault(seen), Duration::ZERO));
}

fn has(seen: &Seen, part: &str) -> bool {
    seen.texts.iter().any(|text| text.contains(part))
}

#[test]
fn vectors_of_another_length_end_the_attempt_and_no_text_is_sent_twice() {
    let world = World::with_people(400);
    answer_by(&world, |_| Some(Fault::WrongDimension(3)));

    let ran = world.run(&["build", "--json"]);

    assert_eq!(ran.code, 1, "{ran:?}");
    for part in ["embedding.dimension", "found one of 3"] {
        assert!(ran.text("error").contains(part), "{part}: {ran:?}");
    }
    assert!(world.provider.text_count() <= 401, "{} texts", world.provider.text_count());
}

#[test]
fn one_vector_that_cannot_be_used_costs_its_neighbours_nothing() {
    for quarantine in [0, 1] {
        let world = World::with_people(100);
        world.settings(&format!("[guard]\nquarantine = {quarantine}\n"));
        // The fault makes the last vector zero.
        answer_by(&world, |seen| seen.texts.last()?.contains("person 100.").then_some(Fault::Zeros));

        let ran = world.run(&["build", "--json"]);

        assert_eq!(ran.code, i32::from(quarantine == 0), "{ran:?}");
        assert!(quarantine > 0 || ran.text("error").contains("row id=100"), "{ran:?}");
        assert_eq!(world.provider.text_count(), 103, "once more alone, the witness, and again");
        world.provider.assert_money(100);
    }
}

#[test]
fn a_text_that_the_server_fails_over_is_named_and_does_not_hold_up_the_others() {
    let world = World::with_people(40);
    world.settings("[embedding]\nbatch_size = 10\n[guard]\nquarantine = 1\n");
    answer_by(&world, |seen| has(seen, "person 40.").then_some(Fault::ServerError(500)));

    let ran = world.build();

    assert_eq!((ran.number("records"), ran.number("embedded")), (39, 39));
    world.provider.assert_money(40);
}

#[test]
fn a_number_of_texts_that_is_refused_is_found_and_named() {
    let world = World::with_people(200);
    world.ask_openai("");
    let refused = r#"{"error": "batch size > maximum allowed batch size 10", "error_type": "Validation"}"#;
    answer_by(&world, move |seen| (seen.texts.len() > 10).then(|| Fault::Status(422, refused.to_owned())));

    let ran = world.run(&["build", "--json"]);

    assert_eq!((ran.code, ran.number("records")), (0, 200), "{ran:?}");
    assert!(ran.stderr.contains("set embedding.batch_size ="), "{ran:?}");
    let refused = world.provider.requests().iter().filter(|seen| seen.texts.len() > 10).count();
    assert!(refused <= 16, "{refused} requests were too large");
    world.provider.assert_money(200);
}

#[test]
fn a_server_that_is_not_ready_costs_no_served_row_its_place() {
    let answers = [(400, "No models loaded."), (499, "cancelled"), (424, "Backend error"), (500, "CUDA")];
    for (status, message) in answers {
        let world = World::with_people(20);
        let settings = "[embedding]\nretry_budget = \"1s\"\n[guard]\nquarantine = 5\n";
        world.settings(settings);
        world.build();
        world.sql("UPDATE experts SET bio = 'Another one.' WHERE id = 7");
        world.provider.forget();
        let body = format!("{{\"error\": \"{message}\"}}");
        answer_by(&world, move |_| Some(Fault::Status(status, body.clone())));

        let ran = world.run(&["build", "--json"]);

        assert_eq!((ran.code, world.records().len()), (1, 20), "{status}: {ran:?}");
        assert!(world.provider.text_count() <= 8, "{status}: {} texts", world.provider.text_count());
        answer_by(&world, |_| None);
        assert_eq!(world.build().number("records"), 20, "{status}");
    }
}

#[test]
fn an_outage_costs_one_text_a_try() {
    let world = World::with_people(400);
    world.settings("[embedding]\nretry_budget = \"3s\"\n");
    answer_by(&world, |_| Some(Fault::ServerError(503)));

    let ran = world.run(&["build", "--json"]);

    assert_eq!(ran.code, 1, "{ran:?}");
    let sizes: Vec<_> = world.provider.requests().iter().map(|seen| seen.texts.len()).collect();
    assert!(sizes[4..].iter().all(|texts| *texts == 1), "{sizes:?}");
}

#[test]
fn an_error_for_each_text_of_an_answer_is_read_as_the_status_it_names() {
    let answers = [
        (r#"{"data":[{"index":0,"error":{"code":503,"message":"overloaded"}}]}"#, 3),
        (r#"{"data":[{"index":0,"embedding":null,"error":{"code":"429","message":"slow down"}}]}"#, 3),
        (r#"{"error":{"code":500,"message":"internal"}}"#, 3),
        (r#"{"data":[{"index":0,"embedding":[],"error":"overloaded"}]}"#, 3),
    ];
    for (body, rows) in answers {
        let world = World::with_people(rows);
        world.ask_openai("batch_size = 1\nconcurrency = 1");
        world.provider.script((0..2).map(|_| Fault::Status(200, body.to_owned())));

        let ran = world.run(&["build", "--json"]);

        // What time may end is tried again, and no row is blamed for it.
        assert_eq!((ran.code, ran.number("records")), (0, u64::from(rows)), "{body}: {ran:?}");
        assert_eq!(world.provider.text_count(), rows as usize + 2, "{body}");
    }
}
