//! `embedding.document` and `embedding.query`: what a model wants beside a text reaches the provider.

use serde_json::Value;

use crate::support::World;

/// Every object that holds the fields of one text or of one request.
fn sent(world: &World) -> Vec<Value> {
    let bodies = world.provider.requests().iter().map(|seen| seen.json()).collect::<Vec<_>>();
    let each = |body: &Value| match body["requests"].as_array() {
        Some(requests) => requests.clone(),
        None => vec![body.clone()],
    };
    bodies.iter().flat_map(each).collect()
}

const EXTRAS: &str = "[embedding.document]\nprefix = \"passage: \"\nfields = { input_type = \"document\", more = { b = [1], a = true } }\n\
                      [embedding.query]\nprefix = \"query: \"\nfields = { input_type = \"query\" }\n";

#[test]
fn documents_and_questions_are_sent_each_with_their_own_prefix_and_fields() {
    for openai in [false, true] {
        let world = World::with_people(7);
        if openai {
            world.ask_openai(EXTRAS);
        } else {
            world.settings(EXTRAS);
        }

        world.build();
        let documents = sent(&world);
        let texts = world.provider.texts_seen();
        world.provider.forget();
        let found = world.run(&["search", "who bakes bread", "--json"]);

        assert!(texts.len() == 7 && texts.iter().all(|text| text.starts_with("passage: First")), "{texts:?}");
        for document in documents {
            assert_eq!(document["input_type"], "document", "{document}");
            assert_eq!(document["more"], serde_json::json!({"a": true, "b": [1]}), "{document}");
        }
        assert_eq!(found.code, 0, "{found:?}");
        assert_eq!(world.provider.texts_seen(), ["query: who bakes bread"]);
        assert_eq!(sent(&world)[0]["input_type"], "query");
        assert_eq!(sent(&world)[0]["more"], Value::Null);
    }
}

#[test]
fn another_prefix_or_field_of_documents_is_another_space_one_of_questions_not() {
    let world = World::with_people(5);
    world.settings(EXTRAS);
    world.build();
    let plan = |settings: String| {
        world.settings(&settings);
        world.run(&["plan", "--json"]).json()
    };

    for settings in [
        EXTRAS.replace("passage: ", "document: "),
        EXTRAS.replace("\"document\"", "\"passage\""),
        EXTRAS.replace("b = [1]", "b = [2]"),
        String::new(),
    ] {
        let planned = plan(settings.clone());
        assert_eq!(planned["to_embed"], 5, "{settings}: {planned}");
        let reasons = planned["reasons"].to_string();
        assert!(reasons.contains("the space changed") && reasons.contains("prefix"), "{reasons}");
    }
    for settings in [
        EXTRAS.replace("query: ", "question: "),
        EXTRAS.replace("\"query\"", "\"question\""),
        EXTRAS.replace("{ b = [1], a = true }", "{ a = true, b = [1] }"),
    ] {
        let planned = plan(settings.clone());
        assert_eq!(planned["changes"], false, "{settings}: {planned}");
    }
    world.settings(EXTRAS);
    let status = world.run(&["status", "--json"]).json();
    assert_eq!(status["served"]["space"]["prefix"], "passage: ", "{status}");
    assert_eq!(status["served"]["space"]["fields"]["input_type"], "document", "{status}");
}

#[test]
fn a_field_that_the_program_sends_itself_is_refused_before_anything_is_sent() {
    let world = World::with_people(3);
    for (field, expected) in [
        ("model = \"x\"", "embedding.model"),
        ("input = \"x\"", "the texts are sent in it"),
        ("dimensions = 8", "embedding.dimension"),
        ("taskType = \"CLUSTERING\"", "embedding.task_type"),
    ] {
        world.settings(&format!("[embedding.document.fields]\n{field}\n"));
        let ran = world.run(&["build", "--json"]);
        assert_eq!(ran.code, 2, "{field}: {ran:?}");
        assert!(ran.stderr.contains(expected) || ran.stdout.contains(expected), "{field}: {ran:?}");
    }
    assert_eq!(world.provider.request_count(), 0);
}
