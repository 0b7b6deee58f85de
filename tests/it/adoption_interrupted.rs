//! Names of which one is a link and the other a file: ingest.py run again over the links, and
//! adoption that was interrupted.

use std::path::PathBuf;

use crate::support::provider::Fault;
use crate::support::served_before::NAMES;
use crate::support::{DIMENSION, World};

#[test]
fn ingest_py_run_again_over_the_links_costs_a_build_and_no_request() {
    let world = World::with_people(8);
    world.build();
    let before = world.pair();
    world.provider.forget();
    ingest_again(&world);
    let links = NAMES.map(|name| world.path("data").join(name).is_symlink());
    assert_eq!(links, [false, true], "it renames its index over one and opens the other");

    let ran = world.run(&["build", "--json"]);

    assert_eq!((ran.code, ran.text("outcome").as_str()), (0, "promoted"), "{ran:?}");
    assert!(ran.stderr.contains("is a plain file beside a link: ingest.py was run again"), "{ran:?}");
    assert!(!ran.stderr.contains("adopted"), "nothing is adopted: {ran:?}");
    assert_eq!((ran.number("kept"), ran.number("requests")), (8, 0));
    world.assert_links();
    assert_eq!(world.pair(), before);
    world.assert_proven();
    world.assert_readable();
}

#[test]
fn ingest_py_run_again_over_a_changed_table_costs_only_what_changed() {
    let world = World::with_people(8);
    world.build();
    world.provider.forget();
    world.sql("UPDATE experts SET bio = 'Another' WHERE id = 3");
    world.add_people([9]);
    ingest_again(&world);

    let built = world.build();

    assert_eq!((built.number("kept"), built.number("embedded")), (7, 2));
    world.assert_links();
    assert_eq!(world.published("metadata.json"), world.reference().metadata);
    world.assert_proven();
}

#[test]
fn metadata_alone_rewritten_under_its_name_costs_a_build_too() {
    let world = World::with_people(8);
    world.build();
    let before = world.pair();
    std::fs::remove_file(world.path("data/metadata.json")).unwrap();
    std::fs::write(world.path("data/metadata.json"), "[]").unwrap();

    let ran = world.run(&["build", "--json"]);

    assert_eq!((ran.text("outcome").as_str(), ran.number("requests")), ("promoted", 0), "{ran:?}");
    world.assert_links();
    assert_eq!(world.pair(), before);
}

#[test]
fn status_and_plan_show_that_ingest_py_was_run_again() {
    let world = World::with_people(8);
    world.build();
    ingest_again(&world);

    let (plan, status) = (world.run(&["plan", "--check", "--json"]), world.run(&["status", "--json"]));
    world.build();
    let after = world.run(&["plan", "--check"]);

    let reason = "data/faiss.index does not lead to the served build";
    assert_eq!((plan.code, plan.json()["reasons"][0].as_str()), (1, Some(reason)), "{plan:?}");
    assert_eq!(status.json()["drift"]["reasons"][0], reason, "{status:?}");
    assert_eq!(after.code, 0, "{after:?}");
}

#[test]
fn the_agent_finds_that_ingest_py_was_run_again() {
    let world = World::with_people(8);
    let agent =
        world.agent_with("quiet = \"200ms\"\nmax_wait = \"2s\"\nmarker_quiet = \"50ms\"\nresync = \"1s\"\n");
    agent.wait_for("a build", || world.path("data/served.json").exists());
    let before = world.pair();

    ingest_again(&world);

    agent.wait_for("links again", || NAMES.iter().all(|name| world.path("data").join(name).is_symlink()));
    agent.stop();
    assert_eq!(world.pair(), before);
    assert_eq!(world.provider.text_count(), 8, "embedded once");
    world.assert_proven();
}

#[test]
fn plain_copies_of_the_served_files_only_get_their_links_back() {
    for names in [&NAMES[..], &NAMES[..1], &NAMES[1..]] {
        let world = World::with_people(4);
        let first = world.build();
        for name in names {
            plain_again(&world, name);
        }

        let again = world.build();

        assert_eq!(again.text("outcome"), "unchanged", "{names:?}");
        assert_eq!(again.text("build"), first.text("build"));
        world.assert_links();
        world.assert_proven();
    }
}

#[test]
fn a_rollback_over_two_plain_files_keeps_them_as_a_build() {
    let world = World::with_people(4);
    let first = world.build().text("build");
    for name in NAMES {
        std::fs::remove_file(world.path("data").join(name)).unwrap();
    }
    world.add_people([5]);
    world.ingest(DIMENSION);
    let plain = world.pair();

    let back = world.run(&["rollback", "--json"]);

    assert_eq!((back.code, back.text("build")), (0, first), "{back:?}");
    assert!(back.stderr.contains("adopted the files of ingest.py as build"), "{back:?}");
    world.assert_links();
    world.assert_proven();
    let adopted = back.text("from");
    assert!(adopted.ends_with("-adopted"), "{back:?}");
    assert_eq!(world.run(&["rollback", &adopted]).code, 0);
    assert_eq!(world.pair(), plain);
}

#[test]
fn two_plain_files_over_a_served_build_are_adopted_and_cost_no_request() {
    let world = World::with_people(4);
    world.build();
    world.provider.forget();
    // The links were removed first, so ingest.py made two files of its own.
    for name in NAMES {
        std::fs::remove_file(world.path("data").join(name)).unwrap();
    }
    world.ingest(DIMENSION);
    let theirs = world.pair();

    let ran = world.run(&["build", "--json"]);

    assert!(ran.stderr.contains("adopted the files of ingest.py as build"), "{ran:?}");
    assert_eq!((ran.text("outcome").as_str(), ran.number("kept")), ("promoted", 4), "{ran:?}");
    assert_eq!(world.provider.request_count(), 0, "the build before has every vector");
    world.assert_links();
    assert_eq!(world.pair().0[1], theirs.0[1]);
}

/// What a pass that adopts has done when it is interrupted, from its first step on.
const STEPS: [&str; 9] = [
    "the staging directory, empty",
    "the staging directory with the index",
    "the staging directory, complete",
    "the build under its name",
    "a link beside current that was not yet renamed",
    "current",
    "a link beside the index that was not yet renamed",
    "the link to the index",
    "both links, but no note and no memory of it",
];

#[test]
fn history_shows_an_adoption_that_cannot_start() {
    let world = World::with_people(3);
    world.build();
    std::fs::remove_file(world.path("data/metadata.json")).unwrap();
    std::fs::create_dir(world.path("data/metadata.json")).unwrap();

    let ran = world.run(&["build", "--json"]);
    let attempt = world.run(&["status", "--json"]).json()["last_attempt"].clone();

    assert_eq!((ran.code, ran.text("outcome").as_str()), (1, "failed"), "{ran:?}");
    assert_eq!(attempt["outcome"], "failed", "{attempt}");
    assert_eq!(attempt["error"], ran.json()["error"]);
}

#[test]
fn adoption_cut_short_after_any_step_is_completed_by_the_next_pass() {
    let world = World::with_people(5);
    world.ingest(DIMENSION);
    let before = world.pair();
    adopt_only(&world);

    for (step, name) in STEPS.iter().enumerate() {
        take_back_to(&world, step);
        assert_eq!(world.pair(), before, "{name}");

        adopt_only(&world);

        assert_eq!(world.pair(), before, "{name}");
        world.assert_links();
        assert!(world.path("data/served.json").exists(), "{name}");
        assert_eq!(world.staging(), Vec::<PathBuf>::new(), "{name}");
        world.assert_proven();
    }
    assert_eq!(world.build().number("embedded"), 5);
    assert_eq!(world.build().text("outcome"), "unchanged");
}

/// Runs a build that can adopt, or has adopted, but cannot embed.
#[track_caller]
fn adopt_only(world: &World) {
    world.provider.always(Some(Fault::Forbidden));
    let ran = world.run(&["build"]);
    world.provider.always(None);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("-adopted is still served"), "{ran:?}");
}

/// Undoes a finished adoption down to one of [`STEPS`].
fn take_back_to(world: &World, step: usize) {
    let data = world.path("data");
    let id = world.served().unwrap();
    let sealed = data.join("builds").join(&id);
    let staged = data.join("builds").join(format!("{id}.staging"));
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, data.join(name)).unwrap();
    std::fs::remove_file(data.join("served.json")).unwrap();
    std::fs::remove_file(data.join(".reindexd/state.json")).unwrap();
    if step < 8 {
        plain_again(world, "metadata.json");
    }
    if step < 7 {
        plain_again(world, "faiss.index");
    }
    if step == 6 {
        link("current/faiss.index", "faiss.index.staging");
    }
    if step < 5 {
        std::fs::remove_file(data.join("current")).unwrap();
    }
    if step == 4 {
        link(&format!("builds/{id}"), "current.staging");
    }
    if step < 3 {
        std::fs::rename(&sealed, &staged).unwrap();
    }
    if step < 2 {
        for name in ["metadata.json", "manifest.json", "hashes.bin"] {
            std::fs::remove_file(staged.join(name)).unwrap();
        }
    }
    if step < 1 {
        std::fs::remove_file(staged.join("faiss.index")).unwrap();
    }
}

/// Replaces a link of ours by a plain file with the same bytes.
fn plain_again(world: &World, name: &str) {
    let path = world.path("data").join(name);
    let copy = world.path("plain copy");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::rename(&copy, &path).unwrap();
}

/// ingest.py renames its index over one link, and opens the metadata through the other.
#[track_caller]
fn ingest_again(world: &World) {
    let [index, metadata] = NAMES.map(|name| world.path("data").join(name));
    let ran = world.try_ingest(&index, &metadata, DIMENSION);
    // Only root can write a build's metadata: for other users this stops half-way, as ingest.py would.
    assert!(ran.code == 0 || ran.stderr.contains("PermissionError"), "{ran:?}");
}
