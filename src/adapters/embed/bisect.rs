//! One batch, taken apart if the provider does not take it whole.
//!
//! A refused batch is halved until the texts that spoil it stand alone: two
//! requests a halving, so one bad text among n costs about 2 log2 n requests
//! and all the others are bought. If both halves of the first split are
//! refused and no request of this purchase was ever taken, it is the request
//! itself that is wrong, and nothing more is tried.
//!
//! What arrives is passed on at once, so that a later failure cannot lose it.

use std::ops::Range;

use super::batcher::{BatchEvent, EmbeddedBatch, RefusedText, TextItem};
use super::requester::{RequestEnd, Requester};
use super::{EmbedError, FailureKind};

/// Buys the vectors of one batch. Ends early without an error once the line is closed.
pub(super) async fn embed_batch(line: &Requester, items: Vec<TextItem>) -> Result<(), EmbedError> {
    let (hashes, texts): (Vec<_>, Vec<_>) = items.into_iter().map(|item| (item.hash, item.text)).unzip();
    let buy = async |part: Range<usize>| match line.request(&texts[part.clone()]).await {
        Ok(vectors) => {
            line.send_event(BatchEvent::Arrived(EmbeddedBatch { hashes: hashes[part].to_vec(), vectors }));
            Ok(BatchResult::Embedded)
        }
        Err(RequestEnd::Closed) => Ok(BatchResult::Closed),
        Err(RequestEnd::Failed(failure)) if failure.kind == FailureKind::BadRequest => {
            Ok(BatchResult::Refused(failure.message))
        }
        Err(RequestEnd::Failed(failure)) => Err(line.into_error(failure)),
    };

    let whole = 0..texts.len();
    let mut refused = match buy(whole.clone()).await? {
        BatchResult::Embedded | BatchResult::Closed => return Ok(()),
        BatchResult::Refused(words) => vec![(whole.clone(), words)],
    };
    while let Some((part, words)) = refused.pop() {
        if part.len() == 1 {
            line.send_event(BatchEvent::Refused(RefusedText { hash: hashes[part.start], message: words }));
            continue;
        }
        let middle = part.start.midpoint(part.end);
        let mut bad_halves = Vec::with_capacity(2);
        for half in [part.start..middle, middle..part.end] {
            match buy(half.clone()).await? {
                BatchResult::Embedded => {}
                BatchResult::Closed => return Ok(()),
                BatchResult::Refused(words) => bad_halves.push((half, words)),
            }
        }
        if part == whole && bad_halves.len() == 2 && !line.has_succeeded() {
            return Err(EmbedError::BadRequest(words));
        }
        // The first half last, so that texts are named in their order.
        refused.extend(bad_halves.into_iter().rev());
    }
    Ok(())
}

enum BatchResult {
    Embedded,
    Refused(String),
    Closed,
}
