//! Another address behind the same model's name is proven before its vectors are served.
//!
//! A gateway's alias, a newer version or a quantised copy gives other vectors
//! under the same name. So some texts that are served are embedded again first;
//! what comes out otherwise is another space, which an operator accepts or not.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::provider::{CustomAnswer, Fault, Provider, Then};
use crate::support::{MODEL, Ran, World, run};

const QUICK: &str =
    "[trigger]\nquiet = \"100ms\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\n[log]\nlevel = \"debug\"\n";

/// A provider of the same API with the same models, whose vectors are others.
fn other_provider() -> Provider {
    let provider = Provider::start();
    let make = |right: &crate::support::provider::Right, _: &str| {
        let body = right.turned().to_string();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let custom = CustomAnswer { what: "", make, then: Then::GoOn, right: true };
    provider.always(Some(Fault::Custom(custom)));
    provider
}

/// Runs a command whose requests go to another provider.
fn at(world: &World, provider: &Provider, arguments: &[&str]) -> Ran {
    run(world.command(arguments).env("GOOGLE_GEMINI_BASE_URL", provider.base_url()))
}

fn address(world: &World) -> Value {
    let manifest: Value = serde_json::from_slice(&world.published("current/manifest.json")).unwrap();
    manifest["address"].clone()
}

/// Every served vector must be the negative of the first provider's.
fn assert_turned(world: &World) {
    let turned: HashSet<String> = world.vectors().iter().map(|v| format!("{:?}", v[0] > 0.0)).collect();
    assert!(!turned.is_empty());
    let expected = |record: &Value, vector: &[f32]| {
        let right = crate::support::provider::vector(MODEL, &crate::support::text_of(record), vector.len());
        crate::support::unit(&right).iter().zip(vector).all(|(right, found)| (right + found).abs() < 2e-7)
    };
    assert!(world.records().iter().zip(world.vectors()).all(|(record, vector)| expected(record, &vector)));
}

#[test]
fn the_same_vectors_at_another_address_are_proven_by_a_few_texts_and_then_served() {
    let world = World::with_people(40);
    world.build();
    assert_eq!(address(&world), json!(world.provider.base_url()));
    world.add_people([41]);
    world.provider.forget();
    let second = Provider::start();

    let planned = at(&world, &second, &["plan", "--json"]);
    let built = at(&world, &second, &["build", "--json"]);

    let reasons = planned.json()["reasons"].to_string();
    assert!(
        reasons.contains(&world.provider.base_url()) && reasons.contains(&second.base_url()),
        "{reasons}"
    );
    assert_eq!((built.code, built.number("embedded"), built.number("kept")), (0, 1, 40), "{built:?}");
    assert_eq!(built.number("requests"), second.request_count() as u64);
    let sent: HashSet<String> = second.texts_seen().into_iter().collect();
    assert_eq!((second.text_count(), sent.len()), (17, 17), "sixteen that are served and the new one");
    assert_eq!(world.provider.request_count(), 0);
    assert_eq!(address(&world), json!(second.base_url()));
    world.assert_true(MODEL);

    // It is proven now.
    world.add_people([42]);
    second.forget();
    assert_eq!(at(&world, &second, &["build", "--json"]).number("embedded"), 1);
    assert_eq!(second.text_count(), 1);
}

#[test]
fn other_vectors_at_another_address_are_refused_and_the_message_says_what_was_found() {
    let world = World::with_people(20);
    let served = world.build().text("build");
    world.add_people([21]);
    let other = other_provider();

    let refused = at(&world, &other, &["build", "--json"]);

    assert_eq!((refused.code, refused.text("outcome").as_str()), (3, "refused"), "{refused:?}");
    let error = refused.text("error");
    for part in [&world.provider.base_url(), &other.base_url(), "16 texts", "-1.0000", "--accept-space"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!((other.text_count(), refused.number("requests")), (16, 1), "the new text was not sent");
    assert_eq!(world.served(), Some(served));
    let planned = at(&world, &other, &["plan", "--json"]);
    assert!(planned.json()["reasons"].to_string().contains("would be refused"), "{planned:?}");
    // At the first address all goes on.
    assert_eq!(world.build().number("embedded"), 1);
    world.assert_true(MODEL);
}

#[test]
fn an_accepted_address_embeds_every_text_and_mixes_nothing() {
    let world = World::with_people(20);
    world.provider.excuse_money("another address gives its own vectors");
    world.build();
    world.sql("DELETE FROM experts WHERE id = 20");
    world.build();
    world.add_people([21]);
    let other = other_provider();
    other.excuse_money("what is compared is not stored");

    let accepted = at(&world, &other, &["build", "--accept-space", "--json"]);

    assert_eq!((accepted.code, accepted.number("embedded")), (0, 20), "{accepted:?}");
    assert_eq!(address(&world), json!(other.base_url()));
    assert_turned(&world);
    // A kept build of the first address has this text.
    world.add_people([20]);
    assert_eq!(at(&world, &other, &["build", "--json"]).number("embedded"), 1);
    assert_turned(&world);
}

#[test]
fn an_accepted_address_whose_provider_fails_is_gone_on_with_by_the_agent() {
    let world = World::with_people(30);
    world.provider.excuse_money("another address gives its own vectors");
    world.settings(&format!("{QUICK}[embedding]\nretry_budget = \"0s\"\nbatch_size = 4\n"));
    world.build();
    world.add_people([31]);
    let other = other_provider();
    other.excuse_money("what is compared is not stored");
    // Four answers for the texts to compare, two batches; then nothing more.
    other.hold_after(6);
    let mut building = world.command(&["build", "--accept-space"]);
    let building = building.env("GOOGLE_GEMINI_BASE_URL", other.base_url());
    let building = crate::support::start(building);
    // Four are in flight: the vectors of two batches were handed on.
    assert!(other.wait_for_requests(10, crate::support::SOON));
    rustix::process::kill_process(rustix::process::Pid::from_child(&building), rustix::process::Signal::KILL)
        .unwrap();
    crate::support::ended(building);
    other.release();
    other.forget();

    let mut agent = world.command(&["run"]);
    let agent = Agent::start(agent.env("GOOGLE_GEMINI_BASE_URL", other.base_url()));
    agent.wait_for_promotions(1);
    agent.stop();

    assert_turned(&world);
    assert_eq!(other.text_count(), 31 - 8, "what was answered and stored is not embedded again");
}

#[test]
fn an_agent_asks_once_at_another_address_and_goes_on_serving() {
    let world = World::with_people(20);
    let served = world.build().text("build");
    world.settings(QUICK);
    world.add_people([21]);
    let other = other_provider();
    let mut command = world.command(&["run"]);
    let agent = Agent::start(command.env("GOOGLE_GEMINI_BASE_URL", other.base_url()));
    agent.wait_for_log("gives other vectors than are served");

    for id in 22..25 {
        let before = agent.passes();
        world.add_people([id]);
        agent.wait_for("another pass that ended", || {
            agent.passes() > before && world.run(&["status", "--json"]).json()["agent"]["phase"] == "idle"
        });
    }

    assert_eq!((other.text_count(), world.served()), (16, Some(served)), "{}", agent.log());
    let status = at(&world, &other, &["status", "--json"]).json();
    assert!(status["to_do"].as_str().unwrap().contains("--accept-space"), "{status}");
    agent.stop();
}

#[test]
fn where_no_text_is_served_there_is_no_proof() {
    let world = World::with_people(5);
    let served = world.build().text("build");
    world.sql("UPDATE experts SET bio = 'All new ' || id");
    let second = Provider::start();

    let refused = at(&world, &second, &["build", "--json"]);

    assert_eq!((refused.code, second.text_count()), (3, 0), "{refused:?}");
    assert!(refused.text("error").contains("no text of the table is in the served build"), "{refused:?}");
    assert_eq!(world.served(), Some(served));
}

#[test]
fn a_build_that_embeds_nothing_keeps_the_address_of_its_vectors() {
    let world = World::with_people(5);
    world.build();
    let other = other_provider();
    world.sql("UPDATE experts SET hourly_rate = 3 WHERE id = 1; DELETE FROM experts WHERE id = 5");

    let built = at(&world, &other, &["build", "--json"]);

    assert_eq!((built.code, built.text("outcome").as_str()), (0, "promoted"), "{built:?}");
    assert_eq!((other.request_count(), address(&world)), (0, json!(world.provider.base_url())));
    world.add_people([6]);
    assert_eq!(at(&world, &other, &["build", "--json"]).code, 3);
}

#[test]
fn a_first_build_and_one_after_a_build_without_an_address_are_not_compared() {
    let world = World::with_people(5);
    world.build();
    let path = world.path("data/current/manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let beginning = text.split(",\n  \"checksum\"").next().unwrap();
    let line = format!("  \"address\": \"{}\",\n", world.provider.base_url());
    assert!(beginning.contains(&line), "{text}");
    let beginning = beginning.replace(&line, "");
    let checksum = blake3::hash(beginning.as_bytes());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, format!("{beginning},\n  \"checksum\": \"{checksum}\"\n}}\n")).unwrap();
    world.add_people([6]);
    let second = Provider::start();

    let built = at(&world, &second, &["build", "--json"]);

    assert_eq!((built.code, second.text_count()), (0, 1), "as one of 0.1.0: {built:?}");
    assert_eq!(address(&world), json!(second.base_url()));
}

/// A build of thirty rows at the first provider that was killed after two batches were stored.
pub fn cut_short_at_the_first_address() -> World {
    let world = World::with_people(30);
    world.settings("[embedding]\nbatch_size = 4\n");
    world.provider.hold_after(2);
    let building = crate::support::start(&mut world.command(&["build"]));
    // Four are in flight: the vectors of two batches were handed on.
    assert!(world.provider.wait_for_requests(6, crate::support::SOON));
    let pid = rustix::process::Pid::from_child(&building);
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    crate::support::ended(building);
    world.provider.release();
    world
}

#[test]
fn cached_vectors_of_a_first_build_are_proven_at_another_address_and_used() {
    let world = cut_short_at_the_first_address();
    let second = Provider::start();

    let built = at(&world, &second, &["build", "--json"]);

    assert_eq!((built.code, built.number("embedded"), built.number("kept")), (0, 22, 8), "{built:?}");
    assert_eq!(second.text_count(), 8 + 22, "the cached ones once more, and the rest");
    world.assert_true(MODEL);
}

#[test]
fn cached_vectors_that_come_out_otherwise_at_another_address_are_not_used() {
    let world = cut_short_at_the_first_address();
    world.provider.excuse_money("another address gives its own vectors");
    let other = other_provider();
    other.excuse_money("what is compared is not stored");

    let built = at(&world, &other, &["build", "--json"]);

    assert_eq!((built.code, built.number("embedded"), built.number("kept")), (0, 30, 0), "{built:?}");
    assert!(built.stderr.contains("cached vectors came from another address"), "{built:?}");
    assert_turned(&world);
}

#[test]
fn cached_vectors_whose_address_is_lost_are_compared_too() {
    let world = cut_short_at_the_first_address();
    world.provider.excuse_money("another address gives its own vectors");
    let other = other_provider();
    other.excuse_money("what is compared is not stored");
    std::fs::write(world.path("data/.reindexd/cached-from.json"), "not what it was").unwrap();

    let built = at(&world, &other, &["build", "--json"]);

    assert_eq!((built.code, built.number("embedded"), built.number("kept")), (0, 30, 0), "{built:?}");
    assert_turned(&world);
}

#[test]
fn vectors_cached_at_an_accepted_address_are_not_mixed_with_the_served_ones() {
    let world = World::with_people(20);
    world.provider.excuse_money("another address gives its own vectors");
    world.build();
    world.add_people([21, 22]);
    let other = other_provider();
    other.excuse_money("what is compared is not stored");
    // The texts to compare are answered; what follows is killed.
    other.hold_after(2);
    let mut building = world.command(&["build", "--accept-space"]);
    building.env("GOOGLE_GEMINI_BASE_URL", other.base_url()).env("INGEST_BATCH_SIZE", "20");
    let building = crate::support::start(&mut building);
    assert!(other.wait_for_requests(3, crate::support::SOON));
    let pid = rustix::process::Pid::from_child(&building);
    crate::support::eventually("a batch is cached", || {
        std::fs::metadata(world.path("data/.reindexd/cached-from.json")).is_ok_and(|meta| meta.len() > 0)
    });
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    crate::support::ended(building);

    let back = world.build();

    assert_eq!(back.code, 0, "{back:?}");
    world.assert_true(MODEL);
}

#[test]
fn a_reload_with_another_address_is_compared_too() {
    let world = World::with_people(20);
    let more = |base: &str| format!("dimension = 32\nbase_url = \"{base}\"\n{QUICK}");
    world.ask_openai(&more(&world.provider.base_url()));
    world.build();
    let served = world.served();
    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for_log("outcome=unchanged");
    let other = other_provider();

    world.ask_openai(&more(&other.base_url()));
    agent.signal(rustix::process::Signal::HUP);
    agent.wait_for_log("settings: new values in force");
    world.add_people([21]);
    agent.wait_for_log("gives other vectors than are served");

    assert_eq!((world.served(), other.text_count()), (served, 16), "{}", agent.log());
    agent.stop();
}

#[test]
fn kept_builds_of_two_addresses_are_not_mixed_when_another_space_is_served() {
    let world = World::with_people(20);
    world.provider.excuse_money("another address gives its own vectors");
    world.build();
    world.sql("DELETE FROM experts WHERE id = 20");
    let other = other_provider();
    other.excuse_money("what is compared is not stored");
    world.sql("UPDATE experts SET bio = 'New' WHERE id = 1");
    let accepting = ["build", "--accept-space", "--json"];
    assert_eq!(at(&world, &other, &accepting).number("embedded"), 19);
    let mut third = world.command(&accepting);
    third.env("GOOGLE_GEMINI_BASE_URL", other.base_url()).env("EMBEDDING_MODEL", "gemini-embedding-exp");
    assert_eq!(run(&mut third).number("embedded"), 19);

    // The text of this row is in the build of the first address alone.
    world.add_people([20]);
    let back = at(&world, &other, &accepting);

    assert_eq!((back.code, back.number("embedded"), back.number("kept")), (0, 1, 19), "{back:?}");
    assert_turned(&world);
}

#[test]
fn a_rollback_to_an_address_that_was_proven_asks_nothing() {
    let world = World::with_people(20);
    let first = world.build().text("build");
    world.add_people([21]);
    let second = Provider::start();
    assert_eq!(at(&world, &second, &["build", "--json"]).number("kept"), 20);

    let back = world.run(&["rollback", "--json"]);

    assert_eq!((back.code, back.text("build")), (0, first), "{back:?}");
}

#[test]
fn a_rollback_to_an_address_that_was_not_proven_asks_first() {
    let world = World::with_people(20);
    world.provider.excuse_money("another address gives its own vectors");
    let first = world.build().text("build");
    world.add_people([21]);
    let other = other_provider();
    other.excuse_money("an accepted address embeds all again");
    let second = at(&world, &other, &["build", "--accept-space", "--json"]).text("build");
    let (asked, there) = (world.provider.request_count(), other.request_count());

    for arguments in [&["rollback", "--json"][..], &["rollback", &first, "--json"]] {
        let refused = world.run(arguments);
        assert_eq!(refused.code, 3, "{refused:?}");
        let error = refused.text("error");
        for part in [&first, &world.provider.base_url(), &other.base_url(), "-1.0000", "--accept-space"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    assert_eq!(world.served(), Some(second));

    let back = world.run(&["rollback", "--accept-space", "--json"]);
    assert_eq!((back.code, back.text("build")), (0, first), "{back:?}");
    assert_eq!((world.provider.request_count(), other.request_count()), (asked, there), "nothing was sent");
}
