//! Serves an earlier build again, and holds it until the table changes.
//!
//! The target is proven in full first. The hold is written before the switch:
//! a crash between the two leaves a hold on a build that is not served, which
//! forbids nothing.

use super::preview::preview;
use super::{Job, PassError, Progress, World, prepare};
use crate::adapters::builds::adopt::Adoption;
use crate::adapters::builds::state::{Hold, State};
use crate::adapters::builds::verify::failed;
use crate::adapters::builds::{Builds, Served, promote, sweep, with_cause};

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
pub struct RolledBack {
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
pub fn rollback(world: &World<'_>, asked: &Rollback) -> Result<RolledBack, PassError> {
    let builds = Builds::at(&world.config.publish.index, &world.config.publish.metadata)?;
    let _lock = builds.lock()?.ok_or(PassError::Busy)?;
    sweep::sweep(&builds)?;
    // An adoption that broke off leaves nothing half made behind.
    serve_earlier(world, asked, &builds).inspect_err(|_| super::finish::clear_up(world, &builds))
}

fn serve_earlier(world: &World<'_>, asked: &Rollback, builds: &Builds) -> Result<RolledBack, PassError> {
    let (mut state, _) = State::load(&builds.layout)?;
    let mut served = builds.served();
    let sequence = builds.kept()?.first().map_or(0, |newest| newest.manifest.sequence).saturating_add(1);
    // Links are about to take the place of what ingest.py may have left: it must not be lost.
    if let Adoption::Adopted { build, .. } = prepare::adopted(world, builds, &served, sequence, &mut state)? {
        served = Served::Build(build);
    }
    let from = match &served {
        Served::Nothing => None,
        Served::Build(build) => Some(build.manifest.id.clone()),
        // It cannot be read, but its promotion was noted: a reason more to leave it.
        Served::Broken { .. } => state.promotions.last().map(|last| last.build.clone()),
    };
    let there = |id: &str| builds.build(id).is_ok();
    let to = match (&asked.to, &from) {
        (Some(to), _) => to.clone(),
        (None, Some(from)) => {
            let before = state.before(from, &there);
            before.map(str::to_owned).ok_or_else(|| PassError::NothingBefore { served: from.clone() })?
        }
        (None, None) => return Err(PassError::NothingBefore { served: "the present".to_owned() }),
    };
    let target = builds.build(&to)?;
    let checks = target.prove(&world.stopper())?;
    if checks.iter().any(|check| !check.ok) {
        return Err(PassError::DamagedTarget { id: to, words: failed(&checks) });
    }
    let content_hash = match preview(world, &Job { full: true, ..Job::default() }) {
        Ok(preview) => preview.content_hash,
        Err(PassError::Stopped) => return Err(PassError::Stopped),
        Err(error) => {
            let words = format!(
                "the table cannot be read, so its content is taken from the build served before: {}",
                error.words()
            );
            (world.progress)(Progress::Warning(&words));
            served.build().and_then(|build| build.manifest.content_hash)
        }
    };
    let now = (world.clock)();
    promote::finish_promotion(builds, &served, now)?;
    let hold = Hold { build: to.clone(), from: from.clone(), content_hash, by: asked.by.clone(), at: now };
    hold.save(&builds.layout)?;
    let promoted = promote::serve(builds, &to, builds.mode(), now);
    if !matches!(promoted, Err(promote::PromoteError::NotPromoted(_))) {
        state.promoted(&to, "rollback", now);
        // It is served all the same, and the next pass notes it.
        if let Err(error) = state.save(&builds.layout) {
            (world.progress)(Progress::Warning(&with_cause(&error)));
        }
    }
    promoted?;
    Ok(RolledBack { from, to })
}

/// Ends a hold; the agent's next pass builds what the table has.
///
/// # Errors
///
/// [`PassError`] where the hold cannot be removed.
pub fn release(world: &World<'_>) -> Result<bool, PassError> {
    let builds = Builds::at(&world.config.publish.index, &world.config.publish.metadata)?;
    let _lock = builds.lock()?.ok_or(PassError::Busy)?;
    let held = Hold::load(&builds.layout)?.0.is_some();
    if held {
        Hold::release(&builds.layout)?;
    }
    Ok(held)
}
