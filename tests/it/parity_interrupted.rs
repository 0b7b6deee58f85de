//! A kill or a second run, which left ingest.py with files of two runs: here the pair is always of one
//! build.
//!
//! Kills before each single step are in `crash`, a full disk is in `disk_full`.

use std::path::PathBuf;
use std::time::Duration;

use crate::support::{SOON, World, ended, start};

#[test]
fn a_build_killed_at_any_moment_leaves_a_pair_of_one_piece() {
    let world = World::with_people(40);
    world.provider.excuse_money("a kill may fall between an answer and its commit");
    let step = Duration::from_millis(world.build().number("took_ms").clamp(20, 1_000) / 12);
    let (mut pause, mut finished, mut killed) = (Duration::ZERO, 0, 0);

    // From before its first step until the build ended before the kill a few times.
    while finished < 3 {
        let before = world.served_build();
        // One person more each time: a pair of two builds would not have equal counts.
        world.add_people([1_000 + finished + killed]);
        let mut child = start(&mut world.command(&["build"]));
        std::thread::sleep(pause);
        child.kill().unwrap();
        child.wait().unwrap();

        if world.served_build() == before {
            killed += 1;
        } else {
            finished += 1;
            assert_eq!(world.records().len(), world.vectors().len(), "killed after {pause:?}");
        }
        world.assert_proven();
        pause += step;
    }

    let last = world.build();
    assert_eq!(last.number("records"), u64::from(40 + finished + killed));
    assert_eq!(world.published("metadata.json"), world.reference().metadata);
    assert_eq!(world.staging(), Vec::<PathBuf>::new());
    assert!(killed > 0, "the first build was killed at its start");
}

#[test]
fn a_second_run_ends_with_75_and_one_that_waits_finds_nothing_to_do() {
    let world = World::with_people(5);
    world.provider.hold();
    let first = start(&mut world.command(&["build", "--json"]));
    assert!(world.provider.wait_for_requests(1, SOON));

    let second = world.run(&["build", "--json"]);
    let third = start(&mut world.command(&["build", "--json", "--wait"]));
    world.provider.release();
    let (first, third) = (ended(first), ended(third));

    assert_eq!((second.code, second.text("outcome").as_str()), (75, "busy"), "{second:?}");
    assert!(second.stderr.contains("another pass is running") && second.stderr.contains("--wait"));
    assert_eq!((first.code, first.text("outcome").as_str()), (0, "promoted"), "{first:?}");
    assert_eq!((third.code, third.text("outcome").as_str()), (0, "unchanged"), "{third:?}");
    assert_eq!(first.text("build"), third.text("build"));
    assert_eq!(world.provider.answered_twice(), Vec::<String>::new());
    world.assert_proven();
}
