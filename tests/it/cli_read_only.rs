//! Commands that only read: `plan`, `status`, `verify`, `history`, `diff` and `search` write nothing, and
//! report what they find.

use std::os::unix::fs::MetadataExt;

use crate::source_owner::leave_a_hot_journal;
use crate::support::provider::Fault;
use crate::support::{Ran, World};

#[test]
fn read_only_commands_write_nothing_in_any_state() {
    let fresh = World::with_people(3);
    let served = World::with_people(3);
    served.build();
    let behind = World::with_people(3);
    behind.build();
    behind.add_people([4]);
    let failed = World::with_people(3);
    failed.provider.always(Some(Fault::KeyInvalid));
    failed.run(&["build"]);
    failed.provider.always(None);
    let broken = World::with_people(3);
    broken.build();
    std::fs::remove_file(broken.path("data/current")).unwrap();
    std::os::unix::fs::symlink("builds/gone", broken.path("data/current")).unwrap();
    for (what, world) in
        [("fresh", fresh), ("served", served), ("behind", behind), ("failed", failed), ("broken", broken)]
    {
        let before = tree(&world);
        for command in [
            &["plan"][..],
            &["plan", "--check"],
            &["status"],
            &["verify"],
            &["history"],
            &["diff"],
            &["search", "q"],
            &["config"],
            &["config", "--check"],
        ] {
            world.run(command);

            assert_eq!(tree(&world), before, "{what}: {command:?}");
        }
    }
}

#[test]
fn what_a_killed_writer_left_stays_as_it_is_until_a_pass_of_the_owner() {
    for (mode, plans) in [("delete", false), ("wal", true)] {
        let world = World::with_people(400);
        world.build();
        if mode == "wal" {
            leave_a_log(&world);
        } else {
            leave_a_hot_journal(&world.database());
        }
        // As root, SQLite gives a log to the owner of its database, who has it already: its ctime shows that.
        let contents = || {
            let files = tree(&world).into_iter();
            files.map(|(path, bytes, times)| (path, bytes, [times[0], times[1]])).collect::<Vec<_>>()
        };
        let before = contents();

        let plan = world.run(&["plan", "--json"]);
        let status = world.run(&["status", "--json"]);
        assert_eq!(contents(), before, "{mode}: nothing is rolled back, folded in or made");

        if plans {
            assert_eq!((plan.code, plan.number("metadata_only")), (0, 400), "{mode}: {plan:?}");
            assert!(status.json()["drift"]["changes"].as_bool().unwrap(), "{mode}: {status:?}");
        } else {
            assert_eq!(plan.code, 1, "{mode}: {plan:?}");
            assert!(
                plan.stderr.contains("hot journal") && plan.stderr.contains("reindexd build"),
                "{plan:?}"
            );
            assert!(status.json()["drift"].is_null(), "{mode}: {status:?}");
            assert!(status.text("error").contains("hot journal"), "{mode}: {status:?}");
        }
        assert_eq!(world.build().code, 0, "{mode}: a pass of the owner reads it");
        assert_eq!(world.run(&["plan", "--check"]).code, 0, "{mode}: afterwards so does a plan");
    }
}

/// Leaves a log with one committed transaction, as a writer that was killed does.
fn leave_a_log(world: &World) {
    let (database, moved) = (world.database(), world.path("data/moved.db"));
    std::fs::rename(&database, &moved).unwrap();
    let writer = rusqlite::Connection::open(&moved).unwrap();
    writer.pragma_update(None, "journal_mode", "wal").unwrap();
    writer.execute("UPDATE experts SET hourly_rate = 7", []).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        std::fs::copy(
            world.path(&format!("data/moved.db{suffix}")),
            format!("{}{suffix}", database.display()),
        )
        .unwrap();
    }
    drop(writer);
    std::fs::remove_file(moved).unwrap();
}

#[test]
fn a_plan_says_what_the_build_then_does() {
    let world = World::with_people(10);
    world.settings("[embedding]\nbatch_size = 2\n");
    let fresh = plan(&world);
    world.build();
    let nothing = plan(&world);
    world.sql("UPDATE experts SET bio = 'another bio' WHERE id IN (1, 2, 3)");
    world.sql("UPDATE experts SET hourly_rate = 5 WHERE id = 4");
    world.sql("DELETE FROM experts WHERE id = 5");
    let changed = plan(&world);
    world.provider.forget();
    let built = world.build();

    assert_eq!((fresh.number("to_embed"), fresh.number("requests"), fresh.number("records")), (10, 5, 10));
    assert!(fresh.printed("reasons").contains("nothing is served yet"), "{fresh:?}");
    assert_eq!(
        (nothing.number("kept"), nothing.number("to_embed"), nothing.printed("reasons")),
        (10, 0, "[]".to_owned())
    );
    for key in ["records", "kept", "metadata_only", "removed", "requests"] {
        assert_eq!(changed.number(key), built.number(key), "{key}: {changed:?} {built:?}");
    }
    assert_eq!(
        (changed.number("to_embed"), changed.number("metadata_only"), changed.number("removed")),
        (3, 1, 1)
    );
    let letters: usize = world.provider.texts_seen().iter().map(String::len).sum();
    let tokens = usize::try_from(changed.number("estimated_tokens")).unwrap();
    assert!((letters / 6..=letters / 2).contains(&tokens), "{tokens} tokens in {letters} letters");
    assert_eq!(plan(&world).number("to_embed"), 0);
}

#[test]
fn check_fails_only_where_there_is_something_to_do() {
    let world = World::with_people(3);
    let fresh = world.run(&["plan", "--check"]);
    world.build();
    let done = world.run(&["plan", "--check"]);
    world.sql("UPDATE experts SET tags = '[\"tag\",\"other\"]'");
    let same_content = world.run(&["plan", "--check", "--json"]);
    world.sql("UPDATE experts SET hourly_rate = 5 WHERE id = 2");
    let metadata = world.run(&["plan", "--check", "--json"]);
    let without = world.run(&["plan", "--json"]);

    assert_eq!((fresh.code, done.code), (1, 0));
    assert!(done.stdout.contains("nothing to do"), "{done:?}");
    assert_eq!((same_content.code, same_content.json()["changes"].as_bool()), (0, Some(false)));
    assert_eq!((metadata.code, metadata.number("metadata_only")), (1, 1));
    assert_eq!((without.code, without.stdout), (0, metadata.stdout), "only the exit code differs");
}

#[test]
fn a_plan_that_would_be_refused_says_so_and_succeeds() {
    let world = World::with_people(10);
    world.build();
    world.settings("[guard]\nmax_texts = 1\n");
    world.add_people([11, 12]);
    let many = plan(&world);
    world.settings("");
    world.sql("DELETE FROM experts WHERE id > 3");
    let shrunk = plan(&world);
    world.sql("UPDATE experts SET tags = '{}' WHERE id = 2");
    let unfit = plan(&world);
    world.sql("UPDATE experts SET tags = NULL");
    let empty = plan(&world);

    for (ran, reason) in [
        (many, "would be refused: 2 texts would be embedded, more than guard.max_texts = 1"),
        (shrunk, "would be refused: 3 records are 70.0 % fewer than the 10 served"),
        (unfit, "would fail: 1 row cannot be indexed"),
        (empty, "would be refused: no tagged rows"),
    ] {
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.printed("reasons").contains(reason), "{reason}: {ran:?}");
    }
}

#[test]
fn status_shows_build_drift_and_last_attempt() {
    let world = World::with_people(3);
    let fresh = status(&world);
    let built = world.build();
    let served = status(&world);
    world.add_people([4, 5]);
    world.provider.always(Some(Fault::Forbidden));
    world.run(&["build"]);
    let behind = status(&world);
    let table = world.run(&["status"]);

    assert!(fresh["served"].is_null() && fresh["error"].is_null(), "{fresh}");
    assert_eq!((&fresh["drift"]["to_embed"], &fresh["agent"]["running"]), (&3.into(), &false.into()));
    assert_eq!(
        (served["served"]["id"].as_str(), &served["served"]["records"]),
        (Some(&*built.text("build")), &3.into())
    );
    assert_eq!(
        (&served["drift"]["changes"], &served["last_attempt"]["outcome"]),
        (&false.into(), &"promoted".into())
    );
    assert_eq!(
        (&behind["drift"]["to_embed"], &behind["last_attempt"]["outcome"]),
        (&2.into(), &"failed".into())
    );
    assert!(behind["last_attempt"]["error"].as_str().unwrap().contains("has been denied access"), "{behind}");
    for part in [
        &*built.text("build"),
        "3 records in gemini/gemini-embedding-001 of 32 dimensions",
        "2 to embed",
        "denied access",
        "not running",
    ] {
        assert!(table.stdout.contains(part), "{part}: {table:?}");
    }
}

#[test]
fn status_distinguishes_a_running_agent_from_none() {
    let world = World::with_people(3);
    let agent = world.agent();

    let during = status(&world);
    agent.stop();
    let after = status(&world);

    assert_eq!((&during["agent"]["running"], &after["agent"]["running"]), (&true.into(), &false.into()));
}

#[test]
fn status_distinguishes_broken_link_damaged_manifest_and_missing_database() {
    let current = |world: &World| world.path("data/current");
    let cases: [(&str, &dyn Fn(&World)); 4] = [
        ("leads to elsewhere, expected builds/ID", &|world| {
            std::fs::remove_file(current(world)).unwrap();
            std::os::unix::fs::symlink("elsewhere", current(world)).unwrap();
        }),
        ("is not a link", &|world| {
            std::fs::remove_file(current(world)).unwrap();
            std::fs::create_dir(current(world)).unwrap();
        }),
        ("manifest.json", &|world| {
            std::fs::remove_dir_all(current(world).canonicalize().unwrap()).unwrap();
        }),
        ("does not exist", &|world| std::fs::remove_file(world.database()).unwrap()),
    ];
    for (message, spoil) in cases {
        let world = World::with_people(3);
        world.build();
        spoil(&world);

        let ran = world.run(&["status", "--json"]);
        let table = world.run(&["status"]);

        let object = ran.json();
        assert_eq!((ran.code, table.code), (0, 0), "{message}: {ran:?}");
        assert!(object["error"].as_str().unwrap().contains(message), "{message}: {ran:?}");
        assert!(table.stdout.contains(message), "{message}: {table:?}");
        let database_is_gone = !world.database().exists();
        assert_eq!(
            (object["served"].is_null(), object["drift"].is_null()),
            (!database_is_gone, database_is_gone)
        );
    }
}

fn plan(world: &World) -> Ran {
    world.run(&["plan", "--json"])
}

fn status(world: &World) -> serde_json::Value {
    let ran = world.run(&["status", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()
}

impl Ran {
    /// One field of the object, as JSON.
    fn printed(&self, key: &str) -> String {
        self.json()[key].to_string()
    }
}

/// Everything in the world's folder, with its size and its times.
fn tree(world: &World) -> Vec<(String, u64, [i64; 4])> {
    let mut found = Vec::new();
    let mut folders = vec![world.path("")];
    while let Some(folder) = folders.pop() {
        let meta = folder.symlink_metadata().unwrap();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                found.push((entry.path().display().to_string(), meta.len(), times(&meta)));
            }
        }
        found.push((folder.display().to_string(), 0, times(&meta)));
    }
    found.sort();
    found
}

fn times(meta: &std::fs::Metadata) -> [i64; 4] {
    [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()]
}
