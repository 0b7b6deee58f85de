//! The hold of a rollback: `.reindexd/hold.json`.
//!
//! After a rollback nothing is built until the table changes; else the next
//! pass would build again what was just rolled back. The hold names the build
//! that is served and the content that must not be built. When a hold begins
//! and ends is decided by the pass.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::disk;
use super::disk_error::DiskError;
use super::json_file::{self, path};
use super::layout::Layout;
use crate::domain::record::ContentHash;

const NAME: &str = "hold";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The build that is served while the hold lasts.
    pub build: String,
    /// The build that was served before.
    pub from: Option<String>,
    /// The table's content at that time; `None` if it could not be read.
    pub content_hash: Option<ContentHash>,
    /// Who asked for the rollback.
    pub by: String,
    pub at: Timestamp,
}

impl Hold {
    /// Reads the hold, if there is one. A damaged file counts as none, with a warning.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if the file cannot be read: it is unknown then what the hold forbids.
    pub fn load(layout: &Layout) -> Result<(Option<Self>, Option<String>), DiskError> {
        json_file::read(&path(layout, NAME))
    }

    /// Begins the hold.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if the file cannot be replaced.
    pub fn save(&self, layout: &Layout) -> Result<(), DiskError> {
        json_file::save(&path(layout, NAME), self)
    }

    /// Ends the hold.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if the file cannot be removed.
    pub fn release(layout: &Layout) -> Result<(), DiskError> {
        disk::remove_if_exists(&path(layout, NAME))?;
        disk::sync_directory(&layout.private)
    }

    /// Whether the hold forbids a build: it is about the build that is served,
    /// and the table has not changed since.
    #[must_use]
    pub fn forbids(&self, served: Option<&str>, content: &ContentHash) -> bool {
        served == Some(self.build.as_str()) && self.content_hash.as_ref() == Some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_hold_is_not_a_missing_hold() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(&folder.path().join("faiss.index"), &folder.path().join("metadata.json"));
        let layout = layout.unwrap();
        let hold = path(&layout, NAME);
        std::fs::create_dir(&layout.private).unwrap();
        assert!(matches!(Hold::load(&layout), Ok((None, None))), "there is none");

        std::fs::write(&hold, "{").unwrap();
        assert!(matches!(Hold::load(&layout), Ok((None, Some(_)))), "a damaged one counts as none");

        std::fs::remove_file(&hold).unwrap();
        std::os::unix::fs::symlink("hold.json", &hold).unwrap();
        let error = Hold::load(&layout).unwrap_err();
        assert_eq!((error.act, error.path), ("open", hold), "a link that leads to itself can never be read");
    }
}
