//! `status --check` calls a monitor by the files alone, whatever the agent does or ignores.

use std::fs::File;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::support::agent::Agent;
use crate::support::{Ran, SOON, World, eventually};

fn check(world: &World) -> Ran {
    world.run(&["status", "--check", "--max-age", "1s", "--json"])
}

/// Changes the table and waits until the check calls, as it must however the agent is.
fn assert_change_is_called(world: &World) -> Ran {
    assert_eq!(check(world).code, 0, "nothing is behind yet");
    world.add_people([100]);
    eventually("the check calls", || check(world).code == 1);
    let called = check(world);
    assert!(called.number("behind_s") >= 1, "{called:?}");
    called
}

fn served_by_an_idle_agent(world: &World, triggers: &str) -> Agent {
    let agent = world.agent_with(triggers);
    agent.wait_for_records(world, 3);
    agent.wait_for_log("state=idle");
    // A scan that follows a hint by less than two seconds is repeated.
    eventually("the agent is at rest", || {
        world.run(&["status", "--json"]).json()["drift"]["changes"] == false
    });
    agent
}

#[test]
fn a_change_that_a_stopped_agent_does_not_serve_is_called() {
    let world = World::with_people(3);
    let agent = served_by_an_idle_agent(&world, "quiet = \"100ms\"\nresync = \"1s\"\n");
    agent.signal(Signal::STOP);

    assert_change_is_called(&world);

    agent.signal(Signal::CONT);
    agent.wait_for_records(&world, 4);
    eventually("the change is served", || check(&world).code == 0);
    agent.stop();
}

#[test]
fn a_change_that_the_triggers_ignore_is_called_and_the_advice_names_the_marker() {
    let world = World::with_people(3);
    let agent = served_by_an_idle_agent(&world, "on = [\"marker\"]\nresync = \"1s\"\n");

    let called = assert_change_is_called(&world);

    assert!(called.text("to_do").contains("touch the marker"), "{called:?}");
    agent.stop();
}

#[test]
fn a_build_by_hand_that_found_nothing_new_counts_as_the_last_good_moment() {
    let world = World::with_people(3);
    world.build();
    eventually("the promotion is older than the limit", || {
        world.add_people([100]);
        let late = check(&world).code == 1;
        world.sql("DELETE FROM experts WHERE id = 100");
        late
    });

    assert_eq!(world.build().text("outcome"), "unchanged");
    world.add_people([100]);

    assert_eq!(check(&world).code, 0, "behind only since that build");
    eventually("the check calls", || check(&world).code == 1);
}

#[test]
fn builds_by_hand_that_fail_again_and_again_are_called_though_each_is_recent() {
    let world = World::with_people(3);
    world.build();
    world.sql("ALTER TABLE experts RENAME TO away");

    eventually("the check calls", || {
        assert_eq!(world.run(&["build"]).code, 1);
        check(&world).code == 1
    });

    world.sql("ALTER TABLE away RENAME TO experts");
    world.build();
    assert_eq!(check(&world).code, 0);
}

#[test]
fn an_agent_that_is_killed_in_its_first_pass_again_and_again_is_called() {
    let world = World::with_people(3);
    world.build();
    world.add_people([100]);
    world.provider.hold();

    eventually("the check calls", || {
        let mut agent = world.agent();
        agent.wait_for_log("pass: started");
        agent.signal(Signal::KILL);
        agent.ended(SOON);
        check(&world).code == 1
    });

    world.provider.release();
    world.build();
    assert_eq!(check(&world).code, 0);
}

#[test]
fn what_a_rollback_holds_back_is_not_noted_as_waiting() {
    let world = World::with_people(3);
    let agent = served_by_an_idle_agent(&world, "quiet = \"100ms\"\nresync = \"1s\"\n");
    world.add_people([100]);
    agent.wait_for_records(&world, 4);
    eventually("the agent is at rest", || match world.run(&["rollback"]).code {
        75 => false,
        code => {
            assert_eq!(code, 0);
            true
        }
    });
    agent.signal(Signal::USR1);
    eventually("the pass after the rollback is held", || {
        world.run(&["status", "--json"]).json()["agent"]["last_pass"]["outcome"] == "held"
    });
    let note = || world.run(&["status", "--json"]).json()["agent"]["behind_since"].clone();

    eventually("the agent notes nothing", || note().is_null());
    agent.stop();
}

#[test]
fn an_agent_that_shows_no_life_is_called_though_the_table_is_served() {
    let world = World::with_people(3);
    let agent = served_by_an_idle_agent(&world, "quiet = \"100ms\"\n");
    assert_eq!(check(&world).code, 0);
    agent.signal(Signal::STOP);

    let long_ago = SystemTime::now() - Duration::from_secs(600);
    let status = File::options().write(true).open(world.path("data/.reindexd/agent.json")).unwrap();
    status.set_modified(long_ago).unwrap();

    let called = check(&world);
    assert_eq!((called.code, called.json()["drift"]["changes"].as_bool()), (1, Some(false)), "{called:?}");
    assert!(called.text("to_do").contains("the agent hangs; restart it"), "{called:?}");
    assert_eq!(world.run(&["status", "--check", "--max-age", "1h"]).code, 0, "not for so long");
    agent.signal(Signal::CONT);
    agent.stop();
    assert_eq!(check(&world).code, 0, "an agent that has ended does not hang");
}
