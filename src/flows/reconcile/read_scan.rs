//! From a scan of the table to its rows, and from the rows to a draft of a build.
//!
//! The rows are read only where the scan may have other content than is served,
//! and a draft is written only where no rollback forbids it.

use super::acted_scan::BegunScan;
use super::context::{PassContext, PassOptions};
use super::error::PassError;
use super::prepare::Prepared;
use super::read_table::{TableSummary, read_table};
use super::reuse::{EarlyIndexCheck, VectorSources};
use super::text_sample::TextSample;
use crate::adapters::builds::new_id;
use crate::adapters::builds::staging::{Drafted, Staging};
use crate::adapters::source::{Purpose, Rows, Source};
use crate::decide::decision;
use crate::decide::differing_scan::Difference;
use crate::decide::guard::ScanLimits;
use crate::domain::record::ScanHash;

/// The rows to build from. `None` if the scan is known to have the content that is served, or differs by
/// itself and waits, and the rows are not needed for anything else.
pub(super) fn scan(
    context: &PassContext<'_>,
    options: &PassOptions,
    prepared: &mut Prepared,
    needs_rows: bool,
) -> Result<Option<Rows>, PassError> {
    let mut begun = BegunScan::start(context);
    let is_known = |prepared: &Prepared, scan: ScanHash| {
        if needs_rows {
            return false;
        }
        let facts = prepared.facts(context, options);
        decision::after_scan(&facts, scan).is_some()
    };
    let config = context.config;
    let limits = ScanLimits::new(&config.guard, prepared.records());
    let source =
        Source::open(&config.source.database, Purpose::Pass, &context.stop, limits, &config.source_spec())?;
    let scanned = source.scan(context.basis())?;
    if is_known(prepared, scanned.hash()) {
        scanned.finish()?;
        return Ok(None);
    }
    let rows = scanned.into_rows(context.basis())?;
    // The rows may be those of a newer scan.
    let waits = waits(context, options, prepared, &rows, &mut begun) && !needs_rows;
    if waits || is_known(prepared, rows.scan().hash) {
        rows.finish()?;
        return Ok(None);
    }
    prepared.begun_scan = Some(begun);
    Ok(Some(rows))
}

/// Whether rows that differ from those of the served build are left for a later pass: they differ by
/// themselves, and no person or script asks.
fn waits(
    context: &PassContext<'_>,
    options: &PassOptions,
    prepared: &mut Prepared,
    rows: &Rows,
    begun: &mut BegunScan,
) -> bool {
    let Some(mut before) = prepared.history.acted_scan.clone() else {
        begun.note_rules(context, rows);
        return false;
    };
    let is_asked_for = options.trigger.is_asked_for() || prepared.facts(context, options).is_forced;
    let difference = begun.compare(context, rows, (&before, prepared.id()), is_asked_for);
    let Difference::ByItself { is_due } = difference else { return false };
    begun.warn_once(context, &mut before);
    if prepared.history.acted_scan.as_ref() != Some(&before) {
        prepared.history.acted_scan = Some(before);
        prepared.save_history(context);
    }
    // While a rollback holds the build, the rows decide whether it goes on.
    !is_due && prepared.hold().is_none()
}

/// Whether a rollback forbids to build these rows; if it no longer does, its hold ends. Asked before a draft
/// is written: a hold may last for weeks.
pub(super) fn is_held(
    context: &PassContext<'_>,
    options: &PassOptions,
    prepared: &mut Prepared,
    rows: &Rows,
    sources: &VectorSources,
) -> Result<bool, PassError> {
    if prepared.hold().is_none() {
        return Ok(false);
    }
    let planner = sources.planner(prepared);
    let table = read_table(rows, context, planner, None, prepared.refused(), TextSample::default())?;
    let is_held = prepared.facts(context, options).is_held(table.content_hash);
    if !is_held {
        prepared.release_hold()?;
    }
    Ok(is_held)
}

/// Writes metadata and the texts to embed, while the index that most vectors come from is checked.
pub(super) fn draft(
    context: &PassContext<'_>,
    prepared: &Prepared,
    rows: Rows,
    sources: &VectorSources,
    sample: TextSample,
) -> Result<(Drafted, TableSummary, Option<EarlyIndexCheck>), PassError> {
    let id = new_id((context.clock)());
    let mut draft = Staging::begin(&prepared.builds, id)?.draft()?;
    let early_check = sources.start_index_check(context);
    let planner = sources.planner(prepared);
    let table = read_table(&rows, context, planner, Some(&mut draft), prepared.refused(), sample)?;
    rows.finish()?;
    Ok((draft.finish()?, table, early_check))
}
