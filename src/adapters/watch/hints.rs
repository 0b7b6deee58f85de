//! Hints on their way from the watch to the agent's loop.
//!
//! A set, not a queue: hints that arrive before the loop reads them are
//! delivered once, so there is no limit to reach and nothing to lose. Hints at
//! the database are spaced, since a writer can cause thousands a second and one
//! says as much as all of them; a hint at the marker is delivered at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::decide::debounce::Hint;

/// The shortest time between two hints at the database, far below any sensible `quiet`.
const HINT_INTERVAL: Duration = Duration::from_millis(50);

/// The two ends: a watch sends, a loop receives.
#[must_use]
pub(crate) fn channel() -> (HintSender, Hints) {
    let shared = Arc::new(HintState::default());
    (HintSender(Arc::clone(&shared)), Hints { shared, database_from: None })
}

#[derive(Clone, Debug)]
pub(crate) struct HintSender(Arc<HintState>);

#[derive(Debug)]
pub(crate) struct Hints {
    shared: Arc<HintState>,
    /// When the next hint at the database may be delivered.
    database_from: Option<Instant>,
}

#[derive(Debug, Default)]
struct HintState {
    /// One bit for each [`Hint`] not yet delivered.
    pending: AtomicU8,
    arrived: Notify,
}

impl HintSender {
    /// Never waits.
    pub(crate) fn send(&self, hint: Hint) {
        self.0.pending.fetch_or(bit(hint), Ordering::AcqRel);
        self.0.arrived.notify_one();
    }
}

impl Hints {
    /// The next hint. Safe to drop and call again: a hint is taken only when it is returned.
    pub(crate) async fn next(&mut self) -> Hint {
        loop {
            let arrived = self.shared.arrived.notified();
            for hint in [Hint::Everything, Hint::Marker] {
                if self.shared.take(hint) {
                    return hint;
                }
            }
            let now = Instant::now();
            match self.database_from.filter(|&from| from > now) {
                None => {
                    if self.shared.take(Hint::Database) {
                        self.database_from = Some(now + HINT_INTERVAL);
                        return Hint::Database;
                    }
                    arrived.await;
                }
                Some(from) if self.shared.has(Hint::Database) => {
                    tokio::select! {
                        () = arrived => {}
                        () = tokio::time::sleep_until(from) => {}
                    }
                }
                Some(_) => arrived.await,
            }
        }
    }
}

impl HintState {
    fn has(&self, hint: Hint) -> bool {
        self.pending.load(Ordering::Acquire) & bit(hint) != 0
    }

    fn take(&self, hint: Hint) -> bool {
        self.pending.fetch_and(!bit(hint), Ordering::AcqRel) & bit(hint) != 0
    }
}

fn bit(hint: Hint) -> u8 {
    match hint {
        Hint::Database => 1,
        Hint::Marker => 2,
        Hint::Everything => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn hints_sent_before_anyone_listens_are_received_once_each() {
        let (sender, mut hints) = channel();
        for hint in [Hint::Database, Hint::Marker, Hint::Database, Hint::Everything, Hint::Marker] {
            sender.send(hint);
        }
        assert_eq!(hints.next().await, Hint::Everything);
        assert_eq!(hints.next().await, Hint::Marker);
        assert_eq!(hints.next().await, Hint::Database);
        assert_eq!(hints.next().now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn hints_at_the_database_are_spaced_and_none_is_forgotten() {
        let (sender, mut hints) = channel();
        sender.send(Hint::Database);
        assert_eq!(hints.next().await, Hint::Database);
        let delivered = Instant::now();
        sender.send(Hint::Database);
        sender.send(Hint::Marker);
        assert_eq!(hints.next().now_or_never(), Some(Hint::Marker));
        assert_eq!(hints.next().now_or_never(), None);
        assert_eq!(hints.next().await, Hint::Database);
        assert!(delivered.elapsed() >= HINT_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_sent_while_someone_waits_is_received() {
        let (sender, mut hints) = channel();
        let waiting = tokio::spawn(async move { hints.next().await });
        tokio::task::yield_now().await;
        sender.send(Hint::Marker);
        assert_eq!(waiting.await.unwrap(), Hint::Marker);
    }
}
