//! What a reload changes while the agent runs, and what waits for a restart.
//!
//! Each key says which of the two it does. The source, the published paths and
//! the space wait: the served build, the watches and the running plan are made
//! for the old ones, which stay in force. Where the provider waits, its address,
//! API key and batch size wait too, because they must not reach the old one.

use super::Config;
use super::declare::{Key, Reload};

/// The keys in which two configurations differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In force from now on.
    pub live: Vec<String>,
    /// Not in force before a restart.
    pub needs_restart: Vec<String>,
}

impl Changes {
    /// Sorts the keys in which `new` differs from `old`.
    #[must_use]
    pub fn between(old: &Config, new: &Config) -> Self {
        let differing = [
            old.source.differing(&new.source),
            old.trigger.differing(&new.trigger),
            old.embedding.differing(&new.embedding),
            old.publish.differing(&new.publish),
            old.guard.differing(&new.guard),
            old.log.differing(&new.log),
        ]
        .concat();
        let (waiting, live): (Vec<&Key>, Vec<&Key>) =
            differing.into_iter().partition(|key| waits(key, old, new));
        let names = |keys: Vec<&Key>| {
            keys.into_iter().map(|key| format!("{}.{}", key.section, key.field)).collect::<Vec<_>>()
        };
        let mut live = names(live);
        if old.announce != new.announce {
            live.push("announce".to_owned());
        }
        Self { live, needs_restart: names(waiting) }
    }

    /// True where the two configurations are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.needs_restart.is_empty()
    }
}

/// The configuration to continue with: `new`, but for what waits for a restart.
#[must_use]
pub fn reloaded(old: &Config, new: &Config) -> Config {
    let mut config = new.clone();
    let waits = |key: &Key| waits(key, old, new);
    config.source.keep(&old.source, &waits);
    config.trigger.keep(&old.trigger, &waits);
    config.embedding.keep(&old.embedding, &waits);
    config.publish.keep(&old.publish, &waits);
    config.guard.keep(&old.guard, &waits);
    config.log.keep(&old.log, &waits);
    config
}

fn waits(key: &Key, old: &Config, new: &Config) -> bool {
    match key.reload {
        Reload::Live => false,
        Reload::Restart => true,
        Reload::WithProvider => old.embedding.provider != new.embedding.provider,
    }
}
