//! Servers with the `/v1/embeddings` interface, and the ways in which they differ.

use std::time::Duration;

use crate::support::provider::{CustomAnswer, Fault, Right, Then};
use crate::support::{self, DIMENSION, OPENAI_MODEL, World};

#[test]
fn the_address_may_be_given_with_or_without_its_version() {
    for (ending, path) in [
        ("", "/v1/embeddings"),
        ("/", "/v1/embeddings"),
        ("/v1", "/v1/embeddings"),
        ("/v1/", "/v1/embeddings"),
        ("/v1/embeddings", "/v1/embeddings"),
        ("/gateway/v1", "/gateway/v1/embeddings"),
    ] {
        let world = World::with_people(3);
        world.ask_openai(&format!("base_url = \"{}{ending}\"\n", world.provider.base_url()));

        world.build();

        let seen = world.provider.requests();
        assert_eq!(seen.len(), 1, "{ending}");
        assert_eq!((seen[0].path.as_str(), seen[0].key()), (path, Some("openai-test-key")), "{ending}");
        assert_eq!((seen[0].model.as_str(), seen[0].dimension), (OPENAI_MODEL, Some(DIMENSION)), "{ending}");
        world.assert_true(OPENAI_MODEL);
    }
}

#[test]
fn vectors_are_put_in_the_order_of_their_indices() {
    let world = World::with_people(12);
    world.ask_openai("");
    world.provider.always(Some(Fault::ReorderedIndices));

    let ran = world.build();

    assert_eq!((ran.number("requests"), ran.number("records")), (1, 12));
    world.assert_true(OPENAI_MODEL);
}

#[test]
fn an_index_of_zero_may_be_missing_and_no_default_is_sent() {
    let make = |right: &Right, _: &str| {
        let mut body = right.json();
        body["data"][0].as_object_mut().unwrap().remove("index");
        let body = body.to_string();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let world = World::with_people(5);
    world.ask_openai("");
    world.provider.always(Some(Fault::Custom(CustomAnswer {
        what: "",
        make,
        then: Then::GoOn,
        right: true,
    })));

    let ran = world.build();

    assert_eq!((ran.number("requests"), ran.number("records")), (1, 5));
    let sent = world.provider.requests()[0].json();
    let fields: Vec<_> = sent.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["dimensions", "input", "model"], "encoding_format is every server's default");
    world.assert_true(OPENAI_MODEL);
}

#[test]
fn an_index_given_twice_and_other_wrong_answers_are_asked_for_again() {
    let faults = [
        Fault::DuplicateIndices,
        Fault::FewerVectors(1),
        Fault::MoreVectors(1),
        Fault::WrongDimension(16),
        Fault::Zeros,
        Fault::NullComponent,
        Fault::RateLimited { retry_info: Some("0.3s"), retry_after: Some("0.3".to_owned()) },
        Fault::ErrorInside200,
        Fault::ServerError(500),
    ];
    let count = u32::try_from(faults.len()).unwrap();
    let world = World::with_people(2 * count);
    world.ask_openai(&format!("batch_size = 2\nconcurrency = {count}\n"));
    world.provider.script(faults);

    let ran = world.build();

    assert_eq!(ran.number("embedded"), 2 * u64::from(count));
    assert!(ran.number("requests") <= 3 * u64::from(count), "{ran:?}");
    world.assert_true(OPENAI_MODEL);
}

#[test]
fn a_server_on_this_host_needs_no_key_and_the_service_itself_does() {
    let world = World::with_people(3);
    let base = world.provider.base_url();
    let with = |base_url: &str| {
        format!("[embedding]\nprovider = \"openai\"\nmodel = \"{OPENAI_MODEL}\"\n{base_url}")
    };
    world.settings(&with(&format!("base_url = \"{base}\"\n")));
    let without_key = world.build();
    world.settings(&with(""));
    world.add_people([4]);

    let refused = world.run(&["build", "--json"]);

    assert_eq!(without_key.number("records"), 3);
    assert_eq!(world.provider.requests()[0].header("authorization"), None);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.text("error").contains("OPENAI_API_KEY"), "{refused:?}");
}

#[test]
fn a_model_with_longer_vectors_is_asked_for_ours_after_its_first_answer() {
    let world = World::with_people(9);
    world.ask_openai("batch_size = 3\nconcurrency = 1\n");
    let settings = std::fs::read_to_string(world.path("reindexd.toml")).unwrap();
    world.settings(&settings.replace(OPENAI_MODEL, "unheard-of"));

    let ran = world.build();

    let asked: Vec<_> = world.provider.requests().iter().map(|seen| seen.dimension).collect();
    assert_eq!(asked, [None, Some(DIMENSION), Some(DIMENSION), Some(DIMENSION)]);
    assert_eq!(ran.number("records"), 9);
    world.assert_true("unheard-of");
}

#[test]
fn vectors_of_two_providers_never_meet_in_one_index() {
    let world = World::with_people(5);
    world.build();
    world.ask_openai("");
    let plan = world.run(&["plan", "--json"]).json();

    let ran = world.run(&["build", "--accept-space", "--json"]);

    assert_eq!((ran.number("kept"), ran.number("embedded")), (0, 5));
    assert!(plan["reasons"][0].as_str().unwrap().contains("the space changed from"), "{plan}");
    world.assert_true(OPENAI_MODEL);
}

#[test]
fn a_search_is_asked_in_the_space_of_the_index() {
    let world = World::with_people(5);
    world.provider.excuse_money("a question has the text of a row");
    world.ask_openai("");
    world.build();
    let text = support::text_of(&world.records()[3]);

    let found = world.run(&["search", &text, "-k", "2", "--json"]).json();
    world.settings("");
    world.provider.set_latency(Duration::ZERO);
    let other = world.run(&["search", &text, "--json"]);

    assert_eq!((&found["results"][0]["rank"], &found["results"][0]["record"]["id"]), (&1.into(), &4.into()));
    assert_eq!(found["results"].as_array().unwrap().len(), 2);
    assert_eq!(other.code, 1);
    assert!(other.text("error").contains("run `reindexd build`"), "{other:?}");
}
