//! `reindexd init`: settings that run as they are written, and nothing that was there is lost.

use std::os::unix::fs::PermissionsExt;

use crate::support::World;

#[test]
fn settings_for_a_table_as_it_is_build_without_a_change() {
    let cases = [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, title TEXT, body TEXT, image BLOB); INSERT INTO t VALUES (1, 'T', 'B', x'00')",
        "CREATE TABLE t (`a \"key\"` TEXT PRIMARY KEY, `x y` VARCHAR(9)) WITHOUT ROWID; INSERT INTO t VALUES ('k', 'v')",
        "CREATE TABLE t (lang TEXT, n INT, name TEXT, PRIMARY KEY (n, lang)); INSERT INTO t VALUES ('de', 1, 'N')",
        "CREATE TABLE t (x TEXT, `select` TEXT); INSERT INTO t VALUES ('a', 'b')",
        "CREATE TABLE u (id INTEGER PRIMARY KEY, x TEXT); INSERT INTO u VALUES (1, 'a'); CREATE VIEW t AS SELECT id, x FROM u",
        "CREATE VIRTUAL TABLE t USING fts5(title, body); INSERT INTO t VALUES ('T', 'B')",
    ];
    for sql in cases {
        let world = World::new();
        world.sql(sql);

        let made = world.run(&["init", "--from-env", "--table", "t"]);
        assert_eq!(made.code, 0, "{sql}: {}", made.stderr);
        let ran = world.build();

        assert_eq!((ran.number("records"), world.provider.text_count()), (1, 1), "{sql}");
        let settings = std::fs::read_to_string(world.path("reindexd.toml")).unwrap();
        assert!(!settings.contains("test-key"), "a key is never written");
        let mode = std::fs::metadata(world.path("reindexd.toml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o027, 0, "{mode:o}");
    }
}

#[test]
fn without_a_key_of_a_provider_the_built_in_model_is_taken() {
    let world = World::new();
    let mut command = world.command(&["init", "--json"]);
    command.env_remove("GOOGLE_API_KEY").env_remove("GOOGLE_GEMINI_BASE_URL");

    let made = crate::support::run(&mut command);

    assert_eq!(made.code, 0, "{}", made.stderr);
    assert_eq!(made.json()["values"][0], "embedding.provider = \"local\"");
}

#[test]
fn a_settings_file_that_is_there_is_never_overwritten() {
    let world = World::new();
    world.settings("# mine\n");

    let ran = world.run(&["init"]);

    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("reindexd.toml exists already and is left as it is"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(world.path("reindexd.toml")).unwrap(), "# mine\n");
    assert_eq!(world.run(&["init", "--config", "other.toml"]).code, 0);
}

#[test]
fn a_table_that_is_missing_is_answered_with_those_that_there_are() {
    let world = World::new();

    let ran = world.run(&["init", "--table", "expert"]);

    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("no such table: expert; expected one of experts"), "{}", ran.stderr);
    assert!(!world.path("reindexd.toml").exists());
}

#[test]
fn names_of_columns_that_mean_something_in_a_template_build_without_a_change() {
    for names in [["if", "not"], ["chunk", "loop"], ["True", "in"]] {
        let world = World::new();
        let [one, two] = names;
        world.sql(&format!("CREATE TABLE t (k INTEGER PRIMARY KEY, \"{one}\" TEXT, \"{two}\" TEXT)"));
        world.sql("INSERT INTO t VALUES (1, 'a text', 'and more')");

        let made = world.run(&["init", "--table", "t", "--from-env"]);
        let built = world.run(&["build", "--json"]);

        assert_eq!((made.code, built.code), (0, 0), "{names:?}: {made:?} {built:?}");
        assert_eq!(world.provider.texts_seen(), ["a text\n\nand more"], "{names:?}");
    }
}

#[test]
fn of_a_view_the_column_that_is_named_id_identifies_a_row() {
    let world = World::new();
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, kind TEXT, body TEXT)");
    world.sql("CREATE VIEW v AS SELECT kind, id, body FROM t");
    world.sql("INSERT INTO t VALUES (1, 'a', 'one'), (2, 'a', 'two')");

    let made = world.run(&["init", "--table", "v", "--from-env"]);
    let built = world.run(&["build", "--json"]);

    assert_eq!((made.code, built.code), (0, 0), "{made:?} {built:?}");
    assert_eq!(built.number("records"), 2);
}

#[test]
fn a_column_named_row_is_refused_with_what_to_write_instead() {
    let world = World::new();
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, \"Row\" TEXT)");

    let ran = world.run(&["init", "--table", "t"]);

    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("has a column named row") && ran.stderr.contains("alias"), "{ran:?}");
    assert!(!world.path("reindexd.toml").exists());
}
