//! A resource runs out, or the clock jumps: the old build stays served, the message names the cause, and the
//! next attempt succeeds.
//!
//! Each case takes a resource from a running program: descriptors, watches,
//! memory, threads, the size of a file, disk space, inodes, the right time, or
//! time to run. The same claims hold for all ([`Before`]): the served build stays
//! served and proven, there is no panic, one error names what ran out and where,
//! and when it is back the next attempt leaves the right build, no staging, and
//! no text embedded again whose vector the cache could store.

mod clock;
mod descriptors;
mod disk;
mod file_size;
mod memory;
mod processes;
mod suspended;
mod watches;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use rustix::process::Pid;

use crate::sampling;
use crate::support::agent::Agent;
use crate::support::{self, Ran, SOON, World, run};

/// The name of this chapter in the report.
const CHAPTER: &str = "resources";
/// The maximum of warnings and errors in the log of one case.
const MAX_LOG_LINES: usize = 5;
/// The exit code of a process that Rust aborts because it gets no memory.
const ABORTED: i32 = 134;
/// The exit code where `OpenBLAS` gets no thread before `main`: it sends SIGINT to the process.
const INTERRUPTED: i32 = 130;
/// The message about vectors that could not be stored.
const NOT_KEPT: &str = "cannot store vectors in the cache";
/// Environment variable that is set where the test already runs in namespaces of its own.
const INSIDE: &str = "REINDEXD_TEST_INSIDE_NAMESPACE";

/// What was served before a resource ran out.
struct Before {
    served: Option<String>,
    records: usize,
}

impl Before {
    fn of(world: &World) -> Self {
        world.provider.forget();
        Self { served: world.served(), records: world.served_count() }
    }

    /// Asserts that a failure has changed nothing, and that the log names one of `causes`.
    #[track_caller]
    fn assert_kept(&self, world: &World, case: &str, log: &str, causes: &[&str]) {
        assert!(!log.contains("panicked"), "{case}: {log}");
        assert_eq!((world.served(), world.served_count()), (self.served.clone(), self.records), "{case}");
        let named = log.lines().filter(|line| causes.iter().any(|cause| line.contains(cause))).count();
        assert!(named >= 1, "{case}: the log does not name what ran out: {log}");
        if self.served.is_some() {
            world.assert_proven();
        }
    }
}

/// Asserts that without the limit the next command leaves the right build and no
/// staging, and that no text was embedded twice unless its vector could not be stored:
/// a message says so, or an abort left no time for it.
#[track_caller]
fn assert_converges(world: &World, case: &str, ran: &Ran, records: usize) {
    let next = world.build();
    assert_eq!(world.served_count(), records, "{case}: {next:?}");
    if ran.code == ABORTED || ran.stderr.contains(NOT_KEPT) {
        assert!(world.provider.answered_twice().len() <= 1, "{case}: {ran:?}");
        world.provider.forget();
    }
    assert_clean(world, case);
}

/// Asserts that the served build is proven, no staging is left, and no text was embedded twice.
#[track_caller]
fn assert_clean(world: &World, case: &str) {
    world.assert_proven();
    assert_eq!(world.staging().len(), 0, "{case}: {:?}", world.staging());
    assert_eq!(world.provider.answered_twice(), Vec::<String>::new(), "{case}");
}

/// Asserts that a failed command prints one error, and few warnings.
#[track_caller]
fn assert_one_error(case: &str, ran: &Ran) {
    let own = ran.stderr.lines().filter(|line| line.starts_with("reindexd: ")).count();
    assert_eq!((ran.code, own), (1, 1), "{case}: {ran:?}");
    assert!(count_warnings(&ran.stderr) < MAX_LOG_LINES, "{case}: too many lines: {ran:?}");
}

/// Lines of warning or error in a log.
fn count_warnings(log: &str) -> usize {
    log.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")).count()
}

/// How often each end occurred.
#[derive(Default)]
struct CaseCounts(BTreeMap<String, usize>);

impl CaseCounts {
    fn count(&mut self, end: impl Into<String>) {
        *self.0.entry(end.into()).or_default() += 1;
    }

    fn of(&self, end: &str) -> usize {
        self.0.get(end).copied().unwrap_or_default()
    }

    /// One line of the report.
    fn report(&self, what: &str, began: Instant) {
        let cases: usize = self.0.values().sum();
        let ends: Vec<String> = self.0.iter().map(|(end, count)| format!("{count} {end}")).collect();
        let took = began.elapsed().as_secs_f32();
        crate::report::report_line(
            CHAPTER,
            &format!("{what}: {cases} cases ({}) in {took:.1} s", ends.join(", ")),
        );
    }
}

/// The command started by another one, which changes its limits first.
fn wrapped(wrapper: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(wrapper[0]);
    outer.args(&wrapper[1..]).arg(command.get_program()).args(command.get_args());
    outer.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer.env("PATH", std::env::var_os("PATH").unwrap());
    outer.current_dir(command.get_current_dir().expect("a world's command has its folder"));
    outer
}

/// Runs a command to its end, which must come [`SOON`].
#[track_caller]
fn run_bounded(command: &mut Command) -> Ran {
    let mut running = Agent::start(command);
    let code = running.ended(SOON);
    Ran { code, stdout: String::new(), stderr: running.log() }
}

/// Whether its process has ended, even if no one has waited for it yet.
fn is_gone(agent: &Agent) -> bool {
    support::process_state(agent.pid()).is_none_or(|state| state == 'Z')
}

/// Changes a limit of a running process, as in `--nofile=20`.
#[track_caller]
fn limit(pid: Pid, what: &str) {
    let ran = run(Command::new("prlimit").args(["--pid", &pid.as_raw_nonzero().to_string(), what]));
    assert_eq!(ran.code, 0, "{what}: {ran:?}");
}

/// Prints that a chapter could not run here; in full that is a failure.
#[track_caller]
fn not_run(reason: &str) {
    assert!(!sampling::is_full(), "not run: {reason}");
    support::not_run(reason);
}

/// Runs the test once more in a namespace where it may mount, and `act` there.
fn in_mounts_of_its_own(act: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return act();
    }
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let may = |way: &[&str]| {
        let tried = Command::new("unshare").args(way).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    let Some(way) = ways.into_iter().find(|way| may(way)) else {
        return not_run("this user may not mount, not even in namespaces of its own");
    };
    let test = std::thread::current().name().unwrap().to_owned();
    let inside = run(Command::new("unshare")
        .args(way)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--include-ignored", "--nocapture"])
        .env(INSIDE, "1"));
    assert!(inside.code == 0 && inside.stdout.contains("1 passed"), "{}\n{}", inside.stdout, inside.stderr);
    let is_report = |line: &&str| line.starts_with("PROOF ") || line.starts_with("NOT RUN");
    for line in inside.stderr.lines().filter(is_report) {
        // Past the harness, which captures macros.
        std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes()).unwrap();
    }
}
