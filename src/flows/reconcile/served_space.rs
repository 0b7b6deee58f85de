//! What is known of the vectors that are served, for the guard of the space.
//!
//! An API serves a build whose manifest cannot be read all the same: then
//! `served.json` says the space, else the newest build that can be read.

use crate::adapters::builds::{Build, Builds, Served, promote};
use crate::decide::build_space::BuildSpace;

/// `None` if nothing is served, or nothing is known of its vectors.
pub(super) fn served_space(
    builds: &Builds,
    served: &Served,
    newest: Option<&BuildSpace>,
) -> Option<BuildSpace> {
    match served {
        Served::Nothing | Served::NotKnown(_) => None,
        Served::Build(build) => space_of(build),
        Served::Damaged { .. } => {
            let id = builds.served_id().ok().flatten();
            let note = promote::note(&builds.layout).filter(|note| Some(&note.build) == id.as_ref());
            note.and_then(|note| note.space).map(BuildSpace::Named).or_else(|| newest.cloned())
        }
    }
}

pub(super) fn space_of(build: &Build) -> Option<BuildSpace> {
    BuildSpace::of(&build.manifest)
}
