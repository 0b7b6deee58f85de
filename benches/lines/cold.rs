//! Lines 1, 6 and 7 with nothing in memory: the first pass after a start of the machine.
//!
//! Before each run, ours and the baseline's, the pages of every file in the folder
//! are dropped: database, builds, cache, state. The caches of a disk or of the host
//! of a virtual machine remain, and the program itself stays warm.

use super::Bench;
use super::large::{check_of, million, one_of, proven_files, verify_of};
use crate::baselines;
use crate::fixture::{Fixture, root};
use crate::table::size;

/// How much of a file must come from the disk for it to count as dropped.
const COLD: f64 = 0.9;

/// The 100,000 rows, and the lines that only read the million, if that exists already.
pub fn cold(bench: &mut Bench) {
    let fixture = bench.fixture("hundred-thousand", 100_000).cold();
    fixture.settle();
    if !can_be_cold(&fixture) {
        eprintln!("NOT RUN: cached pages cannot be dropped here, or the kernel does not count what is read");
        return;
    }
    check_of(bench, &fixture, "cold 1", "cold, 100,000 rows");
    one_of(bench, &fixture, "cold 6", "cold, 100,000 × 768");
    verify_of(bench, &fixture, "cold 7", "verify of that build, cold");
    report_what_was_read(bench, &fixture);
    if root().join("million/data/current").exists() {
        let fixture = million(bench).cold();
        check_of(bench, &fixture, "cold 1", "cold, 1,000,000 rows");
    }
}

/// Whether files are read from the disk again after their pages were dropped.
fn can_be_cold(fixture: &Fixture) -> bool {
    let files = proven_files(fixture);
    let bytes: u64 = files.iter().map(|file| std::fs::metadata(file).unwrap().len()).sum();
    baselines::hashing(&files);
    read_by(fixture, || baselines::hashing(&files)) as f64 >= bytes as f64 * COLD
}

/// Reports what ours and the baseline read from the disk, since both start cold.
fn report_what_was_read(bench: &mut Bench, fixture: &Fixture) {
    let ours = read_by(fixture, || fixture.settle());
    let stepping = read_by(fixture, || baselines::stepping(&fixture.database()));
    let ratio = format!("{:.2}", ours as f64 / stepping as f64);
    let limit = format!("bare stepping: {}", size(stepping));
    bench.table.report("cold 1", "read from the disk by the check of 100,000 rows", size(ours), limit, ratio);
}

/// Bytes that were read from the disk while something ran here or in a child that has ended.
fn read_by<T>(fixture: &Fixture, what: impl FnOnce() -> T) -> u64 {
    fixture.make_ready();
    let before = read_so_far();
    std::hint::black_box(what());
    read_so_far() - before
}

/// The kernel's count for this process and the children it waited for; 0 if there is none.
fn read_so_far() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("read_bytes:"));
    line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}
