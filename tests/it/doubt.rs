//! Doubt is not damage: what could not be read, or is of a newer version, may be whole.
//!
//! Errors of the system are injected into one run; what counts is every text
//! that left the host and every build that is gone.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::crash::strace;
use crate::space_address::cut_short_at_the_first_address;
use crate::support::{MODEL, Ran, World, run};

/// Errors that say nothing about a file.
const DOUBTS: [&str; 6] = ["EIO", "EACCES", "ETIMEDOUT", "ESTALE", "EMFILE", "ENOTCONN"];

#[test]
fn a_served_build_that_cannot_be_read_ends_the_pass_and_costs_nothing() {
    let Some(strace) = strace() else { return };
    for file in ["faiss.index", "manifest.json", "hashes.bin"] {
        for (call, error) in calls(&DOUBTS) {
            let world = World::with_people(12);
            let first = world.build().text("build");
            world.add_people([13]);
            world.provider.forget();

            let path = format!("data/builds/{first}/{file}");
            let struck = struck(&world, &strace, &path, (call, error), &["build", "--json"]);

            let case = format!("{file}: {call} {error}: {struck:?}");
            assert_eq!((struck.code, struck.text("outcome").as_str()), (1, "failed"), "{case}");
            assert!(struck.text("error").contains(&path) && !says_damaged(&struck), "{case}");
            assert_eq!((world.provider.text_count(), world.builds()), (0, vec![first]), "{case}");
            assert_eq!(world.build().number("embedded"), 1, "{case}");
            world.assert_true(MODEL);
            world.assert_proven();
        }
    }
}

#[test]
fn a_kept_build_that_cannot_be_read_is_neither_used_nor_removed() {
    let Some(strace) = strace() else { return };
    for (call, error) in calls(&["EIO", "EACCES", "ESTALE"]) {
        let world = World::with_people(6);
        let oldest = world.build().text("build");
        for rate in 1..=3 {
            change(&world, rate);
        }
        assert!(world.builds().contains(&oldest), "a reader may still be there");
        world.let_the_grace_pass();
        world.provider.forget();

        let path = format!("data/builds/{oldest}/manifest.json");
        let struck = struck(&world, &strace, &path, (call, error), &["build", "--json"]);

        let case = format!("{call} {error}: {struck:?}");
        assert_eq!((struck.code, struck.text("outcome").as_str()), (0, "unchanged"), "{case}");
        assert!(struck.stderr.contains("neither used nor removed") && !says_damaged(&struck), "{case}");
        assert!(world.builds().contains(&oldest), "{case}");
        assert_eq!(world.provider.text_count(), 0, "{case}");
        assert_eq!(world.build().text("outcome"), "unchanged");
        assert!(!world.builds().contains(&oldest), "{case}: it is old");
    }
}

#[test]
fn readers_lose_no_build_because_the_mode_of_the_served_one_is_not_known() {
    let Some(strace) = strace() else { return };
    let world = World::with_people(3);
    let first = world.build().text("build");
    let index = world.path("data/current/faiss.index");
    std::fs::set_permissions(&index, Permissions::from_mode(0o444)).unwrap();
    world.add_people([4]);
    world.provider.forget();

    for (path, error) in [("data/current/faiss.index", "EIO"), ("data/current/faiss.index", "EACCES")] {
        let call = ("statx,newfstatat,stat", error);
        let struck = struck(&world, &strace, path, call, &["build", "--json"]);

        let case = format!("{error}: {struck:?}");
        assert_eq!((struck.code, struck.text("outcome").as_str()), (1, "failed"), "{case}");
        assert!(struck.text("error").contains(path), "{case}");
        assert_eq!((world.provider.text_count(), world.builds()), (0, vec![first.clone()]), "{case}");
    }
    world.build();
    assert_eq!(index.metadata().unwrap().permissions().mode() & 0o777, 0o444, "the world may still read it");
}

#[test]
fn vectors_that_only_a_doubtful_index_has_are_not_embedded_again() {
    let Some(strace) = strace() else { return };
    let world = World::with_people(6);
    let all = world.build().text("build");
    world.sql("UPDATE experts SET tags = NULL WHERE id > 3");
    let fewer = world.run(&["build", "--accept-shrink", "--json"]).text("build");
    world.sql("UPDATE experts SET tags = '[\"tag\", \"other\"]'");
    world.provider.forget();

    let path = format!("data/builds/{all}/faiss.index");
    let struck = struck(&world, &strace, &path, ("read", "EIO"), &["build", "--json"]);

    assert_eq!((struck.code, struck.text("outcome").as_str()), (1, "failed"), "{struck:?}");
    assert_eq!((world.provider.text_count(), world.served()), (0, Some(fewer)), "{struck:?}");
    assert_eq!(world.build().number("embedded"), 0);
    world.assert_true(MODEL);
}

#[test]
fn commands_that_show_say_not_known_where_nothing_is_known() {
    let Some(strace) = strace() else { return };
    for (file, error) in [("manifest.json", "EACCES"), ("faiss.index", "EIO"), ("metadata.json", "ESTALE")] {
        let world = World::with_people(3);
        let served = world.build().text("build");
        let path = format!("data/builds/{served}/{file}");

        let struck = struck(&world, &strace, &path, ("openat", error), &["verify", "--json"]);

        assert_eq!((struck.code, struck.text("result").as_str()), (1, "not known"), "{struck:?}");
        assert_eq!(struck.json()["ok"], false, "{struck:?}");
        assert!(!says_damaged(&struck), "{struck:?}");
        assert_eq!(world.run(&["verify", "--json"]).text("result"), "whole");
    }
    let world = World::with_people(3);
    let served = world.build().text("build");
    let path = format!("data/builds/{served}/manifest.json");
    for command in ["status", "plan"] {
        let struck = struck(&world, &strace, &path, ("openat", "EACCES"), &[command]);
        assert!(!says_damaged(&struck) && !struck.stdout.contains("to embed"), "{struck:?}");
    }
}

#[test]
fn a_build_of_a_newer_format_is_refused_by_both_versions_and_stays() {
    for file in ["manifest.json", "hashes.bin", "cache"] {
        let world = World::with_people(4);
        let first = world.build().text("build");
        world.add_people([5]);
        world.provider.forget();
        match file {
            "cache" => {
                let cache =
                    rusqlite::Connection::open(world.path("data/.reindexd/embeddings.sqlite")).unwrap();
                cache.pragma_update(None, "user_version", 4).unwrap();
            }
            _ => make_newer(&world, &first, file),
        }

        let built = world.run(&["build", "--json"]);
        let full = world.run(&["build", "--full", "--json"]);
        let plan = world.run(&["plan", "--json"]);

        for ran in [&built, &full, &plan] {
            let case = format!("{file}: {ran:?}");
            assert_eq!(ran.code, 1, "{case}");
            let message = ran.text("error");
            for part in ["made by a newer version", reindexd::PROGRAM, "nothing was changed"] {
                assert!(message.contains(part), "{part}: {case}");
            }
            assert!(!says_damaged(ran), "{case}");
        }
        assert_eq!((world.provider.text_count(), world.builds()), (0, vec![first]), "{file}");
    }
}

#[test]
fn staging_that_cannot_be_removed_costs_a_warning_and_not_the_pass() {
    let Some(strace) = strace() else { return };
    let world = World::with_people(3);
    world.build();
    let left = world.path("data/builds/20260101T000000Z-000000.staging");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join(".nfs0001"), "").unwrap();
    world.add_people([4]);

    let stale = "data/builds/20260101T000000Z-000000.staging";
    let struck = struck(&world, &strace, stale, ("unlinkat,unlink,rmdir", "EBUSY"), &["build", "--json"]);

    assert!(left.exists() && struck.stderr.contains("takes disk space"), "{struck:?}");
    assert_eq!((struck.code, struck.text("outcome").as_str()), (0, "promoted"), "{struck:?}");
    world.assert_proven();
}

fn calls(errors: &[&'static str]) -> Vec<(&'static str, &'static str)> {
    errors.iter().flat_map(|error| ["openat", "read"].map(|call| (call, *error))).collect()
}

/// Changes every rate and builds.
fn change(world: &World, rate: u32) {
    world.sql(&format!("UPDATE experts SET hourly_rate = {rate}"));
    assert_eq!(world.build().text("outcome"), "promoted");
}

fn says_damaged(ran: &Ran) -> bool {
    [&ran.stdout, &ran.stderr].iter().any(|text| text.contains("damaged") || text.contains("--full"))
}

/// Runs the program while these calls on a path fail with this error.
fn struck(world: &World, strace: &Path, path: &str, fault: (&str, &str), arguments: &[&str]) -> Ran {
    let (calls, error) = fault;
    let command = world.command(arguments);
    let mut traced = Command::new(strace);
    traced
        .args(["-f", "-qq", "-o", "/dev/null", "-P", path, "-e", &format!("trace={calls}")])
        .args(["-e", &format!("inject={calls}:error={error}")])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(world.path(""));
    run(&mut traced)
}

/// Gives a file of a build the next number of its format; what promises its bytes follows.
fn make_newer(world: &World, id: &str, file: &str) {
    let build = world.path("data/builds").join(id);
    let manifest = build.join("manifest.json");
    let replace = |path: &Path, bytes: &[u8]| {
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let mut read = reindexd::domain::manifest::Manifest::parse(&std::fs::read(&manifest).unwrap()).unwrap();
    if file == "manifest.json" {
        read.format = 2;
    } else {
        let mut bytes = std::fs::read(build.join(file)).unwrap();
        bytes[8] = 2;
        read.files.hashes.blake3 = blake3::hash(&bytes).to_string();
        replace(&build.join(file), &bytes);
    }
    replace(&manifest, &read.print());
}

#[test]
fn a_record_of_cached_vectors_that_cannot_be_read_costs_nothing_and_stays() {
    let Some(strace) = strace() else { return };
    for (call, error) in calls(&["EIO", "EACCES", "ESTALE"]) {
        let world = cut_short_at_the_first_address();
        world.provider.forget();
        let record = "data/.reindexd/cached-from.json";
        let before = world.published(".reindexd/cached-from.json");

        let struck = struck(&world, &strace, record, (call, error), &["build", "--json"]);

        let case = format!("{call} {error}: {struck:?}");
        assert_eq!((struck.code, struck.text("outcome").as_str()), (1, "failed"), "{case}");
        assert!(struck.text("error").contains(record) && !says_damaged(&struck), "{case}");
        assert_eq!(world.provider.text_count(), 0, "{case}");
        assert_eq!(world.published(".reindexd/cached-from.json"), before, "{case}");
        assert_eq!(world.build().number("embedded"), 22, "{case}");
        world.assert_true(MODEL);
    }
}
