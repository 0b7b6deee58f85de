//! Makes a verified build the served one.
//!
//! The order is written once, here. Up to the rename of `current` the old
//! build is served; from it on the new one is, index and metadata together.
//! Success is reported only when everything that leads to the new build is
//! durable. Nothing in between asks whether to stop: the stretch is short.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::disk::{self, DiskError, Mode};
use super::layout::{Layout, MANIFEST};
use super::verify::Verified;
use super::{Build, Builds, BuildsError, Served};
use crate::domain::manifest::Manifest;

/// Why a build is not, or not certainly, served.
#[derive(Debug, Error)]
pub enum PromoteError {
    /// The old build is still served.
    #[error("the new build was not promoted, and what was served is served still")]
    NotPromoted(#[source] BuildsError),
    /// The new build is served, but a power cut might undo that.
    #[error(
        "build {id} is served, but is not known to be durable: a power cut may bring the one before back; the next pass syncs again"
    )]
    NotDurable {
        /// The build.
        id: String,
        /// What failed.
        source: BuildsError,
    },
}

/// `served.json`: what is served, in a plain file that is replaced after each promotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedNote {
    /// The served build.
    pub build: String,
    /// When it was promoted.
    pub at: Timestamp,
}

impl Verified {
    /// Writes the manifest, gives the build its name and serves it.
    ///
    /// # Errors
    ///
    /// [`PromoteError`], which says what is served.
    pub fn promote(
        self,
        builds: &Builds,
        manifest: &Manifest,
        now: Timestamp,
    ) -> Result<Build, PromoteError> {
        assert_eq!(manifest.files, self.files, "a manifest of the files that were proven");
        let sealed = self.name(builds, manifest).map_err(|error| PromoteError::NotPromoted(error.into()))?;
        serve(builds, &manifest.id, sealed.mode, now)?;
        Ok(Build { directory: builds.layout.build(&manifest.id), manifest: manifest.clone() })
    }

    /// The build is whole under its own name, and not yet served.
    fn name(self, builds: &Builds, manifest: &Manifest) -> Result<SealedName, DiskError> {
        let staging = self.staging;
        let mut writer = disk::Writer::create(&staging.path(MANIFEST))?;
        writer.write(&manifest.print())?;
        writer.finish(staging.mode)?;
        disk::sync_directory(&staging.directory)?;
        disk::rename(&staging.directory, &builds.layout.build(&staging.id))?;
        disk::sync_directory(&builds.layout.builds)?;
        Ok(SealedName { mode: staging.mode })
    }
}

struct SealedName {
    mode: Mode,
}

/// Switches `current` to a sealed build whose files are durable.
///
/// # Errors
///
/// [`PromoteError`], which says what is served.
pub fn serve(builds: &Builds, id: &str, mode: Mode, now: Timestamp) -> Result<(), PromoteError> {
    let layout = &builds.layout;
    disk::switch_link(&layout.current, &Layout::current_target(id))
        .map_err(|error| PromoteError::NotPromoted(error.into()))?;
    make_durable(builds, id, mode, now)
        .map_err(|source| PromoteError::NotDurable { id: id.to_owned(), source })
}

/// Makes what is served durable, and the two public names lead to it; the note is the sign that this is done.
fn make_durable(builds: &Builds, id: &str, mode: Mode, now: Timestamp) -> Result<(), BuildsError> {
    make_durable_and_note(builds, id, mode, now).inspect_err(|_| {
        // The next pass settles again because there is no note, also where only the last flush failed.
        disk::remove_if_exists(&builds.layout.served).ok();
    })
}

fn make_durable_and_note(builds: &Builds, id: &str, mode: Mode, now: Timestamp) -> Result<(), BuildsError> {
    disk::sync_directory(&builds.layout.root)?;
    link_public_names(builds)?;
    let note = ServedNote { build: id.to_owned(), at: now };
    let mut bytes = serde_json::to_vec(&note).expect("two strings");
    bytes.push(b'\n');
    // Its owner replaces it by rename and never writes into it. Not flushed: where a power cut
    // brings the note before back, the next pass finds that it is not of what is served.
    Ok(disk::switch_file(&builds.layout.served, &bytes, mode)?)
}

/// Ends what a promotion that was cut short left undone: links, the note, and their durability.
///
/// # Errors
///
/// [`BuildsError`] where a step fails.
pub fn finish_promotion(builds: &Builds, served: &Served, now: Timestamp) -> Result<bool, BuildsError> {
    let Some(build) = served.build() else { return Ok(false) };
    let id = &build.manifest.id;
    let noted = note(&builds.layout).is_some_and(|note| note.build == *id);
    let linked = builds.layout.public().iter().all(|(link, target, _)| leads_to(link, target));
    if noted && linked {
        return Ok(false);
    }
    // The metadata's link may have been switched before, and not flushed.
    disk::sync_directory(disk::parent(&builds.layout.metadata))?;
    make_durable(builds, id, builds.mode(), now)?;
    Ok(true)
}

/// What `served.json` says, where it can be read.
#[must_use]
pub fn note(layout: &Layout) -> Option<ServedNote> {
    let bytes = disk::read_small(&layout.served, 1 << 16).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Renames a link over each public name that is not one yet: no name is ever missing.
///
/// Both lead to what they led to before, so that they may become durable together.
pub(super) fn link_public_names(builds: &Builds) -> Result<(), BuildsError> {
    let mut changed = Vec::new();
    for (link, target, _) in builds.layout.public() {
        if leads_to(&link, &target) {
            continue;
        }
        if link.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            return Err(BuildsError::NotFileOrLink { path: link, found: "a directory" });
        }
        disk::switch_link(&link, &target)?;
        changed.push(disk::parent(&link).to_owned());
    }
    changed.dedup();
    for directory in changed {
        disk::sync_directory(&directory)?;
    }
    Ok(())
}

/// Whether a name is our link.
pub(super) fn leads_to(link: &std::path::Path, target: &std::path::Path) -> bool {
    std::fs::read_link(link).is_ok_and(|found| found == target)
}
