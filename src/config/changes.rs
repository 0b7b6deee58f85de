//! What a reload may change while the agent runs, and what waits for a restart.
//!
//! Triggers, guards, announcements, logging, pace and `keep` change live. The
//! source, the published paths and the space do not: the served build, the
//! watches and the plan in hand are all made for the old ones, which stay in
//! force. Where the provider waits, its address, key and batch size wait too.

use super::Config;

/// The keys in which two configurations differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In force from now on.
    pub live: Vec<String>,
    /// Not in force before a restart.
    pub needs_restart: Vec<String>,
}

impl Changes {
    /// True where the two configurations are one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.needs_restart.is_empty()
    }
}

/// Sorts the keys in which `new` differs from `old`.
#[must_use]
pub fn changes(old: &Config, new: &Config) -> Changes {
    let (was, is) = (&old.embedding, &new.embedding);
    // These belong to a provider, and must not reach the old one.
    let bound = was.provider != is.provider;
    let restart = [
        ("source.database", old.source.database != new.source.database),
        ("publish.index", old.publish.index != new.publish.index),
        ("publish.metadata", old.publish.metadata != new.publish.metadata),
        ("embedding.provider", was.provider != is.provider),
        ("embedding.model", was.model != is.model),
        ("embedding.dimension", was.dimension != is.dimension),
        ("embedding.task_type", was.task_type != is.task_type),
        // Lines go on in the form in which they began.
        ("log.format", old.log.format != new.log.format),
        ("embedding.base_url", bound && was.base_url != is.base_url),
        ("embedding.api_key", bound && was.api_key != is.api_key),
        ("embedding.batch_size", bound && was.batch_size != is.batch_size),
    ];
    let live = [
        ("trigger.marker", old.trigger.marker != new.trigger.marker),
        ("trigger.on", old.trigger.on != new.trigger.on),
        ("trigger.quiet", old.trigger.quiet != new.trigger.quiet),
        ("trigger.max_wait", old.trigger.max_wait != new.trigger.max_wait),
        ("trigger.marker_quiet", old.trigger.marker_quiet != new.trigger.marker_quiet),
        ("trigger.resync", old.trigger.resync != new.trigger.resync),
        ("trigger.watch", old.trigger.watch != new.trigger.watch),
        ("trigger.poll_interval", old.trigger.poll_interval != new.trigger.poll_interval),
        ("embedding.base_url", !bound && was.base_url != is.base_url),
        ("embedding.api_key", !bound && was.api_key != is.api_key),
        ("embedding.batch_size", !bound && was.batch_size != is.batch_size),
        ("embedding.concurrency", was.concurrency != is.concurrency),
        ("embedding.items_per_minute", was.items_per_minute != is.items_per_minute),
        ("embedding.request_timeout", was.request_timeout != is.request_timeout),
        ("embedding.retry_budget", was.retry_budget != is.retry_budget),
        ("publish.keep", old.publish.keep != new.publish.keep),
        ("guard.max_shrink", old.guard.max_shrink.to_bits() != new.guard.max_shrink.to_bits()),
        ("guard.max_texts", old.guard.max_texts != new.guard.max_texts),
        ("guard.quarantine", old.guard.quarantine != new.guard.quarantine),
        ("announce", old.announce != new.announce),
        ("log.level", old.log.level != new.log.level),
    ];
    Changes { live: named(&live), needs_restart: named(&restart) }
}

/// The configuration to go on with: `new`, but for what waits for a restart.
#[must_use]
pub fn reloaded(old: &Config, new: &Config) -> Config {
    let mut config = new.clone();
    config.source = old.source.clone();
    config.log.format = old.log.format;
    config.publish.index.clone_from(&old.publish.index);
    config.publish.metadata.clone_from(&old.publish.metadata);
    let (to, from) = (&mut config.embedding, &old.embedding);
    if to.provider != from.provider {
        to.provider = from.provider;
        to.base_url.clone_from(&from.base_url);
        to.api_key.clone_from(&from.api_key);
        to.batch_size = from.batch_size;
    }
    to.model.clone_from(&from.model);
    to.dimension = from.dimension;
    to.task_type.clone_from(&from.task_type);
    config
}

fn named(keys: &[(&str, bool)]) -> Vec<String> {
    keys.iter().filter(|(_, differs)| *differs).map(|(key, _)| (*key).to_owned()).collect()
}
