//! Advice and delays for each kind of status.

use super::*;
use crate::adapters::builds::{AgentStatus, LastPass};
use crate::decide::guard::{Refusal, UnfitRows};
use crate::flows::deliver::TargetStatus;

fn preview(changes: bool, reasons: &[Reason], held: bool) -> Preview {
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
        reasons: reasons.to_vec(),
        held,
        content_hash: None,
    }
}

fn status(drift: Result<Preview, PassError>, agent_runs: Option<bool>, agent: &AgentStatus) -> Status {
    Status {
        served: Served::Nothing,
        promoted_at: None,
        timings: None,
        drift,
        pass: None,
        last_attempt: None,
        agent_runs,
        agent: agent.clone(),
        hold: None,
        targets: Vec::new(),
        now: at(160),
    }
}

/// With a target that has not received the served build since this second.
fn with_stale_target(status: Status, since: i64) -> Status {
    let target = TargetStatus {
        target: "post x".to_owned(),
        up_to_date: Some(false),
        build: None,
        delivered_at: None,
        stale_since: Some(at(since)),
        tries: 1,
        error: Some("refused".to_owned()),
    };
    Status { targets: vec![target], ..status }
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
    let retried = AgentStatus { retry_at: Some(at(200)), ..failed.clone() };
    let unfit = UnfitRows { count: 1, allowed: 0, named: Vec::new() };
    let refusal = Refusal::TooManyTexts { to_embed: 2, max_texts: 1 };
    let cases = [
        (Ok(preview(false, &[], false)), Some(true), &well, "nothing"),
        (Ok(preview(false, &[], false)), Some(false), &well, "start the agent"),
        (Ok(preview(true, &[], false)), Some(true), &well, "about to build"),
        (Ok(preview(true, &[], false)), Some(false), &well, "run `reindexd build`"),
        (Ok(preview(true, &[], false)), Some(true), &failed, "fix what the last attempt reports, then touch"),
        (Ok(preview(true, &[], false)), Some(true), &retried, "the agent retries at 1970-01-01T00:03:20Z"),
        (Ok(preview(true, &[Reason::WouldFail(unfit)], false)), Some(true), &well, "fix the rows"),
        (Ok(preview(true, &[Reason::WouldBeRefused(refusal)], false)), Some(true), &well, "guard"),
        (Ok(preview(true, &[Reason::Held], true)), Some(true), &well, "--release"),
        (Err(PassError::Busy), Some(true), &well, "shown under \"drift\""),
    ];
    for (drift, agent_runs, agent, expected) in cases {
        let advice = to_do(&status(drift, agent_runs, agent));

        assert!(advice.contains(expected), "{advice}, expected {expected}");
    }
}

#[test]
fn a_stale_target_is_something_to_do_and_counts_as_behind() {
    let agent = AgentStatus::default();
    for (agent_runs, expected) in [(true, "keeps retrying"), (false, "run `reindexd build`")] {
        let found = status(Ok(preview(false, &[], false)), Some(agent_runs), &agent);
        let found = with_stale_target(found, 100);

        assert!(to_do(&found).contains(expected), "{}", to_do(&found));
        assert_eq!(behind_for(&found), Some(SignedDuration::from_secs(60)));
    }
    let (held, later) = (preview(true, &[Reason::Held], true), preview(true, &[], false));
    let agent = AgentStatus { behind_since: Some(at(130)), ..AgentStatus::default() };
    for drift in [held, later] {
        let found = with_stale_target(status(Ok(drift), Some(true), &agent), 100);

        assert_eq!(behind_for(&found), Some(SignedDuration::from_secs(60)), "{:?}", found.drift);
    }
}

#[test]
fn a_build_is_behind_since_the_first_change_that_is_not_served() {
    let agent = AgentStatus { behind_since: Some(at(100)), ..AgentStatus::default() };
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
        let found = Status { promoted_at: promoted.map(at), ..status(drift, agent_runs, &agent) };

        let behind = behind_for(&found).map(|behind| behind.as_secs());

        assert_eq!(behind, expected, "{changes} {held} {agent_runs:?} {promoted:?}");
    }
}
