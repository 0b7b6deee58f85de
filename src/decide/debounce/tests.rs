//! When a window is due, as tables and as a property.

use super::*;
use proptest::prelude::*;

const TIMING: Timing = Timing {
    on_database: true,
    on_marker: true,
    quiet: Duration::from_secs(30),
    max_wait: Duration::from_secs(600),
    marker_quiet: Duration::from_millis(250),
};

#[derive(Clone, Copy, Debug)]
enum Input {
    Database(u64),
    Marker(u64),
    Requested(u64),
    BuildEnded(u64),
}
use Input::{BuildEnded, Database, Marker, Requested};

/// When the window that saw these, at these milliseconds, is due.
fn due(origin: Instant, inputs: &[Input]) -> Option<u64> {
    let at = |ms| origin + Duration::from_millis(ms);
    let window = inputs.iter().fold(Window::default(), |window, &input| match input {
        Database(ms) => window.record(Cause::Database, at(ms)),
        Marker(ms) => window.record(Cause::Marker, at(ms)),
        Requested(ms) => window.record(Cause::Request, at(ms)),
        BuildEnded(ms) => window.after_build(at(ms)),
    });
    window.due(&TIMING).map(|due| u64::try_from((due - origin).as_millis()).unwrap())
}

#[test]
fn each_window_is_due_when_its_hints_say() {
    let steady: Vec<Input> = (0..700).map(|second| Database(second * 1000)).collect();
    let touched: Vec<Input> = (0..7000).map(|tenth| Marker(tenth * 100)).collect();
    let table: &[(&str, &[Input], Option<u64>)] = &[
        ("nothing arrived", &[], None),
        ("one hint", &[Database(5)], Some(30_005)),
        ("a second hint restarts the quiet time", &[Database(5), Database(20_000)], Some(50_000)),
        ("a steady writer is waited for no longer than max_wait", &steady, Some(600_000)),
        ("a marker", &[Marker(5)], Some(255)),
        ("a marker touched again", &[Marker(5), Marker(100)], Some(350)),
        ("a marker that is touched without end", &touched, Some(600_000)),
        ("a marker cuts a window short", &[Database(5), Marker(1000)], Some(1250)),
        ("a hint does not put a marker off", &[Marker(1000), Database(1100)], Some(1250)),
        ("a request is due at once", &[Database(5), Requested(7), Requested(9)], Some(7)),
        ("a hint long before the build's end", &[Database(5), BuildEnded(100_000)], Some(30_005)),
        ("a hint shortly before it", &[Database(5), Database(99_000), BuildEnded(100_000)], Some(129_000)),
        (
            "a steady writer during a build longer than max_wait",
            &[Database(5), Database(999_900), BuildEnded(1_000_000)],
            Some(1_029_900),
        ),
        (
            "one that goes on writing after it",
            &[Database(5), BuildEnded(1_000_000), Database(1_000_100), Database(1_029_000)],
            Some(1_030_000),
        ),
        ("a marker during a build", &[Marker(5), BuildEnded(100_000)], Some(100_250)),
        ("a request during a build", &[Requested(5), BuildEnded(100_000)], Some(5)),
    ];
    let origin = Instant::now();
    for &(what, inputs, expected) in table {
        assert_eq!(due(origin, inputs), expected, "{what}");
    }
}

#[test]
fn a_window_asks_for_the_pass_that_answers_all_of_it() {
    let now = Instant::now();
    let request = |trigger, full_check| PassRequest { trigger, full_check };
    let database = Window::default().record(Cause::Database, now);
    let table = [
        (database, request(Trigger::Database, false)),
        (database.record(Cause::Reload, now), request(Trigger::Database, false)),
        (Window::default().record(Cause::Reload, now), request(Trigger::Reload, false)),
        (database.record(Cause::Marker, now), request(Trigger::Marker, true)),
        (database.record(Cause::Marker, now).record(Cause::Request, now), request(Trigger::Signal, true)),
        (database.or_owed_marker(true), request(Trigger::Database, true)),
    ];
    for (window, expected) in table {
        assert_eq!(window.request(), expected, "{window:?}");
    }
}

#[test]
fn an_owed_marker_alone_does_not_start_a_pass() {
    assert_eq!(Window::with_owed_marker(true).due(&TIMING), None);
}

#[test]
fn settings_beyond_the_range_of_the_clock_mean_never() {
    let timing = Timing { quiet: Duration::MAX, max_wait: Duration::MAX, ..TIMING };
    let now = Instant::now();
    let due = Window::default().record(Cause::Database, now).due(&timing);
    assert!(due.is_some_and(|due| due > now + Duration::from_secs(24 * 3600)));
}

proptest! {
    #[test]
    fn hints_without_a_build_are_due_within_max_wait_of_the_first(
        gaps in prop::collection::vec((0_u64..60_000, any::<bool>()), 1..80)
    ) {
        let mut at = 0;
        let inputs: Vec<Input> = gaps
            .into_iter()
            .map(|(gap, marker)| {
                at += gap;
                if marker { Marker(at) } else { Database(at) }
            })
            .collect();
        let (Database(first) | Marker(first) | Requested(first) | BuildEnded(first)) = inputs[0];
        let due = due(Instant::now(), &inputs).expect("a hint arrived");
        prop_assert!(due <= first + 600_000);
    }
}
