//! The space of vectors: which of them may share an index.
//!
//! Vectors of two spaces never meet in one index. A space is stored in the
//! manifest, and its key names it in the cache. How a text was made is not part
//! of it beyond [`FORMAT_VERSION`]: the hash of the text says that.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of the rules that make document texts and records. A new number makes every record
/// different.
pub const FORMAT_VERSION: u32 = 1;

/// Provider, model, dimension, task type and text format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// `gemini`, `openai` or `local`.
    pub provider: String,
    /// The model as the provider names it; for `local`, with the digest of its weights.
    pub model: String,
    /// Floats in a vector.
    pub dimension: usize,
    /// What the vectors are for, if the model takes it.
    pub task_type: Option<String>,
    /// The [`FORMAT_VERSION`] of the texts.
    pub text_format: u32,
}

impl Space {
    /// Sixteen hexadecimal digits that name this space in the cache.
    #[must_use]
    pub fn key(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        self.feed(&mut hasher);
        hasher.finalize().to_hex()[..16].to_owned()
    }

    /// Feeds every part, each text with its length.
    pub(super) fn feed(&self, hasher: &mut blake3::Hasher) {
        let numbers = [self.dimension as u64, u64::from(self.text_format)];
        for text in [self.provider.as_str(), &self.model, self.task_type.as_deref().unwrap_or("")] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        for number in numbers {
            hasher.update(&number.to_le_bytes());
        }
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} of {} dimensions", self.provider, self.model, self.dimension)
    }
}
