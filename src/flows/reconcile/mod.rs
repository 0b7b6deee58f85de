//! One pass, start to end: look, plan, and if anything differs build, verify, promote.
//!
//! [`reconcile`] is the story and nothing else; what each step means stands in
//! its own module. A pass runs on one thread, takes the lock once, asks `stop`
//! between its steps, and leaves either a new build served or the old one.
//! When a pass is due is `phase`'s to say, telling the API is the caller's.

mod disk_space;
mod embed_missing;
mod error;
mod finish;
mod prepare;
mod preview;
mod read_table;
mod record_workers;
mod rollback;
mod stopwatch;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use crate::domain::stop::Stop;
use jiff::Timestamp;

pub use error::PassError;
pub use preview::{Preview, preview};
pub use rollback::{Rollback, RollbackReport, release, rollback};

use crate::adapters::builds::history::{EquivalentScan, History};
use crate::adapters::builds::staging::{Drafted, Staging};
use crate::adapters::builds::verify::Verified;
use crate::adapters::builds::{Builds, Hold, index, new_id, promote, sweep};
use crate::adapters::embed::{self, Embedder};
use crate::adapters::source::{Scan, Source};
use crate::config::Config;
use crate::decide::guard;
use crate::domain::manifest::{MANIFEST_FORMAT, Manifest, SourceFacts};
use crate::domain::pass::{Counts, Outcome, PassReport, PromotedBy, Stage, Trigger};
use crate::domain::record::{ContentHash, ScanHash, Space, TextHash};
use embed_missing::CachedTexts;
use prepare::{Prepared, VectorSources};
use read_table::{TableSummary, read_table};
use stopwatch::Stopwatch;

/// What a pass works with.
pub struct PassContext<'a> {
    /// The settings in force.
    pub config: &'a Config,
    /// The space that they name.
    pub space: Space,
    /// Makes the provider when something must be bought: a pass that finds nothing new needs no key.
    pub embedder: &'a dyn Fn() -> Result<Arc<dyn Embedder>, embed::EmbedError>,
    /// What was sent to the provider in the last minute, by this pass and those before it.
    pub sent: embed::SentLog,
    /// Where requests run.
    pub runtime: tokio::runtime::Handle,
    /// Ends the pass, and takes its signs of life.
    pub stop: Stop,
    /// Told what goes on.
    pub progress: &'a (dyn Fn(PassProgress<'_>) + Sync),
    /// The time of day, for names and people; nothing is decided by it but the age of old builds.
    pub clock: fn() -> Timestamp,
}

/// What was asked of a pass.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "wishes that are independent of each other")]
pub struct PassOptions {
    /// Why it runs.
    pub trigger: Trigger,
    /// Make a build though nothing differs.
    pub full: bool,
    /// Buy every vector again.
    pub embed_again: bool,
    /// Waive `guard.max_shrink`.
    pub accept_shrink: bool,
    /// Prove the served files in full first, and replace them if they are damaged.
    pub full_check: bool,
    /// End a hold: a person asked.
    pub ends_hold: bool,
}

/// What goes on in a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PassProgress<'a> {
    /// A phase began.
    Stage(Stage),
    /// Texts were bought, of so many.
    Embedded {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
        /// What is being waited for.
        waiting: Option<&'a str>,
    },
    /// Something an operator should know that does not end the pass.
    Warning(&'a str),
}

/// One pass.
///
/// # Errors
///
/// [`PassError`]; what was served before is served still, unless it says otherwise.
pub fn reconcile(world: &PassContext<'_>, job: &PassOptions) -> Result<PassReport, PassError> {
    let started = Instant::now();
    let builds = Builds::at(&world.config.publish.index, &world.config.publish.metadata)?;
    (world.progress)(PassProgress::Stage(Stage::Prepare));
    let _lock = builds.lock()?.ok_or(PassError::Busy)?;
    sweep::sweep(&builds)?;
    let begun = Pass::start(world, job, builds.clone(), started);
    let mut pass =
        begun.inspect_err(|error| finish::record_failed_start(world, job, &builds, started, error))?;
    let result = pass.run();
    pass.finish(&result);
    result
}

/// A pass that holds the lock.
struct Pass<'w> {
    context: &'w PassContext<'w>,
    options: &'w PassOptions,
    builds: Builds,
    prepared: Prepared,
    history: History,
    hold: Option<Hold>,
    /// Texts that the provider would not take, with its words.
    refused: HashMap<TextHash, String>,
    /// Texts that were bought before the pass had to look again.
    embedded: HashSet<TextHash>,
    stopwatch: Stopwatch,
    counts: Counts,
}

impl<'w> Pass<'w> {
    fn start(
        world: &'w PassContext<'w>,
        job: &'w PassOptions,
        builds: Builds,
        started: Instant,
    ) -> Result<Self, PassError> {
        let (mut state, damaged) = History::load(&builds.layout)?;
        let (hold, damaged_hold) = Hold::load(&builds.layout)?;
        for words in [damaged, damaged_hold].into_iter().flatten() {
            (world.progress)(PassProgress::Warning(&words));
        }
        let found = Prepared::under_lock(world, &builds, &mut state)?;
        let refused =
            if job.embed_again { HashMap::new() } else { prepare::refused_texts(&builds, &world.space)? };
        let mut pass = Self {
            context: world,
            options: job,
            refused,
            embedded: HashSet::new(),
            prepared: found,
            builds,
            history: state,
            hold,
            stopwatch: Stopwatch::new(started),
            counts: Counts::default(),
        };
        if job.ends_hold {
            pass.release()?;
        }
        if job.full_check {
            pass.prepared.verify_served(world)?;
        }
        Ok(pass)
    }

    fn run(&mut self) -> Result<PassReport, PassError> {
        loop {
            self.enter(Stage::Scan);
            let source = Source::open(&self.context.config.source.database, &self.context.stop)?;
            let scanned = source.scan(&self.context.space)?;
            if self.is_known(scanned.hash()) {
                scanned.finish()?;
                return self.unchanged();
            }
            let rows = scanned.into_rows(&self.context.space)?;
            let scan = rows.scan();
            // The rows may be those of a newer scan.
            if self.is_known(scan.hash) {
                rows.finish()?;
                return self.unchanged();
            }
            self.prepared.read_rows(self.context)?;
            let (world, bought) = (self.context, &self.embedded);
            let mut held =
                VectorSources::find(world, &self.builds, &self.prepared, self.options.embed_again, bought)?;
            if self.hold.is_some() {
                let survey =
                    read_table(&rows, self.context, held.planner(self.prepared.rows()), None, &self.refused)?;
                if self.is_held(&survey.content_hash) {
                    rows.finish()?;
                    return Ok(self.report(Outcome::Held));
                }
                self.release()?;
            }
            let id = new_id((self.context.clock)());
            let mut draft = Staging::begin(&self.builds, id)?.draft()?;
            let proof = held.start_index_check(self.context);
            let survey = read_table(
                &rows,
                self.context,
                held.planner(self.prepared.rows()),
                Some(&mut draft),
                &self.refused,
            )?;
            rows.finish()?;
            let drafted = draft.finish()?;
            self.stopwatch.lap();

            self.enter(Stage::Plan);
            self.counts = Counts { requests: self.counts.requests, ..survey.plan.counts };
            if self.is_same_content(&survey) {
                drafted.staging.discard()?;
                self.remember_scan(&scan)?;
                return Ok(self.report(Outcome::Unchanged));
            }
            self.check_limits(&survey)?;
            if let Some(damaged) = held.find_damaged(self.context, &survey.plan, proof)? {
                // Its vectors are not what was paid for: look again without it.
                self.prepared.exclude(self.context, damaged);
                drafted.staging.discard()?;
                continue;
            }
            self.ensure_disk_space(&drafted, &survey, &held)?;
            self.stopwatch.lap();

            self.enter(Stage::Embed);
            let bought = embed_missing::embed_texts(self.context, &drafted, &survey, held.cache())?;
            self.stopwatch.lap();
            self.counts.requests += bought.requests;
            if !bought.refused.is_empty() {
                // Left out from now on, so the metadata must be written without them.
                self.refused.extend(bought.refused);
                self.embedded.extend(bought.texts);
                drafted.staging.discard()?;
                continue;
            }
            return self.publish(drafted, &survey, scan, held, &bought);
        }
    }

    /// Ends a pass whose scan is one of the content that is served.
    fn unchanged(&mut self) -> Result<PassReport, PassError> {
        self.stopwatch.lap();
        // The content that a hold forbids has gone from the table, though there is nothing to build.
        let content = self.prepared.intact().and_then(|served| served.manifest.content_hash);
        if content.is_some_and(|content| !self.is_held(&content)) {
            self.release()?;
        }
        Ok(self.report(Outcome::Unchanged))
    }

    /// From here on everything is at hand: index, verify, promote.
    fn publish(
        &mut self,
        drafted: Drafted,
        survey: &TableSummary,
        scan: Scan,
        mut held: VectorSources,
        bought: &CachedTexts,
    ) -> Result<PassReport, PassError> {
        let stop = &self.context.stop;
        self.enter(Stage::Index);
        let sealed = held.seal(self.context, drafted, survey)?;
        self.stopwatch.lap();

        self.enter(Stage::Verify);
        let verified = sealed.verify(stop)?;
        if stop.check().is_err() {
            return Err(PassError::Stopped);
        }
        self.stopwatch.lap();

        self.enter(Stage::Promote);
        let manifest = self.manifest(&verified, survey, scan);
        let now = (self.context.clock)();
        let promoted = verified.promote(&self.builds, &manifest, now);
        if !matches!(promoted, Err(promote::PromoteError::NotPromoted(_))) {
            self.history.record_promotion(&manifest.id, PromotedBy::Build.as_str(), now);
        }
        let build = promoted?;
        self.stopwatch.lap();
        held.drop_indexed(self.context, &survey.rows, !bought.texts.is_empty());
        self.prepared.replace(build);
        Ok(self.report(Outcome::Promoted))
    }

    fn manifest(&self, verified: &Verified, survey: &TableSummary, scan: Scan) -> Manifest {
        Manifest {
            format: MANIFEST_FORMAT,
            id: verified.id().to_owned(),
            sequence: self.prepared.next_sequence(),
            created: (self.context.clock)().to_string(),
            trigger: self.options.trigger.to_string(),
            adopted: false,
            program: crate::PROGRAM.to_owned(),
            faiss: index::FAISS_VERSION.to_owned(),
            source: SourceFacts {
                database: self.context.config.source.database.display().to_string(),
                indexed_rows: survey.tagged,
            },
            space: Some(self.context.space.clone()),
            scan_hash: Some(scan.hash),
            content_hash: Some(survey.content_hash),
            quarantined: survey.quarantined.clone(),
            files: verified.files.clone(),
            ntotal: verified.rows,
            dimension: verified.dimension,
            metric: "inner_product".to_owned(),
            counts: self.counts,
            timings: self.stopwatch.timings().before_promotion(),
            previous: self.prepared.id().map(str::to_owned),
        }
    }

    /// Whether this scan is one whose content is served.
    fn is_known(&self, scan: ScanHash) -> bool {
        if self.is_forced() {
            return false;
        }
        let Some(served) = self.prepared.intact() else { return false };
        let remembered = self
            .history
            .equivalent_scan
            .as_ref()
            .is_some_and(|same| same.build == served.manifest.id && same.scan_hash == scan);
        remembered || served.manifest.scan_hash == Some(scan)
    }

    fn is_same_content(&self, survey: &TableSummary) -> bool {
        let served = self.prepared.intact().and_then(|served| served.manifest.content_hash);
        !self.is_forced() && served == Some(survey.content_hash)
    }

    /// Whether a rollback forbids to build this content.
    fn is_held(&self, content: &ContentHash) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.forbids(self.prepared.id(), content))
    }

    /// Ends a hold, if there is one.
    fn release(&mut self) -> Result<(), PassError> {
        if self.hold.take().is_some() {
            Hold::release(&self.builds.layout)?;
        }
        Ok(())
    }

    fn is_forced(&self) -> bool {
        self.options.full || self.options.embed_again || self.prepared.must_rebuild()
    }

    /// The raw values differ and the records do not: the next look is spared the second scan.
    fn remember_scan(&mut self, scan: &Scan) -> Result<(), PassError> {
        if let Some(build) = self.prepared.id() {
            self.history.equivalent_scan =
                Some(EquivalentScan { build: build.to_owned(), scan_hash: scan.hash });
            self.history.save(&self.builds.layout)?;
        }
        Ok(())
    }

    fn check_limits(&self, survey: &TableSummary) -> Result<(), PassError> {
        let settings = &self.context.config.guard;
        if survey.unfit.count > settings.quarantine {
            return Err(PassError::Unfit(survey.unfit.clone()));
        }
        let limits = guard::Limits {
            max_shrink: settings.max_shrink,
            max_texts: settings.max_texts,
            accept_shrink: self.options.accept_shrink,
        };
        let served = prepare::previous_record_count(&self.builds, self.prepared.served())?;
        Ok(guard::check(&survey.plan.counts, survey.tagged, survey.unfit.count, served, &limits)?)
    }

    fn enter(&mut self, phase: Stage) {
        self.stopwatch.enter(phase);
        (self.context.progress)(PassProgress::Stage(phase));
    }

    fn report(&self, outcome: Outcome) -> PassReport {
        let mut counts = self.counts;
        if outcome != Outcome::Promoted {
            let records = self.prepared.records().unwrap_or_default();
            counts = Counts { records, kept: records, ..Counts::default() };
        }
        let build = self.prepared.id().map(str::to_owned);
        let message = summary(outcome, build.as_deref().unwrap_or("none"), &counts);
        PassReport { outcome, build, counts, timings: self.stopwatch.timings(), message }
    }
}

/// The one line that an operator reads about a pass.
fn summary(outcome: Outcome, build: &str, counts: &Counts) -> String {
    let Counts { records, kept, embedded, metadata_only, removed, requests } = counts;
    match outcome {
        Outcome::Promoted => format!(
            "build={build} records={records} kept={kept} embedded={embedded} metadata_only={metadata_only} removed={removed} requests={requests}"
        ),
        Outcome::Held => format!("build={build} is held by a rollback until the table changes"),
        Outcome::Unchanged | Outcome::Refused | Outcome::Failed(_) | Outcome::Busy | Outcome::Stopped => {
            format!("build={build} records={records}")
        }
    }
}
