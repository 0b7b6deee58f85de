//! Which changes of a database are served, which cause a scan and no build, and which cause nothing.

use std::fs::{File, FileTimes, OpenOptions, remove_file, rename};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use rustix::process::{Signal, kill_process};

use crate::support::agent::Agent;
use crate::support::{World, add_person, eventually, not_run, open_files, process_state, python};

/// The regular check finds nothing here: every change that is served came with a hint.
pub const QUICK: &str = "quiet = \"200ms\"\nmax_wait = \"2s\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\n\
     poll_interval = \"1h\"\nwatch = \"inotify\"\n[log]\nlevel = \"debug\"\n";

#[test]
fn in_every_journal_mode_commits_are_built_and_what_changes_no_row_is_not() {
    std::thread::scope(|scope| {
        for mode in ["DELETE", "TRUNCATE", "PERSIST", "WAL"] {
            scope.spawn(move || commits_and_other_changes(mode));
        }
    });
}

fn commits_and_other_changes(mode: &str) {
    let world = World::with_people(2);
    let writer = world.connect();
    writer.pragma_update(None, "journal_mode", mode).unwrap();
    let agent = world.agent_with(QUICK);
    agent.wait_for_promotions(1);
    type Act = fn(&World, &Connection);
    let commits: [(&str, usize, Act); 4] = [
        ("a commit whose writer stays", 3, |_, writer| add_person(writer, 3)),
        ("a commit whose writer closes, and another one stays", 4, |world, _| world.add_people([4])),
        ("a second commit of the one that stays", 5, |_, writer| add_person(writer, 5)),
        ("a row that goes", 4, |_, writer| writer.execute_batch("DELETE FROM experts WHERE id = 4").unwrap()),
    ];
    let no_commits: [(&str, Act); 3] = [
        ("VACUUM", |_, writer| writer.execute_batch("VACUUM").unwrap()),
        ("checkpoint", |_, writer| writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap()),
        ("rollback", |_, writer| {
            writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM experts; ROLLBACK").unwrap();
        }),
    ];

    for (builds, (what, records, act)) in (2..).zip(commits) {
        act(&world, &writer);
        agent.wait_for(&format!("{mode}: {what}"), || world.served_count() == records);
        agent.wait_for_promotions(builds);
    }
    for (what, act) in no_commits {
        wait_until_idle(&agent);
        let passes = agent.logged("pass: started");
        act(&world, &writer);
        // Longer than a hint and its window take.
        std::thread::sleep(Duration::from_millis(500));
        wait_until_idle(&agent);
        let passes = agent.logged("pass: started") - passes;
        assert!(passes <= 1, "{mode}: {what} cost {passes} passes\n{}", agent.log());
    }

    drop(writer);
    world.add_people([6]);
    agent.wait_for_promotions(6);
    assert_eq!((world.served_count(), agent.promotions()), (5, 6), "{mode}\n{}", agent.log());
    assert_eq!(world.provider.answered_twice().len(), 0);
    assert_eq!(agent.logged("cannot rename"), 0, "no sweep disturbs the agent's notes\n{}", agent.log());
    agent.stop();
}

#[test]
fn a_commit_that_becomes_visible_long_after_its_event_is_served() {
    let world = World::with_people(1);
    world.sql("PRAGMA journal_mode = WAL");
    let agent = world.agent_with(QUICK);
    agent.wait_for_promotions(1);
    wait_until_idle(&agent);
    let passes = agent.passes();

    // The event comes with the write; what makes the commit visible waits for the disk. The connection stays
    // open, so that no later event reports it.
    let script = "import sqlite3, sys, time\n\
         db = sqlite3.connect('data/experts.db', isolation_level=None)\n\
         db.execute('PRAGMA synchronous = FULL')\n\
         db.execute(\"INSERT INTO experts (id, username, bio, tags) VALUES (2, 'late', 'Late bio', '[\\\"t\\\"]')\")\n\
         print('committed', flush=True)\n\
         sys.stdin.read()\n";
    let slow = ["-f", "-o", "strace.out", "-e", "trace=fsync,fdatasync"];
    let slow = slow.into_iter().chain(["-e", "inject=fsync,fdatasync:delay_enter=800000"]);
    let mut strace = Command::new("strace");
    strace.args(slow).arg(python()).args(["-c", script]).current_dir(world.path(""));
    let writer = match strace.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Ok(writer) => writer,
        Err(error) => return not_run(&format!("no strace to make a disk slow with: {error}")),
    };
    agent.wait_for_promotions(2);

    assert_eq!(world.served_count(), 2);
    assert!(agent.passes() - passes > 1, "the first scan came before the commit\n{}", agent.log());
    let ended = writer.wait_with_output().unwrap();
    assert_eq!(
        ended.stdout,
        b"committed\n",
        "{}",
        std::fs::read_to_string(world.path("strace.out")).unwrap()
    );
    agent.stop();
}

#[test]
fn a_writer_closing_during_a_scan_leaves_nothing_that_undoes_a_restore() {
    let world = World::with_people(3);
    std::fs::copy(world.database(), world.path("data/backup")).unwrap();
    world.sql(
        "PRAGMA journal_mode = WAL; INSERT INTO experts (id, username, bio)
         WITH RECURSIVE ids(id) AS (SELECT 10 UNION ALL SELECT id + 1 FROM ids WHERE id < 60000)
         SELECT id, 'untagged ' || id, hex(zeroblob(400)) FROM ids",
    );
    let agent = world.agent_with(QUICK);
    agent.wait_for_promotions(1);
    let writer = world.connect();
    add_person(&writer, 4);
    agent.wait_for_promotions(2);

    stop_in_mid_scan(&agent, &world);
    writer.close().unwrap();
    let log = world.path("data/experts.db-wal");
    assert!(log.metadata().unwrap().len() > 0, "the writer could not empty its log: the scan has it open");
    agent.signal(Signal::CONT);
    eventually("the scan empties the log as every client does", || !log.exists());
    rename(world.path("data/backup"), world.database()).unwrap();

    agent.wait_for_promotions(3);
    assert_eq!(world.served_count(), 3);
    let seen = world.connect().query_row("SELECT count(*) FROM experts", [], |row| row.get::<_, u32>(0));
    assert_eq!(seen, Ok(3), "what every opener sees");
    agent.stop();
}

/// Stops the agent while it has the log open. A scan that ended too soon is repeated.
fn stop_in_mid_scan(agent: &Agent, world: &World) {
    let log = world.path("data/experts.db-wal").canonicalize().unwrap();
    let is_open = || open_files(agent.pid()).contains(&log);
    agent.wait_for("a scan that can be stopped", || {
        agent.signal(Signal::USR1);
        let opened = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            is_open()
        });
        if !opened {
            return false;
        }
        kill_process(agent.pid(), Signal::STOP).unwrap();
        eventually("the agent is stopped", || process_state(agent.pid()) == Some('T'));
        if !is_open() {
            agent.signal(Signal::CONT);
        }
        is_open()
    });
}

#[test]
fn what_does_not_change_a_settled_database_starts_no_scan() {
    std::thread::scope(|scope| {
        for mode in ["DELETE", "PERSIST", "WAL"] {
            scope.spawn(move || other_files_next_to_a_settled_database(mode));
        }
    });
}

fn other_files_next_to_a_settled_database(mode: &str) {
    let world = World::with_people(2);
    world.sql(&format!("PRAGMA journal_mode = {mode}"));
    File::create(world.path("data/tagging-complete")).unwrap();
    // Time stamps are trusted once they are older than the coarsest clock of a file system.
    std::thread::sleep(Duration::from_millis(3100));
    let agent = world.agent_with(QUICK);
    agent.wait_for_promotions(1);
    wait_until_idle(&agent);
    let passes = agent.passes();

    let writer = world.connect();
    writer.query_row("SELECT count(*) FROM experts", [], |row| row.get::<_, u32>(0)).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE; UPDATE experts SET bio = 'x'; ROLLBACK").unwrap();
    drop(writer);
    std::fs::write(world.path("data/experts.db-shm"), "not ours").unwrap();
    remove_file(world.path("data/experts.db-shm")).unwrap();
    std::fs::write(world.path("data/experts.db.bak"), "x").unwrap();
    rename(world.path("data/experts.db.bak"), world.path("data/other.db")).unwrap();
    remove_file(world.path("data/tagging-complete")).unwrap();
    std::thread::sleep(Duration::from_millis(800));

    assert_eq!(agent.passes(), passes, "{mode}\n{}", agent.log());
    world.add_people([3]);
    agent.wait_for_records(&world, 3);
    agent.stop();
}

#[test]
fn a_database_with_time_stamps_of_the_future_is_served_and_makes_no_loop() {
    let world = World::with_people(2);
    world.sql("PRAGMA journal_mode = WAL");
    // As after a clock that was set back.
    let future = SystemTime::now() + Duration::from_secs(400 * 24 * 3600);
    let database = OpenOptions::new().write(true).open(world.database()).unwrap();
    database.set_times(FileTimes::new().set_modified(future)).unwrap();
    drop(database);
    std::thread::sleep(Duration::from_millis(3100));
    let agent = world.agent_with(QUICK);
    agent.wait_for_promotions(1);
    wait_until_idle(&agent);
    let passes = agent.passes();

    for _ in 0..5 {
        // Reading causes events, and so does a scan.
        let read = world.connect().query_row("SELECT count(*) FROM experts", [], |row| row.get::<_, u32>(0));
        assert_eq!(read, Ok(2));
        std::thread::sleep(Duration::from_millis(400));
    }

    assert_eq!(agent.passes(), passes, "{}", agent.log());
    world.add_people([3]);
    agent.wait_for_records(&world, 3);
    agent.stop();
}

/// Waits until the agent waits for nothing but the next change.
#[track_caller]
pub fn wait_until_idle(agent: &Agent) {
    agent.wait_for("the agent is idle", || {
        let log = agent.log();
        let has_state = |line: &&str| {
            ["state=", "pass: started", "pass: repeated"].iter().any(|word| line.contains(word))
        };
        log.lines().rev().find(has_state).is_some_and(|line| line.contains("state=idle"))
    });
}
