//! What is refused before money is spent: empty and shrunken tables, too many texts, unfit rows.
//!
//! The old build stays served in every case, and the message names what the
//! operator has to check. Quarantine excludes unfit rows instead.

use serde_json::{Value, json};

use crate::support::{MODEL, Ran, World};

#[test]
fn a_table_without_tagged_rows_is_refused_whether_or_not_a_build_is_served() {
    let world = World::with_people(4);
    world.sql("UPDATE experts SET tags = NULL");

    let first = world.run(&["build", "--json"]);
    refused(&first, "no tagged rows");
    assert_eq!((world.served(), world.provider.request_count()), (None, 0));

    world.sql("UPDATE experts SET tags = '[]'");
    let served = world.build().text("build");
    let records = world.records();
    world.sql("UPDATE experts SET tags = NULL");
    let second = world.run(&["build", "--accept-shrink", "--json"]);

    refused(&second, "no tagged rows");
    assert_eq!(world.served(), Some(served));
    assert_eq!(world.records(), records);
    assert_eq!(world.staging(), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn a_table_too_long_or_without_end_is_refused_at_the_limit_that_it_reaches() {
    let world = World::with_people(2);
    let served = world.build().text("build");
    let columns = "'u' AS username, 'f' AS first_name, 'l' AS last_name, 'j' AS job_title, 'c' AS company, \
        1.0 AS hourly_rate, 'X' AS currency, '' AS profile_url, '' AS profile_url_utm, '[]' AS tags, \
        1.0 AS findability_score, '' AS category";
    let view = |rows: &str, bio: &str| {
        format!(
            "DROP VIEW IF EXISTS experts; CREATE VIEW experts AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL \
             SELECT i + 1 FROM n {rows}) SELECT i AS id, {bio} AS bio, {columns} FROM n"
        )
    };
    world.sql("DROP TABLE experts");
    for (rows, bio, limit, expected) in [
        ("LIMIT 1001", "'b'", "max_rows = 1000", "guard.max_rows"),
        ("", "hex(zeroblob(100000))", "max_scan = \"64 MiB\"", "guard.max_scan"),
    ] {
        world.sql(&view(rows, bio));
        world.settings(&format!("[guard]\n{limit}\n"));
        for command in ["plan", "build"] {
            let ran = world.run(&[command]);
            assert_eq!(ran.code, 3, "{command} {limit}: {ran:?}");
            assert!(ran.stderr.contains(expected), "{command} {limit}: {ran:?}");
        }
        assert_eq!(world.served(), Some(served.clone()), "{limit}");
    }
    assert_eq!(world.provider.text_count(), 2, "nothing was embedded for it");
}

#[test]
fn a_shrunken_table_is_refused_past_the_limit_unless_the_shrink_is_accepted() {
    let world = World::with_people(20);
    let served = world.build().text("build");

    world.sql("DELETE FROM experts WHERE id > 13");
    let planned = world.run(&["plan", "--json"]);
    let shrunk = world.run(&["build", "--json"]);

    refused(&shrunk, "13 records");
    assert!(shrunk.stderr.contains("--accept-shrink"), "it says what to do: {shrunk:?}");
    assert_eq!(planned.code, 0, "a plan refuses nothing");
    assert!(planned.json()["reasons"].to_string().contains("would be refused: 13 records"), "{planned:?}");
    assert_eq!(world.served(), Some(served));
    assert_eq!(world.run(&["status", "--json"]).json()["last_attempt"]["outcome"], "refused");

    let accepted = world.run(&["build", "--accept-shrink", "--json"]);
    assert_eq!((accepted.code, accepted.number("records"), accepted.number("removed")), (0, 13, 7));

    // Thirty per cent of thirteen are 3.9.
    world.sql("DELETE FROM experts WHERE id > 10");
    assert_eq!(world.build().number("records"), 10);
}

#[test]
fn a_shrunken_table_is_refused_too_where_the_served_build_cannot_be_read() {
    let world = World::with_people(20);
    world.build();
    world.add_people([21]);
    let served = world.build().text("build");
    std::fs::write(world.path("data/current/manifest.json"), "{\"id\": ").unwrap();
    world.sql("DELETE FROM experts WHERE id > 3");

    let planned = world.run(&["plan", "--json"]);
    let shrunk = world.run(&["build", "--json"]);

    assert!(planned.json()["reasons"].to_string().contains("would be refused: 3 records"), "{planned:?}");
    refused(&shrunk, "20");
    assert_eq!(world.served(), Some(served), "what is served, readable or not, is left alone");
    assert_eq!(world.run(&["build", "--accept-shrink", "--json"]).number("records"), 3);
}

#[test]
fn more_texts_than_allowed_are_refused_and_none_is_embedded() {
    let world = World::with_people(10);
    world.build();
    world.settings("[guard]\nmax_texts = 3\n");
    world.provider.forget();

    world.add_people(11..=14);
    refused(&world.run(&["build", "--json"]), "4 texts would be embedded");
    assert_eq!(world.provider.request_count(), 0);

    world.sql("DELETE FROM experts WHERE id = 14");
    assert_eq!(world.build().number("embedded"), 3);
    refused(&world.run(&["build", "--rebuy", "--json"]), "13 texts would be embedded");
}

#[test]
fn a_row_that_cannot_be_indexed_fails_the_build_before_anything_is_embedded() {
    let unfit = [
        ("tags = 'no list'", "tags"),
        ("tags = '{\"a\": 1}'", "tags"),
        ("tags = '[\"\\ud800\"]'", "tags"),
        ("bio = CAST(x'ff' AS TEXT)", "bio"),
        ("hourly_rate = 9e999", "hourly_rate"),
        ("company = x'00'", "company"),
    ];
    let world = World::with_people(5);
    let served = world.build().text("build");
    world.provider.forget();
    for (change, column) in unfit {
        world.sql(&format!(
            "UPDATE experts SET bio = 'New' WHERE id = 2; UPDATE experts SET {change} WHERE id = 4"
        ));

        let failed = world.run(&["build", "--json"]);

        assert_eq!((failed.code, failed.text("outcome").as_str()), (1, "failed"), "{change}: {failed:?}");
        let error = failed.text("error");
        assert!(error.contains("id=4") && error.contains(column), "{change}: {error}");
        world.sql("DELETE FROM experts WHERE id = 4");
        world.add_people([4]);
    }
    assert_eq!(world.provider.request_count(), 0);
    assert_eq!(world.served(), Some(served));
}

#[test]
fn quarantined_rows_are_excluded_everywhere_and_listed_until_they_are_fixed() {
    let world = World::with_people(6);
    world.settings("[guard]\nquarantine = 2\n");
    world
        .sql("UPDATE experts SET tags = 'no list' WHERE id = 3; UPDATE experts SET bio = x'00' WHERE id = 5");

    let built = world.build();

    assert_eq!((built.number("records"), built.number("embedded")), (4, 4));
    assert_eq!(ids(&world), [1, 2, 4, 6]);
    world.assert_true(MODEL);
    world.assert_proven();
    let hashes = world.published("current/hashes.bin");
    assert_eq!(u64::from_le_bytes(hashes[16..24].try_into().unwrap()), 4, "rows of the hashes");
    let rows = quarantined(&world);
    assert_eq!(rows.iter().map(|row| &row["id"]).collect::<Vec<_>>(), ["3", "5"]);
    assert_eq!(rows.iter().map(|row| &row["column"]).collect::<Vec<_>>(), ["tags", "bio"]);
    assert_eq!(world.run(&["status", "--json"]).json()["served"]["left_out"], 2);
    assert!(world.run(&["status"]).stdout.contains("2 rows"), "the table counts them too");
    world.provider.forget();
    assert_eq!(world.build().text("outcome"), "unchanged");

    // A third is one too many; a row that is fixed is embedded and indexed.
    world.sql("UPDATE experts SET tags = '[1]' WHERE id = 6");
    let failed = world.run(&["build", "--json"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.text("error").contains("3 rows"), "{failed:?}");
    world.sql("UPDATE experts SET tags = '[\"tag\"]' WHERE id = 3");
    let fixed = world.build();
    assert_eq!((fixed.number("embedded"), fixed.number("records"), fixed.number("removed")), (1, 4, 1));
    assert_eq!(ids(&world), [1, 2, 3, 4]);
}

#[test]
fn a_text_that_the_provider_refuses_fails_the_build_and_names_its_row() {
    let world = World::with_people(40);
    world.provider.fail_text("person 17.");

    let failed = world.run(&["build", "--json"]);

    assert_eq!((failed.code, failed.text("outcome").as_str()), (1, "failed"), "{failed:?}");
    let error = failed.text("error");
    assert!(
        error.contains("id=17") && error.contains("invalid argument"),
        "row and message of the provider: {error}"
    );
    assert_eq!(world.served(), None);
    assert_eq!(failed.number("requests"), world.provider.request_count() as u64);

    // Vectors that were answered are kept, so after the fix only the missing ones are embedded.
    let answered = answered_texts(&world);
    assert_eq!(failed.number("embedded"), answered as u64, "{failed:?}");
    world.provider.forget();
    world.sql("UPDATE experts SET bio = 'Fixed.' WHERE id = 17");
    let fixed = world.build();
    assert_eq!(fixed.number("embedded"), 40 - answered as u64);
    assert_eq!(world.provider.text_count(), 40 - answered);
    world.assert_true(MODEL);
}

#[test]
fn a_refused_text_is_quarantined_and_not_sent_again_until_it_changes() {
    const REFUSED: &str = "First17 Last17. Title at Company. Bio of person 17. Domains: tag, other.";
    let world = World::with_people(40);
    world.settings("[guard]\nquarantine = 1\n");
    world.provider.fail_text("person 17.");

    let built = world.build();

    let sent = world.provider.request_count();
    assert_eq!((built.number("records"), built.number("embedded")), (39, 39), "{built:?}");
    assert_eq!((built.number("kept"), built.number("metadata_only")), (0, 0), "{built:?}");
    assert_eq!(built.number("requests"), sent as u64, "refused requests count too");
    assert_eq!(world.provider.answered_twice(), [""; 0]);
    assert!(!ids(&world).contains(&17));
    world.assert_true(MODEL);
    let rows = quarantined(&world);
    assert_eq!((rows.len(), &rows[0]["id"]), (1, &json!("17")));
    assert!(rows[0]["reason"].as_str().unwrap().contains("invalid argument"), "{rows:?}");

    world.provider.forget();
    assert_eq!(world.build().text("outcome"), "unchanged");
    world.sql(
        "UPDATE experts SET bio = 'New.' WHERE id = 3; UPDATE experts SET hourly_rate = 1 WHERE id = 17",
    );
    let other = world.build();
    assert_eq!((other.number("embedded"), other.number("records")), (1, 39));
    assert_eq!(world.provider.times_sent(REFUSED), 0, "its metadata changed, its text did not");

    world.sql("UPDATE experts SET bio = 'Fixed.' WHERE id = 17");
    let fixed = world.build();
    assert_eq!((fixed.number("embedded"), fixed.number("records")), (1, 40));
    world.assert_true(MODEL);
    world.assert_proven();
}

#[test]
fn a_changed_row_is_counted_as_embedded_when_another_is_refused() {
    let world = World::with_people(10);
    world.provider.excuse_money("a served text is the witness");
    world.settings("[guard]\nquarantine = 1\n");
    world.build();
    world.provider.fail_text("poison");
    world.provider.forget();
    world.sql(
        "UPDATE experts SET bio = 'New.' WHERE id IN (2, 3); UPDATE experts SET bio = 'poison' WHERE id = 7",
    );

    let built = world.build();

    let counts = ["records", "kept", "embedded", "metadata_only", "removed"].map(|key| built.number(key));
    assert_eq!(counts, [9, 7, 2, 0, 1], "{built:?}");
    assert_eq!(built.number("requests"), world.provider.request_count() as u64);
}

#[test]
fn rebuy_with_a_refused_text_embeds_every_other_text_once() {
    let world = World::with_people(10);
    world.provider.excuse_money("--rebuy embeds again");
    world.settings("[guard]\nquarantine = 1\n");
    world.provider.fail_text("person 7.");
    world.build();
    world.provider.forget();

    let built = world.run(&["build", "--rebuy", "--json"]);

    assert_eq!((built.code, built.number("embedded"), built.number("kept")), (0, 9, 0), "{built:?}");
    assert_eq!(world.provider.answered_twice(), [""; 0]);
    assert_eq!(answered_texts(&world), 9);
    assert!(
        world.provider.times_sent("First7 Last7. Title at Company. Bio of person 7. Domains: tag, other.")
            > 0
    );
}

/// Asserts that a guard refused, with this message.
#[track_caller]
fn refused(ran: &Ran, message: &str) {
    assert_eq!((ran.code, ran.text("outcome").as_str()), (3, "refused"), "{ran:?}");
    assert!(ran.text("error").contains(message), "expected {message:?}: {ran:?}");
    assert!(ran.stderr.contains(message), "expected {message:?}: {ran:?}");
}

fn ids(world: &World) -> Vec<u64> {
    world.records().iter().map(|record| record["id"].as_u64().unwrap()).collect()
}

/// The quarantined rows, as the served build's manifest lists them.
fn quarantined(world: &World) -> Vec<Value> {
    let manifest: Value = serde_json::from_slice(&world.published("current/manifest.json")).unwrap();
    manifest["left_out"].as_array().unwrap().clone()
}

/// How many texts of rows were answered with their vectors. A plain word shows that the provider works.
fn answered_texts(world: &World) -> usize {
    let requests = world.provider.requests();
    let answered = requests.iter().filter(|request| request.is_answered());
    answered.flat_map(|request| &request.texts).filter(|text| *text != "reindexd").count()
}
