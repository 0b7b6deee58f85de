//! The space of vectors: which of them may share an index.
//!
//! Vectors of two spaces never meet in one index. A space is stored in the
//! manifest, and its key names it in the cache. How a text was made is not part
//! of it: the hash of the text says that. A constant in the place of the text's
//! format keeps keys and digests as they have always been.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::request_extras::RequestFields;

/// What is stored and fed as the format of the texts, whichever format they have.
const STORED_TEXT_FORMAT: u32 = 1;

/// Provider, model, dimension, task type, and what documents are sent with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "StoredSpace", from = "StoredSpace")]
pub struct Space {
    /// `gemini`, `openai` or `local`.
    pub provider: String,
    /// The model as the provider names it; for `local`, with the digest of its weights.
    pub model: String,
    /// Floats in a vector.
    pub dimension: usize,
    /// What the vectors are for, if the model takes it.
    pub task_type: Option<String>,
    /// What every document text begins with when it is sent.
    pub prefix: String,
    /// Further fields of a request for documents.
    pub fields: RequestFields,
}

/// A [`Space`] as JSON.
#[derive(Serialize, Deserialize)]
struct StoredSpace {
    provider: String,
    model: String,
    dimension: usize,
    task_type: Option<String>,
    /// Written for 0.1.0, which reads no space without it.
    #[serde(default)]
    text_format: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prefix: String,
    #[serde(default, skip_serializing_if = "RequestFields::is_empty")]
    fields: RequestFields,
}

impl From<Space> for StoredSpace {
    fn from(Space { provider, model, dimension, task_type, prefix, fields }: Space) -> Self {
        Self { provider, model, dimension, task_type, text_format: STORED_TEXT_FORMAT, prefix, fields }
    }
}

impl From<StoredSpace> for Space {
    fn from(stored: StoredSpace) -> Self {
        let StoredSpace { provider, model, dimension, task_type, prefix, fields, .. } = stored;
        Self { provider, model, dimension, task_type, prefix, fields }
    }
}

impl Space {
    /// Sixteen hexadecimal digits that name this space in the cache.
    #[must_use]
    pub fn key(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        self.feed(&mut hasher);
        hasher.finalize().to_hex()[..16].to_owned()
    }

    /// Feeds every part, each text with its length. Prefix and fields are fed where they are set: spaces
    /// of 0.1.0 have neither.
    pub(super) fn feed(&self, hasher: &mut blake3::Hasher) {
        let numbers = [self.dimension as u64, u64::from(STORED_TEXT_FORMAT)];
        for text in [self.provider.as_str(), &self.model, self.task_type.as_deref().unwrap_or("")] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        for number in numbers {
            hasher.update(&number.to_le_bytes());
        }
        let fields = if self.fields.is_empty() { String::new() } else { self.fields.canonical() };
        for (name, text) in [("prefix", &self.prefix), ("fields", &fields)] {
            if !text.is_empty() {
                hasher.update(name.as_bytes());
                hasher.update(&(text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
        }
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} of {} dimensions", self.provider, self.model, self.dimension)?;
        if let Some(task) = &self.task_type {
            write!(f, " for {task}")?;
        }
        if !self.prefix.is_empty() {
            write!(f, ", prefix {:?}", self.prefix)?;
        }
        if !self.fields.is_empty() {
            write!(f, ", fields {}", self.fields)?;
        }
        Ok(())
    }
}
