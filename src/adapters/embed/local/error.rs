//! Why the local model cannot be loaded. It means a damaged program.

#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    /// The weights are not a safetensors file, or a tensor is missing.
    #[error("compiled-in weights: cannot read {name}")]
    Weights {
        /// The tensor, or the file's header.
        name: String,
        source: safetensors::SafeTensorError,
    },
    #[error("compiled-in tensor {name}: expected {expected} bytes, found {found}")]
    Size { name: String, expected: usize, found: usize },
    #[error("compiled-in tokenizer cannot be read")]
    Tokenizer(#[from] serde_json::Error),
    /// The vocabulary has a token without weights.
    #[error("compiled-in vocabulary: expected token ids below {expected}, found {found}")]
    Vocabulary {
        /// Rows of the word embeddings.
        expected: u32,
        found: u32,
    },
}
