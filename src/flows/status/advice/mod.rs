//! What an operator should do, in one line; and for how long something is behind.
//!
//! Pure: a [`Status`] goes in, text or a duration comes out. Whether a duration
//! is too long is the caller's limit.

use jiff::{SignedDuration, Timestamp};

use super::Status;
use crate::adapters::builds::Served;
use crate::decide::decision::Reason;
use crate::decide::guard::Refusal;
use crate::domain::pass::StoredOutcome;
use crate::domain::text::one_line;
use crate::flows::reconcile::{PassError, Preview};

/// Five times the interval in which the loop of an agent shows that it runs.
const MAX_SILENCE: SignedDuration = SignedDuration::from_secs(300);
/// How much later than now a time stamp may be, where another machine made it.
const MAX_CLOCK_DIFFERENCE: SignedDuration = SignedDuration::from_secs(300);

/// A cause is shown up to here; the whole of it stands above.
const MAX_CAUSE_CHARS: usize = 200;

/// One line for an operator.
pub(crate) fn to_do(status: &Status) -> String {
    if silent_for(status).is_some() {
        return "the agent hangs; restart it: systemctl restart reindexd".to_owned();
    }
    if status.is_outdated() {
        return "mount the directory of the database, not the file, and start the agent again".to_owned();
    }
    let preview = match &status.drift {
        Err(PassError::Source(_)) => {
            return "fix the database, or source.database in the settings".to_owned();
        }
        Err(_) => return "fix the problem shown under \"drift\"".to_owned(),
        Ok(preview) => preview,
    };
    match obstacle(preview) {
        Some(Obstacle::Hold) => "nothing now; `reindexd rollback --release` ends the hold".to_owned(),
        Some(Obstacle::UnfitRows) => {
            "fix the rows shown under \"drift\", or raise guard.quarantine to exclude them".to_owned()
        }
        Some(Obstacle::OtherSpace) => {
            "put back the settings of what is served, or run `reindexd build --accept-space`".to_owned()
        }
        Some(Obstacle::Guard) => {
            "see under \"drift\" why a guard refuses; if the table is right, do what it says".to_owned()
        }
        Some(Obstacle::Queries) => "fix the file of judged queries shown under \"drift\"".to_owned(),
        Some(Obstacle::Claim) => {
            "use the settings of the configuration shown under \"drift\", or take its directory over with \
             `reindexd build --accept-source`"
                .to_owned()
        }
        None if preview.changes || matches!(status.served, Served::Damaged { .. }) => to_build(status),
        None => to_keep(status),
    }
}

/// What keeps the next pass from promoting a build.
enum Obstacle {
    Hold,
    UnfitRows,
    OtherSpace,
    Guard,
    Claim,
    Queries,
}

fn obstacle(preview: &Preview) -> Option<Obstacle> {
    if preview.held {
        return Some(Obstacle::Hold);
    }
    // Unfit rows come before a refusal, as in the pass that would follow.
    preview.reasons.iter().find_map(|reason| match reason {
        Reason::WouldFail(_) => Some(Obstacle::UnfitRows),
        Reason::WouldBeRefused(Refusal::OtherSpace { .. } | Refusal::OtherAddress { .. }) => {
            Some(Obstacle::OtherSpace)
        }
        Reason::WouldBeRefused(_) => Some(Obstacle::Guard),
        Reason::Claimed(_) => Some(Obstacle::Claim),
        Reason::NotMeasured(_) => Some(Obstacle::Queries),
        Reason::NothingServed
        | Reason::Damaged(_)
        | Reason::Adopted
        | Reason::SpaceChanged { .. }
        | Reason::OtherLength { .. }
        | Reason::OtherAddress { .. }
        | Reason::RowsDiffer
        | Reason::RulesChanged(_)
        | Reason::ManyAgain(_)
        | Reason::DanglingLink(_)
        | Reason::Held => None,
    })
}

/// Where the next pass would promote a build.
fn to_build(status: &Status) -> String {
    if status.pass.is_some() {
        return "nothing; a pass is running".to_owned();
    }
    if status.is_at_ceiling {
        return "fix what the last attempt reports, then run `reindexd build`: too many texts sent have no vector, \
                so that one is tried each hour"
            .to_owned();
    }
    if status.agent_runs != Some(true) {
        let error = status.last_attempt.as_ref().and_then(|last| last.error.as_deref());
        return match error {
            Some(error) => format!(
                "fix what the last attempt reports ({}), then run `reindexd build`",
                one_line(error, MAX_CAUSE_CHARS)
            ),
            None => "run `reindexd build`, or start the agent: systemctl start reindexd".to_owned(),
        };
    }
    match (has_failed(status), status.agent.retry_at) {
        (false, _) if !status.acts_on_database => {
            "touch the marker: the agent does not act on the database (trigger.on)".to_owned()
        }
        (false, _) => "nothing; the agent is about to build".to_owned(),
        (true, Some(at)) => format!("fix what the last attempt reports; the agent retries at {at:.0}"),
        (true, None) => "fix what the last attempt reports, then touch the marker".to_owned(),
    }
}

/// Where the served build is up to date.
fn to_keep(status: &Status) -> String {
    match (status.stale_since().is_some(), status.agent_runs == Some(true)) {
        (true, true) => "fix the error shown under \"announced\"; the agent keeps retrying",
        (true, false) => {
            "fix the error shown under \"announced\", then run `reindexd build`, which announces again"
        }
        (false, true) => "nothing",
        (false, false) => "nothing now; start the agent to keep it so: systemctl start reindexd",
    }
    .to_owned()
}

/// Whether the agent's last pass failed or was refused.
fn has_failed(status: &Status) -> bool {
    let last = status.agent.last_pass.as_ref();
    last.is_some_and(|last| matches!(last.outcome, StoredOutcome::Failed | StoredOutcome::Refused))
}

/// How long the served build has been behind the table, or a target behind that
/// build, whichever is longer; `None` if neither is.
pub(crate) fn behind_for(status: &Status) -> Option<SignedDuration> {
    let stale = status.stale_since().map(|since| since_then(status, since));
    build_behind_for(status).max(stale)
}

/// How long the served build has been behind the table; `None` if it is not, or
/// if an operator holds it there.
fn build_behind_for(status: &Status) -> Option<SignedDuration> {
    let is_behind = match &status.drift {
        Ok(preview) => preview.changes && !preview.held,
        // A table that cannot be read may differ.
        Err(_) => true,
    };
    let is_behind = is_behind || status.is_outdated();
    if !is_behind && !matches!(status.served, Served::Damaged { .. }) {
        return None;
    }
    // Nothing was ever served: behind for as long as can be expressed.
    // A moment that is still to come says nothing either: the clock was set back.
    let since = behind_since(status).filter(|at| at.duration_since(status.now) <= MAX_CLOCK_DIFFERENCE);
    Some(since.map_or(SignedDuration::MAX, |since| since_then(status, since)))
}

/// Since when the table may differ from the served build: the last moment at
/// which a pass or a running agent knew of no difference, and never later than
/// the first failure since a pass last ended well. So neither an agent that hangs
/// or ignores the database nor a command that fails again and again can hide how
/// old the build is.
fn behind_since(status: &Status) -> Option<Timestamp> {
    let served = status.promoted_at?;
    let good = status.last_good_end.map_or(served, |end| end.max(served));
    let known_by_agent = status.agent.behind_since.or(status.sign_of_life);
    let known = known_by_agent.map_or(good, |at| at.max(good));
    let failed = status.failed_since.filter(|at| *at > good);
    Some(failed.map_or(known, |at| at.min(known)))
}

/// How long the loop of a running agent has shown no sign of life, if that is longer than it can take.
pub(crate) fn silent_for(status: &Status) -> Option<SignedDuration> {
    if status.agent_runs != Some(true) {
        return None;
    }
    let silence = since_then(status, status.sign_of_life?);
    (silence > MAX_SILENCE).then_some(silence)
}

fn since_then(status: &Status, then: Timestamp) -> SignedDuration {
    status.now.duration_since(then).max(SignedDuration::ZERO)
}

#[cfg(test)]
mod tests;
