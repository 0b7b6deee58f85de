//! Cuts the texts into batches as they are pulled.
//!
//! A batch is bounded by texts, by bytes, and by our own limit of a minute. How
//! large a batch the provider turns out to take is `queue`'s knowledge.

use std::io;

use super::request_size::{batch_texts, batch_tokens, escaped_len, estimated_tokens};
use super::types::{EmbedLimits, Embedder, TextItem};

/// The texts that were not sent yet.
pub(super) struct Batches<'a> {
    items: &'a mut dyn Iterator<Item = io::Result<TextItem>>,
    /// Pulled, but too large for the batch before.
    deferred: Option<TextItem>,
    max_texts: usize,
    max_bytes: usize,
    /// The bytes that a request has more for each text.
    bytes_per_text: usize,
    max_tokens: usize,
}

impl<'a> Batches<'a> {
    pub(super) fn new(
        items: &'a mut dyn Iterator<Item = io::Result<TextItem>>,
        embedder: &dyn Embedder,
        limits: &EmbedLimits,
    ) -> Self {
        let max_texts = batch_texts(limits.batch_size, embedder.max_texts(), limits.items_per_minute);
        let (max_bytes, bytes_per_text) = (embedder.max_bytes(), embedder.bytes_per_text());
        Self {
            items,
            deferred: None,
            max_texts,
            max_bytes,
            bytes_per_text,
            max_tokens: batch_tokens(limits.tokens_per_minute),
        }
    }

    /// The most texts in a batch, as far as is known beforehand.
    pub(super) fn max_texts(&self) -> usize {
        self.max_texts
    }

    /// The next batch of at most `most` texts. A text that is too large by itself
    /// is a batch of its own: whether to refuse it is the provider's decision.
    pub(super) fn next(&mut self, most: usize) -> io::Result<Option<Vec<TextItem>>> {
        let mut batch = Vec::new();
        let (mut bytes, mut tokens) = (0, 0);
        while batch.len() < self.max_texts.min(most).max(1) {
            let Some(item) = self.deferred.take().map(Ok).or_else(|| self.items.next()).transpose()? else {
                break;
            };
            bytes += escaped_len(&item.text) + self.bytes_per_text;
            if self.max_tokens < usize::MAX {
                tokens += estimated_tokens(&item.text, self.bytes_per_text);
            }
            if (bytes > self.max_bytes || tokens > self.max_tokens) && !batch.is_empty() {
                self.deferred = Some(item);
                break;
            }
            batch.push(item);
        }
        Ok((!batch.is_empty()).then_some(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::embed::rate_limit::SentLog;
    use crate::adapters::embed::types::{Failure, Task};
    use crate::domain::record::TextHash;
    use std::time::Duration;

    struct NoProvider;

    impl Embedder for NoProvider {
        fn embed<'a>(
            &'a self,
            _texts: &'a [String],
            _task: Task,
        ) -> futures_util::future::BoxFuture<'a, Result<Vec<Vec<f32>>, Failure>> {
            unreachable!("nothing is sent")
        }

        fn max_texts(&self) -> usize {
            100
        }

        fn max_bytes(&self) -> usize {
            1000
        }
    }

    #[test]
    fn a_batch_is_bounded_by_number_minute_and_bytes_and_a_giant_goes_alone() {
        let limits = |batch_size, items_per_minute| EmbedLimits {
            task: crate::adapters::embed::types::Task::Document,
            dimension: 3,
            batch_size,
            concurrency: 1,
            items_per_minute,
            tokens_per_minute: 0,
            sent: SentLog::default(),
            retry_budget: Duration::ZERO,
            refusals_allowed: 0,
            are_refused: false,
            witness: String::new(),
            meter: None,
        };
        let cases: [(&[usize], EmbedLimits, usize, &[usize]); 6] = [
            (&[60; 7], limits(3, 0), 9, &[3, 3, 1]),
            (&[60; 5], limits(16, 2), 9, &[2, 2, 1]),
            (&[60; 5], limits(16, 0), 4, &[4, 1]),
            (&[480, 480, 60, 480], limits(16, 0), 9, &[2, 2]),
            (&[60, 6000, 60, 60], limits(16, 0), 9, &[1, 1, 2]),
            (&[], limits(16, 0), 9, &[]),
        ];
        for (lengths, limits, most, expected) in cases {
            let item =
                |&length: &usize| Ok(TextItem { hash: TextHash::of(""), text: "\n".repeat(length / 6) });
            let mut items = lengths.iter().map(item);
            let mut batches = Batches::new(&mut items, &NoProvider, &limits);
            let sizes = std::iter::from_fn(|| batches.next(most).unwrap().map(|batch| batch.len()));
            assert_eq!(sizes.collect::<Vec<_>>(), expected, "{lengths:?}");
        }
    }
}
