//! What the agent is doing: `.reindexd/agent.json`, written by the agent and read by `status`.
//!
//! The file is for people and monitoring: no decision of a pass or of the
//! agent depends on it. Its time stamp is the agent's sign of life. When it is
//! written, and when the agent shows that it is alive, is decided by the daemon.

use std::io;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::json_file;
use super::layout::Layout;
use super::open;
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
    /// What an operator should know of the path to the database, as the agent sees it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
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

/// When the agent last showed that its loop runs; `None` if it never did.
#[must_use]
pub fn sign_of_life(layout: &Layout) -> Option<Timestamp> {
    let modified = json_file::path(layout, "agent").symlink_metadata().ok()?.modified().ok()?;
    Timestamp::try_from(modified).ok()
}

/// Shows that the loop runs. Nothing is flushed: a power cut ends the agent too.
///
/// # Errors
///
/// If the file is missing or belongs to another user.
pub fn show_sign_of_life(layout: &Layout, now: Timestamp) -> io::Result<()> {
    let file = open::open_to_write(&json_file::path(layout, "agent"))?;
    file.set_modified(SystemTime::from(now))
}
