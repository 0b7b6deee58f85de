//! kill -9 at every call: the old build or the new one is served whole, and the next start clears up.

use std::collections::HashSet;
use std::time::Instant;

use crate::fault_injection::place;
use crate::fault_injection::{
    ADOPTION, COLLECTION, FIRST_BUILD, Harness, Injected, Kind, RECONCILE, ROLLBACK, Scenario, Served,
    SyscallSite,
};
use crate::report::report_line;
use crate::sampling;

const KILLED: i32 = 137;
/// Cases of each scenario in the gate.
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

fn killed_at_every_call_of(scenario: &'static Scenario) {
    let Some(field) = Harness::of(scenario) else { return };
    let begun = Instant::now();
    let listed = field.sites.len();
    let cases = sampling::thinned(field.sites.clone(), THINNED);
    let (mut old, mut new, mut there, mut missed) = (0, 0, 0, Vec::new());
    let mut names = HashSet::new();
    for site in &cases {
        let Some(struck) = killed(&field, site) else {
            missed.push(site.to_string());
            continue;
        };
        there += usize::from(was_there(&field, site, &struck));
        names.insert(site.name.as_str());
        let at = format!("{}, killed at {site}", scenario.name);
        let served = field.whole(&at);
        match served {
            Served::Old => old += 1,
            Served::New => new += 1,
        }
        field.converges(&at, served);
    }
    let line = format!(
        "{}: killed at {} calls of {} names, {there} of them the very ones listed, of {listed} listed ({} not reached); \
         the old build was served after {old}, the new one after {new}; {:.0} s",
        scenario.name,
        old + new,
        names.len(),
        missed.len(),
        begun.elapsed().as_secs_f64(),
    );
    report_line("kills", &line);
    assert!(missed.len() <= 1 + cases.len() / 20, "not reached: {missed:#?}");
    assert!(old > 0 && new > 0, "a sweep that only ever finds one of the two proves little: {line}");
}

/// A run that was killed at a call, or at one of the same name and a number that another thread may have reached.
fn killed(field: &Harness, site: &SyscallSite) -> Option<Injected> {
    let numbers = match site.kind {
        Kind::Wire => vec![site.nth, site.nth, site.nth.saturating_sub(1).max(1), 1],
        Kind::Read | Kind::Change => vec![site.nth, site.nth],
    };
    numbers.into_iter().find_map(|nth| {
        let struck = field.inject(&SyscallSite { nth, ..site.clone() }, "signal=KILL");
        assert!([0, KILLED].contains(&struck.code), "{site}: {}", struck.log);
        // A run that was killed says so itself; the trace tells that it was we who did it.
        (struck.code == KILLED && struck.traced.contains("killed by SIGKILL")).then_some(struck)
    })
}

/// Whether the call that never returned is the one that was listed.
fn was_there(field: &Harness, site: &SyscallSite, struck: &Injected) -> bool {
    let unreturned = struck.calls.iter().filter(|call| call.returned.is_none());
    let mut places = unreturned.filter_map(|call| place(call, &field.world.path("")));
    places.any(|(place, _)| place == site.place)
}
