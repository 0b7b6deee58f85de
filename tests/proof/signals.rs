//! SIGTERM at every call after the handlers stand: an end in time, no staging, and a whole build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::fault_injection::{
    ADOPTION, COLLECTION, FIRST_BUILD, Harness, RECONCILE, ROLLBACK, Scenario, Served, SyscallSite,
    signal_traced,
};
use crate::report::report_line;
use crate::sampling;
use crate::support::agent::Agent;

/// Within this time whoever was told to end has ended.
const IN_TIME: Duration = Duration::from_secs(5);
/// What a command that was stopped exits with.
const STOPPED: i32 = 143;
/// Cases of each scenario in the gate.
const THINNED: usize = 4;

#[test]
fn a_reconcile_stopped_at_any_call_ends_with_143_or_its_build() {
    stopped_at_every_call_of(&RECONCILE);
}

#[test]
fn a_first_build_stopped_at_any_call_ends_with_143_or_its_build() {
    stopped_at_every_call_of(&FIRST_BUILD);
}

#[test]
fn an_adoption_stopped_at_any_call_ends_with_143_or_its_build() {
    stopped_at_every_call_of(&ADOPTION);
}

#[test]
fn a_rollback_stopped_at_any_call_ends_with_143_or_its_build() {
    stopped_at_every_call_of(&ROLLBACK);
}

#[test]
fn a_collection_stopped_at_any_call_ends_with_143_or_its_build() {
    stopped_at_every_call_of(&COLLECTION);
}

#[test]
fn stop_at_any_call_of_a_pass_exits_with_0_in_five_seconds_without_staging() {
    let Some(field) = Harness::of(&RECONCILE) else { return };
    let sites = field.of_an_agent();
    let mut told = StopReport::default();
    for site in &sampling::thinned(sites, 2 * THINNED) {
        let at = format!("agent, SIGTERM at {site}");
        // The agent writes notes of its own meanwhile, of one phase more or less.
        let numbers =
            [0, 1, 2].map(|less| SyscallSite { nth: site.nth.saturating_sub(less).max(1), ..site.clone() });
        let Some((code, words)) = numbers.iter().find_map(|site| agent_stopped_at(&field, site, &mut told))
        else {
            told.missed.push(at);
            continue;
        };
        told.check(&field, &at, code, &[0], &words);
    }
    told.end("agent");
}

/// Exit code and log of an agent whose first pass made this call; `None` where it did not.
fn agent_stopped_at(field: &Harness, site: &SyscallSite, told: &mut StopReport) -> Option<(i32, String)> {
    field.restore();
    let log = field.case_log();
    let mut agent = Agent::start(&mut field.broken(site, &field.one_threaded(&["run"]), "signal=TERM"));
    let asked = until_asked(&mut agent, &log);
    let reached = signals_in(&log) > 0;
    if !reached {
        signal_traced(&agent, Signal::TERM);
    }
    let code = agent.ended(IN_TIME);
    told.longest = told.longest.max(asked.elapsed());
    reached.then(|| (code, agent.log()))
}

fn stopped_at_every_call_of(scenario: &'static Scenario) {
    let Some(field) = Harness::of(scenario) else { return };
    let mut told = StopReport::default();
    for site in &sampling::thinned(field.handled(), THINNED) {
        let at = format!("{}, SIGTERM at {site}", scenario.name);
        field.restore();
        let log = field.case_log();
        let mut running = Agent::start(&mut field.broken(site, &field.command(), "signal=TERM"));
        let asked = until_asked(&mut running, &log);
        let code = running.ended(IN_TIME);
        told.longest = told.longest.max(asked.elapsed());
        told.check(&field, &at, code, &[0, STOPPED], &running.log());
    }
    told.end(scenario.name);
}

/// Waits until the signal has come, or the run is over, or an agent has nothing left to do.
fn until_asked(running: &mut Agent, log: &Path) -> Instant {
    let deadline = Instant::now() + crate::support::SOON;
    while signals_in(log) == 0 && !running.is_over() && running.promotions() == 0 {
        assert!(Instant::now() < deadline, "neither stopped nor done: {}", running.log());
        std::thread::sleep(Duration::from_millis(1));
    }
    Instant::now()
}

/// How often SIGTERM was delivered.
fn signals_in(log: &Path) -> usize {
    let traced = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&traced).matches("--- SIGTERM {").count()
}

/// What all cases of a scenario came to.
#[derive(Default)]
struct StopReport {
    ends: BTreeMap<(i32, &'static str), usize>,
    missed: Vec<String>,
    longest: Duration,
}

impl StopReport {
    /// One case: `code` must be one of `allowed`, and tell the truth.
    fn check(&mut self, field: &Harness, at: &str, code: i32, allowed: &[i32], words: &str) {
        if signals_in(&field.case_log()) != 1 {
            self.missed.push(at.to_owned());
            return;
        }
        let served = field.whole(at);
        assert!(allowed.contains(&code), "{at}: exit {code}: {words}");
        if allowed.contains(&STOPPED) {
            let due = if code == STOPPED { Served::Old } else { Served::New };
            assert_eq!(served, due, "{at}: exit {code}: {words}");
        }
        assert!(!words.contains("panicked"), "{at}: {words}");
        assert_eq!(field.world.staging(), Vec::<PathBuf>::new(), "{at}: {words}");
        field.converges(at, served);
        let name = if served == Served::Old { "old" } else { "new" };
        *self.ends.entry((code, name)).or_default() += 1;
    }

    fn end(self, name: &str) {
        let cases: usize = self.ends.values().sum();
        let ends: Vec<String> = self
            .ends
            .iter()
            .map(|((code, served), times)| format!("{times} exit {code}, {served} build"))
            .collect();
        let line = format!(
            "{name}: SIGTERM at {cases} calls ({}), {} not reached; the slowest end took {} ms",
            ends.join("; "),
            self.missed.len(),
            self.longest.as_millis(),
        );
        report_line("signals", &line);
        assert!(self.missed.len() <= 1 + cases / 20, "not reached: {:#?}", self.missed);
    }
}
