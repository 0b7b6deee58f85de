//! Lines 1, 5, 6, 7 and 10: whether the cost stays proportional to the inputs.

use std::path::PathBuf;

use super::{Bench, Runs, checks};
use crate::baselines;
use crate::fixture::Fixture;
use crate::run::{Memory, run};
use crate::table::{Figures, size, time};

const MILLION: u32 = 1_000_000;

/// The table of a million rows, served.
pub fn million(bench: &Bench) -> Fixture {
    let fixture = bench.fixture("million", MILLION);
    if fixture.served().is_none() {
        eprintln!("making the index of the million: some minutes");
    }
    fixture.settle();
    fixture
}

/// Line 1: the no-change check of a million rows.
pub fn nothing_changed(bench: &mut Bench) {
    let fixture = million(bench);
    let peak = check_of(bench, &fixture, "1", "1,000,000 rows");
    bench.table.memory("1", "its peak memory", peak, 150_000_000);
}

/// Line 1 of any table; returns the highest peak of memory.
pub fn check_of(bench: &mut Bench, fixture: &Fixture, line: &'static str, rows: &str) -> u64 {
    let (ours, limit) = checks(fixture, bench.long_turns.max(5), Memory::Watched);
    let bytes = std::fs::metadata(fixture.database()).unwrap().len();
    let what = format!("no-change check, {rows} ({})", size(bytes));
    bench.table.ratio(line, &what, &ours.times, ("bare stepping", &limit), 1.5);
    ours.peak
}

/// Line 5: a first build of 100,000 rows.
pub fn first_build(bench: &mut Bench) {
    let fixture = bench.fixture("hundred-thousand", 100_000);
    let peak = super::small::first_build_of(bench, &fixture, "5", "100,000 × 768");
    bench.table.memory("5", "its peak memory", peak, 300_000_000);
}

/// One row changed, with the no-change check and a copy of the served files.
struct OneChanged {
    ours: Runs,
    scan: Figures,
    copy: Figures,
}

fn one_changed(bench: &mut Bench, fixture: &Fixture, turns: usize) -> OneChanged {
    let mut all = OneChanged { ours: Runs::default(), scan: Figures::default(), copy: Figures::default() };
    fixture.settle();
    for _ in 0..turns {
        fixture.make_ready();
        all.scan.push(fixture.build(Memory::Unwatched).took);
        rustix::fs::sync();
        fixture.make_ready();
        all.copy.push(baselines::copying(&fixture.served_files(), &fixture.scratch()));
        fixture.change(1, &mut bench.random);
        fixture.let_the_grace_pass();
        rustix::fs::sync();
        fixture.make_ready();
        let ran = fixture.build(Memory::Watched);
        assert_eq!((ran.text("outcome"), ran.number("/embedded")), ("promoted", 1), "{ran:?}");
        eprintln!(
            "  scan {} + copy {}, ours {}: {}",
            all.scan.last(),
            all.copy.last(),
            time(ran.took.as_secs_f64()),
            ran.json["phases_ms"]
        );
        all.ours.add(&ran);
    }
    all
}

/// Line 6: one row of a million changed.
pub fn one_of_a_million(bench: &mut Bench) {
    let fixture = million(bench);
    let peak = one_of(bench, &fixture, "6", "1,000,000 × 768");
    bench.table.memory("6", "its peak memory", peak, 300_000_000);
}

/// Line 6 of any table; returns the highest peak of memory.
pub fn one_of(bench: &mut Bench, fixture: &Fixture, line: &'static str, rows: &str) -> u64 {
    let all = one_changed(bench, fixture, bench.long_turns);
    let limit = ("the scan of 1 + cp and fsync", &all.scan.plus(&all.copy));
    bench.table.ratio(line, &format!("{rows}, one row changed"), &all.ours.times, limit, 2.0);
    all.ours.peak
}

/// Line 7: verify of that build.
pub fn verify(bench: &mut Bench) {
    let fixture = million(bench);
    verify_of(bench, &fixture, "7", "verify of that build, warm");
}

/// Line 7 of any table.
pub fn verify_of(bench: &mut Bench, fixture: &Fixture, line: &'static str, what: &str) {
    let files = proven_files(fixture);
    let (mut ours, mut limit) = (Figures::default(), Figures::default());
    baselines::hashing(&files);
    for _ in 0..bench.long_turns.max(5) {
        fixture.make_ready();
        limit.push(baselines::hashing(&files));
        fixture.make_ready();
        ours.push(run(&mut fixture.command(&["verify", "--json"]), Memory::Unwatched).took);
    }
    bench.table.ratio(line, what, &ours, ("reading and hashing its files once", &limit), 1.5);
}

/// The files that `verify` must read: index, metadata and hashes.
pub fn proven_files(fixture: &Fixture) -> Vec<PathBuf> {
    let mut files = fixture.served_files();
    files.push(files[0].with_file_name("hashes.bin"));
    files
}

/// Line 10: lines 1 and 6 at each decade.
pub fn growth(bench: &mut Bench) {
    for rows in [1_000, 10_000, 100_000, MILLION] {
        let fixture = match rows {
            100_000 => bench.fixture("hundred-thousand", rows),
            MILLION => million(bench),
            _ => bench.fixture(&format!("rows-{rows}"), rows),
        };
        let turns = if rows == MILLION { 1 } else { bench.turns };
        let (check, stepping) = checks(&fixture, turns, Memory::Watched);
        let changed = one_changed(bench, &fixture, turns);
        let limit = changed.scan.plus(&changed.copy);
        let a_row = |seconds: f64| time(seconds / f64::from(rows));
        let bytes = |peak: u64| format!("{} bytes a row", peak / u64::from(rows));
        bench.table.report(
            "10",
            &format!("{rows} rows: no-change check"),
            format!(
                "{}, {} a row, {}, {}",
                time(check.times.median()),
                a_row(check.times.median()),
                size(check.peak),
                bytes(check.peak)
            ),
            format!("bare stepping: {}", time(stepping.median())),
            check.times.over(&stepping).times(),
        );
        let ours = changed.ours.times;
        bench.table.report(
            "10",
            &format!("{rows} rows: one changed"),
            format!(
                "{}, {} a row, {}, {}",
                time(ours.median()),
                a_row(ours.median()),
                size(changed.ours.peak),
                bytes(changed.ours.peak)
            ),
            format!("check + cp and fsync: {}", time(limit.median())),
            ours.over(&limit).times(),
        );
    }
}
