//! The loop: wait for one [`Event`], ask [`agent_state::next`], carry out the [`Action`].
//!
//! At most one pass runs at a time, on a thread of its own. Hints are checked
//! against what `stat` says before they count, since our own looks cause
//! events too: a source that is as it was before the last look, and had rested
//! by then, has not changed. A marker is remembered as acted on only when a
//! pass has answered it, by the stamp it had before that pass looked.
//!
//! Everything the loop touches comes in through [`AgentWorld`], so that tests
//! and `main` start the same thing. What a pass does is `reconcile`'s matter,
//! and what a service manager hears of all this is a [`Observer`]'s.

use std::future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::adapters::signals::Signal;
use crate::adapters::watch::{FileStamps, Hints};
use crate::config;
use crate::decide::agent_state::{self, Action, AgentState, Event};
use crate::decide::debounce::{Hint, Timing, after};
use crate::domain::file_stamp::FileStamp;
use crate::domain::pass::{Outcome, PassReport, PassRequest, Retry};
use crate::domain::stop::Stop;

pub use host::{AgentWorld, BoxError, ExitReason, MarkerStore, PassFn, ReloadFn, SightFn, SweepFn};
pub use observer::{AgentEvent, LogObserver, Observer};

mod host;
mod observer;

/// However equal the files look, the agent reconciles this often.
pub const MAX_PASS_INTERVAL: Duration = Duration::from_secs(3600);
/// How long a pass has to end once it is told to: less than the five seconds
/// in which the agent promises to be gone.
pub const PASS_STOP_LIMIT: Duration = Duration::from_millis(4500);
/// When the last sweep is left to the next start.
const EXIT_LIMIT: Duration = Duration::from_millis(4900);

/// Sweeps, then keeps the served build true to the source until a signal ends it.
pub async fn run<S>(world: AgentWorld<S>) -> ExitReason
where
    S: Stream<Item = Signal> + Send + Unpin,
{
    let AgentWorld {
        trigger,
        served,
        hints,
        signals,
        pass,
        sweep,
        sight,
        reload,
        marker_store: memory,
        observer: reporter,
    } = world;
    let now = Instant::now();
    let mut ears = EventSources { hints, signals: signals.chain(stream::pending()), heartbeat_at: now };
    let mut agent = Agent {
        timing: Timing::from(&trigger),
        resync_at: in_future(now, trigger.resync),
        trigger,
        state: AgentState::Idle { owed: false },
        running: None,
        last_stat: None,
        last_scan: now,
        marker_seen: memory.last_handled(),
        marker_pending: None,
        pass,
        sweep,
        sight,
        reload,
        marker_store: memory,
        observer: reporter,
    };
    agent.first_sweep().await;
    let marker_owed = agent.is_marker_touched(&agent.stat_files());
    let mut event = Event::Started { served, marker_owed };
    loop {
        match agent.step(event) {
            Action::Wait => event = agent.next_event(&mut ears).await,
            Action::Build(request) => {
                agent.start_pass(request);
                event = agent.next_event(&mut ears).await;
            }
            Action::Reload => {
                agent.read_settings();
                event = Event::Reloaded;
            }
            Action::Stop => return agent.stop().await,
        }
    }
}

/// What the loop listens to.
struct EventSources<S> {
    hints: Hints,
    signals: S,
    /// When the reporter wants to hear again that the loop goes round.
    heartbeat_at: Instant,
}

struct Agent {
    trigger: config::TriggerSettings,
    timing: Timing,
    state: AgentState,
    running: Option<RunningPass>,
    /// What was there before the last look; `None` where there was no look to rely on.
    last_stat: Option<FileStamps>,
    last_scan: Instant,
    resync_at: Instant,
    /// The marker as the last full pass found it, or as it was last acted on.
    marker_seen: Option<FileStamp>,
    /// The marker that is to be remembered when its pass has an answer.
    marker_pending: Option<FileStamp>,
    pass: PassFn,
    sweep: SweepFn,
    sight: SightFn,
    reload: ReloadFn,
    marker_store: Box<dyn MarkerStore>,
    observer: Box<dyn Observer>,
}

/// The pass at work.
struct RunningPass {
    request: PassRequest,
    started: Instant,
    cancel: Stop,
    thread: JoinHandle<PassReport>,
}

/// What ended a wait.
enum WakeUp {
    Signal(Option<Signal>),
    PassFinished(Result<PassReport, JoinError>),
    Due,
    Hint(Hint),
    Resync,
    Heartbeat,
}

impl Agent {
    /// Enters the phase that follows `event`; the action is the caller's to carry out.
    fn step(&mut self, event: Event) -> Action {
        let now = Instant::now().into_std();
        let (next, action) = agent_state::next(self.state, event, now, &self.timing);
        let entered = std::mem::discriminant(&next) != std::mem::discriminant(&self.state);
        self.state = next;
        if entered {
            let wait = next.due(&self.timing).map(|due| due.saturating_duration_since(now));
            self.observer.report(&AgentEvent::StateEntered { state: &next, wait });
        }
        if let Event::Ended { outcome, .. } = event
            && outcome.is_final()
            && !matches!(next, AgentState::Rechecking { .. })
        {
            self.save_marker();
        }
        action
    }

    async fn next_event<S: Stream<Item = Signal> + Unpin>(&mut self, ears: &mut EventSources<S>) -> Event {
        loop {
            let due = self.state.due(&self.timing).map(Instant::from_std);
            let beat = self.observer.heartbeat().map(|_| ears.heartbeat_at);
            // Due before hints: whoever never stops hinting must not put it off.
            let woken = tokio::select! {
                biased;
                signal = ears.signals.next() => WakeUp::Signal(signal),
                report = wait_for_pass(&mut self.running) => WakeUp::PassFinished(report),
                () = reached(due) => WakeUp::Due,
                hint = ears.hints.next() => WakeUp::Hint(hint),
                () = sleep_until(self.resync_at) => WakeUp::Resync,
                () = reached(beat) => WakeUp::Heartbeat,
            };
            let event = match woken {
                WakeUp::Signal(signal) => signal.map(event_of),
                WakeUp::PassFinished(report) => Some(self.finish_pass(report)),
                WakeUp::Due => Some(Event::Due),
                WakeUp::Hint(hint) => self.filter_hint(hint),
                WakeUp::Resync => self.resync(),
                WakeUp::Heartbeat => {
                    self.observer.report(&AgentEvent::Heartbeat { state: &self.state });
                    let every = self.observer.heartbeat().unwrap_or(MAX_PASS_INTERVAL);
                    ears.heartbeat_at = in_future(Instant::now(), every);
                    None
                }
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    fn start_pass(&mut self, request: PassRequest) {
        assert!(self.running.is_none(), "phase asked for a second pass");
        // Before the look, so that whatever comes later differs from it.
        let sighting = self.stat_files();
        if request.full_check {
            self.marker_seen = sighting.marker;
            self.marker_pending = sighting.marker;
        }
        self.last_stat = Some(sighting);
        let (pass, cancel, began) = (Arc::clone(&self.pass), Stop::new(), Instant::now());
        self.last_scan = began;
        self.observer.report(&AgentEvent::PassStarted { request });
        let token = cancel.clone();
        let thread = spawn_blocking(move || pass(request, token));
        self.running = Some(RunningPass { request, started: began, cancel, thread });
    }

    /// The running pass has ended.
    fn finish_pass(&mut self, report: Result<PassReport, JoinError>) -> Event {
        let report = report.unwrap_or_else(|error| {
            let outcome = Outcome::Failed(Retry::Soon { wait: None });
            PassReport::without_build(outcome, format!("the pass broke off: {error}"))
        });
        let running = self.running.take().expect("only a running pass can end");
        match report.outcome {
            // Nothing was looked at: every hint counts again.
            Outcome::Busy | Outcome::Stopped => self.last_stat = None,
            Outcome::Promoted
            | Outcome::Unchanged
            | Outcome::Refused
            | Outcome::Held
            | Outcome::Failed(_) => {
                // The links may be our own doing; the source is not.
                let links = self.stat_files().links;
                if let Some(looked) = &mut self.last_stat {
                    looked.links = links;
                }
            }
        }
        let took = running.started.elapsed();
        self.observer.report(&AgentEvent::PassFinished { request: running.request, report: &report, took });
        Event::Ended { outcome: report.outcome, jitter: fastrand::f64() }
    }

    /// What a hint comes to, by what `stat` says.
    fn filter_hint(&self, hint: Hint) -> Option<Event> {
        match hint {
            Hint::Marker => Some(Event::Marker),
            Hint::Database => self.is_source_changed(&self.stat_files()).then_some(Event::Database),
            Hint::Everything => {
                let sighting = self.stat_files();
                if self.is_marker_touched(&sighting) {
                    return Some(Event::Marker);
                }
                self.is_source_changed(&sighting).then_some(Event::Database)
            }
        }
    }

    /// The slow round, for what no event told of.
    fn resync(&mut self) -> Option<Event> {
        let now = Instant::now();
        self.resync_at = in_future(now, self.trigger.resync);
        let sighting = self.stat_files();
        if self.is_marker_touched(&sighting) {
            return Some(Event::Marker);
        }
        let differs = self.is_source_changed(&sighting)
            || self.are_links_changed(&sighting)
            || now.duration_since(self.last_scan) >= MAX_PASS_INTERVAL;
        differs.then_some(Event::Resync)
    }

    fn read_settings(&mut self) {
        self.observer.report(&AgentEvent::Reloading);
        let trigger = (self.reload)();
        let accepted = trigger.is_some();
        if let Some(trigger) = trigger {
            self.timing = Timing::from(&trigger);
            self.resync_at = in_future(Instant::now(), trigger.resync);
            self.trigger = trigger;
        }
        self.observer.report(&AgentEvent::Reloaded { accepted });
    }

    async fn first_sweep(&mut self) {
        let sweep = Arc::clone(&self.sweep);
        let swept = spawn_blocking(move || sweep()).await.unwrap_or_else(|error| Err(error.into()));
        if let Err(error) = swept {
            self.observer.report(&AgentEvent::SweepFailed { error: &*error });
        }
        self.observer.report(&AgentEvent::Started);
    }

    /// Cancels the pass, waits for it, and sweeps, all within [`EXIT_LIMIT`].
    async fn stop(mut self) -> ExitReason {
        let told = Instant::now();
        self.observer.report(&AgentEvent::Stopping);
        if let Some(running) = &mut self.running {
            running.cancel.request();
            let Ok(report) = timeout_at(told + PASS_STOP_LIMIT, &mut running.thread).await else {
                // No sweep either: it would remove what the pass still writes.
                self.observer.report(&AgentEvent::StopTimedOut);
                return ExitReason::StopTimedOut;
            };
            if let Event::Ended { outcome, .. } = self.finish_pass(report)
                && outcome.is_final()
            {
                self.save_marker();
            }
        }
        let sweep = Arc::clone(&self.sweep);
        match timeout_at(told + EXIT_LIMIT, spawn_blocking(move || sweep())).await {
            Ok(Ok(Ok(()))) => return ExitReason::Stopped,
            Ok(Ok(Err(error))) => self.observer.report(&AgentEvent::SweepFailed { error: &*error }),
            Ok(Err(error)) => self.observer.report(&AgentEvent::SweepFailed { error: &error }),
            Err(_) => {
                self.observer.report(&AgentEvent::StopTimedOut);
                return ExitReason::StopTimedOut;
            }
        }
        ExitReason::Stopped
    }

    fn save_marker(&mut self) {
        if let Some(stamp) = self.marker_pending.take()
            && let Err(error) = self.marker_store.save(stamp)
        {
            self.observer.report(&AgentEvent::MarkerNotSaved { error: &error });
        }
    }

    fn stat_files(&self) -> FileStamps {
        (self.sight)(&self.trigger.marker)
    }

    fn is_marker_touched(&self, sighting: &FileStamps) -> bool {
        self.trigger.on.marker && sighting.marker.is_some() && sighting.marker != self.marker_seen
    }

    fn is_source_changed(&self, sighting: &FileStamps) -> bool {
        self.last_stat.as_ref().is_none_or(|looked| sighting.source_differs(looked))
    }

    /// While a pass runs, it is the one that changes the links.
    fn are_links_changed(&self, sighting: &FileStamps) -> bool {
        self.running.is_none() && self.last_stat.as_ref().is_some_and(|looked| looked.links != sighting.links)
    }
}

fn event_of(signal: Signal) -> Event {
    match signal {
        Signal::Terminate | Signal::Interrupt => Event::Stop,
        Signal::Reload => Event::Reload,
        Signal::Now => Event::Requested,
    }
}

async fn wait_for_pass(running: &mut Option<RunningPass>) -> Result<PassReport, JoinError> {
    match running {
        Some(running) => Pin::new(&mut running.thread).await,
        None => future::pending().await,
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => future::pending().await,
    }
}

fn in_future(now: Instant, wait: Duration) -> Instant {
    Instant::from_std(after(now.into_std(), wait))
}

#[cfg(test)]
mod tests;
