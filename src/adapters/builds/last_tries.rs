//! When refused texts were sent last: `.reindexd/quarantine.json`.
//!
//! Written under the pass lock, before the texts are sent: a crash costs a
//! row one daily try, and sends no text twice. What is due is
//! `decide::retries`' decision.

use super::disk_error::DiskError;
use super::json_file::{self, path};
use super::layout::Layout;
use crate::decide::retries::LastTries;

const NAME: &str = "quarantine";

/// Reads the file; a damaged one counts as empty, with a warning.
///
/// # Errors
///
/// [`DiskError`] if it cannot be read.
pub fn load(layout: &Layout) -> Result<(LastTries, Option<String>), DiskError> {
    json_file::read(&path(layout, NAME))
}

/// Replaces the file.
///
/// # Errors
///
/// [`DiskError`] if it cannot be replaced: then nothing is sent.
pub fn save(layout: &Layout, tries: &LastTries) -> Result<(), DiskError> {
    json_file::save(&path(layout, NAME), tries)
}
