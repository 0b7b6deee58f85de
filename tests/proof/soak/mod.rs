//! Everything at once, for as long as it is asked to: `make soak SOAK=8h`.
//!
//! An agent serves a table that writers change in every way, by the answers of
//! the provider of `hell`, while readers read what it serves; it is killed,
//! ended, paused, pinched and restarted, and people build and roll back by hand.
//! Storms of this are followed by a calm in which all must be well:
//!
//! - at every moment: whoever resolves `current` finds a whole pair, every
//!   record with the vector of its own text; no name is ever missing; no agent
//!   ends that was not ended, none panics;
//! - in every calm: the served build equals the table and is proven by
//!   `verify`, no staging is left, memory and descriptors are bounded;
//! - in the end: nothing was paid for twice, but for what was on its way when
//!   the agent, its disk or its descriptors were taken away.
//!
//! Without `REINDEXD_SOAK` (seconds, or `10m`, `8h`) it is a few seconds of the
//! same. The seed is told; the machine's own timing is not in it.

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
use crate::served::{Pair, Pending};
use crate::support::agent::Agent;
use crate::support::provider::{Api, Provider};
use crate::support::{MODEL, SOON, not_run};
use disturbance::Disturbance;
use host::{INSIDE, SoakHost};

/// How long the agent waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer may take from the wire into the cache on a busy machine.
const KEPT_WITHIN: Duration = Duration::from_millis(400);
/// How long a table may take to be served once all is well.
const QUIET_LIMIT: Duration = Duration::from_secs(60);
/// The most memory and descriptors that an agent may have in a calm.
const MAX_MEMORY_AND_DESCRIPTORS: (u64, u64) = (64 * 1024, 64);

/// How often each thing was done.
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
    let asked = std::env::var("REINDEXD_SOAK").ok().map(|text| duration(&text));
    Soak::new().run(asked.unwrap_or(Duration::from_secs(5)));
}

/// Runs this test once more where it may mount a small disk; false where that cannot be had.
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
    // What it tells goes past the harness, as it would from here.
    let ran = inside.env(INSIDE, "1").stderr(Stdio::inherit()).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
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
    lot: fastrand::Rng,
    counts: Counts,
    /// From when until when what was answered may be lost.
    disturbed: Vec<(Instant, Instant)>,
    /// The texts paid for in time and out of trouble.
    answered: HashSet<String>,
    stats: Vec<ProcessStats>,
    _elsewhere: Provider,
}

impl Soak {
    fn new() -> Self {
        let (site, elsewhere) = (SoakHost::new(), Provider::start());
        writers::begin(&site);
        let deck = Arc::new(Mutex::new(FaultSet::new(Api::Gemini, &elsewhere.base_url(), seed())));
        let dealer = FaultSource::before(&site.world.provider, Arc::clone(&deck), seed());
        let agent = Some(site.agent());
        let soak = Self {
            host: site,
            agent,
            fault_source: dealer,
            fault_set: deck,
            lot: fastrand::Rng::with_seed(seed()),
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
            let storm = Duration::from_millis(self.lot.u64(1000..5000)).min(time);
            self.fault_period(storm);
            self.quiet_period();
        }
        self.report(began.elapsed());
        self.agent.take().expect("an agent runs in a calm").stop();
    }

    /// Writers, readers, a bad provider and trouble, all at once.
    fn fault_period(&mut self, time: Duration) {
        let until = Instant::now() + time;
        let over = AtomicBool::new(false);
        let weather = FaultRate {
            odds: [10, 50, 100][self.lot.usize(..3)],
            burst: 0,
            latency: self.lot.u64(..60),
            poison: false,
        };
        self.set_fault_rate(weather);
        let mut writes = self.lot.fork();
        let pid = Mutex::new(self.agent.as_ref().map(Agent::pid));
        let Self { host: site, counts, agent, lot, disturbed: troubled, .. } = self;
        std::thread::scope(|scope| {
            let guard = Over(&over);
            let (site, counts, over, pid) = (&*site, &*counts, &over, &pid);
            let writes = &mut writes;
            scope.spawn(move || write(site, pid, writes, counts, over));
            for _ in 0..2 {
                scope.spawn(move || read(site, counts, over));
            }
            while Instant::now() < until {
                let trouble = Disturbance::ALL[lot.usize(..Disturbance::ALL.len())];
                troubled.extend(trouble.apply(site, agent, lot, counts));
                let running = agent.as_mut().expect("an agent runs while there is trouble");
                assert!(!running.is_over(), "it ended by itself\n{}", running.log());
                *pid.lock().unwrap() = Some(running.pid());
                std::thread::sleep(Duration::from_millis(lot.u64(50..700)));
            }
            drop(guard);
        });
    }

    /// The provider is well, nobody writes, nothing befalls anybody: what must be so now.
    fn quiet_period(&mut self) {
        self.set_fault_rate(FaultRate::default());
        self.host.clear();
        self.release();
        let (truth, data) = (writers::truth(&self.host), self.host.world.path("data"));
        let agent = self.agent.as_ref().expect("an agent runs in a calm");
        let deadline = Instant::now() + QUIET_LIMIT;
        self.host.touch();
        let served = || Pair::of(&data).ok().flatten().is_some_and(|pair| pair.content() == truth);
        while !served() {
            assert!(Instant::now() < deadline, "not served within {QUIET_LIMIT:?}\n{}", agent.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        let verified = self.host.run(&["verify", "--json"]);
        assert_eq!((verified.code, verified.json()["ok"].as_bool()), (0, Some(true)), "{verified:?}");
        let vitals = ProcessStats::of(agent.pid()).expect("the agent runs");
        assert!(
            vitals.anonymous <= MAX_MEMORY_AND_DESCRIPTORS.0
                && vitals.descriptors <= MAX_MEMORY_AND_DESCRIPTORS.1,
            "{vitals:?}"
        );
        self.stats.push(vitals);
        self.counts.add("calms in which all was well");
        self.restart_agent();
        self.update_totals();
    }

    /// A hold of a rollback would keep the table from being served.
    fn release(&self) {
        let deadline = Instant::now() + SOON;
        while self.host.run(&["rollback", "--release", "--json"]).code != 0 {
            assert!(Instant::now() < deadline, "the hold could not be released");
        }
    }

    /// Another agent after one that ended in good order, and no old builds, of which there would be thousands.
    fn restart_agent(&mut self) {
        let mut agent = self.agent.take().expect("an agent runs in a calm");
        let log = agent.log();
        assert!(!log.contains("panicked") && !log.contains("test-key"), "{log}");
        agent.signal(rustix::process::Signal::TERM);
        assert_eq!(agent.ended(Duration::from_secs(5)), 0, "{}", agent.log());
        assert_eq!(self.host.world.drafts().len(), 0, "staging was left behind");
        self.host.world.let_the_grace_pass();
        self.agent = Some(self.host.agent());
    }

    /// What was answered in time while nothing was taken away is paid for once and for all.
    fn update_totals(&mut self) {
        let provider = &self.host.world.provider;
        assert!(provider.wait_for_in_flight(0, SOON));
        let dealt = std::mem::take(&mut self.fault_source.lock().unwrap().chosen);
        for (seen, dealt) in provider.requests().iter().zip(&dealt).filter(|(seen, _)| seen.is_answered()) {
            let after = seen.answered_after().unwrap_or_default();
            let until = seen.at + after + KEPT_WITHIN;
            let troubled = self.disturbed.iter().any(|(began, ended)| *began <= until && seen.at <= *ended);
            for text in &seen.texts {
                assert!(
                    !self.answered.contains(text),
                    "{text:?} was paid for and kept, and paid for again; seed {}",
                    seed()
                );
            }
            if troubled || dealt.after_odd || after > TIMEOUT / 2 {
                self.counts.add("answers that may have been lost");
                continue;
            }
            self.answered.extend(seen.texts.iter().cloned());
            self.counts.add("answers kept for good");
        }
        provider.forget();
        self.disturbed.clear();
    }

    fn set_fault_rate(&self, weather: FaultRate) {
        self.fault_source.lock().unwrap().rate = weather;
    }

    fn report(&self, took: Duration) {
        let counts = self.counts.0.lock().unwrap();
        for (what, times) in counts.iter() {
            report_line("soak", &format!("{times} {what}"));
        }
        let faults: usize = self.fault_set.lock().unwrap().times_chosen.values().sum();
        report_line("soak", &format!("{faults} faults of the provider"));
        let most = |part: fn(&ProcessStats) -> u64| self.stats.iter().map(part).max().unwrap_or(0);
        let (memory, descriptors) = (most(|vitals| vitals.anonymous), most(|vitals| vitals.descriptors));
        report_line(
            "soak",
            &format!(
                "at most {memory} KiB and {descriptors} descriptors in a calm; {:.0} s",
                took.as_secs_f64()
            ),
        );
        if is_full() {
            assert!(self.host.small_disk, "the disk could not be filled here");
        }
    }
}

/// Ends a storm for its threads even where its own thread panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A writer's steps until the storm is over.
fn write(
    site: &SoakHost,
    agent: &Mutex<Option<Pid>>,
    lot: &mut fastrand::Rng,
    counts: &Counts,
    over: &AtomicBool,
) {
    while !over.load(Ordering::Relaxed) {
        let agent = *agent.lock().unwrap();
        writers::step(site, agent, lot, counts);
        std::thread::sleep(Duration::from_millis(lot.u64(..40)));
    }
}

/// A reader's looks until the storm is over: a whole pair each time, and no name missing.
fn read(site: &SoakHost, counts: &Counts, over: &AtomicBool) {
    let (data, mut owed) = (site.world.path("data"), Pending::default());
    while !over.load(Ordering::Relaxed) {
        for name in ["faiss.index", "metadata.json", "current", "served.json"] {
            assert!(data.join(name).exists(), "{name} is missing");
        }
        let pair = Pair::of(&data).and_then(|pair| pair.ok_or("nothing is served".to_owned()));
        let judged = pair.and_then(|pair| pair.check(MODEL, &mut owed));
        assert_eq!(judged, Ok(()), "seed {}", seed());
        counts.add("pairs read whole");
        std::thread::sleep(Duration::from_millis(1));
    }
}
