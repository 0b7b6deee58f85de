//! Which vectors can be reused: those of the served build, other kept builds and the cache.
//!
//! All are of the space of the settings. An index is checked against its
//! manifest before a vector is taken from it. Which of them a plan uses is
//! decided by `decide::plan`; the vectors that are missing come from
//! `embed_missing`.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::context::{PassContext, PassOptions};
use super::error::PassError;
use super::prepare::Prepared;
use super::read_table::TableSummary;
use crate::adapters::builds::staging::{BuildContent, Drafted, Sealed};
use crate::adapters::builds::{Build, Doubt, KeptBuilds, Proof, error_chain};
use crate::adapters::cache::Cache;
use crate::decide::address::agree;
use crate::decide::plan::{Plan, Planner, Reusable};
use crate::domain::parallel::SpawnedTask;
use crate::domain::record::TextHash;
use crate::domain::row_hashes::RowHashes;
use crate::domain::stop::Stopped;

/// Bytes of an index that take longer to check than a thread takes to start.
const MIN_BYTES_FOR_THREAD: u64 = 1 << 20;

/// Every vector that can be reused.
pub(super) struct VectorSources {
    builds: Vec<BuildRows>,
    cached: HashSet<TextHash>,
    /// Of these, what this pass has embedded.
    embedded: HashSet<TextHash>,
    cache: Cache,
}

/// A kept build with the hashes of its rows.
pub(super) struct BuildRows {
    build: Build,
    rows: Arc<Vec<RowHashes>>,
}

/// A check that goes on while the rows are read. Dropped, it is stopped.
pub(super) type EarlyIndexCheck = SpawnedTask<Result<Proof<()>, Stopped>>;

/// A build of which a plan cannot take vectors after all.
pub(super) enum Unusable {
    Damaged { id: String, why: String },
    NotKnown { id: String, doubt: Doubt },
}

impl Unusable {
    /// The pass goes on without the build; gives why it may be whole all the same.
    ///
    /// # Errors
    ///
    /// [`PassError`] if it is the served build, and that is not known to be damaged.
    pub(super) fn exclude(
        self,
        context: &PassContext<'_>,
        prepared: &mut Prepared,
    ) -> Result<Option<Doubt>, PassError> {
        match self {
            Self::Damaged { id, why } => {
                prepared.exclude(id, &why);
                Ok(None)
            }
            Self::NotKnown { id, doubt } if prepared.id() == Some(&id) => Err(doubt.into()),
            Self::NotKnown { id, doubt } => {
                prepared.doubt(context, id, &doubt);
                Ok(Some(doubt))
            }
        }
    }
}

impl BuildRows {
    pub(super) fn build_and_rows(&self) -> (&Build, &Arc<Vec<RowHashes>>) {
        (&self.build, &self.rows)
    }
}

impl VectorSources {
    /// Finds them: the served build first, then the others, newest first. To embed every text again,
    /// nothing is reused but what one that was cut short had embedded, and this pass has; of vectors that
    /// stand apart, what is cached.
    pub(super) fn find(
        context: &PassContext<'_>,
        options: &PassOptions,
        prepared: &Prepared,
        embedded: &HashSet<TextHash>,
        is_apart: bool,
    ) -> Result<Self, PassError> {
        let now = (context.clock)().as_second();
        let path = prepared.builds.layout.cache();
        let (cache, warning) = if options.embed_again {
            let address = context.config.embedding.address();
            Cache::open_rebuy(&path, &context.space, now, prepared.id(), address.as_deref())?
        } else {
            Cache::open(&path, &context.space, now)?
        };
        if let Some(warning) = warning {
            context.warn(&warning);
        }
        let cached = cache.hashes();
        // What the cache has of vectors that stand apart was embedded since that was accepted.
        let has_none = options.embed_again || is_apart;
        let builds = if has_none { Vec::new() } else { reusable_builds(context, prepared)? };
        if let Some(began) = cache.rebuy_began().filter(|_| embedded.is_empty()) {
            context.warn(&goes_on(cached.len(), began));
        }
        Ok(Self { builds, cached, embedded: embedded.clone(), cache })
    }

    pub(super) fn planner<'a>(&'a self, prepared: &'a Prepared) -> Planner<'a> {
        planner(prepared, &self.builds, &self.cached, &self.embedded)
    }

    /// Starts to check the index of the likeliest build while the rows are read: nearly every plan takes
    /// vectors from it.
    pub(super) fn start_index_check(&self, context: &PassContext<'_>) -> Option<EarlyIndexCheck> {
        let build = self.builds.first()?.build.clone();
        let is_worth_it = build.manifest.files.index.bytes >= MIN_BYTES_FOR_THREAD;
        is_worth_it
            .then(|| SpawnedTask::start("check-index", &context.stop, move |stop| build.prove_index(stop)))
    }

    /// Checks the indexes that a plan takes vectors from; gives the first that is not known to be whole.
    pub(super) fn find_unusable(
        &self,
        context: &PassContext<'_>,
        plan: &Plan,
        mut early: Option<EarlyIndexCheck>,
    ) -> Result<Option<Unusable>, Stopped> {
        for &nth in &plan.builds_used {
            let build = &self.builds[usize::from(nth)].build;
            let proof = match early.take_if(|_| nth == 0) {
                Some(check) => check.join(),
                None => build.prove_index(&context.stop),
            };
            let id = build.manifest.id.clone();
            match proof? {
                Proof::Whole(()) => {}
                Proof::Damaged(why) => return Ok(Some(Unusable::Damaged { id, why })),
                Proof::NotKnown(doubt) => return Ok(Some(Unusable::NotKnown { id, doubt })),
            }
        }
        Ok(None)
    }

    /// The builds that a plan takes vectors from.
    pub(super) fn used_by(&self, plan: &Plan) -> Vec<&str> {
        let id = |nth: &u16| self.builds[usize::from(*nth)].build.manifest.id.as_str();
        plan.builds_used.iter().map(id).collect()
    }

    /// Whether vectors of the space are in the cache now.
    pub(super) fn has_cached(&self) -> bool {
        !self.cache.hashes().is_empty()
    }

    pub(super) fn cached(&self) -> &HashSet<TextHash> {
        &self.cached
    }

    pub(super) fn builds(&self) -> &[BuildRows] {
        &self.builds
    }

    /// Where the vectors of a plan came from. It changes to that of the settings only where something is
    /// embedded, which was compared before.
    pub(super) fn address_of(&self, plan: &Plan, embedded: u64, settings: Option<String>) -> Option<String> {
        match plan.builds_used.first() {
            Some(first) if embedded == 0 => self.builds[usize::from(*first)].build.manifest.address.clone(),
            _ => settings,
        }
    }

    /// Where embedded vectors are stored.
    pub(super) fn cache(&mut self) -> &mut Cache {
        &mut self.cache
    }

    /// Removes what is cached of the space.
    pub(super) fn forget_cached(&mut self) -> Result<(), PassError> {
        self.cache.remove(&|_| true)?;
        Ok(())
    }

    /// Writes index and hashes; by now every vector is in a build or in the cache.
    pub(super) fn seal(
        &mut self,
        context: &PassContext<'_>,
        drafted: Drafted,
        table: &TableSummary,
    ) -> Result<Sealed, PassError> {
        let sources: Vec<&Build> = self.builds.iter().map(|source| &source.build).collect();
        let cache = &mut self.cache;
        let to_seal = BuildContent {
            rows: &table.rows,
            origins: &table.plan.origins,
            sources: &sources,
            dimension: context.space.dimension,
        };
        drafted.seal(&to_seal, &mut |text, out| Ok(cache.vector(text, out)?), &context.stop)
    }

    /// The pass ends well: what the cache has kept for its time may leave. A failure is logged.
    pub(super) fn record_good_end(&mut self, context: &PassContext<'_>) {
        if let Err(error) = self.cache.record_good_end() {
            context.warn(&error_chain(&error));
        }
    }

    /// Removes from the cache what the new build has. A failure costs only disk space, and is logged.
    pub(super) fn drop_indexed(&mut self, context: &PassContext<'_>, rows: &[RowHashes], has_embedded: bool) {
        let is_rebuy = self.cache.end_rebuy().unwrap_or_else(|error| {
            context.warn(&error_chain(&error));
            true
        });
        if self.cached.is_empty() && !has_embedded && !is_rebuy {
            return;
        }
        let indexed: HashSet<TextHash> = rows.iter().map(|row| row.text).collect();
        if let Err(error) = self.cache.remove(&|text| indexed.contains(text)) {
            context.warn(&error_chain(&error));
        }
    }
}

fn goes_on(vectors: usize, began: i64) -> String {
    let began =
        Timestamp::from_second(began).map_or_else(|_| "an unknown time".to_owned(), |at| at.to_string());
    format!("the --rebuy that began at {began} goes on: {vectors} vectors that it had embedded are used")
}

/// The kept builds of the space with their rows, the served one first.
pub(super) fn reusable_builds(
    context: &PassContext<'_>,
    prepared: &Prepared,
) -> Result<Vec<BuildRows>, PassError> {
    let is_served = |build: &Build| prepared.id() == Some(&build.manifest.id);
    let KeptBuilds { whole: mut kept, not_known, .. } = prepared.builds.kept()?;
    let mut doubt = not_known.into_iter().map(|(_, doubt)| doubt).next();
    kept.retain(|build| {
        build.manifest.space.as_ref() == Some(&context.space)
            && !prepared.excluded().contains(&build.manifest.id)
    });
    // The served one first, then the newest.
    kept.sort_by_key(|build| !is_served(build));
    let address = kept.first().and_then(|first| first.manifest.address.clone());
    kept.retain(|build| agree(build.manifest.address.as_deref(), address.as_deref()));
    let mut reusable = Vec::with_capacity(kept.len());
    for build in kept {
        let is_read = is_served(&build) && !prepared.rows().is_empty();
        let rows =
            if is_read { Proof::Whole(Arc::clone(prepared.rows())) } else { build.rows().map(Arc::new) };
        match rows {
            Proof::Whole(rows) => reusable.push(BuildRows { build, rows }),
            // Nothing can be reused of a build whose rows are damaged; `verify` says why.
            Proof::Damaged(_) => {}
            Proof::NotKnown(found) => doubt = doubt.or(Some(found)),
        }
    }
    // Without the served build, what is not known may be all there is.
    let has_served = reusable.first().is_some_and(|first| is_served(&first.build));
    match doubt {
        Some(doubt) if !has_served => Err(doubt.into()),
        Some(_) | None => Ok(reusable),
    }
}

/// A planner that knows these vectors.
pub(super) fn planner<'a>(
    prepared: &'a Prepared,
    builds: &'a [BuildRows],
    cached: &'a HashSet<TextHash>,
    embedded: &'a HashSet<TextHash>,
) -> Planner<'a> {
    let builds = builds.iter().map(|build| build.rows.as_slice()).collect();
    let served_records = prepared.records().unwrap_or_default();
    Planner::new(prepared.rows(), served_records, Reusable { builds, cached, embedded })
}
