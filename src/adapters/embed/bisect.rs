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

use super::batcher::{Arrived, Item, Note, Refusal};
use super::requester::{Ended, Line};
use super::{EmbedError, FailureKind};

/// Buys the vectors of one batch. Ends early without an error once the line is closed.
pub(super) async fn batch(line: &Line, items: Vec<Item>) -> Result<(), EmbedError> {
    let (hashes, texts): (Vec<_>, Vec<_>) = items.into_iter().map(|item| (item.hash, item.text)).unzip();
    let buy = async |part: Range<usize>| match line.request(&texts[part.clone()]).await {
        Ok(vectors) => {
            line.note(Note::Arrived(Arrived { hashes: hashes[part].to_vec(), vectors }));
            Ok(Bought::Yes)
        }
        Err(Ended::Closed) => Ok(Bought::Closed),
        Err(Ended::Failed(failure)) if failure.kind == FailureKind::BadRequest => {
            Ok(Bought::Refused(failure.message))
        }
        Err(Ended::Failed(failure)) => Err(line.verdict(failure)),
    };

    let whole = 0..texts.len();
    let mut refused = match buy(whole.clone()).await? {
        Bought::Yes | Bought::Closed => return Ok(()),
        Bought::Refused(words) => vec![(whole.clone(), words)],
    };
    while let Some((part, words)) = refused.pop() {
        if part.len() == 1 {
            line.note(Note::Refused(Refusal { hash: hashes[part.start], message: words }));
            continue;
        }
        let middle = part.start.midpoint(part.end);
        let mut bad_halves = Vec::with_capacity(2);
        for half in [part.start..middle, middle..part.end] {
            match buy(half.clone()).await? {
                Bought::Yes => {}
                Bought::Closed => return Ok(()),
                Bought::Refused(words) => bad_halves.push((half, words)),
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

enum Bought {
    Yes,
    Refused(String),
    Closed,
}
