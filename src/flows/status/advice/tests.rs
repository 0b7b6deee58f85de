//! Advice and delays for each kind of status.

use super::*;
use crate::adapters::builds::history::AttemptRecord;
use crate::adapters::builds::{AgentStatus, LastPass};
use crate::decide::guard::{Refusal, UnfitRows};
use crate::decide::source_path::{HiddenChanges, PathWarning};
use crate::domain::pass::{Counts, Timings};
use crate::domain::tokens::LongTexts;
use crate::flows::deliver::TargetStatus;
use crate::flows::status::QuarantineStatus;

fn preview(changes: bool, reasons: &[Reason], held: bool) -> Preview {
    Preview {
        changes,
        records: 1,
        kept: 1,
        to_embed: 0,
        queries_to_embed: None,
        metadata_only: 0,
        removed: 0,
        requests: 0,
        estimated_tokens: 0,
        quarantined: 0,
        null_tags: 0,
        too_long: LongTexts::default(),
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
        path_warnings: Vec::new(),
        pass: None,
        last_attempt: None,
        is_at_ceiling: false,
        failed_since: None,
        agent_runs,
        agent: agent.clone(),
        sign_of_life: Some(at(160)),
        last_good_end: None,
        acts_on_database: true,
        hold: None,
        quarantined: QuarantineStatus::default(),
        settings: None,
        rebuys: Vec::new(),
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
    let other_space = Refusal::OtherSpace { served: "a".to_owned(), settings: "b".to_owned(), to_embed: 2 };
    let cases = [
        (Ok(preview(false, &[], false)), Some(true), &well, "nothing"),
        (Ok(preview(false, &[], false)), Some(false), &well, "start the agent"),
        (Ok(preview(true, &[], false)), Some(true), &well, "about to build"),
        (Ok(preview(true, &[], false)), Some(false), &well, "run `reindexd build`"),
        (Ok(preview(true, &[], false)), Some(true), &failed, "fix what the last attempt reports, then touch"),
        (Ok(preview(true, &[], false)), Some(true), &retried, "the agent retries at 1970-01-01T00:03:20Z"),
        (Ok(preview(true, &[Reason::WouldFail(unfit)], false)), Some(true), &well, "fix the rows"),
        (Ok(preview(true, &[Reason::WouldBeRefused(refusal)], false)), Some(true), &well, "guard"),
        (
            Ok(preview(true, &[Reason::WouldBeRefused(other_space)], false)),
            Some(true),
            &well,
            "--accept-space",
        ),
        (Ok(preview(true, &[Reason::Held], true)), Some(true), &well, "--release"),
        (Err(PassError::Busy), Some(true), &well, "shown under \"drift\""),
    ];
    for (drift, agent_runs, agent, expected) in cases {
        let advice = to_do(&status(drift, agent_runs, agent));

        assert!(advice.contains(expected), "{advice}, expected {expected}");
    }
}

#[test]
fn after_a_failed_command_the_advice_names_its_cause() {
    let advice = |agent_runs, attempt| {
        let well = AgentStatus::default();
        to_do(&Status { last_attempt: attempt, ..status(Ok(preview(true, &[], false)), agent_runs, &well) })
    };
    let failed = AttemptRecord { error: Some("no API\nkey for gemini".to_owned()), ..failed_attempt(5) };
    let ended = AttemptRecord { error: None, ..failed_attempt(5) };

    for agent_runs in [Some(false), None] {
        let named = "fix what the last attempt reports (no API key for gemini), then run `reindexd build`";
        assert_eq!(advice(agent_runs, Some(failed.clone())), named);
        assert!(advice(agent_runs, Some(ended.clone())).starts_with("run `reindexd build`"));
    }
}

#[test]
fn at_the_ceiling_a_build_is_advised_where_something_differs() {
    let well = AgentStatus::default();
    for agent_runs in [None, Some(false), Some(true)] {
        for (changes, is_advised) in [(true, true), (false, false)] {
            let found = status(Ok(preview(changes, &[], false)), agent_runs, &well);
            let advice = to_do(&Status { is_at_ceiling: true, ..found });
            assert_eq!(advice.contains("texts sent have no vector"), is_advised, "{agent_runs:?}: {advice}");
        }
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
        let found = Status { promoted_at: Some(at(0)), ..status(Ok(drift), Some(true), &agent) };
        let found = with_stale_target(found, 100);

        assert_eq!(behind_for(&found), Some(SignedDuration::from_secs(60)), "{:?}", found.drift);
    }
}

#[test]
fn build_is_behind_since_the_last_good_moment_and_the_first_failure_at_the_latest() {
    let cases = [
        // promoted, good end, noted change, failed since, sign of life; behind for
        (Some(0), None, Some(100), None, Some(160), Some(60)),
        (Some(0), Some(120), Some(100), None, None, Some(40)),
        (Some(0), Some(50), Some(100), Some(80), Some(160), Some(80)),
        (Some(0), None, None, Some(90), Some(155), Some(70)),
        // An agent that showed life and knew of no change; one that stopped showing it.
        (Some(0), None, None, None, Some(150), Some(10)),
        (Some(0), Some(30), None, None, Some(20), Some(130)),
        (Some(40), None, None, None, None, Some(120)),
        // Builds by hand or from cron that fail, without an agent or with one that ended long ago.
        (Some(0), Some(30), None, Some(150), None, Some(130)),
        (Some(0), Some(30), None, Some(150), Some(20), Some(130)),
        (Some(0), Some(30), None, Some(150), Some(100), Some(60)),
        // The clock of another machine, and one that was set back.
        (Some(0), Some(200), None, None, None, Some(0)),
        (Some(0), Some(460), None, None, None, Some(0)),
        (Some(0), Some(461), None, None, None, None),
        (Some(0), None, None, None, Some(461), None),
        (None, Some(100), Some(100), None, Some(160), None),
    ];
    for (promoted, good, noted, failed, alive, expected) in cases {
        let agent = AgentStatus { behind_since: noted.map(at), ..AgentStatus::default() };
        let found = Status {
            promoted_at: promoted.map(at),
            last_good_end: good.map(at),
            failed_since: failed.map(at),
            sign_of_life: alive.map(at),
            ..status(Ok(preview(true, &[], false)), Some(true), &agent)
        };

        let expected = expected.map_or(SignedDuration::MAX, SignedDuration::from_secs);
        let case = (promoted, good, noted, failed, alive);
        assert_eq!(behind_for(&found), Some(expected), "{case:?}");
    }
}

#[test]
fn a_path_to_what_the_database_was_is_something_to_do_and_counts_as_behind() {
    let agent = AgentStatus { behind_since: Some(at(100)), ..AgentStatus::default() };
    for (hidden, behind) in [
        (HiddenChanges::Unlinked, Some(SignedDuration::from_secs(60))),
        (HiddenChanges::Mounted, None),
        (HiddenChanges::OtherNames(2), None),
    ] {
        let warning = PathWarning { database: "experts.db".into(), hidden };
        let found = Status {
            promoted_at: Some(at(0)),
            path_warnings: vec![warning],
            ..status(Ok(preview(false, &[], false)), Some(true), &agent)
        };

        assert_eq!(behind_for(&found), behind, "{hidden:?}");
        assert_eq!(to_do(&found).contains("mount the directory"), behind.is_some(), "{hidden:?}");
        assert_eq!(found.warnings().len(), 1);
    }
}

#[test]
fn what_only_the_running_agent_sees_of_the_path_is_shown_too() {
    let agent = AgentStatus { warnings: vec!["a mount".to_owned()], ..AgentStatus::default() };
    for (agent_runs, expected) in [(Some(true), 1), (Some(false), 0), (None, 0)] {
        let found = status(Ok(preview(false, &[], false)), agent_runs, &agent);
        assert_eq!(found.warnings().len(), expected, "{agent_runs:?}");
    }
}

#[test]
fn what_is_held_or_equal_is_not_behind() {
    let agent = AgentStatus { behind_since: Some(at(100)), ..AgentStatus::default() };
    for (changes, held) in [(false, false), (true, true)] {
        let found = Status {
            promoted_at: Some(at(0)),
            ..status(Ok(preview(changes, &[], held)), Some(true), &agent)
        };

        assert_eq!(behind_for(&found), None, "{changes} {held}");
    }
}

#[test]
fn an_agent_without_a_sign_of_life_hangs_and_one_that_is_not_running_does_not() {
    let cases = [
        // agent runs, sign of life, silent for
        (Some(true), Some(at(160)), None),
        (Some(true), Some(at(-140)), None),
        (Some(true), Some(at(-141)), Some(301)),
        (Some(true), None, None),
        (Some(false), Some(at(-9000)), None),
        (None, Some(at(-9000)), None),
    ];
    for (agent_runs, sign_of_life, expected) in cases {
        let agent = AgentStatus::default();
        let found = status(Ok(preview(false, &[], false)), agent_runs, &agent);
        let found = Status { sign_of_life, ..found };

        assert_eq!(silent_for(&found), expected.map(SignedDuration::from_secs), "{sign_of_life:?}");
        assert_eq!(to_do(&found).contains("restart"), expected.is_some(), "{}", to_do(&found));
    }
}

#[test]
fn advice_promises_only_what_the_settings_let_the_agent_do() {
    let agent = AgentStatus::default();
    let found = status(Ok(preview(true, &[], false)), Some(true), &agent);

    assert!(to_do(&Status { acts_on_database: false, ..found }).contains("touch the marker"));
}

fn failed_attempt(second: i64) -> AttemptRecord {
    AttemptRecord {
        at: at(second),
        trigger: "database".to_owned(),
        outcome: StoredOutcome::Failed,
        build: None,
        error: Some("no key".to_owned()),
        counts: Counts::default(),
        timings: Timings::default(),
    }
}
