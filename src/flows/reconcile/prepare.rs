//! What a pass finds on disk: the served build, and vectors already paid for.
//!
//! [`Prepared`] settles what an earlier pass or ingest.py left under the public
//! names. [`VectorSources`] gathers every vector of the space in force that need
//! not be bought: in the served build, in other kept builds, in the cache. An
//! index is proven against its manifest before anything is taken from it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio_util::sync::DropGuard;

use super::read_table::TableSummary;
use super::{PassContext, PassError, PassProgress};
use crate::adapters::builds::adopt::{self, Adoption};
use crate::adapters::builds::history::History;
use crate::adapters::builds::staging::{BuildContent, Drafted, Sealed};
use crate::adapters::builds::verify::{VerifyError, failed};
use crate::adapters::builds::{Build, Builds, Served, error_chain, promote};
use crate::adapters::cache::Cache;
use crate::decide::plan::{Plan, Planner, Reusable};
use crate::domain::pass::{ErrorClass, PromotedBy, REFUSED_PREFIX};
use crate::domain::record::{Space, TextHash};
use crate::domain::row_hashes::RowHashes;

/// What stood under the public names when the pass began.
pub(super) struct Prepared {
    served: Served,
    /// Rows of the served build once they are read; none of an adopted or damaged one.
    rows: Arc<Vec<RowHashes>>,
    /// The highest sequence of any build.
    sequence: u64,
    /// Why the served files must be replaced though the table may not differ.
    rebuild: bool,
    /// Builds whose index is not what its manifest says.
    excluded: HashSet<String>,
}

impl Prepared {
    /// Ends what was left undone, adopts what ingest.py left, and reads what is served.
    pub(super) fn under_lock(
        world: &PassContext<'_>,
        builds: &Builds,
        state: &mut History,
    ) -> Result<Self, PassError> {
        let now = (world.clock)();
        let warn = |words: &str| (world.progress)(PassProgress::Warning(words));
        let sequence = builds.kept()?.first().map_or(0, |newest| newest.manifest.sequence);
        let mut found = Self {
            served: builds.served(),
            rows: Arc::default(),
            sequence,
            rebuild: false,
            excluded: HashSet::new(),
        };
        if let Served::Damaged { why } = &found.served {
            warn(&format!("what is served cannot be read and is built anew: {why}"));
            found.rebuild = true;
        }
        match adopt_existing(world, builds, &found.served, found.next_sequence(), state)? {
            Adoption::Nothing | Adoption::Relinked => {
                promote::finish_promotion(builds, &found.served, now)?;
            }
            Adoption::Adopted { build, .. } => found.replace(*build),
            Adoption::Mixed { plain } => {
                let names =
                    plain.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
                warn(&format!(
                    "{names} is a plain file beside a link: ingest.py was run again; the pair is built anew"
                ));
                found.rebuild = true;
            }
        }
        found.note_promotion(builds, state, now)?;
        Ok(found)
    }

    /// A promotion that was cut short before it was noted is noted now.
    fn note_promotion(
        &self,
        builds: &Builds,
        state: &mut History,
        now: jiff::Timestamp,
    ) -> Result<(), PassError> {
        if let Some(id) = self.id()
            && state.promotions.last().is_none_or(|last| last.build != id)
        {
            let id = id.to_owned();
            state.record_promotion(&id, PromotedBy::Build.as_str(), now);
            state.save(&builds.layout)?;
        }
        Ok(())
    }

    /// Reads the rows of the served build: only a table that may differ is worth them.
    pub(super) fn read_rows(&mut self, world: &PassContext<'_>) -> Result<(), PassError> {
        if !self.rows.is_empty() {
            return Ok(());
        }
        if let Some(build) = self.served.build() {
            match build.rows() {
                Ok(rows) => self.rows = Arc::new(rows),
                Err(error) if error.class() == ErrorClass::Shortage => return Err(error.into()),
                Err(error) => {
                    (world.progress)(PassProgress::Warning(&error_chain(&error)));
                    self.rebuild = true;
                }
            }
        }
        Ok(())
    }

    /// Proves the served files in full; damaged ones are to be replaced.
    pub(super) fn verify_served(&mut self, world: &PassContext<'_>) -> Result<(), PassError> {
        let Some(build) = self.served.build() else { return Ok(()) };
        let checks = build.run_checks(&world.stop)?;
        if checks.iter().all(|check| check.ok) || build.manifest.adopted {
            return Ok(());
        }
        let words =
            format!("served build {} is damaged and is built anew: {}", build.manifest.id, failed(&checks));
        (world.progress)(PassProgress::Warning(&words));
        self.rebuild = true;
        Ok(())
    }

    /// The served build, readable and not known to be damaged.
    pub(super) fn intact(&self) -> Option<&Build> {
        self.served.build().filter(|_| !self.rebuild)
    }

    /// The id of the served build.
    pub(super) fn id(&self) -> Option<&str> {
        self.served.build().map(|build| build.manifest.id.as_str())
    }

    /// Records of the served build.
    pub(super) fn records(&self) -> Option<u64> {
        self.served.build().map(|build| build.manifest.ntotal)
    }

    /// What is served.
    pub(super) fn served(&self) -> &Served {
        &self.served
    }

    /// Rows of the served build, in index order.
    pub(super) fn rows(&self) -> &[RowHashes] {
        &self.rows
    }

    /// Whether the served files must be replaced though nothing may differ.
    pub(super) fn must_rebuild(&self) -> bool {
        self.rebuild
    }

    /// The sequence of the next build.
    pub(super) fn next_sequence(&self) -> u64 {
        // At the end of all numbers builds are no longer told by them which is the newer.
        self.sequence.saturating_add(1)
    }

    /// Another build is served from now on.
    pub(super) fn replace(&mut self, build: Build) {
        self.sequence = self.sequence.max(build.manifest.sequence);
        self.served = Served::Build(Box::new(build));
    }

    /// Nothing more is taken from a build whose index is damaged.
    pub(super) fn exclude(&mut self, world: &PassContext<'_>, id: String) {
        let words =
            format!("the index of build {id} is not what its manifest says; no vector is taken from it");
        (world.progress)(PassProgress::Warning(&words));
        self.rebuild |= self.id() == Some(id.as_str());
        self.excluded.insert(id);
    }
}

/// How many records the guard of shrinkage takes for normal: those of the newest build that can be
/// read, where the served one cannot.
pub(super) fn previous_record_count(builds: &Builds, served: &Served) -> Result<Option<u64>, PassError> {
    Ok(match served {
        Served::Nothing => None,
        Served::Build(build) => Some(build.manifest.ntotal),
        Served::Damaged { .. } => builds.kept()?.first().map(|newest| newest.manifest.ntotal),
    })
}

/// Adopts what ingest.py left under the public names, says so, and notes it.
pub(super) fn adopt_existing(
    world: &PassContext<'_>,
    builds: &Builds,
    served: &Served,
    sequence: u64,
    state: &mut History,
) -> Result<Adoption, PassError> {
    let now = (world.clock)();
    let warn = |words: &str| (world.progress)(PassProgress::Warning(words));
    let adoption = adopt::adopt(builds, served, sequence, now, &world.stop)?;
    if let Adoption::Adopted { build, mismatch } = &adoption {
        warn(&format!("adopted the files of ingest.py as build {}", build.manifest.id));
        if let Some(mismatch) = mismatch {
            warn(&format!("the adopted files do not belong together: {mismatch}"));
        }
        state.record_promotion(&build.manifest.id, PromotedBy::Adopt.as_str(), now);
        state.save(&builds.layout)?;
    }
    Ok(adoption)
}

/// Texts that the provider refused when a kept build of this space was made, with its words.
///
/// Of all of them, not of the served one alone: a rollback must not bring a
/// refused text before the provider again.
pub(super) fn refused_texts(builds: &Builds, space: &Space) -> Result<HashMap<TextHash, String>, PassError> {
    let words = |reason: &str| reason.strip_prefix(REFUSED_PREFIX).unwrap_or(reason).to_owned();
    let kept = builds.kept()?;
    let same = kept.iter().filter(|build| build.manifest.space.as_ref() == Some(space));
    let rows = same.flat_map(|build| &build.manifest.quarantined);
    Ok(rows.filter_map(|row| Some((row.refused_text?, words(&row.reason)))).collect())
}

/// Bytes of an index that take longer to prove than a thread takes to begin.
const MIN_BYTES_FOR_THREAD: u64 = 1 << 20;

/// Every vector of the space in force that need not be bought.
pub(super) struct VectorSources {
    builds: Vec<BuildRows>,
    cached: HashSet<TextHash>,
    /// Of these, what this pass has bought.
    embedded: HashSet<TextHash>,
    cache: Cache,
}

impl VectorSources {
    /// Finds them: the served build first, then the others from the newest on.
    ///
    /// To buy every vector again, nothing counts as held but what this pass has `bought`.
    pub(super) fn find(
        world: &PassContext<'_>,
        builds: &Builds,
        found: &Prepared,
        rebuy: bool,
        bought: &HashSet<TextHash>,
    ) -> Result<Self, PassError> {
        let now = (world.clock)().as_second();
        let (cache, warning) = Cache::open(&builds.layout.cache(), &world.space, now)?;
        if let Some(warning) = warning {
            (world.progress)(PassProgress::Warning(&warning));
        }
        let (kept, cached) = if rebuy {
            (Vec::new(), bought.clone())
        } else {
            let kept = reusable_builds(builds, &world.space, found.id(), &found.rows, &found.excluded)?;
            (kept, cache.hashes())
        };
        Ok(Self { builds: kept, cached, embedded: bought.clone(), cache })
    }

    /// A planner that knows of them.
    pub(super) fn planner<'a>(&'a self, served: &'a [RowHashes]) -> Planner<'a> {
        planner(served, &self.builds, &self.cached, &self.embedded)
    }

    /// Begins to prove the index of the likeliest build while the rows are read: nearly every plan
    /// takes vectors from it.
    pub(super) fn start_index_check(&self, world: &PassContext<'_>) -> Option<EarlyIndexCheck> {
        let build = self.builds.first()?.build.clone();
        if build.manifest.files.index.bytes < MIN_BYTES_FOR_THREAD {
            return None;
        }
        let (stop, cancel) = world.stop.child();
        let proof = move || build.index_matches_manifest(&stop);
        // Where no thread can be had it is proven when its turn comes.
        let thread = std::thread::Builder::new().name("prove".to_owned()).spawn(proof).ok()?;
        Some(EarlyIndexCheck { thread, _cancel_on_drop: cancel })
    }

    /// Proves the indexes that a plan takes vectors from; gives the id of one that is damaged.
    pub(super) fn find_damaged(
        &self,
        world: &PassContext<'_>,
        plan: &Plan,
        mut ahead: Option<EarlyIndexCheck>,
    ) -> Result<Option<String>, VerifyError> {
        for &build in &plan.builds_used {
            let proof = ahead.take_if(|_| build == 0);
            let build = &self.builds[usize::from(build)].build;
            let whole = match proof {
                Some(proof) => proof.join(),
                None => build.index_matches_manifest(&world.stop),
            };
            if !whole? {
                return Ok(Some(build.manifest.id.clone()));
            }
        }
        Ok(None)
    }

    /// The builds that a plan takes vectors from.
    pub(super) fn used_by(&self, plan: &Plan) -> Vec<&str> {
        let id = |build: &u16| self.builds[usize::from(*build)].build.manifest.id.as_str();
        plan.builds_used.iter().map(id).collect()
    }

    /// Where bought vectors are kept.
    pub(super) fn cache(&mut self) -> &mut Cache {
        &mut self.cache
    }

    /// Writes index and hashes from vectors that are all at hand.
    pub(super) fn seal(
        &mut self,
        world: &PassContext<'_>,
        drafted: Drafted,
        survey: &TableSummary,
    ) -> Result<Sealed, PassError> {
        let sources: Vec<&Build> = self.builds.iter().map(|held| &held.build).collect();
        let cache = &mut self.cache;
        let content = BuildContent {
            rows: &survey.rows,
            origins: &survey.plan.origins,
            sources: &sources,
            dimension: world.space.dimension,
        };
        drafted.seal(&content, &mut |text, out| Ok(cache.vector(text, out)?), &world.stop)
    }

    /// Drops from the cache what the new build holds. What fails here costs only room.
    pub(super) fn drop_indexed(&mut self, world: &PassContext<'_>, rows: &[RowHashes], bought: bool) {
        if self.cached.is_empty() && !bought {
            return;
        }
        let holds: HashSet<TextHash> = rows.iter().map(|row| row.text).collect();
        if let Err(error) = self.cache.remove(&|text| holds.contains(text)) {
            (world.progress)(PassProgress::Warning(&error_chain(&error)));
        }
    }
}

/// A proof that goes on beside the reading of the rows. Dropped, it is given up.
pub(super) struct EarlyIndexCheck {
    thread: JoinHandle<Result<bool, VerifyError>>,
    _cancel_on_drop: DropGuard,
}

impl EarlyIndexCheck {
    fn join(self) -> Result<bool, VerifyError> {
        // A panic in there is our own bug and goes on here.
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// A kept build with the hashes of its rows.
pub(super) struct BuildRows {
    build: Build,
    rows: Arc<Vec<RowHashes>>,
}

/// The kept builds of a space with their rows, the served one first.
pub(super) fn reusable_builds(
    builds: &Builds,
    space: &Space,
    served: Option<&str>,
    served_rows: &Arc<Vec<RowHashes>>,
    excluded: &HashSet<String>,
) -> Result<Vec<BuildRows>, PassError> {
    let mut kept = builds.kept()?;
    kept.retain(|build| {
        build.manifest.space.as_ref() == Some(space) && !excluded.contains(&build.manifest.id)
    });
    kept.sort_by_key(|build| served != Some(build.manifest.id.as_str()));
    let mut usable = Vec::with_capacity(kept.len());
    for build in kept {
        let is_served = served == Some(build.manifest.id.as_str()) && !served_rows.is_empty();
        let rows = if is_served { Ok(Arc::clone(served_rows)) } else { build.rows().map(Arc::new) };
        match rows {
            Ok(rows) => usable.push(BuildRows { build, rows }),
            Err(error) if error.class() == ErrorClass::Shortage => return Err(error.into()),
            // A build whose rows are damaged gives nothing; `verify` says why.
            Err(_) => {}
        }
    }
    Ok(usable)
}

/// A planner that knows of builds and cache.
pub(super) fn planner<'a>(
    served: &'a [RowHashes],
    builds: &'a [BuildRows],
    cached: &'a HashSet<TextHash>,
    bought: &'a HashSet<TextHash>,
) -> Planner<'a> {
    let builds = builds.iter().map(|build| build.rows.as_slice()).collect();
    Planner::new(served, Reusable { builds, cached, embedded: bought })
}
