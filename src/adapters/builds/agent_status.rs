//! What the agent is doing: `.reindexd/agent.json`, written by the agent and read by `status`.
//!
//! The file is for people and monitoring: no decision of a pass or of the
//! agent depends on it. When it is written is decided by the daemon.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::pass::StoredOutcome;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentStatus {
    /// When the agent started.
    pub started: Option<Timestamp>,
    /// Stored as `phase` since 0.1.0.
    #[serde(rename = "phase")]
    pub state: String,
    /// How the database is watched: `inotify`, `poll` or `none`.
    pub watch: Option<String>,
    /// Since when something has been waiting to be served.
    pub behind_since: Option<Timestamp>,
    /// When the agent tries again after a failure.
    pub retry_at: Option<Timestamp>,
    /// The last pass that did more than scan.
    pub last_pass: Option<LastPass>,
}

/// How a pass of the agent ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPass {
    /// When it ended.
    pub at: Timestamp,
    pub trigger: String,
    pub outcome: StoredOutcome,
    /// Its summary, or why it failed.
    pub message: String,
}
