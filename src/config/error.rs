//! What can be wrong with the settings.
//!
//! Contents that are wrong, and a file that is named and missing, are settled by
//! an operator alone and belong to exit code 2. A file that could not be read
//! says nothing about its contents: that may pass, as where a disk is
//! mounted late, so it belongs to exit code 1. Either way nothing was read from
//! the source, nothing was written, the served build is still served. A message names file
//! and line, or the variable, then the key, what was found and what was
//! expected. No message holds the content of a key file or of a variable that
//! carries a key, nor anything else that looks like a key.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::key_shape::without_keys;
use crate::domain::pass::ErrorClass;

/// Why the settings cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// `named_by`: the flag or variable that names the file.
    #[error("settings file {} does not exist; it was named by {named_by}", shown(path))]
    Missing { path: PathBuf, named_by: &'static str },
    /// `what`: the purpose of the file.
    #[error("{what} {} cannot be read; nothing is known of what it says, and nothing was done", shown(path))]
    Unreadable { what: &'static str, path: PathBuf, source: io::Error },
    /// `message`: what was found and what was expected, never the content.
    #[error("{what} {} {message}", shown(path))]
    Unusable { what: &'static str, path: PathBuf, message: String },
    /// Not TOML, or a value of the wrong type. `line` counts from 1.
    #[error("{} line {line}: {}", shown(path), without_keys(message))]
    Syntax { path: PathBuf, line: usize, message: String },
    /// `hint`: the nearest known key, or all of them.
    #[error("{} line {line}: unknown key {}; {hint}", shown(path), without_keys(key))]
    UnknownKey { path: PathBuf, line: usize, key: String, hint: String },
    /// `value`: as it was written, cut if it is long. `origin`: file and line, variable, or default.
    #[error("{key} is {} ({}), expected {expected}", without_keys(value), without_keys(origin))]
    Value { key: String, value: String, origin: String, expected: String },
    /// A key without a default has no value.
    #[error("{key} is not set, expected {expected}")]
    Absent { key: String, expected: String },
    /// `message`: as in `Unusable`; the variable may hold a key.
    #[error("environment variable {name} {message}")]
    Variable { name: &'static str, message: String },
}

impl ConfigError {
    /// Who can settle it: an operator by other settings, or time.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unreadable { .. } => ErrorClass::Other,
            Self::Missing { .. }
            | Self::Unusable { .. }
            | Self::Syntax { .. }
            | Self::UnknownKey { .. }
            | Self::Value { .. }
            | Self::Absent { .. }
            | Self::Variable { .. } => ErrorClass::Settings,
        }
    }
}

/// A key may stand where a file's name was expected.
fn shown(path: &Path) -> String {
    without_keys(&path.display().to_string())
}
