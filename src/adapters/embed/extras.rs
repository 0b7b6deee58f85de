//! What texts are sent with: the prefix and the fields that the settings say for documents and for questions.
//!
//! A prefix is put before each text when it is sent: neither its hash nor what
//! the cache knows of it has the prefix, the space has. Where the fields stand
//! in a request is decided by each provider.

use std::borrow::Cow;

use super::types::Task;
use crate::config::EmbeddingSettings;
use crate::domain::request_extras::RequestExtras;

/// For documents, and for questions.
#[derive(Clone, Debug, Default)]
pub(super) struct Extras {
    document: RequestExtras,
    query: RequestExtras,
}

impl Extras {
    pub(super) fn new(settings: &EmbeddingSettings) -> Self {
        Self { document: settings.document.clone(), query: settings.query.clone() }
    }

    pub(super) fn of(&self, task: Task) -> &RequestExtras {
        match task {
            Task::Document => &self.document,
            Task::Query => &self.query,
        }
    }

    /// The texts as they are sent.
    pub(super) fn prefixed<'t>(&self, texts: &'t [String], task: Task) -> Cow<'t, [String]> {
        match self.of(task).prefix.as_str() {
            "" => Cow::Borrowed(texts),
            prefix => Cow::Owned(texts.iter().map(|text| format!("{prefix}{text}")).collect()),
        }
    }
}
