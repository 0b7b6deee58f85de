//! One text that is embedded to find others: a question, with a person who waits for it.
//!
//! What a person asks is not counted among the texts of a pass.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use super::batcher::{attempt_error, flawed_text};
use super::check_answer::CheckedAnswer;
use super::error::EmbedError;
use super::rate_limit::{RateLimits, SentLog};
use super::requester::{RequestEnd, Requester};
use super::types::{Embedder, FailureKind, Task};

/// Embeds one query, with retries only as far as `limit` allows.
///
/// # Errors
///
/// An [`EmbedError`] with the provider's message, once `limit` is over or as
/// soon as waiting cannot help.
pub(crate) async fn embed_query(
    embedder: Arc<dyn Embedder>,
    dimension: usize,
    text: &str,
    limit: Duration,
) -> Result<Vec<f32>, EmbedError> {
    let (sender, _waits) = mpsc::unbounded_channel();
    let no_limit = RateLimits::new(0, 0, &SentLog::default());
    let requester = Requester::new(embedder, Task::Query, dimension, limit, no_limit, sender);
    let text = [text.to_owned()];
    let ask = async {
        for failures in 0.. {
            let failure = match requester.send(&text).await {
                Ok(CheckedAnswer { vectors, flawed, .. }) => match flawed.into_iter().next() {
                    None => return Ok(vectors),
                    Some((_, flaw)) => flawed_text(&flaw),
                },
                Err(RequestEnd::Failed(failure)) => failure,
                Err(RequestEnd::Closed | RequestEnd::NotCounted(_)) => break,
            };
            let can_pass = match failure.kind {
                FailureKind::Transient { .. } | FailureKind::Timeout | FailureKind::ServerError { .. } => {
                    true
                }
                // Either may be right with the next request.
                FailureKind::Resend | FailureKind::Wrong(_) => failures < 2,
                FailureKind::TooLarge
                | FailureKind::BadRequest
                | FailureKind::Exhausted
                | FailureKind::Final => false,
            };
            match requester.later(&failure, failures).filter(|_| can_pass) {
                Some(later) => sleep_until(later).await,
                None => return Err(attempt_error(&requester, failure, None)),
            }
        }
        Err(EmbedError::Stopped)
    };
    timeout(limit, ask).await.unwrap_or_else(|_elapsed| {
        let message = requester.last_message().unwrap_or_else(|| "no answer received".to_owned());
        Err(EmbedError::GaveUp { tried: limit, wait: None, message, suspect: None })
    })
}
