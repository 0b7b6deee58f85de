//! When the database is read, copied and closed, and what a writer notices of each step.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::row_buffer::MAX_BUFFER_BYTES;
use super::*;
use crate::config::GuardSettings;
use crate::decide::guard::Refusal;
use crate::domain::record::Space;
use crate::domain::sibling_path::sibling_path;

/// A table of so many tagged people in a database with a rollback journal, and a writer that never waits.
fn tagged_rows(folder: &Path, count: u32) -> (PathBuf, Connection) {
    let path = folder.join("experts.db");
    let writer = Connection::open(&path).unwrap();
    writer.busy_timeout(Duration::ZERO).unwrap();
    writer.execute_batch(include_str!("../../../data/schema.sql")).unwrap();
    let tagged = "INSERT INTO experts (username, tags)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) SELECT i, '[]' FROM n";
    writer.execute(tagged, [count]).unwrap();
    (path, writer)
}

/// Makes the rows too large to buffer.
fn add_large_row(writer: &Connection) {
    let large = "INSERT INTO experts (username, tags, bio) VALUES ('large', '[]', zeroblob(?1))";
    writer.execute(large, [MAX_BUFFER_BYTES]).unwrap();
}

fn space() -> Space {
    Space { provider: "p".into(), model: "m".into(), dimension: 8, task_type: None, ..Space::default() }
}

/// As the guards are by default, with so many rows at most; 0 for the default.
fn limits(max_rows: u64) -> ScanLimits {
    let guard =
        GuardSettings { max_shrink: 0.3, max_texts: 0, quarantine: 0, max_rows, max_scan: Some(8 << 20) };
    ScanLimits::new(&guard, None)
}

fn open(path: &Path) -> Source {
    Source::open(path, Purpose::Pass, &Stop::new(), limits(0), &SourceSpec::Experts).unwrap()
}

fn delete(writer: &Connection, which: &str) -> rusqlite::Result<usize> {
    writer.execute(&format!("DELETE FROM experts WHERE {which}"), [])
}

fn count(rows: &Rows) -> Result<u64, SourceError> {
    rows.for_each(&mut |_| Ok(()))
}

/// A source that has been at rest for long enough.
fn open_quiescent(path: &Path) -> Source {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let source = open(path);
        if source.table.quiescent_identity().is_some() {
            return source;
        }
        assert!(Instant::now() < deadline, "some seconds after the last write it is at rest");
        drop(source);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_commit_waits_for_the_copy_of_the_rows_and_not_for_what_is_made_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let (path, writer) = tagged_rows(folder.path(), 1000);
    let source = open(&path);
    assert!(delete(&writer, "id = 1").is_err(), "the source holds a lock");

    let scanned = source.scan(&space()).unwrap();
    delete(&writer, "id > 7").unwrap();

    let scan = scanned.scan;
    let rows = scanned.into_rows(&space()).unwrap();
    assert_eq!((rows.scan(), scan.rows), (scan, 1000));
    assert_eq!(count(&rows).unwrap(), 1000, "as they were");
    rows.finish().unwrap();
}

#[test]
fn a_commit_meets_no_lock_of_a_scan_of_a_quiescent_file_and_the_scan_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, writer) = tagged_rows(folder.path(), 1000);
    let source = open_quiescent(&path);

    delete(&writer, "id > 7").unwrap();

    let scanned = source.scan(&space()).unwrap();
    let scan = scanned.scan;
    let rows = scanned.into_rows(&space()).unwrap();
    assert_eq!((rows.scan(), scan.rows), (scan, 7));
    assert_eq!(count(&rows).unwrap(), 7);
    rows.finish().unwrap();
}

#[test]
fn rows_of_a_quiescent_file_are_those_of_the_scan_or_of_a_newer_one() {
    for (changed, large) in [(false, false), (true, false), (false, true), (true, true)] {
        let folder = tempfile::tempdir().unwrap();
        let (path, writer) = tagged_rows(folder.path(), 1000);
        if large {
            writer.execute_batch("CREATE TABLE other (blob)").unwrap();
            writer.execute("INSERT INTO other VALUES (zeroblob(?1))", [MAX_BUFFER_BYTES]).unwrap();
        }
        let scanned = open_quiescent(&path).scan(&space()).unwrap();
        assert!(matches!(scanned.left, Left::Closed(_)), "nothing is kept of a scan at rest");
        let scan = scanned.scan;
        if changed {
            delete(&writer, "id > 7").unwrap();
        }

        let rows = scanned.into_rows(&space()).unwrap();

        assert_eq!((scan.rows, rows.scan() == scan), (1000, !changed), "large: {large}");
        let is_locked = matches!(rows.table, Table::Open(_)) && rows.table.quiescent_identity().is_none();
        assert_eq!(is_locked, large && !changed);
        assert_eq!(count(&rows).unwrap(), rows.scan().rows);
        rows.finish().unwrap();
    }
}

/// Goes on to a later step of a read.
type Advance = fn(Source) -> Box<dyn std::any::Any>;

#[test]
fn dropping_a_scan_or_its_rows_ends_the_transaction_and_lets_the_next_one_begin() {
    let folder = tempfile::tempdir().unwrap();
    let (path, writer) = tagged_rows(folder.path(), 10);
    add_large_row(&writer);
    let steps: [(&str, Advance); 3] = [
        ("source", |source| Box::new(source)),
        ("scanned", |source| Box::new(source.scan(&space()).unwrap())),
        ("rows", |source| Box::new(source.scan(&space()).unwrap().into_rows(&space()).unwrap())),
    ];
    for (nth, (step, advance)) in steps.into_iter().enumerate() {
        let held = advance(open(&path));
        assert!(delete(&writer, "id = 9").is_err(), "{step} holds a lock");

        drop(held);

        let next = format!("id = {}", nth + 1);
        assert_eq!(delete(&writer, &next).unwrap(), 1, "dropping {step} released the lock");
    }
    // It would wait without end if the scan lock were still held.
    assert_eq!(open(&path).scan(&space()).unwrap().scan.rows, 10 + 1 - 3);
}

#[test]
fn rows_too_large_to_buffer_can_be_read_twice_and_are_those_of_the_scan() {
    let folder = tempfile::tempdir().unwrap();
    let (path, writer) = tagged_rows(folder.path(), 10);
    add_large_row(&writer);

    let rows = open(&path).scan(&space()).unwrap().into_rows(&space()).unwrap();

    assert!(matches!(rows.table, Table::Open(_)));
    assert_eq!([count(&rows).unwrap(), count(&rows).unwrap()], [11, 11]);
    rows.finish().unwrap();
}

#[test]
fn an_idle_log_that_changes_while_it_is_read_has_changed_and_is_not_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (path, writer) = tagged_rows(folder.path(), 400);
    // More than SQLite keeps of the first reading.
    writer.execute_batch("UPDATE experts SET bio = hex(zeroblob(10000))").unwrap();
    writer.pragma_update(None, "journal_mode", "wal").unwrap();
    writer.close().unwrap();
    let source =
        Source::open(&path, Purpose::Preview, &Stop::new(), limits(0), &SourceSpec::Experts).unwrap();
    assert!(
        matches!(&source.table, Table::Open(read) if read.is_lock_free()),
        "it waited until it is at rest"
    );
    let mut rows = source.scan(&space()).unwrap().into_rows(&space()).unwrap();
    // As if the rows had been too many to copy.
    rows.table = rows.reader.begin(LockPolicy::IfNeeded).unwrap();
    let mut seen = 0;

    let read = rows.for_each(&mut |_| {
        seen += 1;
        if seen == 1 {
            let bytes = std::fs::metadata(&path).unwrap().len();
            let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.seek(SeekFrom::Start(8192)).unwrap();
            file.write_all(&vec![0xff; usize::try_from(bytes - 8192).unwrap()]).unwrap();
        }
        Ok::<_, SourceError>(())
    });

    assert!(matches!(read, Err(SourceError::Changed { .. })), "{read:?}");
}

#[test]
fn a_step_that_reads_many_rows_to_find_none_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("experts.db");
    let database = Connection::open(&path).unwrap();
    database.execute_batch(include_str!("../../../data/schema.sql")).unwrap();
    let untagged = "INSERT INTO experts (username)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n";
    database.execute(untagged, []).unwrap();
    drop(database);
    let rows = |is_stopped: bool| {
        let stop = Stop::new();
        if is_stopped {
            stop.request();
        }
        let source = Source::open(&path, Purpose::Pass, &stop, limits(0), &SourceSpec::Experts).unwrap();
        source.scan(&space()).map(|scanned| scanned.scan.rows)
    };

    assert_eq!(rows(false).unwrap(), 0);
    assert!(matches!(rows(true), Err(SourceError::Stopped)));
}

#[test]
fn what_stands_in_place_of_sqlites_own_files_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("experts.db");
    Connection::open(&path).unwrap().execute_batch(include_str!("../../../data/schema.sql")).unwrap();
    let result =
        || Source::open(&path, Purpose::Pass, &Stop::new(), limits(0), &SourceSpec::Experts).map(drop);
    for suffix in ["-wal", "-shm", "-journal"] {
        let other = sibling_path(&path, suffix);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &other, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(matches!(result(), Err(SourceError::NotAFile { .. })), "a fifo as {suffix}");
        std::fs::remove_file(&other).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &other).unwrap();
        assert!(matches!(result(), Err(SourceError::NotAFile { .. })), "a link as {suffix}");
        std::fs::remove_file(&other).unwrap();
    }
    result().unwrap();
}

#[test]
fn a_scan_that_takes_more_temporary_space_than_allowed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, writer) = tagged_rows(folder.path(), 1);
    let columns =
        "username, first_name, last_name, job_title, company, hex(zeroblob(500)) AS bio, hourly_rate,
        currency, profile_url, profile_url_utm, tags, findability_score, category";
    let endless = format!(
        "ALTER TABLE experts RENAME TO people;
         CREATE VIEW experts AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000)
         SELECT i AS id, {columns} FROM n, people"
    );
    writer.execute_batch(&endless).unwrap();
    drop(writer);

    let scanned = open(&path).scan(&space()).map(drop);

    let Err(SourceError::Refused(refusal)) = scanned else { panic!("{scanned:?}") };
    assert_eq!(refusal, Refusal::TooMuchScan { max_bytes: 8 << 20 });
}

#[test]
fn a_scan_of_more_rows_than_allowed_is_refused_just_past_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _writer) = tagged_rows(folder.path(), 5);
    let scan = |max_rows| {
        let source =
            Source::open(&path, Purpose::Pass, &Stop::new(), limits(max_rows), &SourceSpec::Experts).unwrap();
        source.scan(&space()).map(|scanned| scanned.scan.rows)
    };

    assert_eq!(scan(5).unwrap(), 5);
    let refused = scan(4);
    let Err(SourceError::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal, Refusal::TooManyRows { max_rows: 4 });
}
