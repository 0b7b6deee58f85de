//! The one vocabulary of a pass: why it runs, its stages, how it ends.
//!
//! `agent_state` decides when a pass is due, `agent` runs it, `reconcile` does
//! it; log, status file, history and `--json` show the same [`PassReport`].
//! The words that are stored or printed as JSON are named here and never
//! change: triggers, stages (a scan is written `snapshot`), outcomes, who
//! promoted, the beginning of a refused text's reason, and, in `stage`,
//! `took_ms`, `phases_ms` and `promote_ms`. An outcome of another version is
//! kept as text.

pub mod attempt_times;
mod stage;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use stage::{Stage, StageTimes, Timings};

/// How the stored reason of a text that the provider refused begins.
pub const REFUSED_PREFIX: &str = "the provider refuses it: ";

/// Why a pass runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trigger {
    Start,
    Database,
    Marker,
    /// The check at regular intervals found a difference, or an hour had passed.
    Resync,
    /// SIGUSR1.
    Signal,
    /// SIGHUP: the settings were read again.
    Reload,
    /// The last pass failed, and a later one may succeed.
    Retry,
    /// `reindexd build`.
    #[default]
    Command,
}

/// One pass, as the agent asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassRequest {
    pub trigger: Trigger,
    /// Verify the served files in full: a person touched the marker and wants proof.
    pub full_check: bool,
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new build is served.
    Promoted,
    /// Nothing differed.
    Unchanged,
    /// The table still has the content that a rollback holds back.
    Held,
    /// A guard refused the plan; the previous build is still served.
    Refused,
    Failed(Retry),
    /// Another process has the lock: not a failure, the work is still due.
    Busy,
    /// A stop was requested.
    Stopped,
}

/// When another attempt may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    Soon {
        /// How long the provider asks to wait, if it does.
        wait: Option<Duration>,
    },
    /// A quota that is renewed within a day.
    Hourly,
    /// Not before rows, settings or files change.
    OnChange,
}

/// What an error is about, where that decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The settings, or the user who runs the program, are wrong.
    Settings,
    /// Another process, of this host or another, is at work.
    Busy,
    Other,
}

/// What a build is made of, in rows and texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows in the index and in the metadata.
    pub records: u64,
    /// Records whose vector is reused.
    pub kept: u64,
    /// Texts that are embedded; copies of one text count once.
    pub embedded: u64,
    /// Records whose vector is reused and whose metadata differ from the served build's.
    pub metadata_only: u64,
    /// Rows of the previous build that are gone.
    pub removed: u64,
    /// Requests sent to the provider, repeated ones included.
    pub requests: u64,
    /// Texts that left this host, however they were answered. Not written where there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub texts_sent: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What became of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassReport {
    pub outcome: Outcome,
    /// The build that is served now, as far as the pass knows.
    pub build: Option<String>,
    pub counts: Counts,
    pub timings: Timings,
    /// One line: a summary of the build, or what failed and what is served now.
    pub message: String,
}

/// An [`Outcome`] as files keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum StoredOutcome {
    Promoted,
    Unchanged,
    Held,
    Refused,
    Failed,
    Busy,
    Stopped,
    /// A word that this version does not know.
    Unknown(String),
}

/// What made a build the served one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromotedBy {
    Build,
    Adopt,
    Rollback,
}

impl Trigger {
    /// Whether a person, or a script that touched the marker, wants this pass now.
    #[must_use]
    pub fn is_asked_for(self) -> bool {
        match self {
            Self::Marker | Self::Signal | Self::Command => true,
            Self::Start | Self::Database | Self::Resync | Self::Reload | Self::Retry => false,
        }
    }
}

impl Outcome {
    /// Whether the pass reached its end, so that a request for it is answered.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Promoted | Self::Unchanged | Self::Refused | Self::Held => true,
            Self::Failed(_) | Self::Busy | Self::Stopped => false,
        }
    }
}

impl PassReport {
    /// A pass of which nothing is known but how it ended.
    #[must_use]
    pub fn without_build(outcome: Outcome, message: String) -> Self {
        let (counts, timings) = (Counts::default(), Timings::default());
        Self { outcome, build: None, counts, timings, message }
    }
}

impl StoredOutcome {
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Promoted => "promoted",
            Self::Unchanged => "unchanged",
            Self::Held => "held",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Busy => "busy",
            Self::Stopped => "stopped",
            Self::Unknown(text) => text,
        }
    }
}

impl PromotedBy {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Adopt => "adopt",
            Self::Rollback => "rollback",
        }
    }
}

impl From<Outcome> for StoredOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Promoted => Self::Promoted,
            Outcome::Unchanged => Self::Unchanged,
            Outcome::Held => Self::Held,
            Outcome::Refused => Self::Refused,
            Outcome::Failed(_) => Self::Failed,
            Outcome::Busy => Self::Busy,
            Outcome::Stopped => Self::Stopped,
        }
    }
}

impl From<String> for StoredOutcome {
    fn from(text: String) -> Self {
        let known = [
            Self::Promoted,
            Self::Unchanged,
            Self::Held,
            Self::Refused,
            Self::Failed,
            Self::Busy,
            Self::Stopped,
        ];
        known.into_iter().find(|outcome| outcome.as_str() == text).unwrap_or(Self::Unknown(text))
    }
}

impl From<StoredOutcome> for String {
    fn from(outcome: StoredOutcome) -> Self {
        outcome.as_str().to_owned()
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Database => "database",
            Self::Marker => "marker",
            Self::Resync => "resync",
            Self::Signal => "signal",
            Self::Reload => "reload",
            Self::Retry => "retry",
            Self::Command => "command",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        StoredOutcome::from(*self).fmt(f)
    }
}

impl fmt::Display for StoredOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_outcomes_are_read_as_written_and_unknown_ones_kept_as_text() {
        let outcomes = [
            (Outcome::Promoted, "promoted"),
            (Outcome::Unchanged, "unchanged"),
            (Outcome::Held, "held"),
            (Outcome::Refused, "refused"),
            (Outcome::Failed(Retry::Hourly), "failed"),
            (Outcome::Busy, "busy"),
            (Outcome::Stopped, "stopped"),
        ];
        for (outcome, expected) in outcomes {
            let stored = StoredOutcome::from(outcome);
            let json = serde_json::to_string(&stored).unwrap();
            assert_eq!(json, format!("\"{expected}\""));
            assert_eq!(serde_json::from_str::<StoredOutcome>(&json).unwrap(), stored);
        }

        let later: StoredOutcome = serde_json::from_str("\"half done\"").unwrap();
        assert_eq!(later, StoredOutcome::Unknown("half done".to_owned()));
        assert_eq!(serde_json::to_string(&later).unwrap(), "\"half done\"");
    }
}
