//! What is served, and what earlier passes and `ingest.py` left.
//!
//! [`Prepared`] has two makers. Under the lock, an interrupted promotion is
//! finished and files of `ingest.py` are adopted; read-only, nothing is
//! changed, for `plan` and `status`. Both gather the [`Facts`] that
//! `decide::decision` asks for. Which vectors can be reused is `reuse`'s work.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::acted_scan::BegunScan;
use super::adopt_existing::adopt_existing;
use super::context::{PassContext, PassOptions};
use super::error::PassError;
use super::read_table::FoundRows;
use super::served_space::{served_space, space_of};
use crate::adapters::builds::adopt::Adoption;
use crate::adapters::builds::history::{EquivalentScan, History};
use crate::adapters::builds::verify::failed;
use crate::adapters::builds::{Build, Builds, Doubt, Hold, KeptBuilds, Proof, Served, error_chain, promote};
use crate::decide::acceptance::Accepted;
use crate::decide::build_space::BuildSpace;
use crate::decide::decision::{self, Assessment, Facts, ServedFacts, TableFacts};
use crate::decide::embedded_again::ReadNow;
use crate::decide::guard::Limits;
use crate::decide::retries;
use crate::domain::pass::Trigger;
use crate::domain::record::{ContentHash, ScanHash, TextHash};
use crate::domain::row_hashes::RowHashes;

/// What is served and remembered when a pass or a preview begins.
pub(super) struct Prepared {
    pub(super) builds: Builds,
    pub(super) history: History,
    served: Served,
    hold: Option<Hold>,
    /// Rows of the served build once they are read; none of an adopted or damaged one.
    rows: Arc<Vec<RowHashes>>,
    kept: KeptFacts,
    /// Public names that do not lead to the served build. Under the lock they are replaced at once.
    dangling_links: Vec<PathBuf>,
    /// Whether the served files must be replaced though the table may not differ.
    must_rebuild: bool,
    /// Builds whose index is not what its manifest says.
    excluded: HashSet<String>,
    /// Builds whose index is not known to be whole.
    doubted: HashSet<String>,
    /// What was found to be damaged, until the operator is warned of it.
    damage: Vec<String>,
    is_read_only: bool,
    /// The scan whose rows this pass works with.
    pub(super) begun_scan: Option<BegunScan>,
}

/// What the manifests of all kept builds say.
#[derive(Default)]
struct KeptFacts {
    /// The highest sequence of any build.
    sequence: u64,
    /// Records of the newest build.
    newest_records: Option<u64>,
    newest_space: Option<BuildSpace>,
    /// Texts that the provider refused, with its message.
    refused: HashMap<TextHash, String>,
}

impl Prepared {
    /// Finishes what was interrupted, adopts files of `ingest.py`, and reads what is served.
    pub(super) fn under_lock(
        context: &PassContext<'_>,
        options: &PassOptions,
        builds: Builds,
    ) -> Result<Self, PassError> {
        let (history, damaged_history) = History::load(&builds.layout)?;
        let (hold, damaged_hold) = Hold::load(&builds.layout)?;
        for message in [damaged_history, damaged_hold].into_iter().flatten() {
            context.warn(&message);
        }
        let served = known(builds.served())?;
        let kept = KeptFacts::read(&builds, context, options)?;
        let mut prepared = Self::new(builds, served, history, hold);
        prepared.kept = kept;
        if let Served::Damaged { why } = &prepared.served {
            prepared.damage.push(format!("what is served cannot be read and is replaced: {why}"));
            prepared.must_rebuild = true;
        }
        prepared.adopt_or_finish_promotion(context)?;
        prepared.note_promotion(context);
        Ok(prepared)
    }

    /// Reads what is served and changes nothing.
    pub(super) fn read_only(builds: Builds, served: Served) -> Result<Self, PassError> {
        let served = known(served)?;
        let (history, _) = History::load(&builds.layout)?;
        let (hold, _) = Hold::load(&builds.layout)?;
        let dangling_links = served.build().map(|_| builds.dangling_links()).unwrap_or_default();
        Ok(Self { dangling_links, is_read_only: true, ..Self::new(builds, served, history, hold) })
    }

    fn new(builds: Builds, served: Served, history: History, hold: Option<Hold>) -> Self {
        Self {
            builds,
            history,
            served,
            hold,
            rows: Arc::default(),
            kept: KeptFacts::default(),
            dangling_links: Vec::new(),
            must_rebuild: false,
            excluded: HashSet::new(),
            doubted: HashSet::new(),
            damage: Vec::new(),
            is_read_only: false,
            begun_scan: None,
        }
    }

    fn adopt_or_finish_promotion(&mut self, context: &PassContext<'_>) -> Result<(), PassError> {
        let sequence = self.next_sequence();
        match adopt_existing(context, &self.builds, &self.served, sequence, &mut self.history)? {
            Adoption::Nothing | Adoption::Relinked => {
                promote::finish_promotion(&self.builds, &self.served, (context.clock)())?;
            }
            Adoption::Adopted { build, .. } => self.replace_served(*build),
            Adoption::Mixed { plain } => {
                let names: Vec<_> = plain.iter().map(|path| path.display().to_string()).collect();
                context.warn(&format!(
                    "{} is a plain file beside a link: ingest.py was run again; both are replaced",
                    names.join(", ")
                ));
                self.must_rebuild = true;
            }
        }
        Ok(())
    }

    /// Records a promotion that was interrupted before it was recorded.
    fn note_promotion(&mut self, context: &PassContext<'_>) {
        let now = context.now();
        if let Some(id) = self.id().map(str::to_owned)
            && self.history.record_unrecorded(&id, now)
        {
            self.save_history(context);
        }
    }

    /// Writes the history. Where it cannot be written, the next pass does again what it would say.
    pub(super) fn save_history(&self, context: &PassContext<'_>) {
        if let Err(error) = self.history.save(&self.builds.layout) {
            context.warn(&error_chain(&error));
        }
    }

    /// What the decision about a scan needs to know.
    pub(super) fn facts<'a>(&'a self, context: &'a PassContext<'_>, options: &PassOptions) -> Facts<'a> {
        let (served, previous_records) = match &self.served {
            Served::Nothing => (ServedFacts::Nothing, None),
            Served::Damaged { why } => (ServedFacts::Damaged(why), self.kept.newest_records),
            Served::NotKnown(_) => unreachable!("nothing is decided about what is not known"),
            Served::Build(build) => {
                (ServedFacts::Build(&build.manifest), Some(build.manifest.counts.records))
            }
        };
        let equivalent = self.history.equivalent_scan.as_ref();
        let hold = self.hold.as_ref();
        Facts {
            served,
            space: &context.space,
            served_space: served_space(&self.builds, &self.served, self.kept.newest_space.as_ref()),
            is_by_hand: options.trigger == Trigger::Command,
            equivalent_scan: equivalent
                .filter(|scan| self.id() == Some(&scan.build))
                .map(|scan| scan.scan_hash),
            held_content: hold
                .filter(|hold| self.id() == Some(&hold.build))
                .and_then(|hold| hold.content_hash),
            dangling_links: &self.dangling_links,
            previous_records,
            is_forced: options.is_forced() || self.must_rebuild,
            always_reads_rows: self.is_read_only && (hold.is_some() || !self.dangling_links.is_empty()),
            ends_holds: !self.is_read_only,
        }
    }

    /// What is to be done about the rows of the table.
    pub(super) fn assess(
        &self,
        context: &PassContext<'_>,
        options: &PassOptions,
        accepted: Accepted,
        found: &FoundRows<'_>,
    ) -> Assessment {
        let &FoundRows { table, queries, other_address } = found;
        let limits = Limits::new(&context.config.guard, accepted);
        let table = TableFacts {
            content: table.content_hash,
            read: ReadNow { rules: &table.rules, values: table.values_hash },
            counts: &table.plan.counts,
            again: table.plan.again,
            entries: table.rows.len() as u64,
            indexed_rows: table.indexed_rows,
            unfit: &table.unfit,
            queries,
            other_address,
        };
        decision::after_rows(&self.facts(context, options), &table, &limits)
    }

    /// Reads the rows of the served build: only a table that may differ is worth it.
    pub(super) fn read_rows(&mut self) -> Result<(), PassError> {
        if !self.rows.is_empty() {
            return Ok(());
        }
        let Some(build) = self.served.build() else { return Ok(()) };
        match build.rows() {
            Proof::Whole(rows) => self.rows = Arc::new(rows),
            Proof::NotKnown(doubt) => return Err(doubt.into()),
            Proof::Damaged(why) => {
                if !self.must_rebuild {
                    self.damage
                        .push(format!("build {} is damaged and is replaced: {why}", build.manifest.id));
                }
                self.must_rebuild = true;
            }
        }
        Ok(())
    }

    /// Reads the manifests of the kept builds; a pass has done so before.
    pub(super) fn read_kept(
        &mut self,
        context: &PassContext<'_>,
        options: &PassOptions,
    ) -> Result<(), PassError> {
        self.kept = KeptFacts::read(&self.builds, context, options)?;
        Ok(())
    }

    /// Verifies the served files in full; damaged ones are to be replaced.
    pub(super) fn verify_served(&mut self, context: &PassContext<'_>) -> Result<(), PassError> {
        let Some(build) = self.served.build() else { return Ok(()) };
        let checks = build.run_checks(&context.stop)?;
        if checks.iter().all(|check| check.ok) || build.manifest.adopted {
            return Ok(());
        }
        let id = &build.manifest.id;
        self.damage.push(format!("served build {id} is damaged and is replaced: {}", failed(&checks)));
        self.must_rebuild = true;
        Ok(())
    }

    /// Remembers that a scan has the content of the served build though its raw values differ: the next
    /// pass need not read the rows.
    pub(super) fn remember_scan(&mut self, context: &PassContext<'_>, scan_hash: ScanHash) {
        if let Some(build) = self.id().map(str::to_owned) {
            self.remember_acted_scan(&build);
            self.history.equivalent_scan = Some(EquivalentScan { build, scan_hash });
            self.save_history(context);
        }
    }

    /// Remembers that `build` has the content of the scan of this pass.
    pub(super) fn remember_acted_scan(&mut self, build: &str) {
        self.history.acted_scan = self.begun_scan.take().and_then(|begun| begun.acted(build));
    }

    /// Ends the hold, if there is one.
    pub(super) fn release_hold(&mut self) -> Result<(), PassError> {
        if self.hold.take().is_some() {
            Hold::release(&self.builds.layout)?;
        }
        Ok(())
    }

    /// Another build is served from now on.
    pub(super) fn replace_served(&mut self, build: Build) {
        self.kept.sequence = self.kept.sequence.max(build.manifest.sequence);
        self.served = Served::Build(Box::new(build));
    }

    /// Reuses nothing more of a build whose index is damaged.
    pub(super) fn exclude(&mut self, id: String, why: &str) {
        self.damage.push(format!(
            "the index of build {id} does not match its manifest; its vectors are not reused: {why}"
        ));
        self.must_rebuild |= self.id() == Some(&id);
        self.excluded.insert(id);
    }

    /// Warns of what was found to be damaged, once, and of the texts that are embedded because of it.
    pub(super) fn warn_of_damage(&mut self, context: &PassContext<'_>, texts: Option<u64>) {
        if self.damage.is_empty() {
            return;
        }
        let cost = texts.map(|texts| format!("; texts to embed again because of it: {texts}"));
        context.warn(&format!("{}{}", self.damage.join("; "), cost.unwrap_or_default()));
        self.damage.clear();
    }

    /// Reuses nothing of a build whose index is not known to be whole, and does not remove it.
    pub(super) fn doubt(&mut self, context: &PassContext<'_>, id: String, doubt: &Doubt) {
        context.warn(&not_used(&id, doubt));
        self.excluded.insert(id.clone());
        self.doubted.insert(id);
    }

    pub(super) fn is_doubted(&self, id: &str) -> bool {
        self.doubted.contains(id)
    }

    /// The content of the served build, if its files are not known to be damaged.
    pub(super) fn intact_content(&self) -> Option<ContentHash> {
        self.served.build().filter(|_| !self.must_rebuild)?.manifest.content_hash
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.served.build().map(|build| build.manifest.id.as_str())
    }

    /// Records of the served build.
    pub(super) fn records(&self) -> Option<u64> {
        self.served.build().map(|build| build.manifest.counts.records)
    }

    pub(super) fn served(&self) -> &Served {
        &self.served
    }

    pub(super) fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// Rows of the served build, in index order.
    pub(super) fn rows(&self) -> &Arc<Vec<RowHashes>> {
        &self.rows
    }

    pub(super) fn refused(&self) -> &HashMap<TextHash, String> {
        &self.kept.refused
    }

    /// The provider has refused more texts.
    pub(super) fn add_refused(&mut self, refused: impl IntoIterator<Item = (TextHash, String)>) {
        self.kept.refused.extend(refused);
    }

    /// These texts no longer count as refused; gives their messages.
    pub(super) fn take_refused(&mut self, texts: &HashSet<TextHash>) -> HashMap<TextHash, String> {
        self.kept.refused.extract_if(|text, _| texts.contains(text)).collect()
    }

    pub(super) fn excluded(&self) -> &HashSet<String> {
        &self.excluded
    }

    pub(super) fn next_sequence(&self) -> u64 {
        next_sequence(self.kept.sequence)
    }
}

impl KeptFacts {
    fn read(builds: &Builds, context: &PassContext<'_>, options: &PassOptions) -> Result<Self, PassError> {
        let KeptBuilds { whole: kept, not_known, .. } = builds.kept()?;
        for (id, doubt) in &not_known {
            context.warn(&not_used(id, doubt));
        }
        let newest = kept.first().map(|newest| &newest.manifest);
        let manifests = kept.iter().map(|build| &build.manifest);
        Ok(Self {
            newest_space: kept.first().and_then(space_of),
            sequence: newest.map_or(0, |newest| newest.sequence),
            newest_records: newest.map(|newest| newest.counts.records),
            refused: if options.embed_again {
                HashMap::new()
            } else {
                retries::refused_texts(manifests, &context.space)
            },
        })
    }
}

/// What is served, unless it is not known: then a pass ends and a preview shows nothing.
fn known(served: Served) -> Result<Served, PassError> {
    match served {
        Served::NotKnown(doubt) => Err(doubt.into()),
        Served::Nothing | Served::Build(_) | Served::Damaged { .. } => Ok(served),
    }
}

fn not_used(id: &str, doubt: &Doubt) -> String {
    format!("build {id} is neither used nor removed, because it could not be read: {}", error_chain(doubt))
}

/// The sequence after this one. At the end of all numbers, builds can no longer be ordered by them.
pub(super) fn next_sequence(highest: u64) -> u64 {
    highest.saturating_add(1)
}
