//! Agent and API together: an API that reloads when it is notified drops no request and mixes no builds.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::provider::vector;
use crate::support::search_api::{Answer, Question, SearchApi};
use crate::support::{DIMENSION, MODEL, World};

/// Changes of the table, each of which is served before the next.
const CHANGES: u32 = 100;
/// People who are asked for. Their ids are behind all that come and go, so that
/// every change of the others moves them to another row.
const ASKED: std::ops::Range<u32> = 1000..1012;
const ASKING: usize = 4;

#[test]
fn an_api_reloading_a_hundred_builds_under_load_fails_no_request_and_mixes_none() {
    let world = World::new();
    world.add_people(ASKED);
    let first = world.build().text("build");
    let questions = questions(&world);
    let token = world.path("token");
    std::fs::write(&token, "let-me-in\n").unwrap();
    let api = SearchApi::start(&world, Some(&token));
    let agent = agent(&world, &api, &token);
    let load = api.load(ASKING, &questions);

    for nth in 0..CHANGES {
        let before = world.served();
        change(&world, nth);
        agent.wait_for(&format!("change {nth} is served"), || world.served() != before);
    }

    let newest = world.served();
    agent.wait_for("the API is on the newest build", || api.build() == newest);
    agent.wait_for("status knows it", || status(&world)["up_to_date"] == true);
    let asked = load.stop();
    let builds: HashSet<&str> = asked.iter().flatten().map(|answer| answer.build.as_str()).collect();
    assert!(
        builds.len() > CHANGES as usize / 2 && builds.contains(first.as_str()),
        "too few builds were seen to prove anything: {} of {CHANGES}",
        builds.len()
    );
    let mut served = HashMap::new();
    for answers in &asked {
        for answer in answers {
            assert_whole(&world, answer, &mut served);
        }
        assert_forward(&world, answers);
    }
    assert_eq!(agent.logged("not announced"), 0, "{}", agent.log());
    assert_eq!(status(&world)["build"].as_str().map(str::to_owned), newest);
    agent.stop();
}

#[test]
fn an_api_started_before_the_first_build_serves_it_once_notified() {
    let world = World::with_people(3);
    let api = SearchApi::start(&world, None);
    assert_eq!(api.client().post("/search", &serde_json::json!({ "row": 0 })).unwrap().0, 503);
    world.settings(&format!("[[announce]]\npost = \"{}\"\n", api.url("/admin/reload")));

    let build = world.build().text("build");

    assert_eq!(api.build(), Some(build));
    let (status, answer) = api.client().post("/search", &serde_json::json!({ "row": 2, "k": 1 })).unwrap();
    assert_eq!((status, &answer["results"][0]["record"]["id"]), (200, &Value::from(3)), "{answer}");
}

#[test]
fn a_reload_that_fails_leaves_the_api_on_the_old_pair_and_is_announced_again() {
    let world = World::with_people(3);
    let first = world.build().text("build");
    let (token, theirs) = (world.path("token"), world.path("theirs"));
    std::fs::write(&token, "ours").unwrap();
    std::fs::write(&theirs, "theirs").unwrap();
    let api = SearchApi::start(&world, Some(&theirs));
    let agent = agent(&world, &api, &token);
    world.add_people([4]);
    agent.wait_for_log("expected another token");
    assert_eq!(api.build().as_ref(), Some(&first));
    let stale = status(&world);
    assert_eq!((&stale["up_to_date"], &stale["build"]), (&false.into(), &Value::Null), "{stale}");

    std::fs::copy(&theirs, &token).unwrap();

    agent.wait_for("the API is on the newest build", || api.build() == world.served());
    agent.wait_for("status knows it", || status(&world)["up_to_date"] == true);
    assert_ne!(api.build(), Some(first));
    assert!(!agent.log().contains("theirs"), "no token is in the log: {}", agent.log());
    agent.stop();
}

/// An agent that acts at once, announces each build to the API and has it confirmed.
fn agent(world: &World, api: &SearchApi, token: &Path) -> Agent {
    world.agent_with(&format!(
        "quiet = \"20ms\"\nmax_wait = \"1s\"\nresync = \"1h\"\n\
         [publish]\nkeep = 100\n\
         [[announce]]\npost = \"{}\"\nconfirm = \"{}\"\ntoken_file = \"{}\"\n",
        api.url("/admin/reload"),
        api.url("/health"),
        token.display()
    ))
}

/// What status says of the only target.
#[track_caller]
fn status(world: &World) -> Value {
    world.run(&["status", "--json"]).json()["announced"][0].clone()
}

/// The vectors of those who are asked for, by the texts that were embedded for them.
fn questions(world: &World) -> Vec<Question> {
    let texts = world.provider.texts_seen();
    ASKED
        .map(|id| {
            let text = texts.iter().find(|text| text.contains(&format!("Bio of person {id}."))).unwrap();
            Question { id: id.into(), vector: vector(MODEL, text, DIMENSION) }
        })
        .collect()
}

/// One of several kinds of change; each but the second moves those who are asked for to other rows.
fn change(world: &World, nth: u32) {
    match nth % 4 {
        0 | 2 => world.add_people([nth + 1]),
        1 => world.sql(&format!("UPDATE experts SET hourly_rate = {nth} WHERE id >= {}", ASKED.start)),
        _ => world.sql("DELETE FROM experts WHERE id = (SELECT min(id) FROM experts)"),
    }
}

/// The answer is the asked person's, and what the build that it names has at that row.
#[track_caller]
fn assert_whole(world: &World, answer: &Answer, served: &mut HashMap<String, Vec<Value>>) {
    let records = served.entry(answer.build.clone()).or_insert_with(|| {
        let path = world.path("data/builds").join(&answer.build).join("metadata.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    });
    assert_eq!(answer.record["id"].as_u64(), Some(answer.asked), "a mixed pair: {answer:?}");
    assert_eq!(records.get(answer.row), Some(&answer.record), "a mixed pair: {answer:?}");
    assert!(answer.score > 0.9999, "{answer:?}");
}

/// A client that has seen a build never sees an older one.
#[track_caller]
fn assert_forward(world: &World, answers: &[Answer]) {
    let history = world.run(&["history", "--json"]).json();
    let sequence: HashMap<&str, u64> = history["builds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|build| (build["id"].as_str().unwrap(), build["sequence"].as_u64().unwrap()))
        .collect();
    let seen: Vec<u64> = answers.iter().map(|answer| sequence[answer.build.as_str()]).collect();
    assert!(seen.is_sorted(), "back to an older build: {seen:?}");
}
