//! The settings in force: every key has a default that works, every value is checked.
//!
//! The sole reader of settings and environment. Layers are laid over each
//! other in one order: environment, settings file, default; for a command
//! other than `run`, and only where there is no settings file, a `.env` in the
//! working directory fills in what the environment does not set. Unknown keys
//! are refused, a bad value is answered with its place and what was expected,
//! and where each value came from is kept beside it.
//!
//! Every key is declared once, in `keys`. Nothing here opens the source, the
//! published files or a socket.

mod access;
mod address;
mod announce;
mod api_key;
mod changes;
mod check;
mod choices;
mod database_url;
mod declare;
mod dotenv;
mod duration;
mod embedding;
mod error;
mod evaluate;
mod file;
pub mod generate;
mod init;
mod key_shape;
mod keys;
mod kinds;
mod load;
mod log_level;
mod nearest;
mod origin;
mod ownership;
mod parse;
pub(crate) mod paths;
mod process_env;
mod request_extras;
mod resolved;
mod source;
#[cfg(test)]
mod tests;
mod token_limit;
mod url;
mod written_source;

use std::path::PathBuf;

pub use access::NamedGroup;
pub(crate) use access::group_name;
pub use address::{GEMINI_ADDRESS, OPENAI_ADDRESS};
pub use announce::{AnnounceMethod, AnnounceSettings};
pub use api_key::{ApiKey, CREDENTIAL, read_secret};
pub use changes::{Changes, described, printed_in_force, reloaded};
pub use choices::{LogFormat, Provider, TriggerOn, WatchMode};
pub(crate) use duration::parse_flag as parse_duration;
pub use error::ConfigError;
pub use init::{InitialValues, initial_values, quoted};
pub use keys::{
    DocumentSettings, EmbeddingSettings, EvaluateSettings, GuardSettings, LogSettings, PublishSettings,
    SearchSettings, SourceSettings, TriggerSettings,
};
pub use load::{Inputs, Loaded, SYSTEM_FILE, from_inputs, from_process};
pub use origin::Setting;
pub(crate) use process_env::{boot_id, has_proxy, sqlite_temporary_directories};
pub use process_env::{is_managed, logs_to_journal, no_color};
pub(crate) use url::is_loopback;

use crate::domain::record::Basis;
use crate::domain::record::Space;
use crate::domain::source_spec::SourceSpec;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub source: SourceSettings,
    pub document: DocumentSettings,
    pub trigger: TriggerSettings,
    pub embedding: EmbeddingSettings,
    pub publish: PublishSettings,
    pub guard: GuardSettings,
    pub evaluate: EvaluateSettings,
    /// In this order.
    pub announce: Vec<AnnounceSettings>,
    pub search: SearchSettings,
    pub log: LogSettings,
    /// The settings file that was read.
    pub file: Option<PathBuf>,
}

impl Config {
    /// What digests of scans and contents are fed with first.
    #[must_use]
    pub fn basis<'a>(&self, space: &'a Space) -> Basis<'a> {
        Basis { space, limit: self.embedding.own_token_limit() }
    }

    /// What is read and what is made of it, before the database was asked.
    #[must_use]
    pub fn source_spec(&self) -> SourceSpec {
        source::spec(&self.source, &self.document)
    }

    /// The space of the vectors. `local_revision` names the weights that travel
    /// with the program; it is asked for with provider `local` alone.
    #[must_use]
    pub fn space(&self, local_revision: impl FnOnce() -> String) -> Space {
        let EmbeddingSettings { provider, model, dimension, task_type, document, .. } = &self.embedding;
        Space {
            provider: provider.to_string(),
            model: match provider {
                Provider::Gemini | Provider::OpenAi => model.clone(),
                Provider::Local => format!("{model}@{}", local_revision()),
            },
            dimension: *dimension,
            task_type: task_type.clone(),

            prefix: document.prefix.clone(),
            fields: document.fields.clone(),
        }
    }
}
