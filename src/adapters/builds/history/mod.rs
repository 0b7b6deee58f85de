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
use super::uptime::Uptime;
use crate::domain::file_stamp::FileStamp;
use crate::domain::pass::{Counts, PromotedBy, StoredOutcome, Timings, attempt_times};
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
    /// The scan that the served build was made from, or one with the same content after it. 0.1.0 wrote none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acted_scan: Option<ActedScan>,
    /// The rows of which was said last that the model does not read their texts whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_texts: Option<String>,
    /// The judged queries of which was said last that no build has a record for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queries_without_record: Option<String>,
}

/// An instant, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub at: Timestamp,
    pub uptime: Uptime,
}

/// A build that became the served one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    pub build: String,
    pub at: Timestamp,
    /// `build`, `adopt` or `rollback`.
    pub by: String,
    /// The same instant by a clock that cannot be set; version 0.1.0 wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<Uptime>,
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

/// A scan of files that had settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActedScan {
    /// The build that has its content.
    pub build: String,
    /// Digest of settings and space, without any row.
    pub rules: ScanHash,
    /// Database and `-wal` before it.
    pub files: [Option<FileStamp>; 2],
    /// When it began, by the clock that cannot be set.
    pub uptime_ms: Uptime,
    /// Whether it was said that scans by these rules differ by themselves.
    #[serde(default)]
    pub has_warned: bool,
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

    /// When the first of the attempts ended that have failed one after the other until now, as far as they
    /// are remembered.
    #[must_use]
    pub fn failed_since(&self) -> Option<Timestamp> {
        self.attempts.iter().rev().take_while(|one| one.error.is_some()).last().map(|one| one.at)
    }

    /// The pass that promoted a build, while it is remembered.
    #[must_use]
    pub fn attempt_of(&self, build: &str) -> Option<&AttemptRecord> {
        self.attempts.iter().rev().find(|one| one.build.as_deref() == Some(build))
    }

    /// Adds a promotion and drops the oldest that no reader may still depend on.
    pub fn record_promotion(&mut self, build: &str, by: &str, now: Now) {
        let Now { at, uptime } = now;
        let promotion = Promotion { build: build.to_owned(), at, by: by.to_owned(), uptime_ms: Some(uptime) };
        self.promotions.push(promotion);
        let count = self.promotions.len();
        let long_ago = |next: &Promotion| next.is_past(READER_GRACE, now);
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

    /// Records a promotion that ended before it was recorded; false if it was.
    pub fn record_unrecorded(&mut self, served: &str, now: Now) -> bool {
        let is_recorded = self.promotions.last().is_some_and(|last| last.build == served);
        if !is_recorded {
            self.record_promotion(served, PromotedBy::Build.as_str(), now);
        }
        !is_recorded
    }

    /// When another build last replaced this one.
    #[must_use]
    pub fn replaced_at(&self, build: &str) -> Option<Timestamp> {
        self.replacement(build).map(|next| next.at)
    }

    /// Whether a reader may still open this build: it was replaced, and not for `grace`.
    #[must_use]
    pub fn may_have_readers(&self, build: &str, grace: Duration, now: Now) -> bool {
        self.replacement(build).is_some_and(|next| !next.is_past(grace, now))
    }

    fn replacement(&self, build: &str) -> Option<&Promotion> {
        let at = self.promotions.iter().rposition(|one| one.build == build)?;
        self.promotions.get(at + 1)
    }
}

impl Promotion {
    /// Whether it is certain that this much time has passed since. The time of day can be set: it counts only
    /// where nothing else is known, and then the system must have run as long as well.
    fn is_past(&self, time: Duration, now: Now) -> bool {
        match self.uptime_ms {
            Some(then) => now.uptime.at_least_since(then) >= time,
            None => {
                now.at.duration_since(self.at).unsigned_abs() >= time
                    && now.uptime.at_least_since(Uptime(0)) >= time
            }
        }
    }
}

#[cfg(test)]
mod tests;
