//! An error that lasts: every call on one file fails, from the nth on. Nothing is embedded or removed because
//! of it, nothing is called damaged, and the next attempt without it succeeds.

use std::time::Instant;

use crate::fault_injection::{
    ADOPTION, COLLECTION, FIRST_BUILD, Harness, Injected, RECONCILE, ROLLBACK, Scenario, Served,
};
use crate::report::report_line;
use crate::sampling;
use crate::strace::Call;

/// How many cases of each scenario the gate runs.
const THINNED: usize = 8;
/// Errors of a disk, a network or a permission: none of them says anything about the file.
const ERRORS: [&str; 4] = ["EIO", "EACCES", "ETIMEDOUT", "ESTALE"];
/// Calls that look at a file, each with its own count.
const CALLS: [&str; 2] = ["openat", "read,pread64"];
/// From which call on.
const FIRST: [usize; 3] = [1, 2, 3];

#[test]
fn a_reconcile_during_which_a_file_cannot_be_read_costs_and_removes_nothing() {
    met_at_every_file_of(&RECONCILE);
}

#[test]
fn a_first_build_during_which_a_file_cannot_be_read_serves_nothing_half() {
    met_at_every_file_of(&FIRST_BUILD);
}

#[test]
fn an_adoption_during_which_a_file_cannot_be_read_leaves_no_name_missing() {
    met_at_every_file_of(&ADOPTION);
}

#[test]
fn a_rollback_during_which_a_file_cannot_be_read_serves_one_of_its_two_builds() {
    met_at_every_file_of(&ROLLBACK);
}

#[test]
fn a_collection_during_which_a_file_cannot_be_read_removes_no_more_than_else() {
    met_at_every_file_of(&COLLECTION);
}

fn met_at_every_file_of(scenario: &'static Scenario) {
    let Some(harness) = Harness::of(scenario) else { return };
    let begun = Instant::now();
    let mut cases = Vec::new();
    for file in harness.files() {
        for calls in CALLS {
            for error in ERRORS {
                cases.extend(FIRST.map(|nth| (file.clone(), calls, error, nth)));
            }
        }
    }
    let listed = cases.len();
    let (mut failed, mut unharmed, mut missed, mut faults) = (0, 0, 0, Vec::new());
    for (file, calls, error, nth) in sampling::thinned(cases, THINNED * 4) {
        let at = format!("{}, {error} from {calls} number {nth} of {file} on", scenario.name);
        let injected = harness.inject_from(&file, calls, nth, error);
        if !injected.calls.iter().any(Call::was_injected) {
            missed += 1;
            continue;
        }
        match injected.code {
            0 => unharmed += 1,
            _ => failed += 1,
        }
        let sent = harness.world.provider.text_count();
        let removed = harness.removed();
        let served = harness.whole(&at);
        faults.extend(wrong_end(&harness, &injected, served).map(|fault| format!("{at}: {fault}")));
        if sent > harness.to_embed {
            faults.push(format!("{at}: {sent} texts were sent, expected at most {}", harness.to_embed));
        }
        if !removed.is_subset(&harness.collected) {
            faults.push(format!("{at}: removed {removed:?}, expected at most {:?}", harness.collected));
        }
        harness.converges(&at, served);
    }
    let line = format!(
        "{}: {} errors that lasted ({failed} ended the run, {unharmed} did no harm), of {listed} listed, {missed} not \
         reached; {:.0} s",
        scenario.name,
        failed + unharmed,
        begun.elapsed().as_secs_f64(),
    );
    report_line("errors", &line);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(failed > 0, "{line}");
}

/// What is wrong with the end of the run, if anything is.
fn wrong_end(harness: &Harness, injected: &Injected, served: Served) -> Option<String> {
    let log = &injected.log;
    let fault = if log.contains("panicked") {
        Some("a panic")
    } else if ["damaged", "--full"].iter().any(|word| log.contains(word)) {
        Some("what could not be read is called damaged")
    } else if ![0, 1].contains(&injected.code) {
        Some("neither exit 0 nor 1")
    } else if injected.code == 0 && served != Served::New {
        Some("success without the new build")
    } else if injected.code == 1 && !log.contains("data/") {
        Some("no path")
    } else {
        None
    };
    let left = harness.world.staging();
    let explained = ["its staging is kept for inspection", "cannot remove ", "takes disk space"];
    let is_left = !left.is_empty() && !explained.iter().any(|why| log.contains(why));
    let fault = fault.or_else(|| is_left.then_some("staging is left"));
    fault.map(|fault| format!("{fault}: exit {}, {served:?} is served: {log}", injected.code))
}
