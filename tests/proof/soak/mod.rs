//! All faults at once, for a chosen time: `make soak SOAK=8h`.
//!
//! An agent serves a table that writers change in every way, with the provider of
//! `faulty_provider`, while readers read what it serves; it is killed, stopped,
//! paused, short of resources and restarted, and commands build and roll back.
//! After each such period there is a quiet one in which everything must be right:
//!
//! - at every moment: a reader that resolves `current` finds a whole pair, every
//!   record with the vector of its own text; no name is ever missing; no agent
//!   ends by itself, none panics;
//! - in every quiet period: the served build equals the table and is proven by
//!   `verify`, no staging is left, memory and descriptors are bounded;
//! - in the end: no text was embedded twice, except those in flight while the
//!   agent, its disk or its descriptors were taken away.
//!
//! Without `REINDEXD_SOAK` (seconds, or `10m`, `8h`) it runs for a few seconds.
//! The seed is printed; it does not determine the timing of the machine.

mod disturbance;
mod host;
mod writers;

use std::collections::{BTreeMap, HashSet};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::faulty_provider::fault_kinds::FaultSet;
use crate::faulty_provider::fault_rate::{FaultRate, FaultSource};
use crate::process_stats::ProcessStats;
use crate::report::report_line;
use crate::sampling::{is_full, seed};
use crate::served::{ExpectedVectors, Pair};
use crate::support::agent::Agent;
use crate::support::provider::{Api, Provider};
use crate::support::{MODEL, SOON, not_run};
use disturbance::Disturbance;
use host::{INSIDE, SoakHost};

/// How long the agent waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer may take until it is in the cache on a busy machine.
const STORE_LIMIT: Duration = Duration::from_millis(400);
/// How long it may take to serve the table in a quiet period.
const QUIET_LIMIT: Duration = Duration::from_secs(60);
/// Limits of memory in KiB and of descriptors of an agent in a quiet period.
const MAX_MEMORY_AND_DESCRIPTORS: (u64, u64) = (64 * 1024, 64);

/// How often each act was done.
#[derive(Default)]
struct Counts(Mutex<BTreeMap<&'static str, u64>>);

impl Counts {
    fn add(&self, what: &'static str) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn all_faults_at_once_converge_when_they_stop() {
    if std::env::var_os(INSIDE).is_none() && in_a_namespace() {
        return;
    }
    let time = std::env::var("REINDEXD_SOAK").ok().map(|text| duration(&text));
    Soak::new().run(time.unwrap_or(Duration::from_secs(5)));
}

/// Runs this test once more in a namespace where it may mount a small disk; false if there is none.
fn in_a_namespace() -> bool {
    let tried = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        not_run("this user may not mount: the disk of the soak never fills");
        return false;
    }
    let test = "soak::all_faults_at_once_converge_when_they_stop";
    let mut inside = Command::new("unshare");
    inside.arg("--mount").arg(std::env::current_exe().unwrap()).args([
        "--exact",
        test,
        "--include-ignored",
        "--nocapture",
    ]);
    // Its report goes past the harness, as it would from here.
    let ran = inside.env(INSIDE, "1").stderr(Stdio::inherit()).output().unwrap();
    let output = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && output.contains("1 passed"), "{output}");
    true
}

/// `90`, `90s`, `10m`, `8h`.
fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => panic!("REINDEXD_SOAK: expected a time such as 90s, 10m or 8h, found {text:?}"),
    };
    Duration::from_secs(seconds * number.parse::<u64>().expect("REINDEXD_SOAK begins with a number"))
}

struct Soak {
    agent: Option<Agent>,
    host: SoakHost,
    fault_source: Arc<Mutex<FaultSource>>,
    fault_set: Arc<Mutex<FaultSet>>,
    random: fastrand::Rng,
    counts: Counts,
    /// Periods in which answers may be lost.
    disturbed: Vec<(Instant, Instant)>,
    /// The texts that were embedded in time and outside those periods.
    answered: HashSet<String>,
    stats: Vec<ProcessStats>,
    _elsewhere: Provider,
}

impl Soak {
    fn new() -> Self {
        let (host, elsewhere) = (SoakHost::new(), Provider::start());
        writers::begin(&host);
        let kinds = Arc::new(Mutex::new(FaultSet::new(Api::Gemini, &elsewhere.base_url(), seed())));
        let source = FaultSource::before(&host.world.provider, Arc::clone(&kinds), seed());
        let agent = Some(host.agent());
        let soak = Self {
            host,
            agent,
            fault_source: source,
            fault_set: kinds,
            random: fastrand::Rng::with_seed(seed()),
            counts: Counts::default(),
            disturbed: Vec::new(),
            answered: HashSet::new(),
            stats: Vec::new(),
            _elsewhere: elsewhere,
        };
        soak.agent.as_ref().expect("it was just started").wait_for_promotions(1);
        soak
    }

    fn run(mut self, time: Duration) {
        let began = Instant::now();
        report_line(
            "soak",
            &format!("seed {}, for {time:?}, a disk that fills: {}", seed(), self.host.small_disk),
        );
        while began.elapsed() < time {
            let fault_time = Duration::from_millis(self.random.u64(1000..5000)).min(time);
            self.fault_period(fault_time);
            self.quiet_period();
        }
        self.report(began.elapsed());
        self.agent.take().expect("an agent runs in a quiet period").stop();
    }

    /// Writers, readers, a faulty provider and disturbances, all at once.
    fn fault_period(&mut self, time: Duration) {
        let until = Instant::now() + time;
        let over = AtomicBool::new(false);
        let rate = FaultRate {
            odds: [10, 50, 100][self.random.usize(..3)],
            burst: 0,
            latency: self.random.u64(..60),
            refuses_text: false,
        };
        self.set_fault_rate(rate);
        let mut writes = self.random.fork();
        let pid = Mutex::new(self.agent.as_ref().map(Agent::pid));
        let Self { host, counts, agent, random, disturbed, .. } = self;
        std::thread::scope(|scope| {
            let guard = Over(&over);
            let (host, counts, over, pid) = (&*host, &*counts, &over, &pid);
            let writes = &mut writes;
            scope.spawn(move || write(host, pid, writes, counts, over));
            for _ in 0..2 {
                scope.spawn(move || read(host, counts, over));
            }
            while Instant::now() < until {
                let disturbance = Disturbance::ALL[random.usize(..Disturbance::ALL.len())];
                disturbed.extend(disturbance.apply(host, agent, random, counts));
                let running = agent.as_mut().expect("an agent runs during disturbances");
                assert!(!running.is_over(), "it ended by itself\n{}", running.log());
                *pid.lock().unwrap() = Some(running.pid());
                std::thread::sleep(Duration::from_millis(random.u64(50..700)));
            }
            drop(guard);
        });
    }

    /// Checks the host while the provider does not fail and nothing writes or disturbs.
    fn quiet_period(&mut self) {
        self.set_fault_rate(FaultRate::default());
        self.host.clear();
        self.release();
        let (table, data) = (writers::tagged_rows(&self.host), self.host.world.path("data"));
        let agent = self.agent.as_ref().expect("an agent runs in a quiet period");
        let deadline = Instant::now() + QUIET_LIMIT;
        self.host.touch();
        let served = || Pair::of(&data).ok().flatten().is_some_and(|pair| pair.content() == table);
        while !served() {
            assert!(Instant::now() < deadline, "not served within {QUIET_LIMIT:?}\n{}", agent.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        let verified = self.host.run(&["verify", "--json"]);
        assert_eq!((verified.code, verified.json()["ok"].as_bool()), (0, Some(true)), "{verified:?}");
        let stats = ProcessStats::of(agent.pid()).expect("the agent runs");
        assert!(
            stats.anonymous <= MAX_MEMORY_AND_DESCRIPTORS.0
                && stats.descriptors <= MAX_MEMORY_AND_DESCRIPTORS.1,
            "{stats:?}"
        );
        self.stats.push(stats);
        self.counts.add("quiet periods without a fault");
        self.restart_agent();
        self.update_totals();
    }

    /// Releases the hold of a rollback, which would prevent the table from being served.
    fn release(&self) {
        let deadline = Instant::now() + SOON;
        while self.host.run(&["rollback", "--release", "--json"]).code != 0 {
            assert!(Instant::now() < deadline, "the hold could not be released");
        }
    }

    /// Replaces the agent after a normal stop, and lets old builds be
    /// collected, of which there would be thousands.
    fn restart_agent(&mut self) {
        let mut agent = self.agent.take().expect("an agent runs in a quiet period");
        let log = agent.log();
        assert!(!log.contains("panicked") && !log.contains("test-key"), "{log}");
        agent.signal(rustix::process::Signal::TERM);
        assert_eq!(agent.ended(Duration::from_secs(5)), 0, "{}", agent.log());
        assert_eq!(self.host.world.drafts().len(), 0, "staging was left");
        self.host.world.let_the_grace_pass();
        self.agent = Some(self.host.agent());
    }

    /// Asserts that no text is embedded again that was answered in time and outside disturbances.
    fn update_totals(&mut self) {
        let provider = &self.host.world.provider;
        assert!(provider.wait_for_in_flight(0, SOON));
        let chosen = std::mem::take(&mut self.fault_source.lock().unwrap().chosen);
        for (seen, chosen) in provider.requests().iter().zip(&chosen).filter(|(seen, _)| seen.is_answered()) {
            let after = seen.answered_after().unwrap_or_default();
            let until = seen.at + after + STORE_LIMIT;
            let was_disturbed =
                self.disturbed.iter().any(|(began, ended)| *began <= until && seen.at <= *ended);
            for text in &seen.texts {
                assert!(
                    !self.answered.contains(text),
                    "{text:?} was embedded, stored and embedded again; seed {}",
                    seed()
                );
            }
            if was_disturbed || chosen.after_odd || after > TIMEOUT / 2 {
                self.counts.add("answers that may have been lost");
                continue;
            }
            self.answered.extend(seen.texts.iter().cloned());
            self.counts.add("answers that are stored");
        }
        provider.forget();
        self.disturbed.clear();
    }

    fn set_fault_rate(&self, rate: FaultRate) {
        self.fault_source.lock().unwrap().rate = rate;
    }

    fn report(&self, took: Duration) {
        let counts = self.counts.0.lock().unwrap();
        for (what, times) in counts.iter() {
            report_line("soak", &format!("{times} {what}"));
        }
        let faults: usize = self.fault_set.lock().unwrap().times_chosen.values().sum();
        report_line("soak", &format!("{faults} faults of the provider"));
        let max = |part: fn(&ProcessStats) -> u64| self.stats.iter().map(part).max().unwrap_or(0);
        let (memory, descriptors) = (max(|stats| stats.anonymous), max(|stats| stats.descriptors));
        report_line(
            "soak",
            &format!(
                "at most {memory} KiB and {descriptors} descriptors in a quiet period; {:.0} s",
                took.as_secs_f64()
            ),
        );
        if is_full() {
            assert!(self.host.small_disk, "the disk could not be filled here");
        }
    }
}

/// Ends a period for its threads even if its own thread panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A writer's steps until the period is over.
fn write(
    host: &SoakHost,
    agent: &Mutex<Option<Pid>>,
    random: &mut fastrand::Rng,
    counts: &Counts,
    over: &AtomicBool,
) {
    while !over.load(Ordering::Relaxed) {
        let agent = *agent.lock().unwrap();
        writers::step(host, agent, random, counts);
        std::thread::sleep(Duration::from_millis(random.u64(..40)));
    }
}

/// Reads until the period is over: a whole pair each time, and no name missing.
fn read(host: &SoakHost, counts: &Counts, over: &AtomicBool) {
    let (data, mut expected) = (host.world.path("data"), ExpectedVectors::default());
    while !over.load(Ordering::Relaxed) {
        for name in ["faiss.index", "metadata.json", "current", "served.json"] {
            assert!(data.join(name).exists(), "{name} is missing");
        }
        let pair = Pair::of(&data).and_then(|pair| pair.ok_or("nothing is served".to_owned()));
        let checked = pair.and_then(|pair| pair.check(MODEL, &mut expected));
        assert_eq!(checked, Ok(()), "seed {}", seed());
        counts.add("pairs read whole");
        std::thread::sleep(Duration::from_millis(1));
    }
}
