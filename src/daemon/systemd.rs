//! Messages to the service manager: readiness, status, watchdog.
//!
//! READY is sent once the watches are armed and the first plan is made, or the
//! first pass has ended some other way. The watchdog is notified only while the
//! running pass makes progress, so that the manager restarts a process whose
//! pass hangs. Whether it does is [`Liveness`]'s answer; the protocol is
//! `sd-notify`'s. Without a manager nothing is sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::liveness::Liveness;
use crate::decide::agent_state::AgentState;
use crate::flows::agent::{AgentEvent, Observer};

/// How often STATUS is sent where no watchdog asks for more: it holds the age of the build.
const STATUS_INTERVAL: Duration = Duration::from_secs(60);
/// How much longer the manager is asked to wait for a start or a stop in progress.
const TIMEOUT_EXTENSION: Duration = Duration::from_secs(30);

/// Says what is served, for people.
pub(super) type DescribeServed = Box<dyn Fn() -> String + Send>;

/// The service manager that started this process, if one did.
pub(super) struct ServiceManager {
    pub(super) is_present: bool,
    /// How often it wants a sign of life.
    pub(super) watchdog: Option<Duration>,
}

/// Notifies the service manager.
pub(super) struct SystemdObserver {
    manager: ServiceManager,
    liveness: Arc<Liveness>,
    served: DescribeServed,
    /// How long a pass may try to embed without a success.
    embed_limit: Duration,
    state: String,
    stopping: bool,
}

impl SystemdObserver {
    pub(super) fn new(
        manager: ServiceManager,
        liveness: Arc<Liveness>,
        served: DescribeServed,
        embed_limit: Duration,
    ) -> Self {
        Self { manager, liveness, served, embed_limit, state: "start".to_owned(), stopping: false }
    }

    fn notify_status(&self) {
        if !self.manager.is_present {
            return;
        }
        let state = self.liveness.describe(Instant::now()).unwrap_or_else(|| self.state.clone());
        notify(&[NotifyState::Status(&format!("{state}; serving {}", (self.served)()))]);
    }

    fn notify_watchdog(&self) {
        let now = Instant::now();
        if !self.liveness.is_alive(now, self.embed_limit) {
            let (stage, silence) = self.liveness.silence(now).unzip();
            let (stage, silent_s) = (stage.map(tracing::field::display), silence.map(|time| time.as_secs()));
            tracing::warn!(stage, silent_s, "pass: no progress, watchdog not notified");
            return;
        }
        if self.manager.watchdog.is_some() {
            notify(&[NotifyState::Watchdog]);
        }
        if !self.liveness.is_ready() || self.stopping {
            // A long first scan, or a last batch that is being saved.
            notify(&[NotifyState::ExtendTimeoutUsec(micros(TIMEOUT_EXTENSION))]);
        }
    }

    fn notify_ready_once(&self) {
        if self.liveness.becomes_ready() {
            notify_ready();
        }
    }
}

impl Observer for SystemdObserver {
    fn on_event(&mut self, event: &AgentEvent<'_>) {
        match event {
            AgentEvent::StateEntered { state, wait } => {
                if matches!(state, AgentState::Idle { .. }) {
                    // With the marker alone as trigger, and without a touch, no pass runs at the start.
                    self.notify_ready_once();
                }
                self.state = describe_state(state, *wait);
            }
            AgentEvent::PassFinished { .. } => {
                self.liveness.pass_finished();
                self.notify_ready_once();
            }
            AgentEvent::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(now) => notify(&[NotifyState::Reloading, now]),
                Err(error) => tracing::warn!(%error, "service manager: cannot be notified of a reload"),
            },
            AgentEvent::Reloaded { .. } => notify_ready(),
            AgentEvent::Stopping => {
                self.stopping = true;
                notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros(TIMEOUT_EXTENSION))]);
            }
            AgentEvent::Heartbeat { .. } => self.notify_watchdog(),
            AgentEvent::Started
            | AgentEvent::PassStarted { .. }
            | AgentEvent::ChangeIgnored
            | AgentEvent::SweepFailed { .. }
            | AgentEvent::MarkerNotSaved { .. }
            | AgentEvent::StopTimedOut => {}
        }
        self.notify_status();
    }

    fn heartbeat(&self) -> Option<Duration> {
        match self.manager.watchdog {
            Some(watchdog) => Some((watchdog / 2).min(STATUS_INTERVAL)),
            None => self.manager.is_present.then_some(STATUS_INTERVAL),
        }
    }
}

fn describe_state(state: &AgentState, wait: Option<Duration>) -> String {
    match wait {
        Some(wait) => format!("{state} for {} s", wait.as_secs_f32().ceil()),
        None => state.to_string(),
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// Notifies the manager that the agent is ready.
pub(super) fn notify_ready() {
    notify(&[NotifyState::Ready]);
}

/// A manager that cannot be reached changes nothing else.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "service manager: cannot be notified");
    }
}
