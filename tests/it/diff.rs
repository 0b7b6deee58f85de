//! `reindexd diff`: which rows differ between two builds, or between a build and the table.

use serde_json::{Value, json};

use crate::support::{Ran, World};

/// Change and id of each row, in the order in which they were printed.
fn rows(ran: &Ran) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("null").to_owned();
    let rows = ran.json()["rows"].as_array().unwrap().clone();
    rows.iter().map(|row| (text(&row["change"]), text(&row["id"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(change, id)| ((*change).to_owned(), (*id).to_owned())).collect()
}

fn row<'a>(object: &'a Value, id: &str) -> &'a Value {
    object["rows"].as_array().unwrap().iter().find(|row| row["id"] == id).unwrap()
}

fn counts(ran: &Ran) -> [u64; 5] {
    ["added", "changed", "removed", "unfit", "unchanged"].map(|key| ran.number(key))
}

#[test]
fn the_served_build_is_compared_with_the_table_and_nothing_is_sent_or_written() {
    let world = World::with_people(6);
    world.build();
    let sent = world.provider.request_count();
    assert_eq!(world.run(&["diff"]).stdout.lines().last(), Some("no row differs: 6 rows are the same"));
    world.sql(
        "UPDATE experts SET bio = 'Another one.' WHERE id = 2;
         UPDATE experts SET hourly_rate = 7, category = 'x' WHERE id = 3;
         UPDATE experts SET tags = 'no list' WHERE id = 5;
         DELETE FROM experts WHERE id = 6",
    );
    world.add_people([9]);
    let mut environment = world.command(&["diff", "--json"]);

    let ran = crate::support::run(environment.env_remove("GOOGLE_API_KEY"));

    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let expected = [("changed", "2"), ("changed", "3"), ("unfit", "5"), ("added", "9"), ("removed", "6")];
    assert_eq!(rows(&ran), pairs(&expected));
    assert_eq!(counts(&ran), [1, 2, 1, 1, 2]);
    let object = ran.json();
    assert_eq!((object["from"].as_str(), &object["to"]), (world.served().as_deref(), &json!(null)));
    assert_eq!(
        row(&object, "2"),
        &json!({"id": "2", "entry": 1, "change": "changed", "columns": ["Bio"], "text": true, "entries": 1})
    );
    assert_eq!(row(&object, "3")["columns"], json!(["Hourly Rate", "category"]));
    assert_eq!(row(&object, "3")["text"], false);
    assert_eq!(row(&object, "5")["column"], "tags");
    assert_eq!(world.provider.request_count(), sent);
    assert_eq!(world.run(&["plan", "--json"]).number("kept"), 3, "diff and plan say the same");
}

#[test]
fn two_builds_are_compared_in_the_order_in_which_they_are_named() {
    let world = World::with_people(4);
    world.build();
    let first = world.served().unwrap();
    world.sql("UPDATE experts SET bio = 'Other.' WHERE id = 1; DELETE FROM experts WHERE id = 4");
    world.add_people([5]);
    world.build();
    let second = world.served().unwrap();
    world.sql("DELETE FROM experts WHERE id = 2");

    let forward = world.run(&["diff", &first, &second, "--json"]);
    let back = world.run(&["diff", &second, &first, "--json"]);
    let table = world.run(&["diff", &first, "--json"]);
    std::fs::remove_file(world.database()).unwrap();
    let without_table = world.run(&["diff", &first, &second, "--json"]);

    assert_eq!(rows(&forward), pairs(&[("changed", "1"), ("added", "5"), ("removed", "4")]));
    assert_eq!(rows(&back), pairs(&[("changed", "1"), ("added", "4"), ("removed", "5")]));
    assert_eq!(rows(&table), pairs(&[("changed", "1"), ("added", "5"), ("removed", "2"), ("removed", "4")]));
    assert_eq!(without_table.stdout, forward.stdout, "builds need no table");
}

#[test]
fn rows_for_people_are_limited_and_those_not_shown_are_counted() {
    let world = World::with_people(3);
    world.build();
    world.add_people(4..=40);
    world.sql("UPDATE experts SET bio = 'Other.', company = 'New' WHERE id = 1");

    let ran = world.run(&["diff", "--limit", "2"]);

    let expected = [
        &format!("from {} to the table as it is now", world.served().unwrap()),
        "",
        "CHANGE   ID  WHAT",
        "changed  1   Company, Bio, document text",
        "added    4",
        "added    5",
        "added: 35 more rows are not shown (--limit)",
        "",
        "37 added, 1 changed, 0 removed, 2 the same",
    ];
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), expected);
}

const CHUNKS: &str = r#"
[source]
table = "t"
columns = ["id", "title"]
[document]
template = "{{ title }}: {{ chunk }}"
chunk = { column = "body", size = 12 }
"#;

#[test]
fn a_row_of_chunks_is_one_row_with_the_entries_that_differ() {
    let world = World::new();
    world.sql("CREATE TABLE t (id TEXT PRIMARY KEY, title TEXT, body TEXT)");
    world.sql(
        "INSERT INTO t VALUES ('a\u{1b}[2J', 'A', 'One two. Three four. Five six.'), ('b', 'B', 'Short.'),
         ('c', 'C', 'One two. Three four.')",
    );
    world.settings(&format!("{CHUNKS}\n[guard]\nmax_shrink = 1.0\n"));
    world.build();
    let first = world.served().unwrap();
    world.sql(
        "UPDATE t SET body = 'One two. Three four. Five ten.' WHERE title = 'A';
         UPDATE t SET title = 'X' WHERE id = 'c'; DELETE FROM t WHERE id = 'b'",
    );

    let table = world.run(&["diff", "--json"]);
    let shown = world.run(&["diff"]);
    world.build();
    let builds = world.run(&["diff", &first, &world.served().unwrap(), "--json"]);

    let expected = [("changed", "a\u{1b}[2J"), ("changed", "c"), ("removed", "b")];
    for ran in [&table, &builds] {
        assert_eq!(rows(ran), pairs(&expected), "{}", ran.stderr);
        let object = ran.json();
        let one = row(&object, "a\u{1b}[2J");
        assert_eq!((&one["columns"], &one["text"], &one["entries"]), (&json!([]), &json!(true), &json!(1)));
        let all = row(&object, "c");
        assert_eq!((&all["columns"], &all["entries"]), (&json!(["title"]), &json!(2)));
    }
    assert!(shown.stdout.contains("changed  a\\u{1b}[2J  document text"), "{}", shown.stdout);
    assert!(shown.stdout.contains("title, document text, 2 chunks"), "{}", shown.stdout);
}

#[test]
fn rows_whose_id_is_not_published_are_matched_all_the_same() {
    let world = World::new();
    world.sql("CREATE TABLE t (lang TEXT, n INT, x TEXT, PRIMARY KEY (lang, n))");
    world.sql("INSERT INTO t VALUES ('de', 1, 'a'), ('de', 2, 'b'), ('fr', 1, 'c')");
    world.settings("[source]\ntable = \"t\"\ncolumns = [\"x\"]\n[document]\ntemplate = \"{{ x }}\"");
    world.build();
    let first = world.served().unwrap();
    world.sql("UPDATE t SET x = 'z' WHERE lang = 'fr'; DELETE FROM t WHERE n = 2");
    world.sql("INSERT INTO t VALUES ('it', 1, 'd')");

    let table = world.run(&["diff", "--json"]);
    world.build();
    let builds = world.run(&["diff", &first, &world.served().unwrap(), "--json"]);

    let expected = [("changed", r#"["fr", 1]"#), ("added", r#"["it", 1]"#), ("removed", "null")];
    assert_eq!(rows(&table), pairs(&expected));
    assert_eq!(table.json()["rows"][2]["entry"], 1, "{}", table.stdout);
    assert_eq!(rows(&builds), pairs(&[("changed", "null"), ("added", "null"), ("removed", "null")]));
    assert!(world.run(&["diff", &first]).stdout.contains("removed  entry 1"));
}

#[test]
fn other_columns_and_another_space_are_said() {
    let world = World::with_people(3);
    world.build();
    let first = world.served().unwrap();
    let mut command = world.command(&["diff"]);
    let other_space = crate::support::run(command.env("OUTPUT_DIM", "16"));
    assert!(other_space.stdout.contains("the spaces differ"), "{}", other_space.stdout);
    assert!(other_space.stdout.contains("no row differs"), "{}", other_space.stdout);

    world.settings(
        "[source]\ntable = \"experts\"\ncolumns = [\"id\", \"bio\"]\n[document]\ntemplate = \"{{ bio }}\"",
    );
    let ran = world.run(&["diff", &first, "--json"]);

    let object = ran.json();
    assert_eq!(object["new_columns"], json!(["bio"]));
    assert_eq!(object["lost_columns"].as_array().unwrap().len(), 13, "{object}");
    assert_eq!(counts(&ran)[1], 3);
    let shown = world.run(&["diff", &first]).stdout;
    assert!(shown.contains("the records have other columns: +bio -username"), "{shown}");
}

#[test]
fn an_adopted_build_is_compared_by_what_its_records_say() {
    let world = World::with_people(5);
    world.build();
    world.provider.excuse_money("an adopted build gives no vectors");
    for name in ["faiss.index", "metadata.json"] {
        let bytes = world.published(name);
        std::fs::remove_file(world.path("data").join(name)).unwrap();
        std::fs::write(world.path("data").join(name), bytes).unwrap();
    }
    std::fs::remove_dir_all(world.path("data/builds")).unwrap();
    std::fs::remove_file(world.path("data/current")).unwrap();
    std::fs::remove_dir_all(world.path("data/.reindexd")).unwrap();
    world.build();
    let kept = world.run(&["history", "--json"]).json();
    let adopted = kept["builds"].as_array().unwrap().iter().find(|build| build["adopted"] == true).unwrap();
    let adopted = adopted["id"].as_str().unwrap();
    world.sql("UPDATE experts SET bio = 'Other.' WHERE id = 2; DELETE FROM experts WHERE id = 5");

    let ran = world.run(&["diff", adopted, "--json"]);

    assert_eq!(rows(&ran), pairs(&[("changed", "2"), ("removed", "5")]), "{}", ran.stderr);
}

#[test]
fn a_row_that_the_provider_refused_is_unfit_and_not_new() {
    let world = World::with_people(5);
    world.settings("[guard]\nquarantine = 1\n");
    world.provider.fail_text("person 3.");
    world.build();

    let ran = world.run(&["diff", "--json"]);

    assert_eq!(rows(&ran), pairs(&[("unfit", "3")]), "{}", ran.stdout);
    assert_eq!(ran.json()["rows"][0]["column"], "document text");
}

#[test]
fn what_cannot_be_compared_fails_and_says_what_there_is() {
    let world = World::with_people(2);
    let nothing = world.run(&["diff", "--json"]);
    assert_eq!(nothing.code, 1);
    assert!(nothing.text("error").contains("nothing is served yet"), "{}", nothing.stdout);
    world.build();
    let id = world.served().unwrap();
    let near = format!("{}x", &id[..id.len() - 1]);

    let mistyped = world.run(&["diff", &near]);
    let unknown = world.run(&["diff", &id, "first"]);
    let metadata = world.path(&format!("data/builds/{id}/metadata.json"));
    let bytes = String::from_utf8(std::fs::read(&metadata).unwrap()).unwrap();
    std::fs::remove_file(&metadata).unwrap();
    std::fs::write(&metadata, bytes.replacen("null", "1234", 1)).unwrap();
    let damaged = world.run(&["diff", "--json"]);

    assert_eq!((mistyped.code, unknown.code, damaged.code), (1, 1, 1));
    assert!(
        mistyped.stderr.contains(&format!("there is no build {near}; the nearest is {id}")),
        "{mistyped:?}"
    );
    assert!(
        unknown.stderr.contains(&format!("there is no build first; those that are kept: {id}")),
        "{unknown:?}"
    );
    assert!(damaged.text("error").contains("metadata.json: expected blake3"), "{damaged:?}");
}
