//! Texts of other people, as a Python package ships them: articles in chunks, a joined query, an FTS5 table.
//!
//! MITRE's list of weaknesses, from the package `cwe2`: 963 articles of up to
//! 25,000 characters, and nearly three thousand examples. What Python's `json`
//! makes of the same rows is the reference (`tests/reader/weaknesses.py`).

use std::path::Path;

use crate::support::{Ran, World, run};

const CHUNK_SIZE: usize = 1000;

/// The three tables, and what Python expects of them in the world's folder.
fn world() -> World {
    let world = World::new();
    let ran = world.python("weaknesses.py", &[Path::new("make"), &world.database(), &world.path("")]);
    assert_eq!(ran.code, 0, "make test installs the package: {}", ran.stderr);
    world
}

/// The first record that `search` finds.
fn found(world: &World, question: &str) -> serde_json::Value {
    first_of(&world.run(&["search", question, "--json"]))
}

fn first_of(ran: &Ran) -> serde_json::Value {
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()["results"][0]["record"].clone()
}

#[test]
fn a_thousand_long_articles_are_cut_and_found_and_stand_as_python_writes_them() {
    let world = world();
    world.settings(&format!(
        "[source]\ntable = \"articles\"\n\
         columns = [\"id\", {{ name = \"name\", key = \"Name\" }}, \"likelihood\", {{ name = \"related\", json = true }}]\n\
         [document]\ntemplate = \"\"\"\n{{{{ name }}}}{{% if likelihood %}} ({{{{ likelihood }}}}){{% endif %}}\n\n{{{{ chunk }}}}\"\"\"\n\
         chunk = {{ column = \"body\", size = {CHUNK_SIZE}, overlap = 100 }}\n"
    ));

    let built = world.build();

    let size = CHUNK_SIZE.to_string();
    let metadata = world.path("data/metadata.json");
    let arguments = [Path::new("check"), &world.database(), &metadata, Path::new(&size)];
    let checked: Ran = world.python("weaknesses.py", &arguments);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert_eq!(built.number("records"), checked.number("rows"));
    assert_eq!(built.number("embedded") + built.number("kept"), checked.number("chunks"));
    assert!(checked.number("chunks") > 3_000 && checked.number("longest") > 20_000, "{checked:?}");
    world.assert_proven();

    let text = world.provider.texts_seen().into_iter().find(|text| text.contains("cross-site")).unwrap();
    assert!(text.starts_with(found(&world, &text)["Name"].as_str().unwrap()), "{text}");
    world.sql("UPDATE articles SET body = body || ' One sentence more.' WHERE id = 'CWE-79'");
    let again = world.build();
    assert!((1..=2).contains(&again.number("embedded")), "{again:?}");
}

#[test]
fn examples_joined_with_their_articles_stand_in_the_metadata_as_python_writes_them() {
    let world = world();
    world.settings(
        "[source]\nid = [\"weakness\", \"n\"]\n\
         query = \"SELECT e.*, a.name FROM examples e JOIN articles a ON a.id = 'CWE-' || e.weakness\"\n\
         columns = [\"weakness\", \"n\", \"cve\", { name = \"description\", key = \"Text\" }, \"name\"]\n\
         [document]\ntemplate = \"{{ cve }} ({{ name }}): {{ description }}\"\n",
    );

    let built = world.build();

    assert!(built.number("records") > 2_000, "{built:?}");
    assert!(world.published("metadata.json") == std::fs::read(world.path("examples.json")).unwrap());
    world.assert_proven();
    let text = world.provider.texts_seen().swap_remove(0);
    let found = found(&world, &text);
    assert!(text.starts_with(found["cve"].as_str().unwrap()), "{text}: {found}");
}

#[test]
fn an_fts_table_answers_a_question_by_the_model_inside_the_program() {
    let world = world();
    world.settings(
        "[source]\ntable = \"notes\"\nid = \"rowid\"\nwhere = \"notes MATCH 'title : injection'\"\n\
         [document]\ntemplate = \"{{ title }}\"\n[embedding]\nprovider = \"local\"\n",
    );

    // The model has a dimension of its own.
    let run = |arguments: &[&str]| run(world.command(arguments).env_remove("OUTPUT_DIM"));

    let built = run(&["build", "--json"]);

    assert_eq!((built.code, built.number("records")), (0, 20), "{built:?}");
    assert!(world.published("metadata.json") == std::fs::read(world.path("notes.json")).unwrap());
    let answer =
        first_of(&run(&["search", "a query to a database is changed by what a user typed", "--json"]));
    assert!(answer["title"].as_str().unwrap().contains("SQL"), "{answer}");
    assert_eq!(world.provider.texts_seen(), [""; 0], "nothing was sent");
}
