//! From a draft whose vectors all exist to the served build: index, verify, evaluate, promote.
//!
//! A stop is checked once more before the promotion, which nothing interrupts.

use super::cached_origin;
use super::context::{PassContext, PassOptions};
use super::error::PassError;
use super::evaluate::Questioning;
use super::prepare::Prepared;
use super::quarantine::with_since;
use super::read_table::TableSummary;
use super::reuse::VectorSources;
use super::stopwatch::Stopwatch;
use crate::adapters::builds::index;
use crate::adapters::builds::promote::PromoteError;
use crate::adapters::builds::staging::Drafted;
use crate::adapters::builds::verify::Verified;
use crate::domain::evaluate::Evaluation;
use crate::domain::manifest::{MANIFEST_FORMAT, Manifest, SourceFacts};
use crate::domain::pass::{Counts, PromotedBy, Stage, Timings};
use crate::domain::record::ScanHash;

/// What a new build is made of.
pub(super) struct PlannedContent {
    pub(super) scan_hash: ScanHash,
    pub(super) table: TableSummary,
    /// Whether the texts that were drawn show if the model is still the same.
    pub(super) is_of_model: bool,
    pub(super) counts: Counts,
}

/// A draft on disk and all its vectors.
pub(super) struct PlannedBuild<'a> {
    pub(super) contents: PlannedContent,
    pub(super) drafted: Drafted,
    pub(super) sources: VectorSources,
    /// Whether this pass has put vectors into the cache.
    pub(super) has_embedded: bool,
    /// The judged queries, if there are any.
    pub(super) questioning: Option<Questioning<'a>>,
}

/// How the vectors of a build were made.
struct Made {
    timings: Timings,
    /// Where they came from.
    address: Option<String>,
    evaluation: Option<Evaluation>,
}

/// Serves a new build.
pub(super) fn publish(
    context: &PassContext<'_>,
    options: &PassOptions,
    prepared: &mut Prepared,
    stopwatch: &mut Stopwatch,
    build: PlannedBuild<'_>,
) -> Result<(), PassError> {
    let PlannedBuild { contents, drafted, mut sources, has_embedded, mut questioning } = build;
    stopwatch.enter(context, Stage::Index);
    let sealed = sources.seal(context, drafted, &contents.table)?;
    stopwatch.lap();

    stopwatch.enter(context, Stage::Verify);
    let verified = sealed.verify(&context.stop)?;
    context.stop.check()?;
    stopwatch.lap();

    let mut evaluation = None;
    if let Some(questioning) = &mut questioning {
        stopwatch.enter(context, Stage::Evaluate);
        let (rows, cache) = (&contents.table.rows, sources.cache());
        evaluation = Some(questioning.evaluate(context, prepared, &verified, rows, cache)?);
        context.stop.check()?;
        stopwatch.lap();
    }

    stopwatch.enter(context, Stage::Promote);
    let timings = stopwatch.timings().before_promotion();
    let settings = context.config.embedding.address();
    let address = sources.address_of(&contents.table.plan, contents.counts.embedded, settings);
    let made = Made { timings, address, evaluation };
    let manifest = manifest(context, options, prepared, &verified, &contents, made);
    let now = context.now();
    sources.cache().record_rebuy_build(&manifest.id)?;
    let promoted = verified.promote(&prepared.builds, &manifest, now.at);
    if !matches!(promoted, Err(PromoteError::NotPromoted(_))) {
        prepared.history.record_promotion(&manifest.id, PromotedBy::Build.as_str(), now);
    }
    prepared.remember_acted_scan(&manifest.id);
    let build = promoted?;
    stopwatch.lap();
    sources.record_good_end(context);
    sources.drop_indexed(context, &contents.table.rows, has_embedded);
    if let Some(questioning) = &questioning {
        questioning.judging.after_promotion(context, sources.cache());
    }
    if !sources.has_cached() {
        cached_origin::forget(context, &prepared.builds);
    }
    prepared.replace_served(build);
    Ok(())
}

fn manifest(
    context: &PassContext<'_>,
    options: &PassOptions,
    prepared: &Prepared,
    verified: &Verified,
    contents: &PlannedContent,
    made: Made,
) -> Manifest {
    let PlannedContent { scan_hash, table, counts, .. } = contents;
    let created = (context.clock)().to_string();
    let before = prepared.served().build().map(|build| &build.manifest);
    Manifest {
        format: MANIFEST_FORMAT,
        id: verified.id().to_owned(),
        sequence: prepared.next_sequence(),
        created: created.clone(),
        trigger: options.trigger.to_string(),
        adopted: false,
        program: crate::PROGRAM.to_owned(),
        faiss: index::FAISS_VERSION.to_owned(),
        source: SourceFacts {
            database: context.config.source.database.display().to_string(),
            indexed_rows: table.indexed_rows,
            null_tags: table.null_tags,
            too_long: table.too_long.clone(),
        },
        rules: Some(table.rules.clone()),
        space: Some(context.space.clone()),
        address: made.address,
        scan_hash: Some(*scan_hash),
        values_hash: Some(table.values_hash),
        content_hash: Some(table.content_hash),
        quarantined: with_since(&table.quarantined, before, &created),
        files: verified.files.clone(),
        ntotal: verified.rows,
        dimension: verified.dimension,
        metric: "inner_product".to_owned(),
        counts: *counts,
        timings: made.timings,
        evaluation: made.evaluation,
        previous: prepared.id().map(str::to_owned),
    }
}
