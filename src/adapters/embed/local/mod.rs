//! The embedding model inside the program: no key, no network.
//!
//! A small sentence encoder (BERT of three layers, mean pooling) whose weights,
//! packed to four bits, and whose vocabulary are compiled in. Any text gives a
//! finite vector of unit length; text past [`MAX_TOKENS`] tokens is not read.
//! The vector of a text does not depend on the texts it came with, bit for
//! bit. On another CPU its last bits may differ.
//!
//! This module makes batches and names the model. Text to tokens is
//! `tokenizer`'s job, packed weights to numbers `weights`', tokens to vectors
//! `forward`'s. Threads and progress are left to the caller.

mod error;
mod forward;
mod shape;
#[cfg(test)]
mod tests;
mod tokenizer;
mod unicode;
mod weights;

use std::sync::{Arc, LazyLock};

use self::error::LocalError;
use self::forward::{Encoder, TokenBatch};
pub(crate) use self::shape::DIMENSION;
use self::shape::MAX_TOKENS;
use self::tokenizer::Tokenizer;
use self::weights::Weights;
use crate::domain::tokens::ExactCount;

/// Tokens at which a batch is full: about sixteen short texts. More rows do
/// not make the matrix products faster, but delay the caller's stop.
const BATCH_TOKENS: usize = 256;

/// SHA-256 of the weights, as `provenance.json` has it, cut to 16 digits.
const WEIGHTS_DIGEST: &str = "dabb40d5d98a2237";

static WEIGHTS: &[u8] = include_bytes!("../../../../data/model/model.safetensors");
static TOKENIZER: &[u8] = include_bytes!("../../../../data/model/tokenizer.json");

/// What distinguishes vectors of this model from those of any other: weights, pooling and token limit.
#[must_use]
pub(crate) fn revision() -> String {
    format!("{WEIGHTS_DIGEST}-mean-{MAX_TOKENS}")
}

/// Counts the tokens of a text as the model does, its beginning and end included; no more than the settings
/// can ask about. `None` if the files compiled in are not what this program needs, which the model itself
/// reports.
pub(crate) fn token_count() -> Option<ExactCount> {
    static LOADED: LazyLock<Option<Tokenizer>> = LazyLock::new(|| Tokenizer::load(TOKENIZER).ok());
    let tokenizer = LOADED.as_ref()?;
    Some(Arc::new(|text| tokenizer.count(text)))
}

/// The expanded model. It never changes: any number of threads may share it.
pub(crate) struct LocalModel {
    tokenizer: Tokenizer,
    encoder: Encoder,
}

impl LocalModel {
    /// Expands the embedded weights, which takes a fraction of a second.
    ///
    /// # Errors
    ///
    /// A [`LocalError`] if the files compiled in are not what this program needs.
    pub(crate) fn load() -> Result<Self, LocalError> {
        Ok(Self { tokenizer: Tokenizer::load(TOKENIZER)?, encoder: Encoder::load(&Weights::read(WEIGHTS)?)? })
    }

    /// One vector of unit length for each text, in their order, or `None` when stopped.
    ///
    /// `is_stopped` is called before each batch of about sixteen short texts. All
    /// work is done on the caller's thread.
    pub(crate) fn embed(&self, texts: &[&str], is_stopped: &dyn Fn() -> bool) -> Option<Vec<Vec<f32>>> {
        let mut vectors = Vec::with_capacity(texts.len());
        while vectors.len() < texts.len() {
            if is_stopped() {
                return None;
            }
            let batch = self.next_batch(&texts[vectors.len()..]);
            vectors.extend(self.encoder.embed(&batch));
        }
        Some(vectors)
    }

    /// The tokens of the next texts until the batch is full, of one at least.
    fn next_batch(&self, texts: &[&str]) -> TokenBatch {
        let mut batch = TokenBatch::default();
        for text in texts {
            if batch.tokens.len() >= BATCH_TOKENS {
                break;
            }
            self.tokenizer.encode(text, &mut batch.tokens);
            batch.ends.push(batch.tokens.len());
        }
        batch
    }
}
