//! The judged queries of a pass: read once, embedded once in seven days.
//!
//! Their vectors are cached under the space and what is sent beside a question.
//! A `--rebuy` embeds them again as well, since it asks whether the model is
//! still the same; until its build is served they stand apart, and what is
//! served is asked with those of before.

use std::collections::HashSet;
use std::path::Path;

use super::address_check::compare;
use super::context::PassContext;
use super::embed_missing::embed_queries;
use super::error::PassError;
use super::reuse::VectorSources;
use super::text_sample::{KnownText, TextSample};
use crate::adapters::builds::error_chain;
use crate::adapters::builds::history::History;
use crate::adapters::cache::{Cache, CacheError, QueryKey, stored_queries};
use crate::adapters::embed::{EmbedError, EmbedFailure, TextItem};
use crate::adapters::judged;
use crate::domain::evaluate::{JudgedQueries, Places};
use crate::domain::pass::{Counts, Retry, Trigger};
use crate::domain::record::TextHash;

/// Queries without a record that a warning names.
const MAX_NAMED: usize = 10;

/// The judged queries that the settings name.
pub(super) struct Judging {
    pub(super) judged: JudgedQueries,
    /// Of each query's text.
    hashes: Vec<TextHash>,
    /// Where the vectors of a build of this pass are.
    key: QueryKey,
    /// Where those of other passes are.
    usual: QueryKey,
}

impl Judging {
    /// Reads them; `None` where nothing is measured.
    pub(super) fn read(context: &PassContext<'_>, is_rebuy: bool) -> Result<Option<Self>, PassError> {
        let Some((queries, qrels)) = context.config.evaluate.files() else { return Ok(None) };
        let judged = judged::read(queries, qrels)?;
        let hashes = judged.queries.iter().map(|query| TextHash::of(&query.text)).collect();
        let embedding = &context.config.embedding;
        let address = embedding.address();
        let key = |is_rebuy| QueryKey::new(&context.space, &embedding.query, address.as_deref(), is_rebuy);
        Ok(Some(Self { judged, hashes, key: key(is_rebuy), usual: key(false) }))
    }

    /// How many texts must be embedded, of what the cache has now.
    pub(super) fn missing(&self, cache: &mut Cache) -> Result<u64, PassError> {
        Ok(self.texts_missing(&cache.queries(self.key)?.fresh()?).len() as u64)
    }

    /// The same, read without a lock.
    pub(super) fn missing_for_preview(
        &self,
        context: &PassContext<'_>,
        cache: &Path,
    ) -> Result<u64, PassError> {
        let now = (context.clock)().as_second();
        let stored: HashSet<TextHash> = stored_queries(cache, self.key, now)?.into_keys().collect();
        Ok(self.texts_missing(&stored).len() as u64)
    }

    /// The vectors of all queries, read without a lock; `None` if one is missing.
    pub(super) fn stored_vectors(
        &self,
        context: &PassContext<'_>,
        cache: &Path,
    ) -> Result<Option<Vec<f32>>, PassError> {
        let stored = stored_queries(cache, self.key, (context.clock)().as_second())?;
        let all: Option<Vec<&Vec<f32>>> = self.hashes.iter().map(|hash| stored.get(hash)).collect();
        Ok(all.map(|all| all.into_iter().flatten().copied().collect()))
    }

    /// The queries whose texts are not among these, each text once.
    fn texts_missing(&self, known: &HashSet<TextHash>) -> Vec<usize> {
        let mut seen = known.clone();
        let all = self.hashes.iter().enumerate();
        all.filter(|(_, hash)| seen.insert(**hash)).map(|(nth, _)| nth).collect()
    }

    /// Draws texts of the build that most vectors come from, where vectors of queries are seven days old.
    pub(super) fn sample(&self, sources: &mut VectorSources) -> Result<TextSample, PassError> {
        let queries = sources.cache().queries(self.key)?;
        let (stored, fresh) = (queries.hashes(), queries.fresh()?);
        drop(queries);
        let has_old = self.hashes.iter().any(|hash| stored.contains(hash) && !fresh.contains(hash));
        let build = sources.builds().first().filter(|_| has_old);
        Ok(build.map_or_else(TextSample::default, |build| TextSample::of_texts(build.build_and_rows().1)))
    }

    /// Embeds those that have no vector. With them the texts that were drawn, to see whether the model is
    /// still the same.
    pub(super) fn embed(
        &self,
        context: &PassContext<'_>,
        trigger: Trigger,
        sample: &[KnownText],
        sources: &mut VectorSources,
        counts: &mut Counts,
    ) -> Result<(), PassError> {
        self.embed_missing(context, trigger, sources.cache(), counts)?;
        let build = sources.builds().first().filter(|_| !sample.is_empty());
        let Some((build, _)) = build.map(super::reuse::BuildRows::build_and_rows) else { return Ok(()) };
        let finding = compare(context, trigger, build, sample, counts)?;
        if !finding.is_same() {
            context.warn(&format!(
                "the provider has another model behind the name: queries were embedded again after seven \
                 days, and {}; what is served answers worse until `reindexd build --rebuy` embeds every text \
                 again",
                finding.describe()
            ));
        }
        Ok(())
    }

    /// Embeds those that have no vector.
    pub(super) fn embed_missing(
        &self,
        context: &PassContext<'_>,
        trigger: Trigger,
        cache: &mut Cache,
        counts: &mut Counts,
    ) -> Result<(), PassError> {
        let mut cache = cache.queries(self.key)?;
        let missing = self.texts_missing(&cache.fresh()?);
        if missing.is_empty() {
            return Ok(());
        }
        let item =
            |nth: usize| TextItem { hash: self.hashes[nth], text: self.judged.queries[nth].text.clone() };
        let items: Vec<TextItem> = missing.into_iter().map(item).collect();
        let planned = counts.embedded + items.len() as u64;
        let sent = embed_queries(context, trigger, planned, items, &mut cache, counts);
        sent.map_err(|failure| self.failed(failure, counts))
    }

    /// What a failure says. A query that is refused fails the pass as one that may succeed later: the file
    /// may be changed at any time.
    fn failed(&self, failure: EmbedFailure, counts: &Counts) -> PassError {
        let refused = match &failure.error {
            EmbedError::TextRefused { hash, message } => Some((*hash, message.clone())),
            _ => None,
        };
        match PassError::from_embed_failure(failure, |_| None) {
            PassError::Embed { message, retry, class, requests, .. } => {
                let (message, retry) = match refused {
                    Some((hash, why)) => {
                        let at = self.hashes.iter().position(|known| *known == hash);
                        let id = at.map_or("", |at| self.judged.queries[at].id.as_str());
                        let message = format!(
                            "the provider refuses the judged query {id:?}: {why}; change it in \
                             evaluate.queries"
                        );
                        (message, Retry::Soon { wait: None })
                    }
                    None => (format!("judged queries cannot be embedded: {message}"), retry),
                };
                PassError::Embed { message, retry, class, texts: counts.embedded, requests }
            }
            other => other,
        }
    }

    /// The vectors for a build of this pass, one after the other.
    pub(super) fn vectors(&self, cache: &mut Cache) -> Result<Vec<f32>, PassError> {
        self.read_vectors(cache, self.key)
    }

    /// The vectors for what is served. Where none of before are known, it is asked with the same.
    pub(super) fn vectors_for_served(&self, cache: &mut Cache) -> Result<Vec<f32>, PassError> {
        let stored = cache.queries(self.usual)?.hashes();
        let is_known = self.hashes.iter().all(|hash| stored.contains(hash));
        self.read_vectors(cache, if is_known { self.usual } else { self.key })
    }

    fn read_vectors(&self, cache: &mut Cache, key: QueryKey) -> Result<Vec<f32>, PassError> {
        let mut cache = cache.queries(key)?;
        let dimension = cache.dimension();
        let mut vectors = vec![0.0; self.hashes.len() * dimension];
        for (hash, out) in self.hashes.iter().zip(vectors.chunks_exact_mut(dimension)) {
            cache.vector(hash, out)?;
        }
        Ok(vectors)
    }

    /// The build is served: its queries are those of every pass, and others are dropped. A failure costs a
    /// few texts, and is logged.
    pub(super) fn after_promotion(&self, context: &PassContext<'_>, cache: &mut Cache) {
        if let Err(error) = self.settle(cache) {
            context.warn(&error_chain(&error));
        }
    }

    fn settle(&self, cache: &mut Cache) -> Result<(), PassError> {
        if self.key != self.usual {
            let vectors = self.read_vectors(cache, self.key)?;
            cache.queries(self.usual)?.store(&self.hashes, &vectors)?;
            cache.queries(self.key)?.remove(&|_| true)?;
        }
        let asked: HashSet<TextHash> = self.hashes.iter().copied().collect();
        let dropped: Result<u64, CacheError> =
            cache.queries(self.usual)?.remove(&|text| !asked.contains(text));
        dropped?;
        Ok(())
    }

    /// Warns of queries of which a build has no record, unless the last warning was of the same.
    pub(super) fn warn_once(&self, context: &PassContext<'_>, history: &mut History, places: &Places) {
        let without = places.without_record(&self.judged);
        let digest = (!without.is_empty())
            .then(|| blake3::hash(without.join("\n").as_bytes()).to_hex()[..16].to_owned());
        if history.queries_without_record == digest {
            return;
        }
        history.queries_without_record = digest;
        if without.is_empty() {
            return;
        }
        let more = without.len().saturating_sub(MAX_NAMED);
        let named: Vec<String> = without.iter().take(MAX_NAMED).map(|id| format!("{id:?}")).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        context.warn(&format!(
            "of {} judged queries {} have no record in the table that answers them, and count as not \
             answered: {}{more}",
            self.judged.queries.len(),
            without.len(),
            named.join(", ")
        ));
    }
}
