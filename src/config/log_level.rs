//! The kind of value that `log.level` takes.

use super::ConfigError;
use super::declare::Key;
use super::kinds::{Typed, ValueKind};
use super::origin::Sourced;
use super::paths::Bases;

/// Levels of log lines: one for all, or a list of `target=level`.
pub struct LogLevel;

impl Typed for LogLevel {
    type Written = String;
    type Value = String;
}

impl ValueKind for LogLevel {
    fn check(_: &Key, name: &str, given: &Sourced<String>, _: &Bases<'_>) -> Result<String, ConfigError> {
        const EXPECTED: &str = "off, error, warn, info, debug or trace, or a list such as \
            \"info,reindexd::adapters::watch=debug\"";
        if given.value.split(',').all(|directive| is_directive(directive.trim())) {
            return Ok(given.value.to_lowercase());
        }
        Err(given.refused(name, EXPECTED))
    }

    fn print(value: &String) -> String {
        value.clone()
    }
}

/// A level, or a target with one. A target alone is refused: every typing error would pass for a target.
fn is_directive(text: &str) -> bool {
    let (target, level) = text.split_once('=').map_or((None, text), |(target, level)| (Some(target), level));
    let known = ["off", "error", "warn", "info", "debug", "trace"].contains(&level.to_lowercase().as_str());
    let named = |target: &str| {
        !target.is_empty()
            && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
    };
    known && target.is_none_or(named)
}
