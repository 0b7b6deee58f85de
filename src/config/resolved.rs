//! Lays the layers over each other, and records every value in force with its origin.
//!
//! Environment before settings file before default; what the environment does
//! not set, `.env` may have filled in `process_env` already. A [`Resolved`] is
//! filled while the settings are checked, in the order of the file: `reindexd
//! config` prints it, and errors that compare two keys take their places from it.

use std::fmt::{Debug, Display};
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;

use super::ConfigError;
use super::declare::Key;
use super::file::SettingsFile;
use super::key_shape::without_keys;
use super::kinds::{FromVariable, ValueKind};
use super::origin::{Setting, Sourced, ValueOrigin, line_of};
use super::paths::{self, Bases};
use super::process_env::Variables;

/// The layers under a configuration, and what was settled from them so far.
pub(super) struct Resolved<'a> {
    pub(super) variables: &'a Variables<'a>,
    pub(super) bases: Bases<'a>,
    file: Option<&'a SettingsFile>,
    recorded: Vec<(String, String, ValueOrigin)>,
    notes: Vec<String>,
}

impl<'a> Resolved<'a> {
    pub(super) fn new(file: Option<&'a SettingsFile>, variables: &'a Variables<'a>, cwd: &'a Path) -> Self {
        let bases = Bases { cwd, directory: None };
        Self { variables, bases, file, recorded: Vec::new(), notes: Vec::new() }
    }

    /// Takes where the paths of the settings file begin; before any of them is settled.
    pub(super) fn settle_directory(
        &mut self,
        key: &Key,
        raw: Option<&Spanned<String>>,
    ) -> Result<(), ConfigError> {
        let (key, given) = (key.path(), self.written(raw));
        let checked = given.as_ref().map(|given| {
            paths::checked_directory(&given.value).map_err(|expected| given.refused(&key, expected))
        });
        self.bases.directory = checked.transpose()?;
        let shown = self.bases.directory.as_ref().map(|path| path.display().to_string());
        let origin = given.map_or(ValueOrigin::Default, |given| given.origin);
        self.record(key, shown.unwrap_or_else(|| "none".to_owned()), &origin);
        Ok(())
    }

    /// Takes a key's value from the highest layer that has it, checks and records it.
    pub(super) fn settle<K: ValueKind<Written: FromVariable>>(
        &mut self,
        key: &Key,
        raw: Option<&Spanned<K::Written>>,
    ) -> Result<K::Value, ConfigError> {
        let given = match self.variable(key)? {
            Some(given) => given,
            None => self.written(raw).unwrap_or_else(|| default_of(key)),
        };
        self.settle_given::<K>(key, &key.path(), &given)
    }

    /// Checks and records a value under the name by which messages know its key.
    pub(super) fn settle_given<K: ValueKind>(
        &mut self,
        key: &Key,
        name: &str,
        given: &Sourced<K::Written>,
    ) -> Result<K::Value, ConfigError> {
        let value = K::check(key, name, given, &self.bases)?;
        self.record(name, K::print(&value), &given.origin);
        Ok(value)
    }

    /// What a key's variable says.
    pub(super) fn variable<W: FromVariable>(&self, key: &Key) -> Result<Option<Sourced<W>>, ConfigError> {
        let given = key.variable.map(|name| self.variables.get(name)).transpose()?.flatten();
        given.map(|given| from_variable(key, given)).transpose()
    }

    /// What the settings file says about a key.
    pub(super) fn written<W: Clone>(&self, raw: Option<&Spanned<W>>) -> Option<Sourced<W>> {
        let (raw, file) = raw.zip(self.file)?;
        let line = line_of(&file.text, raw.span().start);
        Some(Sourced {
            value: raw.get_ref().clone(),
            origin: ValueOrigin::File { path: file.path.clone(), line },
        })
    }

    /// Records what a key's value is from now on.
    pub(super) fn record(&mut self, name: impl Into<String>, value: impl Display, origin: &ValueOrigin) {
        self.recorded.push((name.into(), value.to_string(), origin.clone()));
    }

    /// The error that a recorded value does not agree with another key.
    pub(super) fn refused(&self, key: &Key, value: impl Debug, expected: String) -> ConfigError {
        let name = key.path();
        let recorded = self.recorded.iter().find(|(settled, ..)| *settled == name);
        let origin = recorded.map_or(ValueOrigin::Default, |(_, _, origin)| origin.clone());
        Sourced { value, origin }.refused(&name, expected)
    }

    /// Adds what the operator should know although it is not an error.
    pub(super) fn note(&mut self, message: String) {
        self.notes.push(message);
    }

    /// Everything recorded, and every note.
    pub(super) fn finish(self) -> (Vec<Setting>, Vec<String>) {
        let settings = self
            .recorded
            .into_iter()
            .map(|(key, value, origin)| {
                let (value, origin) = (without_keys(&value), without_keys(&origin.to_string()));
                Setting { key, value, origin }
            })
            .collect();
        (settings, self.notes)
    }
}

/// A variable's text as a value of its key.
pub(super) fn from_variable<W: FromVariable>(
    key: &Key,
    given: Sourced<String>,
) -> Result<Sourced<W>, ConfigError> {
    match W::from_variable(&given.value) {
        Some(value) => Ok(given.map(|_| value)),
        None => Err(given.refused(&key.path(), W::EXPECTED)),
    }
}

/// The default that a key is declared with.
pub(super) fn default_of<W: DeserializeOwned>(key: &Key) -> Sourced<W> {
    let text = key.default.expect("settled by its declaration, a key has a default");
    let toml = toml::de::ValueDeserializer::parse(text).expect("a default is TOML");
    Sourced::from_default(W::deserialize(toml).expect("a default has the type of its key"))
}
