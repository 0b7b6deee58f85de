//! Lines 1, 6, 7 and 7a with one core less: whether a second thread costs without a core for it.
//!
//! Ours, the baselines and the server all run without that core. Then the same with
//! every core, since these tables are smaller than those of the lines themselves.

use super::Bench;
use super::large::{check_of, one_of, verify_of};
use super::small::first_build_of;
use crate::cpu_affinity::OneLess;

/// With one core less, and with all.
pub fn one_less(bench: &mut Bench) {
    let Some(cores) = OneLess::take() else {
        eprintln!("NOT RUN: there is only one core");
        return;
    };
    let (left, all) = (cores.left, cores.left + 1);
    measure(bench, &format!("{left} of {all} cores"));
    drop(cores);
    measure(bench, &format!("{all} of {all} cores"));
}

/// The 100,000 warm, and a first build of 20,000.
fn measure(bench: &mut Bench, on: &str) {
    let fixture = bench.fixture("hundred-thousand", 100_000);
    check_of(bench, &fixture, "core 1", &format!("{on}, 100,000 rows"));
    verify_of(bench, &fixture, "core 7", &format!("{on}, verify of that build, warm"));
    one_of(bench, &fixture, "core 6", &format!("{on}, 100,000 × 768"));
    let fixture = bench.fixture("twenty-thousand", 20_000);
    first_build_of(bench, &fixture, "core 7a", &format!("{on}, 20,000 rows"));
}
