//! Work on files for a delivery, away from the threads that requests and timers run on.
//!
//! A file system that hangs keeps one thread of its own, and the delivery that
//! asked; the agent's loop, its signals and every other delivery go on. The
//! wait is said once and ends with the delivery.

use std::future;
use std::panic::resume_unwind;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Long for any disk.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What `work` gives, on a thread of its own.
pub(crate) async fn off_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let mut working = spawn_blocking(work);
    let ended = if let Ok(ended) = timeout(ANSWER_LIMIT, &mut working).await {
        ended
    } else {
        tracing::warn!("announce: a file system does not answer; the delivery waits for it");
        working.await
    };
    match ended {
        Ok(given) => given,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        // The program is ending.
        Err(_) => future::pending().await,
    }
}
