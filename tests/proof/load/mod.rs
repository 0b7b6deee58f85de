//! A database under load: writers and an agent that work without a pause, in every journal mode.
//!
//! The writers are processes of their own. No transaction may fail or be delayed
//! by a scan, the log may not grow because of one, no file may be left next to the
//! database, no build may show half a transaction, and in the end the served build
//! equals the table.

mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::{MODEL, World};
use crate::{report, sampling, subprocess};
use subprocess::{ChildTest, KILLED};
use writer::Act::{Die, Linger, Reopen, Replace, Truncate, Vacuum};
use writer::{Act, HALF_DONE, WriterPlan, WriterRun, micros};

const CHAPTER: &str = "load";
/// Settings of an agent that scans as often as it can; signals request scans all the time as well.
const SCAN_CONTINUOUSLY: &str =
    "quiet = \"100ms\"\nmax_wait = \"200ms\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\n";
/// How long the writers' client waits for a lock: Python's default.
const PYTHON_MS: u64 = 5_000;

/// One database whose writer is measured.
struct Case {
    mode: &'static str,
    rows: u32,
    /// Whether a commit waits for a disk.
    on_disk: bool,
    busy_ms: u64,
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn a_writer_at_work_meets_no_error_and_waits_no_longer_because_of_the_agent() {
    if let Some(plan) = subprocess::part() {
        return writer::write(&plan);
    }
    let case = |mode, busy_ms| Case { mode, rows: sampling::pick(300, 1_500), on_disk: false, busy_ms };
    let mut cases = vec![case("wal", 0), case("delete", PYTHON_MS)];
    if sampling::is_full() {
        cases.extend(["truncate", "persist", "memory", "off"].map(|mode| case(mode, PYTHON_MS)));
        cases.extend([("wal", 0), ("delete", PYTHON_MS)].map(|(mode, busy_ms)| Case {
            mode,
            rows: 1_500,
            on_disk: true,
            busy_ms,
        }));
    }
    for case in cases {
        measure(&case, sampling::pick(Duration::from_millis(700), Duration::from_secs(3)));
    }
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn a_writer_of_a_large_table_waits_no_longer_than_a_scan_lasts() {
    if let Some(plan) = subprocess::part() {
        return writer::write(&plan);
    }
    if !sampling::is_full() {
        return;
    }
    for (mode, busy_ms) in [("wal", 0), ("delete", PYTHON_MS)] {
        measure(&Case { mode, rows: 50_000, on_disk: false, busy_ms }, Duration::from_secs(7));
    }
}

/// What was measured while the agent ran, or while it did not.
#[derive(Default)]
struct Seen {
    spans: Vec<(u64, u64)>,
    /// The maximal length of the log, in bytes.
    wal: u64,
    passes: usize,
    builds: usize,
}

/// Measures a writer's commits without the agent, with it, without it, with it.
fn measure(case: &Case, span: Duration) {
    let world = world(case.mode, case.rows, case.on_disk);
    world.build();
    let plan = WriterPlan {
        busy_ms: case.busy_ms,
        acts: Vec::new(),
        commits_between: u32::MAX,
        ..plan(&world, case.mode, case.rows)
    };
    let writer = ChildTest::start(&plan);
    let mut seen = [Seen::default(), Seen::default()];
    for with_agent in [false, true, false, true] {
        let agent = with_agent.then(|| world.agent_with(SCAN_CONTINUOUSLY));
        watch(&world, &mut seen[usize::from(with_agent)], agent, span);
    }
    std::fs::write(&plan.stop, "").unwrap();
    writer.ended();

    let [run] = WriterRun::all(&plan.report).try_into().unwrap();
    let [without, with] = seen.each_ref().map(|seen| Figures::of(&run, seen));
    let place = if case.on_disk { ", on a disk" } else { "" };
    let name = format!("{}, {} rows{place}, busy_timeout {} ms", case.mode, case.rows, case.busy_ms);
    report::report_line(CHAPTER, &format!("{name}: {}", Figures::compared(&without, &with, &seen)));
    assert_eq!((run.failed, &run.errors), (0, &Vec::new()), "{name}");
    let passes = seen[1].passes;
    assert!(passes >= 2 && seen[1].builds >= 1, "{name}: {passes} scans prove nothing");
    assert!(without.rate >= 20.0, "{name}: too few commits prove nothing");
    // Both share two cores with whatever else runs; a lock would show in every commit.
    assert!(with.median <= 2 * without.median + 500, "{name}: half of the commits wait longer");
    assert!(4.0 * with.rate >= without.rate, "{name}: less than a quarter of the commits is done");
    assert!(seen[1].wal <= 2 * seen[0].wal + (8 << 20), "{name}: the log grew");
    assert_serves_the_table(&world);
    assert_as_it_was(&world);
}

/// Waits for `span`; if there is an agent, signals request scans all the time.
fn watch(world: &World, seen: &mut Seen, agent: Option<Agent>, span: Duration) {
    let until = Instant::now() + span;
    let from = micros();
    while Instant::now() < until {
        seen.wal =
            seen.wal.max(std::fs::metadata(world.path("data/experts.db-wal")).map_or(0, |log| log.len()));
        if let Some(agent) = &agent {
            agent.signal(Signal::USR1);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    seen.spans.push((from, micros()));
    if let Some(agent) = agent {
        seen.passes += agent.passes();
        seen.builds += agent.promotions();
        assert_eq!(agent.logged("outcome=failed"), 0, "{}", agent.log());
        agent.stop();
    }
}

/// Figures of commits, times in microseconds.
struct Figures {
    /// Commits per second.
    rate: f64,
    median: u64,
    p99: u64,
    max: u64,
}

#[allow(clippy::cast_precision_loss, reason = "figures of a report")]
impl Figures {
    fn of(run: &WriterRun, seen: &Seen) -> Self {
        let within = |at: u64| seen.spans.iter().any(|&(from, to)| (from..to).contains(&at));
        let mut took: Vec<u64> =
            run.commits.iter().filter(|(at, _)| within(*at)).map(|&(_, took)| took).collect();
        took.sort_unstable();
        let at = |percent| took.get(took.len() * percent / 100).copied().unwrap_or_default();
        let passed: u64 = seen.spans.iter().map(|(from, to)| to - from).sum();
        Self {
            rate: took.len() as f64 * 1e6 / passed as f64,
            median: at(50),
            p99: at(99),
            max: took.last().copied().unwrap_or_default(),
        }
    }

    /// Without the agent, with it.
    fn compared(a: &Self, b: &Self, seen: &[Seen; 2]) -> String {
        let ms = |a: u64, b: u64| {
            format!("{:.2} -> {:.2} ms ({:.2})", a as f64 / 1e3, b as f64 / 1e3, b as f64 / a as f64)
        };
        format!(
            "{:.0} -> {:.0} commits/s ({:.2}), median {}, p99 {}, longest {}, log at most {} -> {} KiB; {} scans, {} builds at the same time",
            a.rate,
            b.rate,
            b.rate / a.rate,
            ms(a.median, b.median),
            ms(a.p99, b.p99),
            ms(a.max, b.max),
            seen[0].wal >> 10,
            seen[1].wal >> 10,
            seen[1].passes,
            seen[1].builds,
        )
    }
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn a_writer_that_waits_for_no_lock_meets_none_when_the_file_was_at_rest() {
    if let Some(plan) = subprocess::part() {
        return writer::write(&plan);
    }
    for mode in &["delete", "persist"][..sampling::pick(1, 2)] {
        let rows = 20_000;
        let world = world(mode, rows, false);
        world.build();
        // More time between two commits than the three seconds after which a file is at rest, and an earlier
        // scan to end.
        let plan = WriterPlan { busy_ms: 0, pause_us: 4_500_000, ..plan(&world, mode, rows) };
        let writer = ChildTest::start(&plan);
        let mut seen = Seen::default();
        let agent = Some(world.agent_with(SCAN_CONTINUOUSLY));
        watch(&world, &mut seen, agent, sampling::pick(Duration::from_secs(12), Duration::from_secs(40)));
        std::fs::write(&plan.stop, "").unwrap();
        writer.ended();

        let [run] = WriterRun::all(&plan.report).try_into().unwrap();
        let (commits, passes) = (run.commits.len(), seen.passes);
        let line =
            format!("{mode}, {rows} rows at rest, busy_timeout 0 ms: {commits} commits, {passes} scans");
        report::report_line(CHAPTER, &line);
        assert_eq!((run.failed, &run.errors), (0, &Vec::new()), "{mode}");
        assert!(commits >= 2 && passes >= 5 * commits, "{line} prove nothing");
        assert_serves_the_table(&world);
        assert_as_it_was(&world);
    }
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn every_commit_is_served_though_writers_vacuum_checkpoint_replace_and_die() {
    if let Some(plan) = subprocess::part() {
        return writer::write(&plan);
    }
    // A writer without a journal on the disk that is killed during a transaction has damaged its
    // database itself, and one without any journal cannot roll back.
    let modes: [(&str, &[Act]); 6] = [
        ("wal", &[Truncate, Die, Vacuum, Truncate, Reopen, Linger, Replace]),
        ("delete", &[Vacuum, Die, Reopen, Linger, Replace]),
        ("truncate", &[Vacuum, Die, Reopen, Linger, Replace]),
        ("persist", &[Vacuum, Die, Reopen, Linger, Replace]),
        ("memory", &[Vacuum, Reopen, Linger, Replace]),
        ("off", &[Vacuum, Reopen, Replace]),
    ];
    for (mode, acts) in &modes[..sampling::pick(2, 6)] {
        follow(mode, acts, sampling::pick(Duration::from_millis(4_500), Duration::from_secs(14)));
    }
}

fn follow(mode: &str, acts: &[Act], span: Duration) {
    let rows = 300;
    let world = world(mode, rows, false);
    let mut plan = WriterPlan { acts: acts.to_vec(), commits_between: 40, ..plan(&world, mode, rows) };
    let agent = world.agent_with(SCAN_CONTINUOUSLY);
    agent.wait_for_promotions(1);
    let mut writer = ChildTest::start(&plan);
    let (mut deaths, mut builds) = (0, BTreeSet::new());
    let until = Instant::now() + span;
    while Instant::now() < until {
        agent.signal(Signal::USR1);
        if builds.insert(world.served()) {
            assert_one_state(&world, rows);
        }
        if writer.is_over() {
            assert_eq!(writer.ended(), KILLED, "a writer ends only because it kills itself");
            deaths += 1;
            // The next process continues after the act that killed this one.
            let died = plan.acts.iter().position(|act| matches!(act, Die)).unwrap();
            plan.acts.rotate_left(died + 1);
            writer = ChildTest::start(&plan);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::write(&plan.stop, "").unwrap();
    deaths += u32::from(writer.ended() == KILLED);
    let passes = agent.passes();
    agent.stop();

    let runs = WriterRun::all(&plan.report);
    let mut done: BTreeMap<&str, u32> = BTreeMap::new();
    for (act, times) in runs.iter().flat_map(|run| &run.acts) {
        *done.entry(act.as_str()).or_default() += times;
    }
    let commits: usize = runs.iter().map(|run| run.commits.len()).sum();
    report::report_line(
        CHAPTER,
        &format!(
            "{mode}, all acts: {commits} commits, {done:?}; {passes} scans, {} builds seen",
            builds.len()
        ),
    );
    let errors: Vec<&String> = runs.iter().flat_map(|run| &run.errors).collect();
    assert_eq!(errors, Vec::<&String>::new(), "{mode}");
    let did: BTreeSet<String> = done.keys().map(|&act| act.to_owned()).collect();
    assert_eq!(did, acts.iter().map(|act| format!("{act:?}")).collect(), "{mode}: each act was done");
    let died = done.get("Die").copied().unwrap_or_default();
    assert_eq!(died, deaths, "{mode}: only planned acts killed a writer");
    assert!(builds.len() >= 3, "{mode}: {} builds prove nothing", builds.len());
    assert_serves_the_table(&world);
    assert_as_it_was(&world);
}

/// People in a database of this mode, whose file other users may not read.
fn world(mode: &str, rows: u32, on_disk: bool) -> World {
    let world = if on_disk { World::new() } else { World::in_memory() };
    world.add_people(1..=rows);
    world.sql(&format!("PRAGMA journal_mode = {}", if mode == "wal" { "wal" } else { "delete" }));
    std::fs::set_permissions(world.database(), std::fs::Permissions::from_mode(0o640)).unwrap();
    world
}

fn plan(world: &World, mode: &str, rows: u32) -> WriterPlan {
    WriterPlan {
        database: world.database(),
        mode: mode.to_owned(),
        busy_ms: PYTHON_MS,
        pause_us: 1_500,
        rows,
        acts: Vec::new(),
        commits_between: 50,
        stop: world.path("stop writing"),
        report: world.path("report"),
    }
}

/// The served build is one committed state of the table, never part of a transaction.
#[track_caller]
fn assert_one_state(world: &World, rows: u32) {
    let build = std::fs::canonicalize(world.path("data/current")).unwrap();
    let records: Vec<Value> =
        serde_json::from_slice(&std::fs::read(build.join("metadata.json")).unwrap()).unwrap();
    let round = |id: u32| records.iter().find(|record| record["id"] == id).map(|record| &record["category"]);
    assert_eq!(round(1), round(rows), "{} shows two states of the table", build.display());
    assert!(
        records.iter().all(|record| record["Bio"] != HALF_DONE),
        "{} was never committed",
        build.display()
    );
}

/// After the writers have ended, the agent serves exactly the content of the table.
#[track_caller]
fn assert_serves_the_table(world: &World) {
    let agent = world.agent();
    let table = table(world);
    let served = || -> Option<Vec<Value>> {
        let records: Vec<Value> =
            serde_json::from_slice(&std::fs::read(world.path("data/metadata.json")).ok()?).ok()?;
        let keys = ["id", "Bio", "Hourly Rate", "tags", "category"];
        Some(records.iter().map(|record| keys.iter().map(|key| record[key].clone()).collect()).collect())
    };
    agent.wait_for("the table is served", || served().is_some_and(|served| served == table));
    agent.stop();
    world.assert_true(MODEL);
    world.assert_proven();
    let planned = world.run(&["plan", "--check"]);
    assert_eq!(planned.code, 0, "{planned:?}");
}

/// Id, bio, rate, tags and round of every tagged row, as the metadata should have them.
fn table(world: &World) -> Vec<Value> {
    let database = world.connect();
    let rows = "SELECT id, bio, hourly_rate, tags, category FROM experts WHERE tags IS NOT NULL ORDER BY id";
    let mut rows = database.prepare(rows).unwrap();
    let rows = rows.query_map([], |row| {
        let tags: Value = serde_json::from_str(&row.get::<_, String>(3)?).unwrap();
        Ok(json!([
            row.get::<_, i64>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, f64>(2)?,
            tags,
            row.get::<_, Option<String>>(4)?
        ]))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// No file of ours is next to the database, and its owner and mode are unchanged.
#[track_caller]
fn assert_as_it_was(world: &World) {
    let ours = ["builds", "current", "faiss.index", "metadata.json", "served.json", ".reindexd"];
    let entries = std::fs::read_dir(world.path("data")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names
        .filter(|name| !ours.contains(&name.as_str()))
        // A writer in mode `persist` keeps its journal.
        .filter(|name| !["experts.db", "experts.db-journal"].contains(&name.as_str()))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "next to the database");
    let meta = std::fs::metadata(world.database()).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.uid()), (0o640, rustix::process::geteuid().as_raw()));
}
