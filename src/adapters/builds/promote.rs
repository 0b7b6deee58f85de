//! Makes a verified build the served one.
//!
//! The order is written once, here. Until `current` is renamed the previous
//! build is served; from then on the new one is, index and metadata together.
//! Success is reported only when everything that leads to the new build is
//! durable. No stop is checked in between: the stretch is short.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::disk::{self, is_link_to};
use super::host_note;
use super::layout::Layout;
use super::mode::Mode;
use super::verify::Verified;
use super::{Build, Builds, BuildsError, Served};
use crate::domain::manifest::Manifest;
use crate::domain::record::Space;
use crate::domain::sibling_path::parent;

/// Why a build is not, or not certainly, served.
#[derive(Debug, Error)]
pub enum PromoteError {
    #[error("promotion failed; the previous build is still served")]
    NotPromoted(#[source] BuildsError),
    /// The new build is served, but a power cut might undo that.
    #[error(
        "build {id} is served, but is not known to be durable: a power cut may bring the previous build back; the next pass flushes again"
    )]
    NotDurable { id: String, source: BuildsError },
}

/// `served.json`: what is served, in a plain file that is replaced after each promotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedNote {
    pub build: String,
    /// When it was promoted.
    pub at: Timestamp,
    /// The space of its vectors; unknown for an adopted build, and not said by 0.1.0.
    #[serde(default)]
    pub space: Option<Space>,
}

impl Verified {
    /// Writes the manifest, gives the build its name and serves it.
    ///
    /// # Errors
    ///
    /// [`PromoteError`], which says what is served.
    ///
    /// # Panics
    ///
    /// If the manifest is about other files than those that were verified.
    pub fn promote(
        self,
        builds: &Builds,
        manifest: &Manifest,
        now: Timestamp,
    ) -> Result<Build, PromoteError> {
        assert_eq!(manifest.files, self.files, "a manifest of the files that were verified");
        let mode = self.staging.mode;
        let build = self
            .staging
            .take_name(&builds.layout, manifest)
            .map_err(|error| PromoteError::NotPromoted(error.into()))?;
        serve(builds, &manifest.id, mode, now)?;
        Ok(build)
    }
}

/// Switches `current` to a sealed build whose files are durable.
///
/// # Errors
///
/// [`PromoteError`], which says what is served.
pub fn serve(builds: &Builds, id: &str, mode: Mode, now: Timestamp) -> Result<(), PromoteError> {
    let layout = &builds.layout;
    host_note::refuse_taken_over(layout).map_err(PromoteError::NotPromoted)?;
    disk::switch_link(&layout.current, &Layout::current_target(id))
        .map_err(|error| PromoteError::NotPromoted(error.into()))?;
    make_durable(builds, id, mode, now)
        .map_err(|source| PromoteError::NotDurable { id: id.to_owned(), source })
}

/// Makes what is served durable, and the two public names lead to it; the note is the sign that this is done.
fn make_durable(builds: &Builds, id: &str, mode: Mode, now: Timestamp) -> Result<(), BuildsError> {
    make_durable_and_note(builds, id, mode, now).inspect_err(|_| {
        // Because the note is missing the next pass does it again, even if only the last flush failed.
        disk::remove_if_exists(&builds.layout.served).ok();
    })
}

fn make_durable_and_note(builds: &Builds, id: &str, mode: Mode, now: Timestamp) -> Result<(), BuildsError> {
    disk::sync_directory(&builds.layout.root)?;
    link_public_names(builds)?;
    let space = builds.build(id).ok().and_then(|build| build.manifest.space);
    let note = ServedNote { build: id.to_owned(), at: now, space };
    let mut bytes = serde_json::to_vec(&note).expect("string keys only");
    bytes.push(b'\n');
    // Its owner replaces it by rename and never writes into it. Not flushed: if a power cut brings
    // the previous note back, the next pass finds that it does not name what is served.
    Ok(disk::switch_file(&builds.layout.served, &bytes, mode)?)
}

/// Completes a promotion that was cut short: links, the note, and their durability.
///
/// # Errors
///
/// [`BuildsError`] if a step fails.
pub fn finish_promotion(builds: &Builds, served: &Served, now: Timestamp) -> Result<bool, BuildsError> {
    let Some(build) = served.build() else { return Ok(false) };
    let id = &build.manifest.id;
    let is_noted = note(&builds.layout).is_some_and(|note| note.build == *id);
    let is_linked = builds.layout.public().iter().all(|(link, target, _)| is_link_to(link, target));
    if is_noted && is_linked {
        return Ok(false);
    }
    // The metadata's link may have been switched already, and not flushed.
    disk::sync_directory(parent(&builds.layout.metadata))?;
    make_durable(builds, id, builds.mode()?, now)?;
    Ok(true)
}

/// What `served.json` says, if it can be read.
#[must_use]
pub fn note(layout: &Layout) -> Option<ServedNote> {
    let bytes = disk::read_small(&layout.served, 1 << 16).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Renames a link over each public name that is not one yet: no name is ever missing.
///
/// Both lead to what they led to before, so they may become durable together.
pub(super) fn link_public_names(builds: &Builds) -> Result<(), BuildsError> {
    let mut changed = Vec::new();
    for (link, target, _) in builds.layout.public() {
        if is_link_to(&link, &target) {
            continue;
        }
        if link.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            return Err(BuildsError::NotFileOrLink { path: link, found: "a directory" });
        }
        disk::switch_link(&link, &target)?;
        changed.push(parent(&link).to_owned());
    }
    changed.dedup();
    for directory in changed {
        disk::sync_directory(&directory)?;
    }
    Ok(())
}
