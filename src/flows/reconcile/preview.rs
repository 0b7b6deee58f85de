//! What a pass would do, without doing any of it: for `plan` and `status`.
//!
//! Nothing is written, beside the database neither, no lock is taken, nothing
//! is sent. Scan, plan and decision are those of a pass; only what cannot be
//! read is passed over.

use std::collections::HashSet;

use serde::{Serialize, Serializer};

use super::acceptances::Acceptances;
use super::address_check;
use super::claim;
use super::context::{PassContext, PassOptions};
use super::error::PassError;
use super::judging::Judging;
use super::prepare::Prepared;
use super::read_table::{FoundRows, TableSummary, read_table};
use super::reuse::{BuildRows, planner, reusable_builds};
use super::text_sample::TextSample;
use crate::adapters::builds::{Builds, error_chain};
use crate::adapters::cache::Cache;
use crate::adapters::source::{Purpose, Rows, Scanned, Source};
use crate::config::Provider;
use crate::decide::decision::{self, Assessment, Decision, Reason};
use crate::decide::guard::ScanLimits;
use crate::domain::pass::Counts;
use crate::domain::record::ContentHash;
use crate::domain::tokens::LongTexts;

/// Bytes of text to a token, for an estimate: English has about four.
const BYTES_PER_TOKEN: u64 = 4;

/// What a pass would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Preview {
    /// Whether a pass would change what is served.
    pub changes: bool,
    /// Records that the index would have.
    pub records: u64,
    /// Of these, records whose vector is reused.
    pub kept: u64,
    /// Texts that would be embedded.
    pub to_embed: u64,
    /// Judged queries that would be embedded; `None` where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queries_to_embed: Option<u64>,
    /// Records whose vector is reused and whose metadata differ.
    pub metadata_only: u64,
    /// Rows of the served build that are gone.
    pub removed: u64,
    /// Requests for the texts to embed.
    pub requests: u64,
    /// Tokens that are sent to a provider, by the length of the texts; none to the local model, where
    /// they cost nothing.
    pub estimated_tokens: u64,
    /// Rows that would be quarantined.
    #[serde(rename = "left_out")]
    pub quarantined: u64,
    /// Records whose tags are the JSON word `null`, which counts as tagged.
    pub null_tags: u64,
    /// Records whose texts the model does not read whole.
    pub too_long: LongTexts,
    /// Why there would be a build, or what is in the way; as text in JSON.
    #[serde(serialize_with = "as_texts")]
    pub reasons: Vec<Reason>,
    /// Whether a rollback forbids the agent to build.
    pub held: bool,
    /// The table's content, if the rows were read.
    #[serde(skip)]
    pub content_hash: Option<ContentHash>,
}

/// Reads the table and decides what a pass would do.
///
/// # Errors
///
/// [`PassError`] if the source or the builds cannot be read.
pub fn preview(context: &PassContext<'_>, options: &PassOptions) -> Result<Preview, PassError> {
    preview_for(context, options, Purpose::Preview)
}

/// As [`preview`], for a step of something that may write.
pub(super) fn preview_for(
    context: &PassContext<'_>,
    options: &PassOptions,
    purpose: Purpose,
) -> Result<Preview, PassError> {
    let builds = Builds::published(&context.config.publish)?;
    let served = builds.served();
    let records = served.build().map(|build| build.manifest.counts.records);
    let limits = ScanLimits::new(&context.config.guard, records);
    let source = Source::open(
        &context.config.source.database,
        purpose,
        &context.stop,
        limits,
        &context.config.source_spec(),
    )?;
    let scanned = source.scan(context.basis())?;
    // Whatever the table has, a pass would end with that.
    let claimed = builds.check_claim(claim::source(context.config, &builds).as_ref()).err();
    let mut prepared = Prepared::read_only(builds, served)?;
    let mut preview = preview_of(context, options, &mut prepared, scanned)?;
    preview.reasons.splice(0..0, claimed.map(|error| Reason::Claimed(error_chain(&error))));
    Ok(preview)
}

fn preview_of(
    context: &PassContext<'_>,
    options: &PassOptions,
    prepared: &mut Prepared,
    scanned: Scanned,
) -> Result<Preview, PassError> {
    match rows_that_may_differ(context, options, prepared, scanned)? {
        Some(rows) => {
            let acceptances = Acceptances::load(context, options, &prepared.builds, prepared.id())?;
            let is_apart = acceptances.is_apart(context);
            let (table, builds) = read_rows(context, options, prepared, &rows, is_apart)?;
            rows.finish()?;
            let reference = address_check::reference(context, prepared, &builds, &acceptances);
            let other_address = reference.map(|reference| reference.facts(&acceptances, false));
            let accepted = acceptances.accepted(context);
            let queries = queries_to_embed(context, options, prepared);
            let found = FoundRows {
                table: &table,
                queries: queries.as_ref().map_or(0, |queries| queries.unwrap_or_default()),
                other_address: other_address.as_ref(),
            };
            let mut assessment = prepared.assess(context, options, accepted, &found);
            let queries = queries.unwrap_or_else(|error| {
                assessment.reasons.push(Reason::NotMeasured(error.to_line()));
                None
            });
            Ok(Preview::new(assessment, &table, queries, context.config.embedding.provider))
        }
        None => Ok(Preview::unchanged(prepared)),
    }
}

/// The judged queries that a build would embed.
fn queries_to_embed(
    context: &PassContext<'_>,
    options: &PassOptions,
    prepared: &Prepared,
) -> Result<Option<u64>, PassError> {
    let cache = prepared.builds.layout.cache();
    let judging = Judging::read(context, options.embed_again)?;
    judging.map(|judging| judging.missing_for_preview(context, &cache)).transpose()
}

/// `None` if the scan is known to have the content that is served.
fn rows_that_may_differ(
    context: &PassContext<'_>,
    options: &PassOptions,
    prepared: &Prepared,
    scanned: Scanned,
) -> Result<Option<Rows>, PassError> {
    let facts = prepared.facts(context, options);
    if decision::after_scan(&facts, scanned.hash()).is_some() {
        scanned.finish()?;
        return Ok(None);
    }
    let rows = scanned.into_rows(context.basis())?;
    // The rows may be those of a newer scan.
    if decision::after_scan(&facts, rows.scan().hash).is_some() {
        rows.finish()?;
        return Ok(None);
    }
    Ok(Some(rows))
}

fn read_rows(
    context: &PassContext<'_>,
    options: &PassOptions,
    prepared: &mut Prepared,
    rows: &Rows,
    is_apart: bool,
) -> Result<(TableSummary, Vec<BuildRows>), PassError> {
    prepared.read_rows()?;
    prepared.read_kept(context, options)?;
    let (builds, cached) = if options.embed_again {
        (Vec::new(), HashSet::new())
    } else {
        let cache = prepared.builds.layout.cache();
        let builds = if is_apart { Vec::new() } else { reusable_builds(context, prepared)? };
        (builds, Cache::stored_hashes(&cache, &context.space)?)
    };
    let embedded = HashSet::new();
    let planner = planner(prepared, &builds, &cached, &embedded);
    let sample = TextSample::default();
    let table = read_table(rows, context, planner, None, prepared.refused(), sample)?;
    Ok((table, builds))
}

impl Preview {
    fn new(assessment: Assessment, table: &TableSummary, queries: Option<u64>, provider: Provider) -> Self {
        let Counts { records, kept, embedded, metadata_only, removed, .. } = table.plan.counts;
        let Assessment { decision, changes, reasons, .. } = assessment;
        Self {
            changes,
            records,
            kept,
            to_embed: embedded,
            queries_to_embed: queries.filter(|_| changes),
            metadata_only,
            removed,
            requests: table.requests,
            estimated_tokens: match provider {
                Provider::Gemini | Provider::OpenAi => table.text_bytes.div_ceil(BYTES_PER_TOKEN),
                Provider::Local => 0,
            },
            quarantined: table.unfit.count,
            null_tags: table.null_tags,
            too_long: table.too_long.clone(),
            reasons,
            held: decision == Decision::Held,
            content_hash: Some(table.content_hash),
        }
    }

    /// What an operator should know of tags that are the word `null`, if there are any.
    pub(crate) fn null_tags_note(&self) -> Option<String> {
        let Self { null_tags, records, .. } = self;
        (*null_tags > 0).then(|| null_tags_note(*null_tags, *records))
    }

    /// The scan is known: the counts are those of the served build.
    fn unchanged(prepared: &Prepared) -> Self {
        let served = prepared.served().build().map(|build| &build.manifest);
        let records = served.map_or(0, |served| served.counts.records);
        Self {
            changes: false,
            records,
            kept: records,
            to_embed: 0,
            queries_to_embed: None,
            metadata_only: 0,
            removed: 0,
            requests: 0,
            estimated_tokens: 0,
            quarantined: served.map_or(0, |served| served.quarantined.len() as u64),
            null_tags: served.map_or(0, |served| served.source.null_tags),
            too_long: served.map(|served| served.source.too_long.clone()).unwrap_or_default(),
            reasons: Vec::new(),
            held: false,
            content_hash: None,
        }
    }
}

/// Warns where the tags of all records are `null`.
pub(super) fn warn_of_null_tags(context: &PassContext<'_>, table: &TableSummary) {
    let records = table.plan.counts.records;
    if records > 0 && table.null_tags == records {
        context.warn(&null_tags_note(table.null_tags, records));
    }
}

/// A table of which all tags are `null` was hardly meant to be indexed as a whole.
pub(super) fn null_tags_note(null_tags: u64, records: u64) -> String {
    let rows = if null_tags == records { "all" } else { "some" };
    let note = format!("{rows} indexed rows, {null_tags} of {records}, have the JSON word null as tags");
    if null_tags == records {
        return format!("{note}, which counts as tagged; is a JSON column writing null for no tags?");
    }
    format!("{note}, which counts as tagged")
}

fn as_texts<S: Serializer>(reasons: &[Reason], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reasons.iter().map(ToString::to_string))
}
