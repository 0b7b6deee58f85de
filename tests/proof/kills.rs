//! kill -9 at every call: the old build or the new one is served whole, and the next start removes what
//! the killed process had not finished.

use std::collections::HashSet;
use std::time::Instant;

use crate::fault_injection::place;
use crate::fault_injection::{
    ADOPTION, CHUNKS, COLLECTION, FIRST_BUILD, Harness, Injected, JUDGED, Kind, RECONCILE, ROLLBACK,
    Scenario, Served, SyscallSite,
};
use crate::report::report_line;
use crate::sampling;

const KILLED: i32 = 137;
/// How many cases of each scenario the gate runs.
const THINNED: usize = 8;

#[test]
fn kill_at_any_call_of_a_pass_leaves_a_whole_build() {
    killed_at_every_call_of(&RECONCILE);
}

#[test]
fn kill_at_any_call_of_a_first_build_leaves_nothing_or_a_whole_build() {
    killed_at_every_call_of(&FIRST_BUILD);
}

#[test]
fn an_adoption_killed_at_any_call_leaves_no_name_missing() {
    killed_at_every_call_of(&ADOPTION);
}

#[test]
fn a_rollback_killed_at_any_call_serves_one_of_its_two_builds() {
    killed_at_every_call_of(&ROLLBACK);
}

#[test]
fn a_collection_killed_at_any_call_removes_nothing_that_is_served() {
    killed_at_every_call_of(&COLLECTION);
}

#[test]
fn a_source_of_settings_killed_at_any_call_keeps_every_row_and_its_chunks_whole() {
    killed_at_every_call_of(&CHUNKS);
}

#[test]
fn a_pass_that_asks_judged_queries_killed_at_any_call_keeps_a_whole_build() {
    killed_at_every_call_of(&JUDGED);
}

fn killed_at_every_call_of(scenario: &'static Scenario) {
    let Some(harness) = Harness::of(scenario) else { return };
    let begun = Instant::now();
    let listed = harness.sites.len();
    let cases = sampling::thinned(harness.sites.clone(), THINNED);
    let (mut old, mut new, mut exact, mut missed) = (0, 0, 0, Vec::new());
    let mut names = HashSet::new();
    for site in &cases {
        let Some(injected) = killed(&harness, site) else {
            missed.push(site.to_string());
            continue;
        };
        exact += usize::from(is_listed_call(&harness, site, &injected));
        names.insert(site.name.as_str());
        let at = format!("{}, killed at {site}", scenario.name);
        let served = harness.whole(&at);
        match served {
            Served::Old => old += 1,
            Served::New => new += 1,
        }
        harness.converges(&at, served);
    }
    let line = format!(
        "{}: killed at {} calls of {} names, {exact} of them exactly those listed, of {listed} listed ({} not reached); \
         the old build was served after {old}, the new one after {new}; {:.0} s",
        scenario.name,
        old + new,
        names.len(),
        missed.len(),
        begun.elapsed().as_secs_f64(),
    );
    report_line("kills", &line);
    assert!(missed.len() <= 1 + cases.len() / 20, "not reached: {missed:#?}");
    assert!(old > 0 && new > 0, "only one of the two was ever served, which proves little: {line}");
}

/// Kills a run at a call, or at one of the same name with a number that another thread may have reached.
fn killed(harness: &Harness, site: &SyscallSite) -> Option<Injected> {
    let numbers = match site.kind {
        Kind::Wire => vec![site.nth, site.nth, site.nth.saturating_sub(1).max(1), 1],
        Kind::Read | Kind::Change => vec![site.nth, site.nth],
    };
    numbers.into_iter().find_map(|nth| {
        let injected = harness.inject(&SyscallSite { nth, ..site.clone() }, "signal=KILL");
        assert!([0, KILLED].contains(&injected.code), "{site}: {}", injected.log);
        // The exit code shows that the run was killed; the trace shows that strace did it.
        (injected.code == KILLED && injected.traced.contains("killed by SIGKILL")).then_some(injected)
    })
}

/// Whether the call that never returned is the one that was listed.
fn is_listed_call(harness: &Harness, site: &SyscallSite, injected: &Injected) -> bool {
    let unreturned = injected.calls.iter().filter(|call| call.returned.is_none());
    let mut places = unreturned.filter_map(|call| place(call, &harness.world.path("")));
    places.any(|(place, _)| place == site.place)
}
