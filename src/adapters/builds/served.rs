//! What is served at present: where the link `current` leads.
//!
//! Readers follow the link whether or not a build can be read there, so its
//! id and the build are two questions. What to do about a damaged build is
//! decided by the pass.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::build::Build;
use super::disk;
use super::layout::Layout;
use crate::domain::text::error_chain;

#[derive(Debug)]
pub enum Served {
    /// `current` does not exist.
    Nothing,
    Build(Box<Build>),
    /// `current` exists and does not lead to a build that can be read.
    Damaged {
        /// What was expected and found.
        why: String,
    },
}

impl Served {
    /// The build, if one can be read.
    #[must_use]
    pub fn build(&self) -> Option<&Build> {
        match self {
            Self::Build(build) => Some(build),
            Self::Nothing | Self::Damaged { .. } => None,
        }
    }

    /// Follows `current`.
    pub(super) fn read(layout: &Layout) -> Self {
        let current = layout.current.display();
        let target = match std::fs::read_link(&layout.current) {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::Nothing,
            Err(error) => return Self::Damaged { why: format!("{current} is not a link: {error}") },
        };
        let id = target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if id.is_empty() || target != Layout::current_target(id) {
            let why = format!("{current} leads to {}, expected builds/ID", target.display());
            return Self::Damaged { why };
        }
        match Build::read(layout.build(id), id) {
            Ok(build) => Self::Build(Box::new(build)),
            Err(error) => Self::Damaged { why: error_chain(&error) },
        }
    }
}

/// The id that `current` names, whether or not a build can be read there: the API serves it all the same.
pub(super) fn served_id(layout: &Layout) -> Option<String> {
    let target = std::fs::read_link(&layout.current).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}

/// The public names that do not lead to what is served, as after another run of ingest.py.
pub(super) fn dangling_links(layout: &Layout) -> Vec<PathBuf> {
    let names = layout.public().into_iter();
    names.filter(|(link, target, _)| !disk::is_link_to(link, target)).map(|(link, ..)| link).collect()
}
