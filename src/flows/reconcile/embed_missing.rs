//! Buys the texts that a draft set aside, straight into the cache.
//!
//! A vector counts as bought when the cache has committed it, so that a kill
//! costs at most the requests in flight.

use super::read_table::TableSummary;
use super::{PassContext, PassError, PassProgress};
use crate::adapters::builds::staging::Drafted;
use crate::adapters::cache::Cache;
use crate::adapters::embed::{self, EmbedLimits, SinkError, TextItem};
use crate::domain::record::TextHash;

/// What a purchase came to.
#[derive(Debug, Default)]
pub(super) struct CachedTexts {
    /// Texts whose vectors are in the cache now.
    pub texts: Vec<TextHash>,
    /// Requests sent.
    pub requests: u64,
    /// Texts that the provider would not take, with its words.
    pub refused: Vec<(TextHash, String)>,
}

/// Buys every text of a draft.
pub(super) fn embed_texts(
    world: &PassContext<'_>,
    drafted: &Drafted,
    survey: &TableSummary,
    cache: &mut Cache,
) -> Result<CachedTexts, PassError> {
    let total = drafted.texts;
    if total == 0 {
        return Ok(CachedTexts::default());
    }
    let failed = |error| embed::EmbedFailure { error, texts: 0, requests: 0 };
    let row = |hash: &TextHash| id_of_text(drafted, hash);
    let embedder = (world.embedder)().map_err(|error| PassError::from_embed_failure(failed(error), row))?;
    let settings = &world.config.embedding;
    let terms = EmbedLimits {
        dimension: world.space.dimension,
        batch_size: settings.batch_size,
        concurrency: settings.concurrency,
        items_per_minute: settings.items_per_minute,
        sent: world.sent.clone(),
        retry_budget: settings.retry_budget,
        refusals_allowed: survey.refusals_allowed,
    };
    let mut items =
        drafted.spool()?.map(|item| item.map(|text| TextItem { hash: text.hash, text: text.text }));
    let mut texts = Vec::new();
    let mut arrived = |batch: embed::EmbeddedBatch| {
        cache.store(&batch.hashes, &batch.vectors).map_err(|error| SinkError(Box::new(error)))?;
        texts.extend(batch.hashes);
        Ok(())
    };
    let progress = |now: embed::EmbedProgress| {
        let waiting = now.waiting.as_ref().map(|waiting| waiting.why.as_str());
        (world.progress)(PassProgress::Embedded { done: now.done, total, waiting });
    };
    let purchase = embed::embed_all(embedder, &terms, &mut items, &mut arrived, &progress, &world.stop);
    let bought =
        world.runtime.block_on(purchase).map_err(|error| PassError::from_embed_failure(error, row))?;
    let refused = bought.refused.into_iter().map(|refusal| (refusal.hash, refusal.message)).collect();
    Ok(CachedTexts { texts, requests: bought.requests, refused })
}

/// The id of the first row with a text, for a message; the spool is read again for it.
fn id_of_text(drafted: &Drafted, hash: &TextHash) -> Option<String> {
    drafted.spool().ok()?.flatten().find(|text| text.hash == *hash).map(|text| text.id)
}
