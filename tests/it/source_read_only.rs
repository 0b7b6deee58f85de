//! The source as another user reads it: without write access, and without a new file next to it.
//!
//! If the tests run as root, the program runs as another user. Otherwise it
//! runs as the same user without write permission for the database and its
//! directory, which the program treats alike.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::{self, World};

#[test]
fn an_idle_database_is_read_and_its_directory_stays_as_it_was() {
    for mode in ["delete", "truncate", "persist", "wal"] {
        let reader = Reader::of(30, mode);
        let before = reader.source_files();

        for command in [["plan", "--json"], ["build", "--json"], ["status", "--json"], ["build", "--json"]] {
            let ran = support::run(&mut reader.command(&command));
            assert_eq!(ran.code, 0, "{mode}: {command:?}: {ran:?}");
        }

        assert_eq!(reader.records().len(), 30, "{mode}");
        assert_eq!(reader.source_files(), before, "{mode}: no file is made, changed or touched");
    }
}

#[test]
fn rows_that_only_the_log_of_a_writer_at_work_has_are_read() {
    let reader = Reader::of(3, "wal");
    let writer = reader.writer();
    writer.execute(ONE_MORE, [4]).unwrap();
    let before = reader.source_files();

    let ran = support::run(&mut reader.command(&["build", "--json"]));
    writer.execute(ONE_MORE, [5]).unwrap();
    let second = support::run(&mut reader.command(&["build", "--json"]));
    writer.execute(ONE_MORE, [6]).unwrap();

    assert_eq!((ran.number("records"), second.number("records")), (4, 5));
    let names = |files: Vec<(String, Value)>| files.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(reader.source_files()), names(before));
}

#[test]
fn what_a_killed_writer_had_committed_is_read_from_its_log() {
    let reader = Reader::of(3, "wal");
    let writer = reader.writer();
    writer.execute(ONE_MORE, [4]).unwrap();
    let copy = Reader::of(0, "delete");
    for name in ["experts.db", "experts.db-wal", "experts.db-shm"] {
        std::fs::copy(reader.theirs().join(name), copy.theirs().join(name)).unwrap();
    }

    let ran = support::run(&mut copy.command(&["build", "--json"]));

    assert_eq!((ran.code, ran.number("records")), (0, 4), "{ran:?}");
}

#[test]
fn a_commit_just_before_the_scan_is_never_missed() {
    let reader = Reader::of(3, "wal");
    for id in 4..7_u32 {
        // Opened, written and closed: a log appears and disappears within one time stamp of the file system.
        reader.writer().execute(ONE_MORE, [id]).unwrap();

        let ran = support::run(&mut reader.command(&["build", "--json"]));

        assert_eq!((ran.code, ran.number("records")), (0, u64::from(id)), "{ran:?}");
    }
}

#[test]
fn an_agent_serves_commits_of_another_user_and_leaves_that_users_directory_alone() {
    let reader = Reader::of(3, "wal");
    let before = reader.source_files();
    reader.world.settings("[trigger]\nquiet = \"200ms\"\nmax_wait = \"2s\"\nresync = \"1h\"\n");
    let agent = Agent::start(&mut reader.command(&["run"]));
    agent.wait_for("the first build", || reader.records().len() == 3);
    assert_eq!(reader.source_files(), before);

    let writer = reader.writer();
    writer.execute(ONE_MORE, [4]).unwrap();
    agent.wait_for("the commit of an active writer", || reader.records().len() == 4);
    writer.execute(ONE_MORE, [5]).unwrap();
    reader.keep_out(false);
    writer.close().unwrap();
    agent.wait_for("the commit of a writer that closed", || reader.records().len() == 5);
    agent.stop();

    let names: Vec<_> = reader.source_files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["", "experts.db"], "the writer's files are removed");
}

#[test]
fn root_makes_no_file_next_to_another_users_database_though_it_could() {
    if !is_root() {
        eprintln!("NOT RUN: only root may write where it does not own; run the tests as root for this one");
        return;
    }
    let left_by_a_killed_writer = Reader::of(3, "wal");
    let writer = left_by_a_killed_writer.writer();
    writer.execute(ONE_MORE, [4]).unwrap();
    let killed = Reader::of(0, "delete");
    for name in ["experts.db", "experts.db-wal", "experts.db-shm"] {
        std::fs::copy(left_by_a_killed_writer.theirs().join(name), killed.theirs().join(name)).unwrap();
        chown(killed.theirs().join(name), Some(UNPRIVILEGED_UID), Some(UNPRIVILEGED_UID)).unwrap();
    }
    let idle = Reader::of(4, "wal");
    chown(idle.database(), Some(UNPRIVILEGED_UID), Some(UNPRIVILEGED_UID)).unwrap();

    for reader in [idle, killed] {
        // As root, SQLite gives a log to the owner of its database, who has it already: its ctime shows that.
        let content = || {
            let files = reader.source_files().into_iter();
            files.map(|(name, stamp)| (name, stamp.as_array().unwrap()[..4].to_vec())).collect::<Vec<_>>()
        };
        let before = content();

        let ran = support::run(reader.command(&["build", "--json"]).uid(0).gid(0));

        assert_eq!((ran.code, ran.number("records")), (0, 4), "{ran:?}");
        assert_eq!(content(), before);
    }
}

/// A database in a directory where the program may only read, and an output directory of its own.
pub struct Reader {
    pub world: World,
}

impl Reader {
    /// `people` tagged people, in a database in this journal mode that no process has open.
    pub fn of(people: u32, mode: &str) -> Self {
        let world = World::with_people(people);
        let reader = Self { world };
        set_permissions(reader.world.path(""), Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(reader.theirs()).unwrap();
        std::fs::rename(reader.world.database(), reader.database()).unwrap();
        Connection::open(reader.database()).unwrap().pragma_update(None, "journal_mode", mode).unwrap();
        set_permissions(reader.database(), Permissions::from_mode(0o644)).unwrap();
        std::fs::create_dir(reader.out()).unwrap();
        if is_root() {
            chown(reader.out(), Some(UNPRIVILEGED_UID), Some(UNPRIVILEGED_UID)).unwrap();
        }
        reader
    }

    /// The program as a user who may only read the database.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command
            .env("DATABASE_URL", format!("sqlite:///{}", self.database().display()))
            .env("FAISS_INDEX_PATH", self.out().join("faiss.index"))
            .env("METADATA_PATH", self.out().join("metadata.json"));
        if is_root() {
            command.uid(UNPRIVILEGED_UID).gid(UNPRIVILEGED_UID);
        }
        self.keep_out(true);
        command
    }

    pub fn theirs(&self) -> PathBuf {
        self.world.path("theirs")
    }

    pub fn database(&self) -> PathBuf {
        self.theirs().join("experts.db")
    }

    fn out(&self) -> PathBuf {
        self.world.path("out")
    }

    /// A connection of the database's owner.
    pub fn writer(&self) -> Connection {
        self.keep_out(false);
        Connection::open(self.database()).unwrap()
    }

    /// Where the program runs as the owner, the mode of the directory denies it write access.
    fn keep_out(&self, out: bool) {
        let mode = if out { 0o555 } else { 0o755 };
        if !is_root() && self.theirs().metadata().unwrap().mode() & 0o777 != mode {
            set_permissions(self.theirs(), Permissions::from_mode(mode)).unwrap();
        }
    }

    /// The served records; none before the first build.
    fn records(&self) -> Vec<Value> {
        let bytes = std::fs::read(self.out().join("metadata.json")).unwrap_or_else(|_| b"[]".to_vec());
        serde_json::from_slice(&bytes).unwrap()
    }

    /// The directory and everything in it, with every time stamp.
    fn source_files(&self) -> Vec<(String, Value)> {
        self.keep_out(true);
        let stamp = |path: &Path| {
            let meta = path.metadata().unwrap();
            json!([meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()])
        };
        let mut found = vec![(String::new(), stamp(&self.theirs()))];
        for entry in std::fs::read_dir(self.theirs()).unwrap() {
            let entry = entry.unwrap();
            found.push((entry.file_name().into_string().unwrap(), stamp(&entry.path())));
        }
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        found
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // A directory that cannot be written cannot be removed either.
        self.keep_out(false);
    }
}

/// A user who owns nothing.
const UNPRIVILEGED_UID: u32 = 65_534;

/// Adds one tagged person.
const ONE_MORE: &str = "INSERT INTO experts (id, username, bio, tags) VALUES (?1, 'one more', 'Bio of one more: ' || ?1, '[\"t\"]')";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
