//! Tables, views and queries as other people have them, and SQL that must not be run.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Ran, World, ended, start};

/// Builds from a source, of whichever source the directory was; the settings are sections of the file.
fn built(world: &World, settings: &str) -> Ran {
    world.settings(&format!("{settings}\n"));
    world.run(&["build", "--json", "--accept-source"])
}

/// The source must be published as these records, proven.
#[track_caller]
fn assert_published(sql: &str, settings: &str, expected: &Value) {
    let world = World::new();
    world.sql(sql);
    let ran = built(&world, settings);
    assert_eq!(ran.code, 0, "{sql}: {ran:?}");
    assert_eq!(&Value::from(world.records()), expected, "{sql}");
    world.assert_proven();
}

#[test]
fn names_of_any_kind_are_read_and_published_as_they_are() {
    assert_published(
        "CREATE TABLE `order \"by\" 'x' [y] ``z`` Größe 数` (`select` INTEGER PRIMARY KEY, `group` TEXT,
            `a \"b\"` TEXT, `it's` TEXT, `straße` TEXT, `列` TEXT, ` ` TEXT);
         INSERT INTO `order \"by\" 'x' [y] ``z`` Größe 数` VALUES (1, 'g', 'q', 's', 'ß', '行', 'blank')",
        r#"[source]
table = "order \"by\" 'x' [y] `z` Größe 数"
id = "select"
where = "\"group\" = 'g'"
[document]
template = "{{ row['group'] }} {{ row['a \"b\"'] }} {{ row[\"it's\"] }} {{ row['列'] }} {{ row[' '] }}""#,
        &json!([{"select": 1, "group": "g", "a \"b\"": "q", "it's": "s", "straße": "ß", "列": "行", " ": "blank"}]),
    );
}

#[test]
fn two_hundred_columns_are_read_and_published_in_their_order() {
    let names: Vec<_> = (0..200).map(|n| format!("c{n}")).collect();
    let values: Vec<_> = (0..200).map(|n| n.to_string()).collect();
    let world = World::new();
    world.sql(&format!(
        "CREATE TABLE wide (id INTEGER PRIMARY KEY, {}); INSERT INTO wide VALUES (1, {})",
        names.join(", "),
        values.join(", ")
    ));
    let ran = built(&world, "[source]\ntable = \"wide\"\n[document]\ntemplate = \"{{ c0 }} {{ c199 }}\"");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(world.provider.texts_seen(), ["0 199"]);
    let printed = String::from_utf8(world.published("metadata.json")).unwrap();
    let members: Vec<_> = (0..200).map(|n| format!("\"c{n}\": {n}")).collect();
    assert_eq!(printed, format!("[{{\"id\": 1, {}}}]", members.join(", ")));
}

#[test]
fn a_table_without_a_key_is_read_by_rowid_only_where_that_is_asked_for() {
    let world = World::new();
    world.sql("CREATE TABLE bare (x TEXT); INSERT INTO bare VALUES ('a'), ('b')");
    let document = "\n[document]\ntemplate = \"{{ x }}\"";
    let refused = built(&world, &format!("[source]\ntable = \"bare\"{document}"));
    assert_eq!(refused.code, 1, "{refused:?}");
    for said in ["no declared primary key", "\"rowid\"", "VACUUM"] {
        assert!(refused.text("error").contains(said), "{refused:?}");
    }
    assert_eq!((world.served(), world.provider.text_count()), (None, 0));

    assert_eq!(built(&world, &format!("[source]\ntable = \"bare\"\nid = \"rowid\"{document}")).code, 0);
    assert_eq!(Value::from(world.records()), json!([{"x": "a"}, {"x": "b"}]));
    // WITHOUT ROWID there is none to ask for.
    let world = World::new();
    world.sql("CREATE TABLE bare (x TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO bare VALUES ('a')");
    let refused = built(&world, &format!("[source]\ntable = \"bare\"\nid = \"rowid\"{document}"));
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.text("error").contains("no such column: rowid"), "{refused:?}");
}

#[test]
fn an_id_of_ten_thousand_characters_is_whole_in_the_metadata() {
    let id = "ä".repeat(10_000);
    let world = World::new();
    world.sql("CREATE TABLE t (id TEXT PRIMARY KEY, x TEXT)");
    world.connect().execute("INSERT INTO t VALUES (?1, 'x'), (?1 || 'b', 'y')", [&id]).unwrap();
    let settings = "[source]\ntable = \"t\"\n[document]\ntemplate = \"{{ x }}\"";
    assert_eq!(built(&world, settings).code, 0);
    assert_eq!(
        Value::from(world.records()),
        json!([{"id": id, "x": "x"}, {"id": format!("{id}b"), "x": "y"}])
    );
    world.sql("UPDATE t SET x = 'z' WHERE length(id) = 10001");
    assert_eq!(world.build().number("embedded"), 1);

    // A message names it, and stays one that can be read.
    let served = world.served();
    world.connect().execute("UPDATE t SET x = x'00' WHERE id = ?1", [&id]).unwrap();
    let failed = built(&world, settings);
    assert_eq!((failed.code, world.served()), (1, served), "{failed:?}");
    assert!(failed.text("error").contains("row id=ä"), "{failed:?}");
    assert!(failed.text("error").len() < 4000, "{} bytes", failed.text("error").len());
}

#[test]
fn databases_in_utf_16_are_read_as_their_text() {
    for encoding in ["UTF-16le", "UTF-16be"] {
        let world = World::new();
        std::fs::remove_file(world.database()).unwrap();
        world.sql(&format!(
            "PRAGMA encoding = '{encoding}'; CREATE TABLE t (id TEXT PRIMARY KEY, x TEXT, tags TEXT);
             INSERT INTO t VALUES ('ä', 'Zoë 😀', '[\"é\"]'), ('b', NULL, NULL)"
        ));
        let ran = built(
            &world,
            "[source]\ntable = \"t\"\ncolumns = [\"id\", \"x\", { name = \"tags\", json = true }]\n[document]\ntemplate = \"{{ id }} {{ x }}\"",
        );
        assert_eq!(ran.code, 0, "{encoding}: {ran:?}");
        assert_eq!(
            Value::from(world.records()),
            json!([{"id": "b", "x": null, "tags": null}, {"id": "ä", "x": "Zoë 😀", "tags": ["é"]}]),
            "{encoding}"
        );
        assert_eq!(world.build().text("outcome"), "unchanged", "{encoding}");
    }
}

#[test]
fn a_view_over_an_attached_database_is_refused_by_its_name() {
    let world = World::new();
    // Only a temporary view may name another database, so it is written into the schema by hand.
    world.sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT); INSERT INTO t VALUES (1, 'x');
         CREATE VIEW v AS SELECT id, x FROM t; PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE VIEW v AS SELECT id, x FROM other.t' WHERE name = 'v';",
    );
    let ran = built(&world, "[source]\ntable = \"v\"\nid = \"id\"\n[document]\ntemplate = \"{{ x }}\"");
    assert_eq!((ran.code, world.served()), (1, None), "{ran:?}");
    let error = ran.text("error");
    assert!(error.contains("view v cannot reference objects in database other"), "{error}");

    assert_eq!(world.provider.text_count(), 0);

    let world = World::new();
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT); INSERT INTO t VALUES (1, 'x')");
    let ran = built(
        &world,
        "[source]\ntable = \"t\"\nwhere = \"id IN (SELECT id FROM other.t)\"\n[document]\ntemplate = \"{{ x }}\"",
    );
    assert_eq!((ran.code, world.served()), (1, None), "{ran:?}");
    assert!(ran.text("error").contains("no such table: other.t"), "{ran:?}");
    assert_eq!(world.provider.text_count(), 0);
}

#[test]
fn joined_strict_generated_keyless_and_searched_tables_are_read_together() {
    assert_published(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, n REAL, twice REAL AS (n * 2) STORED) STRICT;
         CREATE TABLE b (lang TEXT, id INT, name TEXT, PRIMARY KEY (lang, id)) WITHOUT ROWID;
         CREATE VIRTUAL TABLE notes USING fts5(title);
         INSERT INTO a (id, n) VALUES (1, 1.5), (2, 2); INSERT INTO b VALUES ('de', 1, 'eins'), ('en', 1, 'one');
         INSERT INTO notes (rowid, title) VALUES (1, 'the first note'), (2, 'another')",
        r#"[source]
query = "SELECT b.lang, a.id, b.name, a.twice, notes.title FROM a JOIN b ON b.id = a.id JOIN notes ON notes.rowid = a.id WHERE notes MATCH 'note'"
id = ["lang", "id"]
[document]
template = "{{ name }}: {{ title }}""#,
        &json!([
            {"lang": "de", "id": 1, "name": "eins", "twice": 3.0, "title": "the first note"},
            {"lang": "en", "id": 1, "name": "one", "twice": 3.0, "title": "the first note"},
        ]),
    );
}

/// A world whose table `t` is served.
fn served_world() -> (World, Option<String>) {
    let world = World::new();
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    let first = built(
        &world,
        "[source]\nquery = \"SELECT id, x FROM t\"\nid = \"id\"\n[document]\ntemplate = \"{{ x }}\"",
    );
    assert_eq!(first.code, 0, "{first:?}");
    let served = world.served();
    (world, served)
}

fn query(sql: &str) -> String {
    let sql = json!(sql);
    format!("[source]\nquery = {sql}\nid = \"id\"\n[document]\ntemplate = \"{{{{ x }}}}\"")
}

#[test]
fn sql_that_is_more_than_one_read_ends_with_2_and_changes_nothing() {
    let (world, served) = served_world();
    let sent = world.provider.text_count();
    for sql in [
        "UPDATE t SET x = 'c' RETURNING id, x",
        "DELETE FROM t",
        "DROP TABLE t",
        "CREATE TABLE u AS SELECT 1 AS id",
        "ATTACH 'data/other.db' AS other",
        "PRAGMA journal_mode = WAL",
        "VACUUM",
        "SELECT id, x FROM t; DELETE FROM t",
        "SELECT id, x FROM t;",
        "SELECT id, random() AS x FROM t",
        "SELECT id, hex(randomblob(4)) AS x FROM t",
        "SELECT id, load_extension('evil') AS x FROM t",
        "SELECT id, x FROM t WHERE id > changes()",
    ] {
        let ran = built(&world, &query(sql));
        assert_eq!((ran.code, world.served()), (2, served.clone()), "{sql}: {ran:?}");
        let error = ran.text("error");
        assert!(error.contains("source.query") && error.contains("nothing was"), "{sql}: {error}");
    }
    let rows: i64 = world.connect().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!((rows, world.provider.text_count(), world.path("data/other.db").exists()), (2, sent, false));
    assert_eq!(world.staging(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn two_rows_with_one_id_end_with_1_and_are_named() {
    let (world, served) = served_world();
    let ran = built(&world, &query("SELECT 7 AS id, x FROM t UNION ALL SELECT 8, 'c'"));
    assert_eq!((ran.code, world.served()), (1, served), "{ran:?}");
    assert!(ran.text("error").contains("row id=7 column id: another row has the same id"), "{ran:?}");
    assert_eq!(world.staging(), Vec::<std::path::PathBuf>::new());
}

/// Rows without an end.
const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id, 'x' || i AS x FROM n";

#[test]
fn a_query_without_an_end_is_refused_by_its_rows_or_its_space() {
    let (world, served) = served_world();
    // Sorted on disk, so that the space is used before the first row comes.
    let ran = built(&world, &format!("{}\n[guard]\nmax_scan = \"1MiB\"\n", query(ENDLESS)));
    assert_eq!((ran.code, world.served()), (3, served.clone()), "{ran:?}");
    assert!(ran.text("error").contains("guard.max_scan"), "{ran:?}");
    // In the order of a key no sorting is needed, and rows are counted as they come.
    world.sql("WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO t SELECT i, 'x' FROM n");
    let ran = built(&world, &format!("{}\n[guard]\nmax_rows = 1000\n", query("SELECT id, x FROM t")));
    assert_eq!((ran.code, world.served()), (3, served), "{ran:?}");
    assert!(ran.text("error").contains("guard.max_rows"), "{ran:?}");
    assert_eq!(world.staging(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_query_without_an_end_is_ended_by_sigterm_within_five_seconds() {
    let (world, served) = served_world();
    // Nothing is kept of these rows, so no guard is ever met.
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i % 1000 + 1 FROM n) \
               SELECT count(*) AS id, 'x' AS x FROM n";
    world.settings(&format!("{}\n", query(sql)));
    let child = start(&mut world.command(&["build", "--json", "--accept-source"]));
    let pid = rustix::process::Pid::from_child(&child);
    // It is within the scan once it has the database open.
    crate::support::eventually("the database is open", || {
        crate::support::open_files(pid).iter().any(|path| path.ends_with("experts.db"))
    });
    let asked = Instant::now();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let ran = ended(child);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!((ran.code, world.served()), (143, served), "{ran:?}");
    assert_eq!(world.staging(), Vec::<std::path::PathBuf>::new());
}
