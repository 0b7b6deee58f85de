//! The settings in force, and what SIGHUP changes of them.
//!
//! They are replaced as a whole, and only if the new ones are valid. A key that
//! needs a restart keeps its old value, with a warning. Which keys those are is
//! declared in `config`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::adapters::builds::error_chain;
use crate::adapters::watch::{Watch, WatchSpec};
use crate::config::{self as settings, Config, Setting, TriggerSettings};
use crate::logging;

/// The settings in force, which SIGHUP replaces as a whole.
pub(super) type LiveConfig = Arc<SettingsInForce>;

pub(super) struct SettingsInForce {
    config: RwLock<Arc<Config>>,
    /// Every key with its value as it is printed.
    printed: Mutex<Vec<Setting>>,
}

impl SettingsInForce {
    pub(super) fn new(config: Config, printed: Vec<Setting>) -> LiveConfig {
        Arc::new(Self { config: RwLock::new(Arc::new(config)), printed: Mutex::new(printed) })
    }
}

pub(super) fn current(settings: &LiveConfig) -> Arc<Config> {
    Arc::clone(&settings.config.read().unwrap_or_else(PoisonError::into_inner))
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
    let mut printed = config.printed.lock().unwrap_or_else(PoisonError::into_inner);
    let described = |keys: &[String]| settings::described(keys, &printed, &loaded.origins);
    if !changes.needs_restart.is_empty() {
        let keys = described(&changes.needs_restart);
        tracing::warn!("settings: the old values stay in force until a restart: {keys}");
    }
    if changes.is_empty() || changes.live.is_empty() {
        return None;
    }
    tracing::info!("settings: changed: {}", described(&changes.live));
    *printed = settings::printed_in_force(&printed, loaded.origins, &changes.needs_restart);
    drop(printed);
    let new = settings::reloaded(&old, &loaded.config);
    watch.retarget(WatchSpec::new(&new.source.database, &new.trigger));
    logging::set_level(&new.log);
    let trigger = new.trigger.clone();
    *config.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
    Some(trigger)
}
