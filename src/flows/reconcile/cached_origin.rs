//! Where the vectors of the cache came from, and whether others may stand beside them.
//!
//! A pass that was cut short leaves vectors in the cache. Where the provider's
//! address has changed since, and no build shows that both give the same, some
//! of the cached texts are embedded again first; if they come out otherwise,
//! what is cached is dropped, and every text is embedded at the new address.

use std::collections::BTreeMap;

use super::context::PassContext;
use super::embed_missing::embed_sample;
use super::error::PassError;
use super::read_table::TableSummary;
use super::reuse::VectorSources;
use super::text_sample::TextSample;
use crate::adapters::builds::checked_file::{self, CACHED_FROM};
use crate::adapters::builds::{Builds, error_chain};
use crate::decide::address::{Finding, must_compare};
use crate::domain::pass::{Counts, Trigger};

/// Spaces that are remembered; the cache itself forgets the vectors of unused ones.
const MAX_SPACES: usize = 64;

/// Addresses by the keys of spaces.
type Addresses = BTreeMap<String, String>;

/// Draws cached texts of the scan, where they came from another address than that of the settings.
///
/// # Errors
///
/// [`PassError`] if it is not known where they came from: vectors of two addresses could meet.
pub(super) fn sample(
    context: &PassContext<'_>,
    builds: &Builds,
    sources: &VectorSources,
) -> Result<TextSample, PassError> {
    let recorded = recorded(context, builds)?;
    // Of a damaged record no address is known, and what is cached may come from any.
    let from = recorded.map_or(Some(String::new()), |mut from| from.remove(&context.space.key()));
    let now = context.config.embedding.address();
    if must_compare(from.as_deref(), now.as_deref(), sources.cached().len() as u64) {
        return Ok(TextSample::of_cached(sources.cached()));
    }
    Ok(TextSample::default())
}

/// Compares what the provider gives now with the cached vectors that were drawn. Gives whether they may stand
/// beside each other; else what is cached has been dropped.
pub(super) fn settle(
    context: &PassContext<'_>,
    trigger: Trigger,
    sources: &mut VectorSources,
    table: &TableSummary,
    counts: &mut Counts,
) -> Result<bool, PassError> {
    if table.sample.is_empty() {
        return Ok(true);
    }
    let new = embed_sample(context, trigger, &table.sample, counts)?;
    let mut pairs = Vec::with_capacity(new.len());
    for (hash, new) in &new {
        let mut old = vec![0.0; context.space.dimension];
        sources.cache().vector(hash, &mut old)?;
        pairs.push((old, new));
    }
    let finding = Finding::of(pairs.iter().map(|(old, new)| (old.as_slice(), new.as_slice())));
    if finding.is_same() {
        return Ok(true);
    }
    context.warn(&format!(
        "cached vectors came from another address of the provider, which gives others, and are not used: {}",
        finding.describe()
    ));
    sources.forget_cached()?;
    Ok(false)
}

/// Records where vectors come from that are about to be cached.
///
/// # Errors
///
/// [`PassError`] if it is not known where those before came from: that must not be forgotten.
pub(super) fn record(context: &PassContext<'_>, builds: &Builds) -> Result<(), PassError> {
    let Some(now) = context.config.embedding.address() else { return Ok(()) };
    let mut addresses = recorded(context, builds)?.unwrap_or_default();
    let key = context.space.key();
    if addresses.get(&key) == Some(&now) {
        return Ok(());
    }
    if addresses.len() >= MAX_SPACES {
        addresses.clear();
    }
    addresses.insert(key, now);
    if let Err(error) = checked_file::save(&builds.layout, CACHED_FROM, &addresses) {
        context.warn(&error_chain(&error));
    }
    Ok(())
}

/// Forgets where cached vectors of the space came from, once a build holds them all.
pub(super) fn forget(context: &PassContext<'_>, builds: &Builds) {
    let mut addresses = match recorded(context, builds) {
        Ok(addresses) => addresses.unwrap_or_default(),
        Err(error) => return context.warn(&error.to_line()),
    };
    if addresses.remove(&context.space.key()).is_none() {
        return;
    }
    let layout = &builds.layout;
    let saved = if addresses.is_empty() {
        checked_file::forget(layout, CACHED_FROM)
    } else {
        checked_file::save(layout, CACHED_FROM, &addresses)
    };
    if let Err(error) = saved {
        context.warn(&error_chain(&error));
    }
}

/// What the file says, which is empty where there is none; `None` where it is damaged.
fn recorded(context: &PassContext<'_>, builds: &Builds) -> Result<Option<Addresses>, PassError> {
    let (addresses, warning) = checked_file::load::<Addresses>(&builds.layout, CACHED_FROM)?;
    let Some(warning) = warning else { return Ok(Some(addresses.unwrap_or_default())) };
    context.warn(&warning);
    Ok(addresses)
}
