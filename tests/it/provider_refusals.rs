//! A text that the provider refuses: found among the others, named by its row, or quarantined.

use crate::support::World;
use crate::support::provider::Fault;

#[test]
fn one_bad_text_is_named_by_its_row_and_the_others_are_embedded_once() {
    let world = World::with_people(16);
    world.provider.fail_text("Bio of person 5.");

    let failed = world.run(&["build", "--json"]);
    let requests = world.provider.request_count();
    world.provider.clear_fault();
    world.provider.forget();
    let built = world.build();

    assert_eq!((failed.code, failed.text("outcome")), (1, "failed".to_owned()), "{failed:?}");
    for message in ["row id=5:", "status 400: Request contains an invalid argument.", "guard.quarantine"] {
        assert!(failed.text("error").contains(message), "{message}: {failed:?}");
    }
    assert_eq!(failed.number("embedded"), 15, "{failed:?}");
    assert!(requests <= 14, "{requests} requests: two for each halving of 16, and two for the proof");
    assert_eq!((built.number("records"), built.number("embedded")), (16, 1));
    assert_eq!(world.provider.texts_seen().len(), 1, "only the fixed text is embedded");
}

#[test]
fn within_quarantine_a_refused_row_is_excluded_and_not_sent_until_it_changes() {
    let world = World::with_people(10);
    world.settings("[guard]\nquarantine = 1\n");
    world.provider.fail_text("person 5.");

    let first = world.build();
    let served_without: Vec<_> = world.records().into_iter().map(|record| record["id"].clone()).collect();
    let status = world.run(&["status", "--json"]).json();
    world.provider.forget();
    let second = world.build();
    world.add_people([11]);
    let third = world.build();
    let sent_again = world.provider.texts_seen();
    world.provider.clear_fault();
    world.sql("UPDATE experts SET bio = 'A better one.' WHERE id = 5");
    let fourth = world.build();

    assert_eq!(served_without, [1, 2, 3, 4, 6, 7, 8, 9, 10].map(serde_json::Value::from));
    assert_eq!((first.number("records"), &status["served"]["left_out"]), (9, &1.into()));
    assert_eq!(second.text("outcome"), "unchanged");
    assert_eq!((third.number("records"), third.number("embedded"), sent_again.len()), (10, 1, 1));
    assert!(sent_again[0].contains("Bio of person 11."), "{sent_again:?}");
    assert_eq!((fourth.number("records"), fourth.number("embedded")), (11, 1));
    world.assert_proven();
}

#[test]
fn one_more_bad_text_than_quarantine_allows_fails_the_build() {
    let world = World::with_people(10);
    world.settings("[guard]\nquarantine = 1\n");
    world.provider.fail_text("person 3.");
    world.provider.fail_text("person 4.");

    let ran = world.run(&["build", "--json"]);

    assert_eq!((ran.code, world.served()), (1, None), "{ran:?}");
    assert!(ran.text("error").contains("row id=3") || ran.text("error").contains("row id=4"), "{ran:?}");
    assert_eq!(world.staging().len(), 0);
}

#[test]
fn a_request_that_is_refused_whatever_its_texts_are_is_not_taken_for_bad_texts() {
    let world = World::with_people(16);
    world.settings("[guard]\nquarantine = 16\n");
    world.provider.always(Some(Fault::InvalidArgument));

    let ran = world.run(&["build", "--json"]);

    assert_eq!(
        (ran.code, world.provider.request_count()),
        (1, 3),
        "the whole batch, and a text of each half: {ran:?}"
    );
    assert!(ran.text("error").contains("refuses every request, not a single text"), "{ran:?}");
    assert!(ran.text("error").contains("Request contains an invalid argument."), "{ran:?}");
}

#[test]
fn a_text_larger_than_any_request_is_named_by_its_row() {
    let world = World::with_people(3);
    let bio = "x".repeat(5 << 20);
    world.connect().execute("UPDATE experts SET bio = ?1 WHERE id = 2", [bio]).unwrap();

    let ran = world.run(&["build", "--json"]);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.text("error").contains("row id=2: status 400: Request payload size exceeds"), "{ran:?}");
    assert!(ran.text("error").len() < 1000, "the text itself is not in the message");
    let alone = world.provider.requests().iter().all(|seen| seen.texts.len() == 1);
    assert!(alone, "no other text fails with it, and there is nothing left to split");
}
