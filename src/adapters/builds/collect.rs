//! Decides which old builds are removed, and removes them.
//!
//! The newest few stay, and so does each that was replaced within the grace
//! for readers, who may still be opening it. Never removed are the served
//! build, the one before it, both builds of a hold, and what a running pass
//! still needs. When to collect is decided by the pass.

use std::time::Duration;

use super::disk;
use super::disk_error::DiskError;
use super::history::{History, Now};
use super::hold::Hold;
use super::layout::STAGING;
use super::{Builds, KeptBuilds};

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
    pub now: Now,
}

/// The ids to be removed: of builds that are whole and old, and of those that are proven to be damaged.
/// One of which nothing is known stays.
#[must_use]
pub fn surplus(kept: &KeptBuilds, rules: &RetentionRules<'_>) -> Vec<String> {
    let history = rules.state;
    let mut ids: Vec<&str> = kept.whole.iter().map(|build| build.manifest.id.as_str()).collect();
    ids.extend(kept.damaged.iter().map(String::as_str));
    let exists = |id: &str| ids.contains(&id) || kept.not_known.iter().any(|(other, _)| other == id);
    let previous = rules.served.and_then(|served| history.previous_to(served, &exists));
    let held = rules.hold.map(|hold| [Some(hold.build.as_str()), hold.from.as_deref()]);
    let mut stays: Vec<&str> =
        kept.whole.iter().take(rules.newest).map(|build| build.manifest.id.as_str()).collect();
    stays.extend(rules.served);
    stays.extend(rules.used);
    stays.extend(previous);
    stays.extend(held.into_iter().flatten().flatten());
    let has_readers = |id: &str| history.may_have_readers(id, rules.grace, rules.now);
    let mut surplus: Vec<String> =
        ids.iter().filter(|id| !stays.contains(*id) && !has_readers(id)).map(|id| (*id).to_owned()).collect();
    surplus.sort();
    surplus
}

/// Removes builds by their ids.
///
/// Each is renamed to staging before it is removed, so that a crash leaves no
/// half build: the sweep removes the rest.
///
/// # Errors
///
/// The first [`DiskError`]; the others are removed all the same.
pub fn collect(builds: &Builds, ids: &[String]) -> Result<(), DiskError> {
    let remove = |id: &String| {
        let staging = builds.layout.build(&format!("{id}{STAGING}"));
        disk::rename(&builds.layout.build(id), &staging)?;
        disk::remove_tree(&staging)
    };
    ids.iter().map(remove).fold(Ok(()), Result::and)
}
