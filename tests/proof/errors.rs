//! An error at every call on a file: the old build stays served, one line names what failed, and the next
//! attempt succeeds.

use std::collections::BTreeMap;
use std::time::Instant;

use rustix::process::Signal;

use crate::fault_injection::{
    ADOPTION, CHUNKS, COLLECTION, FIRST_BUILD, Harness, Injected, JUDGED, Kind, RECONCILE, ROLLBACK,
    Scenario, Served, SyscallSite, log_states,
};
use crate::report::report_line;
use crate::sampling;
use crate::strace;
use crate::support::SOON;
use crate::support::agent::Agent;

/// How many cases of each scenario the gate runs.
const THINNED: usize = 8;
/// Threads on which an agent may run its passes.
const MAX_THREADS: usize = 6;

#[test]
fn a_reconcile_that_meets_an_error_at_any_call_leaves_the_old_build_and_says_where() {
    met_at_every_call_of(&RECONCILE);
}

#[test]
fn a_first_build_that_meets_an_error_at_any_call_serves_nothing_half_and_says_where() {
    met_at_every_call_of(&FIRST_BUILD);
}

#[test]
fn error_at_any_call_of_an_adoption_leaves_no_name_missing() {
    met_at_every_call_of(&ADOPTION);
}

#[test]
fn error_at_any_call_of_a_rollback_serves_one_of_its_two_builds() {
    met_at_every_call_of(&ROLLBACK);
}

#[test]
fn a_collection_that_meets_an_error_at_any_call_removes_nothing_that_is_served() {
    met_at_every_call_of(&COLLECTION);
}

#[test]
fn an_error_at_any_call_of_a_source_with_chunks_leaves_the_old_build_and_says_where() {
    met_at_every_call_of(&CHUNKS);
}

#[test]
fn an_error_at_any_call_of_a_pass_that_asks_judged_queries_leaves_the_old_build() {
    met_at_every_call_of(&JUDGED);
}

#[test]
fn an_agent_that_meets_an_error_at_any_call_of_a_pass_tries_again_and_converges() {
    let Some(harness) = Harness::of(&RECONCILE) else { return };
    log_states(&harness.world);
    let begun = Instant::now();
    let sites = harness.of_an_agent();
    let cases: Vec<(AgentCall, &str)> = AgentCall::all(&sites)
        .enumerate()
        .map(|(nth, call)| {
            let errors = errors_of(&call.site);
            (call, errors[nth % errors.len()])
        })
        .collect();
    let cases = sampling::thinned(cases, THINNED);
    let (mut unharmed, mut tried_again, mut ended, mut missed) = (0, 0, 0, Vec::new());
    for (call, error) in &cases {
        let at = format!("agent, {error} at {}", call.site);
        let Some(met) = call.meets(&harness, error, &at) else {
            missed.push(at);
            continue;
        };
        match met {
            FailedCall::Unharmed => unharmed += 1,
            FailedCall::TriedAgain => tried_again += 1,
            FailedCall::Ended => ended += 1,
        }
        let served = harness.whole(&at);
        assert!(met == FailedCall::Ended || served == Served::New, "{at}");
        harness.converges(&at, served);
    }
    let line = format!(
        "agent: {} errors met; {unharmed} did no harm, after {tried_again} it backed off, then converged, \
         {ended} ended it before it watched; {} not reached; {:.0} s",
        unharmed + tried_again + ended,
        missed.len(),
        begun.elapsed().as_secs_f64(),
    );
    report_line("errors", &line);
    assert!(missed.len() <= 1 + cases.len() / 8, "not reached: {missed:#?}");
    assert!(unharmed > 0 && tried_again > 0, "{line}");
}

/// A call of an agent's pass, found again by its place among the calls of its name on its file. Its number is
/// another one where the runtime gave the pass, or what came before it, to another thread.
struct AgentCall {
    site: SyscallSite,
    /// How many calls of this name on this file come before it.
    earlier: usize,
}

impl AgentCall {
    /// Runs by one numbering, before the calls are numbered once more.
    const TRIES: usize = 3;
    const NUMBERINGS: usize = 8;

    fn all(sites: &[SyscallSite]) -> impl Iterator<Item = Self> {
        let files = sites.iter().enumerate().filter(|(_, site)| site.kind != Kind::Wire);
        files.map(|(nth, site)| {
            let earlier = sites[..nth].iter().filter(|other| is_same_kind(other, site)).count();
            Self { site: site.clone(), earlier }
        })
    }

    /// Runs agents until one meets the error at this call; `None` if none does.
    fn meets(&self, harness: &Harness, error: &str, at: &str) -> Option<FailedCall> {
        let mut site = Some(self.site.clone());
        for _ in 0..Self::NUMBERINGS {
            let met =
                site.and_then(|site| (0..Self::TRIES).find_map(|_| agent_meets(harness, &site, error, at)));
            if met.is_some() {
                return met;
            }
            let sites = harness.of_an_agent();
            site = sites.into_iter().filter(|other| is_same_kind(other, &self.site)).nth(self.earlier);
        }
        None
    }
}

fn is_same_kind(one: &SyscallSite, other: &SyscallSite) -> bool {
    one.name == other.name && one.place == other.place
}

/// What an error did to an agent.
#[derive(PartialEq)]
enum FailedCall {
    Unharmed,
    TriedAgain,
    /// It exited before its first pass, for the service manager to start it again.
    Ended,
}

/// Runs an agent whose first pass meets an error, until it has converged; `None` if the error was not met.
fn agent_meets(harness: &Harness, site: &SyscallSite, error: &str, at: &str) -> Option<FailedCall> {
    harness.restore();
    let log = harness.case_log();
    let mut agent =
        Agent::start(&mut harness.broken(site, &harness.one_threaded(&["run"]), &format!("error={error}")));
    agent.wait_for(&format!("{at}: an end of the first pass"), || {
        agent.promotions() > 0 || agent.logged("state=backing_off") > 0 || gave_up(&agent)
    });
    let met = if gave_up(&agent) {
        assert_eq!((agent.ended(SOON), agent.passes()), (1, 0), "{at}: {}", agent.log());
        FailedCall::Ended
    } else {
        let failed = agent.promotions() == 0;
        // A pass on another thread meets the error too: strace counts for each thread.
        let converged = || agent.promotions() > 0 || agent.logged("outcome=unchanged") > 0;
        for again in 1..=MAX_THREADS {
            if converged() {
                break;
            }
            agent.signal_traced(Signal::USR1);
            agent.wait_for("another pass", || converged() || agent.logged("state=backing_off") > again);
        }
        assert!(converged(), "{at}: {}", agent.log());
        agent.signal_traced(Signal::TERM);
        assert_eq!(agent.ended(SOON), 0, "{at}: {}", agent.log());
        if failed { FailedCall::TriedAgain } else { FailedCall::Unharmed }
    };
    // An error at a descriptor of the runtime itself is not this case.
    let injected = harness.injected_at(site, &strace::calls(&log));
    assert!(!injected || !agent.log().contains("panicked"), "{at}: {}", agent.log());
    injected.then_some(met)
}

/// Whether the program has printed its final error.
fn gave_up(agent: &Agent) -> bool {
    agent.log().lines().any(|line| line.starts_with("reindexd: "))
}

/// The errors that a call can meet.
pub fn errors_of(site: &SyscallSite) -> &'static [&'static str] {
    match (site.name.as_str(), site.kind) {
        ("openat", Kind::Change) => &["ENOSPC", "EIO", "EACCES", "EROFS", "EMFILE", "EDQUOT", "EINTR"],
        ("openat", _) => &["EIO", "EACCES", "EMFILE", "ETIMEDOUT", "ESTALE", "EINTR"],
        ("write" | "pwrite64", _) => &["ENOSPC", "EIO", "EDQUOT", "EINTR"],
        ("fsync" | "fdatasync", _) => &["EIO", "ENOSPC", "EDQUOT", "EINTR"],
        ("ftruncate", _) => &["EIO", "ENOSPC", "EINTR"],
        ("rename" | "symlink" | "link" | "linkat" | "mkdir", _) => {
            &["ENOSPC", "EIO", "EACCES", "EROFS", "EDQUOT"]
        }
        ("unlink" | "unlinkat" | "rmdir", _) => &["EIO", "EACCES", "EROFS"],
        ("fchmod", _) => &["EIO", "EROFS", "EINTR"],
        ("read" | "pread64", _) => &["EIO", "ETIMEDOUT", "ESTALE", "EINTR"],
        // The standard library treats any other error of closing a folder as a bug and panics; no
        // local file system reports one, and which close is met may differ by a thread.
        ("close", _) => &["EINTR"],
        ("statx" | "newfstatat" | "readlink", _) => &["EIO", "EACCES"],
        ("mmap", _) => &["ENOMEM"],
        _ => &["EIO"],
    }
}

/// Whether this error must have no effect at all.
fn is_nothing(site: &SyscallSite, error: &str) -> bool {
    // SQLite treats an interrupted flush as a disk error, Faiss writes its own file by the C library, and the
    // listing of a folder is not restarted: no local disk interrupts any of them, and all are reported.
    let by_others = ["sqlite", ".staging/faiss.index"].iter().any(|name| site.place.contains(name));
    let retried = !by_others && !site.opens_folder;
    site.name == "close" || (error == "EINTR" && retried)
}

fn met_at_every_call_of(scenario: &'static Scenario) {
    let Some(harness) = Harness::of(scenario) else { return };
    let begun = Instant::now();
    let cases = cases(&harness);
    let (mut failed, mut unharmed, mut missed) = (0, 0, Vec::new());
    let mut each: BTreeMap<&str, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    for (site, error) in &cases {
        harness.world.provider.forget();
        let Some(injected) = struck(&harness, site, error) else {
            missed.push(format!("{}, {error} at {site}", scenario.name));
            continue;
        };
        let sent = harness.world.provider.text_count();
        let at = format!("{}, {error} at {site}", scenario.name);
        *each.entry(error).or_default() += 1;
        // Whatever the error: no text is sent that an undisturbed run would not send.
        if sent > harness.to_embed {
            faults.push(format!("{at}: {sent} texts were sent, expected at most {}", harness.to_embed));
        }
        let removed = harness.removed();
        if !removed.is_subset(&harness.collected) {
            faults.push(format!("{at}: removed {removed:?}, expected at most {:?}", harness.collected));
        }
        let served = harness.whole(&at);
        match injected.code {
            0 => unharmed += 1,
            _ => failed += 1,
        }
        faults.extend(
            wrong_outcome(&harness, (site, error), &injected, served).map(|fault| format!("{at}: {fault}")),
        );
        harness.converges(&at, served);
    }
    let each: Vec<String> = each.iter().map(|(error, times)| format!("{times} {error}")).collect();
    let line = format!(
        "{}: {} errors met ({}); {failed} ended the run with one line, {unharmed} did no harm, {} not reached; {:.0} s",
        scenario.name,
        failed + unharmed,
        each.join(", "),
        missed.len(),
        begun.elapsed().as_secs_f64(),
    );
    report_line("errors", &line);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(missed.len() <= 1 + cases.len() / 20, "not reached: {missed:#?}");
    assert!(failed > 0 && unharmed > 0, "{line}");
}

/// The run that met the error at this call. How often the running pass is noted depends on the time, so the
/// call may have a number nearby.
fn struck(harness: &Harness, site: &SyscallSite, error: &str) -> Option<Injected> {
    const NEARBY: [isize; 9] = [0, 1, -1, 2, -2, 3, -3, 4, -4];
    let numbers = NEARBY.into_iter().filter_map(|by| site.nth.checked_add_signed(by).filter(|nth| *nth > 0));
    numbers.into_iter().find_map(|nth| {
        let site = SyscallSite { nth, ..site.clone() };
        let injected = harness.inject(&site, &format!("error={error}"));
        let once = injected.calls.iter().filter(|call| call.was_injected()).count() == 1;
        (once && harness.injected_at(&site, &injected.calls)).then_some(injected)
    })
}

/// In full every error of every call of a reconcile; for other runs, and in the
/// gate, one error for each call.
fn cases(harness: &Harness) -> Vec<(SyscallSite, &'static str)> {
    let sites = harness.sites.iter().filter(|site| site.kind != Kind::Wire && site.alone);
    let mut cases = Vec::new();
    for (nth, site) in sites.enumerate() {
        let errors = errors_of(site);
        if sampling::is_full() && harness.scenario.name == RECONCILE.name {
            cases.extend(errors.iter().map(|&error| (site.clone(), error)));
        } else {
            cases.push((site.clone(), errors[nth % errors.len()]));
        }
    }
    sampling::thinned(cases, THINNED)
}

/// What is wrong with the end of the run, if anything is.
fn wrong_outcome(
    harness: &Harness,
    (site, error): (&SyscallSite, &str),
    injected: &Injected,
    served: Served,
) -> Option<String> {
    let log = &injected.log;
    // Faiss prints text of its own without a line end; a folder of ours has the same name with a dot.
    let text = log.replace(".reindexd: ", ".reindexd : ");
    let lines: Vec<&str> = text.split("reindexd: ").skip(1).collect();
    let settled =
        log.contains("the next pass syncs again") && harness.world.path("data/served.json").exists();
    let fault = match (injected.code, lines.as_slice()) {
        _ if settled => Some("the note would keep the next pass from syncing again"),
        _ if log.contains("panicked") => Some("a panic"),
        (0, []) if served == Served::New => None,
        (0, _) => Some("success with an error line, or without the new build"),
        _ if is_nothing(site, error) => Some("it should have done no harm"),
        (1 | 2, [line]) => unclear(line, served),
        _ => Some("not one line of error and exit 1 or 2"),
    };
    let left = harness.world.staging();
    let explained =
        ["its staging is kept for inspection", "cannot remove "].iter().any(|why| log.contains(why));
    let fault = fault.or_else(|| (!left.is_empty() && !explained).then_some("staging is left"));
    fault.map(|fault| format!("{fault}: exit {}, {served:?} is served: {log}", injected.code))
}

/// What the line that an operator reads lacks.
fn unclear(line: &str, served: Served) -> Option<&'static str> {
    const ACTS: [&str; 4] = ["cannot ", "could not", "database ", "damaged"];
    // An adopted build has the old files' bytes.
    let says_new = line.contains("is served, but is not known to be durable")
        && !line.contains("-adopted is served, but");
    // A permission is explained after the name, behind a comma.
    if !["data/", "data:", "data,"].iter().any(|name| line.contains(name)) && !line.contains("reindexd.toml")
    {
        return Some("no path");
    }
    if !ACTS.iter().any(|act| line.contains(act)) {
        return Some("no act");
    }
    ((served == Served::New) != says_new).then_some("it names another build than the served one")
}
