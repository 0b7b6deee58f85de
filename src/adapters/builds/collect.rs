//! Which old builds go, and their going.
//!
//! The newest few stay, and any that was promoted away so lately that a
//! reader may still be opening it. Never collected are the served build, the
//! one before it, both ends of a hold, and what the pass at work still needs.
//! A build is renamed to staging before it is removed, so that a crash leaves
//! no half build behind.

use std::time::Duration;

use jiff::Timestamp;

use super::state::{History, Hold};
use super::{Build, Builds, DiskError, STAGING, disk};

/// How long a build that was promoted away stays for readers that resolved it.
pub const READER_GRACE: Duration = Duration::from_secs(600);

/// What the choice depends on.
pub struct RetentionRules<'a> {
    /// How many of the newest builds stay.
    pub newest: usize,
    /// How long a replaced build stays; zero when space is short.
    pub grace: Duration,
    /// The served build's id.
    pub served: Option<&'a str>,
    /// Builds that a pass is about to take vectors from.
    pub used: &'a [&'a str],
    /// Promotions so far.
    pub state: &'a History,
    /// The hold in force.
    pub hold: Option<&'a Hold>,
    /// The present.
    pub now: Timestamp,
}

/// The ids to be removed, of all names in `builds/` (`ids`) and those that can be read (`kept`, newest first).
#[must_use]
pub fn surplus(ids: &[String], kept: &[Build], keep: &RetentionRules<'_>) -> Vec<String> {
    let before = keep
        .served
        .and_then(|served| keep.state.previous_to(served, &|id| ids.iter().any(|other| other == id)));
    let held = keep
        .hold
        .map(|hold| [Some(hold.build.as_str()), hold.from.as_deref()])
        .into_iter()
        .flatten()
        .flatten();
    let mut stays: Vec<&str> =
        kept.iter().take(keep.newest).map(|build| build.manifest.id.as_str()).collect();
    stays.extend(keep.served);
    stays.extend(keep.used);
    stays.extend(before);
    stays.extend(held);
    let lately = |id: &str| {
        // A clock that jumped makes this time far away in either direction.
        keep.state.replaced_at(id).is_some_and(|at| keep.now.duration_since(at).unsigned_abs() < keep.grace)
    };
    ids.iter().filter(|id| !stays.contains(&id.as_str()) && !lately(id)).cloned().collect()
}

/// Removes builds by their ids.
///
/// # Errors
///
/// The first [`DiskError`].
pub fn collect(builds: &Builds, ids: &[String]) -> Result<(), DiskError> {
    for id in ids {
        let going = builds.layout.build(&format!("{id}{STAGING}"));
        disk::rename(&builds.layout.build(id), &going)?;
        disk::remove_tree(&going)?;
    }
    Ok(())
}
