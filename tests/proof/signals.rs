//! SIGTERM at every call after the handlers are installed: an end in time, no staging, and a whole build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::fault_injection::{
    ADOPTION, COLLECTION, FIRST_BUILD, Harness, RECONCILE, ROLLBACK, Scenario, Served, SyscallSite,
};
use crate::report::report_line;
use crate::sampling;
use crate::support::agent::Agent;

/// The limit from the signal to the end.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// The exit code of a command that was stopped.
const STOPPED: i32 = 143;
/// How many cases of each scenario the gate runs.
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
    let Some(harness) = Harness::of(&RECONCILE) else { return };
    let sites = harness.of_an_agent();
    let mut report = StopReport::default();
    for site in &sampling::thinned(sites, 2 * THINNED) {
        let at = format!("agent, SIGTERM at {site}");
        // The agent writes its own notes at the same time, of one state more or less.
        let numbers =
            [0, 1, 2].map(|less| SyscallSite { nth: site.nth.saturating_sub(less).max(1), ..site.clone() });
        let Some((code, log)) = numbers.iter().find_map(|site| agent_stopped_at(&harness, site, &mut report))
        else {
            report.missed.push(at);
            continue;
        };
        report.check(&harness, &at, code, &[0], &log);
    }
    report.end("agent");
}

/// Exit code and log of an agent whose first pass made this call; `None` if it did not.
fn agent_stopped_at(harness: &Harness, site: &SyscallSite, report: &mut StopReport) -> Option<(i32, String)> {
    harness.restore();
    let log = harness.case_log();
    let mut agent = Agent::start(&mut harness.broken(site, &harness.one_threaded(&["run"]), "signal=TERM"));
    let signalled_at = wait_for_signal(&mut agent, &log);
    let reached = signals_in(&log) > 0;
    if !reached {
        agent.signal_traced(Signal::TERM);
    }
    let code = agent.ended(STOP_LIMIT);
    report.longest = report.longest.max(signalled_at.elapsed());
    reached.then(|| (code, agent.log()))
}

fn stopped_at_every_call_of(scenario: &'static Scenario) {
    let Some(harness) = Harness::of(scenario) else { return };
    let mut report = StopReport::default();
    for site in &sampling::thinned(harness.handled(), THINNED) {
        let at = format!("{}, SIGTERM at {site}", scenario.name);
        harness.restore();
        let log = harness.case_log();
        let mut running = Agent::start(&mut harness.broken(site, &harness.command(), "signal=TERM"));
        let signalled_at = wait_for_signal(&mut running, &log);
        let code = running.ended(STOP_LIMIT);
        report.longest = report.longest.max(signalled_at.elapsed());
        report.check(&harness, &at, code, &[0, STOPPED], &running.log());
    }
    report.end(scenario.name);
}

/// Waits until the signal was delivered, the run is over, or an agent has promoted.
fn wait_for_signal(running: &mut Agent, log: &Path) -> Instant {
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

/// The results of all cases of a scenario.
#[derive(Default)]
struct StopReport {
    ends: BTreeMap<(i32, &'static str), usize>,
    missed: Vec<String>,
    longest: Duration,
}

impl StopReport {
    /// Checks one case: `code` must be one of `allowed`, and must agree with what is served.
    fn check(&mut self, harness: &Harness, at: &str, code: i32, allowed: &[i32], log: &str) {
        if signals_in(&harness.case_log()) != 1 {
            self.missed.push(at.to_owned());
            return;
        }
        let served = harness.whole(at);
        assert!(allowed.contains(&code), "{at}: exit {code}: {log}");
        if allowed.contains(&STOPPED) {
            let expected = if code == STOPPED { Served::Old } else { Served::New };
            assert_eq!(served, expected, "{at}: exit {code}: {log}");
        }
        assert!(!log.contains("panicked"), "{at}: {log}");
        assert_eq!(harness.world.staging(), Vec::<PathBuf>::new(), "{at}: {log}");
        harness.converges(at, served);
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
