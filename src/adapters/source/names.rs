//! The names that lead to the database's file, as the system counts them.
//!
//! Nothing is opened. What follows from them is `decide::source_path`'s.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::mounts::is_mount;
use super::scan::resolve;
use crate::decide::source_path::{PathFacts, PathWarning, hidden_changes};

/// What an operator should know of the path to this database; nothing where it leads to no file, which
/// each pass reports.
pub(crate) fn path_warnings(database: &Path) -> Vec<PathWarning> {
    let facts = resolve(database).ok().and_then(|path| facts(&path));
    let hidden = facts.as_ref().map(hidden_changes).unwrap_or_default();
    hidden.into_iter().map(|hidden| PathWarning { database: database.to_owned(), hidden }).collect()
}

fn facts(path: &Path) -> Option<PathFacts> {
    let file = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some(PathFacts { names: file.nlink(), is_mount: is_mount(path) })
}
