//! One run of the program, listed call by call, so that each call can be broken in turn.
//!
//! A [`Harness`] is a world before one [`Scenario`]. The run is done once
//! undisturbed: that gives the [`SyscallSite`]s, the pair of files that it leads to,
//! and the names that it leaves. Then for each case the same beginning is restored,
//! one call of the run is broken ([`Harness::inject`]), and the result is checked
//! (`checks`).

mod checks;
mod scenario;
mod syscall;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub use checks::Served;
pub use scenario::{
    ADOPTION, CHUNKS, COLLECTION, FIRST_BUILD, JUDGED, RECONCILE, ROLLBACK, Scenario, log_states,
};
pub use syscall::{Kind, SyscallSite, place};

use rustix::process::Signal;

use serde_json::Value;

use crate::sampling;
use crate::strace::{self, Call};
use crate::support::agent::Agent;
use crate::support::{SOON, World, not_run};

/// Arguments of strace that list all calls on files, descriptors and sockets,
/// and the one for signal handlers.
const LISTING: [&str; 5] = ["-yy", "-s", "16", "-e", "trace=%file,%desc,%network,rt_sigaction"];

/// A world just before a scenario, which each case restores.
pub struct Harness {
    pub world: World,
    pub scenario: &'static Scenario,
    /// The calls of the undisturbed run that can be broken, in order.
    pub sites: Vec<SyscallSite>,
    arguments: Vec<String>,
    /// The pair that is served before the run, if there is one.
    before: Option<Pair>,
    /// The pair that the run leads to.
    after: Pair,
    /// The pair that a build makes from the table afterwards.
    settled: Pair,
    /// How many texts the run embeds.
    pub to_embed: usize,
    /// Every name below `data` at the end, without the ids of builds.
    names: BTreeSet<String>,
    /// How many builds are kept then.
    builds: usize,
    /// The builds that the run removes.
    pub collected: BTreeSet<String>,
    /// The promotions before the run, in order.
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
    /// All calls with the name of the broken one.
    pub calls: Vec<Call>,
    /// The output of strace.
    pub traced: String,
}

impl Harness {
    /// Prepares the scenario and lists the calls of its run; `None`, with a printed reason, without strace.
    pub fn of(scenario: &'static Scenario) -> Option<Self> {
        if let Err(why) = strace::available() {
            assert!(!sampling::is_full(), "the full proof needs strace: {why}");
            not_run(&why);
            return None;
        }
        let world = World::in_memory();
        world.provider.excuse_repeats("a fault may fall between an answer and its commit");
        let arguments = (scenario.prepare)(&world);
        copy(&world.path("data"), &world.path("kept"));
        let before = Pair::at(&world.path("data"));
        let promotions = checks::promotions(&world.path("data"));
        let mut harness = Self {
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
            collected: BTreeSet::new(),
            promotions,
        };
        harness.list_calls();
        Some(harness)
    }

    /// Lists the calls of the undisturbed run.
    fn list_calls(&mut self) {
        self.world.provider.forget();
        let log = self.world.path("listing.strace");
        let (code, log_text) = finished(&mut strace::traced(&self.command(), &log, &LISTING));
        assert_eq!(code, 0, "{}: {log_text}", self.scenario.name);
        self.to_embed = self.world.provider.text_count();
        self.sites = syscall::sites(&strace::calls(&log), &self.world.path(""));
        self.after = Pair::at(&self.world.path("data")).unwrap();
        self.collected = self.removed();
        self.run_again("undisturbed");
        self.settled = Pair::at(&self.world.path("data")).unwrap();
        self.names = self.names();
        self.builds = self.world.builds().len();
        assert_eq!(self.world.provider.text_count(), self.to_embed, "the second run embeds nothing");
    }

    /// The sites of the run after the installation of signal handlers.
    pub fn handled(&self) -> Vec<SyscallSite> {
        self.sites.iter().filter(|site| site.handled && site.alone).cloned().collect()
    }

    /// The sites of the first pass of an agent that runs instead of the command.
    pub fn of_an_agent(&self) -> Vec<SyscallSite> {
        self.restore();
        let log = self.world.path("listing.strace");
        let mut agent = Agent::start(&mut strace::traced(&self.one_threaded(&["run"]), &log, &LISTING));
        agent.wait_for_promotions(1);
        agent.signal_traced(Signal::TERM);
        assert_eq!(agent.ended(SOON), 0, "{}", agent.log());
        let mut sites = syscall::sites(&strace::calls(&log), &self.world.path(""));
        // A pass ends with its note; what the agent does afterwards is not part of it.
        let noted = sites.iter().rposition(|site| site.place.ends_with("state.json"));
        sites.truncate(noted.expect("a pass notes its end") + 1);
        // The agent writes its notes at any time during the pass.
        sites.retain(|site| site.handled && site.alone && !site.place.contains("agent."));
        sites
    }

    /// A command with one of its calls broken; `how` is what strace injects.
    pub fn broken(&self, site: &SyscallSite, command: &Command, how: &str) -> Command {
        let (trace, inject) = site.injection(how);
        strace::traced(command, &self.case_log(), &["-yy", "-s", "16", "-e", &trace, "-e", &inject])
    }

    /// Restores the beginning of the scenario.
    pub fn restore(&self) {
        std::fs::remove_dir_all(self.world.path("data")).unwrap();
        // The trace of the case before must not count for this one; at first there is none.
        std::fs::remove_file(self.case_log()).ok();
        copy(&self.world.path("kept"), &self.world.path("data"));
        self.world.provider.begin_life();
    }

    /// Runs the scenario from its beginning with one call broken; `how` is what strace injects.
    pub fn inject(&self, site: &SyscallSite, how: &str) -> Injected {
        self.restore();
        let log = self.case_log();
        let (code, log_text) = finished(&mut self.broken(site, &self.command(), how));
        let traced = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
        Injected { code, log: log_text, calls: strace::calls(&log), traced }
    }

    /// The builds that were there at the beginning and are not now.
    pub fn removed(&self) -> BTreeSet<String> {
        let ids = |folder: &str| -> BTreeSet<String> {
            let entries = std::fs::read_dir(self.world.path(folder).join("builds")).into_iter().flatten();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| reindexd::adapters::builds::is_id(name)).collect()
        };
        ids("kept").difference(&ids("data")).cloned().collect()
    }

    /// Every file and link at the beginning, as the program names it.
    pub fn files(&self) -> Vec<String> {
        let (root, mut files, mut folders) =
            (self.world.path("kept"), Vec::new(), vec![self.world.path("kept")]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let below = entry.path().strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    files.push(format!("data/{below}"));
                }
            }
        }
        files.sort();
        files
    }

    /// Runs the scenario from its beginning while these calls on a path fail, from the nth of each on.
    pub fn inject_from(&self, path: &str, calls: &str, nth: usize, error: &str) -> Injected {
        self.restore();
        let log = self.case_log();
        let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error={error}:when={nth}+"));
        let options = ["-yy", "-s", "16", "-P", path, "-e", &trace, "-e", &inject];
        let (code, log_text) = finished(&mut strace::traced(&self.command(), &log, &options));
        let traced = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
        Injected { code, log: log_text, calls: strace::calls(&log), traced }
    }

    /// Whether strace broke a call, the first of them at the listed place.
    pub fn injected_at(&self, site: &SyscallSite, calls: &[Call]) -> bool {
        let first = calls.iter().find(|call| call.was_injected());
        let place = first.and_then(|call| place(call, &self.world.path("")));
        place.is_some_and(|(place, _)| place == site.place)
    }

    /// The file with strace's output for the current case.
    pub fn case_log(&self) -> PathBuf {
        self.world.path("case.strace")
    }

    /// The command of the scenario.
    pub fn command(&self) -> Command {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.one_threaded(&arguments)
    }

    /// The threads of BLAS use no file, and would only make each traced run slower.
    pub fn one_threaded(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command.env("OPENBLAS_NUM_THREADS", "1");
        command
    }

    /// What an operator would do next: the same command again, then a build.
    fn run_again(&self, at: &str) {
        let again = [self.command(), self.one_threaded(&["build"])];
        let once = usize::from(self.arguments == ["build"]);
        for mut command in again.into_iter().skip(once) {
            let (code, log_text) = finished(&mut command);
            assert_eq!(code, 0, "{at}: the next start failed: {log_text}");
        }
    }

    /// Every name below `data`, sorted, without the ids of builds.
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

/// Stands for the exit code of a command that did not end soon and was killed.
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

/// Copies a folder with every mode, time and link.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}
