//! What promotions say of rollback and of readers, and what becomes of a damaged file.

use proptest::prelude::*;

use super::*;
use crate::domain::pass::Stage;

/// This second by both clocks.
fn now(second: i64) -> Now {
    Now { at: Timestamp::from_second(second).unwrap(), uptime: Uptime(second * 1000) }
}

fn promoted(log: &str) -> History {
    let mut state = History::default();
    for (nth, promotion) in log.split_whitespace().enumerate() {
        let rolled_back = promotion.strip_suffix('<').map(|build| (build, "rollback"));
        let (build, by) = rolled_back.unwrap_or((promotion, "build"));
        state.record_promotion(build, by, now(i64::try_from(nth).unwrap()));
    }
    state
}

#[test]
fn each_rollback_goes_one_further_back_along_the_promotions() {
    let cases = [
        // promotions (`<`: by rollback), served, builds that are there, goes to
        ("a b c", "c", "abc", Some("b")),
        ("a b c b<", "b", "abc", Some("a")),
        ("a b c b< a<", "a", "abc", None),
        ("a b c b< d", "d", "abcd", Some("b")),
        ("a b c b< d b<", "b", "abcd", Some("a")),
        ("a b c b< c<", "c", "abc", Some("b")),
        ("a b c a<", "a", "abc", None),
        ("a b c a< d", "d", "abcd", Some("a")),
        ("a b c b", "b", "abc", Some("a")),
        ("a b c", "c", "ac", Some("a")),
        ("a", "a", "a", None),
        ("", "x", "x", None),
    ];
    for (log, served, there, expected) in cases {
        let state = promoted(log);
        assert_eq!(state.previous_to(served, &|build| there.contains(build)), expected, "{log}");
    }
}

#[test]
fn failures_count_from_the_first_that_no_success_followed() {
    for (attempts, expected) in
        [("", None), ("+", None), ("-", Some(0)), ("--", Some(0)), ("-+", None), ("+-+--", Some(3))]
    {
        let mut state = History::default();
        for (nth, attempt) in attempts.chars().enumerate() {
            state.record_attempt(AttemptRecord {
                at: Timestamp::from_second(i64::try_from(nth).unwrap()).unwrap(),
                trigger: "command".to_owned(),
                outcome: StoredOutcome::Failed,
                build: None,
                error: (attempt == '-').then(|| "no key".to_owned()),
                counts: Counts::default(),
                timings: Timings::default(),
            });
        }
        assert_eq!(state.failed_since().map(Timestamp::as_second), expected, "{attempts}");
    }
}

#[test]
fn a_replaced_build_is_remembered_for_the_readers_grace_however_many_follow() {
    let mut state = History::default();
    for second in 0..1000 {
        state.record_promotion(&second.to_string(), "build", now(second));
    }

    let at = |build| state.replaced_at(build).map(Timestamp::as_second);
    assert_eq!((at("999"), at("998"), at("400"), at("398")), (None, Some(999), Some(401), None));
    assert!(state.promotions.len() < 1000, "what was replaced long ago is forgotten");
}

#[test]
fn a_history_of_an_earlier_program_without_stage_times_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    let earlier = r#"{"promotions": [{"build": "b1", "at": "2026-11-22T17:41:19Z", "by": "build"}],
        "attempts": [{"at": "2026-11-22T17:41:19Z", "trigger": "command", "outcome": "promoted", "build": "b1",
        "counts": {"records": 3, "kept": 0, "embedded": 3, "metadata_only": 0, "removed": 0, "requests": 1},
        "took_ms": 168, "promote_ms": 4}], "same_content": null}"#;
    std::fs::write(&path, earlier).unwrap();

    let (state, damaged) = json_file::load::<History>(&path);

    assert_eq!((damaged, state.promotions.len()), (None, 1));
    let attempt = state.attempt_of("b1").unwrap();
    let timings = attempt.timings;
    assert_eq!((timings.total, timings.get(Stage::Promote)), (168, Some(4)));
    assert!(!timings.has_stages());
    json_file::save(&path, &state).unwrap();
    assert_eq!(json_file::load::<History>(&path), (state, None));
}

#[test]
fn a_build_is_replaced_when_the_next_one_is_promoted() {
    let state = promoted("a b a c");

    let at = |build| state.replaced_at(build).map(Timestamp::as_second);
    assert_eq!((at("a"), at("b"), at("c"), at("x")), (Some(3), Some(2), None, None));
}

#[test]
fn readers_are_possible_until_the_grace_has_passed_whatever_the_time_of_day_says() {
    const GRACE: i64 = 600;
    // The replacement by both clocks, the present by both, and whether there may be readers.
    let cases = [
        ("a moment ago", (5000, Some(1000)), (5001, 1001), true),
        ("just before the end", (5000, Some(1000)), (5599, 1599), true),
        ("at the end", (5000, Some(1000)), (5600, 1600), false),
        ("the time of day was set forward", (5000, Some(1000)), (9_000_000, 1001), true),
        ("the time of day was set back", (5000, Some(1000)), (7, 1600), false),
        ("restarted, and runs long enough", (5000, Some(90_000)), (6000, 600), false),
        ("restarted a moment ago", (5000, Some(90_000)), (9_000_000, 10), true),
        ("of 0.1.0, long ago by both", (5000, None), (5600, 600), false),
        ("of 0.1.0, by the time of day alone", (5000, None), (9_000_000, 10), true),
        ("of 0.1.0, by the other clock alone", (5000, None), (5001, 90_000), true),
        ("of 0.1.0, from the future", (9_000_000, None), (5000, 90_000), false),
    ];
    for (case, (at, uptime), (then, runs), expected) in cases {
        let mut state = promoted("a");
        let uptime_ms = uptime.map(|second: i64| Uptime(second * 1000));
        let at = Timestamp::from_second(at).unwrap();
        state.promotions.push(Promotion { build: "b".to_owned(), at, by: "build".to_owned(), uptime_ms });

        let present = Now { uptime: Uptime(runs * 1000), ..now(then) };
        let grace = Duration::from_secs(GRACE.unsigned_abs());
        assert_eq!(state.may_have_readers("a", grace, present), expected, "{case}");
        assert!(!state.may_have_readers("b", grace, present), "{case}: it was not replaced");
        assert!(!state.may_have_readers("a", Duration::ZERO, present), "{case}: disk space is short");
    }
}

#[test]
fn a_promotion_that_was_cut_short_is_recorded_once() {
    let mut state = promoted("a b");

    assert_eq!((state.record_unrecorded("b", now(5)), state.promotions.len()), (false, 2));
    assert_eq!((state.record_unrecorded("c", now(5)), state.promotions.len()), (true, 3));
    assert_eq!(state.previous_to("c", &|_| true), Some("b"));
}

/// A time that can be written and read.
fn time() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.as_second()..Timestamp::MAX.as_second())
        .prop_map(|second| Timestamp::from_second(second).unwrap())
}

fn state() -> impl Strategy<Value = History> {
    let promotion = ("[ab]", time(), ".{0,3}", any::<Option<i64>>())
        .prop_map(|(build, at, by, uptime)| Promotion { build, at, by, uptime_ms: uptime.map(Uptime) });
    let stages = any::<Option<(u64, Option<u64>)>>().prop_map(|known| {
        let Some((embed, promote)) = known else { return Timings::default() };
        let mut timings = Timings::zero().before_promotion();
        timings.add(Stage::Embed, embed);
        if let Some(promote) = promote {
            timings.add(Stage::Promote, promote);
        }
        timings
    });
    let attempt =
        (time(), any::<Option<String>>(), any::<u64>(), stages).prop_map(|(at, error, took_ms, stages)| {
            AttemptRecord {
                at,
                trigger: "start".to_owned(),
                outcome: StoredOutcome::Failed,
                build: None,
                error,
                counts: Counts { records: took_ms, ..Counts::default() },
                timings: stages.with_total(took_ms),
            }
        });
    let lists = (prop::collection::vec(promotion, 0..5), prop::collection::vec(attempt, 0..3));
    lists.prop_map(|(promotions, attempts)| History { promotions, attempts, ..History::default() })
}

proptest! {
    #[test]
    fn a_state_is_read_as_it_was_written_and_a_damaged_one_counts_as_empty(
        state in state(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        json_file::save(&path, &state).unwrap();
        prop_assert_eq!(json_file::load::<History>(&path), (state, None));

        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        std::fs::write(folder.path().join("spoiled.json"), &bytes).unwrap();
        let (spoiled, damaged) = json_file::load::<History>(&folder.path().join("spoiled.json"));
        prop_assert!(damaged.is_none() || spoiled == History::default());
        // Whatever it now says, nothing that is asked of it may fail.
        prop_assert_ne!(spoiled.previous_to("a", &|_| true), Some("a"));
        prop_assert_eq!(spoiled.replaced_at("never"), None);
    }
}
