//! A source that cannot be read: each state has its own message, and a pass ends in bounded time and
//! changes nothing.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Pid;

use crate::source_owner::leave_a_hot_journal;
use crate::source_read_only::Reader;
use crate::support::{self, Ran, World, eventually};

#[test]
fn every_state_of_the_file_has_its_message_and_the_old_build_is_still_served() {
    let cases: [(&str, fn(&Path)); 13] = [
        ("does not exist", |_| ()),
        ("does not exist", |db| symlink("nowhere", db).unwrap()),
        ("cannot find database", |db| symlink("experts.db", db).unwrap()),
        ("is a directory, expected a regular file", |db| std::fs::create_dir(db).unwrap()),
        ("is a device, fifo or socket, expected a regular file", make_fifo),
        ("is not a SQLite database: the file is empty", |db| std::fs::write(db, "").unwrap()),
        ("is not a SQLite database: it is text", |db| {
            std::fs::write(db, "id,username").unwrap();
        }),
        ("is not a SQLite database: it is a file of an unknown kind", |db| {
            std::fs::write(db, [7; 5000]).unwrap();
        }),
        ("no such table: experts", |db| in_new_database(db, "CREATE TABLE others (id)")),
        ("no such column: category", |db| {
            in_new_database(db, &TABLE.replace(", category", ""));
        }),
        ("no such column: tags", |db| in_new_database(db, &TABLE.replace("tags, ", ""))),
        ("no such table: main.gone", |db| {
            in_new_database(db, &format!("{}; CREATE VIEW experts AS SELECT * FROM gone", renamed_table()));
        }),
        ("malformed", damage_a_page),
    ];
    for (message, spoil) in cases {
        let world = World::with_people(3);
        let first = world.build();
        world.provider.forget();
        std::fs::rename(world.database(), world.path("moved.db")).unwrap();
        spoil(&world.database());
        let begun = Instant::now();

        let failed = world.run(&["build", "--json"]);
        let status = world.run(&["status", "--json"]);

        assert_failed(&failed, message);
        assert!(failed.text("error").contains("experts.db"), "{failed:?}");
        assert_eq!(failed.text("build"), first.text("build"), "{failed:?}");
        assert_eq!((status.code, status.json()["drift"].is_null()), (0, true), "{status:?}");
        assert!(status.text("error").contains(message), "{status:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{message}: waiting would not help, so there is no wait"
        );
        assert_eq!((world.served(), world.staging().len()), (Some(first.text("build")), 0), "{message}");
        assert_eq!(world.provider.request_count(), 0, "{message}");
        move_away(&world.database());
        std::fs::rename(world.path("moved.db"), world.database()).unwrap();
        assert_eq!(
            world.build().text("outcome"),
            "unchanged",
            "{message}: after the repair the content is unchanged"
        );
    }
}

#[test]
fn a_state_that_a_writer_may_end_is_reported_after_a_bounded_wait() {
    let locked = World::with_people(3);
    let writer = locked.connect();
    writer.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let hot = Reader::of(400, "delete");
    leave_a_hot_journal(&hot.database());
    let without_index = Reader::of(3, "delete");
    leave_a_log(&without_index.database(), &["-wal"], 0o644);
    let closed_log = Reader::of(3, "delete");
    leave_a_log(&closed_log.database(), &["-wal", "-shm"], 0);
    let begun = Instant::now();

    let waiting = [
        ("locked by a writer for 10 s; will retry", locked.command(&["build", "--json"])),
        ("has a hot journal", hot.command(&["build", "--json"])),
        ("-shm is missing", without_index.command(&["build", "--json"])),
        ("-wal is not readable", closed_log.command(&["build", "--json"])),
    ]
    .map(|(message, mut command)| (message, support::start(&mut command)))
    .map(|(message, child)| (message, support::ended(child)));

    let took = begun.elapsed();
    for (message, ran) in &waiting {
        assert_failed(ran, message);
    }
    assert!((Duration::from_secs(10)..Duration::from_secs(25)).contains(&took), "{took:?}");
    drop(writer);
    assert_eq!(locked.build().number("records"), 3, "once the writer is gone, the build succeeds");
    hot.writer().query_row("SELECT count(*) FROM experts", [], |_| Ok(())).unwrap();
    let repaired = support::run(&mut hot.command(&["build", "--json"]));
    assert_eq!(repaired.number("records"), 400, "the repair that the message names");
}

#[test]
fn a_lock_that_ends_in_time_is_waited_for() {
    let world = World::with_people(3);
    let writer = world.connect();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();

    let build = support::start(&mut world.command(&["build", "--json"]));
    let database = world.database().canonicalize().unwrap();
    eventually("the build has found the lock", || {
        support::open_files(Pid::from_child(&build)).contains(&database)
    });
    writer.execute_batch("COMMIT").unwrap();
    let ran = support::ended(build);

    assert_eq!((ran.code, ran.number("records")), (0, 3), "{ran:?}");
}

#[test]
fn a_database_that_may_not_be_read_is_reported_with_the_systems_message() {
    let reader = Reader::of(3, "delete");
    std::fs::set_permissions(reader.database(), std::fs::Permissions::from_mode(0o000)).unwrap();

    let ran = support::run(&mut reader.command(&["build", "--json"]));

    assert_failed(&ran, "cannot open database");
    assert!(ran.text("error").contains("Permission denied"), "{ran:?}");
}

#[track_caller]
fn assert_failed(ran: &Ran, message: &str) {
    assert_eq!((ran.code, ran.text("outcome")), (1, "failed".to_owned()), "{message}: {ran:?}");
    assert!(ran.text("error").contains(message), "{message}: {ran:?}");
    assert!(ran.stderr.contains(message), "{message}: {ran:?}");
}

const TABLE: &str = "CREATE TABLE experts (id, username, first_name, last_name, job_title, company, bio,
     hourly_rate, currency, profile_url, profile_url_utm, tags, findability_score, category)";

fn renamed_table() -> String {
    TABLE.replace("experts", "people")
}

fn in_new_database(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

/// A correct header and schema, and a damaged page of the table.
fn damage_a_page(path: &Path) {
    in_new_database(path, &format!("{TABLE}; INSERT INTO experts (id, tags) VALUES (1, '[]')"));
    let mut bytes = std::fs::read(path).unwrap();
    bytes[4096..].fill(0xff);
    std::fs::write(path, bytes).unwrap();
}

/// Leaves the log of a killed writer: only the files with these suffixes, with this mode.
fn leave_a_log(database: &Path, suffixes: &[&str], mode: u32) {
    let sibling = |of: &Path, suffix: &str| {
        let mut name = of.as_os_str().to_owned();
        name.push(suffix);
        std::path::PathBuf::from(name)
    };
    let moved = database.with_file_name("moved.db");
    std::fs::copy(database, &moved).unwrap();
    let writer = Connection::open(&moved).unwrap();
    writer.pragma_update(None, "journal_mode", "wal").unwrap();
    writer.execute("UPDATE experts SET bio = 'in the log'", []).unwrap();
    std::fs::copy(&moved, database).unwrap();
    for suffix in suffixes {
        std::fs::copy(sibling(&moved, suffix), sibling(database, suffix)).unwrap();
        std::fs::set_permissions(sibling(database, suffix), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    drop(writer);
    std::fs::remove_file(moved).unwrap();
}

fn move_away(path: &Path) {
    match path.symlink_metadata() {
        Err(_) => (),
        Ok(meta) if meta.is_dir() => std::fs::remove_dir(path).unwrap(),
        Ok(_) => std::fs::remove_file(path).unwrap(),
    }
}
