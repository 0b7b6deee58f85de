//! The space of what is served is changed by an operator alone, never by an agent or by mistake.
//!
//! An API goes on asking in the space of the build that it loaded. Another
//! model, dimension or task in the settings is refused, nothing is sent, and
//! the old build stays; `--accept-space` lets it pass.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::{DIMENSION, MODEL, Ran, World, run};

const OTHER: &str = "gemini-embedding-exp";
/// Triggers of an agent that does not let a test wait.
const QUICK: &str =
    "[trigger]\nquiet = \"100ms\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\n[log]\nlevel = \"debug\"\n";

/// Runs a command with another model in the environment.
fn with_other_model(world: &World, arguments: &[&str]) -> Ran {
    run(world.command(arguments).env("EMBEDDING_MODEL", OTHER))
}

#[test]
fn another_model_dimension_or_task_is_refused_and_nothing_is_sent() {
    let others = [
        ("EMBEDDING_MODEL", OTHER, "", "gemini/gemini-embedding-exp of 32 dimensions"),
        ("OUTPUT_DIM", "48", "", "gemini/gemini-embedding-001 of 48 dimensions"),
        ("IGNORED", "", "[embedding]\ntask_type = \"CLUSTERING\"\n", "for CLUSTERING"),
    ];
    for (variable, value, settings, named) in others {
        let world = World::with_people(6);
        let served = world.build().text("build");
        world.provider.forget();
        world.settings(settings);
        for changes in ["", "UPDATE experts SET bio = 'New' WHERE id = 2"] {
            world.sql(changes);
            let run = |arguments: &[&str]| run(world.command(arguments).env(variable, value));

            let (planned, refused) = (run(&["plan", "--json"]), run(&["build", "--json"]));

            assert_eq!((refused.code, refused.text("outcome").as_str()), (3, "refused"), "{refused:?}");
            let error = refused.text("error");
            assert!(error.contains("gemini/gemini-embedding-001 of 32 dimensions"), "{error}");
            assert!(error.contains(named) && error.contains("--accept-space"), "{error}");
            assert_eq!(planned.code, 0, "{planned:?}");
            let reasons = planned.json()["reasons"].to_string();
            assert!(reasons.contains("would be refused") && reasons.contains(named), "{reasons}");
            assert_eq!(world.provider.request_count(), 0);
            assert_eq!(world.served().as_ref(), Some(&served));
        }
        for flag in ["--full", "--rebuy", "--accept-shrink"] {
            let refused = run(world.command(&["build", flag, "--json"]).env(variable, value));
            assert_eq!(refused.code, 3, "{flag}: {refused:?}");
        }
        assert_eq!(world.provider.request_count(), 0);
    }
}

#[test]
fn an_accepted_space_is_built_once_and_is_then_the_one_that_is_guarded() {
    let world = World::with_people(6);
    world.build();

    let accepted = with_other_model(&world, &["build", "--accept-space", "--json"]);

    assert_eq!((accepted.code, accepted.number("embedded")), (0, 6), "{accepted:?}");
    world.assert_true(OTHER);
    assert_eq!(with_other_model(&world, &["build", "--json"]).text("outcome"), "unchanged");
    let back = world.run(&["build", "--json"]);
    assert_eq!(back.code, 3, "the way back needs a word too: {back:?}");
    world.add_people([7]);
    assert_eq!(with_other_model(&world, &["build", "--json"]).number("embedded"), 1);
    world.assert_true(OTHER);
}

#[test]
fn nothing_is_guarded_where_nothing_is_served() {
    let world = World::with_people(3);

    let first = with_other_model(&world, &["build", "--json"]);

    assert_eq!((first.code, first.number("embedded")), (0, 3), "{first:?}");
}

#[test]
fn an_agent_goes_on_serving_the_old_space_and_says_so_once() {
    let world = World::with_people(6);
    let served = world.build().text("build");
    world.provider.forget();
    world.settings(QUICK);
    let agent = Agent::start(world.command(&["run"]).env("EMBEDDING_MODEL", OTHER));
    agent.wait_for_log("another space than what is served");

    world.add_people([7]);
    agent.wait_for_log("trigger=database");
    std::fs::write(world.path("data/tagging-complete"), "").unwrap();
    agent.wait_for_log("trigger=marker");
    agent.signal(Signal::USR1);
    agent.wait_for_log("trigger=signal");
    agent.wait_for("the end of that pass", || {
        let status = world.run(&["status", "--json"]).json();
        status["agent"]["last_pass"]["trigger"] == "signal" && status["agent"]["phase"] == "idle"
    });

    let log = agent.log();
    let warnings = log.lines().filter(|line| line.contains(" WARN ") && line.contains("another space"));
    assert_eq!(warnings.count(), 1, "{log}");
    assert_eq!((world.served(), world.provider.request_count()), (Some(served), 0));
    let status = with_other_model(&world, &["status", "--json"]).json();
    assert!(status["to_do"].as_str().unwrap().contains("--accept-space"), "{status}");
    agent.stop();
}

#[test]
fn manifest_note_and_status_name_the_space_that_is_served() {
    let world = World::with_people(3);
    let id = world.build().text("build");

    let json = |name: &str| -> Value { serde_json::from_slice(&world.published(name)).unwrap() };
    let (manifest, note) = (json("current/manifest.json"), json("served.json"));
    let status = world.run(&["status", "--json"]).json();

    assert_eq!((&note["build"], &note["space"]), (&id.into(), &manifest["space"]));
    assert_eq!(status["served"]["space"], manifest["space"]);
    assert_eq!(manifest["space"]["model"], MODEL);
    let text = world.run(&["status"]).stdout;
    assert!(text.contains("3 records in gemini/gemini-embedding-001 of 32 dimensions"), "{text}");
}

#[test]
fn a_damaged_manifest_does_not_let_another_space_pass_and_is_repaired_in_its_own() {
    let world = World::with_people(6);
    world.provider.excuse_money("the only vectors are damaged");
    world.build();
    // The newest build that can be read afterwards is of another space than the damaged one.
    with_other_model(&world, &["build", "--accept-space"]);
    damage(&world.path("data/current/manifest.json"));
    world.provider.forget();

    let refused = world.run(&["build", "--json"]);
    assert_eq!((refused.code, world.provider.request_count()), (3, 0), "{refused:?}");

    let repaired = with_other_model(&world, &["build", "--json"]);
    assert_eq!(repaired.code, 0, "{repaired:?}");
    world.assert_true(OTHER);
}

#[test]
fn a_rollback_into_another_space_is_refused_unless_it_is_accepted() {
    let world = World::with_people(6);
    let first = world.build().text("build");
    let second = with_other_model(&world, &["build", "--accept-space", "--json"]).text("build");

    for arguments in [&["rollback", "--json"][..], &["rollback", &first, "--json"]] {
        let refused = with_other_model(&world, arguments);

        assert_eq!(refused.code, 3, "{refused:?}");
        let error = refused.text("error");
        assert!(error.contains(MODEL) && error.contains(OTHER) && error.contains(&first), "{error}");
        assert_eq!(world.served().as_ref(), Some(&second));
        assert!(world.run(&["status", "--json"]).json()["hold"].is_null());
    }
    let accepted = with_other_model(&world, &["rollback", "--accept-space", "--json"]);
    assert_eq!((accepted.code, world.served()), (0, Some(first)), "{accepted:?}");
}

#[test]
fn an_adopted_build_guards_the_length_of_its_vectors_alone() {
    let world = World::with_people(5);
    world.ingest(DIMENSION);
    world.settings(QUICK);

    // Another length is not for an agent.
    let agent = Agent::start(world.command(&["run"]).env("OUTPUT_DIM", "48"));
    agent.wait_for_log("expected adopted vectors of 32 dimensions");
    assert_eq!((world.provider.request_count(), world.served_count()), (0, 5));
    let adopted = world.served().unwrap();
    agent.stop();

    // A person is warned.
    let planned = run(world.command(&["plan", "--json"]).env("OUTPUT_DIM", "48"));
    assert!(planned.json()["reasons"].to_string().contains("have 32 dimensions"), "{planned:?}");
    let longer = run(world.command(&["build", "--json"]).env("OUTPUT_DIM", "48"));
    assert_eq!((longer.code, longer.number("embedded")), (0, 5), "{longer:?}");
    assert!(longer.stderr.contains("the adopted vectors have 32 dimensions"), "{longer:?}");

    // And the way back is a question.
    let back = |flags: &[&str]| {
        let command = [&["rollback", "--json"], flags].concat();
        run(world.command(&command).env("OUTPUT_DIM", "48")).code
    };
    assert_eq!((back(&[]), back(&["--accept-space"])), (3, 0));
    assert_eq!(world.served().as_ref(), Some(&adopted));
}

#[test]
fn an_adopted_build_of_the_same_length_passes_in_both_directions() {
    let world = World::with_people(5);
    world.ingest(DIMENSION);
    world.settings(QUICK);

    let agent = Agent::start(world.command(&["run"]).env("EMBEDDING_MODEL", OTHER));
    agent.wait_for_promotions(1);
    agent.stop();
    world.assert_true(OTHER);

    let back = with_other_model(&world, &["rollback", "--json"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert!(world.served().unwrap().ends_with("-adopted"));
}

/// Changes a byte of a file that this user may not write.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[20] ^= 1;
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}
