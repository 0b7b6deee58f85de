//! A provider from hell: whatever it answers, nothing wrong is served, and all is well when it is.
//!
//! Agents run beside each other, each with a table that is edited by lot and a
//! provider whose answers are drawn from a deck of every kind of fault that
//! `hell/kinds.rs` knows. Each pass is asked for by SIGUSR1, which no back-off
//! holds up, and judged when it has ended:
//!
//! - what is served is a state in which the table was committed, not older than
//!   the one served before, every record with the vector of its own text;
//! - no text was sent more often than the retry budget allows, no request had
//!   more texts than a batch, and no more were on their way than allowed;
//! - once the provider is well again, the next pass serves the table as it is;
//! - nothing was paid for twice; no redirect was followed; neither key nor
//!   control characters are in the log; the agent never ended;
//! - memory, descriptors and threads are at the end what they were at first.
//!
//! No law can ask for what no reader of the protocol could know. Right vectors
//! for the wrong texts are such a lie, in Gemini's answers always, and in
//! `OpenAI`'s where the index says so too. And a text may be paid for again whose
//! right answer was lost: it came so late that the agent may have stopped
//! waiting, or on a connection that had carried something odd before.

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
use crate::served::{Pair, Pending};
use crate::support::agent::Agent;
use crate::support::provider::{Api, Provider};
use crate::support::{MODEL, OPENAI_MODEL, SOON, World};
use fault_kinds::{Expectation, FaultSet};
use fault_rate::{FAILING_TEXT, FaultRate, FaultSource};

/// The most that an agent may hold in memory, in KiB: it is sent answers up to the size limit, several at a time.
const MAX_MEMORY_KIB: u64 = 64 * 1024;
/// What the end may hold beyond the beginning: what the allocator keeps for itself, and a pool's spare thread.
const MARGIN: Margin = Margin { anonymous: 16 * 1024, descriptors: 4, threads: 6 };

/// Long enough for every honest answer, so that one that was given up on is known by its lateness.
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
    /// How often the weather turns, thinned and in full: a budget that is waited out takes its time.
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
    let deck = |api, nth| Arc::new(Mutex::new(FaultSet::new(api, &trap.base_url(), seed() + nth)));
    let decks = [(Api::Gemini, deck(Api::Gemini, 1)), (Api::OpenAi, deck(Api::OpenAi, 2))];

    let ends: Vec<RunTotals> = std::thread::scope(|scope| {
        let worlds = SHAPES.iter().zip(seed()..).map(|(shape, seed)| {
            let deck = decks.iter().find(|(api, _)| *api == shape.api).expect("there are two").1.clone();
            scope.spawn(move || {
                FaultyProviderRun::new(*shape, deck, seed).run(pick(shape.rounds.0, shape.rounds.1))
            })
        });
        worlds.collect::<Vec<_>>().into_iter().map(|world| world.join().unwrap()).collect()
    });

    assert_eq!(trap.request_count(), 0, "a redirect was followed");
    report_faults(&decks.map(|(_, deck)| std::mem::take(&mut deck.lock().unwrap().times_chosen)));
    let passes = report_passes(&ends, began.elapsed());
    assert!(passes >= pick(300, 2000), "{passes} passes are too few");
}

/// Every kind must have been dealt by one of the two protocols, in full by both.
fn report_faults([gemini, openai]: &[BTreeMap<String, usize>; 2]) {
    let both: BTreeSet<&String> = gemini.keys().chain(openai.keys()).collect();
    let dealt = |name: &String| [gemini, openai].map(|dealt| dealt.get(name).copied());
    let never = |name: &&&String| match dealt(name) {
        [Some(one), Some(other)] if is_full() => one.min(other) == 0,
        one => one.iter().flatten().sum::<usize>() == 0,
    };
    let missing: Vec<_> = both.iter().filter(never).collect();
    assert!(missing.is_empty(), "these were never dealt: {missing:?}");
    let least = both.iter().map(|name| dealt(name).iter().flatten().sum::<usize>()).min().unwrap_or(0);
    let faults = |dealt: &BTreeMap<String, usize>| dealt.values().sum::<usize>();
    report_line(
        "hell",
        &format!(
            "{} faults of {} kinds in Gemini's words, {} of {} in OpenAI's, none less than {least} times",
            faults(gemini),
            gemini.len(),
            faults(openai),
            openai.len()
        ),
    );
}

/// What came of the passes of all agents, and what the agents held on to.
fn report_passes(ends: &[RunTotals], took: Duration) -> usize {
    let sum = |part: fn(&RunTotals) -> usize| ends.iter().map(part).sum::<usize>();
    let passes = sum(|end| end.outcomes.values().sum());
    let outcome = |name: &str| ends.iter().filter_map(|end| end.outcomes.get(name)).sum::<usize>();
    report_line(
        "hell",
        &format!(
            "{passes} passes by {} agents, {} failed, {} promoted; {} requests, {} texts bought, none twice ({} answers may have been lost); well again {} times of {}; seed {}; {:.0} s",
            ends.len(),
            outcome("failed"),
            outcome("promoted"),
            sum(|end| end.requests),
            sum(|end| end.embedded),
            sum(|end| end.lost),
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
    let peak = end.stats.iter().map(|vitals| vitals.peak).max().unwrap_or(0);
    report_line(
        "hell",
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

/// What one agent went through.
#[derive(Default)]
struct RunTotals {
    outcomes: BTreeMap<String, usize>,
    quiet_periods: usize,
    requests: usize,
    embedded: usize,
    /// Right answers that may have been lost on the way.
    lost: usize,
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
    lot: fastrand::Rng,
    pending: Pending,
    /// The place in history of what was served last.
    served: usize,
    /// How much of the log was read.
    read: usize,
    totals: RunTotals,
}

impl FaultyProviderRun {
    fn new(shape: Shape, deck: Arc<Mutex<FaultSet>>, seed: u64) -> Self {
        let world = World::in_memory();
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
        let dealer = FaultSource::before(&world.provider, deck, seed);
        let lot = fastrand::Rng::with_seed(seed);
        let read = agent.log().len();
        Self {
            shape,
            world,
            agent,
            people,
            database,
            fault_source: dealer,
            lot,
            pending: Pending::default(),
            served: 0,
            read,
            totals: RunTotals::default(),
        }
    }

    fn run(mut self, rounds: usize) -> RunTotals {
        for round in 1..=rounds {
            self.people.edit(&mut self.database, 4, &mut self.lot);
            let storm = self.draw_fault_rate();
            self.set_fault_rate(storm);
            for _ in 0..self.lot.usize(1..=3) {
                let beside = self.lot.u8(..6) == 0;
                self.pass(beside);
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
                // Else every build of the last ten minutes is kept and looked into.
                self.world.let_the_grace_pass();
            }
        }
        self.check_totals()
    }

    /// A weather drawn by lot, with an edit that belongs to it.
    fn draw_fault_rate(&mut self) -> FaultRate {
        let weather = FaultRate {
            odds: [25, 60, 100][self.lot.usize(..3)],
            burst: if self.lot.u8(..4) == 0 { self.lot.u32(1..12) } else { 0 },
            latency: self.lot.u64(..25),
            poison: self.lot.u8(..8) == 0,
        };
        if weather.poison {
            self.people.write_text(&mut self.database, FAILING_TEXT, &mut self.lot);
        }
        weather
    }

    fn set_fault_rate(&self, weather: FaultRate) {
        self.fault_source.lock().unwrap().rate = weather;
    }

    /// Asks for a pass, with a commit beside it or not, waits for its end, and judges it; says how it ended.
    fn pass(&mut self, beside: bool) -> String {
        assert!(self.world.provider.wait_for_in_flight(0, SOON), "{}", self.report());
        let before = self.world.provider.request_count();
        self.agent.signal(Signal::USR1);
        if beside {
            // Served by this pass or by the next.
            self.people.edit(&mut self.database, 2, &mut self.lot);
        }
        let (outcome, said) = self.end_of_pass();
        *self.totals.outcomes.entry(outcome.clone()).or_default() += 1;
        self.check_served();
        if !said.contains("trigger=retry") {
            self.check_requests(before);
        }
        outcome
    }

    /// Waits for the line that tells of the end of the pass that was asked for.
    fn end_of_pass(&mut self) -> (String, String) {
        let deadline = Instant::now() + 2 * SOON;
        loop {
            let said = self.agent.log_from(self.read);
            let mut lines = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let end = lines.find(|line| line.contains(" outcome=") && line.contains("trigger=signal"));
            if let Some(outcome) = end.and_then(|line| line.split_once(" outcome=")) {
                self.read += said.len();
                let outcome = outcome.1.split_whitespace().next().unwrap_or_default().to_owned();
                return (outcome, said);
            }
            assert!(
                !self.agent.is_over() && Instant::now() < deadline,
                "no end of a pass\n{}",
                self.report()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What is served is true, and a state of the table that is no older than what was served before.
    fn check_served(&mut self) {
        let pair =
            Pair::of(&self.world.path("data")).and_then(|pair| pair.ok_or("nothing is served".to_owned()));
        let pair = pair.unwrap_or_else(|fault| panic!("{:?}: {fault}\n{}", self.shape, self.report()));
        let model = if self.shape.api == Api::Gemini { MODEL } else { OPENAI_MODEL };
        if let Err(fault) = pair.check(model, &mut self.pending) {
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
        let dealt = self.fault_source.lock().unwrap().chosen[before..].to_vec();
        // A part that is refused is halved, and each half may be tried as often again.
        let levels = 1 + batch.next_power_of_two().ilog2() as usize;
        // The shortest wait between two tries is a quarter of a second, but for the last one.
        let tries = if budget.is_zero() { 1 } else { 2 + budget.as_millis() as usize / 250 };
        let silences = if budget.is_zero() {
            1
        } else {
            1 + dealt.iter().filter(|dealt| dealt.expectation != Expectation::Wrong).count()
        };
        let mut sent: BTreeMap<&str, usize> = BTreeMap::new();
        for text in seen.iter().flat_map(|seen| &seen.texts) {
            *sent.entry(text).or_default() += 1;
        }
        let most = sent.values().max().copied().unwrap_or(0);
        assert!(
            most <= levels * tries * silences,
            "{:?}: a text was sent {most} times\n{}",
            self.shape,
            self.report()
        );
        assert!(seen.iter().all(|seen| seen.texts.len() <= batch), "{:?}: {}", self.shape, self.report());
        if budget.is_zero() {
            let peak = self.world.provider.peak();
            assert!(peak <= concurrency, "{:?}: {peak} requests at a time\n{}", self.shape, self.report());
        }
    }

    /// The last account of everything.
    fn check_totals(mut self) -> RunTotals {
        assert!(!self.agent.is_over(), "{}", self.report());
        let log = self.agent.log();
        for never in ["panicked", "test-key", "\u{1b}", "\nINFO forged"] {
            assert!(!log.contains(never), "{never:?} is in the log");
        }
        let requests = self.world.provider.requests();
        let dealt = self.fault_source.lock().unwrap().chosen.clone();
        let paid = requests.iter().zip(&dealt).filter(|(seen, _)| seen.is_answered());
        let (lost, kept): (Vec<_>, Vec<_>) = paid.partition(|(seen, dealt)| {
            dealt.after_odd || seen.answered_after().is_some_and(|after| after > timeout() / 2)
        });
        let mut bought = BTreeSet::new();
        let mut texts = kept.iter().flat_map(|(seen, _)| &seen.texts);
        if let Some(twice) = texts.by_ref().find(|text| !bought.insert(*text)) {
            let sent = requests.iter().zip(&dealt).filter(|(seen, _)| seen.texts.contains(twice));
            let story: Vec<_> = sent.map(|(seen, dealt)| (seen.at, seen.answered_after(), dealt)).collect();
            panic!("{:?}: paid for twice: {twice}: {story:#?}", self.shape);
        }
        let mut tally = std::mem::take(&mut self.totals);
        (tally.requests, tally.embedded, tally.lost) = (requests.len(), bought.len(), lost.len());
        let peak = tally.stats.iter().map(|vitals| vitals.peak).max().unwrap_or(0);
        assert!(peak <= MAX_MEMORY_KIB, "{:?}: {peak} KiB of memory", self.shape);
        if let Err(grown) = steady(&tally.stats, MARGIN) {
            panic!("{:?}: {grown}", self.shape);
        }
        self.world.assert_proven();
        self.agent.stop();
        tally
    }

    /// The end of the log.
    fn report(&self) -> String {
        let log = self.agent.log();
        let from = log.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
        let dealer = self.fault_source.lock().unwrap();
        let dealt = &dealer.chosen[dealer.chosen.len().saturating_sub(12)..];
        format!("seed {}, dealt last: {dealt:#?}, end of the log:\n{}", seed(), &log[from..])
    }
}
