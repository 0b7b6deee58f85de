//! One run of the program, listed call by call, so that each call can be broken in turn.
//!
//! A [`Harness`] is a world in which one [`Scenario`] is about to happen. The run is
//! done once undisturbed: that gives the [`Site`]s, the pair of files that it is to
//! lead to, and the names that it leaves. Then the same beginning is restored for
//! each case, one call of the run is broken (`strike`), and what is left is judged
//! (`verdict`).

mod checks;
mod scenario;
mod syscall;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub use checks::Served;
pub use scenario::{ADOPTION, COLLECTION, FIRST_BUILD, RECONCILE, ROLLBACK, Scenario};
pub use syscall::{Kind, SyscallSite, place};

use rustix::process::{Pid, Signal, kill_process};

use serde_json::Value;

use crate::sampling;
use crate::strace::{self, Call};
use crate::support::agent::Agent;
use crate::support::{SOON, World, not_run};

/// How all calls on files, descriptors and sockets are listed, and the one that installs handlers.
const LISTING: [&str; 5] = ["-yy", "-s", "16", "-e", "trace=%file,%desc,%network,rt_sigaction"];

/// A world that stands just before a scenario, as often as a case needs it.
pub struct Harness {
    pub world: World,
    pub scenario: &'static Scenario,
    /// The calls of the undisturbed run that can be broken, in order.
    pub sites: Vec<SyscallSite>,
    arguments: Vec<String>,
    /// What is served before the run; nothing before a first build.
    before: Option<Pair>,
    /// What the run leads to.
    after: Pair,
    /// What a build makes of the table afterwards.
    settled: Pair,
    /// Texts that the run buys.
    to_embed: usize,
    /// Every name below `data` once all is settled, ids of builds left out.
    names: BTreeSet<String>,
    /// Builds that are kept then.
    builds: usize,
    /// What was served before the run, in its order.
    promotions: Vec<Value>,
}

/// Index and metadata, byte for byte: equal records and vectors make equal files.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pair {
    index: Vec<u8>,
    metadata: Vec<u8>,
}

/// A run in which one call was broken.
pub struct Injected {
    /// The exit code; 128 and the number for a signal.
    pub code: i32,
    /// Standard error.
    pub log: String,
    /// All calls of the broken one's name.
    pub calls: Vec<Call>,
    /// What strace wrote, word for word.
    pub traced: String,
}

impl Harness {
    /// Prepares the scenario and lists the calls of its run; `None`, and words, where nothing may be traced.
    pub fn of(scenario: &'static Scenario) -> Option<Self> {
        if let Err(why) = strace::available() {
            assert!(!sampling::is_full(), "the proof in full wants strace: {why}");
            not_run(&why);
            return None;
        }
        let world = World::in_memory();
        let arguments = (scenario.prepare)(&world);
        copy(&world.path("data"), &world.path("kept"));
        let before = Pair::at(&world.path("data"));
        let promotions = checks::promotions(&world.path("data"));
        let mut field = Self {
            before,
            arguments,
            world,
            scenario,
            sites: Vec::new(),
            after: Pair::default(),
            settled: Pair::default(),
            to_embed: 0,
            names: BTreeSet::new(),
            builds: 0,
            promotions,
        };
        field.list_calls();
        Some(field)
    }

    /// The run as it is when nothing is broken.
    fn list_calls(&mut self) {
        self.world.provider.forget();
        let log = self.world.path("listing.strace");
        let (code, words) = finished(&mut strace::traced(&self.command(), &log, &LISTING));
        assert_eq!(code, 0, "{}: {words}", self.scenario.name);
        self.to_embed = self.world.provider.text_count();
        self.sites = syscall::sites(&strace::calls(&log), &self.world.path(""));
        self.after = Pair::at(&self.world.path("data")).unwrap();
        self.run_again("undisturbed");
        self.settled = Pair::at(&self.world.path("data")).unwrap();
        self.names = self.names();
        self.builds = self.world.builds().len();
        assert_eq!(self.world.provider.text_count(), self.to_embed, "the second run has nothing to buy");
    }

    /// The sites of the run after which handlers stand.
    pub fn handled(&self) -> Vec<SyscallSite> {
        self.sites.iter().filter(|site| site.handled && site.alone).cloned().collect()
    }

    /// The sites of the first pass of an agent in the place of the command.
    pub fn of_an_agent(&self) -> Vec<SyscallSite> {
        self.restore();
        let log = self.world.path("listing.strace");
        let mut agent = Agent::start(&mut strace::traced(&self.one_threaded(&["run"]), &log, &LISTING));
        agent.wait_for_promotions(1);
        signal_traced(&agent, Signal::TERM);
        assert_eq!(agent.ended(SOON), 0, "{}", agent.log());
        let mut sites = syscall::sites(&strace::calls(&log), &self.world.path(""));
        // The last that a pass does is to note that it was; how the agent then settles down is not of it.
        let noted = sites.iter().rposition(|site| site.place.ends_with("state.json"));
        sites.truncate(noted.expect("a pass notes its end") + 1);
        // Its notes are written beside the pass, at one time or another.
        sites.retain(|site| site.handled && site.alone && !site.place.contains("agent."));
        sites
    }

    /// A command with one of its calls broken, `how` being what strace is to inject.
    pub fn broken(&self, site: &SyscallSite, command: &Command, how: &str) -> Command {
        let (trace, inject) = site.injection(how);
        strace::traced(command, &self.case_log(), &["-yy", "-s", "16", "-e", &trace, "-e", &inject])
    }

    /// Puts everything back to where the scenario begins.
    pub fn restore(&self) {
        std::fs::remove_dir_all(self.world.path("data")).unwrap();
        // What was traced of the case before must not be taken for this one's; at first there is none.
        std::fs::remove_file(self.case_log()).ok();
        copy(&self.world.path("kept"), &self.world.path("data"));
        self.world.provider.forget();
    }

    /// Runs the scenario from its beginning with one call broken, `how` being what strace is to inject.
    pub fn inject(&self, site: &SyscallSite, how: &str) -> Injected {
        self.restore();
        let log = self.case_log();
        let (code, words) = finished(&mut self.broken(site, &self.command(), how));
        let traced = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
        Injected { code, log: words, calls: strace::calls(&log), traced }
    }

    /// Whether strace broke a call, the first of them at the place that was listed.
    pub fn injected_at(&self, site: &SyscallSite, calls: &[Call]) -> bool {
        let first = calls.iter().find(|call| call.was_injected());
        let place = first.and_then(|call| place(call, &self.world.path("")));
        place.is_some_and(|(place, _)| place == site.place)
    }

    /// What strace writes of the case at hand.
    pub fn case_log(&self) -> PathBuf {
        self.world.path("case.strace")
    }

    /// The command that the scenario is about.
    pub fn command(&self) -> Command {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.one_threaded(&arguments)
    }

    /// BLAS' own threads touch no file, and would only cost each traced run its time.
    pub fn one_threaded(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command.env("OPENBLAS_NUM_THREADS", "1");
        command
    }

    /// What an operator would do next: the same again, and a build of what the table has.
    fn run_again(&self, at: &str) {
        let again = [self.command(), self.one_threaded(&["build"])];
        let once = usize::from(self.arguments == ["build"]);
        for mut command in again.into_iter().skip(once) {
            let (code, words) = finished(&mut command);
            assert_eq!(code, 0, "{at}: the next start failed: {words}");
        }
    }

    /// Every name below `data`, sorted, with the ids of builds left out.
    fn names(&self) -> BTreeSet<String> {
        let root = self.world.path("data");
        let (mut names, mut folders) = (BTreeSet::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let below = entry.path().strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                names.insert(syscall::without_ids(&below));
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        names
    }
}

impl Pair {
    /// The pair under the names that the API opens, if both are there.
    fn at(folder: &Path) -> Option<Self> {
        let index = std::fs::read(folder.join("faiss.index")).ok()?;
        let metadata = std::fs::read(folder.join("metadata.json")).ok()?;
        Some(Self { index, metadata })
    }
}

/// The exit code of a command that did not end soon, and was killed.
pub const HUNG: i32 = -1;

/// Exit code and standard error of a command, which should end soon.
pub fn finished(command: &mut Command) -> (i32, String) {
    let mut running = Agent::start(command);
    let deadline = Instant::now() + SOON;
    while !running.is_over() {
        if Instant::now() >= deadline {
            return (HUNG, running.log());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let code = running.ended(SOON);
    (code, running.log())
}

/// Sends a signal to the program that `strace` runs; strace itself would only let go of it.
pub fn signal_traced(strace: &Agent, signal: Signal) {
    let pid = strace.pid().as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let child = children.split_whitespace().next().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
    kill_process(child.expect("strace has one child"), signal).unwrap();
}

/// With every mode, time and link as it is.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}
