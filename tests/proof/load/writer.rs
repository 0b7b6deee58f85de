//! A writer in a process of its own: it commits until it is told to stop, and tells how long each commit took.
//!
//! Each transaction writes the number of its round into the first row and the
//! last, which lie on pages far apart, and changes one row between them: whoever
//! reads two numbers has read two states.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::support::add_person;

/// What is in the bio of every row while a transaction is open that no commit follows.
pub const HALF_DONE: &str = "half done";

/// What a writer is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// The database.
    pub database: PathBuf,
    /// Its journal mode.
    pub mode: String,
    /// How long the writer waits for a lock, in milliseconds.
    pub busy_ms: u64,
    /// From one commit to the next, in microseconds.
    pub pause_us: u64,
    /// A row from 1 to here is changed by each commit; the next ones are added and removed.
    pub rows: u32,
    /// What it does after each [`WatchRequests::commits_between`] commits, in turn.
    pub acts: Vec<Act>,
    /// Commits between two acts.
    pub commits_between: u32,
    /// It ends when this file is there.
    pub stop: PathBuf,
    /// Where each of its lives is told, one a line.
    pub report: PathBuf,
}

/// Something rougher than a commit.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Act {
    /// All of the file is written anew.
    Vacuum,
    /// The log is emptied.
    Truncate,
    /// A transaction is left open, with pages of it in the file already, for longer
    /// than it takes a file to look as if nobody wrote it, and taken back.
    Linger,
    /// The connection is closed and opened again.
    Reopen,
    /// Another file takes the place of this one, by rename.
    Replace,
    /// It kills itself in mid-transaction, when pages of it are in the file already.
    Die,
}

/// What one life of a writer came to.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Life {
    /// When each commit began, by the system's monotonic clock, and how long it took, in microseconds.
    pub commits: Vec<(u64, u64)>,
    /// How often each act was done.
    pub acts: BTreeMap<String, u32>,
    /// How many transactions failed.
    pub failed: u64,
    /// The first few errors.
    pub errors: Vec<String>,
}

impl Life {
    /// Every life that a report tells of.
    pub fn all(report: &Path) -> Vec<Self> {
        let lives = std::fs::read_to_string(report).unwrap_or_default();
        lives.lines().map(|life| serde_json::from_str(life).unwrap()).collect()
    }

    fn failed(&mut self, at: &str, error: &rusqlite::Error) {
        self.failed += 1;
        if self.errors.len() < 5 {
            self.errors.push(format!("{at}: {error}"));
        }
    }

    fn append_to(&self, report: &Path) {
        let mut line = serde_json::to_vec(self).unwrap();
        line.push(b'\n');
        let file = std::fs::OpenOptions::new().create(true).append(true).open(report);
        file.unwrap().write_all(&line).unwrap();
    }
}

/// Microseconds on a clock that all processes share.
pub fn micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).unwrap()
}

/// Commits until the stop file is there, or until it kills itself.
pub fn write(orders: &Orders) {
    let mut random = fastrand::Rng::with_seed(u64::from(std::process::id()));
    let mut life = Life::default();
    let mut database = connect(orders);
    let mut round: u32 = round_of(&database);
    let mut acts = orders.acts.iter().cycle();
    while !orders.stop.exists() {
        for _ in 0..orders.commits_between {
            let began = (Instant::now(), micros());
            round += 1;
            match commit(&database, orders, round, &mut random) {
                Ok(()) => life.commits.push((began.1, u64::try_from(began.0.elapsed().as_micros()).unwrap())),
                Err(error) => {
                    life.failed("commit", &error);
                    // It may not have come as far as to have one open.
                    database.execute_batch("ROLLBACK").ok();
                }
            }
            std::thread::sleep(Duration::from_micros(orders.pause_us).saturating_sub(began.0.elapsed()));
            if orders.stop.exists() {
                break;
            }
        }
        let Some(&act) = acts.next() else { continue };
        *life.acts.entry(format!("{act:?}")).or_default() += 1;
        let done = match act {
            Act::Vacuum => database.execute_batch("VACUUM"),
            Act::Truncate => truncate(&database),
            Act::Linger => linger(&database),
            Act::Reopen => Ok(()),
            Act::Replace => prepare(&database, orders, round + 1),
            Act::Die => die(&database, orders, &life),
        };
        if let Err(error) = done {
            life.failed(&format!("{act:?}"), &error);
        }
        if matches!(act, Act::Reopen | Act::Replace) {
            database.close().map_err(|(_, error)| error).unwrap();
            if matches!(act, Act::Replace) {
                take_its_place(orders);
            }
            database = connect(orders);
        }
    }
    life.append_to(&orders.report);
}

fn connect(orders: &Orders) -> Connection {
    let database = Connection::open(&orders.database).unwrap();
    database.busy_timeout(Duration::from_millis(orders.busy_ms)).unwrap();
    // A log is a property of the file; the other modes are one of the connection.
    if orders.mode != "wal" {
        database.pragma_update(None, "journal_mode", &orders.mode).unwrap();
    }
    database
}

/// The round that the first row tells of.
pub fn round_of(database: &Connection) -> u32 {
    let round = "SELECT coalesce(max(CAST(category AS INTEGER)), 0) FROM experts WHERE id = 1";
    database.query_row(round, [], |row| row.get(0)).unwrap()
}

fn commit(
    database: &Connection,
    orders: &Orders,
    round: u32,
    random: &mut fastrand::Rng,
) -> rusqlite::Result<()> {
    let rows = orders.rows;
    let id = random.u32(2..rows);
    database.execute_batch("BEGIN IMMEDIATE")?;
    database.execute("UPDATE experts SET category = ?1 WHERE id IN (1, ?2)", (round.to_string(), rows))?;
    match random.u32(0..8) {
        0 => database.execute(
            "UPDATE experts SET bio = 'Bio of person ' || ?1 || ', round ' || ?2 WHERE id = ?1",
            (id, round),
        ),
        1 => database
            // One row in eight at most: a guard forbids that many go together.
            .execute(
                "UPDATE experts SET tags = iif(tags IS NULL, '[\"tag\"]', NULL) WHERE id = ?1",
                [id | 7],
            ),
        2 => database.execute("DELETE FROM experts WHERE id > ?1", [rows]),
        3 => {
            add_person(database, rows + 1 + round);
            Ok(1)
        }
        _ => database.execute("UPDATE experts SET hourly_rate = ?2 WHERE id = ?1", (id, round)),
    }?;
    database.execute_batch("COMMIT")
}

fn truncate(database: &Connection) -> rusqlite::Result<()> {
    let busy = database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))?;
    let kept_out = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    if busy == 0 { Ok(()) } else { Err(rusqlite::Error::SqliteFailure(kept_out, None)) }
}

fn sibling_path(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// Makes the file that is to take the place of this one, a round ahead of it.
fn prepare(database: &Connection, orders: &Orders, round: u32) -> rusqlite::Result<()> {
    let next = sibling_path(&orders.database, ".next");
    database.execute("VACUUM INTO ?1", [next.to_str().unwrap()])?;
    let copy = Connection::open(&next)?;
    copy.execute("UPDATE experts SET category = ?1 WHERE id IN (1, ?2)", (round.to_string(), orders.rows))?;
    copy.pragma_update(None, "journal_mode", if orders.mode == "wal" { "wal" } else { "delete" })?;
    std::fs::set_permissions(&next, std::fs::metadata(&orders.database).unwrap().permissions()).unwrap();
    copy.close().map_err(|(_, error)| error)
}

/// Renames it over the database, when nobody has that open any more: as SQLite wants it done.
fn take_its_place(orders: &Orders) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while orders.mode == "wal" && sibling_path(&orders.database, "-wal").exists() {
        assert!(Instant::now() < deadline, "somebody keeps the log for ever");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::fs::rename(sibling_path(&orders.database, ".next"), &orders.database).unwrap();
}

/// Writes half a transaction into the file, thinks about it, and takes it back.
fn linger(database: &Connection) -> rusqlite::Result<()> {
    half_done(database)?;
    std::thread::sleep(Duration::from_millis(1_600));
    database.execute_batch("ROLLBACK; PRAGMA cache_size = -2000")
}

/// Writes half a transaction into the file, and dies of it.
fn die(database: &Connection, orders: &Orders, life: &Life) -> rusqlite::Result<()> {
    half_done(database)?;
    life.append_to(&orders.report);
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    unreachable!("nobody survives SIGKILL")
}

fn half_done(database: &Connection) -> rusqlite::Result<()> {
    // Pages that do not fit the cache are written before the commit.
    database.execute_batch("PRAGMA cache_size = 5; BEGIN IMMEDIATE")?;
    database.execute("UPDATE experts SET bio = ?1", [HALF_DONE])?;
    Ok(())
}
