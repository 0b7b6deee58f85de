//! Vectors that leave with a build that is about to be collected: they go to the cache.
//!
//! A row whose tags are cleared for longer than its vector's last build is kept
//! has been paid for all the same. So what no other kept build of the space has
//! is put into the cache first, where it stays for thirty days. Vectors of
//! another space are not kept, since a change of model would put a whole index
//! there; nor are those of another address of the provider.
//!
//! Whatever fails here costs at most a vector, or keeps its build until the next pass.

use std::collections::HashSet;

use super::cached_origin;
use super::context::PassContext;
use super::error::PassError;
use super::prepare::Prepared;
use crate::adapters::builds::index_writer::IndexVectors;
use crate::adapters::builds::{Build, KeptBuilds, Proof, disk, error_chain};
use crate::adapters::cache::Cache;
use crate::decide::plan::{Need, Planner, Reusable};
use crate::domain::record::TextHash;
use crate::domain::row_hashes::RowHashes;
use crate::domain::stop::Stopped;

/// The most vectors that one pass keeps: a table that was rewritten as a whole must not be there twice.
const MAX_VECTORS: usize = 100_000;
/// Vectors that are stored in one step.
const BATCH: usize = 1000;
/// What the cache needs for a vector beside its floats.
const OVERHEAD_BYTES: u64 = 128;

/// Puts into the cache what only the builds of `surplus` have. One whose vectors could not be read stays.
pub(super) fn keep_vectors(
    context: &PassContext<'_>,
    prepared: &Prepared,
    kept: &KeptBuilds,
    surplus: &mut Vec<String>,
) {
    let address = context.config.embedding.address();
    let is_usable = |build: &&Build| {
        build.manifest.address.as_ref().is_none_or(|from| address.as_ref() == Some(from))
            && build.manifest.space.as_ref() == Some(&context.space)
            && !prepared.excluded().contains(&build.manifest.id)
    };
    let is_leaving = |build: &&Build| surplus.contains(&build.manifest.id);
    let (leaving, staying): (Vec<&Build>, Vec<&Build>) =
        kept.whole.iter().filter(is_usable).partition(is_leaving);
    if leaving.is_empty() {
        return;
    }
    let staying: Vec<Vec<RowHashes>> = staying.into_iter().filter_map(|build| whole(build.rows())).collect();
    let mut known = HashSet::new();
    let mut found = Vec::new();
    for build in leaving {
        let rows = match build.rows() {
            Proof::Whole(rows) => only_here(&rows, &staying, &mut known),
            Proof::Damaged(_) => continue,
            Proof::NotKnown(doubt) => {
                stays(context, build, &error_chain(&doubt), surplus);
                continue;
            }
        };
        if !rows.is_empty() {
            found.push((build, rows));
        }
    }
    if found.is_empty() {
        return;
    }
    if let Err(error) = store(context, prepared, &found, surplus) {
        context.warn(&format!(
            "the vectors that leave with old builds are not kept: {}; a row that comes back is embedded again",
            error.to_line()
        ));
    }
}

/// The rows whose text no staying build has, each text once.
fn only_here(
    rows: &[RowHashes],
    staying: &[Vec<RowHashes>],
    known: &mut HashSet<TextHash>,
) -> Vec<(u32, TextHash)> {
    let (cached, embedded) = (HashSet::new(), HashSet::new());
    let builds = staying.iter().map(Vec::as_slice).collect();
    let mut planner = Planner::new(&[], 0, Reusable { builds, cached: &cached, embedded: &embedded });
    let mut is_alone = |row: &RowHashes| planner.row(row, true) == Need::Embed && known.insert(row.text);
    (0..).zip(rows).filter_map(|(at, row)| is_alone(row).then_some((at, row.text))).collect()
}

fn store(
    context: &PassContext<'_>,
    prepared: &Prepared,
    found: &[(&Build, Vec<(u32, TextHash)>)],
    surplus: &mut Vec<String>,
) -> Result<(), PassError> {
    let layout = &prepared.builds.layout;
    let (mut cache, warning) = Cache::open(&layout.cache(), &context.space, (context.clock)().as_second())?;
    if let Some(warning) = warning {
        context.warn(&warning);
    }
    let cached = cache.hashes();
    cached_origin::record(context, &prepared.builds)?;
    let mut left = MAX_VECTORS;
    for (build, rows) in found {
        let rows: Vec<(u32, TextHash)> =
            rows.iter().filter(|(_, text)| !cached.contains(text)).take(left).copied().collect();
        left -= rows.len();
        let needed = rows.len() as u64 * (4 * context.space.dimension as u64 + OVERHEAD_BYTES);
        let free = disk::free_bytes(&layout.root)?;
        if rows.is_empty() {
            continue;
        }
        if free < 2 * needed {
            return Err(PassError::NoSpace { path: layout.root.clone(), needed: 2 * needed, free });
        }
        match build.prove_index(&context.stop) {
            Ok(Proof::Whole(())) => match copy(context, build, &rows, &mut cache) {
                Err(PassError::Stopped) => return end(surplus),
                copied => copied?,
            },
            Ok(Proof::Damaged(_)) => {}
            Ok(Proof::NotKnown(doubt)) => stays(context, build, &error_chain(&doubt), surplus),
            Err(Stopped) => return end(surplus),
        }
    }
    if left == 0 {
        context.warn(&format!(
            "more than {MAX_VECTORS} vectors leave with old builds: the others are not kept, and their texts \
             are embedded again if they come back"
        ));
    }
    Ok(())
}

fn copy(
    context: &PassContext<'_>,
    build: &Build,
    rows: &[(u32, TextHash)],
    cache: &mut Cache,
) -> Result<(), PassError> {
    let vectors = IndexVectors::open(build, context.space.dimension)?;
    for batch in rows.chunks(BATCH) {
        context.stop.check()?;
        let mut floats = Vec::with_capacity(batch.len() * context.space.dimension);
        for (row, _) in batch {
            vectors.append(u64::from(*row), &mut floats)?;
        }
        let texts: Vec<TextHash> = batch.iter().map(|(_, text)| *text).collect();
        cache.store(&texts, &floats)?;
    }
    Ok(())
}

/// A stop was requested: nothing more is collected now.
#[allow(clippy::unnecessary_wraps, reason = "the end of what may fail")]
fn end(surplus: &mut Vec<String>) -> Result<(), PassError> {
    surplus.clear();
    Ok(())
}

/// A build is not collected now.
fn stays(context: &PassContext<'_>, build: &Build, why: &str, surplus: &mut Vec<String>) {
    let id = &build.manifest.id;
    context
        .warn(&format!("build {id} stays until the next pass, because its vectors could not be read: {why}"));
    surplus.retain(|other| other != id);
}

fn whole<T>(proof: Proof<T>) -> Option<T> {
    match proof {
        Proof::Whole(value) => Some(value),
        Proof::Damaged(_) | Proof::NotKnown(_) => None,
    }
}
