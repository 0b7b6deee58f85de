//! Answers that ingest.py accepted, or refused too late: refused at once, and the old build stays served.

use std::time::{Duration, Instant};

use crate::support::provider::Fault;
use crate::support::{DIMENSION, MODEL, World};

/// A world with a build, and one person added since whose text must be embedded.
fn world() -> World {
    let world = World::with_people(6);
    world.build();
    world.provider.forget();
    world.add_people([7, 8]);
    world
}

/// Settings with which a build gives up soon.
const IMPATIENT: &str = "[embedding]\nretry_budget = \"200ms\"\nrequest_timeout = \"500ms\"\n";

#[test]
fn a_wrong_answer_is_refused_and_asked_for_again() {
    let wrong = [
        Fault::FewerVectors(1),
        Fault::MoreVectors(1),
        Fault::WrongDimension(DIMENSION - 1),
        Fault::NotANumber,
        Fault::NullComponent,
        Fault::Infinite,
        Fault::Zeros,
        Fault::EmptyBody,
        Fault::CutOffBody,
    ];
    for fault in wrong {
        let world = world();
        world.provider.script([fault.clone()]);

        let built = world.build();

        assert_eq!(built.number("embedded"), 2, "{fault:?}: {built:?}");
        assert!(built.number("requests") <= 3, "{fault:?}: {built:?}");
        world.assert_true(MODEL);
        world.assert_proven();
    }
}

#[test]
fn an_answer_that_stays_wrong_fails_the_build_and_no_wrong_vector_is_kept() {
    let wrong = [
        (Fault::FewerVectors(1), "expected 1 vectors, one per text, found 0", 2),
        (Fault::MoreVectors(1), "expected 1 vectors, one per text, found 2", 2),
        (Fault::WrongDimension(31), "expected vectors of 32 floats, found one of 31", 2),
        // The first vector of these answers is right and is kept.
        (Fault::NotANumber, "vector has a float that is not finite", 1),
        (Fault::Infinite, "vector has a float that is not finite", 1),
        (Fault::Zeros, "vector is zero", 1),
    ];
    for (fault, message, missing) in wrong {
        let world = world();
        world.settings(IMPATIENT);
        let before = world.served_build();
        world.provider.always(Some(fault.clone()));

        let ran = world.run(&["build"]);

        assert_eq!(ran.code, 1, "{fault:?}: {ran:?}");
        assert!(ran.stderr.contains(message), "{fault:?}: expected {message:?}: {ran:?}");
        assert!(
            ran.stderr.contains(&format!("build {} is still served", world.served().unwrap())),
            "{ran:?}"
        );
        world.assert_still_served(&before);

        world.provider.always(None);
        assert_eq!(world.build().number("embedded"), missing, "no wrong vector was kept: {fault:?}");
        world.assert_true(MODEL);
    }
}

#[test]
fn one_answer_short_and_the_next_long_puts_no_vector_on_a_wrong_row() {
    let world = World::with_people(8);
    world.settings("[embedding]\nbatch_size = 4\nconcurrency = 1\n");
    // Eight vectors for eight texts: the sum that ingest.py checked is right.
    world.provider.script([Fault::FewerVectors(1), Fault::MoreVectors(1)]);

    let built = world.build();

    assert_eq!(built.number("records"), 8);
    assert!(built.number("requests") <= 8, "{built:?}");
    world.assert_true(MODEL);
    world.assert_proven();
}

#[test]
fn numbers_given_as_strings_are_numbers_as_they_were() {
    let world = world();
    world.provider.script([Fault::NumbersAsStrings]);

    let built = world.build();

    assert_eq!(built.number("requests"), 1);
    world.assert_true(MODEL);
    world.assert_proven();
}

#[test]
fn an_answer_that_never_comes_ends_by_a_timeout() {
    for fault in [Fault::Hang, Fault::StallInBody] {
        let world = world();
        world.settings(IMPATIENT);
        let before = world.served_build();
        world.provider.always(Some(fault.clone()));
        let began = Instant::now();

        let ran = world.run(&["build"]);

        assert_eq!(ran.code, 1, "{fault:?}: {ran:?}");
        assert!(ran.stderr.contains("no answer from http://127.0.0.1"), "{fault:?}: {ran:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{fault:?}: {:?}", began.elapsed());
        world.assert_still_served(&before);
    }
}

#[test]
fn an_answer_that_does_not_come_once_is_asked_for_again() {
    let world = world();
    world.settings("[embedding]\nrequest_timeout = \"500ms\"\n");
    world.provider.script([Fault::Hang]);

    let built = world.build();

    // One text shows that the provider works, before the other one follows.
    assert_eq!((built.number("embedded"), built.number("requests")), (2, 3));
    world.assert_true(MODEL);
    world.assert_proven();
}

#[test]
fn a_permanent_error_fails_at_once_with_the_message_of_the_provider() {
    let refusals = [
        (Fault::KeyInvalid, "API key not valid. Please pass a valid API key."),
        (Fault::KeyEchoed, "Incorrect API key provided: ***."),
        (Fault::Forbidden, "Your project has been denied access. Please contact support."),
        (Fault::Status(401, String::from("{\"error\": {\"message\": \"Who are you?\"}}")), "Who are you?"),
        (Fault::ModelNotFound, "models/gemini-embedding-001 is not found"),
    ];
    for (fault, message) in refusals {
        let world = world();
        let before = world.served_build();
        world.provider.always(Some(fault.clone()));

        let ran = world.run(&["build"]);

        assert_eq!(ran.code, 1, "{fault:?}: {ran:?}");
        assert!(ran.stderr.contains(message), "{fault:?}: expected {message:?}: {ran:?}");
        assert!(!ran.stderr.contains("test-key"), "{ran:?}");
        assert_eq!(world.provider.request_count(), 1, "{fault:?}: more tries are useless");
        world.assert_still_served(&before);
    }
}
