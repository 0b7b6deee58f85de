//! What differs between a kept build and another one, or the table as it is now: for `diff`.
//!
//! Nothing is written, no lock is taken, nothing is sent. Of the earlier side
//! digests are held, and each record's place in its file; the later side is
//! read row by row, and each difference is given away as it is found. How rows
//! of two sides are matched is in `rows`, what differs is in `comparison`.

mod comparison;
mod rows;

use std::sync::Arc;

pub use comparison::{DiffSummary, DifferenceSink, RowChange, RowDifference};

use super::context::PassContext;
use super::error::PassError;
use super::long_texts;
use super::record_workers::{EncodedRow, RecordWorkers};
use crate::adapters::builds::Build;
use crate::adapters::builds::placed_records::PlacedRecords;
use crate::adapters::source::{Purpose, Source};
use crate::config::Config;
use crate::decide::guard::ScanLimits;
use crate::domain::record::{Row, RowError};
use crate::domain::source_rules::SourceRules;
use crate::domain::source_spec::SourceSpec;
use comparison::Comparison;
use rows::{RowIds, TableRow, first_of, for_each_row, not_a_record};

/// Compares a build with a later one, or with the table.
///
/// # Errors
///
/// [`PassError`] if a build or the table cannot be read: what was given until then is as it was found.
pub fn diff(
    context: &PassContext<'_>,
    from: &Build,
    to: Option<&Build>,
    sink: &mut DifferenceSink<'_>,
) -> Result<DiffSummary, PassError> {
    let Some(to) = to else { return with_table(context, from, sink) };
    let (rules, ids_not_known) = match rules(context) {
        Ok(rules) => (Some(rules), None),
        Err(error) => (None, Some(error.to_line())),
    };
    let later = PlacedRecords::open(to)?;
    let mut ids = RowIds { rules, is_published: true };
    let mut keys = None;
    first_of(to, &later, &mut |first| {
        ids.is_published &= ids.of(first).is_some();
        keys = Some(first.all_keys());
    })?;
    let mut comparison = Comparison::new(context, from, ids, sink)?;
    comparison.summary.ids_not_known = ids_not_known;
    comparison.summary.spaces = spaces(from, to.manifest.space.as_ref().map(ToString::to_string));
    if let Some(keys) = &keys {
        comparison.compare_keys(keys);
    }
    let ids = comparison.ids().clone();
    for_each_row(context, to, &later, &ids, &mut |row, _| comparison.row(row))?;
    comparison.finish()
}

fn with_table(
    context: &PassContext<'_>,
    from: &Build,
    sink: &mut DifferenceSink<'_>,
) -> Result<DiffSummary, PassError> {
    let rows = open(context, Some(from))?.scan(context.basis())?.into_rows(context.basis())?;
    let rules = Arc::clone(rows.rules());
    let schema = &rules.schema;
    let ids = RowIds { rules: Some(Arc::clone(&rules)), is_published: true };
    let mut comparison = Comparison::new(context, from, ids, sink)?;
    comparison.summary.spaces = spaces(from, Some(context.space.to_string()));
    let mut is_first = true;
    let mut take = |row: Row<'_>, encoded: Result<EncodedRow<'_>, RowError>| {
        let encoded = match encoded {
            Ok(encoded) => encoded,
            Err(RowError { column, message, .. }) => {
                comparison.unfit(schema, row, column, message);
                return Ok(());
            }
        };
        let table_row = TableRow::of(&encoded);
        let id = comparison.ids().of_row(schema, row, &encoded);
        if let Some(refused) = comparison.refused(id.hash, table_row.texts()).cloned() {
            comparison.unfit(schema, row, refused.column, refused.reason);
            return Ok(());
        }
        let version = table_row.version(id).map_err(|error| not_a_record(from, &error))?;
        if std::mem::take(&mut is_first) {
            comparison.compare_keys(&version.record.all_keys());
        }
        comparison.row(version)
    };
    let mut workers = RecordWorkers::new(&rules, long_texts::measure(context));
    rows.for_each(&mut |row| workers.push(row, &mut take))?;
    workers.finish(&mut take)?;
    rows.finish()?;
    comparison.finish()
}

/// What the rows of the settings' source are.
fn rules(context: &PassContext<'_>) -> Result<Arc<SourceRules>, PassError> {
    match context.config.source_spec() {
        SourceSpec::Experts => Ok(SourceRules::experts()),
        SourceSpec::Any(_) => Ok(Arc::clone(open(context, None)?.rules())),
    }
}

fn open(context: &PassContext<'_>, served: Option<&Build>) -> Result<Source, PassError> {
    let Config { guard, source, .. } = context.config;
    let limits = ScanLimits::new(guard, served.map(|build| build.manifest.counts.records));
    let spec = context.config.source_spec();
    Ok(Source::open(&source.database, Purpose::Preview, &context.stop, limits, &spec)?)
}

fn spaces(from: &Build, to: Option<String>) -> Option<(String, String)> {
    let from = from.manifest.space.as_ref()?.to_string();
    to.filter(|to| *to != from).map(|to| (from, to))
}
