//! A writer in a process of its own: it commits until it is stopped, and reports how long each commit took.
//!
//! Each transaction writes the number of its round into the first row and the
//! last, which are on distant pages, and changes one row between them: a reader
//! that finds two numbers has read two states.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::support::add_person;

/// The bio of every row during a transaction that is never committed.
pub const HALF_DONE: &str = "half done";

/// What a writer does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WriterPlan {
    /// The database.
    pub database: PathBuf,
    /// Its journal mode.
    pub mode: String,
    /// How long the writer waits for a lock, in milliseconds.
    pub busy_ms: u64,
    /// The time from one commit to the next, in microseconds.
    pub pause_us: u64,
    /// Each commit changes a row from 1 to this id; higher ids are added and removed.
    pub rows: u32,
    /// What it does after each [`WriterPlan::commits_between`] commits, in turn.
    pub acts: Vec<Act>,
    /// Commits between two acts.
    pub commits_between: u32,
    /// It ends when this file exists.
    pub stop: PathBuf,
    /// The file with a line for each of its processes.
    pub report: PathBuf,
}

/// An act that disturbs readers more than a commit.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Act {
    /// The whole file is rewritten.
    Vacuum,
    /// The log is emptied.
    Truncate,
    /// A transaction with pages in the file already stays open for longer than a
    /// file needs to settle, and is rolled back.
    Linger,
    /// The connection is closed and opened again.
    Reopen,
    /// The file is replaced by another one, by rename.
    Replace,
    /// It kills itself during a transaction with pages in the file already.
    Die,
}

/// The report of one process of a writer.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct WriterRun {
    /// When each commit started, by the monotonic clock, and how long it took, in microseconds.
    pub commits: Vec<(u64, u64)>,
    /// How often each act was done.
    pub acts: BTreeMap<String, u32>,
    /// How many transactions failed.
    pub failed: u64,
    /// The first few errors.
    pub errors: Vec<String>,
}

impl WriterRun {
    /// All lines of a report.
    pub fn all(report: &Path) -> Vec<Self> {
        let runs = std::fs::read_to_string(report).unwrap_or_default();
        runs.lines().map(|run| serde_json::from_str(run).unwrap()).collect()
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

/// Commits until the stop file exists, or until it kills itself.
pub fn write(plan: &WriterPlan) {
    let mut random = fastrand::Rng::with_seed(u64::from(std::process::id()));
    let mut run = WriterRun::default();
    let mut database = connect(plan);
    let mut round: u32 = round_of(&database);
    let mut acts = plan.acts.iter().cycle();
    while !plan.stop.exists() {
        for _ in 0..plan.commits_between {
            let began = (Instant::now(), micros());
            round += 1;
            match commit(&database, plan, round, &mut random) {
                Ok(()) => run.commits.push((began.1, u64::try_from(began.0.elapsed().as_micros()).unwrap())),
                Err(error) => {
                    run.failed("commit", &error);
                    // There may be no open transaction.
                    database.execute_batch("ROLLBACK").ok();
                }
            }
            std::thread::sleep(Duration::from_micros(plan.pause_us).saturating_sub(began.0.elapsed()));
            if plan.stop.exists() {
                break;
            }
        }
        let Some(&act) = acts.next() else { continue };
        *run.acts.entry(format!("{act:?}")).or_default() += 1;
        let done = match act {
            Act::Vacuum => database.execute_batch("VACUUM"),
            Act::Truncate => truncate(&database),
            Act::Linger => linger(&database),
            Act::Reopen => Ok(()),
            Act::Replace => prepare(&database, plan, round + 1),
            Act::Die => die(&database, plan, &run),
        };
        if let Err(error) = done {
            run.failed(&format!("{act:?}"), &error);
        }
        if matches!(act, Act::Reopen | Act::Replace) {
            database.close().map_err(|(_, error)| error).unwrap();
            if matches!(act, Act::Replace) {
                take_its_place(plan);
            }
            database = connect(plan);
        }
    }
    run.append_to(&plan.report);
}

fn connect(plan: &WriterPlan) -> Connection {
    let database = Connection::open(&plan.database).unwrap();
    database.busy_timeout(Duration::from_millis(plan.busy_ms)).unwrap();
    // Mode `wal` is a property of the file, the other modes are properties of the connection.
    if plan.mode != "wal" {
        database.pragma_update(None, "journal_mode", &plan.mode).unwrap();
    }
    database
}

/// The number of the round in the first row.
pub fn round_of(database: &Connection) -> u32 {
    let round = "SELECT coalesce(max(CAST(category AS INTEGER)), 0) FROM experts WHERE id = 1";
    database.query_row(round, [], |row| row.get(0)).unwrap()
}

fn commit(
    database: &Connection,
    plan: &WriterPlan,
    round: u32,
    random: &mut fastrand::Rng,
) -> rusqlite::Result<()> {
    let rows = plan.rows;
    let id = random.u32(2..rows);
    database.execute_batch("BEGIN IMMEDIATE")?;
    database.execute("UPDATE experts SET category = ?1 WHERE id IN (1, ?2)", (round.to_string(), rows))?;
    match random.u32(0..8) {
        0 => database.execute(
            "UPDATE experts SET bio = 'Bio of person ' || ?1 || ', round ' || ?2 WHERE id = ?1",
            (id, round),
        ),
        1 => database
            // At most one row in eight: a guard refuses a larger shrink.
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
    let locked = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    if busy == 0 { Ok(()) } else { Err(rusqlite::Error::SqliteFailure(locked, None)) }
}

fn sibling_path(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// Makes the file that will replace this one, one round ahead of it.
fn prepare(database: &Connection, plan: &WriterPlan, round: u32) -> rusqlite::Result<()> {
    let next = sibling_path(&plan.database, ".next");
    database.execute("VACUUM INTO ?1", [next.to_str().unwrap()])?;
    let copy = Connection::open(&next)?;
    copy.execute("UPDATE experts SET category = ?1 WHERE id IN (1, ?2)", (round.to_string(), plan.rows))?;
    copy.pragma_update(None, "journal_mode", if plan.mode == "wal" { "wal" } else { "delete" })?;
    std::fs::set_permissions(&next, std::fs::metadata(&plan.database).unwrap().permissions()).unwrap();
    copy.close().map_err(|(_, error)| error)
}

/// Renames it over the database when no connection is open any more, as SQLite requires.
fn take_its_place(plan: &WriterPlan) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while plan.mode == "wal" && sibling_path(&plan.database, "-wal").exists() {
        assert!(Instant::now() < deadline, "the log is never removed");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::fs::rename(sibling_path(&plan.database, ".next"), &plan.database).unwrap();
}

/// Writes half a transaction into the file, waits, and rolls it back.
fn linger(database: &Connection) -> rusqlite::Result<()> {
    half_done(database)?;
    std::thread::sleep(Duration::from_millis(1_600));
    database.execute_batch("ROLLBACK; PRAGMA cache_size = -2000")
}

/// Writes half a transaction into the file, and kills its process.
fn die(database: &Connection, plan: &WriterPlan, run: &WriterRun) -> rusqlite::Result<()> {
    half_done(database)?;
    run.append_to(&plan.report);
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    unreachable!("SIGKILL ends the process")
}

fn half_done(database: &Connection) -> rusqlite::Result<()> {
    // Pages that do not fit the cache are written before the commit.
    database.execute_batch("PRAGMA cache_size = 5; BEGIN IMMEDIATE")?;
    database.execute("UPDATE experts SET bio = ?1", [HALF_DONE])?;
    Ok(())
}
