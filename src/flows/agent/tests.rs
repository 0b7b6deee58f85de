//! The loop under a paused clock, with passes that the test itself ends.

use super::*;
use crate::adapters::watch::{self, HintSender, Hints, Watch};
use crate::config::{TriggerOn, WatchMode};
use crate::decide::source_path::{HiddenChanges, PathWarning};
use crate::domain::pass::Trigger;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc as blocking};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const PROMOTED: Outcome = Outcome::Promoted;
const UNCHANGED: Outcome = Outcome::Unchanged;
const SOON: Outcome = Outcome::Failed(Retry::Soon { wait: None });
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An agent on files that only the test changes, in time that only passes while
/// nothing runs.
struct AgentHarness {
    hints: HintSender,
    signals: mpsc::UnboundedSender<Signal>,
    passes: mpsc::UnboundedReceiver<TestPass>,
    shared: Arc<HarnessState>,
    agent: JoinHandle<ExitReason>,
}

/// What the test and the agent's host share.
struct HarnessState {
    files: Mutex<FileStamps>,
    warnings: Mutex<Vec<PathWarning>>,
    settings: Mutex<Option<config::TriggerSettings>>,
    saved: Mutex<Option<FileStamp>>,
    reported: Mutex<Vec<String>>,
    sweeps: AtomicUsize,
    running: AtomicUsize,
}

impl HarnessState {
    fn new(marker: Option<FileStamp>, handled: Option<FileStamp>) -> Arc<Self> {
        let files = FileStamps {
            source: [stamp(1), None],
            source_settled: true,
            marker,
            links: vec![stamp(1), stamp(1), stamp(1)],
        };
        Arc::new(Self {
            files: Mutex::new(files),
            warnings: Mutex::default(),
            settings: Mutex::new(None),
            saved: Mutex::new(handled),
            reported: Mutex::default(),
            sweeps: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
        })
    }
}

/// A pass that waits for the test to end it.
struct TestPass {
    request: PassRequest,
    stop: Stop,
    end: blocking::Sender<Outcome>,
}

impl TestPass {
    fn end(self, outcome: Outcome) {
        self.end.send(outcome).unwrap();
    }
}

/// What `stat` says in a test.
type StatFn = Box<dyn Fn(&Path) -> FileStamps + Send + Sync>;

struct TestHost {
    shared: Arc<HarnessState>,
    started: mpsc::UnboundedSender<TestPass>,
    stat: StatFn,
}

impl Host for TestHost {
    fn run_pass(&self, request: PassRequest, stop: Stop) -> PassReport {
        assert_eq!(self.shared.running.fetch_add(1, Ordering::SeqCst), 0, "two passes at once");
        let (end, ended) = blocking::channel();
        self.started.send(TestPass { request, stop, end }).unwrap();
        let outcome = ended.recv().expect("the test ends each pass");
        self.shared.running.fetch_sub(1, Ordering::SeqCst);
        PassReport::without_build(outcome, outcome.to_string())
    }

    fn sweep(&self) -> Result<(), BoxError> {
        assert_eq!(self.shared.running.load(Ordering::SeqCst), 0, "swept under a running pass");
        self.shared.sweeps.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn stat_files(&self, marker: &Path) -> FileStamps {
        (self.stat)(marker)
    }

    fn path_warnings(&self) -> Vec<PathWarning> {
        self.shared.warnings.lock().unwrap().clone()
    }

    fn reload(&self) -> Option<config::TriggerSettings> {
        self.shared.settings.lock().unwrap().take()
    }

    fn last_handled_marker(&self) -> Option<FileStamp> {
        *self.shared.saved.lock().unwrap()
    }

    fn save_marker(&self, stamp: FileStamp) -> io::Result<()> {
        *self.shared.saved.lock().unwrap() = Some(stamp);
        Ok(())
    }
}

struct TestObserver(Arc<HarnessState>, Option<Duration>);

impl Observer for TestObserver {
    fn on_event(&mut self, event: &AgentEvent<'_>) {
        let line = match event {
            AgentEvent::StateEntered { state, .. } => state.to_string(),
            AgentEvent::PassFinished { report, .. } => report.message.clone(),
            other => format!("{other:?}").split([' ', '{']).next().unwrap().to_owned(),
        };
        self.0.reported.lock().unwrap().push(line);
    }

    fn heartbeat(&self) -> Option<Duration> {
        self.1
    }
}

fn settings(database: bool, marker: bool) -> config::TriggerSettings {
    config::TriggerSettings {
        marker: PathBuf::from("marker"),
        on: TriggerOn { database, marker },
        quiet: Duration::from_secs(30),
        max_wait: Duration::from_secs(600),
        marker_quiet: Duration::from_millis(250),
        resync: Duration::from_secs(600),
        watch: WatchMode::Auto,
        poll_interval: Duration::from_secs(2),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "any stamp may be missing")]
fn stamp(number: u64) -> Option<FileStamp> {
    Some(FileStamp { inode: number, size: 1, mtime_ns: 1, ctime_ns: 1 })
}

impl AgentHarness {
    fn new(trigger: config::TriggerSettings) -> Self {
        Self::with(trigger, stamp(1), stamp(1))
    }

    /// A world with a marker at the start, and one that was handled before.
    fn with(trigger: config::TriggerSettings, marker: Option<FileStamp>, handled: Option<FileStamp>) -> Self {
        let shared = HarnessState::new(marker, handled);
        let files = Arc::clone(&shared);
        let stat = Box::new(move |_: &Path| files.files.lock().unwrap().clone());
        Self::start(trigger, shared, watch::channel(), stat, None)
    }

    fn start(
        trigger: config::TriggerSettings,
        shared: Arc<HarnessState>,
        (sender, hints): (HintSender, Hints),
        stat: StatFn,
        heartbeat: Option<Duration>,
    ) -> Self {
        let (signals, mut raised) = mpsc::unbounded_channel();
        let (started, passes) = mpsc::unbounded_channel();
        let signal_stream = stream::poll_fn(move |context| raised.poll_recv(context));
        let sources = EventSources { hints, signals: signal_stream };
        let host = Arc::new(TestHost { shared: Arc::clone(&shared), started, stat });
        let silent = TestObserver(HarnessState::new(None, None), None);
        let observers: Vec<Box<dyn Observer>> =
            vec![Box::new(silent), Box::new(TestObserver(Arc::clone(&shared), heartbeat))];
        let agent = tokio::spawn(run(trigger, true, sources, host, observers));
        Self { hints: sender, signals, passes, shared, agent }
    }

    /// A world whose start pass has found nothing to do.
    async fn idle_after_start(trigger: config::TriggerSettings) -> Self {
        let starts_with_a_pass = trigger.on.database;
        let mut world = Self::new(trigger);
        if starts_with_a_pass {
            world.pass().await.1.end(UNCHANGED);
        }
        world.idle().await;
        world
    }

    /// Waits until something was reported so often.
    async fn wait_for_reports(&self, what: &str, count: usize) {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while self.reported(what) < count {
            assert!(std::time::Instant::now() < deadline, "{what}: {}", self.reported(what));
            tokio::task::yield_now().await;
        }
    }

    /// Lets the loop take what has arrived while a pass keeps the clock from going on: its question to
    /// `stat` is answered by a thread.
    async fn let_it_react(&self) {
        let until = std::time::Instant::now() + Duration::from_millis(100);
        while std::time::Instant::now() < until {
            tokio::task::yield_now().await;
        }
    }

    /// The next pass, and how long it took to come.
    async fn pass_within(&mut self, limit: Duration) -> Option<(Duration, TestPass)> {
        let from = Instant::now();
        let pass = timeout_at(from + limit + Duration::from_millis(1), self.passes.recv()).await.ok()?;
        Some((from.elapsed(), pass.expect("the agent runs")))
    }

    async fn pass(&mut self) -> (Duration, TestPass) {
        self.pass_within(DAY).await.expect("a pass")
    }

    /// Waits until the agent has nothing to do at this moment. Not while a pass
    /// runs: the clock stands still then.
    async fn idle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    fn edit(&self, edit: impl FnOnce(&mut FileStamps)) {
        edit(&mut self.shared.files.lock().unwrap());
    }

    fn commit(&self, number: u64) {
        self.edit(|files| files.source[1] = stamp(number));
        self.hints.send(Hint::Database);
    }

    fn touch(&self, number: u64) {
        self.edit(|files| files.marker = stamp(number));
        self.hints.send(Hint::Marker);
    }

    fn raise(&self, signal: Signal) {
        self.signals.send(signal).unwrap();
    }

    fn saved(&self) -> Option<FileStamp> {
        *self.shared.saved.lock().unwrap()
    }

    fn sweeps(&self) -> usize {
        self.shared.sweeps.load(Ordering::SeqCst)
    }

    fn reported(&self, what: &str) -> usize {
        self.shared.reported.lock().unwrap().iter().filter(|line| *line == what).count()
    }
}

fn pass_request(trigger: Trigger, full_check: bool) -> PassRequest {
    PassRequest { trigger, full_check }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Timers of tokio tick in milliseconds.
fn about(found: Duration, expected: Duration) -> bool {
    found >= expected && found <= expected + Duration::from_millis(3)
}

#[tokio::test(start_paused = true)]
async fn the_agent_sweeps_reconciles_and_then_follows_the_database() {
    let mut world = AgentHarness::new(settings(true, true));
    let (_, start) = world.pass().await;
    assert_eq!((start.request, world.sweeps()), (pass_request(Trigger::Start, false), 1));
    start.end(PROMOTED);
    world.idle().await;

    world.commit(2);
    let (wait, pass) = world.pass().await;
    assert_eq!(pass.request, pass_request(Trigger::Database, false));
    assert!(about(wait, secs(30)), "{wait:?}");
    pass.end(PROMOTED);
}

#[tokio::test(start_paused = true)]
async fn hint_that_stat_does_not_confirm_starts_no_pass() {
    let mut world = AgentHarness::idle_after_start(settings(true, true)).await;
    world.hints.send(Hint::Database);
    assert!(world.pass_within(secs(500)).await.is_none(), "such as our own reading causes");
    world.hints.send(Hint::Everything);
    assert!(world.pass_within(secs(90)).await.is_none(), "nor for lost events");
}

#[tokio::test(start_paused = true)]
async fn hint_counts_if_the_source_had_not_settled_before_the_last_scan() {
    let mut world = AgentHarness::idle_after_start(settings(true, true)).await;
    world.edit(|files| files.source_settled = false);
    world.raise(Signal::Now);
    world.pass().await.1.end(UNCHANGED);
    world.idle().await;
    world.hints.send(Hint::Database);
    assert!(about(world.pass().await.0, secs(30)));
}

#[tokio::test(start_paused = true)]
async fn change_during_a_pass_is_scanned_after_it() {
    let mut world = AgentHarness::new(settings(true, true));
    let (_, pass) = world.pass().await;
    world.commit(2);
    // While the pass runs the clock stands still, and the hint is taken all the same.
    world.let_it_react().await;
    tokio::time::advance(secs(20)).await;
    pass.end(PROMOTED);
    let (wait, pass) = world.pass().await;
    assert_eq!(pass.request, pass_request(Trigger::Database, false));
    assert!(about(wait, secs(10)), "{wait:?}");
    pass.end(PROMOTED);
}

#[tokio::test(start_paused = true)]
async fn marker_is_saved_as_it_was_before_the_pass_and_only_with_an_outcome() {
    let mut world = AgentHarness::idle_after_start(settings(true, true)).await;
    world.touch(2);
    let (wait, pass) = world.pass().await;
    assert_eq!(pass.request, pass_request(Trigger::Marker, true));
    assert!(about(wait, Duration::from_millis(250)), "{wait:?}");
    pass.end(SOON);
    let (_, pass) = world.pass().await;
    assert_eq!(pass.request, pass_request(Trigger::Retry, true));
    assert_eq!(world.saved(), stamp(1), "after a failure it is still owed");

    world.touch(3);
    pass.end(PROMOTED);
    let (wait, pass) = world.pass().await;
    assert_eq!(world.saved(), stamp(2), "the touch during the pass is another one");
    assert_eq!(pass.request, pass_request(Trigger::Marker, true));
    assert!(wait <= Duration::from_millis(251));
    tokio::time::advance(secs(3)).await;
    pass.end(Outcome::Refused);
    world.pass().await.1.end(UNCHANGED);
    world.idle().await;
    assert_eq!(world.saved(), stamp(3));
}

#[tokio::test(start_paused = true)]
async fn marker_whose_scan_is_rechecked_is_saved_after_the_last_recheck() {
    let mut world = AgentHarness::idle_after_start(settings(true, true)).await;
    world.touch(2);
    for expected in [250, 250, 500, 1000] {
        let (wait, pass) = world.pass().await;
        assert!(about(wait, Duration::from_millis(expected)), "{wait:?} for {expected}");
        assert_eq!(world.saved(), stamp(1));
        pass.end(UNCHANGED);
    }
    world.idle().await;
    assert_eq!(world.saved(), stamp(2));
}

#[tokio::test(start_paused = true)]
async fn with_marker_only_a_start_handles_a_touch_it_has_not_seen() {
    let table = [
        ("handled before", stamp(1), stamp(1), false),
        ("touched while the agent was down", stamp(2), stamp(1), true),
        ("never handled", stamp(1), None, true),
        ("removed", None, stamp(1), false),
        ("never there", None, None, false),
    ];
    for (what, marker, handled, expected) in table {
        let mut world = AgentHarness::with(settings(false, true), marker, handled);
        let pass = world.pass_within(DAY).await;
        assert_eq!(pass.is_some(), expected, "{what}");
        if let Some((_, pass)) = pass {
            assert_eq!(pass.request, pass_request(Trigger::Start, true), "{what}");
            pass.end(UNCHANGED);
            world.idle().await;
            assert_eq!(world.saved(), marker, "{what}");
        }
        assert_eq!(world.sweeps(), 1, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_marker_only_nothing_else_starts_a_pass() {
    let mut world = AgentHarness::idle_after_start(settings(false, true)).await;
    world.commit(2);
    world.hints.send(Hint::Everything);
    world.raise(Signal::Reload);
    assert!(world.pass_within(DAY).await.is_none());
    // A touch that no event reported is found by the resync.
    world.edit(|files| files.marker = stamp(2));
    let (wait, pass) = world.pass().await;
    assert_eq!(pass.request, pass_request(Trigger::Marker, true));
    assert!(wait <= secs(601), "{wait:?}");
    pass.end(PROMOTED);
}

#[tokio::test(start_paused = true)]
async fn lost_events_are_made_good_by_stat() {
    let mut world = AgentHarness::idle_after_start(settings(true, true)).await;
    world.edit(|files| files.source[0] = stamp(2));
    world.hints.send(Hint::Everything);
    let (wait, pass) = world.pass().await;
    assert_eq!(pass.request, pass_request(Trigger::Database, false));
    assert!(about(wait, secs(30)), "{wait:?}");
    pass.end(PROMOTED);
    world.idle().await;
    world.edit(|files| files.marker = stamp(2));
    world.hints.send(Hint::Everything);
    let (wait, pass) = world.pass().await;
    assert_eq!(pass.request, pass_request(Trigger::Marker, true));
    assert!(about(wait, Duration::from_millis(250)), "{wait:?}");
    pass.end(PROMOTED);
}

type Edit = fn(&mut FileStamps);

#[tokio::test(start_paused = true)]
async fn resync_finds_every_difference_and_runs_a_pass_once_an_hour_anyway() {
    let table: [(&str, Edit, u64, PassRequest); 6] = [
        ("database", |files| files.source[0] = stamp(9), 600, pass_request(Trigger::Resync, false)),
        ("log", |files| files.source[1] = stamp(9), 600, pass_request(Trigger::Resync, false)),
        ("current", |files| files.links[2] = stamp(9), 600, pass_request(Trigger::Resync, false)),
        ("a link gone", |files| files.links[0] = None, 600, pass_request(Trigger::Resync, false)),
        ("marker", |files| files.marker = stamp(9), 601, pass_request(Trigger::Marker, true)),
        ("nothing", |_| {}, 3600, pass_request(Trigger::Resync, false)),
    ];
    for (what, edit, at_latest, request) in table {
        let mut world = AgentHarness::idle_after_start(settings(true, true)).await;
        world.edit(edit);
        let (wait, pass) = world.pass().await;
        assert_eq!(pass.request, request, "{what}");
        assert!(wait <= secs(at_latest) && wait + secs(2) > secs(at_latest), "{what}: {wait:?}");
        pass.end(UNCHANGED);
    }
}

#[tokio::test(start_paused = true)]
async fn links_that_our_own_promotion_changed_do_not_count() {
    let mut world = AgentHarness::new(settings(true, true));
    let (_, pass) = world.pass().await;
    world.edit(|files| files.links[2] = stamp(2));
    pass.end(PROMOTED);
    assert!(world.pass_within(secs(3500)).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_signal_to_reconcile_does_so_now_and_a_lock_held_elsewhere_is_waited_for() {
    let mut world = AgentHarness::idle_after_start(settings(true, true)).await;
    world.raise(Signal::Now);
    for expected in [0, 1, 2, 4, 8, 10, 10] {
        let (wait, pass) = world.pass().await;
        assert_eq!(pass.request, pass_request(Trigger::Signal, false));
        assert!(about(wait, secs(expected)), "{wait:?}");
        pass.end(Outcome::Busy);
    }
    assert_eq!(world.reported("waiting_for_lock"), 6);
}

#[tokio::test(start_paused = true)]
async fn reloaded_settings_are_in_force_before_the_pass_they_start() {
    let mut world = AgentHarness::idle_after_start(settings(false, true)).await;
    let quick = config::TriggerSettings { quiet: secs(5), ..settings(true, true) };
    *world.shared.settings.lock().unwrap() = Some(quick);
    world.raise(Signal::Reload);
    let (wait, pass) = world.pass().await;
    assert_eq!(pass.request, pass_request(Trigger::Reload, false));
    assert!(about(wait, secs(5)), "{wait:?}");
    assert_eq!((world.reported("Reloading"), world.reported("Reloaded")), (1, 1));
    pass.end(PROMOTED);
}

#[tokio::test(start_paused = true)]
async fn pass_that_panics_is_retried() {
    let mut world = AgentHarness::new(settings(true, true));
    let (_, pass) = world.pass().await;
    world.shared.running.store(0, Ordering::SeqCst);
    drop(pass);
    let (wait, pass) = world.pass().await;
    assert_eq!(pass.request, pass_request(Trigger::Retry, false));
    assert!(wait >= Duration::from_millis(22_500) && wait <= secs(31), "{wait:?}");
    pass.end(PROMOTED);
}

#[tokio::test(start_paused = true)]
async fn sigterm_cancels_the_pass_waits_for_it_sweeps_and_exits() {
    let mut world = AgentHarness::new(settings(true, true));
    let (_, pass) = world.pass().await;
    world.touch(2);
    world.raise(Signal::Terminate);
    pass.stop.requested().await;
    assert_eq!(world.sweeps(), 1, "not while the pass runs");
    pass.end(Outcome::Stopped);
    assert_eq!(world.agent.await.unwrap(), ExitReason::Stopped);
    assert_eq!(world.shared.sweeps.load(Ordering::SeqCst), 2);
    assert!(world.passes.recv().await.is_none(), "no pass follows");
}

#[tokio::test(start_paused = true)]
async fn idle_agent_stops_at_once() {
    for signal in [Signal::Terminate, Signal::Interrupt] {
        let world = AgentHarness::idle_after_start(settings(true, true)).await;
        let requested = Instant::now();
        world.raise(signal);
        assert_eq!(world.agent.await.unwrap(), ExitReason::Stopped);
        assert!(requested.elapsed() <= Duration::from_millis(2));
        assert_eq!(world.shared.sweeps.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn pass_that_ends_as_the_agent_stops_still_saves_its_marker() {
    let mut world = AgentHarness::idle_after_start(settings(true, true)).await;
    world.touch(2);
    let (_, pass) = world.pass().await;
    world.raise(Signal::Terminate);
    pass.stop.requested().await;
    pass.end(PROMOTED);
    assert_eq!(world.agent.await.unwrap(), ExitReason::Stopped);
    assert_eq!(*world.shared.saved.lock().unwrap(), stamp(2));
}

#[tokio::test(start_paused = true)]
async fn pass_that_does_not_end_in_time_is_not_swept() {
    let mut world = AgentHarness::new(settings(true, true));
    let (_, pass) = world.pass().await;
    world.raise(Signal::Terminate);
    pass.stop.requested().await;
    tokio::time::advance(Duration::from_millis(4100)).await;
    tokio::task::yield_now().await;
    assert!(!world.agent.is_finished());
    tokio::time::advance(Duration::from_millis(200)).await;
    assert_eq!((&mut world.agent).await.unwrap(), ExitReason::StopTimedOut);
    assert_eq!(world.sweeps(), 1);
    pass.end(Outcome::Stopped);
}

#[tokio::test(start_paused = true)]
async fn heartbeat_arrives_as_often_as_any_observer_asks() {
    let (shared, files) = (HarnessState::new(None, None), HarnessState::new(None, None));
    let stat = Box::new(move |_: &Path| files.files.lock().unwrap().clone());
    let mut world =
        AgentHarness::start(settings(false, true), shared, watch::channel(), stat, Some(secs(10)));
    assert!(world.pass_within(secs(100)).await.is_none());
    let beats = world.reported("Heartbeat");
    assert!((10..=12).contains(&beats), "{beats}");
}

#[tokio::test]
async fn with_a_real_watch_on_real_files_a_commit_and_a_touch_bring_their_passes() {
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name);
    std::fs::write(path("experts.db"), "rows").unwrap();
    let trigger = config::TriggerSettings {
        marker: path("marker"),
        quiet: Duration::from_millis(300),
        poll_interval: Duration::from_millis(50),
        ..settings(true, true)
    };
    let (_watch, hints) = Watch::start(watch::WatchSpec::new(&path("experts.db"), &trigger)).unwrap();
    let tracked = watch::TrackedFiles { database: path("experts.db"), links: vec![path("current")] };
    let stat = Box::new(move |marker: &Path| tracked.stat(marker));
    let (sender, _) = watch::channel();
    let mut world = AgentHarness::start(trigger, HarnessState::new(None, None), (sender, hints), stat, None);
    let mut next = async || tokio::time::timeout(secs(20), world.passes.recv()).await.unwrap().unwrap();

    let pass = next().await;
    assert_eq!(pass.request, pass_request(Trigger::Start, false));
    pass.end(UNCHANGED);
    std::fs::write(path("experts.db-wal"), "frames").unwrap();
    let pass = next().await;
    assert_eq!(pass.request, pass_request(Trigger::Database, false));
    std::fs::write(path("marker"), "").unwrap();
    pass.end(UNCHANGED);
    // Repeated scans may come before it.
    while {
        let pass = next().await;
        let request = pass.request;
        pass.end(UNCHANGED);
        request != pass_request(Trigger::Marker, true)
    } {}
}

#[tokio::test]
#[allow(clippy::await_holding_lock, reason = "what the locks hold is the file system that does not answer")]
async fn files_that_do_not_answer_delay_neither_heartbeat_nor_stop() {
    let shared = HarnessState::new(stamp(1), stamp(1));
    let host = Arc::clone(&shared);
    let stat = Box::new(move |_: &Path| host.files.lock().unwrap().clone());
    let beat = Some(Duration::from_millis(10));
    let mut world =
        AgentHarness::start(settings(true, true), Arc::clone(&shared), watch::channel(), stat, beat);
    world.pass().await.1.end(UNCHANGED);
    world.wait_for_reports("idle", 1).await;

    let _hung = (shared.files.lock().unwrap(), shared.settings.lock().unwrap(), shared.saved.lock().unwrap());
    world.raise(Signal::Reload);
    world.hints.send(Hint::Database);
    world.wait_for_reports("Reloading", 1).await;
    world.wait_for_reports("settling", 1).await;
    world.wait_for_reports("Heartbeat", world.reported("Heartbeat") + 3).await;
    world.hints.send(Hint::Everything);
    world.raise(Signal::Terminate);

    let ended = tokio::time::timeout(Duration::from_secs(5), &mut world.agent).await;
    assert_eq!(ended.unwrap().unwrap(), ExitReason::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_arrives_while_settings_are_read_is_not_lost() {
    let world = AgentHarness::idle_after_start(settings(true, true)).await;
    world.raise(Signal::Reload);
    world.raise(Signal::Reload);
    world.wait_for_reports("Reloaded", 2).await;
    assert_eq!(world.reported("Reloading"), 2);
}

#[tokio::test(start_paused = true)]
async fn what_hides_changes_is_reported_when_it_begins_and_ends_within_a_resync() {
    let mut world = AgentHarness::idle_after_start(settings(true, true)).await;
    assert_eq!(world.reported("PathChanged"), 0, "nothing is hidden");
    let hide = |hidden: Vec<HiddenChanges>| {
        let warnings = hidden.into_iter().map(|hidden| PathWarning { database: "experts.db".into(), hidden });
        *world.shared.warnings.lock().unwrap() = warnings.collect();
    };

    for (hidden, reports) in [
        (vec![HiddenChanges::Mounted], 1),
        (vec![HiddenChanges::Mounted], 1),
        (vec![HiddenChanges::Unlinked], 2),
        (vec![], 3),
    ] {
        hide(hidden);
        tokio::time::sleep(Duration::from_secs(601)).await;
        world.wait_for_reports("PathChanged", reports).await;
        assert_eq!(world.reported("PathChanged"), reports);
    }
    world.raise(Signal::Terminate);
    assert_eq!((&mut world.agent).await.unwrap(), ExitReason::Stopped);
}
