//! `build --trust-adopted`: the vectors of ingest.py are kept where some of them were proven.
//!
//! Only rows whose whole record is that of ingest.py keep their vector, and only
//! after up to sixteen of them were embedded again and came out the same.

use std::collections::HashSet;

use crate::support::provider::{CustomAnswer, Fault, Right, Then};
use crate::support::{DIMENSION, MODEL, World, run};

const TRUSTING: [&str; 3] = ["build", "--trust-adopted", "--json"];

/// A host on which ingest.py has run.
fn host(people: u32) -> World {
    let world = World::with_people(people);
    world.ingest(DIMENSION);
    world
}

/// From now on the provider gives other vectors than those that ingest.py received.
fn turn(world: &World) {
    let make = |right: &Right, _: &str| {
        let body = right.turned().to_string();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let custom = CustomAnswer { what: "", make, then: Then::GoOn, right: true };
    world.provider.always(Some(Fault::Custom(custom)));
}

#[test]
fn unchanged_records_keep_their_vectors_after_a_few_came_out_the_same() {
    let world = host(40);
    world.add_people([41]);
    world.sql("UPDATE experts SET hourly_rate = 7 WHERE id = 3; UPDATE experts SET bio = 'New' WHERE id = 4");

    let built = world.run(&TRUSTING);

    assert_eq!(built.code, 0, "{built:?}");
    // New: a row, a text, and a record whose text is the same, since it is not the adopted one.
    assert_eq!((built.number("kept"), built.number("embedded"), built.number("records")), (38, 3, 41));
    let sent: HashSet<String> = world.provider.texts_seen().into_iter().collect();
    assert_eq!((world.provider.text_count(), sent.len()), (19, 19), "sixteen that were drawn, and three");
    assert_eq!(built.number("requests"), world.provider.request_count() as u64);
    world.assert_true(MODEL);
    world.assert_proven();
    assert_eq!(world.build().text("outcome"), "unchanged");
}

#[test]
fn vectors_that_come_out_otherwise_are_not_kept_and_it_says_so() {
    let world = host(40);
    turn(&world);

    let built = world.run(&TRUSTING);

    assert_eq!((built.code, built.number("embedded"), built.number("kept")), (0, 40, 0), "{built:?}");
    let message = "no adopted vectors are reused, every text is embedded: 16 texts were embedded again";
    assert!(built.stderr.contains(message), "{built:?}");
    assert_eq!(world.provider.text_count(), 40, "what was embedded for the proof is used");
    assert_eq!(world.provider.answered_twice(), [""; 0]);
}

#[test]
fn a_table_of_which_no_record_was_adopted_is_embedded_whole() {
    let world = host(5);
    world.sql("UPDATE experts SET hourly_rate = 9");

    let built = world.run(&TRUSTING);

    assert_eq!((built.code, built.number("embedded")), (0, 5), "{built:?}");
    assert!(built.stderr.contains("no row has a record that is in the adopted build"), "{built:?}");
    assert_eq!(world.provider.text_count(), 5);
}

#[test]
fn a_limit_on_texts_counts_those_that_remain_and_is_checked_before_anything_is_sent() {
    let world = host(40);
    world.add_people([41, 42, 43]);
    world.settings("[guard]\nmax_texts = 2\n");

    let refused = world.run(&TRUSTING);
    assert_eq!((refused.code, world.provider.request_count()), (3, 0), "{refused:?}");

    world.settings("[guard]\nmax_texts = 3\n");
    let built = world.run(&TRUSTING);
    assert_eq!((built.code, built.number("embedded"), built.number("kept")), (0, 3, 40), "{built:?}");
}

#[test]
fn nothing_is_kept_of_another_length_of_a_damaged_pair_or_of_a_build_of_our_own() {
    let world = host(5);
    let longer = run(world.command(&TRUSTING).env("OUTPUT_DIM", "48"));
    assert_eq!((longer.code, longer.number("embedded")), (0, 5), "{longer:?}");
    assert!(longer.stderr.contains("no adopted vectors are reused: they have 32 dimensions"), "{longer:?}");

    let own = run(world.command(&TRUSTING).env("OUTPUT_DIM", "48"));
    assert_eq!(own.text("outcome"), "unchanged", "{own:?}");
    assert!(own.stderr.contains("what is served was not adopted"), "{own:?}");

    let mixed = host(5);
    let metadata = mixed.path("data/metadata.json");
    let mut records = mixed.records();
    records.pop();
    std::fs::write(metadata, serde_json::to_vec(&records).unwrap()).unwrap();
    let built = mixed.run(&TRUSTING);
    assert_eq!((built.code, built.number("embedded")), (0, 5), "{built:?}");
    assert!(built.stderr.contains("no adopted vectors are reused"), "{built:?}");
    assert_eq!(mixed.provider.text_count(), 5);
}
