//! What an operator should do, in one line; and whether a monitor should call one.
//!
//! Pure: what `status` found goes in, words or a verdict come out.

use jiff::{SignedDuration, Timestamp};

use crate::adapters::builds::AgentStatus;
use crate::adapters::builds::Served;
use crate::domain::pass::StoredOutcome;
use crate::flows::reconcile::{PassError, Preview};

/// What `status` found.
pub(super) struct Status<'a> {
    pub(super) served: &'a Served,
    pub(super) drift: &'a Result<Preview, PassError>,
    /// Whether an agent runs, where that can be known.
    pub(super) agent_runs: Option<bool>,
    pub(super) note: &'a AgentStatus,
    /// When the served build was promoted.
    pub(super) promoted: Option<Timestamp>,
    /// Since when an API has not known what is served, though it was to be told.
    pub(super) stale_since: Option<Timestamp>,
}

/// One line for an operator.
pub(super) fn to_do(found: &Status<'_>) -> String {
    let agent_runs = found.agent_runs == Some(true);
    let preview = match found.drift {
        Err(PassError::Source(_)) => {
            return "mend the database, or source.database in the settings".to_owned();
        }
        Err(_) => return "mend what stands in the way, as named under drift".to_owned(),
        Ok(preview) => preview,
    };
    if preview.held {
        return "nothing now; `reindexd rollback --release` ends the hold".to_owned();
    }
    if preview.reasons.iter().any(|reason| reason.starts_with("would fail")) {
        return "mend the rows named under drift, or raise guard.quarantine to leave them out".to_owned();
    }
    if preview.reasons.iter().any(|reason| reason.starts_with("would be refused")) {
        return "see why a guard refuses, under drift; if the table is right, do what it says".to_owned();
    }
    let waiting = preview.changes || matches!(found.served, Served::Damaged { .. });
    match (waiting, agent_runs, failure(found.note)) {
        (false, true, _) if found.stale_since.is_some() => {
            "mend what is said under announced; the agent goes on telling it".to_owned()
        }
        (false, false, _) if found.stale_since.is_some() => {
            "mend what is said under announced, then run `reindexd build`, which tells it again".to_owned()
        }
        (false, true, _) => "nothing".to_owned(),
        (false, false, _) => {
            "nothing now; start the agent to keep it so: systemctl start reindexd".to_owned()
        }
        (true, true, Some(_)) => match found.note.retry_at {
            Some(at) => format!("mend what the last attempt says; it is tried again by {at:.0}"),
            None => "mend what the last attempt says, then touch the marker".to_owned(),
        },
        (true, true, None) => "nothing; the agent is about to build".to_owned(),
        (true, false, _) => "run `reindexd build`, or start the agent: systemctl start reindexd".to_owned(),
    }
}

fn failure(note: &AgentStatus) -> Option<&str> {
    let last = note.last_pass.as_ref()?;
    matches!(last.outcome, StoredOutcome::Failed | StoredOutcome::Refused).then_some(last.message.as_str())
}

/// How long the served build has been behind the table, or an API behind that
/// build, whichever is longer; `None` where neither is.
pub(super) fn behind_for(found: &Status<'_>, now: Timestamp) -> Option<SignedDuration> {
    let stale = found.stale_since.map(|since| now.duration_since(since).max(SignedDuration::ZERO));
    build_behind_for(found, now).max(stale)
}

/// How long the served build has been behind the table; `None` where it is not,
/// or where an operator holds it there.
///
/// A running agent knows when the first change came that is not served. Without
/// one nobody saw it, and the time since the last promotion stands for it.
fn build_behind_for(found: &Status<'_>, now: Timestamp) -> Option<SignedDuration> {
    let behind = match found.drift {
        Ok(preview) => preview.changes && !preview.held,
        // A table that cannot be read may differ.
        Err(_) => true,
    };
    if !behind && !matches!(found.served, Served::Damaged { .. }) {
        return None;
    }
    let seen = if found.agent_runs == Some(true) { found.note.behind_since } else { None };
    let since = seen.or(if found.agent_runs == Some(true) { Some(now) } else { found.promoted });
    // Nothing was ever served: behind for as long as can be said.
    Some(since.map_or(SignedDuration::MAX, |since| now.duration_since(since).max(SignedDuration::ZERO)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::builds::LastPass;

    fn preview(changes: bool, reasons: &[&str], held: bool) -> Preview {
        Preview {
            changes,
            records: 1,
            kept: 1,
            to_embed: 0,
            metadata_only: 0,
            removed: 0,
            requests: 0,
            estimated_tokens: 0,
            quarantined: 0,
            reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
            held,
            content_hash: None,
        }
    }

    fn status<'a>(
        drift: &'a Result<Preview, PassError>,
        agent_runs: Option<bool>,
        note: &'a AgentStatus,
    ) -> Status<'a> {
        Status { served: &Served::Nothing, drift, agent_runs, note, promoted: None, stale_since: None }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn operator_gets_the_one_thing_to_do() {
        let well = AgentStatus::default();
        let failed = AgentStatus {
            last_pass: Some(LastPass {
                at: at(0),
                trigger: "marker".to_owned(),
                outcome: StoredOutcome::Failed,
                message: "no key".to_owned(),
            }),
            ..AgentStatus::default()
        };
        let cases = [
            (Ok(preview(false, &[], false)), Some(true), &well, "nothing"),
            (Ok(preview(false, &[], false)), Some(false), &well, "start the agent"),
            (Ok(preview(true, &[], false)), Some(true), &well, "about to build"),
            (Ok(preview(true, &[], false)), Some(false), &well, "run `reindexd build`"),
            (Ok(preview(true, &[], false)), Some(true), &failed, "mend what the last attempt says"),
            (Ok(preview(true, &["would fail: row id=3"], false)), Some(true), &well, "mend the rows"),
            (Ok(preview(true, &["would be refused: no tagged rows"], false)), Some(true), &well, "guard"),
            (Ok(preview(true, &["held"], true)), Some(true), &well, "--release"),
            (Err(PassError::Busy), Some(true), &well, "stands in the way"),
        ];
        for (drift, agent_runs, note, expected) in cases {
            let found = status(&drift, agent_runs, note);
            let words = to_do(&found);
            assert!(words.contains(expected), "{words}, expected {expected}");
        }
    }

    #[test]
    fn an_api_that_does_not_know_is_something_to_do_and_calls_a_monitor() {
        let (note, drift) = (AgentStatus::default(), Ok(preview(false, &[], false)));
        for (agent_runs, expected) in [(true, "goes on telling"), (false, "run `reindexd build`")] {
            let found = Status { stale_since: Some(at(100)), ..status(&drift, Some(agent_runs), &note) };

            assert!(to_do(&found).contains(expected), "{}", to_do(&found));
            assert_eq!(behind_for(&found, at(160)), Some(SignedDuration::from_secs(60)));
        }
        let (held, later) = (Ok(preview(true, &["held"], true)), Ok(preview(true, &[], false)));
        let noted = AgentStatus { behind_since: Some(at(130)), ..AgentStatus::default() };
        for drift in [held, later] {
            let found = Status { stale_since: Some(at(100)), ..status(&drift, Some(true), &noted) };

            assert_eq!(behind_for(&found, at(160)), Some(SignedDuration::from_secs(60)), "{drift:?}");
        }
    }

    #[test]
    fn a_monitor_is_called_by_the_time_since_the_first_change_that_is_not_served() {
        let noted = AgentStatus { behind_since: Some(at(100)), ..AgentStatus::default() };
        let cases = [
            // changes, held, agent runs, promoted, behind for
            (false, false, Some(true), Some(0), None),
            (true, true, Some(true), Some(0), None),
            (true, false, Some(true), Some(0), Some(60)),
            (true, false, Some(false), Some(40), Some(120)),
            (true, false, Some(true), None, Some(60)),
        ];
        for (changes, held, agent_runs, promoted, expected) in cases {
            let drift = Ok(preview(changes, &[], held));
            let found = Status { promoted: promoted.map(at), ..status(&drift, agent_runs, &noted) };

            let behind = behind_for(&found, at(160)).map(|behind| behind.as_secs());

            assert_eq!(behind, expected, "{changes} {held} {agent_runs:?} {promoted:?}");
        }
    }
}
