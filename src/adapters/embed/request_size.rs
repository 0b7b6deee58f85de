//! How much one request holds: its texts, and the bytes of each of them.
//!
//! Known before anything is sent, for a plan and for a build alike. What a
//! server turns out to take is `queue`'s knowledge.

use crate::config::{EmbeddingSettings, Provider};
use crate::domain::request_extras::RequestExtras;
use crate::domain::tokens::estimate;

/// The most texts of one batch.
pub(super) fn batch_texts(batch_size: usize, max_texts: usize, items_per_minute: u32) -> usize {
    let max_per_minute = match usize::try_from(items_per_minute) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(most) => most,
    };
    batch_size.min(max_texts).min(max_per_minute).max(1)
}

/// The bytes of a text within a JSON string.
pub(super) fn escaped_len(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0x00..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

/// The bytes that a request for documents has more for each text than the text itself.
pub(super) fn bytes_per_text(settings: &EmbeddingSettings) -> usize {
    let RequestExtras { prefix, fields } = &settings.document;
    let repeated = match settings.provider {
        Provider::Gemini if !fields.is_empty() => fields.canonical().len(),
        Provider::Gemini | Provider::OpenAi | Provider::Local => 0,
    };
    escaped_len(prefix) + repeated
}

/// The most tokens of one batch, by estimate. A text that has more is a batch of its own.
pub(super) fn batch_tokens(tokens_per_minute: u32) -> usize {
    usize::try_from(tokens_per_minute).ok().filter(|most| *most > 0).unwrap_or(usize::MAX)
}

/// The tokens that a text likely has, with the bytes that a request has more for it.
pub(super) fn estimated_tokens(text: &str, bytes_per_text: usize) -> usize {
    const BYTES_PER_TOKEN: usize = 4;
    let of_text = usize::try_from(estimate(text).1).unwrap_or(usize::MAX);
    of_text.saturating_add(bytes_per_text.div_ceil(BYTES_PER_TOKEN))
}
