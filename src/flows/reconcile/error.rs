//! Why a pass failed, and what follows from it.
//!
//! Callers ask a [`PassError`] for its [`PassError::report`], which log, status
//! file, history and `--json` show, and for its [`PassError::class`], which
//! with the outcome makes the exit code. The message says what failed, with
//! all causes; what is served is the caller's to add.

use std::path::PathBuf;

use thiserror::Error;

use crate::adapters::builds::adopt::AdoptError;
use crate::adapters::builds::promote::PromoteError;
use crate::adapters::builds::verify::VerifyError;
use crate::adapters::builds::{BuildsError, DiskError, Doubt, LayoutError, error_chain};
use crate::adapters::cache::CacheError;
use crate::adapters::embed::{EmbedError, EmbedFailure};
use crate::adapters::judged::JudgedError;
use crate::adapters::source::SourceError;
use crate::decide::guard::{Refusal, UnfitRows};
use crate::decide::quality::QualityRefusal;
use crate::domain::pass::{Counts, ErrorClass, Outcome, PassReport, Retry};
use crate::domain::record::TextHash;
use crate::domain::stop::Stopped;

/// Why a pass failed. The previous build is still served, unless the message says otherwise.
#[derive(Debug, Error)]
pub enum PassError {
    /// Another process has the lock.
    #[error("another pass is running in this directory; wait for it with --wait")]
    Busy,
    #[error("stopped; the vectors received so far are in the cache")]
    Stopped,
    #[error(transparent)]
    Source(SourceError),
    #[error(transparent)]
    Unfit(#[from] UnfitRows),
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The provider at another address gives other vectors.
    #[error("{refusal}")]
    OtherAddress {
        refusal: Refusal,
        /// Requests sent to find that out.
        requests: u64,
    },
    #[error("not enough disk space in {path}: need {needed} bytes, have {free}; nothing was embedded")]
    NoSpace { path: PathBuf, needed: u64, free: u64 },
    /// Not all texts could be embedded.
    #[error("{message}")]
    Embed {
        /// What failed, with the row and the provider's message.
        message: String,
        retry: Retry,
        class: ErrorClass,
        /// Texts whose vectors arrived all the same.
        texts: u64,
        /// Requests sent.
        requests: u64,
    },
    /// The judged queries cannot be read.
    #[error("the judged queries cannot be used, so nothing was embedded or served")]
    Judged(#[from] JudgedError),
    #[error(
        "evaluate.queries is not set: expected the files of judged queries in [evaluate]; nothing was asked"
    )]
    NoQueries,
    /// A build that cannot be asked.
    #[error("build {id} cannot be asked: {why}; nothing was changed")]
    NotEvaluated { id: String, why: String },
    /// The new build does not answer well enough.
    #[error(transparent)]
    Quality(Box<QualityRefusal>),
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The build on disk is not what was planned.
    #[error(transparent)]
    Verify(VerifyError),
    #[error(transparent)]
    Promote(#[from] PromoteError),
    #[error(transparent)]
    Builds(#[from] BuildsError),
    /// The build that a rollback asked for.
    #[error("build {id} is damaged: {message}; the rollback changed nothing")]
    DamagedTarget {
        id: String,
        /// The checks that failed.
        message: String,
    },
    /// There is no earlier build to roll back to.
    #[error("no build was promoted before {served}; `reindexd history` lists those that are kept")]
    NothingBefore { served: String },
    #[error("no build was promoted yet; `reindexd build` makes the first one")]
    NothingPromoted,
}

impl PassError {
    /// The error with its causes, on one line.
    #[must_use]
    pub fn to_line(&self) -> String {
        error_chain(self)
    }

    /// The failed half of a [`PassReport`]; what the pass had counted and measured is not in it.
    #[must_use]
    pub fn report(&self) -> PassReport {
        let mut report = PassReport::without_build(self.outcome(), self.to_line());
        if let Self::Embed { texts, requests, .. } = self {
            report.counts = Counts { embedded: *texts, requests: *requests, ..Counts::default() };
        }
        if let Self::OtherAddress { requests, .. } = self {
            report.counts.requests = *requests;
        }
        report
    }

    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Busy | Self::Builds(BuildsError::OtherHost { .. }) => Outcome::Busy,
            Self::Stopped => Outcome::Stopped,
            Self::Refused(_) | Self::OtherAddress { .. } | Self::Quality(_) => Outcome::Refused,
            Self::Source(_)
            | Self::Unfit(_)
            | Self::NoSpace { .. }
            | Self::Embed { .. }
            | Self::Judged(_)
            | Self::Cache(_)
            | Self::Verify(_)
            | Self::Promote(_)
            | Self::Builds(_)
            | Self::DamagedTarget { .. }
            | Self::NoQueries
            | Self::NotEvaluated { .. }
            | Self::NothingBefore { .. }
            | Self::NothingPromoted => Outcome::Failed(self.retry()),
        }
    }

    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Builds(error) => error.class(),
            Self::Embed { class, .. } => *class,
            Self::NoQueries | Self::Source(SourceError::NotOnlyReading { .. }) => ErrorClass::Settings,
            Self::Busy => ErrorClass::Busy,
            Self::Stopped
            | Self::Source(_)
            | Self::Unfit(_)
            | Self::Refused(_)
            | Self::OtherAddress { .. }
            | Self::NoSpace { .. }
            | Self::Judged(_)
            | Self::Quality(_)
            | Self::Cache(_)
            | Self::Verify(_)
            | Self::Promote(_)
            | Self::DamagedTarget { .. }
            | Self::NotEvaluated { .. }
            | Self::NothingBefore { .. }
            | Self::NothingPromoted => ErrorClass::Other,
        }
    }

    /// When another pass may succeed.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Embed { retry, .. } => *retry,
            Self::Source(error) => error.retry(),
            Self::Builds(error) => error.retry(),
            Self::Busy
            | Self::Stopped
            | Self::NoSpace { .. }
            | Self::Judged(_)
            | Self::Cache(_)
            | Self::Verify(_)
            | Self::Promote(_) => Retry::Soon { wait: None },
            Self::Unfit(_)
            | Self::Refused(_)
            | Self::OtherAddress { .. }
            | Self::Quality(_)
            | Self::DamagedTarget { .. }
            | Self::NoQueries
            | Self::NotEvaluated { .. }
            | Self::NothingBefore { .. }
            | Self::NothingPromoted => Retry::OnChange,
        }
    }

    /// `id_of_text` finds the row of a text that the provider refused.
    pub(super) fn from_embed_failure(
        failure: EmbedFailure,
        id_of_text: impl FnOnce(&TextHash) -> Option<String>,
    ) -> Self {
        let EmbedFailure { error, texts, requests, .. } = failure;
        let message = match &error {
            EmbedError::Stopped => return Self::Stopped,
            EmbedError::TextRefused { hash, message } => {
                let row = id_of_text(hash).unwrap_or_else(|| format!("with text {hash}"));
                format!(
                    "the provider refuses the text of row id={row}: {message}; fix the row, or raise guard.quarantine to exclude it"
                )
            }
            EmbedError::GaveUp { suspect: Some(hash), .. } => {
                let row = id_of_text(hash).unwrap_or_else(|| format!("with text {hash}"));
                format!(
                    "{}; the text of row id={row} was refused before that, which may be the cause or not",
                    error_chain(&error)
                )
            }
            _ => error_chain(&error),
        };
        let message = if texts > 0 {
            format!("{message}; texts embedded before that, now in the cache: {texts}")
        } else {
            message
        };
        Self::Embed { message, retry: error.retry(), class: error.class(), texts, requests }
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
            SourceError::Refused(refusal) => Self::Refused(refusal),
            other => Self::Source(other),
        }
    }
}

impl From<VerifyError> for PassError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Stopped => Self::Stopped,
            VerifyError::NotKnown(doubt) => Self::Builds(doubt.into()),
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

impl From<Doubt> for PassError {
    fn from(doubt: Doubt) -> Self {
        Self::Builds(doubt.into())
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
