//! Decides which old builds are removed, and removes them.
//!
//! The newest few stay, and so does each that was replaced within the grace
//! for readers, who may still be opening it. Never removed are the served
//! build, the one before it, both builds of a hold, and what a running pass
//! still needs. When to collect is decided by the pass.

use std::time::Duration;

use jiff::Timestamp;

use super::disk;
use super::disk_error::DiskError;
use super::history::History;
use super::hold::Hold;
use super::layout::STAGING;
use super::{Build, Builds};

/// What the choice depends on.
pub struct RetentionRules<'a> {
    /// How many of the newest builds stay.
    pub newest: usize,
    /// How long a replaced build stays; zero if disk space is short.
    pub grace: Duration,
    /// The served build's id.
    pub served: Option<&'a str>,
    /// Builds that a pass is about to take vectors from.
    pub used: &'a [&'a str],
    /// Promotions so far.
    pub state: &'a History,
    /// The hold in force.
    pub hold: Option<&'a Hold>,
    pub now: Timestamp,
}

/// The ids to be removed, of all names in `builds/` (`ids`) and of those that can be read (`kept`,
/// newest first).
#[must_use]
pub fn surplus(ids: &[String], kept: &[Build], rules: &RetentionRules<'_>) -> Vec<String> {
    let history = rules.state;
    let previous = rules
        .served
        .and_then(|served| history.previous_to(served, &|id| ids.iter().any(|other| other == id)));
    let held = rules.hold.map(|hold| [Some(hold.build.as_str()), hold.from.as_deref()]);
    let mut stays: Vec<&str> =
        kept.iter().take(rules.newest).map(|build| build.manifest.id.as_str()).collect();
    stays.extend(rules.served);
    stays.extend(rules.used);
    stays.extend(previous);
    stays.extend(held.into_iter().flatten().flatten());
    let has_readers = |id: &str| {
        // A clock that jumped puts this time far away in either direction.
        history.replaced_at(id).is_some_and(|at| rules.now.duration_since(at).unsigned_abs() < rules.grace)
    };
    ids.iter().filter(|id| !stays.contains(&id.as_str()) && !has_readers(id)).cloned().collect()
}

/// Removes builds by their ids.
///
/// Each is renamed to staging before it is removed, so that a crash leaves no
/// half build: the sweep removes the rest.
///
/// # Errors
///
/// The first [`DiskError`].
pub fn collect(builds: &Builds, ids: &[String]) -> Result<(), DiskError> {
    for id in ids {
        let staging = builds.layout.build(&format!("{id}{STAGING}"));
        disk::rename(&builds.layout.build(id), &staging)?;
        disk::remove_tree(&staging)?;
    }
    Ok(())
}
