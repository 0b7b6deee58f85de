//! What the service manager is told: readiness, status, signs of life.
//!
//! [`Vitals`] is where a pass leaves its signs of life, and [`Service`] a
//! [`Reporter`] that makes messages of them and of the agent's news. READY is
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

use super::status_file::Ledger;
use crate::decide::agent_state::Phase as AgentPhase;
use crate::flows::agent::{LogReporter, News, Reporter};
use crate::flows::reconcile::{Phase, Progress};

/// How often STATUS is renewed where no watchdog asks for more: the age of the build is in it.
const STATUS_EVERY: Duration = Duration::from_secs(60);
/// How long a phase may go without a sign of life of its own: an fsync of a
/// large file, a wait for a writer's lock, one search by Faiss.
const SILENCE: Duration = Duration::from_secs(120);
/// How much longer the manager is asked to wait for a start or a stop at work.
const EXTENSION: Duration = Duration::from_secs(30);

/// Signs of life of the pass at work; shared between its thread and the loop.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    ticks: AtomicU64,
    ready: AtomicBool,
    work: Mutex<Option<Work>>,
}

/// What the pass at work is doing.
#[derive(Clone, Debug, PartialEq)]
struct Work {
    phase: Phase,
    /// When it last got on.
    moved: Instant,
    ticks: u64,
    bought: Option<Bought>,
}

#[derive(Clone, Debug, PartialEq)]
struct Bought {
    began: Instant,
    done: u64,
    total: u64,
    waiting: Option<String>,
}

impl Vitals {
    /// A step of the pass: a row read, a piece written, a batch handed on.
    pub(super) fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes what goes on in a pass.
    pub(super) fn update(&self, now: Progress<'_>) {
        let at = Instant::now();
        self.tick();
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        match now {
            Progress::Phase(phase) => {
                *work = Some(Work { phase, moved: at, ticks: 0, bought: None });
                if phase == Phase::Plan {
                    self.say_ready();
                }
            }
            Progress::Embedded { done, total, waiting } => {
                if let Some(work) = work.as_mut() {
                    let before = work.bought.as_ref();
                    if before.is_none_or(|before| before.done != done) {
                        work.moved = at;
                    }
                    let began = before.map_or(at, |before| before.began);
                    work.bought = Some(Bought { began, done, total, waiting: waiting.map(str::to_owned) });
                }
            }
            Progress::Warning(_) => {}
        }
    }

    fn ended(&self) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.say_ready();
    }

    fn say_ready(&self) {
        if !self.ready.swap(true, Ordering::SeqCst) {
            tell(&[NotifyState::Ready]);
        }
    }

    /// Whether the pass at work gets on; without one the loop itself is the sign of life.
    fn are_good(&self, now: Instant, purchase: Duration) -> bool {
        let ticks = self.ticks.load(Ordering::Relaxed);
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(work) = work.as_mut() else { return true };
        // While texts are bought only an arrival counts: the heartbeat of a purchase ticks on for ever.
        if work.phase != Phase::Embed && work.ticks != ticks {
            work.moved = now;
        }
        work.ticks = ticks;
        now.saturating_duration_since(work.moved) <= deadline(work.phase, purchase)
    }

    /// What the pass at work does, for people.
    fn words(&self, now: Instant) -> Option<String> {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let work = work.as_ref()?;
        Some(match &work.bought {
            Some(bought) if work.phase == Phase::Embed => purchase_words(bought, now),
            _ => work.phase.to_string(),
        })
    }
}

/// How long a phase may go without getting on. `purchase`: what the settings
/// allow a purchase to try without a success.
fn deadline(phase: Phase, purchase: Duration) -> Duration {
    match phase {
        Phase::Embed => purchase + SILENCE,
        Phase::Prepare | Phase::Snapshot | Phase::Plan | Phase::Index | Phase::Verify | Phase::Promote => {
            SILENCE
        }
    }
}

fn purchase_words(bought: &Bought, now: Instant) -> String {
    let Bought { began, done, total, waiting } = bought;
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
pub(super) type ServedWords = Box<dyn Fn() -> String + Send>;

/// Tells the service manager and the log.
pub(super) struct Service {
    log: LogReporter,
    ledger: Ledger,
    vitals: Arc<Vitals>,
    watchdog: Option<Duration>,
    managed: bool,
    served: ServedWords,
    /// How long a purchase may go without a success.
    purchase: Duration,
    phase: String,
    stopping: bool,
}

impl Service {
    /// A reporter to the manager that started this process, if one did.
    ///
    /// `managed`: whether one did. `watchdog`: how often it wants a sign of life.
    #[must_use]
    pub(super) fn new(
        ledger: Ledger,
        vitals: Arc<Vitals>,
        managed: bool,
        watchdog: Option<Duration>,
        served: ServedWords,
        purchase: Duration,
    ) -> Self {
        Self {
            log: LogReporter::default(),
            ledger,
            vitals,
            watchdog,
            managed,
            served,
            purchase,
            phase: "start".to_owned(),
            stopping: false,
        }
    }

    fn say_status(&self) {
        if !self.managed {
            return;
        }
        let work = self.vitals.words(Instant::now()).unwrap_or_else(|| self.phase.clone());
        tell(&[NotifyState::Status(&format!("{work}; serving {}", (self.served)()))]);
    }

    fn sign_of_life(&self) {
        if !self.vitals.are_good(Instant::now(), self.purchase) {
            tracing::warn!(phase = self.vitals.words(Instant::now()), "the pass at work does not get on");
            return;
        }
        if self.watchdog.is_some() {
            tell(&[NotifyState::Watchdog]);
        }
        if !self.vitals.ready.load(Ordering::SeqCst) || self.stopping {
            // A long first look, or a last batch that is being saved.
            tell(&[NotifyState::ExtendTimeoutUsec(micros(EXTENSION))]);
        }
    }
}

impl Reporter for Service {
    fn report(&mut self, news: &News<'_>) {
        self.log.report(news);
        self.ledger.hear(news);
        match news {
            News::Phase { phase, wait } => {
                if matches!(phase, AgentPhase::Idle { .. }) {
                    // Marker alone, and nothing asked for: no pass will say it.
                    self.vitals.say_ready();
                }
                self.phase = phase_words(phase, *wait);
            }
            News::PassEnded { .. } => self.vitals.ended(),
            News::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(now) => tell(&[NotifyState::Reloading, now]),
                Err(error) => tracing::warn!(%error, "the service manager cannot be told of a reload"),
            },
            News::Reloaded { .. } => tell(&[NotifyState::Ready]),
            News::Stopping => {
                self.stopping = true;
                tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros(EXTENSION))]);
            }
            News::Alive { .. } => self.sign_of_life(),
            News::Up
            | News::PassBegan { .. }
            | News::SweepFailed { .. }
            | News::MarkerNotRemembered { .. }
            | News::LeftBehind => {}
        }
        self.say_status();
    }

    fn heartbeat(&self) -> Option<Duration> {
        match self.watchdog {
            Some(watchdog) => Some((watchdog / 2).min(STATUS_EVERY)),
            None => self.managed.then_some(STATUS_EVERY),
        }
    }
}

fn phase_words(phase: &AgentPhase, wait: Option<Duration>) -> String {
    match wait {
        Some(wait) => format!("{phase} for {} s", wait.as_secs_f32().ceil()),
        None => phase.to_string(),
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// A manager that cannot be reached is no reason to do anything else.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURCHASE: Duration = Duration::from_secs(660);

    fn vitals(phase: Phase) -> Vitals {
        let vitals = Vitals::default();
        vitals.update(Progress::Phase(phase));
        vitals
    }

    #[test]
    fn a_pass_that_ticks_is_alive_and_one_that_falls_silent_is_not() {
        let vitals = vitals(Phase::Verify);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);

        assert!(vitals.are_good(at(100), PURCHASE));
        vitals.tick();
        assert!(vitals.are_good(at(200), PURCHASE), "it ticked");
        assert!(vitals.are_good(at(310), PURCHASE), "within the silence that a phase may keep");
        assert!(!vitals.are_good(at(330), PURCHASE), "silent for longer");
    }

    #[test]
    fn a_purchase_is_alive_by_arrivals_and_not_by_its_own_heartbeat() {
        let vitals = vitals(Phase::Embed);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let arrived = |done| vitals.update(Progress::Embedded { done, total: 100, waiting: None });

        arrived(10);
        arrived(10);
        assert!(vitals.are_good(at(700), PURCHASE));
        assert!(!vitals.are_good(at(790), PURCHASE), "no text arrived for longer than the budget allows");
    }

    #[test]
    fn without_a_pass_the_loop_is_the_sign_of_life() {
        let vitals = vitals(Phase::Index);
        vitals.ended();

        assert!(vitals.are_good(Instant::now() + Duration::from_secs(1_000_000), PURCHASE));
    }

    #[test]
    fn a_purchase_says_how_far_it_is() {
        let began = Instant::now();
        let now = began + Duration::from_secs(10);
        let bought = |done, waiting: Option<&str>| Bought {
            began,
            done,
            total: 200,
            waiting: waiting.map(str::to_owned),
        };

        assert_eq!(purchase_words(&bought(50, None), now), "embed 25 %, 50 of 200, 30 s left");
        assert_eq!(purchase_words(&bought(0, None), now), "embed 0 %, 0 of 200");
        assert_eq!(purchase_words(&bought(50, Some("429")), now), "embed 25 %, 50 of 200, waiting: 429");
    }
}
