//! The file system that the database is on, as `statfs` and `/proc` name it.
//!
//! Whether it may be read there without locks is `decide::lock_free`'s.

use std::path::Path;

use super::mounts::Mount;
use crate::decide::lock_free::OVERLAY;

/// A file system.
pub(super) struct FileSystem {
    /// The number by which `statfs` names it.
    pub(super) magic: i64,
    /// The same for each layer below an overlay; `None` for one that this process cannot reach.
    pub(super) layers: Vec<Option<i64>>,
}

impl FileSystem {
    /// The one that a path without links is on.
    pub(super) fn of(path: &Path) -> Self {
        let layers = match magic(path) {
            Some(OVERLAY) => Mount::of(path).map(|mount| mount.layers).unwrap_or_default(),
            _ => Vec::new(),
        };
        let layers = layers.iter().map(|layer| magic(layer)).collect();
        Self { magic: magic(path).unwrap_or(0), layers }
    }

    /// What an operator calls it: its kind, as in the table of mounts.
    pub(super) fn name(&self, path: &Path) -> String {
        Mount::of(path).map_or_else(|| format!("a file system of type {:#x}", self.magic), |mount| mount.kind)
    }
}

#[allow(clippy::useless_conversion, reason = "on other machines it is a narrower number")]
fn magic(path: &Path) -> Option<i64> {
    rustix::fs::statfs(path).ok().map(|found| i64::from(found.f_type))
}
