//! Where each value of the settings came from, and how a refused value is reported.
//!
//! [`Sourced`] keeps a value with its [`ValueOrigin`], so that every error about it
//! names file and line, or the variable. Which layer wins is `resolved`'s decision.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::ConfigError;

/// A key in force, as `reindexd config` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The key with its section.
    pub key: String,
    /// The value; `***` for a key, `none` where there is none.
    pub value: String,
    /// `default`, `file PATH`, `environment NAME`, `.env NAME`, `key file PATH` or `credential`.
    pub origin: String,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ValueOrigin {
    Default,
    File { path: PathBuf, line: usize },
    Environment(&'static str),
    DotEnv(&'static str),
    KeyFile(PathBuf),
    Credential,
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, .. } => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::DotEnv(name) => write!(f, ".env {name}"),
            Self::KeyFile(path) => write!(f, "key file {}", path.display()),
            Self::Credential => f.write_str("credential"),
        }
    }
}

/// A value with its origin.
#[derive(Clone, Debug)]
pub(super) struct Sourced<T> {
    pub(super) value: T,
    pub(super) origin: ValueOrigin,
}

impl<T> Sourced<T> {
    pub(super) fn from_default(value: T) -> Self {
        Self { value, origin: ValueOrigin::Default }
    }

    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: f(self.value), origin: self.origin }
    }
}

impl<T: fmt::Debug> Sourced<T> {
    /// The error that `key` does not take this value.
    pub(super) fn refused(&self, key: &str, expected: impl Into<String>) -> ConfigError {
        const MAX_VALUE_CHARS: usize = 120;
        let mut value = format!("{:?}", self.value);
        if value.chars().count() > MAX_VALUE_CHARS {
            value = value.chars().take(MAX_VALUE_CHARS).chain(['…']).collect();
        }
        let origin = match &self.origin {
            ValueOrigin::File { path, line } => format!("{} line {line}", path.display()),
            other => other.to_string(),
        };
        ConfigError::Value { key: key.to_owned(), value, origin, expected: expected.into() }
    }
}

/// The line, counted from 1, of a byte of the text.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_key_value_place_and_expectation() {
        let given = |origin| Sourced { value: "soon".to_owned(), origin };
        for (origin, place) in [
            (ValueOrigin::Default, "default"),
            (ValueOrigin::Environment("X"), "environment X"),
            (ValueOrigin::DotEnv("X"), ".env X"),
            (ValueOrigin::File { path: "a.toml".into(), line: 4 }, "a.toml line 4"),
        ] {
            let message = given(origin).refused("trigger.quiet", "later").to_string();
            assert_eq!(message, format!("trigger.quiet is \"soon\" ({place}), expected later"));
        }
    }

    #[test]
    fn a_long_or_hostile_value_cannot_flood_or_forge_a_line() {
        let given = Sourced { value: format!("a\nb{}", "x".repeat(5000)), origin: ValueOrigin::Default };
        let message = given.refused("k", "less").to_string();
        assert!(message.len() < 300 && !message.contains('\n'), "{message}");
    }

    #[test]
    fn lines_are_counted_from_one() {
        for (at, line) in [(0, 1), (1, 1), (2, 2), (3, 3), (99, 3)] {
            assert_eq!(line_of("a\n\nb", at), line);
        }
    }
}
