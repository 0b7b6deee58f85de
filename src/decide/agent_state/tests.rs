//! Every state with every event, and properties of any sequence of them.

use super::*;
use proptest::prelude::*;

const BOTH: Timing = Timing {
    on_database: true,
    on_marker: true,
    quiet: Duration::from_secs(30),
    max_wait: Duration::from_secs(600),
    marker_quiet: Duration::from_millis(250),
};
const MARKER_ONLY: Timing = Timing { on_database: false, ..BOTH };
const DATABASE_ONLY: Timing = Timing { on_marker: false, ..BOTH };

const UNCHANGED: Event = ended_in(Outcome::Unchanged);
const PROMOTED: Event = ended_in(Outcome::Promoted);
const BUSY: Event = ended_in(Outcome::Busy);
const SOON: Event = ended_in(Outcome::Failed(Retry::Soon { wait: None }));
const ON_CHANGE: Event = ended_in(Outcome::Failed(Retry::OnChange));

const fn ended_in(outcome: Outcome) -> Event {
    Event::Ended { outcome, jitter: 0.0 }
}

/// A state machine with its own clock, which sends [`Event::Due`] at the right moments.
struct SimulatedAgent {
    state: AgentState,
    timing: Timing,
    origin: Instant,
    ms: u64,
    /// Passes started: when, and with which request.
    passes: Vec<(u64, PassRequest)>,
}

impl SimulatedAgent {
    fn new(timing: Timing) -> Self {
        let state = AgentState::Idle { owed: false };
        Self { state, timing, origin: Instant::now(), ms: 0, passes: Vec::new() }
    }

    /// A state machine in the middle of the pass that `event` caused.
    fn running(timing: Timing, event: Event) -> Self {
        let mut driven = Self::new(timing);
        driven.send(event);
        driven.pass_within(600_000);
        driven
    }

    fn now(&self) -> Instant {
        self.origin + Duration::from_millis(self.ms)
    }

    fn due(&self) -> Option<u64> {
        self.state.due(&self.timing).map(|due| {
            let past = due.saturating_duration_since(self.origin);
            u64::try_from(past.as_nanos().div_ceil(1_000_000)).unwrap()
        })
    }

    fn send(&mut self, event: Event) -> Action {
        let (state, action) = next(self.state, event, self.now(), &self.timing);
        if let Action::Build(request) = action {
            assert!(!self.is_running(), "a second pass at {} ms, on {event:?}", self.ms);
            self.passes.push((self.ms, request));
        }
        self.state = state;
        action
    }

    fn is_running(&self) -> bool {
        matches!(self.state, AgentState::Running { .. })
    }

    /// Lets time pass, stopping at each instant that is due.
    fn advance(&mut self, ms: u64) {
        let end = self.ms + ms;
        while let Some(due) = self.due().filter(|&due| due <= end) {
            self.ms = self.ms.max(due);
            self.send(Event::Due);
        }
        self.ms = end;
    }

    /// Lets time pass until a pass starts: how long that took, and its request.
    fn pass_within(&mut self, ms: u64) -> Option<(u64, PassRequest)> {
        let (count, before) = (self.passes.len(), self.ms);
        let end = self.ms + ms;
        while self.passes.len() == count {
            let due = self.due().filter(|&due| due <= end)?;
            self.ms = self.ms.max(due);
            self.send(Event::Due);
        }
        self.passes.last().map(|&(at, request)| (at - before, request))
    }
}

fn pass(trigger: Trigger, full_check: bool) -> PassRequest {
    PassRequest { trigger, full_check }
}

/// One of each state, none of them due yet.
fn states() -> [AgentState; 6] {
    let mut settling = SimulatedAgent::new(BOTH);
    settling.send(Event::Hint(Cause::Database));
    let mut rechecking = SimulatedAgent::running(BOTH, Event::Hint(Cause::Marker));
    rechecking.send(UNCHANGED);
    let running = SimulatedAgent::running(BOTH, Event::Hint(Cause::Request));
    let mut backing_off = SimulatedAgent::running(BOTH, Event::Hint(Cause::Request));
    backing_off.send(SOON);
    let idle = AgentState::Idle { owed: false };
    [idle, settling.state, rechecking.state, running.state, backing_off.state, AgentState::Stopping]
}

#[test]
fn every_state_handles_every_event() {
    let started = |served, marker_owed| Event::Started { served, marker_owed };
    // What follows: i(dle), s(ettling), r(echecking), b: running, o: backing off, x: stopping.
    // What is done: nothing, B(uild), R(eload), S(top).
    let table: &[(Event, [&str; 6])] = &[
        (started(true, false), ["bB", "s", "r", "b", "o", "x"]),
        (started(false, true), ["bB", "s", "r", "b", "o", "x"]),
        (Event::Hint(Cause::Database), ["s", "s", "r", "b", "o", "x"]),
        (Event::Hint(Cause::Marker), ["s", "s", "r", "b", "o", "x"]),
        (Event::Hint(Cause::Resync), ["bB", "s", "r", "b", "o", "x"]),
        (Event::Hint(Cause::Request), ["bB", "bB", "bB", "b", "bB", "x"]),
        (Event::Reload, ["iR", "sR", "rR", "bR", "oR", "x"]),
        (Event::Hint(Cause::Reload), ["s", "s", "r", "b", "o", "x"]),
        (Event::Due, ["i", "s", "r", "b", "o", "x"]),
        (PROMOTED, ["i", "s", "r", "i", "o", "x"]),
        (UNCHANGED, ["i", "s", "r", "i", "o", "x"]),
        (ended_in(Outcome::Refused), ["i", "s", "r", "i", "o", "x"]),
        (ended_in(Outcome::Held), ["i", "s", "r", "i", "o", "x"]),
        (ON_CHANGE, ["i", "s", "r", "i", "o", "x"]),
        (SOON, ["i", "s", "r", "o", "o", "x"]),
        (ended_in(Outcome::Failed(Retry::Hourly)), ["i", "s", "r", "o", "o", "x"]),
        (BUSY, ["i", "s", "r", "o", "o", "x"]),
        (ended_in(Outcome::Stopped), ["i", "s", "r", "o", "o", "x"]),
        (Event::Stop, ["xS", "xS", "xS", "xS", "xS", "x"]),
    ];
    for &(event, expected) in table {
        for (state, expected) in states().into_iter().zip(expected) {
            let (after, action) = next(state, event, Instant::now(), &BOTH);
            let after = match after {
                AgentState::Idle { .. } => "i",
                AgentState::Settling { .. } => "s",
                AgentState::Rechecking { .. } => "r",
                AgentState::Running { .. } => "b",
                AgentState::BackingOff { .. } => "o",
                AgentState::Stopping => "x",
            };
            let action = match action {
                Action::Wait => "",
                Action::Build(_) => "B",
                Action::Reload => "R",
                Action::Stop => "S",
            };
            assert_eq!(format!("{after}{action}"), expected, "{event:?} while {state}");
        }
    }
}

#[test]
fn each_event_brings_its_pass_in_its_time() {
    let hour = 3_600_000;
    let started = |served, marker_owed| Event::Started { served, marker_owed };
    let start = pass(Trigger::Start, false);
    let table = [
        (BOTH, started(true, false), Some((0, start))),
        (BOTH, started(true, true), Some((0, pass(Trigger::Start, true)))),
        (BOTH, Event::Hint(Cause::Database), Some((30_000, pass(Trigger::Database, false)))),
        (BOTH, Event::Hint(Cause::Marker), Some((250, pass(Trigger::Marker, true)))),
        (BOTH, Event::Hint(Cause::Resync), Some((0, pass(Trigger::Resync, false)))),
        (BOTH, Event::Hint(Cause::Request), Some((0, pass(Trigger::Signal, false)))),
        (BOTH, Event::Hint(Cause::Reload), Some((30_000, pass(Trigger::Reload, false)))),
        (MARKER_ONLY, started(true, false), None),
        (MARKER_ONLY, started(false, false), Some((0, start))),
        (MARKER_ONLY, started(true, true), Some((0, pass(Trigger::Start, true)))),
        (MARKER_ONLY, Event::Hint(Cause::Database), None),
        (MARKER_ONLY, Event::Hint(Cause::Resync), None),
        (MARKER_ONLY, Event::Hint(Cause::Reload), None),
        (MARKER_ONLY, Event::Hint(Cause::Marker), Some((250, pass(Trigger::Marker, true)))),
        (MARKER_ONLY, Event::Hint(Cause::Request), Some((0, pass(Trigger::Signal, false)))),
        (DATABASE_ONLY, started(true, true), Some((0, start))),
        (DATABASE_ONLY, Event::Hint(Cause::Marker), None),
        (DATABASE_ONLY, Event::Hint(Cause::Database), Some((30_000, pass(Trigger::Database, false)))),
    ];
    for (timing, event, expected) in table {
        let mut driven = SimulatedAgent::new(timing);
        driven.send(event);
        let found = driven.passes.last().copied().or_else(|| driven.pass_within(hour));
        assert_eq!(found, expected, "{event:?} with {timing:?}");
    }
}

#[test]
fn settings_are_read_again_though_the_database_is_not_a_trigger() {
    let mut driven = SimulatedAgent::new(MARKER_ONLY);
    assert_eq!(driven.send(Event::Reload), Action::Reload);
    assert_eq!(driven.state, AgentState::Idle { owed: false });
}

#[test]
fn failures_retried_soon_double_the_wait_up_to_an_hour() {
    let mut driven = SimulatedAgent::running(BOTH, Event::Hint(Cause::Request));
    let mut waits = Vec::new();
    for _ in 0..9 {
        driven.send(SOON);
        let (wait, request) = driven.pass_within(4_000_000).unwrap();
        assert_eq!(request, pass(Trigger::Retry, false));
        waits.push(wait / 1000);
    }
    assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
}

#[test]
fn jitter_takes_up_to_a_quarter_off_a_wait() {
    for (jitter, expected) in [(0.0, 30_000), (0.5, 26_250), (1.0, 22_500)] {
        let mut driven = SimulatedAgent::running(BOTH, Event::Hint(Cause::Request));
        let outcome = Outcome::Failed(Retry::Soon { wait: None });
        driven.send(Event::Ended { outcome, jitter });
        assert_eq!(driven.pass_within(60_000).map(|(wait, _)| wait), Some(expected));
    }
}

#[test]
fn a_wait_of_the_provider_lengthens_the_back_off_and_never_shortens_it() {
    let asked = |secs| Outcome::Failed(Retry::Soon { wait: Some(Duration::from_secs(secs)) });
    let table = [
        ("as asked", asked(46), 46_000),
        ("at once", asked(0), 30_000),
        ("sooner than our own wait", asked(29), 30_000),
        ("longer than our own longest", asked(7200), 3_600_000),
        ("never", asked(u64::MAX), 3_600_000),
        ("a quota", Outcome::Failed(Retry::Hourly), 3_600_000),
        ("the lock", Outcome::Busy, 1000),
    ];
    for (what, outcome, expected) in table {
        let mut driven = SimulatedAgent::running(BOTH, Event::Hint(Cause::Request));
        driven.send(ended_in(outcome));
        assert_eq!(driven.pass_within(100_000_000).map(|(wait, _)| wait), Some(expected), "{what}");
    }
}

#[test]
fn a_lock_held_by_another_is_tried_at_rising_intervals_and_is_not_a_failure() {
    let mut driven = SimulatedAgent::running(BOTH, Event::Hint(Cause::Marker));
    for expected in [1000, 2000, 4000, 8000, 10_000, 10_000] {
        driven.send(BUSY);
        assert_eq!(driven.state.to_string(), "waiting_for_lock");
        assert_eq!(driven.pass_within(60_000), Some((expected, pass(Trigger::Marker, true))));
    }
    driven.send(SOON);
    assert_eq!(driven.pass_within(60_000), Some((30_000, pass(Trigger::Retry, true))), "the first failure");
}

#[test]
fn a_back_off_is_cut_short_by_marker_and_signal_and_by_nothing_else() {
    let table = [
        (Event::Hint(Cause::Database), 29_000, pass(Trigger::Retry, false)),
        (Event::Hint(Cause::Resync), 29_000, pass(Trigger::Retry, false)),
        (Event::Hint(Cause::Reload), 29_000, pass(Trigger::Retry, false)),
        (Event::Hint(Cause::Marker), 250, pass(Trigger::Marker, true)),
        (Event::Hint(Cause::Request), 0, pass(Trigger::Signal, false)),
    ];
    for (event, wait, request) in table {
        let mut driven = SimulatedAgent::running(BOTH, Event::Hint(Cause::Request));
        driven.send(SOON);
        driven.advance(1000);
        let before = driven.ms;
        driven.send(event);
        if !driven.is_running() {
            driven.pass_within(60_000);
        }
        assert_eq!(driven.passes.last(), Some(&(before + wait, request)), "{event:?}");
        driven.send(SOON);
        assert_eq!(
            driven.pass_within(100_000).unwrap().0,
            60_000,
            "the failures still count after {event:?}"
        );
    }
}

#[test]
fn a_change_that_arrives_during_a_build_opens_a_window_of_its_own() {
    let mut driven = SimulatedAgent::running(BOTH, Event::Hint(Cause::Request));
    driven.advance(10_000);
    driven.send(Event::Hint(Cause::Database));
    driven.advance(5000);
    driven.send(PROMOTED);
    assert_eq!(driven.pass_within(600_000), Some((25_000, pass(Trigger::Database, false))));
}

#[test]
fn a_steady_writer_cannot_make_builds_follow_each_other_without_a_pause() {
    let mut driven = SimulatedAgent::running(BOTH, Event::Hint(Cause::Request));
    let mut ends = Vec::new();
    for second in 0..20_000_u64 {
        driven.send(Event::Hint(Cause::Database));
        driven.advance(1000);
        // Every build takes twenty minutes, more than max_wait.
        if let (true, Some(&(started, _))) = (driven.is_running(), driven.passes.last())
            && driven.ms >= started + 1_200_000
        {
            driven.send(PROMOTED);
            ends.push(second * 1000);
        }
    }
    assert!(driven.passes.len() > 10, "{} passes", driven.passes.len());
    for (&end, &(started, _)) in ends.iter().zip(&driven.passes[1..]) {
        assert!(started >= end + 30_000, "a build ended at {end} and the next started at {started}");
    }
}

#[test]
fn a_marker_touched_during_a_build_is_acted_on_shortly_after_its_end() {
    for outcome in [PROMOTED, UNCHANGED, SOON, ON_CHANGE, BUSY] {
        let mut driven = SimulatedAgent::running(BOTH, Event::Hint(Cause::Request));
        driven.advance(1000);
        driven.send(Event::Hint(Cause::Marker));
        driven.advance(100_000);
        driven.send(outcome);
        assert_eq!(driven.pass_within(60_000), Some((250, pass(Trigger::Marker, true))), "{outcome:?}");
    }
}

#[test]
fn a_signal_during_a_build_is_answered_at_its_end() {
    for outcome in [PROMOTED, UNCHANGED, SOON, ON_CHANGE, BUSY] {
        let mut driven = SimulatedAgent::running(BOTH, Event::Hint(Cause::Resync));
        driven.advance(1000);
        driven.send(Event::Hint(Cause::Request));
        driven.advance(1000);
        driven.send(outcome);
        assert_eq!(driven.pass_within(60_000), Some((0, pass(Trigger::Signal, false))), "{outcome:?}");
    }
}

#[test]
fn a_marker_that_a_failed_pass_left_goes_into_the_next_one() {
    let mut driven = SimulatedAgent::running(BOTH, Event::Hint(Cause::Marker));
    driven.advance(5000);
    driven.send(ON_CHANGE);
    driven.advance(5000);
    // One repeated scan, since the first followed the marker closely; then nothing.
    driven.send(ON_CHANGE);
    assert_eq!(driven.state, AgentState::Idle { owed: true });
    driven.send(Event::Hint(Cause::Database));
    assert_eq!(driven.pass_within(60_000), Some((30_000, pass(Trigger::Database, true))));
    driven.send(PROMOTED);
    assert_eq!(driven.state, AgentState::Idle { owed: false });
}

#[test]
fn a_retry_continues_the_markers_request_where_only_the_marker_counts() {
    let mut driven = SimulatedAgent::running(MARKER_ONLY, Event::Hint(Cause::Marker));
    driven.send(SOON);
    assert_eq!(driven.pass_within(60_000), Some((30_000, pass(Trigger::Retry, true))));
}

#[test]
fn a_scan_soon_after_a_hint_is_repeated_until_the_commit_is_visible() {
    let mut driven = SimulatedAgent::running(BOTH, Event::Hint(Cause::Marker));
    let mut scans = Vec::new();
    loop {
        driven.send(UNCHANGED);
        let Some((_, request)) = driven.pass_within(60_000) else { break };
        assert_eq!(request, pass(Trigger::Marker, false), "no second full check");
        scans.push(driven.ms);
    }
    assert_eq!(scans, [500, 1000, 2000]);
}

#[test]
fn a_scan_long_after_its_hint_is_not_repeated() {
    let mut driven = SimulatedAgent::running(BOTH, Event::Hint(Cause::Database));
    driven.send(UNCHANGED);
    assert_eq!(driven.state, AgentState::Idle { owed: false });
}

#[test]
fn a_build_soon_after_a_hint_is_rechecked_once_unless_another_pass_is_due() {
    for outcome in [PROMOTED, ON_CHANGE, ended_in(Outcome::Refused), ended_in(Outcome::Held)] {
        let mut alone = SimulatedAgent::running(BOTH, Event::Hint(Cause::Marker));
        alone.advance(100);
        alone.send(outcome);
        assert_eq!(alone.pass_within(60_000).map(|(wait, _)| wait), Some(1650), "{outcome:?}");
        alone.send(UNCHANGED);
        assert_eq!(alone.pass_within(60_000), None, "{outcome:?}");

        let mut hinted = SimulatedAgent::running(BOTH, Event::Hint(Cause::Marker));
        hinted.advance(100);
        hinted.send(Event::Hint(Cause::Database));
        hinted.send(outcome);
        assert_eq!(hinted.pass_within(60_000).map(|(wait, _)| wait), Some(30_000), "{outcome:?}");
    }
}

#[test]
fn a_signal_between_rechecks_does_not_end_them_early() {
    let mut driven = SimulatedAgent::running(BOTH, Event::Hint(Cause::Marker));
    driven.send(UNCHANGED);
    driven.advance(100);
    driven.send(Event::Hint(Cause::Request));
    driven.send(UNCHANGED);
    assert_eq!(driven.state.to_string(), "repeating");
}

#[test]
fn a_writer_of_other_tables_does_not_keep_the_agent_scanning() {
    let mut driven = SimulatedAgent::new(BOTH);
    for _ in 0..36_000 {
        driven.send(Event::Hint(Cause::Database));
        driven.advance(100);
        if driven.is_running() {
            driven.send(UNCHANGED);
        }
    }
    // An hour of it: one window every ten minutes, and its repeated scans.
    assert!(driven.passes.len() <= 7 * 5, "{} scans", driven.passes.len());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Advance(u64),
    Send(Event),
    End(Outcome),
}

fn step() -> impl Strategy<Value = Step> {
    let retry = prop_oneof![
        Just(Retry::Soon { wait: None }),
        (0_u64..100).prop_map(|secs| Retry::Soon { wait: Some(Duration::from_secs(secs)) }),
        Just(Retry::Hourly),
        Just(Retry::OnChange),
    ];
    prop_oneof![
        4 => prop_oneof![0_u64..400, 0_u64..40_000, 0_u64..700_000].prop_map(Step::Advance),
        5 => prop_oneof![
            4 => Just(Event::Hint(Cause::Database)),
            2 => Just(Event::Hint(Cause::Marker)),
            1 => Just(Event::Hint(Cause::Resync)),
            1 => Just(Event::Hint(Cause::Request)),
            1 => Just(Event::Reload),
            1 => Just(Event::Hint(Cause::Reload)),
            1 => Just(Event::Due),
        ].prop_map(Step::Send),
        3 => prop_oneof![
            Just(Outcome::Promoted),
            Just(Outcome::Unchanged),
            Just(Outcome::Refused),
            Just(Outcome::Held),
            Just(Outcome::Busy),
            retry.prop_map(Outcome::Failed),
        ].prop_map(Step::End),
    ]
}

/// What an observer outside the state machine knows, and requires of it.
struct MachineObserver {
    agent: SimulatedAgent,
    seen: usize,
    /// The first hint at the database that no scan has followed.
    unseen: Option<u64>,
    /// A marker that no pass has answered.
    owed: bool,
    /// The first touch of the marker that no full pass has followed.
    touched: Option<u64>,
    last_end: u64,
    was_off: bool,
}

impl MachineObserver {
    fn new(timing: Timing) -> Self {
        let driven = SimulatedAgent::new(timing);
        Self { agent: driven, seen: 0, unseen: None, owed: false, touched: None, last_end: 0, was_off: false }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Advance(ms) => {
                // In small steps, so that each pass is noticed when it begins.
                let end = self.agent.ms + ms;
                while self.agent.ms < end {
                    let to =
                        self.agent.due().filter(|&due| due > self.agent.ms).map_or(end, |due| due.min(end));
                    self.agent.advance(to - self.agent.ms);
                    self.check();
                }
            }
            Step::Send(event) => {
                match event {
                    Event::Hint(Cause::Database) => self.unseen = self.unseen.or(Some(self.agent.ms)),
                    Event::Hint(Cause::Marker) => {
                        self.owed = true;
                        self.touched = self.touched.or(Some(self.agent.ms));
                    }
                    _ => {}
                }
                self.agent.send(event);
            }
            Step::End(outcome) if self.agent.is_running() => {
                let answered = outcome.is_final() && self.agent.passes.last().unwrap().1.full_check;
                self.owed = self.touched.is_some() || (self.owed && !answered);
                self.agent.send(Event::Ended { outcome, jitter: 0.3 });
                self.last_end = self.agent.ms;
            }
            Step::End(_) => {}
        }
        self.check();
    }

    fn check(&mut self) {
        for &(started, request) in &self.agent.passes[self.seen..] {
            // A repeated scan leaves a marker that was touched since in its window.
            assert!(
                request.full_check || !self.owed || self.touched.is_some(),
                "a pass at {started} ms forgot the marker"
            );
            self.unseen = None;
            self.touched = self.touched.filter(|_| !request.full_check);
        }
        self.seen = self.agent.passes.len();
        let now = self.agent.ms;
        let off = matches!(self.agent.state, AgentState::BackingOff { .. });
        if self.was_off && !off {
            self.last_end = self.last_end.max(now);
        }
        self.was_off = off;
        if self.agent.is_running() {
            return;
        }
        if let Some(first) = self.touched {
            let latest = (first + 600_000).max(self.last_end + 250);
            assert!(now <= latest, "a marker touched at {first} ms waits at {now} ms");
        }
        if let (Some(first), false) = (self.unseen, off) {
            let latest = (first + 600_000).max(self.last_end + 30_000);
            assert!(now <= latest, "a hint at {first} ms waits at {now} ms");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn hints_are_bounded_markers_kept_passes_exclusive(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut observer = MachineObserver::new(BOTH);
        for step in steps {
            observer.step(step);
        }
        // After any such sequence, passes that succeed lead back to idle.
        for _ in 0..20 {
            observer.step(Step::End(Outcome::Unchanged));
            observer.step(Step::Advance(90_000_000));
        }
        prop_assert!(matches!(observer.agent.state, AgentState::Idle { .. }), "{:?}", observer.agent.state);
        prop_assert!(observer.touched.is_none() && observer.unseen.is_none());
    }

    #[test]
    fn where_only_the_marker_counts_no_change_of_the_database_brings_a_pass(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut driven = SimulatedAgent::new(MARKER_ONLY);
        for step in steps {
            match step {
                Step::Advance(ms) => driven.advance(ms),
                Step::Send(Event::Hint(Cause::Marker | Cause::Request)) | Step::End(_) => {}
                Step::Send(event) => {
                    driven.send(event);
                }
            }
        }
        prop_assert!(driven.passes.is_empty());
    }

    #[test]
    fn stopping_is_final(
        before in prop::collection::vec(step(), 0..40),
        after in prop::collection::vec(step(), 0..40),
    ) {
        let mut observer = MachineObserver::new(BOTH);
        for step in before {
            observer.step(step);
        }
        let driven = &mut observer.agent;
        prop_assert_eq!(driven.send(Event::Stop), Action::Stop);
        for step in after {
            match step {
                Step::Advance(ms) => driven.advance(ms),
                Step::Send(event) => prop_assert_eq!(driven.send(event), Action::Wait),
                Step::End(outcome) => prop_assert_eq!(driven.send(ended_in(outcome)), Action::Wait),
            }
            prop_assert_eq!(driven.state, AgentState::Stopping);
        }
    }
}
