//! Disk space: old builds are removed, and a build that would not fit is refused.
//!
//! Old builds are removed after a pass that succeeded: one that fails takes
//! nothing from a rollback or from the next pass, which may need a vector that
//! only the oldest build has. If disk space is short they are removed earlier,
//! except builds this pass reads vectors from.

use std::time::Duration;

use super::context::PassContext;
use super::error::PassError;
use super::leaving::keep_vectors;
use super::prepare::Prepared;
use super::read_table::TableSummary;
use super::reuse::VectorSources;
use crate::adapters::builds::collect::{self, RetentionRules};
use crate::adapters::builds::history::READER_GRACE;
use crate::adapters::builds::staging::Drafted;
use crate::adapters::builds::{BuildsError, disk, error_chain};

/// Removes builds that are no longer needed. A failure costs only disk space, and is logged.
pub(super) fn collect_old_builds(context: &PassContext<'_>, prepared: &Prepared) {
    if let Err(error) = collect(context, prepared, context.config.publish.keep, READER_GRACE, None) {
        context.warn(&error_chain(&error));
    }
}

/// Refuses a build that would not fit, before anything is embedded.
pub(super) fn ensure_disk_space(
    context: &PassContext<'_>,
    prepared: &Prepared,
    drafted: &Drafted,
    table: &TableSummary,
    sources: &VectorSources,
) -> Result<(), PassError> {
    let needed = drafted.bytes_remaining(table.rows.len() as u64, context.space.dimension);
    let root = &prepared.builds.layout.root;
    if disk::free_bytes(root)? >= needed {
        return Ok(());
    }
    // The new build will be one of the newest.
    let newest = context.config.publish.keep.saturating_sub(1).max(1);
    if let Err(error) =
        collect(context, prepared, newest, Duration::ZERO, Some(&sources.used_by(&table.plan)))
    {
        context.warn(&error_chain(&error));
    }
    let free = disk::free_bytes(root)?;
    if free < needed {
        return Err(PassError::NoSpace { path: root.clone(), needed, free });
    }
    Ok(())
}

/// `used`: what this pass is about to take vectors from, while disk space is short. Else it has ended well,
/// and vectors that no other build has are kept in the cache.
fn collect(
    context: &PassContext<'_>,
    prepared: &Prepared,
    newest: usize,
    grace: Duration,
    used: Option<&[&str]>,
) -> Result<(), BuildsError> {
    let builds = &prepared.builds;
    let served = builds.served_id()?;
    let rules = RetentionRules {
        newest,
        grace,
        served: served.as_deref(),
        used: used.unwrap_or_default(),
        state: &prepared.history,
        hold: prepared.hold(),
        now: context.now(),
    };
    let kept = builds.kept()?;
    let mut surplus = collect::surplus(&kept, &rules);
    surplus.retain(|id| !prepared.is_doubted(id));
    if used.is_none() && !surplus.is_empty() {
        keep_vectors(context, prepared, &kept, &mut surplus);
    }
    Ok(collect::collect(builds, &surplus)?)
}
