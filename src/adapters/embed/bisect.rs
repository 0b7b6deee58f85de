//! Embeds one batch, halving it if the provider refuses it whole.
//!
//! A refused batch is halved until the texts that the provider refuses stand
//! alone: two requests a halving, so one such text among n costs about 2 log2 n
//! requests and all the others are embedded. If both halves of the first split
//! are refused and no request of this attempt has succeeded, the request itself
//! is wrong, and nothing more is tried.
//!
//! What arrives is passed on at once, so that a later failure cannot lose it.

use std::ops::Range;

use super::error::EmbedError;
use super::requester::{RequestEnd, Requester};
use super::types::{BatchEvent, EmbeddedBatch, FailureKind, RefusedText, TextItem};

/// Embeds the texts of one batch. Ends early without an error once the requester is closed.
pub(super) async fn embed_batch(requester: &Requester, items: Vec<TextItem>) -> Result<(), EmbedError> {
    let (hashes, texts): (Vec<_>, Vec<_>) = items.into_iter().map(|item| (item.hash, item.text)).unzip();
    let embed = async |part: Range<usize>| match requester.request(&texts[part.clone()]).await {
        Ok(vectors) => {
            let batch = EmbeddedBatch { hashes: hashes[part].to_vec(), vectors };
            requester.send_event(BatchEvent::Arrived(batch));
            Ok(BatchResult::Embedded)
        }
        Err(RequestEnd::Closed) => Ok(BatchResult::Closed),
        Err(RequestEnd::Failed(failure)) if failure.kind == FailureKind::BadRequest => {
            Ok(BatchResult::Refused(failure.message))
        }
        Err(RequestEnd::Failed(failure)) => Err(requester.attempt_error(failure)),
    };

    let whole = 0..texts.len();
    let mut refused = match embed(whole.clone()).await? {
        BatchResult::Embedded | BatchResult::Closed => return Ok(()),
        BatchResult::Refused(message) => vec![(whole.clone(), message)],
    };
    while let Some((part, message)) = refused.pop() {
        if part.len() == 1 {
            requester.send_event(BatchEvent::Refused(RefusedText { hash: hashes[part.start], message }));
            continue;
        }
        let middle = part.start.midpoint(part.end);
        let mut refused_halves = Vec::with_capacity(2);
        for half in [part.start..middle, middle..part.end] {
            match embed(half.clone()).await? {
                BatchResult::Embedded => {}
                BatchResult::Closed => return Ok(()),
                BatchResult::Refused(message) => refused_halves.push((half, message)),
            }
        }
        if part == whole && refused_halves.len() == 2 && !requester.has_succeeded() {
            return Err(EmbedError::BadRequest(message));
        }
        // The first half last, so that texts are reported in their order.
        refused.extend(refused_halves.into_iter().rev());
    }
    Ok(())
}

enum BatchResult {
    Embedded,
    /// With the provider's message.
    Refused(String),
    Closed,
}
