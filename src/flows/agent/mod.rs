//! The loop: wait for one [`Event`], ask [`agent_state::next`], carry out the [`Action`].
//!
//! At most one pass runs at a time, on a thread of its own. Hints are compared
//! with what `stat` says before they count, since our own scans cause events
//! too: a source that is as it was before the last scan, and had settled by
//! then, has not changed. A marker is recorded as handled only when a pass has
//! answered it, by the stamp it had before that pass scanned.
//!
//! The loop waits for nothing but its events: files are asked on other threads,
//! for a moment at most ([`FileProbe`]), settings are read and the marker is saved
//! by tasks whose end is an event. Where a file system does not answer, a hint
//! counts as a change; the pass that follows waits for it.
//!
//! Everything outside comes in through [`Host`] and [`EventSources`]; what a
//! pass does is decided by `reconcile`, and what others learn by [`Observer`]s.

mod host;
mod observer;
mod probe;
mod quiet_passes;
mod tasks;
mod waits;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::adapters::signals::Signal;
use crate::adapters::watch::FileStamps;
use crate::config;
use crate::decide::agent_state::{self, Action, AgentState, Event};
use crate::decide::debounce::{Cause, Hint, Timing};
use crate::domain::file_stamp::FileStamp;
use crate::domain::pass::{Outcome, PassReport, PassRequest, Retry};
use crate::domain::stop::Stop;

pub(crate) use host::{BoxError, EventSources, ExitReason, Host};
pub(crate) use observer::{AgentEvent, LogObserver, Observer};

use observer::Observers;
use probe::FileProbe;
use tasks::{MarkerTask, RunningPass, SettingsTask, first_sweep, wait_for_pass};
use waits::{in_future, reached};

/// The agent runs a pass this often even if no file has changed.
const MAX_PASS_INTERVAL: Duration = Duration::from_secs(3600);
/// How long a pass has to end once it is asked to: less than the five seconds
/// in which the agent promises to exit.
const PASS_STOP_LIMIT: Duration = Duration::from_millis(4200);
/// When the last sweep is left to the next start, counted from the stop request.
const SWEEP_LIMIT: Duration = Duration::from_millis(4500);
/// How long the first pass waits for the sweep before it: each pass sweeps too.
const FIRST_SWEEP_LIMIT: Duration = Duration::from_secs(5);

/// Sweeps, then keeps the served build in sync with the source until a signal ends it.
///
/// `trigger`: as the settings are at the start. `served`: whether a build is served.
pub(crate) async fn run(
    trigger: config::TriggerSettings,
    served: bool,
    sources: EventSources<impl Stream<Item = Signal> + Send + Unpin>,
    host: Arc<dyn Host>,
    observers: Vec<Box<dyn Observer>>,
) -> ExitReason {
    let now = Instant::now();
    let mut agent = Agent {
        timing: Timing::from(&trigger),
        resync_at: in_future(now, trigger.resync),
        heartbeat_at: now,
        trigger,
        state: AgentState::Idle { owed: false },
        running: None,
        last_stat: None,
        last_scan: now,
        marker_seen: host.last_handled_marker(),
        marker_pending: None,
        probe: FileProbe::default(),
        settings: SettingsTask::default(),
        marker: MarkerTask::default(),
        host,
        observers: Observers(observers),
    };
    let mut signals = sources.signals.chain(stream::pending());
    let early = agent.first_sweep(&mut signals).await;
    let mut event = if early.iter().any(|signal| signal.is_stop()) {
        Event::Stop
    } else {
        let marker_owed = agent.stat_files().await.is_some_and(|stamps| agent.is_marker_touched(&stamps));
        Event::Started { served, marker_owed }
    };
    let mut sources = EventSources { hints: sources.hints, signals: stream::iter(early).chain(signals) };
    loop {
        match agent.step(event) {
            Action::Wait => event = agent.next_event(&mut sources).await,
            Action::Build(request) => {
                agent.start_pass(request).await;
                event = agent.next_event(&mut sources).await;
            }
            Action::Reload => {
                agent.start_reading_settings();
                event = agent.next_event(&mut sources).await;
            }
            Action::Stop => return agent.stop().await,
        }
    }
}

struct Agent {
    trigger: config::TriggerSettings,
    timing: Timing,
    state: AgentState,
    running: Option<RunningPass>,
    /// The files as they were before the last scan; `None` without a scan to rely on.
    last_stat: Option<FileStamps>,
    last_scan: Instant,
    resync_at: Instant,
    /// When the observers receive the next heartbeat, if they want one.
    heartbeat_at: Instant,
    /// The marker as the last full pass found it, or as it was last handled.
    marker_seen: Option<FileStamp>,
    /// The marker to save when its pass has an answer.
    marker_pending: Option<FileStamp>,
    probe: FileProbe,
    settings: SettingsTask,
    marker: MarkerTask,
    host: Arc<dyn Host>,
    observers: Observers,
}

/// What ended a wait.
enum WakeUp {
    Signal(Option<Signal>),
    PassFinished(Box<Result<PassReport, JoinError>>),
    SettingsRead(Box<Option<config::TriggerSettings>>),
    MarkerSaved(io::Result<()>),
    Due,
    Hint(Hint),
    Resync,
    Heartbeat,
}

impl Agent {
    /// Enters the state that follows `event`; the caller carries out the action.
    fn step(&mut self, event: Event) -> Action {
        let now = Instant::now().into_std();
        let (next, action) = agent_state::next(self.state, event, now, &self.timing);
        let entered = std::mem::discriminant(&next) != std::mem::discriminant(&self.state);
        self.state = next;
        if entered {
            let wait = next.due(&self.timing).map(|due| due.saturating_duration_since(now));
            self.observers.report(&AgentEvent::StateEntered { state: &next, wait });
        }
        if let Event::Ended { outcome, .. } = event
            && outcome.is_final()
            && !matches!(next, AgentState::Rechecking { .. })
        {
            self.save_marker();
        }
        action
    }

    async fn next_event<S: Stream<Item = Signal> + Unpin>(&mut self, sources: &mut EventSources<S>) -> Event {
        loop {
            let due = self.state.due(&self.timing).map(Instant::from_std);
            let beat = self.observers.heartbeat().map(|_| self.heartbeat_at);
            // Due before hints: hints without end must not delay it.
            let wake_up = tokio::select! {
                biased;
                signal = sources.signals.next() => WakeUp::Signal(signal),
                report = wait_for_pass(&mut self.running) => WakeUp::PassFinished(Box::new(report)),
                trigger = self.settings.ended() => WakeUp::SettingsRead(Box::new(trigger)),
                saved = self.marker.ended() => WakeUp::MarkerSaved(saved),
                () = reached(due) => WakeUp::Due,
                hint = sources.hints.next() => WakeUp::Hint(hint),
                () = sleep_until(self.resync_at) => WakeUp::Resync,
                () = reached(beat) => WakeUp::Heartbeat,
            };
            let event = match wake_up {
                WakeUp::Signal(signal) => signal.map(event_of),
                WakeUp::PassFinished(report) => Some(self.finish_pass(*report).await),
                WakeUp::SettingsRead(trigger) => Some(self.apply_settings(*trigger)),
                WakeUp::MarkerSaved(saved) => {
                    self.marker_saved(&saved);
                    None
                }
                WakeUp::Due => Some(Event::Due),
                WakeUp::Hint(hint) => self.filter_hint(hint).await,
                WakeUp::Resync => self.resync().await,
                WakeUp::Heartbeat => {
                    self.observers.report(&AgentEvent::Heartbeat { state: &self.state });
                    let every = self.observers.heartbeat().unwrap_or(MAX_PASS_INTERVAL);
                    self.heartbeat_at = in_future(Instant::now(), every);
                    None
                }
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    async fn start_pass(&mut self, request: PassRequest) {
        assert!(self.running.is_none(), "agent_state asked for a second pass");
        // Before the scan, so that every later change differs from it.
        self.last_stat = self.stat_files().await;
        if let Some(stamps) = &self.last_stat
            && request.full_check
        {
            self.marker_seen = stamps.marker;
            self.marker_pending = stamps.marker;
        }
        let (host, stop, started) = (Arc::clone(&self.host), Stop::new(), Instant::now());
        self.last_scan = started;
        self.observers.report(&AgentEvent::PassStarted { request });
        let pass_stop = stop.clone();
        let thread = spawn_blocking(move || host.run_pass(request, pass_stop));
        self.running = Some(RunningPass { request, started, stop, thread });
    }

    async fn finish_pass(&mut self, report: Result<PassReport, JoinError>) -> Event {
        let report = report.unwrap_or_else(|error| {
            let outcome = Outcome::Failed(Retry::Soon { wait: None });
            PassReport::without_build(outcome, format!("the pass panicked: {error}"))
        });
        let running = self.running.take().expect("only a running pass can end");
        match report.outcome {
            // Nothing was scanned: every hint counts again.
            Outcome::Busy | Outcome::Stopped => self.last_stat = None,
            Outcome::Promoted
            | Outcome::Unchanged
            | Outcome::Refused
            | Outcome::Held
            | Outcome::Failed(_) => {
                // We may have changed the links ourselves; the source we do not.
                let now = self.stat_files().await;
                self.last_stat = self
                    .last_stat
                    .take()
                    .zip(now)
                    .map(|(before_scan, now)| FileStamps { links: now.links, ..before_scan });
            }
        }
        let took = running.started.elapsed();
        self.observers.report(&AgentEvent::PassFinished { request: running.request, report: &report, took });
        Event::Ended { outcome: report.outcome, jitter: fastrand::f64() }
    }

    /// The event that a hint becomes, by what `stat` says; `None` if nothing changed.
    async fn filter_hint(&mut self, hint: Hint) -> Option<Event> {
        let stamps = match hint {
            Hint::Marker => return Some(Event::Hint(Cause::Marker)),
            Hint::Database | Hint::Everything => self.stat_files().await,
        };
        // A file system that does not answer may have changed.
        let Some(stamps) = stamps else { return Some(Event::Hint(Cause::Database)) };
        if hint == Hint::Everything && self.is_marker_touched(&stamps) {
            return Some(Event::Hint(Cause::Marker));
        }
        self.source_event(&stamps)
    }

    /// A change of the source; one that is not a trigger is only reported, for those who watch the age of
    /// what is served.
    fn source_event(&mut self, stamps: &FileStamps) -> Option<Event> {
        let is_changed = self.is_source_changed(stamps);
        if is_changed && !self.trigger.on.database {
            self.observers.report(&AgentEvent::ChangeIgnored);
        }
        is_changed.then_some(Event::Hint(Cause::Database))
    }

    /// Finds what no event reported.
    async fn resync(&mut self) -> Option<Event> {
        let stamps = self.stat_files().await;
        let now = Instant::now();
        self.resync_at = in_future(now, self.trigger.resync);
        let Some(stamps) = stamps else { return Some(Event::Hint(Cause::Resync)) };
        if self.is_marker_touched(&stamps) {
            return Some(Event::Hint(Cause::Marker));
        }
        let differs = self.source_event(&stamps).is_some()
            || self.are_links_changed(&stamps)
            || now.duration_since(self.last_scan) >= MAX_PASS_INTERVAL;
        differs.then_some(Event::Hint(Cause::Resync))
    }

    fn start_reading_settings(&mut self) {
        if self.settings.start(&self.host) {
            self.observers.report(&AgentEvent::Reloading);
        }
    }

    fn apply_settings(&mut self, trigger: Option<config::TriggerSettings>) -> Event {
        let accepted = trigger.is_some();
        if let Some(trigger) = trigger {
            self.timing = Timing::from(&trigger);
            self.resync_at = in_future(Instant::now(), trigger.resync);
            self.trigger = trigger;
        }
        self.observers.report(&AgentEvent::Reloaded { accepted });
        if self.settings.takes_another() {
            self.start_reading_settings();
        }
        Event::Hint(Cause::Reload)
    }

    /// Returns the signals that arrived during the sweep.
    async fn first_sweep(&mut self, signals: &mut (impl Stream<Item = Signal> + Unpin)) -> Vec<Signal> {
        let (early, swept) = first_sweep(&self.host, signals, FIRST_SWEEP_LIMIT).await;
        if let Err(error) = swept {
            self.observers.report(&AgentEvent::SweepFailed { error: &*error });
        }
        self.observers.report(&AgentEvent::Started);
        early
    }

    /// Cancels the pass, waits for it, and sweeps, all within [`SWEEP_LIMIT`].
    async fn stop(mut self) -> ExitReason {
        let requested = Instant::now();
        self.observers.report(&AgentEvent::Stopping);
        if let Some(running) = &mut self.running {
            running.stop.request();
            let Ok(report) = timeout_at(requested + PASS_STOP_LIMIT, &mut running.thread).await else {
                // No sweep either: it would remove what the pass is still writing.
                self.observers.report(&AgentEvent::StopTimedOut);
                return ExitReason::StopTimedOut;
            };
            if let Event::Ended { outcome, .. } = self.finish_pass(report).await
                && outcome.is_final()
            {
                self.save_marker();
            }
        }
        while self.marker.is_saving() {
            let Ok(saved) = timeout_at(requested + SWEEP_LIMIT, self.marker.ended()).await else {
                self.observers.report(&AgentEvent::StopTimedOut);
                return ExitReason::StopTimedOut;
            };
            self.marker_saved(&saved);
        }
        let host = Arc::clone(&self.host);
        match timeout_at(requested + SWEEP_LIMIT, spawn_blocking(move || host.sweep())).await {
            Ok(Ok(Ok(()))) => return ExitReason::Stopped,
            Ok(Ok(Err(error))) => self.observers.report(&AgentEvent::SweepFailed { error: &*error }),
            Ok(Err(error)) => self.observers.report(&AgentEvent::SweepFailed { error: &error }),
            Err(_) => {
                self.observers.report(&AgentEvent::StopTimedOut);
                return ExitReason::StopTimedOut;
            }
        }
        ExitReason::Stopped
    }

    /// Saves the marker that a pass has answered.
    fn save_marker(&mut self) {
        if let Some(stamp) = self.marker_pending.take() {
            self.marker.save(stamp, &self.host);
        }
    }

    fn marker_saved(&mut self, saved: &io::Result<()>) {
        if let Err(error) = saved {
            self.observers.report(&AgentEvent::MarkerNotSaved { error });
        }
        self.marker.start_next(&self.host);
    }

    /// `None` where the file system does not answer.
    async fn stat_files(&mut self) -> Option<FileStamps> {
        self.probe.stat(&self.host, &self.trigger, &mut self.observers).await
    }

    fn is_marker_touched(&self, stamps: &FileStamps) -> bool {
        self.trigger.on.marker && stamps.marker.is_some() && stamps.marker != self.marker_seen
    }

    fn is_source_changed(&self, stamps: &FileStamps) -> bool {
        self.last_stat.as_ref().is_none_or(|before| stamps.source_differs(before))
    }

    /// While a pass runs, it changes the links itself.
    fn are_links_changed(&self, stamps: &FileStamps) -> bool {
        self.running.is_none() && self.last_stat.as_ref().is_some_and(|before| before.links != stamps.links)
    }
}

fn event_of(signal: Signal) -> Event {
    match signal {
        Signal::Terminate | Signal::Interrupt => Event::Stop,
        Signal::Reload => Event::Reload,
        Signal::Now => Event::Hint(Cause::Request),
    }
}

#[cfg(test)]
mod tests;
