//! The closed sets of values in the settings, with the names they are written by.
//!
//! A new value is added here; what it does is decided by the code that matches on it.

use std::fmt;

use super::ConfigError;
use super::declare::Key;
use super::kinds::{Named, Typed, ValueKind};
use super::origin::Sourced;
use super::paths::Bases;
use crate::domain::evaluate::Metric;
use crate::domain::tokens::TooLong;

/// What starts a pass; at least one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriggerOn {
    /// Changes of the database.
    pub database: bool,
    /// Touches of the marker.
    pub marker: bool,
}

impl Typed for TriggerOn {
    type Written = Vec<String>;
    type Value = Self;
}

impl ValueKind for TriggerOn {
    fn check(_: &Key, name: &str, given: &Sourced<Vec<String>>, _: &Bases<'_>) -> Result<Self, ConfigError> {
        let has = |trigger: &str| given.value.iter().any(|written| written == trigger);
        let is_known = |written: &String| ["database", "marker"].contains(&written.as_str());
        if given.value.is_empty() || !given.value.iter().all(is_known) {
            return Err(given.refused(name, "one or both of \"database\" and \"marker\""));
        }
        Ok(Self { database: has("database"), marker: has("marker") })
    }

    fn print(value: &Self) -> String {
        let both = [("database", value.database), ("marker", value.marker)];
        let on: Vec<_> = both.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
        on.join(", ")
    }
}

/// How changes of files are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// By inotify, and by polling where inotify is not available.
    Auto,
    /// By inotify or not at all.
    Inotify,
    /// By polling.
    Poll,
}

impl Named for WatchMode {
    const NAMES: &[(&str, Self)] = &[
        (Self::Auto.name(), Self::Auto),
        (Self::Inotify.name(), Self::Inotify),
        (Self::Poll.name(), Self::Poll),
    ];
}

impl WatchMode {
    /// As the settings write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Inotify => "inotify",
            Self::Poll => "poll",
        }
    }
}

/// Who makes the vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The Gemini API.
    Gemini,
    /// Any server with `/v1/embeddings`.
    OpenAi,
    /// The model that is built into the program.
    Local,
}

impl Named for Provider {
    const NAMES: &[(&str, Self)] =
        &[("gemini", Self::Gemini), ("openai", Self::OpenAi), ("local", Self::Local)];
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gemini => "gemini",
            Self::OpenAi => "openai",
            Self::Local => "local",
        })
    }
}

impl Named for TooLong {
    const NAMES: &[(&str, Self)] = &[
        (Self::Warn.name(), Self::Warn),
        (Self::Refuse.name(), Self::Refuse),
        (Self::Cut.name(), Self::Cut),
    ];
}

impl Named for Metric {
    const NAMES: &[(&str, Self)] = &[
        (Self::Ndcg.name(), Self::Ndcg),
        (Self::Recall.name(), Self::Recall),
        (Self::Mrr.name(), Self::Mrr),
    ];
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// The journal's own where standard error leads to it, else text.
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
    /// The journal's own.
    Journal,
}

impl Named for LogFormat {
    const NAMES: &[(&str, Self)] =
        &[("auto", Self::Auto), ("text", Self::Text), ("json", Self::Json), ("journal", Self::Journal)];
}
