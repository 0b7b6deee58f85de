//! Rollback: an earlier build is served again, and a hold keeps it until the table changes.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Ran, World};

/// The shortest triggers, and a log that has repeated scans too.
const QUICK: &str = "quiet = \"100ms\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\n[log]\nlevel = \"debug\"\n";

#[test]
fn a_rollback_serves_the_build_before_index_and_metadata_together() {
    let (world, made) = with_builds(2);
    let (records, vectors) = (world.records(), world.vectors());
    world.sql("UPDATE experts SET bio = 'Bad.', hourly_rate = 0");
    world.build();
    world.provider.forget();

    let back = world.run(&["rollback", "--json"]);

    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!((back.text("outcome").as_str(), back.text("build")), ("rolled back", made[1].clone()));
    assert_eq!(world.served().as_ref(), Some(&made[1]));
    assert_eq!((world.records(), world.vectors()), (records, vectors));
    let note: Value = serde_json::from_slice(&world.published("served.json")).unwrap();
    assert_eq!(note["build"], made[1].as_str(), "the file that a path unit watches names it too");
    assert_eq!(world.provider.request_count(), 0);
    world.assert_proven();
}

#[test]
fn each_rollback_goes_one_further_back_until_there_is_nothing_before() {
    let (world, made) = with_builds(3);

    for expected in [&made[1], &made[0]] {
        assert_eq!(&world.run(&["rollback", "--json"]).text("build"), expected);
    }
    let further = world.run(&["rollback", "--json"]);

    assert_eq!(further.code, 1, "{further:?}");
    assert!(further.text("error").contains("no build was promoted before"), "{further:?}");
    assert_eq!(world.served().as_ref(), Some(&made[0]));
}

#[test]
fn a_rollback_finds_the_build_before_one_whose_promotion_was_not_recorded() {
    let (world, made) = with_builds(3);
    // As a crash leaves it between the switch and the record.
    let state = world.path("data/.reindexd/state.json");
    let mut recorded: Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
    recorded["promotions"].as_array_mut().unwrap().pop();
    std::fs::write(&state, recorded.to_string()).unwrap();

    let back = world.run(&["rollback", "--json"]);

    assert_eq!((back.code, back.text("build")), (0, made[1].clone()), "{back:?}");
    assert_eq!(world.run(&["rollback", "--json"]).text("build"), made[0], "and one further back");
}

#[test]
fn the_build_before_one_made_after_a_rollback_is_the_one_rolled_back_to() {
    let (world, made) = with_builds(3);
    world.run(&["rollback"]);
    let after = another(&world, 9);
    assert_eq!(manifest(&world, &after)["previous"], made[1].as_str());

    let back = world.run(&["rollback", "--json"]);

    assert_eq!(back.text("build"), made[1], "not the one that was rolled away from");
}

#[test]
fn a_rollback_can_name_its_build_forwards_too() {
    let (world, made) = with_builds(3);

    assert_eq!(world.run(&["rollback", &made[0], "--json"]).text("build"), made[0]);
    assert_eq!(world.run(&["rollback", &made[2], "--json"]).text("build"), made[2]);

    assert_eq!(world.served().as_ref(), Some(&made[2]));
    for no_build in ["20010101T000000Z-000000", "..", "", &format!("{}.staging", made[1])] {
        let refused = world.run(&["rollback", no_build, "--json"]);
        assert_eq!(refused.code, 1, "{no_build}: {refused:?}");
        assert!(refused.text("error").contains("there is no build"), "{no_build}: {refused:?}");
    }
    assert_eq!(world.served().as_ref(), Some(&made[2]));
}

#[test]
fn a_damaged_build_is_not_rolled_back_to() {
    let (world, made) = with_builds(2);
    let index = world.path("data/builds").join(&made[0]).join("faiss.index");
    let mut bytes = std::fs::read(&index).unwrap();
    bytes[60] ^= 1;
    std::fs::remove_file(&index).unwrap();
    std::fs::write(&index, bytes).unwrap();

    let refused = world.run(&["rollback", "--json"]);

    assert_eq!(refused.code, 1, "{refused:?}");
    let error = refused.text("error");
    assert!(error.contains(&made[0]) && error.contains("damaged"), "{error}");
    assert_eq!(world.served().as_ref(), Some(&made[1]));
    assert_eq!(world.run(&["status", "--json"]).json()["hold"], Value::Null, "and there is no hold");
    world.assert_proven();
}

#[test]
fn a_rollback_leads_away_from_a_build_whose_manifest_cannot_be_read() {
    let (world, made) = with_builds(3);
    let manifest = world.path("data/builds").join(&made[2]).join("manifest.json");
    std::fs::remove_file(&manifest).unwrap();
    std::fs::write(manifest, "{}").unwrap();

    let back = world.run(&["rollback", "--json"]);

    assert_eq!((back.code, back.json()["build"].as_str()), (0, Some(made[1].as_str())), "{back:?}");
    world.assert_proven();
}

#[test]
fn an_agent_does_not_build_what_was_rolled_back_until_the_table_changes() {
    let (world, made) = with_builds(2);
    world.run(&["rollback"]);
    world.provider.forget();
    let agent = world.agent_with(QUICK);
    agent.wait_for_log("outcome=held");

    // A commit, the marker and SIGUSR1 are reasons to scan, and the content is the same.
    world.sql("INSERT INTO experts (id, bio) VALUES (99, 'Not tagged.')");
    agent.wait_for_log("trigger=database");
    std::fs::write(world.path("data/tagging-complete"), "").unwrap();
    agent.wait_for_log("trigger=marker");
    agent.signal(Signal::USR1);
    agent.wait_for_log("trigger=signal");
    let status = world.run(&["status", "--json"]).json();
    assert_eq!(world.served().as_ref(), Some(&made[0]));
    assert_eq!(
        (&status["hold"]["build"], &status["drift"]["held"]),
        (&made[0].as_str().into(), &true.into())
    );
    assert!(!status["hold"]["by"].as_str().unwrap().is_empty(), "who asked");

    world.sql("UPDATE experts SET bio = 'Fixed.' WHERE id = 1");
    agent.wait_for("a build of the new content", || world.served().is_some_and(|id| !made.contains(&id)));
    agent.wait_for("the end of the hold", || hold(&world).is_null());
    agent.stop();
    assert_eq!(world.builds().len(), 3, "the new one is the only one that was made");
    assert_eq!(world.provider.text_count(), 1, "only the new text was embedded");
}

#[test]
fn a_hold_has_ended_for_good_once_the_table_had_other_content() {
    let (world, made) = with_builds(2);
    world.run(&["rollback"]);
    let agent = world.agent_with(QUICK);
    agent.wait_for_log("outcome=held");

    // The content that is served: nothing to build, but no longer the content that the hold names.
    world.sql("UPDATE experts SET hourly_rate = 0");
    agent.wait_for("the end of the hold", || hold(&world).is_null());
    assert_eq!(world.served().as_ref(), Some(&made[0]));
    world.sql("UPDATE experts SET hourly_rate = 1");

    agent.wait_for("a build of it after all", || world.served().is_some_and(|id| id != made[0]));
    agent.stop();
}

#[test]
fn a_release_ends_the_hold_and_the_agents_next_scan_builds() {
    let (world, made) = with_builds(2);
    world.run(&["rollback"]);
    let agent = world.agent_with(QUICK);
    agent.wait_for_log("outcome=held");

    let released = world.run(&["rollback", "--release", "--json"]);
    agent.signal(Signal::USR1);

    assert_eq!((released.code, released.json()["released"].as_bool()), (0, Some(true)), "{released:?}");
    agent.wait_for("a build of the table", || world.served().is_some_and(|id| !made.contains(&id)));
    agent.stop();
    let again = world.run(&["rollback", "--release", "--json"]);
    assert_eq!(
        (again.code, again.json()["released"].as_bool()),
        (0, Some(false)),
        "nothing was held: {again:?}"
    );
}

#[test]
fn build_on_the_command_line_ends_a_hold_at_once_and_costs_nothing() {
    let (world, made) = with_builds(2);
    let records = world.records();
    world.run(&["rollback"]);
    world.provider.forget();
    assert!(world.run(&["plan", "--json"]).json()["held"].as_bool().unwrap());

    let built = world.build();

    assert_eq!(built.text("outcome"), "promoted");
    assert!(!made.contains(&built.text("build")));
    assert_eq!(world.records(), records);
    assert_eq!(world.provider.request_count(), 0, "the build before the rollback has every vector");
    assert!(hold(&world).is_null());
}

#[test]
fn history_lists_the_builds_that_are_kept_and_what_was_tried() {
    let (world, made) = with_builds(2);
    world.sql("UPDATE experts SET tags = 'no list' WHERE id = 2");
    assert_eq!(world.run(&["build"]).code, 1);
    world.run(&["rollback"]);

    let history = world.run(&["history", "--json"]).json();

    let list = |key: &str, of: &str| -> Vec<String> {
        let all = history[key].as_array().unwrap();
        all.iter().map(|one| one[of].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(history["served"], made[0].as_str());
    assert_eq!(list("builds", "id"), [made[1].clone(), made[0].clone()], "newest first");
    assert_eq!(list("promotions", "by"), ["build", "build", "rollback"]);
    assert_eq!(list("promotions", "build"), [made[0].clone(), made[1].clone(), made[0].clone()]);
    assert_eq!(list("attempts", "outcome"), ["promoted", "promoted", "failed"]);
    let error = history["attempts"][2]["error"].as_str().unwrap();
    assert!(error.contains("id=2"), "{error}");
    let table = world.run(&["history"]).stdout;
    assert!(made.iter().all(|id| table.contains(id)) && table.contains("served"), "{table}");
}

#[test]
fn a_rollback_during_a_running_pass_ends_at_once_and_changes_nothing() {
    let (world, made) = with_builds(2);
    world.add_people([7]);
    world.provider.hold();
    let mut building = world.command(&["build", "--json"]).stdout(Stdio::null()).spawn().unwrap();
    assert!(world.provider.wait_for_in_flight(1, crate::support::SOON));

    let busy: Ran = world.run(&["rollback", "--json"]);

    assert_eq!(busy.code, 75, "{busy:?}");
    assert_eq!(world.served().as_ref(), Some(&made[1]));
    world.provider.release();
    assert!(building.wait().unwrap().success());
}

/// A world with `count` builds, which differ in the rates; the first rate is 0.
fn with_builds(count: u32) -> (World, Vec<String>) {
    let world = World::with_people(6);
    let made = (0..count).map(|rate| another(&world, rate)).collect();
    (world, made)
}

/// Changes every rate and builds.
#[track_caller]
fn another(world: &World, rate: u32) -> String {
    world.sql(&format!("UPDATE experts SET hourly_rate = {rate}"));
    let built = world.build();
    assert_eq!(built.text("outcome"), "promoted", "{built:?}");
    built.text("build")
}

fn hold(world: &World) -> Value {
    world.run(&["status", "--json"]).json()["hold"].clone()
}

fn manifest(world: &World, id: &str) -> Value {
    let path = world.path("data/builds").join(id).join("manifest.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
