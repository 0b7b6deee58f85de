//! Why a pass failed, and what may help.
//!
//! Callers ask a [`PassError`] three questions: its words, its [`ExitKind`]
//! (which makes the exit code), and its cure (which makes the agent's wait).

use std::path::PathBuf;

use thiserror::Error;

use crate::adapters::builds::adopt::AdoptError;
use crate::adapters::builds::promote::PromoteError;
use crate::adapters::builds::verify::VerifyError;
use crate::adapters::builds::{BuildsError, DiskError, LayoutError, error_chain};
use crate::adapters::cache::CacheError;
use crate::adapters::embed::{EmbedError, EmbedFailure, EmbedRetry};
use crate::adapters::source::SourceError;
use crate::decide::guard::{Refusal, UnfitRows};
use crate::domain::pass::Cure;
use crate::domain::stop::Stopped;

/// Why a pass failed. What was served before is served still, unless the words say otherwise.
#[derive(Debug, Error)]
pub enum PassError {
    /// Another process holds the lock.
    #[error("another pass is running in this directory; wait for it with --wait")]
    Busy,
    /// A stop was asked for.
    #[error("stopped; what was paid for is in the cache")]
    Stopped,
    /// The database could not be read.
    #[error(transparent)]
    Source(SourceError),
    /// Rows that cannot be indexed.
    #[error(transparent)]
    Unfit(#[from] UnfitRows),
    /// A guard would not have it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too little room.
    #[error("{path} has {free} bytes free, the build needs {needed}; nothing was bought")]
    NoSpace {
        /// The directory.
        path: PathBuf,
        /// Bytes that the build needs.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Vectors could not be bought.
    #[error("{message}")]
    Embed {
        /// What happened, with row and provider's words.
        message: String,
        /// When it makes sense to try again.
        retry: EmbedRetry,
        /// Whether the settings are at fault.
        settings: bool,
        /// Texts whose vectors arrived all the same.
        texts: u64,
        /// Requests sent.
        requests: u64,
    },
    /// The cache could not be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The build on disk is not what was planned.
    #[error(transparent)]
    Verify(VerifyError),
    /// The build could not be served.
    #[error(transparent)]
    Promote(#[from] PromoteError),
    /// The directory of the builds is in trouble.
    #[error(transparent)]
    Builds(#[from] BuildsError),
    /// The build that a rollback asked for is damaged.
    #[error("build {id} is damaged, so it is not served: {message}")]
    DamagedTarget {
        /// The build.
        id: String,
        /// The checks that failed.
        message: String,
    },
    /// There is nothing to go back to.
    #[error("no build was promoted before {served}; `reindexd history` lists those that are kept")]
    NothingBefore {
        /// The served build.
        served: String,
    },
}

/// What a failure means to whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// Exit 1.
    Failed,
    /// Exit 2: settings.
    Settings,
    /// Exit 3: a guard.
    Refused,
    /// Exit 75: another pass.
    Busy,
    /// Exit 130 or 143.
    Stopped,
}

impl ExitKind {
    /// The outcome as `build --json` names it.
    #[must_use]
    pub fn outcome(self) -> &'static str {
        match self {
            Self::Failed | Self::Settings => "failed",
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::Stopped => "stopped",
        }
    }
}

impl PassError {
    /// The error with its causes, on one line.
    #[must_use]
    pub fn to_line(&self) -> String {
        error_chain(self)
    }

    /// What it means to whoever asked.
    #[must_use]
    pub fn exit_kind(&self) -> ExitKind {
        match self {
            Self::Busy => ExitKind::Busy,
            Self::Stopped => ExitKind::Stopped,
            Self::Refused(_) => ExitKind::Refused,
            Self::Builds(error) if error.is_settings() => ExitKind::Settings,
            Self::Embed { settings: true, .. } => ExitKind::Settings,
            Self::Source(_)
            | Self::Unfit(_)
            | Self::NoSpace { .. }
            | Self::Embed { .. }
            | Self::Cache(_)
            | Self::Verify(_)
            | Self::Promote(_)
            | Self::Builds(_)
            | Self::DamagedTarget { .. }
            | Self::NothingBefore { .. } => ExitKind::Failed,
        }
    }

    /// What may help.
    #[must_use]
    pub fn retry(&self) -> Cure {
        let soon = Cure::Soon { wait: None };
        match self {
            Self::Embed { retry: EmbedRetry::Soon { wait }, .. } => Cure::Soon { wait: *wait },
            Self::Embed { retry: EmbedRetry::Hourly, .. } => Cure::Hourly,
            Self::Source(error) if error.retry() => soon,
            Self::Busy
            | Self::Stopped
            | Self::NoSpace { .. }
            | Self::Cache(_)
            | Self::Verify(_)
            | Self::Promote(_)
            | Self::Builds(_) => soon,
            Self::Source(_)
            | Self::Unfit(_)
            | Self::Refused(_)
            | Self::Embed { retry: EmbedRetry::Never, .. }
            | Self::DamagedTarget { .. }
            | Self::NothingBefore { .. } => Cure::OnChange,
        }
    }

    /// A purchase that failed; `row` names the row of a text that the provider refused.
    pub(super) fn from_embed_failure(
        failed: EmbedFailure,
        row: impl FnOnce(&crate::domain::record::TextHash) -> Option<String>,
    ) -> Self {
        let EmbedFailure { error, texts, requests } = failed;
        let words = match &error {
            EmbedError::Stopped => return Self::Stopped,
            EmbedError::TextRefused { hash, message } => {
                let row = row(hash).unwrap_or_else(|| format!("with text {hash}"));
                format!(
                    "the provider refuses the text of row id={row}: {message}; mend the row, or raise guard.quarantine to leave it out"
                )
            }
            _ => error_chain(&error),
        };
        let settings =
            matches!(error, EmbedError::NoKey { .. } | EmbedError::Settings(_) | EmbedError::NotBuilt);
        let words = if texts > 0 {
            format!("{words}; texts embedded before that, which are kept: {texts}")
        } else {
            words
        };
        Self::Embed { message: words, retry: error.retry(), settings, texts, requests }
    }
}

impl From<Stopped> for PassError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<SourceError> for PassError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Stopped => Self::Stopped,
            other => Self::Source(other),
        }
    }
}

impl From<VerifyError> for PassError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Stopped => Self::Stopped,
            VerifyError::Shortage(error) => Self::Builds(error.into()),
            other @ VerifyError::ChecksFailed { .. } => Self::Verify(other),
        }
    }
}

impl From<AdoptError> for PassError {
    fn from(error: AdoptError) -> Self {
        match error {
            AdoptError::Stopped => Self::Stopped,
            AdoptError::Promote(error) => Self::Promote(error),
        }
    }
}

impl From<DiskError> for PassError {
    fn from(error: DiskError) -> Self {
        Self::Builds(error.into())
    }
}

impl From<LayoutError> for PassError {
    fn from(error: LayoutError) -> Self {
        Self::Builds(error.into())
    }
}
