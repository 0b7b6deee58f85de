//! A host that ran ingest.py: its files stay served, and become a build without a gap.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use crate::support::provider::Fault;
use crate::support::served_before::{NAMES, Pair};
use crate::support::{DIMENSION, Ran, SOON, World, not_run, run};

/// A host on which ingest.py has run, with a provider that has received no request yet.
fn host(people: u32) -> World {
    let world = World::with_people(people);
    world.ingest(DIMENSION);
    world
}

/// Runs a build that can adopt but not embed: what is served afterwards is what was adopted.
#[track_caller]
fn adopt_only(world: &World) -> Ran {
    world.provider.always(Some(Fault::Forbidden));
    let ran = world.run(&["build"]);
    world.provider.always(None);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("-adopted is still served"), "{ran:?}");
    ran
}

#[test]
fn the_files_of_ingest_py_become_a_build_and_are_served_as_they_were() {
    let world = host(12);
    let before = world.pair();
    let inode = std::fs::metadata(world.path("data/faiss.index")).unwrap().ino();

    let ran = adopt_only(&world);

    assert!(ran.stderr.contains("adopted the files of ingest.py as build"), "{ran:?}");
    assert!(world.served().unwrap().ends_with("-adopted"));
    assert_eq!(world.pair(), before);
    world.assert_links();
    assert_eq!(std::fs::metadata(world.path("data/faiss.index")).unwrap().ino(), inode, "not copied");
    assert_eq!(world.staging(), Vec::<std::path::PathBuf>::new());
    world.assert_proven();
    world.assert_readable();
}

#[test]
fn the_first_pass_embeds_every_text_since_nothing_proves_adopted_vectors() {
    let world = host(12);

    let first = world.build();
    let second = world.build();

    assert_eq!((first.number("embedded"), first.number("kept")), (12, 0));
    assert_eq!(world.provider.text_count(), 12);
    assert_eq!(second.text("outcome"), "unchanged");
    assert!(!world.served().unwrap().ends_with("-adopted"));
    world.assert_links();
    let history = world.run(&["history", "--json"]);
    assert!(history.stdout.contains("-adopted"), "the adopted build can be gone back to: {history:?}");
    let back = world.run(&["rollback"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert!(world.served().unwrap().ends_with("-adopted"));
}

#[test]
fn the_adopted_pair_is_served_while_the_first_texts_are_embedded() {
    let world = host(12);
    let before = world.pair();
    world.provider.hold();

    let agent = world.agent();

    assert!(world.provider.wait_for_requests(1, SOON), "{}", agent.log());
    assert!(world.served().unwrap().ends_with("-adopted"));
    assert_eq!(world.pair(), before);
    world.provider.release();
    agent.wait_for("a build of its own", || !world.served().unwrap().ends_with("-adopted"));
    agent.stop();
    world.assert_proven();
}

#[test]
fn modes_of_the_old_files_are_kept_and_given_to_later_builds() {
    // Index, metadata; then what a later build's files and its directory get.
    for (index, metadata, files, directory) in
        [(0o644, 0o644, 0o444, 0o755), (0o640, 0o644, 0o440, 0o750), (0o600, 0o600, 0o400, 0o700)]
    {
        let world = host(3);
        chmod(&world.path("data/faiss.index"), index);
        chmod(&world.path("data/metadata.json"), metadata);

        adopt_only(&world);
        assert_eq!(NAMES.map(|name| bits(&world.path("data").join(name))), [index, metadata]);
        world.build();
        world.sql("UPDATE experts SET hourly_rate = 1 WHERE id = 1");
        world.build();

        assert_eq!(NAMES.map(|name| bits(&world.path("data").join(name))), [files, files]);
        assert_eq!(bits(&world.path("data/current/")), directory);
        assert_eq!(
            bits(&world.path("data/builds")),
            directory,
            "every reader of the files must be able to enter it"
        );
    }
}

#[test]
fn the_group_of_the_old_files_is_kept_and_given_to_later_builds() {
    const GROUP: u32 = 54_321;
    let world = host(3);
    for name in NAMES {
        if std::os::unix::fs::chown(world.path("data").join(name), None, Some(GROUP)).is_err() {
            return not_run("only root can give a file to a group that it is not in");
        }
    }

    adopt_only(&world);
    let groups = || NAMES.map(|name| std::fs::metadata(world.path("data").join(name)).unwrap().gid());
    let adopted = groups();
    world.build();

    assert_eq!((adopted, groups()), ([GROUP; 2], [GROUP; 2]));
    let directory = std::fs::metadata(world.path("data/current/")).unwrap();
    assert_eq!(directory.gid(), GROUP, "the group must be able to enter the build");
}

#[test]
fn files_that_only_a_group_may_read_are_left_alone_where_that_group_cannot_be_given() {
    const UNPRIVILEGED_UID: u32 = 65_534;
    const GROUP: u32 = 54_321;
    if !rustix::process::geteuid().is_root() {
        return not_run("only root can give a file to a group that it is not in");
    }
    for (bits, adopts) in [(0o640, false), (0o644, true)] {
        let world = host(3);
        chmod(&world.path(""), 0o755);
        let mut paths = NAMES.map(|name| world.path("data").join(name)).to_vec();
        for path in &paths {
            chmod(path, bits);
            std::os::unix::fs::chown(path, Some(UNPRIVILEGED_UID), Some(GROUP)).unwrap();
        }
        paths = vec![world.path("data"), world.database()];
        for path in &paths {
            std::os::unix::fs::chown(path, Some(UNPRIVILEGED_UID), Some(UNPRIVILEGED_UID)).unwrap();
        }
        let before = world.pair();

        let ran = run(world.command(&["build", "--json"]).uid(UNPRIVILEGED_UID).gid(UNPRIVILEGED_UID));

        assert_eq!(ran.code == 0, adopts, "{bits:o}: {ran:?}");
        if !adopts {
            assert!(ran.text("error").contains("cannot give the group of the old files to"), "{ran:?}");
            assert_eq!(NAMES.map(|name| world.path("data").join(name).is_symlink()), [false; 2]);
            assert_eq!(world.pair(), before);
            assert_eq!(world.staging(), Vec::<std::path::PathBuf>::new());
            assert_eq!(world.provider.request_count(), 0);
        }
    }
}

#[test]
fn metadata_in_another_directory_are_adopted_too() {
    let world = World::with_people(5);
    let (index, metadata) = (world.path("index/people.faiss"), world.path("web/deep/people.json"));
    std::fs::create_dir_all(index.parent().unwrap()).unwrap();
    std::fs::create_dir_all(metadata.parent().unwrap()).unwrap();
    world.ingest_to(&index, &metadata, DIMENSION);
    let pair = || Pair([&index, &metadata].map(|path| std::fs::read(path).unwrap()));
    let before = pair();
    let build = || {
        let mut command = world.command(&["build", "--json"]);
        command.env("FAISS_INDEX_PATH", "index/people.faiss").env("METADATA_PATH", "web/deep/people.json");
        run(&mut command)
    };

    world.provider.always(Some(Fault::Forbidden));
    let adopted = build();
    world.provider.always(None);

    assert!(adopted.text("build").ends_with("-adopted"), "{adopted:?}");
    assert_eq!(pair(), before);
    let own = build();
    assert_eq!(own.number("embedded"), 5, "{own:?}");
    assert_eq!(std::fs::read_link(&index).unwrap(), Path::new("current/faiss.index"));
    assert_eq!(std::fs::read_link(&metadata).unwrap(), Path::new("../../index/current/metadata.json"));
    assert_eq!(std::fs::read(&metadata).unwrap(), world.reference().metadata);
}

#[test]
fn a_pair_that_does_not_belong_together_is_adopted_as_found_and_said_to_be_so() {
    // As after a kill between the two files, in the middle of the second, or at its beginning.
    for metadata in ["[{\"id\": 1}]", "[{\"id\": 1}, {\"i", ""] {
        let world = host(6);
        std::fs::write(world.path("data/metadata.json"), metadata).unwrap();
        let before = world.pair();

        let ran = adopt_only(&world);

        assert!(ran.stderr.contains("the adopted files do not belong together"), "{metadata:?}: {ran:?}");
        assert!(ran.stderr.contains("the index has 6 vectors"), "{metadata:?}: {ran:?}");
        assert_eq!(world.pair(), before, "nothing is mixed that was not mixed before");
        let verified = world.run(&["verify"]);
        assert_eq!(verified.code, 1, "nothing that is mixed is called proven: {verified:?}");
        assert_eq!(world.build().number("embedded"), 6);
        world.assert_readable();
    }
}

#[test]
fn a_file_that_is_not_an_index_is_adopted_as_found_and_replaced() {
    let world = host(4);
    std::fs::write(world.path("data/faiss.index"), b"not an index").unwrap();

    let ran = adopt_only(&world);

    assert!(ran.stderr.contains("not a flat Faiss index"), "{ran:?}");
    assert_eq!(world.published("faiss.index"), b"not an index");
    assert_eq!(world.build().number("embedded"), 4);
    world.assert_readable();
}

#[test]
fn a_table_that_shrank_since_ingest_py_ran_is_held_against_its_count() {
    let world = host(10);
    let before = world.pair();
    world.sql("UPDATE experts SET tags = NULL WHERE id > 3");

    let shrunk = world.run(&["build"]);
    world.sql("UPDATE experts SET tags = NULL");
    let empty = world.run(&["build"]);

    assert_eq!((shrunk.code, empty.code), (3, 3), "{shrunk:?} {empty:?}");
    assert!(shrunk.stderr.contains("3 records are 70.0 % fewer than the 10 served"), "{shrunk:?}");
    assert_eq!(world.provider.request_count(), 0);
    assert_eq!(world.pair(), before);
    world.assert_links();
}

#[test]
fn names_that_are_foreign_links_are_adopted_with_what_they_lead_to() {
    let world = host(4);
    std::fs::create_dir(world.path("theirs")).unwrap();
    for name in NAMES {
        let (here, there) = (world.path("data").join(name), world.path("theirs").join(name));
        std::fs::rename(&here, &there).unwrap();
        std::os::unix::fs::symlink(&there, &here).unwrap();
    }
    let before = world.pair();

    adopt_only(&world);

    world.assert_links();
    assert_eq!(world.pair(), before);
    world.build();
    for (name, bytes) in NAMES.iter().zip(before.0) {
        assert_eq!(std::fs::read(world.path("theirs").join(name)).unwrap(), bytes, "{name} of theirs");
    }
}

fn chmod(path: &Path, bits: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
}

/// Permission bits of what a name leads to.
fn bits(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o777
}
