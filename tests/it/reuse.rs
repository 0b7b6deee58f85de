//! Which texts a build embeds: those without a vector, each once, and no others.
//!
//! The numbers of `build --json` are compared with what the embedding server
//! received, and with what `plan --json` printed just before.

use std::collections::HashSet;
use std::process::{Command, Stdio};

use reindexd::domain::record::TextHash;
use rusqlite::{Connection, OpenFlags};

use crate::support::{MODEL, Ran, SOON, World, run};

#[test]
fn the_first_build_embeds_every_text_once_in_full_batches() {
    let world = World::with_people(250);

    let built = world.build();

    assert_eq!(built.text("outcome"), "promoted");
    assert_eq!(counts(&built), (250, 0, 250, 0, 0), "{built:?}");
    let mut batches: Vec<usize> =
        world.provider.requests().iter().map(|request| request.texts.len()).collect();
    batches.sort_unstable();
    assert_eq!(batches, [50, 100, 100]);
    assert_eq!(built.number("requests"), 3);
    assert_eq!(world.provider.answered_twice(), [""; 0]);
    world.assert_true(MODEL);
    world.assert_proven();
}

/// A name, the change; then records, kept, embedded, metadata only, removed.
const CHANGES: [(&str, &str, (u64, u64, u64, u64, u64)); 12] = [
    ("nothing changed", "", (30, 30, 0, 0, 0)),
    ("ten texts changed", "UPDATE experts SET bio = 'New bio ' || id WHERE id <= 10", (30, 20, 10, 0, 0)),
    ("only hourly_rate", "UPDATE experts SET hourly_rate = 7 WHERE id BETWEEN 11 AND 15", (30, 30, 0, 5, 0)),
    (
        "two rows swap all but their ids",
        "UPDATE experts SET id = 99 WHERE id = 12; UPDATE experts SET id = 12 WHERE id = 13;
             UPDATE experts SET id = 13 WHERE id = 99",
        (30, 30, 0, 2, 0),
    ),
    (
        "a second row with a text that has a vector",
        "INSERT INTO experts SELECT 31, 'twin', first_name, last_name, job_title, company, bio, 1, 'EUR',
             NULL, NULL, tags, NULL, NULL FROM experts WHERE id = 20",
        (31, 31, 0, 0, 0),
    ),
    (
        "three rows with one new text",
        "UPDATE experts SET first_name = 'A', last_name = 'B', bio = 'C' WHERE id IN (21, 22, 23)",
        (31, 30, 1, 0, 0),
    ),
    ("a row deleted", "DELETE FROM experts WHERE id = 5", (30, 30, 0, 0, 1)),
    (
        "a row added in front with a text of an older build",
        "INSERT INTO experts SELECT -5, 'again', 'First5', 'Last5', job_title, company, 'New bio 5', 1,
             'EUR', NULL, NULL, tags, NULL, NULL FROM experts WHERE id = 6",
        (31, 31, 0, 0, 0),
    ),
    ("rows untagged", "UPDATE experts SET tags = NULL WHERE id IN (7, 8)", (29, 29, 0, 0, 2)),
    (
        "rows tagged again",
        "UPDATE experts SET tags = '[\"tag\", \"other\"]' WHERE tags IS NULL",
        (31, 31, 0, 0, 0),
    ),
    ("a row with other tags", "UPDATE experts SET tags = '[\"tag\"]' WHERE id = 9", (31, 30, 1, 0, 0)),
    (
        "a bio that was there before",
        "UPDATE experts SET bio = 'Bio of person 10.' WHERE id = 10",
        (31, 31, 0, 1, 0),
    ),
];

#[test]
fn a_change_costs_the_texts_that_are_new_and_nothing_else() {
    let world = World::with_people(30);
    world.build();
    for (what, change, expected) in CHANGES {
        world.sql(change);
        world.provider.forget();

        let planned = world.run(&["plan", "--json"]);
        assert_eq!(world.provider.request_count(), 0, "{what}: a plan sends nothing");
        let built = world.build();

        assert_eq!(counts(&built), expected, "{what}: records, kept, embedded, metadata only, removed");
        let foretold =
            ["records", "kept", "to_embed", "metadata_only", "removed"].map(|key| planned.number(key));
        let done = ["records", "kept", "embedded", "metadata_only", "removed"].map(|key| built.number(key));
        assert_eq!(foretold, done, "{what}: as planned");
        assert_eq!(planned.number("requests"), built.number("requests"), "{what}: requests as planned");
        assert_eq!(world.provider.text_count() as u64, expected.2, "{what}: texts sent");
        assert_eq!(world.provider.request_count() as u64, built.number("requests"), "{what}: requests sent");
        assert_eq!(built.text("outcome"), if change.is_empty() { "unchanged" } else { "promoted" }, "{what}");
        world.assert_true(MODEL);
    }
    world.assert_proven();
}

#[test]
fn a_row_that_is_not_tagged_changes_nothing() {
    let world = World::with_people(5);
    world.sql("UPDATE experts SET tags = NULL WHERE id = 3");
    world.build();
    world.provider.forget();
    world.sql("UPDATE experts SET bio = 'Other' WHERE id = 3; DELETE FROM experts WHERE id = 3");

    let built = world.build();

    assert_eq!(built.text("outcome"), "unchanged");
    assert_eq!(world.provider.request_count(), 0);
}

#[test]
fn another_space_embeds_everything_and_the_way_back_nothing() {
    let spaces =
        [("EMBEDDING_MODEL", "gemini-embedding-exp", "gemini-embedding-exp"), ("OUTPUT_DIM", "48", MODEL)];
    for (variable, value, model) in spaces {
        let world = World::with_people(12);
        world.build();
        let first = files(&world);
        world.provider.forget();

        let accepting = ["build", "--accept-space", "--json"];
        let there = ran(world.command(&accepting).env(variable, value));
        world.assert_true(model);
        assert_eq!(counts(&there), (12, 0, 12, 0, 0), "{variable}: no vector is reused in another space");
        assert_eq!(world.provider.text_count(), 12);
        world.provider.forget();
        let back = world.run(&accepting);

        assert_eq!(counts(&back), (12, 12, 0, 0, 0), "{variable}: a kept build has them");
        assert_eq!(world.provider.request_count(), 0, "{variable}");
        assert_eq!(files(&world), first, "{variable}: the same bits as before");
    }
}

#[test]
fn vectors_of_a_space_are_embedded_again_once_its_last_build_was_collected() {
    let world = World::with_people(12);
    world.provider.excuse_money("no build has the vectors any more");
    world.settings("[publish]\nkeep = 2\n");
    let first = world.build().text("build");
    let accepting = ["build", "--accept-space", "--json"];
    let other = || ran(world.command(&accepting).env("EMBEDDING_MODEL", "gemini-embedding-exp"));
    for change in ["", "UPDATE experts SET hourly_rate = 1", "UPDATE experts SET hourly_rate = 2"] {
        world.sql(change);
        world.let_the_grace_pass();
        other();
    }
    assert!(!world.builds().contains(&first), "collected: {:?}", world.builds());
    world.provider.forget();

    let back = world.run(&accepting);

    assert_eq!((back.number("embedded"), back.number("kept")), (12, 0));
    assert_eq!(world.provider.text_count(), 12);
}

#[test]
fn a_killed_build_is_resumed_and_no_cached_text_is_embedded_again() {
    const TEXTS: usize = 250;
    let world = World::with_people(250);
    world.provider.excuse_money("answers come after the kill");
    world.provider.hold_after(8);
    let mut command = world.command(&["build", "--json"]);
    let mut killed =
        command.env("INGEST_BATCH_SIZE", "10").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Eight answered, four more in flight: the vectors of eight were handed on.
    assert!(world.provider.wait_for_requests(12, SOON));
    killed.kill().unwrap();
    killed.wait().unwrap();
    world.provider.release();
    let cached = cached(&world);
    assert!((70..=80).contains(&cached.len()), "all but the last answer at most: {}", cached.len());
    world.provider.forget();

    let resumed = ran(world.command(&["build", "--json"]).env("INGEST_BATCH_SIZE", "10"));

    let sent = world.provider.texts_seen();
    let again: Vec<_> = sent.iter().filter(|text| cached.contains(&TextHash::of(text))).collect();
    assert!(again.is_empty(), "embedded again: {again:?}");
    assert_eq!(sent.len(), TEXTS - cached.len());
    assert_eq!(resumed.number("embedded"), (TEXTS - cached.len()) as u64);
    assert_eq!(resumed.number("kept"), cached.len() as u64);
    assert_eq!(world.staging(), [""; 0].map(std::path::PathBuf::from));
    world.assert_true(MODEL);
    world.assert_proven();
}

#[test]
fn vectors_of_a_failed_build_are_kept_through_builds_that_do_not_need_them() {
    let world = World::with_people(10);
    world.provider.excuse_money("a served text is the witness");
    world.build();
    world.add_people(11..=20);
    world.provider.fail_text("person 20.");
    assert_eq!(world.run(&["build"]).code, 1);
    world.provider.clear_fault();
    world.sql("UPDATE experts SET tags = NULL WHERE id > 10");
    assert_eq!(world.build().text("outcome"), "unchanged");
    world.sql("UPDATE experts SET hourly_rate = 1");
    assert_eq!(world.build().number("metadata_only"), 10);
    world.provider.forget();

    world.sql("UPDATE experts SET tags = '[\"tag\", \"other\"]' WHERE id > 10");
    let built = world.build();

    assert_eq!((built.number("embedded"), built.number("kept")), (1, 19), "{built:?}");
    assert_eq!(world.provider.text_count(), 1, "only the one that was refused then");
    world.assert_true(MODEL);
}

/// Records, kept, embedded, metadata only, removed.
fn counts(ran: &Ran) -> (u64, u64, u64, u64, u64) {
    let count = |key| ran.number(key);
    (count("records"), count("kept"), count("embedded"), count("metadata_only"), count("removed"))
}

/// Runs a command that must succeed.
#[track_caller]
fn ran(command: &mut Command) -> Ran {
    let ran = run(command);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

/// What is served, byte for byte.
fn files(world: &World) -> [Vec<u8>; 3] {
    ["faiss.index", "metadata.json", "current/hashes.bin"].map(|name| world.published(name))
}

/// The texts whose vectors are in the cache.
fn cached(world: &World) -> HashSet<TextHash> {
    let path = world.path("data/.reindexd/embeddings.sqlite");
    let cache = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let mut texts = cache.prepare("SELECT text FROM entry").unwrap();
    let texts = texts.query_map([], |row| row.get(0).map(TextHash)).unwrap();
    texts.map(Result::unwrap).collect()
}
