//! What is watched, as the settings name it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{self, WatchMode};

/// What to watch, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchSpec {
    /// The database, as the settings name it.
    pub(crate) database: PathBuf,
    pub(crate) marker: PathBuf,
    pub(crate) mode: WatchMode,
    /// How often to poll, and to compare directories.
    pub(crate) poll_interval: Duration,
}

impl WatchSpec {
    /// What the settings say.
    #[must_use]
    pub(crate) fn new(database: &Path, settings: &config::TriggerSettings) -> Self {
        Self {
            database: database.to_owned(),
            marker: settings.marker.clone(),
            mode: settings.watch,
            poll_interval: settings.poll_interval,
        }
    }
}
