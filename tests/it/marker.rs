//! The marker: touching it requests a pass now, and no touch is lost.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::support::provider::Fault;
use crate::support::{SOON, World, eventually};

/// Only the marker, a signal or the regular check starts a pass.
const MARKER_ONLY: &str = "on = [\"marker\"]\nquiet = \"10m\"\nmax_wait = \"20m\"\nmarker_quiet = \"50ms\"\n";

#[test]
fn a_marker_created_written_touched_or_replaced_asks_for_a_reconcile() {
    let world = World::with_people(1);
    let agent = world.agent_with(MARKER_ONLY);
    agent.wait_for_promotions(1);

    let acts: [(&str, fn(&Path)); 5] = [
        ("created", |marker| drop(File::create_new(marker).unwrap())),
        ("written", |marker| {
            OpenOptions::new().append(true).open(marker).unwrap().write_all(b"done\n").unwrap();
        }),
        ("touched, its times alone", touch),
        ("replaced", |marker| {
            let fresh = marker.with_extension("new");
            std::fs::write(&fresh, "").unwrap();
            std::fs::rename(&fresh, marker).unwrap();
        }),
        ("removed and created", |marker| {
            std::fs::remove_file(marker).unwrap();
            drop(File::create_new(marker).unwrap());
        }),
    ];
    for (nth, (act, how)) in (2..).zip(acts) {
        world.add_people([nth]);
        how(&world.path("data/tagging-complete"));
        agent.wait_for(act, || world.served_count() == nth as usize);
        agent.wait_for_promotions(nth as usize);
        assert!(world.path("data/tagging-complete").exists(), "the marker is never deleted");
    }

    let logged = agent.logged("pass: started (trigger=marker");
    assert!(logged >= acts.len(), "{logged} of {} touches are in the log\n{}", acts.len(), agent.log());
    agent.stop();
}

#[test]
fn a_marker_in_another_directory_is_seen_though_that_is_made_later() {
    let world = World::with_people(1);
    let agent =
        world.agent_with(&format!("{MARKER_ONLY}marker = \"flags/run/ready\"\npoll_interval = \"100ms\"\n"));
    agent.wait_for_promotions(1);

    world.add_people([2]);
    std::fs::create_dir_all(world.path("flags/run")).unwrap();
    drop(File::create_new(world.path("flags/run/ready")).unwrap());
    agent.wait_for_records(&world, 2);
    agent.wait_for_promotions(2);
    world.add_people([3]);
    touch(&world.path("flags/run/ready"));

    agent.wait_for_records(&world, 3);
    agent.stop();
}

#[test]
fn a_marker_cuts_the_quiet_window_of_the_database_short() {
    let world = World::with_people(1);
    let agent = world.agent_with("quiet = \"10m\"\nmax_wait = \"20m\"\nmarker_quiet = \"50ms\"\n");
    agent.wait_for_promotions(1);

    world.add_people([2]);
    agent.wait_for_log("settling");
    touch(&world.path("data/tagging-complete"));

    agent.wait_for_records(&world, 2);
    agent.stop();
}

#[test]
fn a_marker_touched_during_a_build_is_answered_after_it() {
    let world = World::with_people(1);
    world.provider.hold();
    let agent = world.agent_with(MARKER_ONLY);
    assert!(world.provider.wait_for_requests(1, SOON), "{}", agent.log());

    world.add_people([2]);
    touch(&world.path("data/tagging-complete"));
    world.provider.release();
    agent.wait_for_promotions(2);

    assert_eq!(world.records().len(), 2);
    assert!(agent.log().contains("outcome=promoted trigger=marker"), "{}", agent.log());
    assert_eq!(world.provider.answered_twice().len(), 0);
    agent.stop();
}

#[test]
fn with_the_marker_alone_a_difference_is_shown_and_never_acted_on() {
    let world = World::with_people(1);
    let agent = world.agent_with(&format!("{MARKER_ONLY}resync = \"200ms\"\npoll_interval = \"100ms\"\n"));
    agent.wait_for_promotions(1);
    world.provider.forget();

    // By event, by the regular check, by SIGHUP.
    world.add_people([2]);
    std::thread::sleep(Duration::from_secs(1));
    world.settings(&format!("[trigger]\n{MARKER_ONLY}resync = \"300ms\"\npoll_interval = \"100ms\"\n"));
    agent.signal(Signal::HUP);
    agent.wait_for_log("new values in force");
    std::thread::sleep(Duration::from_secs(1));

    assert_eq!((agent.passes(), world.provider.request_count()), (1, 0), "{}", agent.log());
    assert_eq!(world.run(&["status", "--json"]).json()["drift"]["to_embed"], 1);
    touch(&world.path("data/tagging-complete"));
    agent.wait_for_records(&world, 2);
    agent.stop();
}

#[test]
fn a_marker_touched_while_the_agent_was_down_is_acted_on_once() {
    let world = World::with_people(1);
    let agent = world.agent_with(MARKER_ONLY);
    agent.wait_for_promotions(1);
    agent.stop();

    world.add_people([2]);
    touch(&world.path("data/tagging-complete"));
    let agent = world.agent_with(MARKER_ONLY);
    agent.wait_for_records(&world, 2);
    agent.wait_for_promotions(1);
    agent.stop();

    world.add_people([3]);
    let agent = world.agent_with(MARKER_ONLY);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!((agent.passes(), world.served_count()), (0, 2), "{}", agent.log());
    agent.stop();
}

#[test]
fn a_marker_whose_pass_failed_is_owed_across_a_restart() {
    let world = World::with_people(1);
    let agent = world.agent_with(MARKER_ONLY);
    agent.wait_for_promotions(1);
    world.provider.always(Some(Fault::Forbidden));

    world.add_people([2]);
    touch(&world.path("data/tagging-complete"));
    agent.wait_for_log("outcome=failed");
    agent.stop();
    world.provider.always(None);
    let agent = world.agent_with(MARKER_ONLY);

    agent.wait_for_records(&world, 2);
    agent.stop();
}

#[test]
fn a_marker_verifies_the_served_files_and_rebuilds_a_damaged_one() {
    let world = World::with_people(3);
    world.provider.excuse_money("the only vectors are damaged");
    let agent = world.agent_with(MARKER_ONLY);
    agent.wait_for_promotions(1);
    world.provider.forget();

    damage(&world.path("data/faiss.index"));
    touch(&world.path("data/tagging-complete"));
    agent.wait_for_promotions(2);

    world.assert_proven();
    assert_eq!(world.provider.text_count(), 3, "no vector is taken from a damaged index");
    agent.stop();
}

/// Changes the last float of an index in place.
fn damage(index: &Path) {
    use std::os::unix::fs::{FileExt, PermissionsExt};
    let index = index.canonicalize().unwrap();
    std::fs::set_permissions(&index, std::fs::Permissions::from_mode(0o640)).unwrap();
    let file = OpenOptions::new().write(true).open(&index).unwrap();
    let end = file.metadata().unwrap().len();
    file.write_all_at(&[0, 0, 0, 0x3f], end - 4).unwrap();
}

/// What `touch` does: makes the file, or sets its times and writes nothing.
fn touch(marker: &Path) {
    if File::create_new(marker).is_ok() {
        return;
    }
    let before = std::fs::metadata(marker).unwrap().modified().unwrap();
    let file = OpenOptions::new().write(true).open(marker).unwrap();
    eventually("the clock goes on", || {
        file.set_modified(SystemTime::now()).unwrap();
        file.metadata().unwrap().modified().unwrap() != before
    });
}
