//! Builds whose files have changed since they were sealed: `verify` reports it, and a full rebuild or a
//! touched marker repairs it.

use std::fs::{OpenOptions, Permissions, set_permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::{MODEL, Ran, World};

/// The files whose digests are in the manifest.
const FILES: [&str; 3] = ["faiss.index", "metadata.json", "hashes.bin"];

/// Something that can happen to a file; `other` is the same file of another build.
type Damage = (&'static str, fn(file: &Path, other: &Path));

const DAMAGES: [Damage; 7] = [
    ("cut", |file, _| {
        let bytes = std::fs::read(file).unwrap();
        std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    }),
    ("emptied", |file, _| std::fs::write(file, "").unwrap()),
    ("flipped", |file, _| flip_a_bit(file)),
    ("lengthened", |file, _| {
        OpenOptions::new().append(true).open(file).unwrap().write_all(b"x").unwrap();
    }),
    ("swapped", |file, other| std::fs::write(file, std::fs::read(other).unwrap()).unwrap()),
    ("removed", |file, _| std::fs::remove_file(file).unwrap()),
    ("a fifo", |file, _| {
        std::fs::remove_file(file).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, file, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }),
];

#[test]
fn every_damage_to_every_file_is_found_and_repaired_by_a_full_build() {
    for file in FILES {
        for (what, damage) in DAMAGES {
            let (world, served) = world_of_two_builds();
            spoil(&world, file, damage);

            let found = world.run(&["verify", "--json"]);
            let repaired = world.run(&["build", "--full", "--json"]);

            assert_damaged(&found, file, what);
            assert_eq!(
                (repaired.code, repaired.text("outcome")),
                (0, "promoted".to_owned()),
                "{file} {what}: {repaired:?}"
            );
            assert_ne!(world.served(), Some(served), "{file} {what}");
            world.assert_proven();
            world.assert_true(MODEL);
            assert_eq!(world.records().len(), 5, "{file} {what}");
        }
    }
}

#[test]
fn a_manifest_that_is_not_this_builds_or_cannot_be_read_is_replaced_by_any_build() {
    let unreadable: [Damage; 2] = [
        ("no object", |file, _| std::fs::write(file, "null").unwrap()),
        ("of no format", |file, _| std::fs::write(file, "{\"format\": 0}").unwrap()),
    ];
    for (what, damage) in DAMAGES.into_iter().chain(unreadable) {
        let (world, served) = world_of_two_builds();
        spoil(&world, "manifest.json", damage);

        let found = world.run(&["verify", "--json"]);
        let by_name = world.run(&["verify", &served, "--json"]);
        let failed = world.run(&["search", "question", "--json"]);
        let repaired = world.build();

        assert_damaged(&found, "manifest.json", what);
        assert_damaged(&by_name, "manifest.json", what);
        assert_eq!((failed.code, failed.json()["error"].is_string()), (1, true), "{what}: {failed:?}");
        assert_eq!(repaired.text("outcome"), "promoted", "{what}");
        assert_ne!(world.served(), Some(served), "{what}");
        world.assert_proven();
        world.assert_true(MODEL);
    }
}

#[test]
fn a_touched_marker_rebuilds_damaged_files_and_leaves_whole_ones_alone() {
    let (world, mut served) = world_of_two_builds();
    let agent = world.agent();
    for file in ["faiss.index", "metadata.json", "hashes.bin"] {
        spoil(&world, file, |path, _| flip_a_bit(path));

        std::fs::write(world.path("data/tagging-complete"), "").unwrap();
        agent.wait_for("another build", || world.served().is_some_and(|now| now != served));

        world.assert_proven();
        world.assert_true(MODEL);
        served = world.served().unwrap();
    }
    let before = agent.logged("unchanged");
    std::fs::write(world.path("data/tagging-complete"), "").unwrap();
    agent.wait_for("an answer to the marker", || agent.logged("unchanged") > before);
    agent.stop();

    assert_eq!(world.served(), Some(served));
}

#[test]
fn a_verified_build_is_reported_check_by_check() {
    let (world, served) = world_of_two_builds();

    let ran = world.run(&["verify", "--json"]);
    let table = world.run(&["verify"]);

    let object = ran.json();
    let checks = object["checks"].as_array().unwrap();
    assert_eq!((ran.code, &object["ok"], &object["build"]), (0, &true.into(), &served.as_str().into()));
    assert!(
        checks.len() >= 8
            && checks.iter().all(|check| check["ok"] == true && check["expected"] == check["found"])
    );
    assert_eq!(table.code, 0);
    assert!(table.stdout.ends_with(&format!("build {served} is verified\n")), "{table:?}");
    assert_eq!(table.stdout.lines().filter(|line| line.starts_with("ok ")).count(), checks.len());
}

/// Four people served, then a fifth: the second build is the served one.
fn world_of_two_builds() -> (World, String) {
    let world = World::with_people(4);
    world.provider.excuse_money("the only vectors are damaged");
    world.build();
    world.add_people([5]);
    let served = world.build().text("build");
    (world, served)
}

#[track_caller]
fn assert_damaged(ran: &Ran, file: &str, what: &str) {
    assert_eq!((ran.code, ran.json()["ok"].as_bool()), (1, Some(false)), "{file} {what}: {ran:?}");
    let failed: Vec<_> = ran.json()["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["ok"] == false)
        .cloned()
        .collect();
    assert!(!failed.is_empty(), "{file} {what}: {ran:?}");
    let word = file.split('.').next().unwrap().trim_start_matches("faiss").replace("manifest", "build");
    assert!(failed.iter().any(|check| check.to_string().contains(&word)), "{file} {what}: {failed:?}");
}

fn current(world: &World) -> PathBuf {
    world.path("data/current").canonicalize().unwrap()
}

/// Applies a damage to a file of the served build.
fn spoil(world: &World, file: &str, damage: fn(&Path, &Path)) {
    let served = current(world);
    let builds = std::fs::read_dir(world.path("data/builds")).unwrap().map(|entry| entry.unwrap().path());
    let other = builds.into_iter().find(|build| build.canonicalize().unwrap() != served).unwrap();
    unlock(&served.join(file));
    damage(&served.join(file), &other.join(file));
}

/// Makes a file writable: the files of a build are read-only even for their owner.
fn unlock(file: &Path) {
    set_permissions(file, Permissions::from_mode(0o640)).unwrap();
}

fn flip_a_bit(file: &Path) {
    let middle = file.metadata().unwrap().len() / 2;
    let byte = std::fs::read(file).unwrap()[usize::try_from(middle).unwrap()];
    let mut file = OpenOptions::new().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(middle)).unwrap();
    file.write_all(&[byte ^ 1]).unwrap();
}
