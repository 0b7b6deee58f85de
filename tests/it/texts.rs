//! `reindexd text`: what a row becomes is seen before anything is sent.

use serde_json::json;

use crate::support::World;

#[test]
fn the_text_of_a_row_is_the_one_that_a_build_sends() {
    let world = World::with_people(5);

    let ran = world.run(&["text", "3", "1", "--json"]);
    assert_eq!((ran.code, world.provider.request_count()), (0, 0), "{}", ran.stderr);
    assert!(!world.path("data/builds").exists(), "nothing is made");

    let rows = ran.json()["rows"].as_array().unwrap().clone();
    let ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["1", "3"], "in the order of the index");
    world.build();
    let sent = world.provider.texts_seen();
    for row in &rows {
        let text = row["texts"][0]["text"].as_str().unwrap();
        assert!(sent.iter().any(|sent| sent == text), "{text}");
        assert_eq!(row["texts"][0]["characters"].as_u64().unwrap(), text.chars().count() as u64);
    }
}

#[test]
fn without_an_id_the_first_rows_are_shown_and_a_missing_one_fails() {
    let world = World::with_people(5);

    let first = world.run(&["text", "--limit", "2"]);
    let missing = world.run(&["text", "4", "99"]);

    let heads = first.stdout.lines().filter(|line| line.starts_with("id ")).count();
    assert_eq!((first.code, heads), (0, 2), "{}", first.stdout);
    assert_eq!(missing.code, 1);
    assert!(missing.stdout.starts_with("id 4: "), "{}", missing.stdout);
    assert!(missing.stderr.contains("no indexed row has the id 99"), "{}", missing.stderr);
}

#[test]
fn each_chunk_of_a_row_is_shown_and_an_unfit_row_says_why() {
    let world = World::new();
    world.sql("CREATE TABLE t (lang TEXT, n INT, body TEXT, PRIMARY KEY (lang, n))");
    world.sql("INSERT INTO t VALUES ('de', 1, 'One two. Three four. Five six.'), ('de', 2, x'00')");
    world.settings(
        "[source]\ntable = \"t\"\n[document]\ntemplate = \"{{ chunk }}\"\nchunk = { column = \"body\", size = 12 }\n",
    );

    let ran = world.run(&["text", "--json", r#"["de", 1]"#, r#"["de", 2]"#]);

    let rows = &ran.json()["rows"];
    let texts: Vec<_> = rows[0]["texts"].as_array().unwrap().iter().map(|made| &made["text"]).collect();
    assert_eq!(json!(texts), json!(["One two.", "Three four.", "Five six."]));
    assert!(rows[1]["unfit"].as_str().unwrap().contains("column body: a BLOB of 1 bytes"), "{rows}");
}
