//! What may leave, case by case; and whole lives of a directory, with deaths, restarts and moved clocks.

use super::*;

const SETTINGS: &str = "0123456789abcdef";

fn at(seconds: i64) -> i64 {
    1_800_000_000 + seconds
}

fn counted(unanswered: u64) -> SentTexts {
    SentTexts { unanswered, settings: SETTINGS.to_owned(), ..SentTexts::default() }
}

fn asked(trigger: Trigger, planned: u64, now: i64) -> Asked<'static> {
    Asked { trigger, planned, settings: SETTINGS, now: at(now) }
}

fn sending(sent: SentTexts, asked: &Asked<'_>) -> (SentTexts, Allowance) {
    match begin(sent, asked) {
        Begin::Send(sent, allowance) => (sent, allowance),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_ceiling_is_twice_the_plan_or_two_hundred() {
    let cases = [(0, 200), (1, 200), (100, 200), (101, 202), (400, 800), (u64::MAX, u64::MAX)];
    for (planned, expected) in cases {
        assert_eq!(ceiling(planned), expected, "{planned}");
    }
}

#[test]
fn what_may_leave_is_what_is_left_below_the_ceiling() {
    // Counted before, planned, wanted; admitted at once, and of a second request as large.
    let cases = [
        (0, 400, 100, 100, 100),
        (0, 400, 800, 800, 0),
        (700, 400, 300, 100, 0),
        (799, 400, 100, 1, 0),
        (150, 10, 100, 50, 0),
        (0, 1, 250, 200, 0),
        (0, 0, 0, 0, 0),
    ];
    for (before, planned, wanted, first, second) in cases {
        let (mut sent, mut allowance) = sending(counted(before), &asked(Trigger::Database, planned, 0));
        let admitted = [(); 2].map(|()| allowance.admit(&mut sent, wanted, at(0)));
        assert_eq!(admitted, [first, second], "{before} {planned} {wanted}");
        assert_eq!(sent.unanswered, before + first + second, "{before} {planned} {wanted}");
    }
}

#[test]
fn beyond_the_ceiling_one_text_leaves_an_hour_and_its_vector_begins_the_count() {
    let hour = 3600;
    for before in [counted(200), counted(900), SentTexts { is_unknown: true, ..counted(0) }] {
        let (mut sent, mut allowance) = sending(before.clone(), &asked(Trigger::Retry, 5, 0));
        assert!(allowance.begins_with_probe, "{before:?}");
        let admitted = [(); 2].map(|()| allowance.admit(&mut sent, 5, at(0)));
        assert_eq!(admitted, [1, 0], "{before:?}");

        let mut failed_probe = sent.clone();
        failed(&mut failed_probe, Some(Retry::Hourly), true, at(1));
        for (now, wait) in [(2, hour - 1), (1 + hour / 2, hour / 2), (hour, 1)] {
            let begun = begin(failed_probe.clone(), &asked(Trigger::Retry, 5, now));
            let expected = Duration::from_secs(u64::try_from(wait).unwrap());
            assert!(matches!(begun, Begin::Ceiling { wait, .. } if wait == expected), "{now}: {begun:?}");
        }
        let (later, allowance_later) = sending(failed_probe.clone(), &asked(Trigger::Retry, 5, 1 + hour));
        assert_eq!((later.probes, allowance_later.begins_with_probe), (1, true));

        assert!(allowance.stored(&mut sent, 1), "{before:?}");
        assert_eq!((sent.unanswered, sent.is_unknown, sent.is_held), (0, false, false), "{before:?}");
        assert_eq!(allowance.admit(&mut sent, 100, at(1)), 100, "{before:?}");
    }
}

#[test]
fn a_person_or_other_settings_clear_the_count_and_the_marker_allows_one_text() {
    let held = || {
        let mut sent = counted(200);
        failed(&mut sent, Some(Retry::Hourly), true, at(0));
        sent
    };
    // What may leave of ten texts, a minute after the ceiling was reached.
    let cases = [
        (Trigger::Command, SETTINGS, Some(10)),
        (Trigger::Signal, SETTINGS, Some(10)),
        (Trigger::Reload, "other", Some(10)),
        (Trigger::Retry, "other", Some(10)),
        (Trigger::Start, "other", Some(10)),
        (Trigger::Marker, SETTINGS, Some(1)),
        (Trigger::Reload, SETTINGS, None),
        (Trigger::Database, SETTINGS, None),
        (Trigger::Resync, SETTINGS, None),
        (Trigger::Retry, SETTINGS, None),
        (Trigger::Start, SETTINGS, None),
    ];
    for (trigger, settings, expected) in cases {
        let admitted = match begin(held(), &Asked { settings, ..asked(trigger, 5, 60) }) {
            Begin::Send(mut sent, mut allowance) => Some(allowance.admit(&mut sent, 10, at(60))),
            Begin::BackOff { .. } | Begin::Ceiling { .. } => None,
        };
        assert_eq!(admitted, expected, "{trigger} {settings}");
    }
    let unknown = || SentTexts { is_unknown: true, settings: String::new(), ..SentTexts::default() };
    for (trigger, expected) in [(Trigger::Database, 1), (Trigger::Start, 1), (Trigger::Command, 10)] {
        let (mut sent, mut allowance) = sending(unknown(), &asked(trigger, 5, 60));
        assert_eq!(allowance.admit(&mut sent, 10, at(60)), expected, "{trigger}");
    }
}

#[test]
fn deaths_before_an_answer_stay_below_the_ceiling_and_each_start_waits_longer() {
    let (mut remembered, mut now, mut left) = (SentTexts::default(), 0, 0);
    let mut waits = Vec::new();
    for _ in 0..10 {
        let (mut sent, mut allowance) = loop {
            match begin(remembered.clone(), &asked(Trigger::Start, 400, now)) {
                Begin::Send(sent, allowance) => break (sent, allowance),
                Begin::BackOff { wait, .. } | Begin::Ceiling { wait, .. } => {
                    waits.push(wait.as_secs());
                    now += i64::try_from(wait.as_secs()).unwrap();
                }
            }
        };
        let texts = if allowance.begins_with_probe { 1 } else { 400 };
        left += allowance.admit(&mut sent, texts, at(now));
        // It dies with this in the file, and the service starts it again two seconds later.
        sent.sending = Some(at(now));
        remembered = sent;
        now += 2;
    }
    assert_eq!(left, 409);
    assert_eq!(waits, [28, 58, 118, 238, 478, 958, 1918, 3598, 3598]);
}

#[test]
fn a_death_after_a_stored_vector_or_after_a_stop_makes_no_start_wait() {
    let (mut sent, mut allowance) = sending(counted(0), &asked(Trigger::Start, 400, 0));
    allowance.admit(&mut sent, 100, at(0));
    assert!(allowance.stored(&mut sent, 100), "the first sign that the provider works");
    allowance.admit(&mut sent, 100, at(1));
    assert!(!allowance.stored(&mut sent, 40), "no news");
    assert_eq!(sent.unanswered, 60);

    let died = SentTexts { sending: Some(at(1)), ..sent.clone() };
    let (after, allowance) = sending(died, &asked(Trigger::Start, 300, 2));
    assert_eq!((after.unanswered, after.failures, allowance.begins_with_probe), (60, 0, false));

    let mut stopped = SentTexts { sending: Some(at(1)), ..sent };
    failed(&mut stopped, None, false, at(2));
    let (after, _) = sending(stopped, &asked(Trigger::Start, 300, 3));
    assert_eq!((after.unanswered, after.failures), (60, 0));
}

#[test]
fn back_off_holds_for_a_start_as_long_as_the_failure_asks() {
    let soon = |seconds| Some(Retry::Soon { wait: Some(Duration::from_secs(seconds)) });
    let cases = [
        (0, Some(Retry::Soon { wait: None }), Some(30)),
        (3, Some(Retry::Soon { wait: None }), Some(240)),
        (0, soon(0), Some(30)),
        (0, soon(300), Some(300)),
        (0, soon(1_000_000), Some(3600)),
        (0, Some(Retry::Hourly), Some(3600)),
        (0, Some(Retry::OnChange), None),
        (0, None, None),
    ];
    for (failures, retry, expected) in cases {
        let mut sent = SentTexts { failures, ..counted(5) };
        failed(&mut sent, retry, false, at(0));
        let wait = |trigger| match begin(sent.clone(), &asked(trigger, 5, 0)) {
            Begin::BackOff { wait, .. } => Some(wait.as_secs()),
            Begin::Send(..) | Begin::Ceiling { .. } => None,
        };
        assert_eq!(wait(Trigger::Start), expected, "{failures} {retry:?}");
        // The agent itself has waited, and a person does not.
        for trigger in [Trigger::Retry, Trigger::Marker, Trigger::Signal, Trigger::Command] {
            assert_eq!(wait(trigger), None, "{trigger} {failures} {retry:?}");
        }
    }
}

#[test]
fn a_clock_that_was_moved_back_keeps_nothing_waiting() {
    let mut sent = counted(200);
    failed(&mut sent, Some(Retry::Hourly), true, at(0));
    for trigger in [Trigger::Start, Trigger::Retry] {
        let (mut sent, mut allowance) = sending(sent.clone(), &asked(trigger, 5, -1_000_000));
        assert_eq!(allowance.admit(&mut sent, 10, at(-1_000_000)), 1, "{trigger}");
    }
}

#[test]
fn what_cost_nothing_is_not_counted_and_a_good_end_clears_all_but_the_minute() {
    let (mut sent, mut allowance) = sending(counted(0), &asked(Trigger::Database, 400, 0));
    allowance.admit(&mut sent, 300, at(0));
    returned(&mut sent, 100);
    assert_eq!(sent.unanswered, 200);
    (sent.minute_texts, sent.minute_at) = (300, Some(at(0)));

    let cleared = cleared(sent.clone());

    assert!(!is_clear(&sent) && is_clear(&cleared) && is_clear(&SentTexts::default()));
    assert_eq!((cleared.unanswered, cleared.minute_texts, cleared.minute_at), (0, 300, Some(at(0))));
}
