//! Servers that refuse a field of the request, or miss one: the message names the setting, and costs no text.

use std::time::Duration;

use crate::support::World;
use crate::support::provider::{Fault, Seen};

fn answer_by(world: &World, fault: impl Fn(&Seen) -> Option<Fault> + Send + 'static) {
    world.provider.schedule(move |seen| (fault(seen), Duration::ZERO));
}

fn refusal(status: u16, body: &str) -> Fault {
    Fault::Status(status, body.to_owned())
}

#[test]
fn a_server_that_misses_a_field_is_asked_once_and_the_message_names_the_setting() {
    const ASKS: &str =
        r#"{"detail":[{"type":"missing","loc":["body","input_type"],"msg":"Field required"}]}"#;
    let world = World::with_people(30);
    world.ask_openai("");
    answer_by(&world, |seen| seen.json()["input_type"].is_null().then(|| refusal(422, ASKS)));

    let ran = world.run(&["build", "--json"]);

    assert_eq!((ran.code, world.provider.request_count()), (1, 1), "{ran:?}");
    assert!(ran.text("error").contains("set input_type in embedding.document.fields"), "{ran:?}");
    assert!(!ran.text("error").contains("row id="), "{ran:?}");

    world.ask_openai("[embedding.document.fields]\ninput_type = \"document\"\n");
    world.build();
    let searched = world.run(&["search", "bread", "--json"]);
    assert_eq!(searched.code, 1, "{searched:?}");
    assert!(searched.text("error").contains("set input_type in embedding.query.fields"), "{searched:?}");
}

#[test]
fn a_server_that_refuses_dimensions_ends_the_attempt_with_the_length_it_has() {
    const REFUSES: &str = r#"{"object":"error","message":"Model \"m\" does not support matryoshka representation, changing output dimensions will lead to poor results.","type":"BadRequestError","code":400}"#;
    let world = World::with_people(30);
    world.ask_openai("");
    let settings = std::fs::read_to_string(world.path("reindexd.toml")).unwrap();
    // Of a model whose length is not known, nothing is asked until its vectors are longer.
    let model = settings.lines().find(|line| line.starts_with("model")).unwrap();
    world.settings(&settings.replace(model, "model = \"unheard-of\""));
    answer_by(&world, |seen| {
        Some(if seen.dimension.is_some() { refusal(400, REFUSES) } else { Fault::WrongDimension(1024) })
    });

    let ran = world.run(&["build", "--json"]);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.text("error").contains("set embedding.dimension = 1024"), "{ran:?}");
    assert!(world.provider.request_count() <= 2, "{}", world.provider.request_count());
}

#[test]
fn dimensions_are_not_sent_where_they_are_the_model_s_own() {
    for (model, dimension, is_sent) in [
        ("text-embedding-3-small", 1536, false),
        ("text-embedding-3-small", 512, true),
        ("text-embedding-3-large", 3072, false),
        ("unheard-of", 24, false),
    ] {
        let world = World::with_people(3);
        world.provider.excuse_money("a served text is the witness, or the space changes");
        world.ask_openai("");
        let settings = std::fs::read_to_string(world.path("reindexd.toml")).unwrap();
        let model_line = settings.lines().find(|line| line.starts_with("model")).unwrap();
        world.settings(&settings.replace(model_line, &format!("model = \"{model}\"")));
        answer_by(&world, |seen| (seen.dimension == Some(1536)).then(|| refusal(400, "{}")));

        let mut command = world.command(&["build", "--json"]);
        let ran = crate::support::run(command.env("OUTPUT_DIM", dimension.to_string()));

        let requests = world.provider.requests();
        let first = requests.first().unwrap_or_else(|| panic!("{model}: {ran:?}"));
        assert_eq!(first.dimension.is_some(), is_sent, "{model} {dimension}: {ran:?}");
    }
}
