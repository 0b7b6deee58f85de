//! The embedding model that travels with the program: no key, no network.
//!
//! A small sentence encoder (BERT of three layers, mean pooling) whose weights,
//! packed to four bits, and whose vocabulary are compiled in. Any text gives a
//! finite vector of unit length; text past [`MAX_TOKENS`] tokens is not read.
//! The vector of a text does not depend on the texts it came with, bit for
//! bit. On another CPU its last bits may differ.
//!
//! This module makes batches and holds what names the model. Text to tokens is
//! `tokenizer`'s job, packed weights to numbers `weights`', tokens to vectors
//! `forward`'s. Threads and progress are left to the caller.

mod forward;
#[cfg(test)]
mod tests;
mod tokenizer;
mod unicode;
mod weights;

use self::forward::{Encoder, TokenBatch};
use self::tokenizer::Tokenizer;
use self::weights::Weights;

/// Floats in a vector.
pub const DIMENSION: usize = 384;

/// Tokens of a text that are read, the two that frame it included.
pub const MAX_TOKENS: usize = 128;

/// Tokens at which a batch is closed: about sixteen short texts. More rows do
/// not make the matrix products faster, but the caller's stop later.
const BATCH_TOKENS: usize = 256;

/// SHA-256 of the weights, as `provenance.json` has it, cut to 16 digits.
const WEIGHTS_DIGEST: &str = "dabb40d5d98a2237";

static WEIGHTS: &[u8] = include_bytes!("../../../../data/model/model.safetensors");
static TOKENIZER: &[u8] = include_bytes!("../../../../data/model/tokenizer.json");

/// The model as settings name it.
#[must_use]
pub fn model_name() -> &'static str {
    "paraphrase-MiniLM-L3-v2"
}

/// What tells vectors of this model from those of any other: weights, pooling and token limit.
#[must_use]
pub fn revision() -> String {
    format!("{WEIGHTS_DIGEST}-mean-{MAX_TOKENS}")
}

/// Why the embedded model cannot be loaded. It means a damaged program.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The weights are no safetensors file, or a tensor is not in it.
    #[error("embedded weights cannot be read at {name}")]
    Weights {
        /// The tensor asked for, or the file's header.
        name: String,
        /// What the reader found.
        source: safetensors::SafeTensorError,
    },
    /// A tensor has another size than the model needs.
    #[error("embedded tensor {name}: expected {expected} bytes, found {found}")]
    Size {
        /// The tensor.
        name: String,
        /// Bytes that the model needs.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The tokenizer's file is not JSON of the shape expected.
    #[error("embedded tokenizer cannot be read")]
    Tokenizer(#[from] serde_json::Error),
    /// The vocabulary has a token for which there are no weights.
    #[error("embedded vocabulary: expected token ids below {expected}, found {found}")]
    Vocabulary {
        /// Rows of the word embeddings.
        expected: u32,
        /// The id of the token.
        found: u32,
    },
}

/// The model, expanded and ready. It never changes: any number of threads may share it.
pub struct LocalModel {
    tokenizer: Tokenizer,
    encoder: Encoder,
}

impl LocalModel {
    /// Expands the embedded weights, which takes a fraction of a second.
    ///
    /// # Errors
    ///
    /// A [`LocalError`] if the files compiled in are not what this program needs.
    pub fn load() -> Result<Self, LocalError> {
        Ok(Self { tokenizer: Tokenizer::load(TOKENIZER)?, encoder: Encoder::load(&Weights::read(WEIGHTS)?)? })
    }

    /// One vector of unit length for each text, in their order, or `None` when stopped.
    ///
    /// `stop` is asked before each batch of about sixteen short texts. All work
    /// is done on the caller's thread.
    pub fn embed(&self, texts: &[&str], stop: &dyn Fn() -> bool) -> Option<Vec<Vec<f32>>> {
        let mut vectors = Vec::with_capacity(texts.len());
        while vectors.len() < texts.len() {
            if stop() {
                return None;
            }
            let batch = self.next_batch(&texts[vectors.len()..]);
            vectors.extend(self.encoder.embed(&batch));
        }
        Some(vectors)
    }

    /// The tokens of as many texts as fill a batch, at least of one.
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
