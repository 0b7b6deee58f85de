//! Serves an earlier build again, and holds it until the table changes.
//!
//! The target is verified in full first. The hold is written before the
//! switch: a crash between the two leaves a hold on a build that is not
//! served, which forbids nothing.

use std::collections::HashMap;

use super::adopt_existing::adopt_existing;
use super::claim;
use super::context::{PassContext, PassOptions};
use super::error::PassError;
use super::finish::sweep;
use super::prepare::next_sequence;
use super::preview::preview_for;
use super::served_space::{served_space, space_of};
use crate::adapters::builds::adopt::Adoption;
use crate::adapters::builds::history::{History, Now};
use crate::adapters::builds::promote::{self, PromoteError};
use crate::adapters::builds::verify::failed;
use crate::adapters::builds::{Build, Builds, BuildsError, Hold, Proof, Served, error_chain};
use crate::adapters::source::Purpose;
use crate::decide::address::{self, Finding};
use crate::decide::guard::Refusal;
use crate::domain::pass::PromotedBy;
use crate::domain::record::ContentHash;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Rollback {
    /// The build to serve; `None` for the one promoted before.
    pub to: Option<String>,
    /// Who asked, for the hold.
    pub by: String,
    /// Serve it though it is of another space than what is served.
    pub accept_space: bool,
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
/// [`PassError`]; the previous build is still served, unless it says otherwise.
pub fn rollback(context: &PassContext<'_>, asked: &Rollback) -> Result<RollbackReport, PassError> {
    let builds = Builds::published(&context.config.publish)?;
    claim::find_source_of_new_directory(context, &builds)?;
    let source = claim::source(context.config, &builds);
    let _lock = builds.lock_for(source.as_ref())?.ok_or(PassError::Busy)?;
    sweep(context, &builds);
    // An interrupted adoption must not leave half a build.
    switch_back(context, asked, &builds).inspect_err(|_| sweep(context, &builds))
}

/// Ends a hold; the agent's next pass builds what the table has.
///
/// # Errors
///
/// [`PassError`] if the hold cannot be removed.
pub fn release(context: &PassContext<'_>) -> Result<bool, PassError> {
    let builds = Builds::published(&context.config.publish)?;
    if !builds.is_prepared() {
        return Ok(false);
    }
    let _lock = builds.lock()?.ok_or(PassError::Busy)?;
    let is_held = Hold::load(&builds.layout)?.0.is_some();
    if is_held {
        Hold::release(&builds.layout)?;
    }
    Ok(is_held)
}

fn switch_back(
    context: &PassContext<'_>,
    asked: &Rollback,
    builds: &Builds,
) -> Result<RollbackReport, PassError> {
    let (mut history, _) = History::load(&builds.layout)?;
    let served = adopt_before_rollback(context, builds, &mut history)?;
    let from = match &served {
        Served::Nothing => None,
        Served::Build(build) => Some(build.manifest.id.clone()),
        // It cannot be read: one more reason to leave it.
        Served::Damaged { .. } => {
            builds.served_id()?.or_else(|| history.promotions.last().map(|last| last.build.clone()))
        }
        Served::NotKnown(_) => builds.served_id()?,
    };
    if let Some(from) = &from {
        // Else nothing would come before a build whose promotion was cut short.
        history.record_unrecorded(from, context.now());
    }
    let to = target(asked, from.as_deref(), builds, &history)?;
    check_space(asked, builds, &served, &to)?;
    verify_target(context, builds, &to)?;
    check_address(asked, builds, &served, &to)?;
    let content_hash = content_to_hold(context, &served)?;
    let now = context.now();
    promote::finish_promotion(builds, &served, now.at)?;
    let hold = Hold { build: to.clone(), from: from.clone(), content_hash, by: asked.by.clone(), at: now.at };
    hold.save(&builds.layout)?;
    serve_and_record(context, builds, &mut history, &to, now)?;
    Ok(RollbackReport { from, to })
}

/// What is served. Links are about to replace what `ingest.py` may have left: it is adopted first, so that
/// it is not lost.
fn adopt_before_rollback(
    context: &PassContext<'_>,
    builds: &Builds,
    history: &mut History,
) -> Result<Served, PassError> {
    let served = builds.served();
    let highest = builds.kept()?.whole.first().map_or(0, |newest| newest.manifest.sequence);
    match adopt_existing(context, builds, &served, next_sequence(highest), history)? {
        Adoption::Adopted { build, .. } => Ok(Served::Build(build)),
        Adoption::Nothing | Adoption::Relinked | Adoption::Mixed { .. } => Ok(served),
    }
}

fn target(
    asked: &Rollback,
    from: Option<&str>,
    builds: &Builds,
    history: &History,
) -> Result<String, PassError> {
    if let Some(to) = &asked.to {
        return Ok(to.clone());
    }
    let from = from.ok_or(PassError::NothingPromoted)?;
    // One that is not known may be the one that was served before: it is not passed over.
    let exists = |id: &str| {
        !matches!(builds.build(id), Err(BuildsError::NoSuchBuild { .. } | BuildsError::Damaged { .. }))
    };
    let before = history.previous_to(from, &exists);
    before.map(str::to_owned).ok_or_else(|| PassError::NothingBefore { served: from.to_owned() })
}

/// Refuses a build of another space: an API asks in the space of what is served.
fn check_space(asked: &Rollback, builds: &Builds, served: &Served, to: &str) -> Result<(), PassError> {
    let (Some(served), Some(target)) = (served_space(builds, served, None), space_of(&builds.build(to)?))
    else {
        return Ok(());
    };
    if asked.accept_space || served.fits(&target) {
        return Ok(());
    }
    let [served, target] = served.names(&target);
    Err(Refusal::RollbackToOtherSpace { id: to.to_owned(), served, target }.into())
}

/// Refuses a build of the same space that was made at another address, unless the vectors of both show that
/// one gave those of the other: where that was proven, the later build took over those of the earlier one.
fn check_address(asked: &Rollback, builds: &Builds, served: &Served, to: &str) -> Result<(), PassError> {
    let Some(served) = served.build().filter(|_| !asked.accept_space) else { return Ok(()) };
    let target = builds.build(to)?;
    let [from, address] = [&served.manifest, &target.manifest].map(|manifest| manifest.address.as_deref());
    if address::agree(from, address) {
        return Ok(());
    }
    // Of what cannot be read nothing is proven.
    let found = compare_common_texts(served, &target).unwrap_or_default();
    if found.is_same() {
        return Ok(());
    }
    let [served, target] = [from, address].map(|address| address.unwrap_or_default().to_owned());
    let found = found.describe_builds();
    Err(Refusal::RollbackToOtherAddress { id: to.to_owned(), served, target, found }.into())
}

/// Compares the vectors of some texts that two builds have, drawn at random.
fn compare_common_texts(one: &Build, other: &Build) -> Result<Finding, BuildsError> {
    let (Proof::Whole(ours), Proof::Whole(theirs)) = (one.rows(), other.rows()) else {
        return Ok(Finding::default());
    };
    let places: HashMap<_, _> = ours.iter().zip(0_u64..).map(|(row, at)| (row.text, at)).collect();
    let common = theirs.iter().zip(0_u64..).filter_map(|(row, at)| Some((*places.get(&row.text)?, at)));
    let drawn = fastrand::choose_multiple(common, address::MAX_TEXTS);
    let vectors = drawn.into_iter().map(|(ours, theirs)| Ok((one.vector(ours)?, other.vector(theirs)?)));
    let vectors = vectors.collect::<Result<Vec<_>, BuildsError>>()?;
    Ok(Finding::of(vectors.iter().map(|(ours, theirs)| (ours.as_slice(), theirs.as_slice()))))
}

fn verify_target(context: &PassContext<'_>, builds: &Builds, id: &str) -> Result<(), PassError> {
    let checks = builds.build(id)?.run_checks(&context.stop)?;
    if checks.iter().all(|check| check.ok) {
        return Ok(());
    }
    Err(PassError::DamagedTarget { id: id.to_owned(), message: failed(&checks) })
}

/// The table's content, while which the target is held. If the table cannot be read, the build served
/// before says what it had.
fn content_to_hold(context: &PassContext<'_>, served: &Served) -> Result<Option<ContentHash>, PassError> {
    // Forced, so that the rows are read whatever the scan is.
    let forced = PassOptions { full: true, ..PassOptions::default() };
    match preview_for(context, &forced, Purpose::Pass) {
        Ok(preview) => Ok(preview.content_hash),
        Err(PassError::Stopped) => Err(PassError::Stopped),
        Err(error) => {
            context.warn(&format!(
                "the table cannot be read, so its content is taken from the build served before: {}",
                error.to_line()
            ));
            Ok(served.build().and_then(|build| build.manifest.content_hash))
        }
    }
}

fn serve_and_record(
    context: &PassContext<'_>,
    builds: &Builds,
    history: &mut History,
    to: &str,
    now: Now,
) -> Result<(), PassError> {
    let promoted = promote::serve(builds, to, builds.mode()?, now.at);
    if !matches!(promoted, Err(PromoteError::NotPromoted(_))) {
        history.record_promotion(to, PromotedBy::Rollback.as_str(), now);
        // The build is served all the same, and the next pass records it.
        if let Err(error) = history.save(&builds.layout) {
            context.warn(&error_chain(&error));
        }
    }
    promoted?;
    Ok(())
}
