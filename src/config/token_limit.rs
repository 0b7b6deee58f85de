//! How many tokens a model reads of one text.
//!
//! Known models have a limit of their own; a setting takes its place. What is
//! asked for texts that are longer needs to know one of the two.

use super::ConfigError;
use super::choices::Provider;
use super::declare::Key;
use super::keys::{EmbeddingSettings, embedding as keys};
use super::kinds::{allowed, within};
use super::origin::{Sourced, ValueOrigin};
use super::resolved::Resolved;
use crate::domain::tokens::{TokenLimit, TooLong};

/// Parts of names of models, and what each of these reads. The first that is found counts.
const KNOWN: [(&str, u64); 6] = [
    ("gemini-embedding-2", 8192),
    ("gemini-embedding-001", 2048),
    ("text-embedding-004", 2048),
    ("text-embedding-3-small", 8192),
    ("text-embedding-3-large", 8192),
    ("text-embedding-ada-002", 8192),
];

/// What the built-in model reads, its marks of beginning and end included.
const LOCAL: u64 = 128;

/// Settles `embedding.max_tokens`.
pub(super) fn max_tokens(
    provider: Provider,
    model: &str,
    given: Option<&Sourced<i64>>,
    resolved: &mut Resolved<'_>,
) -> Result<Option<u64>, ConfigError> {
    let key: &Key = &keys::max_tokens;
    let Some(given) = given else {
        let known = known(provider, model);
        let shown = known.map_or_else(|| "none".to_owned(), |known| known.to_string());
        resolved.record(key.path(), shown, &ValueOrigin::Default);
        return Ok(known);
    };
    let max_tokens: u64 = within(&key.path(), given, &allowed(key))?;
    if provider == Provider::Local && max_tokens > LOCAL {
        return Err(given.refused(&key.path(), format!("at most {LOCAL}: the local model reads no more")));
    }
    resolved.record(key.path(), max_tokens, &given.origin);
    Ok(Some(max_tokens))
}

/// Texts can be refused or cut only where it is known what the model reads.
pub(super) fn check(settings: &EmbeddingSettings) -> Result<(), ConfigError> {
    if settings.max_tokens.is_some() || settings.too_long == TooLong::Warn {
        return Ok(());
    }
    let expected = format!(
        "the tokens that model {:?} reads of one text, for embedding.too_long = \"{}\"; the program does not know them",
        settings.model,
        settings.too_long.name()
    );
    Err(ConfigError::Absent { key: keys::max_tokens.path(), expected })
}

fn known(provider: Provider, model: &str) -> Option<u64> {
    match provider {
        Provider::Local => Some(LOCAL),
        Provider::Gemini | Provider::OpenAi => {
            KNOWN.iter().find(|(part, _)| model.contains(part)).map(|(_, known)| *known)
        }
    }
}

impl EmbeddingSettings {
    /// What the model reads of a text, and what is done with more.
    #[must_use]
    pub fn token_limit(&self) -> Option<TokenLimit> {
        self.max_tokens.map(|max_tokens| TokenLimit { max_tokens, too_long: self.too_long })
    }

    /// The same where it is not what the model has by itself: only then it is a part of digests.
    #[must_use]
    pub fn own_token_limit(&self) -> Option<TokenLimit> {
        let is_usual = self.too_long == TooLong::Warn && self.max_tokens == known(self.provider, &self.model);
        self.token_limit().filter(|_| !is_usual)
    }
}
