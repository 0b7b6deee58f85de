//! Ends that left ingest.py's two files apart: a kill, a full disk, a second run. Here the old build stands.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::small_disk::SmallDisk;
use crate::support::standing::{NAMES, Pair};
use crate::support::{Ran, SOON, World};

#[test]
fn a_build_killed_at_any_moment_leaves_a_pair_of_one_piece() {
    let world = World::with_people(40);
    let step = Duration::from_millis(world.build().number("took_ms").clamp(20, 1_000) / 12);
    let (mut pause, mut finished, mut killed) = (Duration::ZERO, 0, 0);

    // From before its first step until it was quicker than the kill a few times.
    while finished < 3 {
        let before = world.standing();
        // One person more each time: a pair of two builds would not have equal counts.
        world.add_people([1_000 + finished + killed]);
        let mut child = start(&mut world.command(&["build"]));
        std::thread::sleep(pause);
        child.kill().unwrap();
        child.wait().unwrap();

        if world.standing() == before {
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
    assert_eq!(world.published("metadata.json"), world.oracle().metadata);
    assert_eq!(world.staging(), Vec::<std::path::PathBuf>::new());
    assert!(killed > 0, "the first one was killed at its start");
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
    assert_eq!(world.provider.paid_twice(), Vec::<String>::new());
    world.assert_proven();
}

#[test]
fn a_disk_too_full_for_the_build_is_told_before_anything_is_bought() {
    let world = World::with_people(3);
    let Some(small) = SmallDisk::start(&world, "8m") else { return };
    assert_eq!(small.run(&["build"]).code, 0);
    let before = published(&small);
    world.provider.forget();
    world.add_people(4..=8);

    small.fill(5 << 20);
    let ran = small.run(&["build"]);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("bytes free, the build needs"), "{ran:?}");
    assert!(ran.stderr.contains("nothing was bought"), "{ran:?}");
    assert_eq!(world.provider.request_count(), 0);
    assert_served_still(&small, &before);

    small.clear();
    let ran = small.run(&["build", "--json"]);
    assert_eq!((ran.code, ran.number("records")), (0, 8), "{ran:?}");
}

#[test]
fn a_disk_that_fills_during_a_build_leaves_the_old_one_served() {
    let world = World::with_people(3);
    let Some(small) = SmallDisk::start(&world, "8m") else { return };
    assert_eq!(small.run(&["build"]).code, 0);
    let before = published(&small);
    world.provider.forget();
    world.add_people(4..=8);

    world.provider.hold();
    let during = start(&mut small.command(&["build"]));
    assert!(world.provider.wait_for_requests(1, SOON));
    small.fill(8 << 20);
    world.provider.release();
    let ran = ended(during);

    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("full"), "{ran:?}");
    assert!(ran.stderr.contains("is served still"), "{ran:?}");
    assert_served_still(&small, &before);

    small.clear();
    let ran = small.run(&["build", "--json"]);
    assert_eq!((ran.code, ran.number("records")), (0, 8), "{ran:?}");
    assert_eq!(small.run(&["verify"]).code, 0);
}

/// The two files as the API opens them.
fn published(small: &SmallDisk<'_>) -> Pair {
    Pair(NAMES.map(|name| std::fs::read(small.path(name)).unwrap()))
}

#[track_caller]
fn assert_served_still(small: &SmallDisk<'_>, before: &Pair) {
    assert_eq!(published(small), *before);
    let verified = small.run(&["verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for a child's end.
#[track_caller]
fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().expect("not ended by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
