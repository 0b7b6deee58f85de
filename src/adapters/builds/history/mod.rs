//! What is remembered about builds and passes: `.reindexd/state.json`.
//!
//! Promotions in their order, so that a rollback knows where to go and a build
//! that was just replaced stays for its readers; the last attempts, for
//! people; and a scan that differs from the served build's and has the same
//! content. Only the holder of the pass lock writes the file. Which builds are
//! removed is decided by `collect`.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::disk_error::DiskError;
use super::json_file::{self, path};
use super::layout::Layout;
use crate::domain::pass::{Counts, StoredOutcome, Timings, attempt_times};
use crate::domain::record::ScanHash;

/// How long a build that was replaced stays for readers that resolved its path.
pub const READER_GRACE: Duration = Duration::from_secs(600);
/// Attempts that `history` can show.
const MAX_ATTEMPTS: usize = 20;
/// Promotions that are remembered: many more than builds are kept. More of
/// them stay while one was replaced within [`READER_GRACE`].
const PROMOTIONS: usize = 200;
/// Promotions that are remembered at most: one every 150 ms for the whole of that time.
const MAX_PROMOTIONS: usize = 4000;
const NAME: &str = "state";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// Oldest first.
    pub promotions: Vec<Promotion>,
    /// Oldest first.
    pub attempts: Vec<AttemptRecord>,
    #[serde(rename = "same_content")]
    pub equivalent_scan: Option<EquivalentScan>,
}

/// A build that became the served one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    pub build: String,
    pub at: Timestamp,
    /// `build`, `adopt` or `rollback`.
    pub by: String,
}

/// A pass that did more than scan, or failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// When it ended.
    pub at: Timestamp,
    pub trigger: String,
    pub outcome: StoredOutcome,
    /// The build that it promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Why it failed or was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default)]
    pub counts: Counts,
    /// Where the time went; for a pass that failed, until then.
    #[serde(flatten, with = "attempt_times")]
    pub timings: Timings,
}

/// A scan that found the content of a build that was made from another scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EquivalentScan {
    pub build: String,
    pub scan_hash: ScanHash,
}

impl History {
    /// Reads the history; a damaged file counts as empty, with a warning.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if the file cannot be read: to continue would lose what it says.
    pub fn load(layout: &Layout) -> Result<(Self, Option<String>), DiskError> {
        json_file::read(&path(layout, NAME))
    }

    /// Replaces the file.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if the file cannot be replaced.
    pub fn save(&self, layout: &Layout) -> Result<(), DiskError> {
        json_file::save(&path(layout, NAME), self)
    }

    /// Adds an attempt and drops the oldest.
    pub fn record_attempt(&mut self, attempt: AttemptRecord) {
        self.attempts.push(attempt);
        let surplus = self.attempts.len().saturating_sub(MAX_ATTEMPTS);
        self.attempts.drain(..surplus);
    }

    /// The pass that promoted a build, while it is remembered.
    #[must_use]
    pub fn attempt_of(&self, build: &str) -> Option<&AttemptRecord> {
        self.attempts.iter().rev().find(|one| one.build.as_deref() == Some(build))
    }

    /// Adds a promotion and drops the oldest that no reader may still depend on.
    pub fn record_promotion(&mut self, build: &str, by: &str, at: Timestamp) {
        self.promotions.push(Promotion { build: build.to_owned(), at, by: by.to_owned() });
        let count = self.promotions.len();
        let long_ago = |next: &Promotion| at.duration_since(next.at).unsigned_abs() >= READER_GRACE;
        let surplus = self.promotions.iter().skip(1).take(count.saturating_sub(PROMOTIONS));
        let surplus = surplus.take_while(|next| long_ago(next)).count();
        self.promotions.drain(..surplus.max(count.saturating_sub(MAX_PROMOTIONS)));
    }

    /// The build that a rollback from `served` goes to: the one served before it that still exists.
    ///
    /// A build that is served a second time was rolled back to. Whatever came
    /// after its first time then no longer comes before anything.
    #[must_use]
    pub fn previous_to(&self, served: &str, exists: &dyn Fn(&str) -> bool) -> Option<&str> {
        let mut line: Vec<&str> = Vec::new();
        for promotion in &self.promotions {
            let build = promotion.build.as_str();
            match line.iter().position(|earlier| *earlier == build) {
                Some(at) => line.truncate(at + 1),
                None => line.push(build),
            }
        }
        let at = line.iter().position(|build| *build == served)?;
        line[..at].iter().rev().copied().find(|build| exists(build))
    }

    /// When another build last replaced this one.
    #[must_use]
    pub fn replaced_at(&self, build: &str) -> Option<Timestamp> {
        let at = self.promotions.iter().rposition(|one| one.build == build)?;
        self.promotions.get(at + 1).map(|next| next.at)
    }
}

#[cfg(test)]
mod tests;
