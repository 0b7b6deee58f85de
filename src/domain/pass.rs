//! What a pass is asked to do, and how it may end.
//!
//! A pass is one reconcile from sweep to promote. `phase` decides when one is
//! due, `agent` runs it, `reconcile` does it; these types are all that the
//! three have in common. The end of a pass answers one question for the
//! others: when is it worth another try.

use std::fmt;
use std::time::Duration;

use crate::domain::manifest::Counts;

/// Why a pass runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// The agent came up.
    Start,
    /// The database changed.
    Database,
    /// The marker was touched.
    Marker,
    /// The slow round found a difference, or an hour had passed.
    Resync,
    /// SIGUSR1.
    Signal,
    /// SIGHUP: the settings were read again.
    Reload,
    /// The last pass failed in a way that time may cure.
    Retry,
}

/// One pass, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassRequest {
    /// Why it runs.
    pub trigger: Trigger,
    /// Verify the served files in full: a person touched the marker and wants proof.
    pub full_check: bool,
}

/// How a pass ended, with words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassReport {
    /// What became of it.
    pub outcome: PassOutcome,
    /// One line: a summary of the build, or what went wrong and what is served now.
    pub message: String,
    /// The new build, where there is one.
    pub built: Option<Built>,
}

/// A new build, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Its id.
    pub build: String,
    /// How it came about.
    pub counts: Counts,
}

/// What became of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassOutcome {
    /// A new build is served.
    Promoted,
    /// Nothing differed.
    Unchanged,
    /// A guard would not have it; the old build is still served.
    Refused,
    /// The table still holds the content that a rollback set aside.
    Held,
    /// It could not be done; the cure says when it may be worth another try.
    Failed(Cure),
    /// Another process holds the lock. No failure: the work is still owed.
    Busy,
    /// It was asked to stop, and did.
    Stopped,
}

/// What may help after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Time, and not much of it.
    Soon {
        /// How long the provider wants to be left alone, where it said so.
        wait: Option<Duration>,
    },
    /// A quota that comes back some time today or tomorrow.
    Hourly,
    /// Nothing but a change: of the rows, the settings or the files.
    OnChange,
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
        })
    }
}

impl PassOutcome {
    /// Whether the pass got to its end: whoever asked for it has an answer.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Promoted | Self::Unchanged | Self::Refused | Self::Held => true,
            Self::Failed(_) | Self::Busy | Self::Stopped => false,
        }
    }
}

impl fmt::Display for PassOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Promoted => "promoted",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Held => "held",
            Self::Failed(_) => "failed",
            Self::Busy => "busy",
            Self::Stopped => "stopped",
        })
    }
}
