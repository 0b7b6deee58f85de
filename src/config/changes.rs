//! What a reload changes while the agent runs, and what waits for a restart.
//!
//! Each key says which of the two it does. The source, the published paths and
//! the space wait: the served build, the watches and the running plan are made
//! for the old ones, which stay in force. Where the provider waits, its address,
//! API key and batch size wait too, because they must not reach the old one.

use super::Config;
use super::declare::{Key, Reload};
use super::origin::Setting;

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
            old.document.differing(&new.document),
            old.trigger.differing(&new.trigger),
            old.embedding.differing(&new.embedding),
            old.publish.differing(&new.publish),
            old.guard.differing(&new.guard),
            old.evaluate.differing(&new.evaluate),
            old.search.differing(&new.search),
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

/// These keys with their values before and after, as they are printed; those of secrets are not.
#[must_use]
pub fn described(keys: &[String], old: &[Setting], new: &[Setting]) -> String {
    let all: Vec<String> = keys.iter().flat_map(|key| described_key(key, old, new)).collect();
    all.join(", ")
}

fn described_key(key: &str, old: &[Setting], new: &[Setting]) -> Vec<String> {
    // Announcements are compared as a whole, and printed value by value.
    let is_of_key =
        |name: &str| name == key || name.strip_prefix(key).is_some_and(|rest| rest.starts_with('['));
    let value = |settings: &[Setting], name: &str| {
        settings
            .iter()
            .find(|setting| setting.key == name)
            .map_or("none", |setting| &setting.value)
            .to_owned()
    };
    let added = new.iter().filter(|setting| !old.iter().any(|known| known.key == setting.key));
    let names = old.iter().chain(added).map(|setting| setting.key.as_str()).filter(|name| is_of_key(name));
    let pairs = names.map(|name| (name, value(old, name), value(new, name)));
    let lines: Vec<String> = pairs
        .filter(|(name, before, after)| before != after || *name == key)
        .map(|(name, before, after)| {
            if before == after {
                format!("{name} (another value, which is not shown)")
            } else {
                format!("{name} from {before} to {after}")
            }
        })
        .collect();
    if lines.is_empty() { vec![key.to_owned()] } else { lines }
}

/// What is printed of the settings in force: `new`, but for the keys that wait for a restart.
#[must_use]
pub fn printed_in_force(old: &[Setting], new: Vec<Setting>, waiting: &[String]) -> Vec<Setting> {
    let in_force = |setting: Setting| {
        let kept = waiting.contains(&setting.key).then(|| old.iter().find(|one| one.key == setting.key));
        kept.flatten().cloned().unwrap_or(setting)
    };
    new.into_iter().map(in_force).collect()
}

/// The configuration to continue with: `new`, but for what waits for a restart.
#[must_use]
pub fn reloaded(old: &Config, new: &Config) -> Config {
    let mut config = new.clone();
    let waits = |key: &Key| waits(key, old, new);
    config.source.keep(&old.source, &waits);
    config.document.keep(&old.document, &waits);
    config.trigger.keep(&old.trigger, &waits);
    config.embedding.keep(&old.embedding, &waits);
    config.publish.keep(&old.publish, &waits);
    config.guard.keep(&old.guard, &waits);
    config.evaluate.keep(&old.evaluate, &waits);
    config.search.keep(&old.search, &waits);
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
