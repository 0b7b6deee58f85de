//! A faulty provider: whatever it answers, nothing wrong is served, and passes succeed when it recovers.
//!
//! Several agents run at the same time, each with a table that is edited at
//! random and a provider whose answers are chosen from every kind of fault in
//! `fault_kinds`. Each pass is requested by SIGUSR1, which no back-off delays, and
//! checked after its end:
//!
//! - the served build is a committed state of the table, not older than the one
//!   served before, and every record has the vector of its own text;
//! - no text was sent more often than the retry budget allows, no request had
//!   more texts than a batch, and no more were in flight than allowed;
//! - when the provider has recovered, the next pass serves the current table;
//! - no text was embedded twice; no redirect was followed; neither key nor
//!   control characters are in the log; the agent never ended;
//! - memory, descriptors and threads are at the end what they were at first.
//!
//! No check requires what a reader of the protocol cannot know. Right vectors for
//! the wrong texts cannot be noticed in Gemini's answers, and in `OpenAI`'s only by
//! their index. And a text may be embedded again if its right answer may have been
//! lost: it came so late that the agent may have stopped waiting, or on a
//! connection that had a custom answer before.

pub mod fault_kinds;
pub mod fault_rate;
mod gzip;
mod raw_http;
mod wrong_json;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;

use crate::process_stats::{Margin, ProcessStats, steady, thirds};
use crate::random_edits::People;
use crate::report::report_line;
use crate::sampling::{is_full, pick, seed};
use crate::served::{ExpectedVectors, Pair};
use crate::support::agent::Agent;
use crate::support::provider::{Api, Provider};
use crate::support::{MODEL, OPENAI_MODEL, SOON, World};
use fault_kinds::{Expectation, FaultSet};
use fault_rate::{FAILING_TEXT, FaultRate, FaultSource};

/// The memory that an agent may use, in KiB: it receives several answers up to the size limit at a time.
const MAX_MEMORY_KIB: u64 = 64 * 1024;
/// What the end may have beyond the beginning: memory that the allocator keeps, and a spare thread of a pool.
const MARGIN: Margin = Margin { anonymous: 16 * 1024, descriptors: 4, threads: 6 };

/// Long enough for every right answer, so that one that came too late is known by its time.
fn timeout() -> Duration {
    Duration::from_secs(pick(1, 2))
}

/// How an agent is set up.
#[derive(Clone, Copy, Debug)]
struct Shape {
    api: Api,
    batch: usize,
    concurrency: usize,
    budget: Duration,
    /// How many fault rates follow each other, in the gate and in full: waiting for the budget takes time.
    rounds: (usize, usize),
}

const SHAPES: [Shape; 6] = [
    shape(Api::Gemini, 2, 2, 0),
    shape(Api::OpenAi, 4, 1, 0),
    shape(Api::Gemini, 100, 1, 40),
    shape(Api::OpenAi, 1, 8, 40),
    shape(Api::Gemini, 2, 3, 600),
    shape(Api::OpenAi, 3, 2, 600),
];

const fn shape(api: Api, batch: usize, concurrency: usize, budget_ms: u64) -> Shape {
    let rounds = if budget_ms < 100 { (64, 400) } else { (6, 60) };
    Shape { api, batch, concurrency, budget: Duration::from_millis(budget_ms), rounds }
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn faulty_provider_never_causes_a_wrong_build() {
    let began = Instant::now();
    let trap = Provider::start();
    let kinds = |api, nth| Arc::new(Mutex::new(FaultSet::new(api, &trap.base_url(), seed() + nth)));
    let kinds_by_api = [(Api::Gemini, kinds(Api::Gemini, 1)), (Api::OpenAi, kinds(Api::OpenAi, 2))];

    let ends: Vec<RunTotals> = std::thread::scope(|scope| {
        let worlds = SHAPES.iter().zip(seed()..).map(|(shape, seed)| {
            let kinds =
                kinds_by_api.iter().find(|(api, _)| *api == shape.api).expect("there are two").1.clone();
            scope.spawn(move || {
                FaultyProviderRun::new(*shape, kinds, seed).run(pick(shape.rounds.0, shape.rounds.1))
            })
        });
        worlds.collect::<Vec<_>>().into_iter().map(|world| world.join().unwrap()).collect()
    });

    assert_eq!(trap.request_count(), 0, "a redirect was followed");
    report_faults(&kinds_by_api.map(|(_, kinds)| std::mem::take(&mut kinds.lock().unwrap().times_chosen)));
    let passes = report_passes(&ends, began.elapsed());
    assert!(passes >= pick(300, 2000), "{passes} passes are too few");
}

/// Every kind must have been chosen by one of the two protocols, in full by both.
fn report_faults([gemini, openai]: &[BTreeMap<String, usize>; 2]) {
    let both: BTreeSet<&String> = gemini.keys().chain(openai.keys()).collect();
    let chosen = |name: &String| [gemini, openai].map(|chosen| chosen.get(name).copied());
    let never = |name: &&&String| match chosen(name) {
        [Some(one), Some(other)] if is_full() => one.min(other) == 0,
        one => one.iter().flatten().sum::<usize>() == 0,
    };
    let missing: Vec<_> = both.iter().filter(never).collect();
    assert!(missing.is_empty(), "never chosen: {missing:?}");
    let min = both.iter().map(|name| chosen(name).iter().flatten().sum::<usize>()).min().unwrap_or(0);
    let faults = |chosen: &BTreeMap<String, usize>| chosen.values().sum::<usize>();
    report_line(
        "faulty_provider",
        &format!(
            "{} faults of {} kinds in Gemini's form, {} of {} in OpenAI's, none less than {min} times",
            faults(gemini),
            gemini.len(),
            faults(openai),
            openai.len()
        ),
    );
}

/// The outcomes of the passes of all agents, and what the agents used.
fn report_passes(ends: &[RunTotals], took: Duration) -> usize {
    let sum = |part: fn(&RunTotals) -> usize| ends.iter().map(part).sum::<usize>();
    let passes = sum(|end| end.outcomes.values().sum());
    let outcome = |name: &str| ends.iter().filter_map(|end| end.outcomes.get(name)).sum::<usize>();
    report_line(
        "faulty_provider",
        &format!(
            "{passes} passes by {} agents, {} failed, {} promoted; {} requests, {} texts embedded, none twice ({} answers may have been lost) but for {} witnesses; recovered {} times of {}; seed {}; {:.0} s",
            ends.len(),
            outcome("failed"),
            outcome("promoted"),
            sum(|end| end.requests),
            sum(|end| end.embedded),
            sum(|end| end.lost),
            sum(|end| end.witnesses),
            sum(|end| end.quiet_periods),
            sum(|end| end.quiet_periods),
            seed(),
            took.as_secs_f64(),
        ),
    );
    ends.iter().zip(SHAPES).for_each(|(end, shape)| report_process_stats(end, shape));
    passes
}

fn report_process_stats(end: &RunTotals, shape: Shape) {
    let (early, late) = thirds(&end.stats);
    let peak = end.stats.iter().map(|stats| stats.peak).max().unwrap_or(0);
    report_line(
        "faulty_provider",
        &format!(
            "{:?}, batches of {}, {} at a time, budget {:?}: memory {} → {} KiB (peak {peak} KiB), descriptors {} → {}, threads {} → {}",
            shape.api,
            shape.batch,
            shape.concurrency,
            shape.budget,
            early.anonymous,
            late.anonymous,
            early.descriptors,
            late.descriptors,
            early.threads,
            late.threads
        ),
    );
}

/// The totals of one agent.
#[derive(Default)]
struct RunTotals {
    outcomes: BTreeMap<String, usize>,
    quiet_periods: usize,
    requests: usize,
    embedded: usize,
    /// Right answers that may not have reached the agent.
    lost: usize,
    /// Right answers about a text that was served already.
    witnesses: usize,
    stats: Vec<ProcessStats>,
}

/// One agent, its table, and its provider.
struct FaultyProviderRun {
    shape: Shape,
    world: World,
    agent: Agent,
    people: People,
    database: Connection,
    fault_source: Arc<Mutex<FaultSource>>,
    random: fastrand::Rng,
    expected: ExpectedVectors,
    /// The number of the state of the table that was served last.
    served: usize,
    /// How much of the log was read.
    read: usize,
    totals: RunTotals,
}

impl FaultyProviderRun {
    fn new(shape: Shape, kinds: Arc<Mutex<FaultSet>>, seed: u64) -> Self {
        let world = World::in_memory();
        world.provider.excuse_money("each pass may send its own share again, and repeats are counted below");
        let Shape { batch, concurrency, budget, .. } = shape;
        let more = format!(
            "batch_size = {batch}\nconcurrency = {concurrency}\nretry_budget = \"{budget:?}\"\nrequest_timeout = \"{:?}\"\n\
             [trigger]\non = [\"marker\"]\nresync = \"1h\"\n[guard]\nmax_shrink = 1.0\n[log]\nlevel = \"info,reindexd::flows::agent=debug\"\n",
            timeout()
        );
        match shape.api {
            Api::Gemini => world.settings(&format!("[embedding]\n{more}")),
            Api::OpenAi => world.ask_openai(&more),
        }
        let mut database = world.connect();
        let people = People::beginning(&mut database, 6);
        let agent = Agent::start(&mut world.command(&["run"]));
        agent.wait_for_promotions(1);
        world.provider.forget();
        let fault_source = FaultSource::before(&world.provider, kinds, seed);
        let random = fastrand::Rng::with_seed(seed);
        let read = agent.log().len();
        Self {
            shape,
            world,
            agent,
            people,
            database,
            fault_source,
            random,
            expected: ExpectedVectors::default(),
            served: 0,
            read,
            totals: RunTotals::default(),
        }
    }

    fn run(mut self, rounds: usize) -> RunTotals {
        for round in 1..=rounds {
            self.people.edit(&mut self.database, 4, &mut self.random);
            let rate = self.choose_fault_rate();
            self.set_fault_rate(rate);
            for _ in 0..self.random.usize(1..=3) {
                let with_commit = self.random.u8(..6) == 0;
                self.pass(with_commit);
            }
            self.set_fault_rate(FaultRate::default());
            let outcome = self.pass(false);
            assert!(
                ["promoted", "unchanged"].contains(&outcome.as_str()),
                "round {round}: {}",
                self.report()
            );
            let served = Pair::of(&self.world.path("data")).unwrap().expect("something is served");
            assert_eq!(&served.content(), self.people.now(), "round {round}: {}", self.report());
            assert_eq!(self.world.drafts().len(), 0, "round {round}");
            self.totals.quiet_periods += 1;
            self.totals.stats.extend(ProcessStats::of(self.agent.pid()));
            if round % 8 == 0 {
                // Otherwise every build of the last ten minutes is kept and read.
                self.world.let_the_grace_pass();
            }
        }
        self.check_totals()
    }

    /// Chooses a rate at random, with the edit that belongs to it.
    fn choose_fault_rate(&mut self) -> FaultRate {
        let rate = FaultRate {
            odds: [25, 60, 100][self.random.usize(..3)],
            burst: if self.random.u8(..4) == 0 { self.random.u32(1..12) } else { 0 },
            latency: self.random.u64(..25),
            refuses_text: self.random.u8(..8) == 0,
        };
        if rate.refuses_text {
            self.people.write_text(&mut self.database, FAILING_TEXT, &mut self.random);
        }
        rate
    }

    fn set_fault_rate(&self, rate: FaultRate) {
        self.fault_source.lock().unwrap().rate = rate;
    }

    /// Requests a pass, with or without a commit during it, waits for its end,
    /// checks it, and returns its outcome.
    fn pass(&mut self, with_commit: bool) -> String {
        assert!(self.world.provider.wait_for_in_flight(0, SOON), "{}", self.report());
        let before = self.world.provider.request_count();
        self.agent.signal(Signal::USR1);
        if with_commit {
            // Served by this pass or by the next.
            self.people.edit(&mut self.database, 2, &mut self.random);
        }
        let (outcome, log) = self.end_of_pass();
        *self.totals.outcomes.entry(outcome.clone()).or_default() += 1;
        self.check_served();
        if !log.contains("trigger=retry") {
            self.check_requests(before);
        }
        outcome
    }

    /// Waits for the log line with the outcome of the requested pass.
    fn end_of_pass(&mut self) -> (String, String) {
        let deadline = Instant::now() + 2 * SOON;
        loop {
            let log = self.agent.log_from(self.read);
            let mut lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let end = lines.find(|line| line.contains("(outcome=") && line.contains("trigger=signal"));
            if let Some(outcome) = end.and_then(|line| line.split_once("(outcome=")) {
                self.read += log.len();
                let outcome = outcome.1.split_whitespace().next().unwrap_or_default().to_owned();
                return (outcome, log);
            }
            assert!(
                !self.agent.is_over() && Instant::now() < deadline,
                "the pass did not end\n{}",
                self.report()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The served build is right, and its content is a state of the table not
    /// older than the one served before.
    fn check_served(&mut self) {
        let pair =
            Pair::of(&self.world.path("data")).and_then(|pair| pair.ok_or("nothing is served".to_owned()));
        let pair = pair.unwrap_or_else(|fault| panic!("{:?}: {fault}\n{}", self.shape, self.report()));
        let model = if self.shape.api == Api::Gemini { MODEL } else { OPENAI_MODEL };
        if let Err(fault) = pair.check(model, &mut self.expected) {
            panic!("{:?}: {fault}\n{}", self.shape, self.report());
        }
        let place = self.people.place(&pair.content(), self.served);
        self.served =
            place.unwrap_or_else(|| panic!("a state that was never committed is served: {}", self.report()));
    }

    /// The requests since `before` are those that one pass may send.
    fn check_requests(&self, before: usize) {
        let Shape { batch, concurrency, budget, .. } = self.shape;
        let seen = self.world.provider.requests().split_off(before);
        let chosen = self.fault_source.lock().unwrap().chosen[before..].to_vec();
        // A refused batch is halved, and each half may be tried as often again. Alone, a text is a probe
        // first, and is sent once more where it must be proven that it is at fault.
        let levels = 3 + batch.next_power_of_two().ilog2() as usize;
        // The shortest wait between two tries is a quarter of a second, except for the last one.
        let tries = if budget.is_zero() { 1 } else { 2 + budget.as_millis() as usize / 250 };
        let restarts = if budget.is_zero() {
            1
        } else {
            1 + chosen.iter().filter(|chosen| chosen.expectation != Expectation::Wrong).count()
        };
        let mut sent: BTreeMap<&str, usize> = BTreeMap::new();
        for text in seen.iter().flat_map(|seen| &seen.texts) {
            *sent.entry(text).or_default() += 1;
        }
        let max = sent.values().max().copied().unwrap_or(0);
        assert!(
            max <= levels * tries * restarts,
            "{:?}: a text was sent {max} times\n{}",
            self.shape,
            self.report()
        );
        assert!(seen.iter().all(|seen| seen.texts.len() <= batch), "{:?}: {}", self.shape, self.report());
        if budget.is_zero() {
            let peak = self.world.provider.peak();
            assert!(peak <= concurrency, "{:?}: {peak} requests at a time\n{}", self.shape, self.report());
        }
    }

    /// Checks the whole run, and returns its totals.
    fn check_totals(mut self) -> RunTotals {
        assert!(!self.agent.is_over(), "{}", self.report());
        let log = self.agent.log();
        for never in ["panicked", "test-key", "\u{1b}", "\nINFO forged"] {
            assert!(!log.contains(never), "{never:?} is in the log");
        }
        let requests = self.world.provider.requests();
        let chosen = self.fault_source.lock().unwrap().chosen.clone();
        // The witness is a served text, sent alone after a failure to learn whether the provider works.
        let may_be_witness = |nth: usize| {
            let before = requests[..nth].iter().rev().take(self.shape.concurrency + 1);
            requests[nth].texts.len() == 1 && before.into_iter().any(|seen| !seen.is_answered())
        };
        let answered = requests.iter().zip(&chosen).enumerate().filter(|(_, (seen, _))| seen.is_answered());
        let (lost, kept): (Vec<_>, Vec<_>) = answered.partition(|(_, (seen, chosen))| {
            chosen.after_odd || seen.answered_after().is_some_and(|after| after > timeout() / 2)
        });
        let (mut embedded, mut witnesses) = (BTreeSet::new(), 0);
        for (nth, (seen, _)) in &kept {
            let Some(twice) = seen.texts.iter().find(|text| !embedded.insert(*text)) else { continue };
            if may_be_witness(*nth) {
                witnesses += 1;
                continue;
            }
            let sent = requests.iter().zip(&chosen).filter(|(seen, _)| seen.texts.contains(twice));
            let requests_of_text: Vec<_> =
                sent.map(|(seen, chosen)| (seen.at, seen.answered_after(), chosen)).collect();
            panic!("{:?}: embedded twice: {twice}: {requests_of_text:#?}", self.shape);
        }
        let mut totals = std::mem::take(&mut self.totals);
        (totals.requests, totals.embedded, totals.lost) = (requests.len(), embedded.len(), lost.len());
        totals.witnesses = witnesses;
        let peak = totals.stats.iter().map(|stats| stats.peak).max().unwrap_or(0);
        assert!(peak <= MAX_MEMORY_KIB, "{:?}: {peak} KiB of memory", self.shape);
        if let Err(grown) = steady(&totals.stats, MARGIN) {
            panic!("{:?}: {grown}", self.shape);
        }
        self.world.assert_proven();
        self.agent.stop();
        totals
    }

    /// The end of the log.
    fn report(&self) -> String {
        let log = self.agent.log();
        let from = log.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
        let fault_source = self.fault_source.lock().unwrap();
        let chosen = &fault_source.chosen[fault_source.chosen.len().saturating_sub(12)..];
        format!("seed {}, chosen last: {chosen:#?}, end of the log:\n{}", seed(), &log[from..])
    }
}
