//! The settings in force, and what SIGHUP changes of them.
//!
//! They are replaced as a whole, and only if the new ones are valid. A key that
//! needs a restart keeps its old value, with a warning. Which keys those are is
//! declared in `config`.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use crate::adapters::builds::error_chain;
use crate::adapters::watch::{Watch, WatchSpec};
use crate::config::{self as settings, Config, TriggerSettings};
use crate::logging;

/// The settings in force, which SIGHUP replaces as a whole.
pub(super) type LiveConfig = Arc<RwLock<Arc<Config>>>;

pub(super) fn current(config: &LiveConfig) -> Arc<Config> {
    Arc::clone(&config.read().unwrap_or_else(PoisonError::into_inner))
}

/// Reads the settings again and applies what can be changed without a restart;
/// `None` if nothing changed.
pub(super) fn reload(
    config: &LiveConfig,
    config_file: Option<&Path>,
    watch: &Watch,
) -> Option<TriggerSettings> {
    let loaded = match settings::from_process(config_file, false, true) {
        Ok(loaded) => loaded,
        Err(error) => {
            tracing::error!("settings: refused, the previous ones stay in force: {}", error_chain(&error));
            return None;
        }
    };
    for note in &loaded.notes {
        tracing::warn!("settings: {note}");
    }
    let old = current(config);
    let changes = settings::Changes::between(&old, &loaded.config);
    if !changes.needs_restart.is_empty() {
        let keys = changes.needs_restart.join(", ");
        tracing::warn!("settings: the old values stay in force until a restart: {keys}");
    }
    if changes.is_empty() || changes.live.is_empty() {
        return None;
    }
    tracing::info!("settings: changed: {}", changes.live.join(", "));
    let new = settings::reloaded(&old, &loaded.config);
    watch.retarget(WatchSpec::new(&new.source.database, &new.trigger));
    logging::set_level(&new.log);
    let trigger = new.trigger.clone();
    *config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
    Some(trigger)
}
