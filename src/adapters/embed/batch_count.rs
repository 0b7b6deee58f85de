//! How many requests a build makes, counted text by text: for a plan, which sends none.
//!
//! A batch is cut where the batcher cuts it: at `embedding.batch_size`, at what
//! one request of the provider holds, and at a minute's limit. What retries and
//! halved batches add is not foreseen. No key is needed.

use super::gemini::Gemini;
#[cfg(feature = "local")]
use super::in_process::InProcess;
use super::openai::OpenAi;
use super::request_size::{batch_texts, batch_tokens, bytes_per_text, escaped_len, estimated_tokens};
use crate::config::{EmbeddingSettings, Provider};

/// Counts the requests for texts, given in the order in which they are sent.
#[derive(Debug)]
pub(crate) struct BatchCounter {
    max_texts: usize,
    max_bytes: usize,
    bytes_per_text: usize,
    max_tokens: usize,
    /// Texts and bytes of the batch that is being filled.
    texts: usize,
    bytes: usize,
    tokens: usize,
    requests: u64,
}

impl BatchCounter {
    pub(crate) fn new(settings: &EmbeddingSettings) -> Self {
        let (texts, bytes) = match settings.provider {
            Provider::Gemini => (Gemini::MAX_REQUEST_TEXTS, Gemini::MAX_REQUEST_BYTES),
            Provider::OpenAi => (OpenAi::MAX_REQUEST_TEXTS, OpenAi::MAX_REQUEST_BYTES),
            #[cfg(feature = "local")]
            Provider::Local => (InProcess::MAX_REQUEST_TEXTS, InProcess::MAX_REQUEST_BYTES),
            #[cfg(not(feature = "local"))]
            Provider::Local => (usize::MAX, usize::MAX),
        };
        let texts = batch_texts(settings.batch_size, texts, settings.items_per_minute);
        let max_tokens = batch_tokens(settings.tokens_per_minute);
        Self { bytes_per_text: bytes_per_text(settings), max_tokens, ..Self::of(texts, bytes) }
    }

    fn of(max_texts: usize, max_bytes: usize) -> Self {
        Self {
            max_texts,
            max_bytes,
            bytes_per_text: 0,
            max_tokens: usize::MAX,
            texts: 0,
            bytes: 0,
            tokens: 0,
            requests: 0,
        }
    }

    /// Adds the next text.
    pub(crate) fn add(&mut self, text: &str) {
        let bytes = escaped_len(text) + self.bytes_per_text;
        let tokens =
            if self.max_tokens < usize::MAX { estimated_tokens(text, self.bytes_per_text) } else { 0 };
        self.bytes += bytes;
        self.tokens += tokens;
        if self.texts == 0
            || self.texts == self.max_texts
            || self.bytes > self.max_bytes
            || self.tokens > self.max_tokens
        {
            self.requests += 1;
            (self.texts, self.bytes, self.tokens) = (0, bytes, tokens);
        }
        self.texts += 1;
    }

    /// The requests for all texts so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::embed::test_settings;
    use crate::domain::request_extras::RequestFields;

    fn counted(max_texts: usize, max_bytes: usize, lengths: &[usize]) -> u64 {
        let mut counter = BatchCounter::of(max_texts, max_bytes);
        for &length in lengths {
            counter.add(&"x".repeat(length));
        }
        counter.requests()
    }

    #[test]
    fn a_request_ends_at_its_texts_or_at_its_bytes() {
        let cases: [(usize, usize, &[usize], u64); 8] = [
            (2, 100, &[], 0),
            (2, 100, &[1], 1),
            (2, 100, &[1, 1], 1),
            (2, 100, &[1, 1, 1], 2),
            (9, 10, &[5, 5, 1], 2),
            (9, 10, &[5, 6], 2),
            // A text that is too large by itself is a request of its own.
            (9, 10, &[50, 50, 1], 3),
            (9, 10, &[1, 50, 1], 3),
        ];
        for (max_texts, max_bytes, lengths, expected) in cases {
            assert_eq!(
                counted(max_texts, max_bytes, lengths),
                expected,
                "{max_texts} {max_bytes} {lengths:?}"
            );
        }
    }

    #[test]
    fn a_request_holds_what_settings_provider_and_minute_allow() {
        let cases = [
            (Provider::Gemini, 100, 0, 2),
            (Provider::Gemini, 500, 0, 2),
            (Provider::Gemini, 100, 10, 15),
            (Provider::OpenAi, 500, 0, 1),
            (Provider::OpenAi, 0, 0, 150),
        ];
        let mut settings = test_settings(Provider::OpenAi, "m", 8);
        (settings.batch_size, settings.tokens_per_minute) = (500, 10);
        let mut counter = BatchCounter::new(&settings);
        (0..15).for_each(|_| counter.add("some text of four and more"));
        assert_eq!(counter.requests(), 15, "seven tokens each");
        for (provider, batch_size, items_per_minute, expected) in cases {
            let mut settings = test_settings(provider, "m", 8);
            (settings.batch_size, settings.items_per_minute) = (batch_size, items_per_minute);
            let mut counter = BatchCounter::new(&settings);
            for _ in 0..150 {
                counter.add("text");
            }

            assert_eq!(counter.requests(), expected, "{provider:?} {batch_size} {items_per_minute}");
        }
    }

    #[test]
    fn prefix_and_fields_count_for_each_text_that_carries_them() {
        let fields: RequestFields =
            serde_json::from_value(serde_json::json!({ "a": "x".repeat(50_000) })).unwrap();
        for (provider, expected) in [(Provider::Gemini, [2, 2, 3]), (Provider::OpenAi, [1, 3, 1])] {
            let mut settings = test_settings(provider, "m", 8);
            settings.batch_size = 500;
            let requests = |settings: &EmbeddingSettings| {
                let mut counter = BatchCounter::new(settings);
                (0..200).for_each(|_| counter.add("text"));
                counter.requests()
            };
            let plain = requests(&settings);
            settings.document.prefix = "\n".repeat(1_500);
            let with_prefix = requests(&settings);
            settings.document.prefix.clear();
            settings.document.fields = fields.clone();
            let with_fields = requests(&settings);

            assert_eq!([plain, with_prefix, with_fields], expected, "{provider:?}");
        }
    }
}
