//! Messages to the service manager: readiness, status, watchdog.
//!
//! READY is sent once the watches are armed and the first plan is made, or the
//! first pass has ended some other way. The watchdog is notified only while the
//! running pass makes progress, so that the manager restarts a process whose
//! pass hangs. Whether it does is [`Liveness`]'s answer, by the settings in force
//! at that moment. What is served is read from files by a thread of its own, so
//! that a file system that hangs costs the status line alone.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::liveness::Liveness;
use super::notifier::{Message, Notifier};
use crate::decide::agent_state::AgentState;
use crate::domain::parallel::Background;
use crate::flows::agent::{AgentEvent, Observer};

/// How often STATUS is sent where no watchdog asks for more: it holds the age of the build.
const STATUS_INTERVAL: Duration = Duration::from_secs(60);
/// Status lines that wait at most; only the newest is sent.
const MAX_LINES: usize = 16;

/// Says what is served, for people.
pub(super) type DescribeServed = Box<dyn Fn() -> String + Send>;

/// How long the settings in force let a pass try to embed without a success.
pub(super) type EmbedLimit = Box<dyn Fn() -> Duration + Send>;

/// The service manager that started this process, if one did.
pub(super) struct ServiceManager {
    pub(super) is_present: bool,
    /// How often it wants a sign of life.
    pub(super) watchdog: Option<Duration>,
}

/// Notifies the service manager.
pub(super) struct SystemdObserver {
    manager: ServiceManager,
    notifier: Arc<Notifier>,
    liveness: Arc<Liveness>,
    /// Adds what is served to what the agent does. `None` without a manager, or a thread.
    status_line: Option<Background<String, ()>>,
    embed_limit: EmbedLimit,
    state: String,
    stopping: bool,
}

impl SystemdObserver {
    pub(super) fn new(
        manager: ServiceManager,
        notifier: Arc<Notifier>,
        liveness: Arc<Liveness>,
        served: DescribeServed,
        embed_limit: EmbedLimit,
    ) -> Self {
        let line_notifier = Arc::clone(&notifier);
        let send_newest = move |lines: Receiver<String>| {
            while let Ok(line) = lines.recv() {
                let newest = lines.try_iter().last().unwrap_or(line);
                line_notifier.notify(Message::Status(format!("{newest}; serving {}", served())));
            }
        };
        let status_line =
            if manager.is_present { Background::start("status line", MAX_LINES, send_newest) } else { None };
        let state = "start".to_owned();
        Self { manager, notifier, liveness, status_line, embed_limit, state, stopping: false }
    }

    fn notify_status(&self) {
        if let Some(status_line) = &self.status_line {
            let state = self.liveness.describe(Instant::now()).unwrap_or_else(|| self.state.clone());
            // A full queue has lines enough.
            status_line.try_send(state).ok();
        }
    }

    /// By the settings in force now: a reload may have changed how long a pass may take.
    fn is_pass_alive(&self, now: Instant) -> bool {
        self.liveness.is_alive(now, (self.embed_limit)())
    }

    fn notify_watchdog(&self) {
        let now = Instant::now();
        if !self.is_pass_alive(now) {
            let (stage, silence) = self.liveness.silence(now).unzip();
            let (stage, silent_s) = (stage.map(tracing::field::display), silence.map(|time| time.as_secs()));
            tracing::warn!(stage, silent_s, "pass: no progress, watchdog not notified");
            return;
        }
        if self.manager.watchdog.is_some() {
            self.notifier.notify(Message::Watchdog);
        }
        if !self.liveness.is_ready() || self.stopping {
            // A long first scan, or a last batch that is being saved.
            self.notifier.notify(Message::ExtendTimeout);
        }
    }

    fn notify_ready_once(&self) {
        if self.liveness.becomes_ready() {
            self.notifier.notify(Message::Ready);
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
            AgentEvent::Reloading => self.notifier.notify(Message::Reloading),
            AgentEvent::Reloaded { .. } => self.notifier.notify(Message::Ready),
            AgentEvent::Stopping => {
                self.stopping = true;
                self.notifier.notify(Message::Stopping);
                self.notifier.notify(Message::ExtendTimeout);
            }
            AgentEvent::Heartbeat { .. } => self.notify_watchdog(),
            AgentEvent::Started
            | AgentEvent::PassStarted { .. }
            | AgentEvent::ChangeIgnored
            | AgentEvent::PathChanged { .. }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::domain::pass::Stage;
    use crate::flows::reconcile::PassProgress;

    #[test]
    fn a_reload_that_lets_a_pass_take_longer_holds_for_the_running_pass() {
        let (liveness, limit_s) = (Arc::new(Liveness::default()), Arc::new(AtomicU64::new(1)));
        let in_force = Arc::clone(&limit_s);
        let embed_limit = Box::new(move || Duration::from_secs(in_force.load(Ordering::Relaxed)));
        let manager = ServiceManager { is_present: false, watchdog: None };
        let (notifier, served) = (Arc::new(Notifier::start()), Box::new(String::new));
        let observer = SystemdObserver::new(manager, notifier, Arc::clone(&liveness), served, embed_limit);
        liveness.update(PassProgress::Stage(Stage::Embed));
        let later = Instant::now() + Duration::from_secs(300);
        assert!(!observer.is_pass_alive(later));

        limit_s.store(600, Ordering::Relaxed);

        assert!(observer.is_pass_alive(later));
    }
}
