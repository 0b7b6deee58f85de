//! Writers as a host may have them: every journal mode, and no manners.
//!
//! One step at a time, so that a step may do what no two could do at once: put
//! another file in the place of the database. Nobody writes down what was
//! committed, since a killed writer cannot say; the table itself is the truth.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use rustix::process::Pid;

use super::{Counts, host::SoakHost};
use crate::served::Content;
use crate::support::{SOON, open_files};

/// Set for the process that writes until it is killed: the database.
const VICTIM: &str = "REINDEXD_SOAK_VICTIM";
/// Between so many people the table stays.
const PEOPLE: std::ops::Range<usize> = 12..48;

/// Makes the table with its first people.
pub(super) fn begin(site: &SoakHost) {
    let mut database = site.connect();
    database.execute_batch(include_str!("../../../data/schema.sql")).unwrap();
    let mut lot = fastrand::Rng::with_seed(0);
    edits(&mut database, &mut lot, 60);
}

/// One step of one writer. A disk that is full or a reader that looks may refuse it; then it is not counted.
pub(super) fn step(site: &SoakHost, agent: Option<Pid>, lot: &mut fastrand::Rng, counts: &Counts) {
    let mut database = site.connect();
    let done = |what: &'static str, done: rusqlite::Result<()>| {
        counts.add(if done.is_ok() { what } else { "steps refused to a writer" });
    };
    match lot.u8(..40) {
        0..3 => {
            let mode = ["delete", "truncate", "persist", "wal", "wal"][lot.usize(..5)];
            done("changes of the journal mode", database.pragma_update(None, "journal_mode", mode));
        }
        3 => done("VACUUMs", database.execute_batch("VACUUM")),
        4..6 => done("checkpoints", database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")),
        6 => {
            drop(database);
            replace(site, agent);
            counts.add("databases replaced by rename");
        }
        7..9 => {
            drop(database);
            kill_a_writer(site, lot);
            counts.add("writers killed");
        }
        _ => {
            let most = lot.usize(1..6);
            edits(&mut database, lot, most);
            counts.add("commits");
        }
    }
}

/// What the table holds, as far as it is tagged.
pub(super) fn truth(site: &SoakHost) -> Content {
    let database = site.connect();
    let mut rows =
        database.prepare("SELECT id, bio, hourly_rate FROM experts WHERE tags IS NOT NULL").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)));
    rows.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Up to `most` edits in one commit; every text is a new one.
fn edits(database: &mut Connection, lot: &mut fastrand::Rng, most: usize) {
    let all = database.transaction().unwrap();
    for _ in 0..most {
        let tagged = "SELECT id FROM experts WHERE tags IS NOT NULL ORDER BY id";
        let ids: Vec<i64> = all
            .prepare(tagged)
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let bio = format!("Text {:016x}", lot.u64(..) ^ u64::from(std::process::id()) << 48);
        let somebody = ids.get(lot.usize(..ids.len().max(1))).copied().unwrap_or_default();
        match lot.u8(..10) {
            8..10 if ids.len() > PEOPLE.start => {
                let how =
                    ["DELETE FROM experts WHERE id = ?1", "UPDATE experts SET tags = NULL WHERE id = ?1"];
                all.execute(how[lot.usize(..2)], [somebody]).unwrap();
            }
            0..3 if ids.len() < PEOPLE.end => {
                all.execute(PERSON, params![bio]).unwrap();
            }
            3 => {
                all.execute(
                    "UPDATE experts SET hourly_rate = ?2 WHERE id = ?1",
                    params![somebody, f64::from(lot.u16(..))],
                )
                .unwrap();
            }
            _ => {
                all.execute("UPDATE experts SET bio = ?2 WHERE id = ?1", params![somebody, bio]).unwrap();
            }
        }
    }
    all.commit().unwrap();
}

/// Puts a copy in the place of the database, as a restore does: once nobody has the old one open.
fn replace(site: &SoakHost, agent: Option<Pid>) {
    let other = site.database().with_file_name("other.db");
    std::fs::remove_file(&other).ok();
    let database = site.connect();
    database.pragma_update(None, "journal_mode", "delete").ok();
    database.execute("VACUUM INTO ?1", [other.to_str().unwrap()]).unwrap();
    drop(database);
    std::fs::rename(&other, site.database()).unwrap();
    // What still reads the old file must be done before a new -wal may come to be.
    let begun = Instant::now();
    let reads_it = |file: &std::path::PathBuf| {
        file.to_string_lossy().contains("experts.db") && file.to_string_lossy().ends_with(" (deleted)")
    };
    while agent.is_some_and(|pid| open_files(pid).iter().any(reads_it)) && begun.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Lets another process write for a moment, and kills it wherever it is.
fn kill_a_writer(site: &SoakHost, lot: &mut fastrand::Rng) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "soak::writers::a_writer_that_waits_to_be_killed"])
        .env(VICTIM, site.database())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(lot.u64(20..150)));
    victim.kill().unwrap();
    victim.wait().unwrap();
}

/// Not a test but that other process, which is this program once more.
#[test]
fn a_writer_that_waits_to_be_killed() {
    let Some(path) = std::env::var_os(VICTIM) else { return };
    let mut lot = fastrand::Rng::new();
    let mut database = Connection::open(path).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    // Pages that do not fit are written before the commit, so that a kill leaves a hot journal.
    database.execute_batch("PRAGMA cache_size = 2").unwrap();
    let begun = Instant::now();
    while begun.elapsed() < SOON {
        edits(&mut database, &mut lot, 30);
    }
}

const PERSON: &str = "INSERT INTO experts (username, first_name, last_name, job_title, company, bio, hourly_rate, currency, tags)
     VALUES ('user', 'First', 'Last', 'Title', 'Company', ?1, 100.5, 'EUR', '[\"tag\", \"other\"]')";
