//! What is said where not the rows changed but what is made of them.

use reindexd::domain::manifest::Manifest;
use reindexd::domain::record::TextHash;
use reindexd::domain::row_hashes::{hashes_header, parse_hashes, row_bytes};
use serde_json::Value;

use crate::support::{Ran, World};

/// Twenty articles by this template, with all lines of the log.
fn settings(world: &World, template: &str) {
    world.settings(&format!(
        "[source]\ntable = \"articles\"\ncolumns = [\"id\"]\n[document]\ntemplate = \"{template}\"\n\
         [log]\nlevel = \"debug\"\n"
    ));
}

fn articles() -> World {
    let world = World::new();
    world.sql(
        "CREATE TABLE articles (id INTEGER PRIMARY KEY, title TEXT, body TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
         INSERT INTO articles SELECT i, 'Title ' || i, iif(i <= 2, 'Body', NULL) FROM n;",
    );
    settings(&world, "{{ title }}");
    world
}

/// The reasons of `plan`, which embeds nothing.
fn reasons(world: &World) -> Vec<String> {
    let plan = world.run(&["plan", "--json"]).json();
    plan["reasons"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap().to_owned()).collect()
}

fn manifest(world: &World) -> Value {
    serde_json::from_slice(&world.published("current/manifest.json")).unwrap()
}

/// Where the warning stands before the first text of this build is sent.
fn warned(ran: &Ran) -> Option<&str> {
    ran.stderr.lines().find(|line| line.contains("embedded again") && line.contains("WARN"))
}

#[test]
fn the_manifest_says_what_was_read_and_how_texts_were_made() {
    let world = articles();
    world.build();
    let first = manifest(&world)["rules"].clone();
    assert_eq!((first["table"].as_str(), first["query"].as_str()), (Some("articles"), None), "{first}");
    for digest in ["schema", "template"] {
        assert_eq!(first[digest].as_str().unwrap().len(), 16, "{first}");
    }
    assert_eq!(manifest(&world)["values_hash"].as_str().unwrap().len(), 64);

    let query = "SELECT id, title, body FROM articles";
    world.settings(&format!(
        "[source]\nquery = \"{query}\"\nid = \"id\"\ncolumns = [\"id\"]\n[document]\n\
         template = \"{{{{ title }}}} {{{{ chunk }}}}\"\nchunk = {{ column = \"body\", size = 9 }}\n"
    ));
    world.run(&["build", "--accept-source"]);
    let second = manifest(&world)["rules"].clone();
    assert_eq!((second["table"].as_str(), second["query"].as_str()), (None, Some(query)), "{second}");
    assert_eq!(second["chunk"], serde_json::json!({"column": "body", "size": 9, "overlap": 0}));
    assert_ne!(second["schema"], first["schema"]);
    assert_ne!(second["template"], first["template"]);
}

#[test]
fn a_changed_template_is_a_reason_and_warned_of_beyond_a_tenth() {
    let world = articles();
    let first = world.build();
    assert_eq!(warned(&first), None, "{}", first.stderr);

    // Two texts of twenty: a tenth, and no more.
    settings(&world, "{{ title }}{% if body %}: {{ body }}{% endif %}");
    assert_eq!(reasons(&world), ["rows differ from the served build", "the template changed"]);
    let second = world.build();
    assert_eq!((second.number("embedded"), warned(&second)), (2, None), "{}", second.stderr);
    assert!(second.stderr.contains("pass: the template changed"), "{}", second.stderr);

    settings(&world, "{{ title }}, {{ body }}");
    let expected = ["the template changed", "20 of 20 texts are embedded again: the template changed"];
    assert_eq!(reasons(&world), expected);
    let third = world.build();
    assert_eq!(third.number("embedded"), 20);
    assert!(warned(&third).unwrap().contains(expected[1]), "{}", third.stderr);

    // Another spelling of the same texts costs nothing, and nothing is said.
    settings(&world, "{{ title }}, {{- ' ' -}} {{ body }}");
    assert_eq!(reasons(&world), Vec::<String>::new());
    assert_eq!(world.build().text("outcome"), "unchanged");
}

#[test]
fn texts_made_by_another_version_are_embedded_with_a_warning() {
    let world = articles();
    world.build();
    made_otherwise(&world);

    let found = reasons(&world).pop().unwrap();
    assert!(
        found.contains("20 of 20 texts are embedded again: the rendering differs: another version"),
        "{found}"
    );
    assert!(found.contains("reindexd 0.0.9"), "{found}");
    world.provider.excuse_money("the test changes what the served build says of its texts");
    let again = world.build();
    assert_eq!(again.number("embedded"), 20);
    assert!(warned(&again).unwrap().contains("the rendering differs"), "{}", again.stderr);
}

/// Makes the served build one of a version whose texts were others.
fn made_otherwise(world: &World) {
    let build = world.path("data/current");
    let mut rows = parse_hashes(&std::fs::read(build.join("hashes.bin")).unwrap()).unwrap();
    for row in &mut rows {
        row.text = TextHash(row.text.0.map(|byte| !byte));
    }
    let hashes = [hashes_header(&rows).to_vec(), row_bytes(&rows)].concat();
    let mut manifest = Manifest::parse(&std::fs::read(build.join("manifest.json")).unwrap()).unwrap();
    "reindexd 0.0.9".clone_into(&mut manifest.program);
    (manifest.scan_hash, manifest.content_hash) = (None, None);
    manifest.files.hashes.blake3 = blake3::hash(&hashes).to_hex().to_string();
    for (name, bytes) in [("hashes.bin", hashes), ("manifest.json", manifest.print())] {
        let path = build.join(name);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn changed_chunks_and_another_space_are_named_before_texts_are_sent() {
    let world = articles();
    world.sql("UPDATE articles SET body = 'One two three. Four five six.'");
    let chunks = |size: u32| {
        world.settings(&format!(
            "[source]\ntable = \"articles\"\ncolumns = [\"id\"]\n[document]\n\
             template = \"{{{{ title }}}} {{{{ chunk }}}}\"\nchunk = {{ column = \"body\", size = {size} }}\n"
        ));
    };
    chunks(16);
    world.build();
    chunks(9);
    let found = reasons(&world);
    assert!(found.contains(&"the chunk settings changed".to_owned()), "{found:?}");
    let ran = world.build();
    assert!(warned(&ran).unwrap().contains("the chunk settings changed"), "{}", ran.stderr);

    let mut other = world.command(&["build", "--json", "--accept-space"]);
    let ran = crate::support::run(other.env("OUTPUT_DIM", "16"));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(warned(&ran).unwrap().contains("the space changed"), "{}", ran.stderr);
}
