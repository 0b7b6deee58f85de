//! What a pass would do, without doing any of it: for `plan` and for `status`.
//!
//! Nothing is written, no lock is taken, nothing is sent. The look is the same
//! as a pass's own, and so is the arithmetic.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::prepare::{planner, reusable_builds};
use super::read_table::{TableSummary, read_table};
use super::{PassContext, PassError, PassOptions};
use crate::adapters::builds::history::History;
use crate::adapters::builds::{Builds, Hold, Served};
use crate::adapters::cache::Cache;
use crate::adapters::source::Source;
use crate::decide::guard;
use crate::domain::pass::Counts;
use crate::domain::record::{ContentHash, ScanHash};

/// Bytes of text to a token, for an estimate: English runs at about four.
const BYTES_PER_TOKEN: u64 = 4;

/// What a pass would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Preview {
    /// Whether a pass would change what is served.
    pub changes: bool,
    /// Records that the index would have.
    pub records: u64,
    /// Of these, with a vector at hand.
    pub kept: u64,
    /// Texts that would be bought.
    pub to_embed: u64,
    /// Records whose vector is at hand and whose metadata differ.
    pub metadata_only: u64,
    /// Rows of the served build that are gone.
    pub removed: u64,
    /// Requests that the purchase would take.
    pub requests: u64,
    /// Tokens in the texts to be bought, by their length.
    pub estimated_tokens: u64,
    /// Rows that would be left out.
    #[serde(rename = "left_out")]
    pub quarantined: u64,
    /// Why there would be a build, or why it would be refused.
    pub reasons: Vec<String>,
    /// Whether a rollback forbids the agent to build.
    pub held: bool,
    /// The table's content.
    #[serde(skip)]
    pub content_hash: Option<ContentHash>,
}

/// Looks, and says what a pass would do.
///
/// # Errors
///
/// [`PassError`] where the source or the builds cannot be read.
pub fn preview(world: &PassContext<'_>, job: &PassOptions) -> Result<Preview, PassError> {
    let builds = Builds::at(&world.config.publish.index, &world.config.publish.metadata)?;
    let served = builds.served();
    let scanned = Source::open(&world.config.source.database, &world.stop)?.scan(&world.space)?;
    let (state, _) = History::load(&builds.layout)?;
    let (hold, _) = Hold::load(&builds.layout)?;
    let forced = job.full || job.embed_again;
    let astray = served.build().map(|_| builds.dangling_links()).unwrap_or_default();
    let unchanged_since = |scan: ScanHash| {
        let build = served.build().filter(|_| !forced && hold.is_none() && astray.is_empty())?;
        let manifest = &build.manifest;
        let same = state.equivalent_scan.as_ref();
        let same = same.is_some_and(|same| same.build == manifest.id && same.scan_hash == scan);
        (same || manifest.scan_hash == Some(scan))
            .then(|| unchanged(manifest.ntotal, manifest.quarantined.len() as u64))
    };
    if let Some(unchanged) = unchanged_since(scanned.hash()) {
        scanned.finish()?;
        return Ok(unchanged);
    }
    let id = served.build().map(|build| build.manifest.id.as_str());
    let served_rows = Arc::new(served.build().and_then(|build| build.rows().ok()).unwrap_or_default());
    let kept = if job.embed_again {
        Vec::new()
    } else {
        reusable_builds(&builds, &world.space, id, &served_rows, &HashSet::new())?
    };
    let cached = if job.embed_again {
        HashSet::new()
    } else {
        Cache::stored_hashes(&builds.layout.cache(), &world.space)
    };
    let bought = HashSet::new();
    let planner = planner(&served_rows, &kept, &cached, &bought);
    let refused = super::prepare::refused_texts(&builds, &world.space)?;
    let rows = scanned.into_rows(&world.space)?;
    // The rows may be those of a newer scan.
    if let Some(unchanged) = unchanged_since(rows.scan().hash) {
        rows.finish()?;
        return Ok(unchanged);
    }
    let survey = read_table(&rows, world, planner, None, &refused)?;
    rows.finish()?;
    let forbidden = hold.is_some_and(|hold| hold.forbids(id, &survey.content_hash));
    let records_before = super::prepare::previous_record_count(&builds, &served)?;
    Ok(assess(world, job, &served, records_before, &astray, &survey, forbidden))
}

fn unchanged(records: u64, left_out: u64) -> Preview {
    Preview {
        changes: false,
        records,
        kept: records,
        to_embed: 0,
        metadata_only: 0,
        removed: 0,
        requests: 0,
        estimated_tokens: 0,
        quarantined: left_out,
        reasons: Vec::new(),
        held: false,
        content_hash: None,
    }
}

fn assess(
    world: &PassContext<'_>,
    job: &PassOptions,
    served: &Served,
    records_before: Option<u64>,
    astray: &[PathBuf],
    survey: &TableSummary,
    held: bool,
) -> Preview {
    let Counts { records, kept, embedded, metadata_only, removed, .. } = survey.plan.counts;
    let build = served.build().map(|build| &build.manifest);
    let same = build.is_some_and(|manifest| manifest.content_hash == Some(survey.content_hash));
    let changes = !same || job.full || job.embed_again || !astray.is_empty();
    let mut reasons = Vec::new();
    match (served, build) {
        (Served::Nothing, _) => reasons.push("nothing is served yet".to_owned()),
        (Served::Damaged { why }, _) => reasons.push(format!("what is served cannot be read: {why}")),
        (_, Some(manifest)) if manifest.adopted => {
            reasons.push("the served build is adopted: nothing proves that its rows match".to_owned());
        }
        (_, Some(manifest)) if manifest.space.as_ref() != Some(&world.space) => {
            let before = manifest.space.as_ref().map(ToString::to_string).unwrap_or_default();
            reasons.push(format!("the space changed from {before} to {}", world.space));
        }
        _ if !same => reasons.push("rows differ from the served build".to_owned()),
        _ => {}
    }
    let others = |path: &PathBuf| format!("{} does not lead to the served build", path.display());
    reasons.extend(astray.iter().map(others));
    if held {
        reasons.push("a rollback holds the served build until the table changes".to_owned());
    }
    let settings = &world.config.guard;
    if survey.unfit.count > settings.quarantine {
        reasons.push(format!("would fail: {}", survey.unfit));
    }
    let limits = guard::Limits {
        max_shrink: settings.max_shrink,
        max_texts: settings.max_texts,
        accept_shrink: job.accept_shrink,
    };
    if changes
        && let Err(refusal) =
            guard::check(&survey.plan.counts, survey.tagged, survey.unfit.count, records_before, &limits)
    {
        reasons.push(format!("would be refused: {refusal}"));
    }
    Preview {
        changes,
        records,
        kept,
        to_embed: embedded,
        metadata_only,
        removed,
        requests: embedded.div_ceil(world.config.embedding.batch_size.max(1) as u64),
        estimated_tokens: survey.text_bytes.div_ceil(BYTES_PER_TOKEN),
        quarantined: survey.unfit.count,
        reasons,
        held,
        content_hash: Some(survey.content_hash),
    }
}
