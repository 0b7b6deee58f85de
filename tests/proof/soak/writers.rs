//! Writers that a host may have: every journal mode, and no regard for readers.
//!
//! One step at a time, because one of the steps replaces the database by another
//! file. Commits are not recorded, since a killed writer cannot report them; the
//! table itself is the reference.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use rustix::process::Pid;

use super::{Counts, host::SoakHost};
use crate::served::Content;
use crate::support::{SOON, open_files};

/// Environment variable with the database, set for the process that writes until it is killed.
const VICTIM: &str = "REINDEXD_SOAK_VICTIM";
/// The table keeps this number of people.
const PEOPLE: std::ops::Range<usize> = 12..48;

/// Makes the table with its first people.
pub(super) fn begin(host: &SoakHost) {
    let mut database = host.connect();
    database.execute_batch(include_str!("../../../data/schema.sql")).unwrap();
    let mut random = fastrand::Rng::with_seed(0);
    edits(&mut database, &mut random, 60);
}

/// One step of one writer. A full disk or a reader may make it fail; then it is not counted.
pub(super) fn step(host: &SoakHost, agent: Option<Pid>, random: &mut fastrand::Rng, counts: &Counts) {
    let mut database = host.connect();
    let done = |what: &'static str, done: rusqlite::Result<()>| {
        counts.add(if done.is_ok() { what } else { "failed steps of a writer" });
    };
    match random.u8(..40) {
        0..3 => {
            let mode = ["delete", "truncate", "persist", "wal", "wal"][random.usize(..5)];
            done("changes of the journal mode", database.pragma_update(None, "journal_mode", mode));
        }
        3 => done("VACUUMs", database.execute_batch("VACUUM")),
        4..6 => done("checkpoints", database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")),
        6 => {
            drop(database);
            replace(host, agent);
            counts.add("databases replaced by rename");
        }
        7..9 => {
            drop(database);
            kill_a_writer(host, random);
            counts.add("writers killed");
        }
        _ => {
            let max = random.usize(1..6);
            edits(&mut database, random, max);
            counts.add("commits");
        }
    }
}

/// The tagged rows of the table.
pub(super) fn tagged_rows(host: &SoakHost) -> Content {
    let database = host.connect();
    let mut rows =
        database.prepare("SELECT id, bio, hourly_rate FROM experts WHERE tags IS NOT NULL").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)));
    rows.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Up to `max` edits in one commit; every text is a new one.
fn edits(database: &mut Connection, random: &mut fastrand::Rng, max: usize) {
    let all = database.transaction().unwrap();
    for _ in 0..max {
        let tagged = "SELECT id FROM experts WHERE tags IS NOT NULL ORDER BY id";
        let ids: Vec<i64> = all
            .prepare(tagged)
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let bio = format!("Text {:016x}", random.u64(..) ^ u64::from(std::process::id()) << 48);
        let id = ids.get(random.usize(..ids.len().max(1))).copied().unwrap_or_default();
        match random.u8(..10) {
            8..10 if ids.len() > PEOPLE.start => {
                let how =
                    ["DELETE FROM experts WHERE id = ?1", "UPDATE experts SET tags = NULL WHERE id = ?1"];
                all.execute(how[random.usize(..2)], [id]).unwrap();
            }
            0..3 if ids.len() < PEOPLE.end => {
                all.execute(PERSON, params![bio]).unwrap();
            }
            3 => {
                all.execute(
                    "UPDATE experts SET hourly_rate = ?2 WHERE id = ?1",
                    params![id, f64::from(random.u16(..))],
                )
                .unwrap();
            }
            _ => {
                all.execute("UPDATE experts SET bio = ?2 WHERE id = ?1", params![id, bio]).unwrap();
            }
        }
    }
    all.commit().unwrap();
}

/// Replaces the database by a copy, as a restore does, and waits until no agent has the old one open.
fn replace(host: &SoakHost, agent: Option<Pid>) {
    let other = host.database().with_file_name("other.db");
    std::fs::remove_file(&other).ok();
    let database = host.connect();
    database.pragma_update(None, "journal_mode", "delete").ok();
    database.execute("VACUUM INTO ?1", [other.to_str().unwrap()]).unwrap();
    drop(database);
    std::fs::rename(&other, host.database()).unwrap();
    // Readers of the old file must end before there may be a new -wal.
    let begun = Instant::now();
    let reads_it = |file: &std::path::PathBuf| {
        file.to_string_lossy().contains("experts.db") && file.to_string_lossy().ends_with(" (deleted)")
    };
    while agent.is_some_and(|pid| open_files(pid).iter().any(reads_it)) && begun.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Lets another process write for a moment, and kills it at any point.
fn kill_a_writer(host: &SoakHost, random: &mut fastrand::Rng) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "soak::writers::a_writer_that_waits_to_be_killed"])
        .env(VICTIM, host.database())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(random.u64(20..150)));
    victim.kill().unwrap();
    victim.wait().unwrap();
}

/// Not a test but that other process, which runs this program again.
#[test]
fn a_writer_that_waits_to_be_killed() {
    let Some(path) = std::env::var_os(VICTIM) else { return };
    let mut random = fastrand::Rng::new();
    let mut database = Connection::open(path).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    // Pages that do not fit are written before the commit, so that a kill leaves a hot journal.
    database.execute_batch("PRAGMA cache_size = 2").unwrap();
    let begun = Instant::now();
    while begun.elapsed() < SOON {
        edits(&mut database, &mut random, 30);
    }
}

const PERSON: &str = "INSERT INTO experts (username, first_name, last_name, job_title, company, bio, hourly_rate, currency, tags)
     VALUES ('user', 'First', 'Last', 'Title', 'Company', ?1, 100.5, 'EUR', '[\"tag\", \"other\"]')";
