//! Rows that made ingest.py fail: named before anything is embedded, or quarantined and listed.

use crate::support::World;

/// A value of row 7, and the fault that must be reported.
struct Bad {
    column: &'static str,
    /// The value as an SQL expression.
    value: &'static str,
    /// The fault, as an operator reads it.
    fault: &'static str,
}

const fn bad(column: &'static str, value: &'static str, fault: &'static str) -> Bad {
    Bad { column, value, fault }
}

const LIST: &str = "expected a JSON list of strings";

const BAD: [Bad; 24] = [
    // Not valid JSON: ingest.py ended with an error that did not name the row.
    bad("tags", r#"'["a"'"#, "no valid JSON"),
    bad("tags", "'a, b'", "no valid JSON"),
    bad("tags", "' '", "no valid JSON"),
    bad("tags", "char(65279) || '[]'", "a byte order mark (U+FEFF)"),
    bad("tags", "'[]]'", "no valid JSON"),
    // Valid, but not a list of strings: odd Domains, or a TypeError after batches were embedded.
    bad("tags", r#"'{"b": 1, "a": 2}'"#, "an object"),
    bad("tags", r#"'"abc"'"#, "a string"),
    bad("tags", "'5'", "a number"),
    bad("tags", "'true'", "a boolean"),
    bad("tags", "'NaN'", "a number (NaN)"),
    bad("tags", r#"'["a", 1]'"#, "a list whose item 2 is a number"),
    bad("tags", "'[null]'", "a list whose item 1 is null"),
    bad("tags", r#"'["a", ["b"]]'"#, "a list whose item 2 is a list"),
    // Accepted by ingest.py as if there were no tags.
    bad("tags", "'{}'", "an object"),
    bad("tags", "'0'", "a number"),
    bad("tags", "'false'", "a boolean"),
    // Crashed it after the index was promoted.
    bad("tags", r#"'["a", "\ud800"]'"#, r"the lone surrogate \ud800"),
    bad("tags", r#"'["\udfbb\ud83c"]'"#, r"the lone surrogate \udfbb"),
    // What JSON cannot hold.
    bad("bio", "CAST(x'61ff62' AS TEXT)", "text that is not UTF-8, from byte 1 on"),
    bad("tags", "CAST(x'5b22ff225d' AS TEXT)", "text that is not UTF-8, from byte 2 on"),
    bad("hourly_rate", "9e999", "inf is a number that JSON cannot hold"),
    bad("findability_score", "-9e999", "-inf is a number that JSON cannot hold"),
    bad("company", "x'00ff'", "a BLOB of 2 bytes"),
    bad("tags", "x'5b5d'", "a BLOB of 2 bytes"),
];

#[test]
fn a_row_that_cannot_be_indexed_is_named_before_anything_is_embedded() {
    let world = World::with_people(8);
    world.build();
    let before = world.served_build();
    // There is a text that would have to be embedded.
    world.sql("UPDATE experts SET bio = 'Another bio' WHERE id = 2");
    world.provider.forget();

    for Bad { column, value, fault } in &BAD {
        let kept = world.connect();
        kept.execute_batch("CREATE TEMP TABLE good AS SELECT * FROM experts WHERE id = 7").unwrap();
        world.sql(&format!("UPDATE experts SET {column} = {value} WHERE id = 7"));

        let ran = world.run(&["build"]);

        let named = format!("row id=7 column {column}: {fault}");
        assert_eq!(ran.code, 1, "{column} = {value}: {ran:?}");
        assert!(ran.stderr.contains(&named), "expected {named:?} for {value}, found {ran:?}");
        assert_eq!(world.provider.request_count(), 0, "{column} = {value}");
        world.assert_still_served(&before);
        kept.execute_batch("REPLACE INTO experts SELECT * FROM temp.good").unwrap();
    }

    assert_eq!(world.build().number("embedded"), 1, "after the fix the build succeeds");
}

#[test]
fn faults_of_tags_say_what_was_expected_and_repeat_no_row_text() {
    let world = World::with_people(3);
    world.sql(r#"UPDATE experts SET tags = '{"secret text": 1}' WHERE id = 2"#);
    world.sql("UPDATE experts SET tags = '[\"secret text' WHERE id = 3");

    let ran = world.run(&["build", "--json"]);

    assert_eq!(ran.text("outcome"), "failed");
    let error = ran.text("error");
    assert!(error.starts_with("2 rows cannot be indexed (guard.quarantine = 0): "), "{error}");
    assert!(error.contains("id=2 column tags") && error.contains("id=3 column tags"), "{error}");
    assert_eq!(error.matches(LIST).count(), 2, "{error}");
    assert!(!error.contains("secret") && !ran.stderr.contains("secret"), "{ran:?}");
    assert_eq!(world.provider.request_count(), 0);
}

#[test]
fn a_row_without_any_document_text_is_named_before_anything_is_embedded() {
    for username in ["NULL", "''"] {
        let world = World::with_people(4);
        world.build();
        let before = world.served_build();
        world.provider.forget();
        world.sql(&format!(
            "INSERT INTO experts (id, username, first_name, bio, tags) VALUES (9, {username}, ' ', '', '[]')"
        ));

        let ran = world.run(&["build"]);

        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains("row id=9 column username: no document text"), "{ran:?}");
        assert_eq!(world.provider.request_count(), 0);
        world.assert_still_served(&before);
    }
}

#[test]
fn with_quarantine_the_build_goes_on_without_each_of_these_rows() {
    let world = World::with_people(5);
    world.settings(&format!("[guard]\nquarantine = {}\n", BAD.len()));
    let first = 100;
    world.add_people((first..).take(BAD.len()));
    for (id, Bad { column, value, .. }) in (first..).zip(&BAD) {
        world.sql(&format!("UPDATE experts SET {column} = {value} WHERE id = {id}"));
    }

    let built = world.build();

    assert_eq!(built.number("records"), 5);
    assert_eq!(world.provider.text_count(), 5, "none of them is sent");
    let ids: Vec<_> = world.records().iter().map(|record| record["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(world.path("data/current/manifest.json")).unwrap()).unwrap();
    let quarantined = manifest["left_out"].as_array().unwrap();
    assert_eq!(quarantined.len(), BAD.len());
    for (id, (row, Bad { column, fault, .. })) in (first..).zip(quarantined.iter().zip(&BAD)) {
        assert_eq!((&row["id"], &row["column"]), (&id.to_string().into(), &(*column).into()));
        assert!(row["reason"].as_str().unwrap().contains(fault), "{row}");
    }
    world.assert_proven();
}

#[test]
fn one_row_too_many_for_quarantine_fails_as_if_there_were_none() {
    let world = World::with_people(5);
    world.settings("[guard]\nquarantine = 1\n");
    world.sql("UPDATE experts SET tags = '5' WHERE id IN (2, 3)");

    let ran = world.run(&["build"]);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("2 rows cannot be indexed (guard.quarantine = 1)"), "{ran:?}");
    assert_eq!((world.provider.request_count(), world.served()), (0, None));
}

#[test]
fn tags_that_are_the_word_null_stay_as_ingest_py_had_them() {
    let world = World::with_people(2);
    world.sql("UPDATE experts SET tags = 'null' WHERE id = 2");

    world.build();

    assert_eq!(world.records()[1]["tags"], serde_json::Value::Null);
    assert!(world.provider.texts_seen().iter().any(|text| text.ends_with("Bio of person 2.")));
}

#[test]
fn a_change_that_is_not_in_the_text_makes_new_metadata_and_no_request() {
    let world = World::with_people(6);
    let first = world.build();
    let vectors = world.published("faiss.index");
    world.provider.forget();
    world.sql("UPDATE experts SET hourly_rate = 250, category = 'other' WHERE id = 3");

    // A build that embeds nothing needs no key.
    let second = crate::support::run(world.command(&["build", "--json"]).env_remove("GOOGLE_API_KEY"));

    assert_eq!((second.code, second.text("outcome").as_str()), (0, "promoted"), "{second:?}");
    assert_ne!(second.text("build"), first.text("build"));
    let counts = ["records", "kept", "embedded", "metadata_only", "removed", "requests"];
    assert_eq!(counts.map(|count| second.number(count)), [6, 6, 0, 1, 0, 0]);
    assert_eq!(world.provider.request_count(), 0);
    assert!(world.published("faiss.index") == vectors, "the same vectors, byte for byte");
    assert_eq!(world.published("metadata.json"), world.reference().metadata);
    world.assert_proven();
}
