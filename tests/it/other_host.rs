//! Two hosts on one network directory: while one is at work the other does nothing, and says why.
//!
//! A lock that is local to its host is one that the other does not see: here a
//! second host is a process with another boot id, from which the lock file was
//! taken away.

use std::fs::File;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::agent::Agent;
use crate::support::{SOON, World, run};

const OURS: &str = "11111111111111111111111111111111";
const THEIRS: &str = "22222222-2222-2222-2222-222222222222";

/// A command under a boot id.
fn under(world: &World, boot: &str, arguments: &[&str]) -> Command {
    let mut command = world.command(arguments);
    command.env("REINDEXD_BOOT_ID", boot);
    command
}

/// A note of a host, renewed so long ago.
fn leave_note(world: &World, name: &str, boot: &str, age: Duration) {
    let path = world.path("data/.reindexd").join(name);
    let note = format!("{} elsewhere\n", boot.replace('-', ""));
    std::fs::write(&path, note).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

fn is_noted(world: &World, name: &str) -> bool {
    !world.published(&format!(".reindexd/{name}")).is_empty()
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

#[test]
fn a_pass_of_another_host_keeps_this_one_from_building_sweeping_and_rolling_back() {
    let world = World::with_people(2);
    world.build();
    world.add_people([3]);
    world.provider.hold();
    let mut theirs = Agent::start(&mut under(&world, THEIRS, &["build"]));
    assert!(world.provider.wait_for_requests(2, SOON), "{}", theirs.log());
    std::fs::remove_file(world.path("data/.reindexd/lock")).unwrap();
    let served = world.served();

    for command in [&["build", "--json"][..], &["sweep", "--json"], &["rollback", "--json"]] {
        let ran = run(&mut under(&world, OURS, command));

        assert_eq!(ran.code, 75, "{ran:?}");
        assert!(ran.stderr.contains("is held by another host: "), "{ran:?}");
        assert!(ran.stderr.contains("(boot 22222222)") && ran.stderr.contains("(boot 11111111)"), "{ran:?}");
        assert_eq!(world.drafts().len(), 1, "its staging stays: {ran:?}");
    }
    assert_eq!(world.served(), served);
    world.provider.release();

    assert_eq!(theirs.ended(SOON), 0, "{}", theirs.log());
    assert_ne!(world.served(), served, "the other host was not disturbed");
    assert!(!is_noted(&world, "lock.host"), "emptied at the end");
    let ours = run(&mut under(&world, OURS, &["build", "--json"]));
    assert_eq!((ours.code, ours.text("outcome").as_str()), (0, "unchanged"), "{ours:?}");
}

#[test]
fn an_agent_of_another_host_is_refused_while_one_serves_the_directory() {
    let world = World::with_people(1);
    let agent = Agent::start(&mut under(&world, THEIRS, &["run"]));
    agent.wait_for_promotions(1);
    std::fs::remove_file(world.path("data/.reindexd/agent.lock")).unwrap();

    let second = run(&mut under(&world, OURS, &["run"]));

    assert_eq!(second.code, 75, "{second:?}");
    assert!(second.stderr.contains("agent.host is held by another host"), "{second:?}");
    let between = run(&mut under(&world, OURS, &["build", "--json"]));
    assert_eq!(between.code, 0, "between two passes of that agent: {between:?}");
    agent.stop();
    assert!(!is_noted(&world, "agent.host"), "emptied at the end");
}

#[test]
fn what_a_host_left_counts_for_five_minutes_and_under_its_own_boot_not_at_all() {
    let world = World::with_people(1);
    world.build();
    for (boot, age, code) in [
        (THEIRS, minutes(0), 75),
        (THEIRS, minutes(4), 75),
        (THEIRS, minutes(6), 0),
        (THEIRS, minutes(60 * 24), 0),
        (OURS, minutes(0), 0),
        (OURS, minutes(4), 0),
    ] {
        leave_note(&world, "lock.host", boot, age);

        let ran = run(&mut under(&world, OURS, &["build", "--json"]));

        assert_eq!(ran.code, code, "{boot} {age:?}: {ran:?}");
        let stays = is_noted(&world, "lock.host");
        assert_eq!(stays, code == 75, "{boot} {age:?}: the note of another host stays, ours does not");
    }
}

#[test]
fn a_note_that_was_cut_short_or_a_boot_that_is_not_known_keeps_no_one_out() {
    let world = World::with_people(1);
    world.build();
    for content in ["", "{", "2222", "22222222222222222222222222222222", "\0\0\0\0"] {
        std::fs::write(world.path("data/.reindexd/lock.host"), content).unwrap();
        assert_eq!(run(&mut under(&world, OURS, &["build"])).code, 0, "{content:?}");
    }
    leave_note(&world, "lock.host", THEIRS, minutes(0));
    assert_eq!(run(&mut under(&world, "not an id", &["build"])).code, 0);
}

#[test]
fn a_pass_that_slept_while_another_host_took_over_is_not_served() {
    let world = World::with_people(2);
    world.build();
    world.add_people([3]);
    world.provider.hold();
    let mut ours = Agent::start(&mut under(&world, OURS, &["build"]));
    assert!(world.provider.wait_for_requests(2, SOON), "{}", ours.log());
    let served = world.served();

    leave_note(&world, "lock.host", THEIRS, minutes(0));
    world.provider.release();

    assert_eq!(ours.ended(SOON), 1, "{}", ours.log());
    assert_eq!(ours.logged("the previous build is still served"), 1, "{}", ours.log());
    assert_eq!(world.served(), served);
    assert!(is_noted(&world, "lock.host"), "the note of the other host stays");
}
