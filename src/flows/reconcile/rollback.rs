//! Serves an earlier build again, and holds it until the table changes.
//!
//! The target is proven in full first. The hold is written before the switch:
//! a crash between the two leaves a hold on a build that is not served, which
//! forbids nothing.

use super::preview::preview;
use super::{PassContext, PassError, PassOptions, PassProgress, prepare};
use crate::adapters::builds::adopt::Adoption;
use crate::adapters::builds::history::History;
use crate::adapters::builds::verify::failed;
use crate::adapters::builds::{Builds, Hold, Served, error_chain, promote, sweep};
use crate::domain::pass::PromotedBy;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Rollback {
    /// The build to serve; `None` for the one promoted before.
    pub to: Option<String>,
    /// Who asked, for the hold.
    pub by: String,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackReport {
    /// The build that was served.
    pub from: Option<String>,
    /// The build that is served now.
    pub to: String,
}

/// Serves an earlier build and holds it.
///
/// # Errors
///
/// [`PassError`]; what was served before is served still, unless it says otherwise.
pub fn rollback(world: &PassContext<'_>, asked: &Rollback) -> Result<RollbackReport, PassError> {
    let builds = Builds::at(&world.config.publish.index, &world.config.publish.metadata)?;
    let _lock = builds.lock()?.ok_or(PassError::Busy)?;
    sweep::sweep(&builds)?;
    // An adoption that broke off leaves nothing half made behind.
    switch_back(world, asked, &builds).inspect_err(|_| super::finish::sweep_after_failure(world, &builds))
}

fn switch_back(
    world: &PassContext<'_>,
    asked: &Rollback,
    builds: &Builds,
) -> Result<RollbackReport, PassError> {
    let (mut state, _) = History::load(&builds.layout)?;
    let mut served = builds.served();
    let sequence = builds.kept()?.first().map_or(0, |newest| newest.manifest.sequence).saturating_add(1);
    // Links are about to take the place of what ingest.py may have left: it must not be lost.
    if let Adoption::Adopted { build, .. } =
        prepare::adopt_existing(world, builds, &served, sequence, &mut state)?
    {
        served = Served::Build(build);
    }
    let from = match &served {
        Served::Nothing => None,
        Served::Build(build) => Some(build.manifest.id.clone()),
        // It cannot be read, but its promotion was noted: a reason more to leave it.
        Served::Damaged { .. } => state.promotions.last().map(|last| last.build.clone()),
    };
    let there = |id: &str| builds.build(id).is_ok();
    let to = match (&asked.to, &from) {
        (Some(to), _) => to.clone(),
        (None, Some(from)) => {
            let before = state.previous_to(from, &there);
            before.map(str::to_owned).ok_or_else(|| PassError::NothingBefore { served: from.clone() })?
        }
        (None, None) => return Err(PassError::NothingPromoted),
    };
    let target = builds.build(&to)?;
    let checks = target.run_checks(&world.stop)?;
    if checks.iter().any(|check| !check.ok) {
        return Err(PassError::DamagedTarget { id: to, message: failed(&checks) });
    }
    let content_hash = match preview(world, &PassOptions { full: true, ..PassOptions::default() }) {
        Ok(preview) => preview.content_hash,
        Err(PassError::Stopped) => return Err(PassError::Stopped),
        Err(error) => {
            let words = format!(
                "the table cannot be read, so its content is taken from the build served before: {}",
                error.to_line()
            );
            (world.progress)(PassProgress::Warning(&words));
            served.build().and_then(|build| build.manifest.content_hash)
        }
    };
    let now = (world.clock)();
    promote::finish_promotion(builds, &served, now)?;
    let hold = Hold { build: to.clone(), from: from.clone(), content_hash, by: asked.by.clone(), at: now };
    hold.save(&builds.layout)?;
    let promoted = promote::serve(builds, &to, builds.mode(), now);
    if !matches!(promoted, Err(promote::PromoteError::NotPromoted(_))) {
        state.record_promotion(&to, PromotedBy::Rollback.as_str(), now);
        // It is served all the same, and the next pass notes it.
        if let Err(error) = state.save(&builds.layout) {
            (world.progress)(PassProgress::Warning(&error_chain(&error)));
        }
    }
    promoted?;
    Ok(RollbackReport { from, to })
}

/// Ends a hold; the agent's next pass builds what the table has.
///
/// # Errors
///
/// [`PassError`] where the hold cannot be removed.
pub fn release(world: &PassContext<'_>) -> Result<bool, PassError> {
    let builds = Builds::at(&world.config.publish.index, &world.config.publish.metadata)?;
    let _lock = builds.lock()?.ok_or(PassError::Busy)?;
    let held = Hold::load(&builds.layout)?.0.is_some();
    if held {
        Hold::release(&builds.layout)?;
    }
    Ok(held)
}
