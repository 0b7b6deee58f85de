//! Texts that a model does not read whole: never cut in silence, counted and named.

use crate::support::World;

/// Words of four letters: each is a token, and five bytes with its space.
fn long_bio(count: usize) -> String {
    vec!["word"; count].join(" ")
}

/// A world of ten short rows, with row 3 of a thousand words and row 7 of two thousand.
fn world() -> World {
    let world = World::with_people(10);
    for (id, count) in [(3, 1000), (7, 2000)] {
        world.sql(&format!("UPDATE experts SET bio = '{}' WHERE id = {id}", long_bio(count)));
    }
    world
}

fn embedding(settings: &str) -> String {
    format!("[embedding]\nmax_tokens = 200\n{settings}")
}

#[test]
fn long_texts_are_counted_and_named_in_plan_build_status_and_manifest() {
    let world = world();
    world.settings(&embedding(""));

    let planned = world.run(&["plan", "--json"]).json();
    let shown = world.run(&["plan"]);
    let built = world.run(&["build"]);
    let status = world.run(&["status", "--json"]).json();
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(world.path("data/current/manifest.json")).unwrap()).unwrap();

    let long = &planned["too_long"];
    assert_eq!((&long["rows"], &long["max_tokens"]), (&2.into(), &200.into()), "{planned}");
    assert_eq!((&long["longest"][0]["id"], &long["longest"][1]["id"]), (&"7".into(), &"3".into()));
    assert!(long["longest"][0]["tokens"].as_u64().unwrap() >= 2000, "{long}");
    assert_eq!(&manifest["source"]["too_long"], long);
    assert_eq!((&status["drift"]["too_long"], &status["served"]["too_long"]), (long, &2.into()));
    assert!(shown.stdout.contains("2 rows have texts longer than the 200 tokens"), "{shown:?}");
    assert!(built.stderr.contains("2 rows have texts longer than the 200 tokens"), "{built:?}");
    assert!(built.stderr.contains("id=7") && built.stderr.contains("id=3"), "{built:?}");
    assert_eq!(world.served_count(), 10, "they are embedded all the same");
}

#[test]
fn the_warning_comes_once_for_a_set_of_rows() {
    let world = world();
    world.settings(&embedding(""));
    let warns = |world: &World| world.run(&["build"]).stderr.contains("have texts longer");

    assert!(warns(&world));
    world.add_people([11]);
    assert!(!warns(&world), "the same rows");
    world.sql(&format!("UPDATE experts SET bio = '{}' WHERE id = 11", long_bio(500)));
    assert!(warns(&world), "another row");
}

#[test]
fn a_text_that_is_surely_too_long_is_refused_by_name_before_anything_is_sent() {
    let world = world();
    world.settings(&embedding("too_long = \"refuse\"\n"));

    let refused = world.run(&["build", "--json"]);

    assert_eq!((refused.code, world.provider.request_count()), (1, 0), "{refused:?}");
    for part in ["id=3", "id=7", "expected at most 200 (embedding.max_tokens)"] {
        assert!(refused.text("error").contains(part), "{part}: {refused:?}");
    }
    world.settings(&embedding("too_long = \"refuse\"\n[guard]\nquarantine = 2\n"));
    assert_eq!(world.build().number("records"), 8);
}

#[test]
fn a_text_that_is_cut_is_sent_up_to_a_word_and_embedded_once() {
    let world = world();
    world.settings(&embedding("too_long = \"cut\"\n"));

    world.build();
    let texts = world.provider.texts_seen();
    let long: Vec<_> = texts.iter().filter(|text| text.contains("word word")).collect();
    assert_eq!(long.len(), 2);
    for text in long {
        assert!(text.ends_with(" word") && text.len() > 700 && text.len() <= 800, "{} bytes", text.len());
    }
    assert_eq!(
        world.records()[6]["Bio"].as_str().map(str::len),
        Some(long_bio(2000).len()),
        "the record is whole"
    );

    // What is beyond the cut is not read, so nothing is embedded because of it.
    world.provider.forget();
    world.sql("UPDATE experts SET bio = bio || ' more' WHERE id = 7");
    assert_eq!(world.build().number("metadata_only"), 1);
    assert_eq!(world.provider.request_count(), 0);
    // Another limit is another text, of the long rows alone.
    world.settings("[embedding]\nmax_tokens = 100\ntoo_long = \"cut\"\n");
    assert_eq!(world.run(&["plan", "--json"]).json()["to_embed"], 2);
    // What is usual feeds nothing.
    world.settings("");
    assert_eq!(world.run(&["plan", "--json"]).json()["to_embed"], 2);
}

#[cfg(feature = "local")]
#[test]
fn the_built_in_model_counts_its_own_tokens() {
    let world = World::with_people(4);
    world.sql(&format!("UPDATE experts SET first_name = NULL, last_name = NULL, job_title = NULL, company = NULL, tags = '[]', bio = '{}' WHERE id = 2", long_bio(127)));
    world.sql(&format!("UPDATE experts SET first_name = NULL, last_name = NULL, job_title = NULL, company = NULL, tags = 'null', bio = '{}' WHERE id = 3", long_bio(126)));
    let run = |settings: &str, arguments: &[&str]| {
        world.settings(&format!("[embedding]\n{settings}"));
        let mut command = world.command(arguments);
        let command = command.env("EMBEDDING_PROVIDER", "local").env_remove("OUTPUT_DIM");
        crate::support::run(command)
    };

    let planned = run("", &["plan", "--json"]).json();
    let refused = run("too_long = \"refuse\"\n", &["build", "--json"]);
    let cut = run("too_long = \"cut\"\n", &["build", "--json"]);

    assert_eq!(planned["too_long"]["rows"], 1, "{planned}");
    let only = &planned["too_long"]["longest"][0];
    assert_eq!((&only["id"], &only["tokens"]), (&"2".into(), &129.into()), "with beginning and end");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.text("error").contains("id=2"), "{refused:?}");
    assert_eq!((cut.code, cut.number("records")), (0, 4), "{cut:?}");
}

#[test]
fn what_is_asked_for_long_texts_needs_a_known_limit() {
    let world = World::with_people(2);
    world.ask_openai("too_long = \"cut\"\n");
    let settings = std::fs::read_to_string(world.path("reindexd.toml")).unwrap();
    let model = settings.lines().find(|line| line.starts_with("model")).unwrap();
    let unknown = settings.replace(model, "model = \"unheard-of\"");
    world.settings(&unknown);

    let refused = world.run(&["build", "--json"]);
    assert_eq!((refused.code, world.provider.request_count()), (2, 0), "{refused:?}");
    assert!(refused.stdout.contains("embedding.max_tokens is not set"), "{refused:?}");

    world.settings(&format!("{unknown}max_tokens = 9000\n"));
    assert_eq!(world.build().number("records"), 2);
}
