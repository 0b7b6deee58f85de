//! The way hints take from the watch to the loop.
//!
//! A set, not a queue: whatever comes in before the loop looks is told of
//! once, so there is no bound to hit and nothing to lose. Hints of the
//! database are spaced, since a writer can cause thousands a second and one
//! says as much as all of them; a marker is told of at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::decide::debounce::Hint;

/// The shortest time between two hints of the database, far below any sensible `quiet`.
const HINT_INTERVAL: Duration = Duration::from_millis(50);

/// A way from a watch to a loop: one end to tell hints, one to hear them.
#[must_use]
pub fn channel() -> (HintSender, Hints) {
    let shared = Arc::new(HintState::default());
    (HintSender(Arc::clone(&shared)), Hints { shared, database_from: None })
}

/// Tells hints.
#[derive(Clone, Debug)]
pub struct HintSender(Arc<HintState>);

/// Hears hints.
#[derive(Debug)]
pub struct Hints {
    shared: Arc<HintState>,
    /// When the next hint of the database may be told.
    database_from: Option<Instant>,
}

#[derive(Debug, Default)]
struct HintState {
    /// One bit for each [`Hint`] not yet heard.
    pending: AtomicU8,
    arrived: Notify,
}

impl HintSender {
    /// Tells a hint. Never waits.
    pub fn send(&self, hint: Hint) {
        self.0.pending.fetch_or(bit(hint), Ordering::AcqRel);
        self.0.arrived.notify_one();
    }
}

impl Hints {
    /// The next hint. Safe to drop and call again: a hint is taken only when it is returned.
    pub async fn next(&mut self) -> Hint {
        loop {
            let came = self.shared.arrived.notified();
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
                    came.await;
                }
                Some(from) if self.shared.has(Hint::Database) => {
                    tokio::select! {
                        () = came => {}
                        () = tokio::time::sleep_until(from) => {}
                    }
                }
                Some(_) => came.await,
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
    async fn hints_of_the_database_are_spaced_and_none_is_forgotten() {
        let (sender, mut hints) = channel();
        sender.send(Hint::Database);
        assert_eq!(hints.next().await, Hint::Database);
        let heard = Instant::now();
        sender.send(Hint::Database);
        sender.send(Hint::Marker);
        assert_eq!(hints.next().now_or_never(), Some(Hint::Marker));
        assert_eq!(hints.next().now_or_never(), None);
        assert_eq!(hints.next().await, Hint::Database);
        assert!(heard.elapsed() >= HINT_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_sent_while_someone_waits_is_received() {
        let (sender, mut hints) = channel();
        let hearing = tokio::spawn(async move { hints.next().await });
        tokio::task::yield_now().await;
        sender.send(Hint::Marker);
        assert_eq!(hearing.await.unwrap(), Hint::Marker);
    }
}
