//! Judged queries: a build is measured before it is served, and a worse one is not.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;

use crate::support::World;
use crate::support::judged::{EVALUATE, HEAD, asked, is_best, ndcg, refused};
use crate::support::provider::{CustomAnswer, Fault, Right, Then};

/// Every answer of the provider is right, but each text has the vector of the text before it.
const SHUFFLED: CustomAnswer = CustomAnswer { what: "", make: shuffled, then: Then::GoOn, right: true };

fn shuffled(right: &Right, _: &str) -> Vec<u8> {
    let mut body = right.json();
    let vectors = body[right.list()].as_array_mut().unwrap();
    let numbers: Vec<Value> = vectors.iter().map(|entry| entry[right.numbers()].clone()).collect();
    for (entry, nth) in vectors.iter_mut().zip(1..) {
        entry[right.numbers()] = numbers[nth % numbers.len()].clone();
    }
    answer(&body)
}

/// Every answer of the provider is right, but each vector points the other way, as another model's might.
const TURNED: CustomAnswer =
    CustomAnswer { what: "", make: |right, _| answer(&right.turned()), then: Then::GoOn, right: true };

fn answer(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[test]
fn a_build_says_how_it_answers_and_its_questions_are_embedded_once() {
    let world = asked();
    let plan = world.run(&["plan", "--json"]);
    assert_eq!((plan.number("to_embed"), plan.number("queries_to_embed")), (10, 10), "{plan:?}");

    let first = world.build();

    let of_first = first.json();
    assert_eq!(
        of_first["evaluation"],
        serde_json::json!({ "k": 10, "queries": 10, "ndcg": 1.0, "recall": 1.0, "mrr": 1.0 })
    );
    assert!(of_first["phases_ms"]["evaluate"].is_u64(), "{first:?}");
    assert_eq!((first.number("embedded"), first.number("texts_sent")), (10, 20));
    let tasks = |task: &str| {
        let requests = world.provider.requests();
        let asked = requests.iter().filter(|seen| seen.task_type.as_deref() == Some(task));
        asked.map(|seen| seen.texts.len()).sum::<usize>()
    };
    assert_eq!((tasks("RETRIEVAL_DOCUMENT"), tasks("RETRIEVAL_QUERY")), (10, 10));
    let status = world.run(&["status", "--json"]).json();
    assert!(is_best(&status["served"]));
    assert!(
        world.run(&["status"]).stdout.contains("nDCG@10 1.0000, recall@10 1.0000, MRR@10 1.0000 over 10")
    );
    let history = world.run(&["history", "--json"]).json();
    assert!(is_best(&history["builds"][0]));
    assert!(world.run(&["history"]).stdout.contains("NDCG"));

    // Another table, the same questions.
    world.provider.forget();
    world.add_people([11]);
    assert_eq!(world.run(&["plan", "--json"]).number("queries_to_embed"), 0);
    let second = world.build();
    assert!(second.number("texts_sent") == 1 && is_best(&second.json()), "{second:?}");
    world.assert_proven();
}

#[test]
fn without_the_section_nothing_is_measured_and_no_key_is_new() {
    let world = World::with_people(3);
    let built = world.build();
    let plan = world.run(&["plan", "--json"]);
    let manifest = std::fs::read_to_string(world.path("data/current/manifest.json")).unwrap();
    for text in [built.stdout, plan.stdout, manifest, world.run(&["status", "--json"]).stdout] {
        assert!(!text.contains("evaluat") && !text.contains("queries"), "{text}");
    }
    let eval = world.run(&["eval", "--json"]);
    assert_eq!(eval.code, 2, "{eval:?}");
    assert!(eval.text("error").contains("evaluate.queries is not set"), "{eval:?}");
}

#[test]
fn emptied_tags_of_half_the_rows_are_refused_by_name_until_they_are_accepted() {
    let world = asked();
    world.build();
    world.sql("UPDATE experts SET tags = '[]' WHERE id <= 5");

    let ran = refused(&world, &[]);

    let error = ran.text("error");
    for part in [
        "falls from 1.0000 to ",
        "evaluate.max_drop = 0.05",
        "lost most: q",
        "(rank 1 to ",
        "--accept-quality",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let lost: Vec<Value> = ran.json()["lost"].as_array().unwrap().clone();
    let mut named: Vec<&str> = lost.iter().map(|moved| moved["query"].as_str().unwrap()).collect();
    named.sort_unstable();
    assert_eq!(named, ["q1", "q2", "q3", "q4", "q5"], "{lost:?}");
    assert!(lost.iter().all(|moved| moved["rank_before"] == 1), "{lost:?}");
    assert!(ndcg(&ran.json()) < 0.9, "{ran:?}");
    let last = world.run(&["status", "--json"]).json()["last_attempt"].clone();
    assert_eq!((&last["outcome"], last["error"].as_str()), (&"refused".into(), Some(error.as_str())));

    // What was paid for is not paid for again, and an operator decides.
    world.provider.forget();
    let accepted = world.run(&["build", "--accept-quality", "--json"]);
    assert_eq!((accepted.code, accepted.text("outcome").as_str()), (0, "promoted"), "{accepted:?}");
    assert_eq!(world.provider.text_count(), 0);
    // From now on this is what a build is compared with.
    world.sql("UPDATE experts SET hourly_rate = 5 WHERE id = 9");
    assert_eq!(world.build().text("outcome"), "promoted");
}

#[test]
fn tags_that_come_back_end_the_refusal() {
    let world = asked();
    world.build();
    world.sql("UPDATE experts SET tags = '[]' WHERE id <= 5");
    refused(&world, &[]);
    world.sql("UPDATE experts SET tags = '[\"tag\", \"other\"]'");
    assert_eq!(world.build().text("outcome"), "unchanged");
}

#[test]
fn a_model_that_got_worse_is_refused_and_the_next_rebuy_pays_nothing() {
    let world = asked();
    world.provider.excuse_money("--rebuy embeds again");
    world.build();
    world.provider.schedule(|seen| {
        let is_document = seen.task_type.as_deref() == Some("RETRIEVAL_DOCUMENT");
        (Some(Fault::Custom(if is_document { SHUFFLED } else { TURNED })), Duration::ZERO)
    });

    let ran = refused(&world, &["--rebuy"]);

    // What is served is asked with the questions of its own model.
    assert!(ran.text("error").contains("falls from 1.0000 to "), "{ran:?}");
    assert_eq!(ran.json()["lost"].as_array().unwrap().len(), 5);
    world.provider.forget();
    let accepted = world.run(&["build", "--rebuy", "--accept-quality", "--json"]);
    assert_eq!((accepted.code, accepted.text("outcome").as_str()), (0, "promoted"), "{accepted:?}");
    assert_eq!(world.provider.text_count(), 0, "its vectors and those of its questions were kept");
    assert!(ndcg(&accepted.json()) < 0.9, "{accepted:?}");
}

#[test]
fn a_template_that_lost_a_field_is_refused() {
    let world = asked();
    let template = |template: &str| {
        world.settings(&format!(
            "[source]\ntable = \"experts\"\nid = \"id\"\n[document]\ntemplate = \"{template}\"\n{EVALUATE}"
        ));
    };
    template(
        "{{ first_name }} {{ last_name }}. {{ job_title }} at {{ company }}. {{ bio }} Domains: tag, other.",
    );
    assert!(is_best(&world.build().json()));
    template("{{ first_name }} {{ last_name }}. {{ job_title }} at {{ company }}. Domains: tag, other.");
    let ran = refused(&world, &[]);
    assert!(ran.text("error").contains("lost most: q"), "{ran:?}");
}

#[test]
fn people_who_were_deleted_never_keep_a_build_from_being_served() {
    let world = asked();
    world.build();
    world.sql("DELETE FROM experts WHERE id <= 3");

    let ran = world.build();

    assert!((ndcg(&ran.json()) - 0.7).abs() < 1e-9, "they count as not answered: {ran:?}");
    assert!(ran.stderr.contains("of 10 judged queries 3 have no record"), "{ran:?}");
    assert!(ran.stderr.contains("\"q1\", \"q2\", \"q3\""), "{ran:?}");
    world.add_people([11]);
    assert!(!world.build().stderr.contains("judged queries"), "they are named once");
}

#[test]
fn a_value_below_min_is_accepted_until_it_is_above_again_or_falls_further() {
    let world = asked();
    world.settings(&format!("{EVALUATE}min = 0.9\nmax_drop = 0.25\n"));
    world.sql("DELETE FROM experts WHERE id <= 2");
    let first = world.run(&["build", "--json"]);
    assert_eq!(first.code, 3, "{first:?}");
    assert!(
        first.text("error").contains("is 0.8000, below evaluate.min = 0.9; lowest: q1 (rank none)"),
        "{first:?}"
    );
    assert_eq!(world.served(), None);

    let accepted = world.run(&["build", "--accept-quality", "--json"]);
    assert_eq!(accepted.code, 0, "{accepted:?}");
    // Over a promotion, and for an agent's pass as well.
    world.add_people([11]);
    world.build();
    world.sql("DELETE FROM experts WHERE id <= 4");
    world.build();
    // 0.8 was accepted: 0.5 is more than 0.25 below it.
    world.sql("DELETE FROM experts WHERE id = 5");
    let fell = refused(&world, &[]);
    assert!(fell.text("error").contains("is 0.5000, below evaluate.min"), "{fell:?}");
    // Above again, and the acceptance is over.
    world.add_people(1..=5);
    world.build();
    world.sql("DELETE FROM experts WHERE id <= 2");
    refused(&world, &[]);
}

#[test]
fn a_question_that_cannot_be_embedded_fails_the_pass_and_costs_no_person_twice() {
    let world = asked();
    std::fs::write(
        world.path("queries.jsonl"),
        "{\"_id\": \"q1\", \"text\": \"who is poison\"}\n{\"_id\": \"q2\", \"text\": \"who is two\"}\n",
    )
    .unwrap();
    std::fs::write(world.path("qrels.tsv"), format!("{HEAD}q1\t1\t1\nq2\t2\t1\n")).unwrap();
    world.provider.fail_text("poison");

    let ran = world.run(&["build", "--json"]);

    assert_eq!((ran.code, ran.text("outcome").as_str(), world.served()), (1, "failed", None), "{ran:?}");
    assert!(ran.text("error").contains("the provider refuses the judged query \"q1\""), "{ran:?}");
    assert!(ran.text("error").contains("evaluate.queries"), "{ran:?}");
    world.provider.clear_fault();
    world.provider.forget();
    let again = world.build();
    assert_eq!((again.number("embedded"), again.number("kept")), (0, 10), "{again:?}");
    assert!(world.provider.texts_seen().iter().all(|text| text.starts_with("who is")), "{again:?}");
}

#[test]
fn questions_count_for_max_texts() {
    let world = asked();
    world.settings(&format!("[guard]\nmax_texts = 19\n{EVALUATE}"));
    let ran = world.run(&["build", "--json"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.text("error").contains("20 texts would be embedded, 10 judged queries among them"),
        "{ran:?}"
    );
    assert_eq!(world.provider.request_count(), 0);
    world.settings(&format!("[guard]\nmax_texts = 20\n{EVALUATE}"));
    world.build();
}

#[test]
fn damaged_files_fail_a_build_before_anything_is_sent_and_no_other_pass() {
    let world = asked();
    world.settings(&format!("{EVALUATE}max_drop = 1.0\n"));
    world.build();
    let whole = std::fs::read(world.path("queries.jsonl")).unwrap();
    for (name, bytes, expected) in [
        ("queries.jsonl", &whole[..whole.len() / 2], "evaluate.queries line 6: expected an object"),
        ("qrels.tsv", b"q1\t1\t1\n", "evaluate.qrels line 1: expected the header"),
    ] {
        let before = std::fs::read(world.path(name)).unwrap();
        std::fs::write(world.path(name), bytes).unwrap();
        world.provider.forget();
        assert_eq!(world.build().text("outcome"), "unchanged", "nothing is to be built");
        world.sql("UPDATE experts SET bio = bio || '!' WHERE id = 10");

        let ran = world.run(&["build", "--json"]);

        assert_eq!((ran.code, ran.text("outcome").as_str()), (1, "failed"), "{ran:?}");
        assert!(ran.text("error").contains(expected), "{expected}: {ran:?}");
        assert!(ran.text("error").contains("nothing was embedded or served"), "{ran:?}");
        assert_eq!(world.provider.request_count(), 0);
        let plan = world.run(&["plan"]);
        assert!(
            plan.code == 0 && plan.stdout.contains("would fail: the judged queries cannot be used"),
            "{plan:?}"
        );
        std::fs::write(world.path(name), before).unwrap();
        assert_eq!(world.build().text("outcome"), "promoted");
    }
}

#[test]
fn questions_are_embedded_again_after_seven_days_and_another_model_is_noticed() {
    for is_other in [false, true] {
        let world = asked();
        world.provider.excuse_money("questions are embedded again after seven days");
        world.build();
        let cache = Connection::open(world.path("data/.reindexd/embeddings.sqlite")).unwrap();
        cache.execute("UPDATE entry SET stored_at = stored_at - 8 * 86400", []).unwrap();
        drop(cache);
        if is_other {
            world.provider.schedule(|_| (Some(Fault::Custom(SHUFFLED)), Duration::ZERO));
        }
        world.settings(&format!("{EVALUATE}max_drop = 1.0\n"));
        world.sql("UPDATE experts SET hourly_rate = 5 WHERE id = 1");
        assert_eq!(world.run(&["plan", "--json"]).number("queries_to_embed"), 10);

        let ran = world.build();

        assert_eq!((ran.number("embedded"), ran.number("texts_sent")), (0, 20), "{ran:?}");
        let noticed = ran.stderr.contains("another model behind the name");
        assert_eq!(noticed, is_other, "{ran:?}");
        world.sql("UPDATE experts SET hourly_rate = 6 WHERE id = 1");
        assert_eq!(world.build().number("texts_sent"), 0);
    }
}
