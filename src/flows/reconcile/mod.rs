//! One pass: scan, plan, and if anything differs build, verify, promote.
//!
//! [`reconcile`] is the story; what each step means is in its own module. A
//! pass takes the lock once, checks for a stop between its steps, and leaves
//! either a new build served or the previous one. When a pass is due is
//! `agent_state`'s decision; delivering a new build is left to the caller.

mod acceptances;
mod acted_scan;
mod address_check;
mod adopt_existing;
mod cached_origin;
pub(crate) mod claim;
mod context;
pub mod diff;
mod disk_space;
mod embed_missing;
mod error;
mod eval;
mod evaluate;
mod finish;
mod judging;
mod leaving;
mod long_texts;
mod prepare;
mod preview;
mod publish;
mod quarantine;
mod read_scan;
mod read_table;
mod record_progress;
mod record_workers;
pub mod renew_lock;
mod retry_refused;
mod reuse;
mod rollback;
mod said_warnings;
mod sample_texts;
mod sending;
mod served_space;
mod source_path;
mod stopwatch;
mod summary;
mod text_sample;
mod texts;
mod trust_adopted;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

pub use context::{PassContext, PassOptions, PassProgress};
pub use error::PassError;
pub use eval::{EvalReport, EvalRequest, QueryRun, evaluate_build};
pub use preview::{Preview, preview};
pub use rollback::{Rollback, RollbackReport, release, rollback};
pub use texts::{MadeText, RowTexts, texts};

use crate::adapters::builds::staging::Drafted;
use crate::adapters::builds::{Builds, Doubt, error_chain};
use crate::decide::decision::{Assessment, Decision};
use crate::domain::pass::{Counts, Outcome, PassReport, Stage};
use crate::domain::record::TextHash;
use acceptances::Acceptances;
use address_check::Reference;
use embed_missing::{Missing, embed_missing};
use evaluate::Questioning;
use judging::Judging;
use prepare::Prepared;
use publish::{PlannedBuild, PlannedContent, publish};
use quarantine::{Retries, note_refused};
use read_table::{FoundRows, TableSummary};
use record_progress::ProgressRecorder;
use reuse::VectorSources;
use stopwatch::Stopwatch;
use summary::summary;
use trust_adopted::Adopted;

/// Runs one pass.
///
/// # Errors
///
/// [`PassError`]; the previous build is still served, unless it says otherwise.
pub fn reconcile(context: &PassContext<'_>, options: &PassOptions) -> Result<PassReport, PassError> {
    let started = Instant::now();
    let builds = Builds::published(&context.config.publish)?;
    (context.progress)(PassProgress::Stage(Stage::Prepare));
    claim::find_source_of_new_directory(context, &builds)?;
    let source = claim::source(context.config, &builds);
    let lock =
        if options.accept_source { builds.lock_and_take_over() } else { builds.lock_for(source.as_ref()) };
    let lock = lock?.ok_or(PassError::Busy)?;
    let _renewal = renew_lock::renew(&context.runtime, &lock);
    let layout = builds.layout.clone();
    let recorder = Arc::new(ProgressRecorder::new(layout, options.trigger, (context.clock)()));
    let alive = Arc::clone(&recorder);
    let stop = context.stop.also_reporting_to(move || alive.beat());
    let progress = |now: PassProgress<'_>| {
        recorder.record(&now);
        if recorder.is_new(&now) {
            (context.progress)(now);
        }
    };
    let context = &context.with_progress(&progress, stop);
    finish::sweep(context, &builds);
    let is_outdated = source_path::warn(context, options);
    let pass = Pass::start(context, options, builds.clone(), started);
    let mut pass =
        pass.inspect_err(|error| finish::record_failed_start(context, options, &builds, started, error))?;
    let result = pass.run();
    if result.as_ref().is_ok_and(|report| report.outcome != Outcome::Held) {
        claim::record(context, &builds, source.as_ref());
    }
    let Pass { mut prepared, mut acceptances, mut stopwatch, counts, .. } = pass;
    if let Ok(report) = &result {
        acceptances.end(context, report.outcome, report.build.as_deref());
    }
    finish::finish(context, options, &mut prepared, counts, &mut stopwatch, &result);
    if result.as_ref().is_ok_and(|report| report.outcome != Outcome::Held) {
        sending::forget(context, &builds.layout);
        if !is_outdated {
            lock.record_good_end((context.clock)());
        }
    }
    result
}

/// A pass that has the lock.
struct Pass<'a> {
    context: &'a PassContext<'a>,
    options: &'a PassOptions,
    prepared: Prepared,
    acceptances: Acceptances,
    /// The judged queries, once they are needed and if there are any.
    judging: Option<Judging>,
    /// Why they cannot be asked, which matters where there is something to build.
    not_judged: Option<PassError>,
    /// Files of `ingest.py` whose vectors are reused once some came out the same.
    adopted: Option<Adopted>,
    /// Texts that this pass embedded before it had to read the table again.
    embedded: HashSet<TextHash>,
    /// Texts that were to be embedded before a build was excluded.
    embedded_before: Option<u64>,
    /// Why a build is excluded that may be whole.
    doubt: Option<Doubt>,
    /// Refused texts that are sent again.
    retries: Retries,
    counts: Counts,
    stopwatch: Stopwatch,
}

impl<'a> Pass<'a> {
    fn start(
        context: &'a PassContext<'a>,
        options: &'a PassOptions,
        builds: Builds,
        started: Instant,
    ) -> Result<Self, PassError> {
        let mut prepared = Prepared::under_lock(context, options, builds)?;
        let acceptances = Acceptances::load(context, options, &prepared.builds, prepared.id())?;
        if options.ends_hold {
            prepared.release_hold()?;
        }
        let mut stopwatch = Stopwatch::new(started);
        if options.full_check {
            prepared.verify_served(context)?;
            stopwatch.charge(Stage::Verify);
        }
        let adopted =
            options.trust_adopted.then(|| trust_adopted::find(context, &prepared)).transpose()?.flatten();
        let retries = Retries::choose(context, options, &prepared);
        let (embedded, counts) = (HashSet::new(), Counts::default());
        Ok(Self {
            context,
            options,
            prepared,
            acceptances,
            judging: None,
            not_judged: None,
            adopted,
            embedded,
            embedded_before: None,
            doubt: None,
            retries,
            counts,
            stopwatch,
        })
    }

    fn run(&mut self) -> Result<PassReport, PassError> {
        loop {
            if let Some(report) = self.try_once()? {
                return Ok(report);
            }
        }
    }

    /// `None` if the table has to be read again: a build's vectors are damaged, or texts were refused.
    fn try_once(&mut self) -> Result<Option<PassReport>, PassError> {
        self.stopwatch.enter(self.context, Stage::Scan);
        let needs_rows = self.retries.need_rows();
        let Some(rows) = read_scan::scan(self.context, self.options, &mut self.prepared, needs_rows)? else {
            return self.unchanged().map(Some);
        };
        self.prepared.read_rows()?;
        let is_apart = self.acceptances.is_apart(self.context);
        let mut sources =
            VectorSources::find(self.context, self.options, &self.prepared, &self.embedded, is_apart)?;
        if let Some(due) = self.retries.take_due() {
            self.retry_refused(rows, &mut sources, &due)?;
            return Ok(None);
        }
        if read_scan::is_held(self.context, self.options, &mut self.prepared, &rows, &sources)? {
            rows.finish()?;
            self.prepared.warn_of_damage(self.context, None);
            return Ok(Some(self.report(Outcome::Held)));
        }
        let scan_hash = rows.scan().hash;
        let reference =
            address_check::reference(self.context, &self.prepared, sources.builds(), &self.acceptances);
        let (sample, is_of_model) = self.sample_with_queries(reference.as_ref(), &mut sources)?;
        let (drafted, mut table, early_check) =
            read_scan::draft(self.context, &self.prepared, rows, &sources, sample)?;
        self.warn_of_rows(&table);
        self.stopwatch.lap();

        self.stopwatch.enter(self.context, Stage::Plan);
        let Counts { requests, texts_sent, .. } = self.counts;
        self.counts = Counts { requests, texts_sent, ..table.plan.counts };
        self.count_cost_of_exclusion()?;
        if let Some(adopted) = &self.adopted {
            table.plan.counts.embedded = adopted.left_to_embed(&table);
        }
        let queries = self.judging.as_ref().map_or(Ok(0), |judging| judging.missing(sources.cache()))?;
        match self.assess(&table, queries, reference.as_ref()) {
            Decision::Build => self.not_judged.take().map_or(Ok(()), Err)?,
            Decision::Unchanged => {
                self.discard(drafted);
                sources.record_good_end(self.context);
                self.prepared.remember_scan(self.context, scan_hash);
                return Ok(Some(self.report(Outcome::Unchanged)));
            }
            Decision::Held => {
                self.discard(drafted);
                return Ok(Some(self.report(Outcome::Held)));
            }
            Decision::Fail(unfit) => return Err(unfit.into()),
            Decision::Refuse(refusal) => return Err(refusal.into()),
        }
        if let Some(unusable) = sources.find_unusable(self.context, &table.plan, early_check)? {
            self.embedded_before.get_or_insert(self.counts.embedded);
            self.doubt = unusable.exclude(self.context, &mut self.prepared)?.or(self.doubt.take());
            self.discard(drafted);
            return Ok(None);
        }
        disk_space::ensure_disk_space(self.context, &self.prepared, &drafted, &table, &sources)?;
        self.stopwatch.lap();

        let contents = PlannedContent { scan_hash, table, is_of_model, counts: self.counts };
        self.embed_and_publish(drafted, contents, sources, reference.as_ref())
    }

    /// `None` if the table has to be read again.
    fn embed_and_publish(
        &mut self,
        drafted: Drafted,
        contents: PlannedContent,
        mut sources: VectorSources,
        reference: Option<&Reference>,
    ) -> Result<Option<PassReport>, PassError> {
        let (table, trigger) = (&contents.table, self.options.trigger);
        self.stopwatch.enter(self.context, Stage::Embed);
        if let Some(adopted) = self.adopted.take() {
            let embedded = adopted.prove_and_store(self.context, table, sources.cache(), &mut self.counts)?;
            self.embedded.extend(embedded);
            self.discard(drafted);
            return Ok(None);
        }
        if let Some(reference) = reference {
            reference.settle(self.context, trigger, &mut self.acceptances, table, &mut self.counts)?;
            if self.acceptances.is_apart(self.context) {
                // From now on nothing that exists is reused, and what is cached came from another address.
                sources.forget_cached()?;
                self.discard(drafted);
                return Ok(None);
            }
        } else if !contents.is_of_model
            && !cached_origin::settle(self.context, trigger, &mut sources, table, &mut self.counts)?
        {
            self.discard(drafted);
            return Ok(None);
        }
        if table.plan.counts.embedded > 0 {
            cached_origin::record(self.context, &self.prepared.builds)?;
        }
        let missing = Missing { trigger, drafted: &drafted, table };
        let received = embed_missing(self.context, &missing, sources.cache(), &mut self.counts)?;
        self.stopwatch.lap();
        if !received.refused.is_empty() {
            // These rows are quarantined from now on, so the metadata must be written without them.
            note_refused(self.context, &self.prepared, &received.refused);
            self.prepared.add_refused(received.refused);
            self.embedded.extend(received.texts);
            self.discard(drafted);
            return Ok(None);
        }
        if let Some(judging) = &self.judging {
            let sample = if contents.is_of_model { table.sample.as_slice() } else { &[] };
            judging.embed(self.context, trigger, sample, &mut sources, &mut self.counts)?;
            self.stopwatch.lap();
        }
        let contents = PlannedContent { counts: self.counts, ..contents };
        let has_embedded = !received.texts.is_empty();
        let acceptances = &mut self.acceptances;
        let questioning = self.judging.as_ref().map(|judging| Questioning { judging, acceptances });
        let build = PlannedBuild { contents, drafted, sources, has_embedded, questioning };
        publish(self.context, self.options, &mut self.prepared, &mut self.stopwatch, build)?;
        Ok(Some(self.report(Outcome::Promoted)))
    }

    /// What is to be done about the rows. What an operator accepts of it is written down.
    fn assess(&mut self, table: &TableSummary, queries: u64, reference: Option<&Reference>) -> Decision {
        let asks_again = self.options.trigger.is_asked_for();
        let other_address = reference.map(|reference| reference.facts(&self.acceptances, asks_again));
        let accepted = self.acceptances.accepted(self.context);
        let found = FoundRows { table, queries, other_address: other_address.as_ref() };
        let assessment = self.prepared.assess(self.context, self.options, accepted, &found);
        let Assessment { decision, reasons, exceeded, .. } = assessment;
        if !matches!(decision, Decision::Unchanged | Decision::Held) {
            let records = table.plan.counts.records;
            self.acceptances.remember(self.context, exceeded, records);
        }
        if decision == Decision::Build {
            self.context.report_reasons(&reasons);
        }
        decision
    }

    fn warn_of_rows(&mut self, table: &TableSummary) {
        let history = &mut self.prepared.history;
        long_texts::warn_once(self.context, history, &table.too_long, table.long_rows.as_deref());
        preview::warn_of_null_tags(self.context, table);
    }

    /// Warns of damage with its cost. Where a build is excluded that may be whole, there must be none: what
    /// only that build has would be embedded again.
    fn count_cost_of_exclusion(&mut self) -> Result<(), PassError> {
        let more = self.counts.embedded.saturating_sub(self.embedded_before.unwrap_or(0));
        match self.doubt.take() {
            Some(doubt) if more > 0 => Err(doubt.into()),
            Some(_) | None => {
                self.prepared.warn_of_damage(self.context, Some(more));
                Ok(())
            }
        }
    }

    /// Removes a draft. What stays takes disk space, and the next sweep tries again.
    fn discard(&self, drafted: Drafted) {
        if let Err(error) = drafted.staging.discard() {
            self.context.warn(&error_chain(&error));
        }
    }

    /// Ends a pass whose scan is known.
    fn unchanged(&mut self) -> Result<PassReport, PassError> {
        self.stopwatch.lap();
        let facts = self.prepared.facts(self.context, self.options);
        if self.prepared.intact_content().is_some_and(|content| facts.is_hold_over(content)) {
            self.prepared.release_hold()?;
        }
        Ok(self.report(Outcome::Unchanged))
    }

    fn report(&self, outcome: Outcome) -> PassReport {
        let mut counts = self.counts;
        if outcome != Outcome::Promoted {
            let records = self.prepared.records().unwrap_or_default();
            let Counts { requests, texts_sent, .. } = counts;
            counts = Counts { records, kept: records, requests, texts_sent, ..Counts::default() };
        }
        let build = self.prepared.id().map(str::to_owned);
        let message = summary(outcome, build.as_deref().unwrap_or("none"), &counts);
        PassReport { outcome, build, counts, timings: self.stopwatch.timings(), message }
    }
}
