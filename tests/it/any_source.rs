//! Any table, view or query as the source: what is read, what stands in the metadata, what is embedded.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Ran, World};

/// The settings of a source beside those of the test's own provider.
fn settings(world: &World, more: &str) {
    world.settings(&format!("{more}\n"));
}

fn articles(world: &World) {
    world.sql(
        "CREATE TABLE articles (id INTEGER PRIMARY KEY, title TEXT, body TEXT, tags JSON, published INT);
         INSERT INTO articles VALUES
            (1, 'First', 'Some words about gardens.', '{\"b\":1,\"a\":[1.0,-0,1e2],\"b\":2}', 1),
            (2, 'Second', NULL, NULL, 1),
            (3, 'Draft', 'Not yet.', '[]', 0);",
    );
}

const ARTICLES: &str = r#"
[source]
table = "articles"
where = "published = 1"
columns = ["id", { name = "title", key = "Title" }, { name = "tags", json = true }]
[document]
template = "{{ title }}: {{ body }}"
"#;

fn failed(world: &World, code: i32) -> String {
    let ran = world.run(&["build", "--json"]);
    assert_eq!(ran.code, code, "{} {}", ran.stdout, ran.stderr);
    assert_eq!(world.served(), None, "nothing is made");
    ran.text("error")
}

#[test]
fn a_table_is_read_by_its_settings_and_published_by_its_keys() {
    let world = World::new();
    articles(&world);
    settings(&world, ARTICLES);

    let ran = world.build();

    assert_eq!((ran.number("records"), ran.number("embedded")), (2, 2));
    assert_eq!(
        String::from_utf8(world.published("metadata.json")).unwrap(),
        r#"[{"id": 1, "Title": "First", "tags": {"b": 2, "a": [1.0, 0, 100.0]}}, {"id": 2, "Title": "Second", "tags": null}]"#
    );
    let sent: BTreeSet<String> = world.provider.texts_seen().into_iter().collect();
    assert_eq!(sent, ["First: Some words about gardens.", "Second: "].map(str::to_owned).into());
    world.assert_proven();
    assert_eq!(world.build().text("outcome"), "unchanged");
}

#[test]
fn only_a_changed_text_is_embedded_and_another_column_changes_nothing() {
    let world = World::new();
    articles(&world);
    settings(&world, ARTICLES);
    world.build();

    world
        .sql("UPDATE articles SET tags = '[1]' WHERE id = 1; UPDATE articles SET body = 'New.' WHERE id = 2");
    let ran = world.build();

    assert_eq!((ran.number("embedded"), ran.number("metadata_only"), ran.number("kept")), (1, 1, 1));
    world.sql("UPDATE articles SET published = 2 WHERE id = 3");
    assert_eq!(world.build().text("outcome"), "unchanged");
}

#[test]
fn names_ids_and_kinds_of_tables_of_other_people_are_read() {
    let cases: [(&str, &str, Value); 8] = [
        (
            "CREATE TABLE `a table` (`select` TEXT PRIMARY KEY, `x``y` TEXT); INSERT INTO `a table` VALUES ('k', 'v')",
            "[source]\ntable = \"a table\"\n[document]\ntemplate = \"{{ row['x`y'] }}\"",
            json!([{"select": "k", "x`y": "v"}]),
        ),
        (
            "CREATE TABLE t (lang TEXT, n INT, x TEXT, PRIMARY KEY (lang, n)) WITHOUT ROWID; INSERT INTO t VALUES ('de', 2, 'b'), ('de', 1, 'a')",
            "[source]\ntable = \"t\"\n[document]\ntemplate = \"{{ x }}\"",
            json!([{"lang": "de", "n": 1, "x": "a"}, {"lang": "de", "n": 2, "x": "b"}]),
        ),
        (
            "CREATE TABLE t (x TEXT); INSERT INTO t VALUES ('b'), ('a')",
            "[source]\ntable = \"t\"\nid = \"rowid\"\n[document]\ntemplate = \"{{ x }}\"",
            json!([{"x": "b"}, {"x": "a"}]),
        ),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, n REAL, twice REAL AS (n * 2)) STRICT; INSERT INTO t(id, n) VALUES (1, 1.5)",
            "[source]\ntable = \"t\"\n[document]\ntemplate = \"{{ twice }}\"",
            json!([{"id": 1, "n": 1.5, "twice": 3.0}]),
        ),
        (
            "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT); INSERT INTO t VALUES (1, 'x'); CREATE VIEW v AS SELECT a AS id, upper(b) AS b FROM t",
            "[source]\ntable = \"v\"\nid = \"id\"\n[document]\ntemplate = \"{{ b }}\"",
            json!([{"id": 1, "b": "X"}]),
        ),
        (
            "CREATE VIRTUAL TABLE notes USING fts5(title, body); INSERT INTO notes VALUES ('t', 'b')",
            "[source]\ntable = \"notes\"\nid = \"rowid\"\nwhere = \"notes MATCH 'b'\"\n[document]\ntemplate = \"{{ title }} {{ body }}\"",
            json!([{"title": "t", "body": "b"}]),
        ),
        (
            "CREATE TABLE u (id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE a (id INTEGER PRIMARY KEY, u INT, t TEXT); INSERT INTO u VALUES (7, 'Ada'); INSERT INTO a VALUES (1, 7, 'Notes')",
            "[source]\nquery = \"SELECT a.id, a.t AS title, u.name AS author FROM a JOIN u ON u.id = a.u -- all\"\nid = \"id\"\n[document]\ntemplate = \"{{ title }} by {{ author }}\"",
            json!([{"id": 1, "title": "Notes", "author": "Ada"}]),
        ),
        (
            "CREATE TABLE t (id, x TEXT); INSERT INTO t VALUES ('b', '1'), (2, '2'), (1.5, '3')",
            "[source]\ntable = \"t\"\nid = \"id\"\n[document]\ntemplate = \"{{ x }}\"",
            json!([{"id": 1.5, "x": "3"}, {"id": 2, "x": "2"}, {"id": "b", "x": "1"}]),
        ),
    ];
    for (sql, text, expected) in cases {
        let world = World::new();
        world.sql(sql);
        settings(&world, text);

        world.build();

        assert_eq!(Value::from(world.records()), expected, "{sql}");
        world.assert_proven();
    }
}

#[test]
fn what_settings_and_database_contradict_is_named_and_nothing_is_made() {
    let document = "\n[document]\ntemplate = \"{{ title }}\"";
    let cases = [
        ("table = \"article\"", 1, "no such table: article; the nearest is \"articles\""),
        ("table = \"people\"", 1, "no such table: people; the database has articles, experts"),
        ("table = \"articles\"\ncolumns = [\"titel\"]", 1, "the nearest is \"title\""),
        ("table = \"articles\"\nid = \"slug\"", 1, "source.id names the column \"slug\""),
        (
            "table = \"articles\"\nwhere = \"publishd = 1\"",
            1,
            "no such column: publishd; the nearest is \"published\"",
        ),
        (
            "query = \"SELECT a.id, a.titel AS title FROM articles a\"\nid = \"id\"",
            1,
            "no such column: a.titel; the nearest is \"title\"",
        ),
        (
            "table = \"articles\"\nwhere = \"my_function(id)\"",
            1,
            "no such function: my_function; known only to the application that registers it",
        ),
        (
            "table = \"articles\"\nwhere = \"title = 'x' COLLATE mine\"",
            1,
            "no such collation sequence: mine; known only to the application that registers it",
        ),
        ("query = \"SELECT id, title FROM articles\"", 1, "has no declared primary key"),
        (
            "query = \"SELECT id, title, body AS title FROM articles\"\nid = \"id\"",
            1,
            "two columns named \"title\"",
        ),
        ("query = \"DELETE FROM articles\"", 2, "source.query"),
        ("query = \"ATTACH 'x.db' AS x\"", 2, "source.query"),
        ("query = \"SELECT 1 AS id; SELECT 2\"", 2, "source.query"),
        ("query = \"SELECT random() AS id\"", 2, "source.query"),
        ("table = \"articles\"\nwhere = \"1 LIMIT 1\"", 2, "source.where"),
    ];
    for (source, code, expected) in cases {
        let world = World::new();
        articles(&world);
        settings(&world, &format!("[source]\n{source}{document}"));

        let error = failed(&world, code);

        assert!(error.contains(expected), "{source}: {error}");
        assert_eq!(world.provider.texts_seen().len(), 0, "{source}");
    }
}

#[test]
fn rows_that_cannot_stand_in_the_metadata_are_named_by_their_whole_id() {
    let cases = [
        ("(1, 'x', x'00', NULL, 1)", "row id=1 column body: a BLOB"),
        ("(1, 'x', 'y', '[NaN]', 1)", "row id=1 column tags: no valid JSON"),
        ("(1, 'x', 'y', '[1e400]', 1)", "row id=1 column tags: a number beyond"),
        ("(1, 'x', 'y', '[\"\\ud800\"]', 1)", "row id=1 column tags: the lone surrogate"),
    ];
    for (row, expected) in cases {
        let world = World::new();
        articles(&world);
        world.sql(&format!("DELETE FROM articles; INSERT INTO articles VALUES {row}"));
        settings(&world, ARTICLES);

        let error = failed(&world, 1);

        assert!(error.contains(expected), "{row}: {error}");
    }
    let world = World::new();
    world.sql("CREATE TABLE t (a, b, x); INSERT INTO t VALUES ('k', NULL, 'x')");
    settings(&world, "[source]\ntable = \"t\"\nid = [\"a\", \"b\"]\n[document]\ntemplate = \"{{ x }}\"");
    let error = failed(&world, 1);
    assert!(error.contains(r#"row id=[\"k\", NULL] column b: NULL, expected"#), "{error}");

    world.sql("DELETE FROM t; INSERT INTO t VALUES ('k', 1, 'x'), ('k', 1, 'y')");
    let error = failed(&world, 1);
    assert!(error.contains("column a, b: another row has the same id"), "{error}");
}

/// Ten chunks; the last sentence is `last`.
fn long_text(last: &str) -> String {
    let sentences: Vec<_> = (0..100).map(|n| format!("Sentence {n} says a few words. ")).collect();
    sentences.concat() + last
}

const CHUNKS: &str = r#"
[source]
table = "t"
columns = ["id"]
[document]
template = "{{ title }}: {{ chunk }}"
chunk = { column = "body", size = 320, overlap = 40 }
"#;

#[test]
fn a_long_text_is_embedded_in_chunks_that_say_where_they_stand() {
    let world = World::new();
    world.sql("CREATE TABLE t (id TEXT PRIMARY KEY, title TEXT, body TEXT)");
    let body = long_text("The end — ä.");
    world.connect().execute("INSERT INTO t VALUES ('a', 'T', ?1), ('b', 'Empty', NULL)", [&body]).unwrap();
    settings(&world, CHUNKS);

    let ran = world.build();

    let records = world.records();
    let points: Vec<char> = body.chars().collect();
    let sent: BTreeSet<String> = world.provider.texts_seen().into_iter().collect();
    assert!(records.len() > 10, "{}", records.len());
    for record in &records[..records.len() - 1] {
        let place = |key: &str| usize::try_from(record["chunk"][key].as_u64().unwrap()).unwrap();
        let chunk: String = points[place("start")..place("end")].iter().collect();
        assert_eq!(record["id"], "a");
        assert_eq!(place("of"), records.len() - 1);
        assert!(sent.contains(&format!("T: {chunk}")), "{chunk}");
    }
    let empty = json!({"id": "b", "chunk": {"index": 0, "of": 1, "start": 0, "end": 0}});
    assert_eq!(records.last(), Some(&empty));
    assert_eq!(ran.number("records"), 2, "rows of the source");
    assert_eq!(ran.number("embedded"), records.len() as u64, "entries of the index");
    world.assert_proven();

    world.connect().execute("UPDATE t SET body = ?1 WHERE id = 'a'", [long_text("Another end.")]).unwrap();
    let ran = world.build();
    assert!((1..=2).contains(&ran.number("embedded")), "{}", ran.stdout);

    world.sql("DELETE FROM t WHERE id = 'b'; INSERT INTO t VALUES ('c', 'T', 'short')");
    let ran = world.build();
    assert_eq!((ran.number("records"), ran.number("removed"), ran.number("embedded")), (2, 1, 1));
}

#[test]
fn the_experts_by_their_preset_and_by_settings_are_the_same_files() {
    let by_settings = r#"
[source]
table = "experts"
where = "tags IS NOT NULL"
columns = ["id", "username", { name = "first_name", key = "First Name" }, { name = "last_name", key = "Last Name" },
    { name = "job_title", key = "Job Title" }, { name = "company", key = "Company" }, { name = "bio", key = "Bio" },
    { name = "hourly_rate", key = "Hourly Rate" }, { name = "currency", key = "Currency" },
    { name = "profile_url", key = "Profile URL" }, { name = "profile_url_utm", key = "Profile URL with UTM" },
    { name = "tags", json = true }, "findability_score", "category"]
[document]
template = """
{%- set parts = [] -%}
{%- set first = (first_name or "")|strip -%}{%- set last = (last_name or "")|strip -%}
{%- set title = (job_title or "")|strip -%}{%- set at = (company or "")|strip -%}
{%- set about = (bio or "")|strip -%}
{%- set name = (first ~ " " ~ last)|strip -%}
{%- set work = (title ~ " at " ~ at ~ ".") if title and at else (title ~ ".") if title else ("Works at " ~ at ~ ".") if at else "" -%}
{%- set domains = ("Domains: " ~ tags|join(", ") ~ ".") if tags else "" -%}
{%- set all = [(name ~ ".") if name else "", work, about, domains]|select|join(" ") -%}
{{ all or username }}"""
"#;
    let world = World::new();
    world.add_people(1..=40);
    world.sql(
        "UPDATE experts SET company = NULL, bio = ' two  spaces ' WHERE id % 3 = 0;
         UPDATE experts SET job_title = NULL, first_name = NULL WHERE id % 4 = 0;
         UPDATE experts SET tags = '[]', last_name = '' WHERE id % 5 = 0;
         UPDATE experts SET hourly_rate = 1e16, tags = '[\"a, b\", \"ü\"]' WHERE id % 7 = 0",
    );
    let first = world.build();
    let files = |world: &World| {
        let build = world.path("data/current");
        ["faiss.index", "metadata.json", "hashes.bin"].map(|name| std::fs::read(build.join(name)).unwrap())
    };
    let by_preset = files(&world);
    let sent = world.provider.texts_seen().len();

    settings(&world, by_settings);
    let plan: Ran = world.run(&["plan", "--json"]);
    let second = world.build();

    assert_eq!(plan.number("to_embed"), 0, "{}", plan.stdout);
    assert_eq!((second.text("outcome"), second.number("embedded")), ("promoted".to_owned(), 0));
    assert_eq!(first.number("records"), second.number("records"));
    assert!(files(&world) == by_preset, "index, metadata and hashes are the same byte for byte");
    assert_eq!(world.provider.texts_seen().len(), sent);
}
