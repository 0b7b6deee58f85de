//! What the service manager is told: readiness, status, signs of life.
//!
//! [`Liveness`] is where a pass leaves its signs of life, and [`SystemdObserver`] a
//! [`Observer`] that makes messages of them and of the agent's news. READY is
//! said once the watches are armed and the first plan is made, or the first
//! pass has ended some other way. A sign of life is passed on only while the
//! pass at work makes progress or is within its phase's own deadline, so that
//! a hung pass is restarted by the manager's watchdog.
//!
//! The protocol is `sd-notify`'s; without a manager nothing is sent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::status_file::StatusFile;
use crate::decide::agent_state::AgentState as AgentPhase;
use crate::domain::pass::Stage;
use crate::flows::agent::{AgentEvent, LogObserver, Observer};
use crate::flows::reconcile::PassProgress;

/// How often STATUS is renewed where no watchdog asks for more: the age of the build is in it.
const STATUS_INTERVAL: Duration = Duration::from_secs(60);
/// How long a phase may go without a sign of life of its own: an fsync of a
/// large file, a wait for a writer's lock, one search by Faiss.
const STAGE_TIMEOUT: Duration = Duration::from_secs(120);
/// How much longer the manager is asked to wait for a start or a stop at work.
const TIMEOUT_EXTENSION: Duration = Duration::from_secs(30);

/// Signs of life of the pass at work; shared between its thread and the loop.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    ticks: AtomicU64,
    ready: AtomicBool,
    current: Mutex<Option<CurrentStage>>,
}

/// What the pass at work is doing.
#[derive(Clone, Debug, PartialEq)]
struct CurrentStage {
    stage: Stage,
    /// When it last got on.
    last_progress: Instant,
    ticks: u64,
    embedding: Option<EmbedEstimate>,
}

#[derive(Clone, Debug, PartialEq)]
struct EmbedEstimate {
    started: Instant,
    done: u64,
    total: u64,
    waiting: Option<String>,
}

impl Liveness {
    /// A step of the pass: a row read, a piece written, a batch handed on.
    pub(super) fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes what goes on in a pass.
    pub(super) fn update(&self, now: PassProgress<'_>) {
        let at = Instant::now();
        self.tick();
        let mut work = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match now {
            PassProgress::Stage(phase) => {
                *work = Some(CurrentStage { stage: phase, last_progress: at, ticks: 0, embedding: None });
                if phase == Stage::Plan {
                    self.notify_ready();
                }
            }
            PassProgress::Embedded { done, total, waiting } => {
                if let Some(work) = work.as_mut() {
                    let before = work.embedding.as_ref();
                    if before.is_none_or(|before| before.done != done) {
                        work.last_progress = at;
                    }
                    let began = before.map_or(at, |before| before.started);
                    work.embedding = Some(EmbedEstimate {
                        started: began,
                        done,
                        total,
                        waiting: waiting.map(str::to_owned),
                    });
                }
            }
            PassProgress::Warning(_) => {}
        }
    }

    fn pass_finished(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.notify_ready();
    }

    fn notify_ready(&self) {
        if !self.ready.swap(true, Ordering::SeqCst) {
            notify(&[NotifyState::Ready]);
        }
    }

    /// Whether the pass at work gets on; without one the loop itself is the sign of life.
    fn is_alive(&self, now: Instant, purchase: Duration) -> bool {
        let ticks = self.ticks.load(Ordering::Relaxed);
        let mut work = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(work) = work.as_mut() else { return true };
        // While texts are bought only an arrival counts: the heartbeat of a purchase ticks on for ever.
        if work.stage != Stage::Embed && work.ticks != ticks {
            work.last_progress = now;
        }
        work.ticks = ticks;
        now.saturating_duration_since(work.last_progress) <= deadline(work.stage, purchase)
    }

    /// What the pass at work does, for people.
    fn describe(&self, now: Instant) -> Option<String> {
        let work = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let work = work.as_ref()?;
        Some(match &work.embedding {
            Some(bought) if work.stage == Stage::Embed => describe_embedding(bought, now),
            _ => work.stage.to_string(),
        })
    }
}

/// How long a phase may go without getting on. `purchase`: what the settings
/// allow a purchase to try without a success.
fn deadline(phase: Stage, purchase: Duration) -> Duration {
    match phase {
        Stage::Embed => purchase + STAGE_TIMEOUT,
        Stage::Prepare | Stage::Scan | Stage::Plan | Stage::Index | Stage::Verify | Stage::Promote => {
            STAGE_TIMEOUT
        }
    }
}

fn describe_embedding(bought: &EmbedEstimate, now: Instant) -> String {
    let EmbedEstimate { started: began, done, total, waiting } = bought;
    let percent = 100 * done / total.max(&1);
    let far = format!("embed {percent} %, {done} of {total}");
    if let Some(waiting) = waiting {
        return format!("{far}, waiting: {waiting}");
    }
    let spent = now.saturating_duration_since(*began).as_secs();
    match (total.saturating_sub(*done) * spent).checked_div(*done) {
        Some(left) if spent > 0 => format!("{far}, {left} s left"),
        _ => far,
    }
}

/// What is served, for people.
pub(super) type DescribeServed = Box<dyn Fn() -> String + Send>;

/// Tells the service manager and the log.
pub(super) struct SystemdObserver {
    log: LogObserver,
    status_file: StatusFile,
    liveness: Arc<Liveness>,
    watchdog: Option<Duration>,
    managed: bool,
    served: DescribeServed,
    /// How long a purchase may go without a success.
    embed_limit: Duration,
    state: String,
    stopping: bool,
}

impl SystemdObserver {
    /// A reporter to the manager that started this process, if one did.
    ///
    /// `managed`: whether one did. `watchdog`: how often it wants a sign of life.
    #[must_use]
    pub(super) fn new(
        ledger: StatusFile,
        vitals: Arc<Liveness>,
        managed: bool,
        watchdog: Option<Duration>,
        served: DescribeServed,
        purchase: Duration,
    ) -> Self {
        Self {
            log: LogObserver::default(),
            status_file: ledger,
            liveness: vitals,
            watchdog,
            managed,
            served,
            embed_limit: purchase,
            state: "start".to_owned(),
            stopping: false,
        }
    }

    fn notify_status(&self) {
        if !self.managed {
            return;
        }
        let work = self.liveness.describe(Instant::now()).unwrap_or_else(|| self.state.clone());
        notify(&[NotifyState::Status(&format!("{work}; serving {}", (self.served)()))]);
    }

    fn notify_watchdog(&self) {
        if !self.liveness.is_alive(Instant::now(), self.embed_limit) {
            tracing::warn!(
                phase = self.liveness.describe(Instant::now()),
                "the pass at work does not get on"
            );
            return;
        }
        if self.watchdog.is_some() {
            notify(&[NotifyState::Watchdog]);
        }
        if !self.liveness.ready.load(Ordering::SeqCst) || self.stopping {
            // A long first look, or a last batch that is being saved.
            notify(&[NotifyState::ExtendTimeoutUsec(micros(TIMEOUT_EXTENSION))]);
        }
    }
}

impl Observer for SystemdObserver {
    fn report(&mut self, news: &AgentEvent<'_>) {
        self.log.report(news);
        self.status_file.on_event(news);
        match news {
            AgentEvent::StateEntered { state: phase, wait } => {
                if matches!(phase, AgentPhase::Idle { .. }) {
                    // Marker alone, and nothing asked for: no pass will say it.
                    self.liveness.notify_ready();
                }
                self.state = describe_state(phase, *wait);
            }
            AgentEvent::PassFinished { .. } => self.liveness.pass_finished(),
            AgentEvent::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(now) => notify(&[NotifyState::Reloading, now]),
                Err(error) => tracing::warn!(%error, "the service manager cannot be told of a reload"),
            },
            AgentEvent::Reloaded { .. } => notify(&[NotifyState::Ready]),
            AgentEvent::Stopping => {
                self.stopping = true;
                notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros(TIMEOUT_EXTENSION))]);
            }
            AgentEvent::Heartbeat { .. } => self.notify_watchdog(),
            AgentEvent::Started
            | AgentEvent::PassStarted { .. }
            | AgentEvent::SweepFailed { .. }
            | AgentEvent::MarkerNotSaved { .. }
            | AgentEvent::StopTimedOut => {}
        }
        self.notify_status();
    }

    fn heartbeat(&self) -> Option<Duration> {
        match self.watchdog {
            Some(watchdog) => Some((watchdog / 2).min(STATUS_INTERVAL)),
            None => self.managed.then_some(STATUS_INTERVAL),
        }
    }
}

fn describe_state(phase: &AgentPhase, wait: Option<Duration>) -> String {
    match wait {
        Some(wait) => format!("{phase} for {} s", wait.as_secs_f32().ceil()),
        None => phase.to_string(),
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// A manager that cannot be reached is no reason to do anything else.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMBED_LIMIT: Duration = Duration::from_secs(660);

    fn liveness(phase: Stage) -> Liveness {
        let vitals = Liveness::default();
        vitals.update(PassProgress::Stage(phase));
        vitals
    }

    #[test]
    fn a_pass_that_ticks_is_alive_and_one_that_falls_silent_is_not() {
        let vitals = liveness(Stage::Verify);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);

        assert!(vitals.is_alive(at(100), EMBED_LIMIT));
        vitals.tick();
        assert!(vitals.is_alive(at(200), EMBED_LIMIT), "it ticked");
        assert!(vitals.is_alive(at(310), EMBED_LIMIT), "within the silence that a phase may keep");
        assert!(!vitals.is_alive(at(330), EMBED_LIMIT), "silent for longer");
    }

    #[test]
    fn embedding_is_alive_only_while_texts_arrive() {
        let vitals = liveness(Stage::Embed);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let arrived = |done| vitals.update(PassProgress::Embedded { done, total: 100, waiting: None });

        arrived(10);
        arrived(10);
        assert!(vitals.is_alive(at(700), EMBED_LIMIT));
        assert!(!vitals.is_alive(at(790), EMBED_LIMIT), "no text arrived for longer than the budget allows");
    }

    #[test]
    fn without_a_pass_the_loop_is_the_sign_of_life() {
        let vitals = liveness(Stage::Index);
        vitals.pass_finished();

        assert!(vitals.is_alive(Instant::now() + Duration::from_secs(1_000_000), EMBED_LIMIT));
    }

    #[test]
    fn embedding_status_says_how_far_it_is() {
        let began = Instant::now();
        let now = began + Duration::from_secs(10);
        let bought = |done, waiting: Option<&str>| EmbedEstimate {
            started: began,
            done,
            total: 200,
            waiting: waiting.map(str::to_owned),
        };

        assert_eq!(describe_embedding(&bought(50, None), now), "embed 25 %, 50 of 200, 30 s left");
        assert_eq!(describe_embedding(&bought(0, None), now), "embed 0 %, 0 of 200");
        assert_eq!(describe_embedding(&bought(50, Some("429")), now), "embed 25 %, 50 of 200, waiting: 429");
    }
}
