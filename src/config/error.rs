//! What can be wrong with the settings.
//!
//! Every variant belongs to exit code 2: nothing was read from the source,
//! nothing was written, whatever was served is still served. A message names
//! the file and line, or the variable, then the key, what stands there and
//! what was expected. No message holds the content of a key file or of a
//! variable that carries a key.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why there are no settings to run with.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A settings file that somebody asked for by name is not there.
    #[error("settings file {} does not exist; it was named by {named_by}", path.display())]
    Missing {
        /// The name as it was given.
        path: PathBuf,
        /// The flag or variable that named it.
        named_by: &'static str,
    },
    /// A file is there but the system does not let us read it.
    #[error("{what} {} cannot be read", path.display())]
    Unreadable {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file can be read but is not what it should be.
    #[error("{what} {} {message}", path.display())]
    Unusable {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected; never the content.
        message: String,
    },
    /// The settings file is not TOML, or a value has the wrong type.
    #[error("{} line {line}: {message}", path.display())]
    Syntax {
        /// The settings file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key where one is concerned, and the fault.
        message: String,
    },
    /// The settings file holds a key that nothing reads.
    #[error("{} line {line}: unknown key {key}; {hint}", path.display())]
    UnknownKey {
        /// The settings file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key with its section.
        key: String,
        /// The nearest known key, or the known ones.
        hint: String,
    },
    /// A value that cannot be worked with.
    #[error("{key} is {value} ({origin}), expected {expected}")]
    Value {
        /// The key with its section.
        key: String,
        /// The value as it was written, cut short where it is long.
        value: String,
        /// The file and line, the variable, or the default.
        origin: String,
        /// What would be accepted.
        expected: String,
    },
    /// A value without a default that nobody gave.
    #[error("{key} is not set, expected {expected}")]
    Absent {
        /// The key with its section.
        key: String,
        /// What would be accepted.
        expected: String,
    },
    /// An environment variable that cannot be worked with; its value is not told.
    #[error("environment variable {name} {message}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What was found, and what was expected; never the content.
        message: String,
    },
}
