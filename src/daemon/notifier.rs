//! Messages to the service manager, sent by a thread.
//!
//! A manager that does not read its socket stops its sender, so the
//! loop only queues. A message that the queue cannot take is dropped: each is
//! repeated or followed by a newer one. The protocol is `sd-notify`'s; without a
//! manager nothing is sent.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::domain::parallel::Background;

/// How much longer the manager is asked to wait for a start or a stop in progress.
const TIMEOUT_EXTENSION: Duration = Duration::from_secs(30);
/// Messages that wait at most: some minutes of an agent that does much.
const MAX_MESSAGES: usize = 64;

/// What the manager is notified of.
pub(super) enum Message {
    Ready,
    Reloading,
    Stopping,
    Watchdog,
    /// A start or a stop takes its time.
    ExtendTimeout,
    /// A line for people.
    Status(String),
}

pub(super) struct Notifier {
    /// `None` if the system refused a thread: then messages are sent by the caller.
    thread: Option<Background<Message, ()>>,
}

impl Notifier {
    pub(super) fn start() -> Self {
        let send_all = |messages: Receiver<Message>| messages.iter().for_each(|message| send(&message));
        Self { thread: Background::start("notify", MAX_MESSAGES, send_all) }
    }

    /// Never waits.
    pub(super) fn notify(&self, message: Message) {
        match &self.thread {
            Some(thread) => _ = thread.try_send(message),
            None => send(&message),
        }
    }
}

/// A manager that cannot be reached changes nothing else.
fn send(message: &Message) {
    let sent = match message {
        Message::Ready => sd_notify::notify(&[NotifyState::Ready]),
        Message::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        Message::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        Message::Watchdog => sd_notify::notify(&[NotifyState::Watchdog]),
        Message::ExtendTimeout => {
            let micros = u32::try_from(TIMEOUT_EXTENSION.as_micros()).unwrap_or(u32::MAX);
            sd_notify::notify(&[NotifyState::ExtendTimeoutUsec(micros)])
        }
        Message::Status(line) => sd_notify::notify(&[NotifyState::Status(line)]),
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "service manager: cannot be notified");
    }
}
