//! What promotions say of rollback and of readers, and what becomes of a damaged file.

use proptest::prelude::*;

use super::*;
use crate::domain::pass::Stage;

fn promoted(log: &str) -> History {
    let mut state = History::default();
    for (nth, promotion) in log.split_whitespace().enumerate() {
        let rolled_back = promotion.strip_suffix('<').map(|build| (build, "rollback"));
        let (build, by) = rolled_back.unwrap_or((promotion, "build"));
        state.record_promotion(build, by, Timestamp::from_second(i64::try_from(nth).unwrap()).unwrap());
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
fn a_replaced_build_is_remembered_for_the_readers_grace_however_many_follow() {
    let mut state = History::default();
    for second in 0..1000 {
        state.record_promotion(&second.to_string(), "build", Timestamp::from_second(second).unwrap());
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

/// A time that can be written and read.
fn time() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.as_second()..Timestamp::MAX.as_second())
        .prop_map(|second| Timestamp::from_second(second).unwrap())
}

fn state() -> impl Strategy<Value = History> {
    let promotion = ("[ab]", time(), ".{0,3}").prop_map(|(build, at, by)| Promotion { build, at, by });
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
    lists.prop_map(|(promotions, attempts)| History { promotions, attempts, equivalent_scan: None })
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
