//! Rules that span several keys.
//!
//! Each value was checked and recorded by itself before. What depends on the
//! provider is in `embedding`.

use super::declare::Key;
use super::keys::{self, TriggerSettings};
use super::resolved::Resolved;
use super::{Config, ConfigError, duration, paths};

/// A window that closes before the database can have been idle for `quiet` would never build.
pub(super) fn max_wait(trigger: &TriggerSettings, resolved: &Resolved<'_>) -> Result<(), ConfigError> {
    if trigger.max_wait >= trigger.quiet {
        return Ok(());
    }
    let expected = format!("at least trigger.quiet, which is {}", duration::print(trigger.quiet));
    Err(resolved.refused(&keys::trigger::max_wait, duration::print(trigger.max_wait), expected))
}

/// No two paths name the same file, and none a file of the builds.
pub(super) fn path_conflicts(config: &Config, resolved: &Resolved<'_>) -> Result<(), ConfigError> {
    let all: [(&Key, _); 4] = [
        (&keys::publish::index, config.publish.index.as_path()),
        (&keys::source::database, &config.source.database),
        (&keys::trigger::marker, &config.trigger.marker),
        (&keys::publish::metadata, &config.publish.metadata),
    ];
    let whole = all.each_ref().map(|(_, path)| resolved.bases.compared(path));
    let named: Vec<_> = all.iter().zip(&whole).map(|((key, _), path)| (key.path(), path.as_path())).collect();
    match paths::conflict(&named, &whole[0]) {
        None => Ok(()),
        Some((at, expected)) => Err(resolved.refused(all[at].0, all[at].1, expected)),
    }
}
