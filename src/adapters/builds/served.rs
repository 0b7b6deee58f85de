//! What is served at present: where the link `current` leads.
//!
//! Readers follow the link whether or not a build can be read there, so its
//! id and the build are two questions. What to do about a damaged build is
//! decided by the pass.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::build::Build;
use super::disk;
use super::disk_error::DiskError;
use super::layout::Layout;
use super::proof::{Doubt, Proof};

#[derive(Debug)]
pub enum Served {
    /// `current` does not exist.
    Nothing,
    Build(Box<Build>),
    /// `current` exists, and is proven not to lead to a build that is whole.
    Damaged {
        /// What was expected and found.
        why: String,
    },
    /// What is served could not be found out: it may be whole.
    NotKnown(Doubt),
}

impl Served {
    /// The build, if one can be read.
    #[must_use]
    pub fn build(&self) -> Option<&Build> {
        match self {
            Self::Build(build) => Some(build),
            Self::Nothing | Self::Damaged { .. } | Self::NotKnown(_) => None,
        }
    }

    /// Follows `current`.
    pub(super) fn read(layout: &Layout) -> Self {
        let current = layout.current.display();
        let target = match std::fs::read_link(&layout.current) {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::Nothing,
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                return Self::Damaged { why: format!("{current} is not a link: {error}") };
            }
            Err(error) => {
                return Self::NotKnown(Doubt::Disk(DiskError::at("read the link", &layout.current)(error)));
            }
        };
        let id = target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if id.is_empty() || target != Layout::current_target(id) {
            let why = format!("{current} leads to {}, expected builds/ID", target.display());
            return Self::Damaged { why };
        }
        match Build::read(layout.build(id), id) {
            Proof::Whole(build) => Self::Build(Box::new(build)),
            Proof::Damaged(why) => Self::Damaged { why: format!("build {id} is damaged: {why}") },
            Proof::NotKnown(doubt) => Self::NotKnown(doubt),
        }
    }
}

/// The id that `current` names, whether or not a build can be read there: the API serves it all the same.
pub(super) fn served_id(layout: &Layout) -> Result<Option<String>, DiskError> {
    match std::fs::read_link(&layout.current) {
        Ok(target) => Ok(target.file_name().and_then(|name| name.to_str()).map(str::to_owned)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
        Err(error) => Err(DiskError::at("read the link", &layout.current)(error)),
    }
}

/// The public names that do not lead to what is served, as after another run of ingest.py.
pub(super) fn dangling_links(layout: &Layout) -> Vec<PathBuf> {
    let names = layout.public().into_iter();
    names.filter(|(link, target, _)| !disk::is_link_to(link, target)).map(|(link, ..)| link).collect()
}
