//! Instants at which the loop wakes up.

use std::future;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::decide::debounce::after;

pub(super) async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => future::pending().await,
    }
}

pub(super) fn in_future(now: Instant, wait: Duration) -> Instant {
    Instant::from_std(after(now.into_std(), wait))
}
