//! Lines 1, 6 and 7 with nothing in memory: what the first pass after a start of the machine feels.
//!
//! Before each run, ours and the peer's, the pages of every file in the folder
//! are dropped: database, builds, cache, state. What a disk or a host keeps in
//! memory of its own is out of reach, and the program itself stays warm.

use super::Bench;
use super::large::{check_of, million, one_of, proven_files, verify_of};
use crate::baselines;
use crate::fixture::{Fixture, root};
use crate::table::size;

/// How much of a file must come from the disk for it to count as dropped.
const COLD: f64 = 0.9;

/// The 100,000, and of the million what only reads, where it is there already.
pub fn cold(bench: &mut Bench) {
    let bed = bench.fixture("hundred-thousand", 100_000).cold();
    bed.settle();
    if !can_be_cold(&bed) {
        eprintln!("NOT RUN: cached pages stay where they are here, or nobody counts what is read");
        return;
    }
    check_of(bench, &bed, "cold 1", "cold, 100,000 rows");
    one_of(bench, &bed, "cold 6", "cold, 100,000 × 768");
    verify_of(bench, &bed, "cold 7", "verify of that build, cold");
    report_what_was_read(bench, &bed);
    if root().join("million/data/current").exists() {
        let bed = million(bench).cold();
        check_of(bench, &bed, "cold 1", "cold, 1,000,000 rows");
    }
}

/// Whether files are read from the disk again after their pages were dropped.
fn can_be_cold(bed: &Fixture) -> bool {
    let files = proven_files(bed);
    let bytes: u64 = files.iter().map(|file| std::fs::metadata(file).unwrap().len()).sum();
    baselines::hashing(&files);
    read_by(bed, || baselines::hashing(&files)) as f64 >= bytes as f64 * COLD
}

/// That ours and the peer both began cold: what each reads from the disk.
fn report_what_was_read(bench: &mut Bench, bed: &Fixture) {
    let ours = read_by(bed, || bed.settle());
    let stepping = read_by(bed, || baselines::stepping(&bed.database()));
    let ratio = format!("{:.2}", ours as f64 / stepping as f64);
    let limit = format!("bare stepping: {}", size(stepping));
    bench.table.report("cold 1", "read from the disk by the check of 100,000 rows", size(ours), limit, ratio);
}

/// Bytes that came from the disk while something ran here or in a child that has ended.
fn read_by<T>(bed: &Fixture, what: impl FnOnce() -> T) -> u64 {
    bed.make_ready();
    let before = read_so_far();
    std::hint::black_box(what());
    read_so_far() - before
}

/// The kernel's count for this process and the children it waited for; 0 where it keeps none.
fn read_so_far() -> u64 {
    let told = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("read_bytes:"));
    line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}
