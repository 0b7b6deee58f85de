//! `search`: the served build is searched in its own space, or the error says why not.

use std::time::{Duration, Instant};

use crate::support::provider::{Fault, vector};
use crate::support::{DIMENSION, MODEL, Ran, World, run};

const QUERY: &str = "someone who knows about tags";

/// A world with a build, and a provider that has no recorded request.
fn world(people: u32) -> World {
    let world = World::with_people(people);
    world.build();
    world.provider.forget();
    world
}

/// The ids of the rows by inner product, best first.
fn ranking(world: &World, query: &str) -> Vec<u64> {
    let query = vector(MODEL, query, DIMENSION);
    let length = query.iter().map(|x| x * x).sum::<f32>().sqrt();
    let score = |row: &[f32]| row.iter().zip(&query).map(|(x, y)| x * y / length).sum::<f32>();
    let mut ranked: Vec<_> = world.vectors().iter().map(|row| score(row)).zip(world.records()).collect();
    ranked.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    ranked.into_iter().map(|(_, record)| record["id"].as_u64().unwrap()).collect()
}

fn found_ids(ran: &Ran) -> Vec<u64> {
    let results = ran.json()["results"].as_array().unwrap().clone();
    results.iter().map(|result| result["record"]["id"].as_u64().unwrap()).collect()
}

#[test]
fn answers_have_rank_score_and_the_whole_record_best_first() {
    let world = world(30);

    let ran = world.run(&["search", QUERY, "--json"]);

    assert_eq!(ran.code, 0, "{ran:?}");
    let answer = ran.json();
    assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), ["results"]);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 10, "the default");
    for (nth, result) in results.iter().enumerate() {
        let mut keys: Vec<_> = result.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["rank", "record", "score"]);
        assert_eq!(result["rank"].as_u64(), Some(nth as u64 + 1));
        assert!(world.records().contains(&result["record"]), "a record as served: {result}");
    }
    let scores: Vec<_> = results.iter().map(|result| result["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|one, other| one >= other), "{scores:?}");
    assert_eq!(found_ids(&ran), ranking(&world, QUERY)[..10]);
}

#[test]
fn a_question_that_is_a_row_s_own_text_finds_that_row_with_score_one() {
    let world = world(30);
    let text = world.reference().texts.swap_remove(16);

    let ran = world.run(&["search", &text, "-k", "1", "--json"]);

    let result = &ran.json()["results"][0];
    assert_eq!(result["record"]["id"], 17);
    assert!((result["score"].as_f64().unwrap() - 1.0).abs() < 1e-5, "{result}");
}

#[test]
fn a_question_is_asked_as_a_question_in_one_request() {
    let world = world(3);

    world.run(&["search", QUERY]);

    let requests = world.provider.requests();
    let [seen] = requests.as_slice() else { panic!("one request expected: {requests:?}") };
    assert_eq!(seen.path, "/v1beta/models/gemini-embedding-001:batchEmbedContents");
    assert_eq!(seen.task_type.as_deref(), Some("RETRIEVAL_QUERY"));
    assert_eq!((seen.texts.as_slice(), seen.dimension), (&[QUERY.to_owned()][..], Some(DIMENSION)));
}

#[test]
fn k_is_the_number_of_answers_as_far_as_there_are_rows() {
    let world = world(5);
    for (k, answers) in [("1", 1), ("4", 4), ("5", 5), ("6", 5), ("1000", 5)] {
        let ran = world.run(&["search", QUERY, "-k", k, "--json"]);
        assert_eq!(found_ids(&ran), ranking(&world, QUERY)[..answers], "-k {k}");
    }
    for k in ["0", "1001", "-1", "many"] {
        let ran = world.run(&["search", QUERY, "-k", k, "--json"]);
        assert_eq!(ran.code, 2, "-k {k}: {ran:?}");
    }
}

#[test]
fn people_get_a_table_in_which_no_row_acts_on_the_terminal() {
    let world = World::with_people(1);
    world.sql(
        "UPDATE experts SET first_name = 'Ada' || char(27) || '[31m', last_name = 'L' || char(8),
         job_title = NULL, company = 'Engines', bio = 'First line' || char(13, 10) || 'second' || char(9) || 'tab'",
    );
    world.build();

    let ran = world.run(&["search", QUERY]);

    assert_eq!(ran.code, 0, "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "a head and one row: {ran:?}");
    assert!(lines[0].starts_with("RANK  SCORE  NAME"), "{ran:?}");
    assert!(lines[1].starts_with("1     "), "{ran:?}");
    assert!(lines[1].contains("Engines") && lines[1].ends_with("First line second tab"), "{ran:?}");
    assert!(!lines[1].chars().any(char::is_control), "{ran:?}");
}

#[test]
fn a_build_of_another_space_is_not_asked() {
    let world = world(3);
    let others = [
        ("EMBEDDING_MODEL", "gemini-embedding-exp", "gemini/gemini-embedding-exp of 32 dimensions"),
        ("OUTPUT_DIM", "64", "gemini/gemini-embedding-001 of 64 dimensions"),
    ];
    for (name, value, space) in others {
        let ran = run(world.command(&["search", QUERY, "--json"]).env(name, value));

        assert_eq!(ran.code, 1, "{ran:?}");
        let error = ran.text("error");
        assert!(error.contains("served build is of gemini/gemini-embedding-001 of 32 dimensions"), "{error}");
        assert!(error.contains(space) && error.contains("reindexd build"), "{error}");
    }
    assert_eq!(world.provider.request_count(), 0, "a question that cannot be answered is not embedded");
}

#[test]
fn an_adopted_build_is_asked_if_its_vectors_are_as_long_as_the_question() {
    let world = World::with_people(5);
    world.ingest(DIMENSION);
    world.provider.always(Some(Fault::Forbidden));
    world.run(&["build"]);
    world.provider.always(None);
    world.provider.forget();

    let ran = world.run(&["search", QUERY, "--json"]);
    let other = run(world.command(&["search", QUERY]).env("OUTPUT_DIM", "64"));

    assert_eq!(found_ids(&ran), ranking(&world, QUERY));
    assert_eq!(other.code, 1, "{other:?}");
    assert!(other.stderr.contains("the served build has 32 dimensions, the settings 64"), "{other:?}");
    assert_eq!(world.provider.request_count(), 1);
}

#[test]
fn a_provider_that_is_down_ends_the_question_in_time_with_its_message() {
    let world = world(3);
    world.settings("[embedding]\nrequest_timeout = \"1s\"\n");
    let down = [
        // "from" whom, where the request's own timeout is the quicker of two that end together.
        (Fault::Hang, "no answer "),
        (Fault::StallInBody, "no answer "),
        (Fault::ServerError(503), "The model is overloaded. Please try again later."),
        (Fault::ResetBeforeAnswer, "no answer from http://127.0.0.1"),
        (
            Fault::RateLimited { retry_info: Some("30s"), retry_after: None },
            "You exceeded your current quota",
        ),
        (Fault::PerDayQuota, "You exceeded your current quota"),
        (Fault::KeyInvalid, "API key not valid. Please pass a valid API key."),
        (Fault::FewerVectors(1), "expected 1 vectors, one per text, found 0"),
    ];
    for (fault, message) in down {
        world.provider.always(Some(fault.clone()));
        let began = Instant::now();

        let ran = world.run(&["search", QUERY, "--json"]);

        let took = began.elapsed();
        assert_eq!(ran.code, 1, "{fault:?}: {ran:?}");
        assert!(ran.text("error").contains(message), "{fault:?}: expected {message:?}: {ran:?}");
        assert!(took < Duration::from_secs(4), "{fault:?}: {took:?}");
    }
}

#[test]
fn a_provider_that_fails_once_is_asked_again() {
    let world = world(3);
    world.provider.script([Fault::ServerError(503)]);

    let ran = world.run(&["search", QUERY, "--json"]);

    assert_eq!(found_ids(&ran), ranking(&world, QUERY));
    assert_eq!(world.provider.request_count(), 2);
}

#[test]
fn where_nothing_is_served_the_question_is_not_paid_for() {
    let world = World::with_people(3);

    let ran = world.run(&["search", QUERY, "--json"]);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(ran.text("error"), "nothing is served yet; run `reindexd build` first");
    assert_eq!(world.provider.request_count(), 0);
}

#[test]
fn a_damaged_index_is_reported_and_not_searched() {
    let world = world(3);
    let index = std::fs::canonicalize(world.path("data/faiss.index")).unwrap();
    let bytes = world.published("faiss.index");
    std::fs::remove_file(&index).unwrap();
    std::fs::write(&index, &bytes[..bytes.len() - 1]).unwrap();

    let ran = world.run(&["search", QUERY]);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("faiss.index is not a flat Faiss index"), "{ran:?}");
}

#[test]
fn a_question_is_answered_while_a_build_goes_on_and_writes_nothing() {
    let world = world(3);
    world.add_people([4]);
    world.provider.script([Fault::Hang]);
    let mut build = world.command(&["build"]).spawn().unwrap();
    assert!(world.provider.wait_for_requests(1, crate::support::SOON));

    let ran = world.run(&["search", QUERY, "--json"]);

    assert_eq!(found_ids(&ran), ranking(&world, QUERY));
    build.kill().unwrap();
    build.wait().unwrap();
}

#[test]
fn an_index_of_another_dimension_than_its_manifest_is_reported_not_searched() {
    let world = world(4);
    let index = std::fs::canonicalize(world.path("data/faiss.index")).unwrap();
    let mut bytes = world.published("faiss.index");
    // The same number of floats, in twice as many rows of half the length.
    let half = u32::try_from(DIMENSION / 2).unwrap();
    bytes[4..8].copy_from_slice(&half.to_le_bytes());
    bytes[8..16].copy_from_slice(&8_u64.to_le_bytes());
    std::fs::remove_file(&index).unwrap();
    std::fs::write(&index, &bytes).unwrap();

    let ran = world.run(&["search", QUERY]);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("faiss.index has 16 dimensions, its manifest 32"), "{ran:?}");
}
