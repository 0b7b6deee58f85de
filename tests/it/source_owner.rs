//! The source as its owner reads it: in every journal mode, with and without other processes that have it
//! open, and never written.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{self, World, eventually};

#[test]
fn committed_rows_are_read_in_every_journal_mode_with_or_without_a_writer() {
    for mode in ["delete", "truncate", "persist", "wal"] {
        for stays_open in [true, false] {
            let world = World::with_people(3);
            let writer = world.connect();
            writer.pragma_update(None, "journal_mode", mode).unwrap();
            writer.execute(ONE_MORE, [4]).unwrap();
            let writer = stays_open.then_some(writer);

            let first = world.build();
            // A writer that was disturbed by the scan would fail here.
            writer.as_ref().unwrap_or(&world.connect()).execute(ONE_MORE, [5]).unwrap();
            let second = world.build();

            let what = format!("{mode}, stays open: {stays_open}");
            assert_eq!((first.number("records"), second.number("records")), (4, 5), "{what}");
            assert_eq!(ids(&world), [1, 2, 3, 4, 5].map(Value::from), "{what}");
        }
    }
}

#[test]
fn rows_of_an_open_transaction_are_not_served_before_they_are_committed() {
    for mode in ["delete", "wal"] {
        let world = World::with_people(3);
        let writer = world.connect();
        writer.pragma_update(None, "journal_mode", mode).unwrap();
        writer.execute_batch("BEGIN IMMEDIATE").unwrap();
        writer.execute(ONE_MORE, [4]).unwrap();

        let during = world.build();
        writer.execute_batch("COMMIT").unwrap();
        let after = world.build();

        assert_eq!((during.number("records"), after.number("records")), (3, 4), "{mode}");
    }
}

#[test]
fn a_transaction_that_a_killed_writer_left_half_done_is_rolled_back_by_the_owner() {
    let world = World::with_people(400);
    leave_a_hot_journal(&world.database());

    let ran = world.build();

    assert_eq!(ran.number("records"), 400);
    let bios: Vec<_> = world.records().into_iter().map(|record| record["Bio"].clone()).collect();
    assert!(bios.iter().all(|bio| bio != "half done"), "{bios:?}");
}

#[test]
fn every_form_of_the_url_that_ingest_took_names_the_same_database() {
    let world = World::with_people(3);
    let first = world.build();
    let absolute = world.database().display().to_string();
    let forms = [
        "sqlite:///data/experts.db".to_owned(),
        "sqlite:///./data/../data/experts.db".to_owned(),
        "sqlite+pysqlite:///data/experts.db".to_owned(),
        "sqlite:///data/experts.db?timeout=5".to_owned(),
        format!("sqlite:///{absolute}"),
        format!("sqlite+aiosqlite:///{absolute}"),
    ];

    for url in forms {
        let ran = support::run(world.command(&["build", "--json"]).env("DATABASE_URL", &url));

        assert_eq!((ran.code, ran.text("outcome")), (0, "unchanged".to_owned()), "{url}");
        assert_eq!(ran.text("build"), first.text("build"), "{url}");
    }
}

#[test]
fn a_database_behind_links_is_read_with_the_log_next_to_the_file_itself() {
    let world = World::with_people(3);
    std::fs::create_dir(world.path("elsewhere")).unwrap();
    std::fs::rename(world.database(), world.path("elsewhere/real.db")).unwrap();
    std::os::unix::fs::symlink("../elsewhere/real.db", world.path("data/link.db")).unwrap();
    std::os::unix::fs::symlink("link.db", world.database()).unwrap();
    let writer = rusqlite::Connection::open(world.path("elsewhere/real.db")).unwrap();
    writer.pragma_update(None, "journal_mode", "wal").unwrap();
    writer.execute(ONE_MORE, [4]).unwrap();

    let ran = world.build();

    assert_eq!(ran.number("records"), 4, "the row that only the log has is served");
    assert!(!world.path("data/experts.db-wal").exists() && !world.path("data/experts.db-shm").exists());
}

#[test]
fn the_database_is_never_written_and_no_file_is_left_next_to_it() {
    for mode in ["delete", "wal"] {
        let world = World::with_people(20);
        world.sql(&format!("PRAGMA journal_mode = {mode}"));
        let before = source_files(&world);

        for command in [["build", "--json"], ["build", "--full"], ["plan", "--json"], ["status", "--json"]] {
            let ran = world.run(&command);
            assert_eq!(ran.code, 0, "{command:?}: {ran:?}");
            assert_eq!(source_files(&world), before, "after {command:?} in mode {mode}");
        }
        let agent = world.agent();
        agent.stop();

        assert_eq!(source_files(&world), before, "after the agent in mode {mode}");
    }
}

#[test]
fn a_writer_closing_during_a_scan_leaves_no_log_over_a_restored_database() {
    let world = World::with_people(3);
    std::fs::copy(world.database(), world.path("backup.db")).unwrap();
    let writer = world.connect();
    writer.pragma_update(None, "journal_mode", "wal").unwrap();
    world.add_people(4..=20_000);
    writer.execute(ONE_MORE, [20_001]).unwrap();
    let log = world.path("data/experts.db-wal");

    let build = stopped_in_mid_scan(&world, &log);
    writer.close().unwrap();
    assert!(log.metadata().unwrap().len() > 0, "the writer could not empty its log: the scan has it open");
    kill_process(Pid::from_child(&build), Signal::CONT).unwrap();
    let ran = support::ended(build);

    assert_eq!((ran.code, ran.number("records")), (0, 20_001), "{ran:?}");
    assert!(!log.exists(), "the scan was the last to close, and emptied the log as every client does");
    std::fs::rename(world.path("backup.db"), world.database()).unwrap();
    let restored = world.run(&["build", "--accept-shrink", "--json"]);
    assert_eq!(restored.number("records"), 3, "the restored content is served");
}

#[test]
fn a_database_replaced_during_a_build_is_served_by_the_next_one() {
    let world = World::with_people(3);
    let other = World::with_people(0);
    other.add_people(10..=14);
    world.provider.hold();

    let build = support::start(&mut world.command(&["build", "--json"]));
    assert!(world.provider.wait_for_requests(1, support::SOON));
    std::fs::rename(other.database(), world.database()).unwrap();
    world.provider.release();
    let during = support::ended(build);
    let served = ids(&world);
    let after = world.build();

    assert_eq!((during.code, served), (0, [1, 2, 3].map(Value::from).to_vec()), "only the old content");
    assert_eq!((after.number("embedded"), after.number("removed")), (5, 3));
    assert_eq!(ids(&world), [10, 11, 12, 13, 14].map(Value::from));
}

#[test]
fn ids_may_be_texts_of_64_characters() {
    let world = World::new();
    world.sql("DROP TABLE experts");
    world.sql(&TABLE.replace("id INTEGER", "id VARCHAR(64) PRIMARY KEY"));
    let id = |nth: u32| blake3::hash(&nth.to_le_bytes()).to_hex().to_string();
    let database = world.connect();
    let insert = "INSERT INTO experts (id, username, bio, tags) VALUES (?1, ?1, 'Bio of ' || ?1, '[\"a\"]')";
    for nth in 0..50 {
        database.execute(insert, [id(nth)]).unwrap();
    }

    world.build();
    database.execute("UPDATE experts SET bio = 'another' WHERE id = ?1", [id(7)]).unwrap();
    let second = world.build();

    let mut expected: Vec<String> = (0..50).map(id).collect();
    expected.sort_unstable();
    assert_eq!(ids(&world), expected.into_iter().map(Value::from).collect::<Vec<_>>());
    assert_eq!((second.number("kept"), second.number("embedded"), second.number("removed")), (49, 1, 0));
    world.assert_proven();
}

#[test]
fn rows_with_one_id_are_refused_by_name_or_all_but_the_first_quarantined() {
    let world = World::new();
    world.sql("DROP TABLE experts");
    world.sql(TABLE);
    for (id, name) in [(1, "a"), (7, "first"), (7, "second"), (9, "z")] {
        let insert = "INSERT INTO experts (id, username, bio, tags) VALUES (?1, ?2, ?2, '[\"t\"]')";
        world.connect().execute(insert, rusqlite::params![id, name]).unwrap();
    }

    let refused = world.run(&["build", "--json"]);
    world.settings("[guard]\nquarantine = 1\n");
    let built = world.build();

    assert_eq!((refused.code, refused.text("outcome")), (1, "failed".to_owned()));
    assert!(
        refused.text("error").contains("id=7") && refused.text("error").contains("same id"),
        "{refused:?}"
    );
    assert_eq!((built.number("records"), ids(&world)), (3, [1, 7, 9].map(Value::from).to_vec()));
    assert_eq!(world.provider.text_count(), 3, "nothing was embedded before the refusal");
}

#[test]
fn an_id_that_stands_twice_is_refused_wherever_its_rows_stand() {
    let insert = "INSERT INTO experts (id, username, bio, tags) VALUES (?1, ?2, ?2, '[\"t\"]')";
    let (one, real, text) = (json!(1), json!(1.0), |id: &str| json!(id));
    for (kind, ids, named) in [
        ("id", vec![one.clone(), real.clone()], None),
        ("id", vec![one.clone(), real.clone(), one.clone(), real.clone()], Some("id=1")),
        ("id TEXT COLLATE NOCASE", vec![text("ada"), text("ADA")], None),
        ("id TEXT COLLATE NOCASE", vec![text("ada"), text("ADA"), text("ada")], Some("id=ada")),
        ("id TEXT COLLATE RTRIM", vec![text("a"), text("a "), text("a"), text("a ")], Some("id=a")),
    ] {
        let world = World::new();
        world.sql("DROP TABLE experts");
        world.sql(&TABLE.replacen("id INTEGER", kind, 1));
        for (nth, id) in ids.iter().enumerate() {
            let id: &dyn rusqlite::ToSql = match id {
                Value::String(id) => id,
                Value::Number(id) if id.is_f64() => &id.as_f64().unwrap(),
                id => &id.as_i64().unwrap(),
            };
            world.connect().execute(insert, rusqlite::params![id, format!("row {nth}")]).unwrap();
        }

        let ran = world.run(&["build", "--json"]);

        let Some(named) = named else {
            assert_eq!((ran.code, world.served_count()), (0, 2), "{kind}: {ran:?}");
            continue;
        };
        assert_eq!((ran.code, ran.text("outcome")), (1, "failed".to_owned()), "{kind}: {ran:?}");
        assert!(ran.stderr.contains(named) && ran.stderr.contains("another row has the same id"), "{ran:?}");
        assert_eq!(world.provider.text_count(), 0, "{kind}: nothing was sent before the refusal");

        world.settings("[guard]\nquarantine = 5\n");
        assert_eq!((world.build().code, world.served_count()), (0, 2), "{kind}: each id once");
        world.sql("UPDATE experts SET hourly_rate = 3");
        assert_eq!(world.build().number("removed"), 0, "{kind}: and none is gone in the next build");
    }
}

#[test]
fn a_record_that_no_proof_would_accept_is_a_fault_of_its_row() {
    let world = World::with_people(3);
    // Each of these characters takes six bytes in JSON.
    let long = "\u{1}".repeat((64 << 20) / 6 + 1);
    world.connect().execute("UPDATE experts SET profile_url = ?1 WHERE id = 2", [long]).unwrap();

    let refused = world.run(&["build", "--json"]);
    let sent_before = world.provider.text_count();
    world.settings("[guard]\nquarantine = 1\n");
    let built = world.build();

    assert_eq!((refused.code, sent_before), (1, 0), "{refused:?}");
    let message = refused.text("error");
    assert!(message.contains("row id=2 column profile_url: a record of 67"), "{message}");
    assert_eq!((built.number("records"), world.provider.text_count()), (2, 2));
    world.assert_proven();
}

#[test]
fn many_untagged_rows_with_a_few_tagged_ones_cost_a_scan_and_no_more() {
    let world = World::with_people(5);
    world.sql(
        "WITH RECURSIVE ids(id) AS (SELECT 1000 UNION ALL SELECT id + 1 FROM ids WHERE id < 201000)
         INSERT INTO experts (id, username, bio) SELECT id, 'user' || id, 'untagged' FROM ids",
    );

    let ran = world.build();

    assert_eq!((ran.number("records"), world.provider.text_count()), (5, 5));
    assert!(ran.number("took_ms") < 5_000, "{ran:?}");
}

/// Adds one tagged person.
const ONE_MORE: &str = "INSERT INTO experts (id, username, bio, tags) VALUES (?1, 'one more', 'Bio of one more: ' || ?1, '[\"t\"]')";

/// The table without a primary key.
const TABLE: &str =
    "CREATE TABLE experts (id INTEGER, username, first_name, last_name, job_title, company, bio,
     hourly_rate, currency, profile_url, profile_url_utm, tags, findability_score, category)";

/// The served ids, in order.
fn ids(world: &World) -> Vec<Value> {
    world.records().into_iter().map(|record| record["id"].clone()).collect()
}

/// A process that was stopped while it has the log open. A scan that ended too
/// soon is repeated.
fn stopped_in_mid_scan(world: &World, log: &Path) -> Child {
    let log = log.canonicalize().unwrap();
    for _ in 0..50 {
        let mut build = support::start(&mut world.command(&["build", "--json"]));
        let pid = Pid::from_child(&build);
        let is_open = || support::open_files(pid).contains(&log);
        while !is_open() && build.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        kill_process(pid, Signal::STOP).ok();
        let halted = || matches!(support::process_state(pid), None | Some('T' | 'Z'));
        eventually("the process is stopped", halted);
        if is_open() {
            return build;
        }
        kill_process(pid, Signal::CONT).ok();
        build.wait().unwrap();
    }
    panic!("no scan was long enough to be stopped");
}

/// The database and all files next to it: name, times, bytes.
fn source_files(world: &World) -> Vec<(String, Value, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(world.path("data"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with("experts.db"))
        .map(|entry| {
            let meta = entry.metadata().unwrap();
            let stamp = json!([meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()]);
            (entry.file_name().into_string().unwrap(), stamp, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Leaves what a writer leaves that is killed during a transaction: changed pages, and their journal.
pub fn leave_a_hot_journal(database: &Path) {
    let journal = |of: &Path| of.with_extension("db-journal");
    let aside = database.with_file_name("aside.db");
    std::fs::rename(database, &aside).unwrap();
    let writer = rusqlite::Connection::open(&aside).unwrap();
    // Pages that do not fit the cache are written before the commit.
    writer.execute_batch("PRAGMA cache_size = 5; BEGIN; UPDATE experts SET bio = 'half done'").unwrap();
    std::fs::copy(&aside, database).unwrap();
    std::fs::copy(journal(&aside), journal(database)).unwrap();
    drop(writer);
    std::fs::remove_file(aside).unwrap();
    let spilt = std::fs::read(database).unwrap();
    assert!(spilt.windows(9).any(|bytes| bytes == b"half done"), "no page was written before the commit");
}
