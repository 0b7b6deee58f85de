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
//! and what a service manager hears of all this is a [`Reporter`]'s.

use std::future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::adapters::signals::Signal;
use crate::adapters::watch::{Hints, Sighting};
use crate::config;
use crate::decide::agent_state::{self, Action, Event, Phase};
use crate::decide::debounce::{Hint, Timing, after};
use crate::domain::file_stamp::Stamp;
use crate::domain::pass::{Cure, PassOutcome, PassReport, PassRequest};

pub use host::{AgentWorld, BoxError, ExitReason, MarkerMemory, PassFn, ReloadFn, SightFn, SweepFn};
pub use observer::{LogReporter, News, Reporter};

mod host;
mod observer;

/// However equal the files look, the agent reconciles this often.
pub const SLOWEST_ROUND: Duration = Duration::from_secs(3600);
/// How long a pass has to end once it is told to: less than the five seconds
/// in which the agent promises to be gone.
pub const PASS_ENDS_WITHIN: Duration = Duration::from_millis(4500);
/// When the last sweep is left to the next start.
const GONE_WITHIN: Duration = Duration::from_millis(4900);

/// Sweeps, then keeps the served build true to the source until a signal ends it.
pub async fn run<S>(world: AgentWorld<S>) -> ExitReason
where
    S: Stream<Item = Signal> + Send + Unpin,
{
    let AgentWorld { trigger, served, hints, signals, pass, sweep, sight, reload, memory, reporter } = world;
    let now = Instant::now();
    let mut ears = Ears { hints, signals: signals.chain(stream::pending()), beat_at: now };
    let mut agent = Agent {
        timing: Timing::from(&trigger),
        resync_at: in_future(now, trigger.resync),
        trigger,
        phase: Phase::Idle { owed: false },
        running: None,
        looked: None,
        last_look: now,
        marker_seen: memory.acted_on(),
        marker_unanswered: None,
        pass,
        sweep,
        sight,
        reload,
        memory,
        reporter,
    };
    agent.first_sweep().await;
    let marker_owed = agent.is_marker_touched(&agent.sighting());
    let mut event = Event::Started { served, marker_owed };
    loop {
        match agent.take(event) {
            Action::Wait => event = agent.wait(&mut ears).await,
            Action::Build(request) => {
                agent.begin(request);
                event = agent.wait(&mut ears).await;
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
struct Ears<S> {
    hints: Hints,
    signals: S,
    /// When the reporter wants to hear again that the loop goes round.
    beat_at: Instant,
}

struct Agent {
    trigger: config::Trigger,
    timing: Timing,
    phase: Phase,
    running: Option<Running>,
    /// What was there before the last look; `None` where there was no look to rely on.
    looked: Option<Sighting>,
    last_look: Instant,
    resync_at: Instant,
    /// The marker as the last full pass found it, or as it was last acted on.
    marker_seen: Option<Stamp>,
    /// The marker that is to be remembered when its pass has an answer.
    marker_unanswered: Option<Stamp>,
    pass: PassFn,
    sweep: SweepFn,
    sight: SightFn,
    reload: ReloadFn,
    memory: Box<dyn MarkerMemory>,
    reporter: Box<dyn Reporter>,
}

/// The pass at work.
struct Running {
    request: PassRequest,
    began: Instant,
    cancel: CancellationToken,
    thread: JoinHandle<PassReport>,
}

/// What ended a wait.
enum Woken {
    Signal(Option<Signal>),
    Ended(Result<PassReport, JoinError>),
    Due,
    Hint(Hint),
    Resync,
    Beat,
}

impl Agent {
    /// Enters the phase that follows `event`; the action is the caller's to carry out.
    fn take(&mut self, event: Event) -> Action {
        let now = Instant::now().into_std();
        let (next, action) = agent_state::next(self.phase, event, now, &self.timing);
        let entered = std::mem::discriminant(&next) != std::mem::discriminant(&self.phase);
        self.phase = next;
        if entered {
            let wait = next.due(&self.timing).map(|due| due.saturating_duration_since(now));
            self.reporter.report(&News::Phase { phase: &next, wait });
        }
        if let Event::Ended { outcome, .. } = event
            && outcome.is_answer()
            && !matches!(next, Phase::Repeating { .. })
        {
            self.remember_marker();
        }
        action
    }

    async fn wait<S: Stream<Item = Signal> + Unpin>(&mut self, ears: &mut Ears<S>) -> Event {
        loop {
            let due = self.phase.due(&self.timing).map(Instant::from_std);
            let beat = self.reporter.heartbeat().map(|_| ears.beat_at);
            // Due before hints: whoever never stops hinting must not put it off.
            let woken = tokio::select! {
                biased;
                signal = ears.signals.next() => Woken::Signal(signal),
                report = end_of(&mut self.running) => Woken::Ended(report),
                () = reached(due) => Woken::Due,
                hint = ears.hints.next() => Woken::Hint(hint),
                () = sleep_until(self.resync_at) => Woken::Resync,
                () = reached(beat) => Woken::Beat,
            };
            let event = match woken {
                Woken::Signal(signal) => signal.map(event_of),
                Woken::Ended(report) => Some(self.end(report)),
                Woken::Due => Some(Event::Due),
                Woken::Hint(hint) => self.weigh(hint),
                Woken::Resync => self.resync(),
                Woken::Beat => {
                    self.reporter.report(&News::Alive { phase: &self.phase });
                    let every = self.reporter.heartbeat().unwrap_or(SLOWEST_ROUND);
                    ears.beat_at = in_future(Instant::now(), every);
                    None
                }
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    fn begin(&mut self, request: PassRequest) {
        assert!(self.running.is_none(), "phase asked for a second pass");
        // Before the look, so that whatever comes later differs from it.
        let sighting = self.sighting();
        if request.full_check {
            self.marker_seen = sighting.marker;
            self.marker_unanswered = sighting.marker;
        }
        self.looked = Some(sighting);
        let (pass, cancel, began) = (Arc::clone(&self.pass), CancellationToken::new(), Instant::now());
        self.last_look = began;
        self.reporter.report(&News::PassBegan { request });
        let token = cancel.clone();
        let thread = spawn_blocking(move || pass(request, token));
        self.running = Some(Running { request, began, cancel, thread });
    }

    /// The running pass has ended.
    fn end(&mut self, report: Result<PassReport, JoinError>) -> Event {
        let report = report.unwrap_or_else(|error| PassReport {
            outcome: PassOutcome::Failed(Cure::Soon { wait: None }),
            message: format!("the pass broke off: {error}"),
            built: None,
        });
        let running = self.running.take().expect("only a running pass can end");
        match report.outcome {
            // Nothing was looked at: every hint counts again.
            PassOutcome::Busy | PassOutcome::Stopped => self.looked = None,
            PassOutcome::Promoted
            | PassOutcome::Unchanged
            | PassOutcome::Refused
            | PassOutcome::Held
            | PassOutcome::Failed(_) => {
                // The links may be our own doing; the source is not.
                let links = self.sighting().links;
                if let Some(looked) = &mut self.looked {
                    looked.links = links;
                }
            }
        }
        let took = running.began.elapsed();
        self.reporter.report(&News::PassEnded { request: running.request, report: &report, took });
        Event::Ended { outcome: report.outcome, jitter: fastrand::f64() }
    }

    /// What a hint comes to, by what `stat` says.
    fn weigh(&self, hint: Hint) -> Option<Event> {
        match hint {
            Hint::Marker => Some(Event::Marker),
            Hint::Database => self.is_source_changed(&self.sighting()).then_some(Event::Database),
            Hint::Everything => {
                let sighting = self.sighting();
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
        let sighting = self.sighting();
        if self.is_marker_touched(&sighting) {
            return Some(Event::Marker);
        }
        let differs = self.is_source_changed(&sighting)
            || self.are_links_changed(&sighting)
            || now.duration_since(self.last_look) >= SLOWEST_ROUND;
        differs.then_some(Event::Resync)
    }

    fn read_settings(&mut self) {
        self.reporter.report(&News::Reloading);
        let trigger = (self.reload)();
        let accepted = trigger.is_some();
        if let Some(trigger) = trigger {
            self.timing = Timing::from(&trigger);
            self.resync_at = in_future(Instant::now(), trigger.resync);
            self.trigger = trigger;
        }
        self.reporter.report(&News::Reloaded { accepted });
    }

    async fn first_sweep(&mut self) {
        let sweep = Arc::clone(&self.sweep);
        let swept = spawn_blocking(move || sweep()).await.unwrap_or_else(|error| Err(error.into()));
        if let Err(error) = swept {
            self.reporter.report(&News::SweepFailed { error: &*error });
        }
        self.reporter.report(&News::Up);
    }

    /// Cancels the pass, waits for it, and sweeps, all within [`GONE_WITHIN`].
    async fn stop(mut self) -> ExitReason {
        let told = Instant::now();
        self.reporter.report(&News::Stopping);
        if let Some(running) = &mut self.running {
            running.cancel.cancel();
            let Ok(report) = timeout_at(told + PASS_ENDS_WITHIN, &mut running.thread).await else {
                // No sweep either: it would remove what the pass still writes.
                self.reporter.report(&News::LeftBehind);
                return ExitReason::LeftBehind;
            };
            if let Event::Ended { outcome, .. } = self.end(report)
                && outcome.is_answer()
            {
                self.remember_marker();
            }
        }
        let sweep = Arc::clone(&self.sweep);
        match timeout_at(told + GONE_WITHIN, spawn_blocking(move || sweep())).await {
            Ok(Ok(Ok(()))) => return ExitReason::Stopped,
            Ok(Ok(Err(error))) => self.reporter.report(&News::SweepFailed { error: &*error }),
            Ok(Err(error)) => self.reporter.report(&News::SweepFailed { error: &error }),
            Err(_) => {
                self.reporter.report(&News::LeftBehind);
                return ExitReason::LeftBehind;
            }
        }
        ExitReason::Stopped
    }

    fn remember_marker(&mut self) {
        if let Some(stamp) = self.marker_unanswered.take()
            && let Err(error) = self.memory.remember(stamp)
        {
            self.reporter.report(&News::MarkerNotRemembered { error: &error });
        }
    }

    fn sighting(&self) -> Sighting {
        (self.sight)(&self.trigger.marker)
    }

    fn is_marker_touched(&self, sighting: &Sighting) -> bool {
        self.trigger.on.marker && sighting.marker.is_some() && sighting.marker != self.marker_seen
    }

    fn is_source_changed(&self, sighting: &Sighting) -> bool {
        self.looked.as_ref().is_none_or(|looked| sighting.source_differs(looked))
    }

    /// While a pass runs, it is the one that changes the links.
    fn are_links_changed(&self, sighting: &Sighting) -> bool {
        self.running.is_none() && self.looked.as_ref().is_some_and(|looked| looked.links != sighting.links)
    }
}

fn event_of(signal: Signal) -> Event {
    match signal {
        Signal::Terminate | Signal::Interrupt => Event::Stop,
        Signal::Reload => Event::Reload,
        Signal::Now => Event::Asked,
    }
}

async fn end_of(running: &mut Option<Running>) -> Result<PassReport, JoinError> {
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
