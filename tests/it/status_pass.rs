//! `status` shows the pass that runs, by hand or of the agent, from the files alone.

use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use crate::support::{World, ended, eventually, start};

/// A build that waits for its fourth answer, with `status` as it is then.
fn embedding_world() -> World {
    let world = World::with_people(60);
    world.settings("[trigger]\nquiet = \"50ms\"\n[embedding]\nconcurrency = 1\nbatch_size = 10\n");
    // Long enough for the pass to be worth a file.
    world.provider.set_latency(Duration::from_millis(150));
    world.provider.hold_after(3);
    world
}

fn pass_of(world: &World) -> Value {
    world.run(&["status", "--json"]).json()["pass"].clone()
}

fn assert_embedding_is_shown(world: &World, trigger: &str) {
    eventually("the pass shows what it has embedded", || pass_of(world)["done"] == 30);
    let pass = pass_of(world);
    assert_eq!((&pass["trigger"], &pass["stage"]), (&trigger.into(), &"embed".into()), "{pass}");
    assert_eq!(pass["total"], 60, "{pass}");
    assert!(pass["started"].is_string(), "{pass}");
    let text = world.run(&["status"]).stdout;
    assert!(text.contains("stage embed, 30 of 60 texts"), "{text}");
    assert!(text.contains("to do: nothing; a pass is running"), "{text}");
}

fn start_build(world: &World) -> Child {
    start(&mut world.command(&["build", "--json"]))
}

#[test]
fn status_shows_a_build_by_hand_while_it_embeds_and_not_after() {
    let world = embedding_world();
    assert!(pass_of(&world).is_null());
    let build = start_build(&world);

    assert_embedding_is_shown(&world, "command");

    world.provider.release();
    assert_eq!(ended(build).text("outcome"), "promoted");
    assert!(pass_of(&world).is_null());
    assert!(!world.path("data/.reindexd/pass.json").exists());
}

#[test]
fn status_shows_the_pass_of_the_agent() {
    let world = embedding_world();
    let _agent = world.agent_with("quiet = \"50ms\"\n[embedding]\nconcurrency = 1\nbatch_size = 10\n");

    assert_embedding_is_shown(&world, "start");

    world.provider.release();
    eventually("the pass ends", || pass_of(&world).is_null());
}

#[test]
fn a_killed_pass_is_not_shown() {
    let world = embedding_world();
    let mut build = start_build(&world);
    eventually("the pass is shown", || pass_of(&world).is_object());

    build.kill().unwrap();
    build.wait().unwrap();

    assert!(world.path("data/.reindexd/pass.json").exists(), "what the kill left");
    assert!(pass_of(&world).is_null());
    world.provider.release();
    assert_eq!(world.build().text("outcome"), "promoted");
    assert!(!world.path("data/.reindexd/pass.json").exists(), "the next pass removes it");
}
