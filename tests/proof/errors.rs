//! An error at every call on a file: the old build stays, one line says what failed, and the next attempt succeeds.

use std::collections::BTreeMap;
use std::time::Instant;

use rustix::process::Signal;

use crate::fault_injection::{
    ADOPTION, COLLECTION, FIRST_BUILD, Harness, Injected, Kind, RECONCILE, ROLLBACK, Scenario, Served,
    SyscallSite, signal_traced,
};
use crate::report::report_line;
use crate::sampling;
use crate::strace;
use crate::support::SOON;
use crate::support::agent::Agent;

/// Cases of each scenario in the gate.
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
fn an_agent_that_meets_an_error_at_any_call_of_a_pass_tries_again_and_converges() {
    let Some(field) = Harness::of(&RECONCILE) else { return };
    let begun = Instant::now();
    let sites = field.of_an_agent().into_iter().filter(|site| site.kind != Kind::Wire);
    let cases: Vec<(SyscallSite, &str)> = sites
        .enumerate()
        .map(|(nth, site)| {
            let errors = errors_of(&site);
            (site, errors[nth % errors.len()])
        })
        .collect();
    let cases = sampling::thinned(cases, THINNED);
    let (mut unharmed, mut tried_again, mut ended, mut missed) = (0, 0, 0, Vec::new());
    for (site, error) in &cases {
        let at = format!("agent, {error} at {site}");
        // Which of two threads a pass runs on is the runtime's choice, and strace counts for each.
        let Some(met) = (0..4).find_map(|_| agent_meets(&field, site, error, &at)) else {
            missed.push(at);
            continue;
        };
        match met {
            FailedCall::Unharmed => unharmed += 1,
            FailedCall::TriedAgain => tried_again += 1,
            FailedCall::Ended => ended += 1,
        }
        let served = field.whole(&at);
        assert!(met == FailedCall::Ended || served == Served::New, "{at}");
        field.converges(&at, served);
    }
    let line = format!(
        "agent: {} errors met; {unharmed} did no harm, after {tried_again} it backed off and then converged, \
         {ended} ended it before it watched; {} not reached; {:.0} s",
        unharmed + tried_again + ended,
        missed.len(),
        begun.elapsed().as_secs_f64(),
    );
    report_line("errors", &line);
    assert!(missed.len() <= 1 + cases.len() / 8, "not reached: {missed:#?}");
    assert!(unharmed > 0 && tried_again > 0, "{line}");
}

/// What an error did to an agent.
#[derive(PartialEq)]
enum FailedCall {
    Unharmed,
    TriedAgain,
    /// It exited before its first pass, for the service manager to start it again.
    Ended,
}

/// An agent whose first pass meets an error, until it has converged; `None` where the error was not met.
fn agent_meets(field: &Harness, site: &SyscallSite, error: &str, at: &str) -> Option<FailedCall> {
    field.restore();
    let log = field.case_log();
    let mut agent =
        Agent::start(&mut field.broken(site, &field.one_threaded(&["run"]), &format!("error={error}")));
    agent.wait_for(&format!("{at}: an end of the first pass"), || {
        agent.promotions() > 0 || agent.logged("phase=backing_off") > 0 || gave_up(&agent)
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
            signal_traced(&agent, Signal::USR1);
            agent.wait_for("another pass", || converged() || agent.logged("phase=backing_off") > again);
        }
        assert!(converged(), "{at}: {}", agent.log());
        signal_traced(&agent, Signal::TERM);
        assert_eq!(agent.ended(SOON), 0, "{at}: {}", agent.log());
        if failed { FailedCall::TriedAgain } else { FailedCall::Unharmed }
    };
    // An error at some descriptor of the runtime's own is another case, and none of ours.
    let struck = field.injected_at(site, &strace::calls(&log));
    assert!(!struck || !agent.log().contains("panicked"), "{at}: {}", agent.log());
    struck.then_some(met)
}

/// Whether the program has said its last word.
fn gave_up(agent: &Agent) -> bool {
    agent.log().lines().any(|line| line.starts_with("reindexd: "))
}

/// The errors that a call can meet.
pub fn errors_of(site: &SyscallSite) -> &'static [&'static str] {
    match (site.name.as_str(), site.kind) {
        ("openat", Kind::Change) => &["ENOSPC", "EIO", "EACCES", "EROFS", "EMFILE", "EDQUOT", "EINTR"],
        ("openat", _) => &["EIO", "EACCES", "EMFILE", "EINTR"],
        ("write" | "pwrite64", _) => &["ENOSPC", "EIO", "EDQUOT", "EINTR"],
        ("fsync" | "fdatasync", _) => &["EIO", "ENOSPC", "EDQUOT", "EINTR"],
        ("ftruncate", _) => &["EIO", "ENOSPC", "EINTR"],
        ("rename" | "symlink" | "link" | "linkat" | "mkdir", _) => {
            &["ENOSPC", "EIO", "EACCES", "EROFS", "EDQUOT"]
        }
        ("unlink" | "unlinkat" | "rmdir", _) => &["EIO", "EACCES", "EROFS"],
        ("fchmod", _) => &["EIO", "EROFS", "EINTR"],
        ("read" | "pread64", _) => &["EIO", "EINTR"],
        // The standard library takes any other error of closing a folder for a bug and panics; no
        // local file system has one to tell, and which close is met may shift by a thread.
        ("close", _) => &["EINTR"],
        ("statx" | "newfstatat" | "readlink", _) => &["EIO", "EACCES"],
        ("mmap", _) => &["ENOMEM"],
        _ => &["EIO"],
    }
}

/// Whether this error must not matter at all.
fn is_nothing(site: &SyscallSite, error: &str) -> bool {
    // SQLite takes an interrupted flush for a broken disk, Faiss's own file is the C library's, and a
    // folder's listing is not begun again: no local disk interrupts any of them, and all are said.
    let by_others = ["sqlite", ".staging/faiss.index"].iter().any(|name| site.place.contains(name));
    let retried = !by_others && !site.opens_folder;
    site.name == "close" || (error == "EINTR" && retried)
}

fn met_at_every_call_of(scenario: &'static Scenario) {
    let Some(field) = Harness::of(scenario) else { return };
    let begun = Instant::now();
    let cases = cases(&field);
    let (mut failed, mut unharmed, mut missed) = (0, 0, Vec::new());
    let mut each: BTreeMap<&str, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    for (site, error) in &cases {
        let struck = field.inject(site, &format!("error={error}"));
        let at = format!("{}, {error} at {site}", scenario.name);
        let once = struck.calls.iter().filter(|call| call.was_injected()).count() == 1;
        if !once || !field.injected_at(site, &struck.calls) {
            missed.push(at);
            continue;
        }
        *each.entry(error).or_default() += 1;
        let served = field.whole(&at);
        match struck.code {
            0 => unharmed += 1,
            _ => failed += 1,
        }
        faults.extend(
            wrong_outcome(&field, (site, error), &struck, served).map(|fault| format!("{at}: {fault}")),
        );
        field.converges(&at, served);
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

/// In full every error of every call of a reconcile; of the other runs, and in the gate, one error a call in turn.
fn cases(field: &Harness) -> Vec<(SyscallSite, &'static str)> {
    let sites = field.sites.iter().filter(|site| site.kind != Kind::Wire && site.alone);
    let mut cases = Vec::new();
    for (nth, site) in sites.enumerate() {
        let errors = errors_of(site);
        if sampling::is_full() && field.scenario.name == RECONCILE.name {
            cases.extend(errors.iter().map(|&error| (site.clone(), error)));
        } else {
            cases.push((site.clone(), errors[nth % errors.len()]));
        }
    }
    sampling::thinned(cases, THINNED)
}

/// What is wrong with how the run ended, if anything is.
fn wrong_outcome(
    field: &Harness,
    (site, error): (&SyscallSite, &str),
    struck: &Injected,
    served: Served,
) -> Option<String> {
    let words = &struck.log;
    // Faiss says things of its own, without ending its line; a folder of ours has the same name with a dot.
    let words_of_others = words.replace(".reindexd: ", ".reindexd : ");
    let lines: Vec<&str> = words_of_others.split("reindexd: ").skip(1).collect();
    let settled =
        words.contains("the next pass syncs again") && field.world.path("data/served.json").exists();
    let fault = match (struck.code, lines.as_slice()) {
        _ if settled => Some("the note would keep the next pass from syncing again"),
        _ if words.contains("panicked") => Some("a panic"),
        (0, []) if served == Served::New => None,
        (0, _) => Some("success that is none"),
        _ if is_nothing(site, error) => Some("it should have done no harm"),
        (1 | 2, [line]) => unclear(line, served),
        _ => Some("not one line of error and exit 1 or 2"),
    };
    let left = field.world.staging();
    let said = ["its staging is kept for inspection", "cannot remove "].iter().any(|why| words.contains(why));
    let fault = fault.or_else(|| (!left.is_empty() && !said).then_some("staging is left"));
    fault.map(|fault| format!("{fault}: exit {}, {served:?} is served: {words}", struck.code))
}

/// What is missing from the line that an operator reads.
fn unclear(line: &str, served: Served) -> Option<&'static str> {
    const ACTS: [&str; 4] = ["cannot ", "could not", "database ", "damaged"];
    // An adopted build has the old files' bytes.
    let says_new = line.contains("is served, but is not known to be durable")
        && !line.contains("-adopted is served, but");
    if !line.contains("data/") && !line.contains("data:") && !line.contains("reindexd.toml") {
        return Some("no path");
    }
    if !ACTS.iter().any(|act| line.contains(act)) {
        return Some("no act");
    }
    ((served == Served::New) != says_new).then_some("it says that another build is served than is")
}
