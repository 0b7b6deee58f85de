//! What an operator accepts is remembered until it is served: a retry needs no second word.
//!
//! It ends when a build is promoted, the settings change or the refused value
//! gets worse.

use crate::support::agent::Agent;
use crate::support::provider::Fault;
use crate::support::{Ran, World, run};

const OTHER: &str = "gemini-embedding-exp";
const QUICK: &str = "[trigger]\nquiet = \"100ms\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\n[embedding]\nretry_budget = \"0s\"\n";

fn with_model(world: &World, model: &str, arguments: &[&str]) -> Ran {
    run(world.command(arguments).env("EMBEDDING_MODEL", model))
}

/// A build is served, another space was accepted, and the provider failed.
fn accepted_and_failed() -> World {
    let world = World::with_people(6);
    world.settings(QUICK);
    world.build();
    world.provider.always(Some(Fault::Forbidden));
    let failed = with_model(&world, OTHER, &["build", "--accept-space"]);
    world.provider.always(None);
    assert_eq!(failed.code, 1, "{failed:?}");
    world
}

#[test]
fn an_agent_carries_out_what_was_accepted_after_the_provider_failed() {
    let world = accepted_and_failed();

    let agent = Agent::start(world.command(&["run"]).env("EMBEDDING_MODEL", OTHER));
    agent.wait_for_promotions(1);

    agent.stop();
    world.assert_true(OTHER);
    assert!(!world.path("data/.reindexd/accepted.json").exists(), "it is served");
}

#[test]
fn what_was_accepted_holds_for_these_settings_alone() {
    let world = accepted_and_failed();
    world.provider.forget();
    assert!(!with_model(&world, OTHER, &["plan"]).stdout.contains("would be refused"));

    assert_eq!(with_model(&world, "gemini-embedding-002", &["build"]).code, 3);
    let again = with_model(&world, OTHER, &["build"]);

    assert_eq!(again.code, 3, "the settings changed in between: {again:?}");
    assert_eq!(world.provider.request_count(), 0);
}

#[test]
fn what_was_accepted_ends_when_another_build_is_promoted() {
    let world = accepted_and_failed();
    world.sql("UPDATE experts SET hourly_rate = 3");
    world.provider.forget();
    world.build();

    assert_eq!(with_model(&world, OTHER, &["build"]).code, 3);
    assert_eq!(world.provider.request_count(), 0);
}

#[test]
fn a_damaged_record_of_it_accepts_nothing_and_says_so() {
    let world = accepted_and_failed();
    let path = world.path("data/.reindexd/accepted.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(OTHER, "gemini-embedding-exq")).unwrap();

    let refused = with_model(&world, OTHER, &["build"]);

    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("accepted.json is damaged and counts as empty"), "{refused:?}");
}

#[test]
fn a_smaller_table_that_was_accepted_may_not_shrink_further() {
    let world = World::with_people(20);
    world.settings(QUICK);
    world.build();
    world.sql("DELETE FROM experts WHERE id > 10; UPDATE experts SET bio = 'New' WHERE id = 1");
    world.provider.always(Some(Fault::Forbidden));
    assert_eq!(world.run(&["build", "--accept-shrink"]).code, 1);
    world.provider.always(None);

    // One row fewer than was accepted; as many again do not bring the acceptance back.
    world.sql("UPDATE experts SET tags = NULL WHERE id = 10");
    let fewer = world.run(&["build", "--json"]);
    assert_eq!(fewer.code, 3, "{fewer:?}");
    world.sql("UPDATE experts SET tags = '[\"tag\"]' WHERE id = 10");
    assert_eq!(world.run(&["build"]).code, 3);

    world.provider.always(Some(Fault::Forbidden));
    assert_eq!(world.run(&["build", "--accept-shrink"]).code, 1);
    world.provider.always(None);
    world.add_people([11]);
    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for_records(&world, 11);
    agent.stop();
}
