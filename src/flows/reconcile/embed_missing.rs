//! Embeds the texts of a draft that have no vector, and stores the vectors in the cache.
//!
//! A vector counts as received when the cache has committed it, so that a kill
//! costs at most the requests in flight.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use jiff::Timestamp;

use super::context::{PassContext, PassProgress};
use super::error::PassError;
use super::read_table::TableSummary;
use super::sending::{self, EmbedPlan};
use super::text_sample::KnownText;
use crate::adapters::builds::SpooledText;
use crate::adapters::builds::staging::Drafted;
use crate::adapters::cache::Cache;
use crate::adapters::embed::{
    self, EmbedFailure, EmbedLimits, EmbedProgress, EmbeddedBatch, ProviderWait, SinkError, Task, TextItem,
};
use crate::domain::pass::{Counts, Trigger};
use crate::domain::record::TextHash;

/// A text that a provider takes from anybody.
const PLAIN_WORD: &str = "reindexd";

/// The texts of a draft whose vectors are in the cache now.
#[derive(Debug, Default)]
pub(super) struct CachedTexts {
    pub texts: Vec<TextHash>,
    /// Texts that the provider refused, with its message.
    pub refused: Vec<(TextHash, String)>,
}

/// What is embedded, and for which pass.
pub(super) struct Missing<'a> {
    pub(super) trigger: Trigger,
    pub(super) drafted: &'a Drafted,
    pub(super) table: &'a TableSummary,
}

/// Texts to embed, and what the attempt may do.
struct ToEmbed<'a> {
    items: &'a mut dyn Iterator<Item = io::Result<TextItem>>,
    total: u64,
    limits: EmbedLimits,
    attempt: EmbedPlan,
}

/// Embeds every text that the draft lists. Adds to `counts` what was sent, also if it fails.
pub(super) fn embed_missing(
    context: &PassContext<'_>,
    missing: &Missing<'_>,
    cache: &mut Cache,
    counts: &mut Counts,
) -> Result<CachedTexts, PassError> {
    let Missing { trigger, drafted, table } = *missing;
    if drafted.texts == 0 {
        return Ok(CachedTexts::default());
    }
    let limits = EmbedLimits { witness: witness(drafted, table)?, ..limits(context, table.refusals_allowed) };
    // A text that this pass has embedded before is one of those that it planned.
    let attempt = EmbedPlan { trigger, planned: table.plan.counts.embedded, stores: true };
    let mut items = drafted.spool()?.map(|item| item.map(to_item));
    let to_embed = ToEmbed { items: &mut items, total: drafted.texts, limits, attempt };
    let (sent, ended) = embed(context, to_embed, cache, counts);
    ended.map_err(|failure| PassError::from_embed_failure(failure, |hash| id_of_text(drafted, hash)))?;
    Ok(sent)
}

/// Sends those texts of a draft again that were refused before, each alone: one more refusal is all that is
/// asked of the provider. Gives what came of it also if it fails.
pub(super) fn embed_refused(
    context: &PassContext<'_>,
    missing: &Missing<'_>,
    cache: &mut Cache,
    counts: &mut Counts,
    refused: &HashMap<TextHash, String>,
    retry_budget: Duration,
) -> (CachedTexts, Result<(), PassError>) {
    let Missing { trigger, drafted, table } = *missing;
    let is_refused = |text: &SpooledText| refused.contains_key(&text.hash);
    let find = || {
        let total = drafted.spool()?.flatten().filter(is_refused).count() as u64;
        Ok((total, witness(drafted, table)?, drafted.spool()?))
    };
    let (total, witness, spool) = match find() {
        Ok(found) => found,
        Err(error) => return (CachedTexts::default(), Err(error)),
    };
    if total == 0 {
        return (CachedTexts::default(), Ok(()));
    }
    let limits = EmbedLimits {
        batch_size: 1,
        retry_budget,
        are_refused: true,
        witness,
        ..limits(context, usize::MAX)
    };
    let attempt = EmbedPlan { trigger, planned: total, stores: true };
    let mut items = spool.filter(|item| item.as_ref().map_or(true, is_refused)).map(|item| item.map(to_item));
    let (sent, ended) = embed(context, ToEmbed { items: &mut items, total, limits, attempt }, cache, counts);
    let failed = |failure| PassError::from_embed_failure(failure, |hash| id_of_text(drafted, hash));
    (sent, ended.map_err(failed))
}

/// Embeds texts, and stores their vectors. What came before a failure is in the first part.
fn embed(
    context: &PassContext<'_>,
    to_embed: ToEmbed<'_>,
    cache: &mut Cache,
    counts: &mut Counts,
) -> (CachedTexts, Result<(), EmbedFailure>) {
    let ToEmbed { items, total, limits, attempt } = to_embed;
    let mut texts = Vec::new();
    let mut store = |batch: EmbeddedBatch| {
        cache.store(&batch.hashes, &batch.vectors).map_err(|error| SinkError(Box::new(error)))?;
        texts.extend(batch.hashes);
        Ok(())
    };
    let progress = |now: EmbedProgress| {
        let waiting = now.waiting.as_ref().map(|waiting| described(waiting, (context.clock)()));
        (context.progress)(PassProgress::Embedded { done: now.done, total, waiting: waiting.as_deref() });
    };
    let report = sending::attempt(context, &attempt, counts, |embedder, meter| {
        let limits = EmbedLimits { meter, ..limits };
        let embedding = embed::embed_all(embedder, &limits, items, &mut store, &progress, &context.stop);
        context.runtime.block_on(embedding)
    });
    match report {
        Ok(report) => {
            let refused = report.refused.into_iter().map(|refusal| (refusal.hash, refusal.message)).collect();
            (CachedTexts { texts, refused }, Ok(()))
        }
        Err(failure) => (CachedTexts { texts, refused: Vec::new() }, Err(failure)),
    }
}

fn to_item(text: SpooledText) -> TextItem {
    TextItem { hash: text.hash, text: text.text }
}

/// Embeds a few texts that have a vector already, to compare the two; one that the provider refuses gets
/// none. Nothing is stored. Adds to `counts` what was sent.
pub(super) fn embed_sample(
    context: &PassContext<'_>,
    trigger: Trigger,
    sample: &[KnownText],
    counts: &mut Counts,
) -> Result<Vec<(TextHash, Vec<f32>)>, PassError> {
    let failed = |failure| PassError::from_embed_failure(failure, |_| None);
    let limits = EmbedLimits { witness: PLAIN_WORD.to_owned(), ..limits(context, sample.len()) };
    let item = |known: &KnownText| TextItem { hash: known.hash, text: known.text.clone() };
    let mut items = sample.iter().map(|known| Ok(item(known)));
    let mut vectors = Vec::new();
    let mut keep = |batch: EmbeddedBatch| {
        let floats = batch.vectors.chunks_exact(context.space.dimension).map(<[f32]>::to_vec);
        vectors.extend(batch.hashes.into_iter().zip(floats));
        Ok(())
    };
    let total = sample.len() as u64;
    let progress = |now: EmbedProgress| {
        let waiting = now.waiting.as_ref().map(|waiting| described(waiting, (context.clock)()));
        (context.progress)(PassProgress::Embedded { done: now.done, total, waiting: waiting.as_deref() });
    };
    let attempt = EmbedPlan { trigger, planned: total, stores: false };
    let report = sending::attempt(context, &attempt, counts, |embedder, meter| {
        let limits = EmbedLimits { meter, ..limits };
        let embedding = embed::embed_all(embedder, &limits, &mut items, &mut keep, &progress, &context.stop);
        context.runtime.block_on(embedding)
    });
    report.map_err(failed)?;
    Ok(vectors)
}

/// Embeds judged queries and stores their vectors. Adds to `counts` what was sent, also if it fails.
/// `planned`: texts that the pass embeds in all.
pub(super) fn embed_queries(
    context: &PassContext<'_>,
    trigger: Trigger,
    planned: u64,
    queries: Vec<TextItem>,
    cache: &mut Cache,
    counts: &mut Counts,
) -> Result<(), EmbedFailure> {
    let limits = EmbedLimits { task: Task::Query, witness: PLAIN_WORD.to_owned(), ..limits(context, 0) };
    let total = queries.len() as u64;
    let attempt = EmbedPlan { trigger, planned, stores: true };
    let mut items = queries.into_iter().map(Ok);
    embed(context, ToEmbed { items: &mut items, total, limits, attempt }, cache, counts).1
}

/// Why nothing is sent, until when, and when the attempt gives up.
fn described(waiting: &ProviderWait, now: Timestamp) -> String {
    let at = |time: Duration| format!("{:.0}", now.saturating_add(time).unwrap_or(Timestamp::MAX));
    let gives_up = waiting.gives_up.map(|time| format!("; gives up at {} without a success", at(time)));
    format!("{}; until {}{}", waiting.why, at(waiting.left), gives_up.unwrap_or_default())
}

fn limits(context: &PassContext<'_>, refusals_allowed: usize) -> EmbedLimits {
    let settings = &context.config.embedding;
    EmbedLimits {
        task: Task::Document,
        dimension: context.space.dimension,
        batch_size: settings.batch_size,
        concurrency: settings.concurrency,
        items_per_minute: settings.items_per_minute,
        tokens_per_minute: settings.tokens_per_minute,
        sent: context.sent.clone(),
        retry_budget: settings.retry_budget,
        refusals_allowed,
        are_refused: false,
        witness: String::new(),
        meter: None,
    }
}

/// A text that is not one of the draft: the provider has taken it before, or takes it from anybody.
fn witness(drafted: &Drafted, table: &TableSummary) -> Result<String, PassError> {
    let Some(known) = &table.witness else { return Ok(PLAIN_WORD.to_owned()) };
    let hash = TextHash::of(known);
    // A later row with a text of the draft has no vector either.
    let is_in_draft = drafted.spool()?.flatten().any(|text| text.hash == hash);
    Ok(if is_in_draft { PLAIN_WORD.to_owned() } else { known.clone() })
}

/// The id of the first row with a text, for a message; the texts of the draft are read again for it.
fn id_of_text(drafted: &Drafted, hash: &TextHash) -> Option<String> {
    drafted.spool().ok()?.flatten().find(|text| text.hash == *hash).map(|text| text.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_says_until_when_and_when_the_attempt_gives_up() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let second = Duration::from_secs;
        let wait = ProviderWait {
            why: "status 503".to_owned(),
            wait: second(30),
            left: second(10),
            gives_up: Some(second(600)),
        };
        assert_eq!(
            described(&wait, now),
            "status 503; until 1970-01-12T13:46:50Z; gives up at 1970-01-12T13:56:40Z without a success"
        );
        let unlimited = ProviderWait { gives_up: None, ..wait };
        assert_eq!(described(&unlimited, now), "status 503; until 1970-01-12T13:46:50Z");
    }
}
