//! Where the time went: `build`, `status` and `history` tell each phase of a build, and tell the same.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::World;
use crate::support::provider::Fault;

/// As a manifest has them; `promote` is the last one.
const WRITTEN: [&str; 5] = ["snapshot", "plan", "embed", "index", "verify"];

/// Long enough to be told from everything else that a small build does.
const LATENCY: Duration = Duration::from_millis(400);

#[test]
fn build_status_and_history_show_the_same_milliseconds_of_each_stage() {
    let world = World::with_people(5);
    world.provider.set_latency(LATENCY);
    let built = world.build().json();
    let status = json_of(&world, "status");
    let history = json_of(&world, "history");

    let (phases, took_ms) = (&built["phases_ms"], &built["took_ms"]);
    assert_timings(phases, &[&WRITTEN[..], &["promote"]].concat(), number(took_ms));
    assert!(number(&phases["embed"]) >= 400, "the provider's time is told elsewhere: {built}");
    let mut with_total = phases.clone();
    with_total["total"] = took_ms.clone();
    for (what, summary) in [("status", &status["served"]), ("history", &history["builds"][0])] {
        assert_eq!((&summary["phases_ms"], &summary["took_ms"]), (&with_total, took_ms), "{what}");
    }
    for (what, attempt) in [("status", &status["last_attempt"]), ("history", &history["attempts"][0])] {
        assert_eq!((&attempt["phases_ms"], &attempt["took_ms"]), (phases, took_ms), "{what}");
    }
}

#[test]
fn timings_are_printed_only_where_a_build_was_made() {
    let world = World::with_people(5);
    world.provider.set_latency(LATENCY);
    let built = world.run(&["build"]).stdout;
    let unchanged = world.run(&["build"]).stdout;
    let status = world.run(&["status"]).stdout;
    let history = world.run(&["history"]).stdout;

    let lines: Vec<&str> = built.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("promoted "), "{built}");
    assert_timing_text(lines[1], &[&WRITTEN[..], &["promote"]].concat());
    assert!(unchanged.lines().count() == 1 && !unchanged.contains("snapshot"), "{unchanged}");
    let took = status.lines().find_map(|line| line.strip_prefix("took ")).expect("a line of the time");
    assert_eq!(took.split_once(": ").expect("the whole, then its parts").1, lines[1], "{status}");
    let embed = lines[1].split(", ").find(|part| part.starts_with("embed ")).unwrap();
    let (head, row) = history.split_once('\n').unwrap();
    let row = row.lines().next().unwrap();
    assert!(head.contains("  LONGEST") && row.contains(&format!("  {embed}  ")), "{embed}: {history}");
}

#[test]
fn a_manifest_keeps_all_timings_of_its_build_except_promote() {
    let world = World::with_people(5);
    world.build();
    let manifest = read(&world.path("data/current/manifest.json"));
    let took_ms = &manifest["took_ms"];
    let state = world.path("data/.reindexd/state.json");
    let mut earlier = read(&state);
    earlier["attempts"][0].as_object_mut().unwrap().remove("phases_ms").expect("the phases are noted");

    let mut phases = took_ms.clone();
    phases.as_object_mut().unwrap().remove("total").expect("the whole beside its parts");
    assert_timings(&phases, &WRITTEN, number(&took_ms["total"]));
    for (what, state_bytes) in
        [("a state that an earlier program wrote", Some(earlier.to_string())), ("no state", None)]
    {
        match state_bytes {
            Some(bytes) => std::fs::write(&state, bytes).unwrap(),
            None => std::fs::remove_file(&state).unwrap(),
        }
        let (status, history) = (json_of(&world, "status"), json_of(&world, "history"));
        let words = world.run(&["status"]).stdout;

        for summary in [&status["served"], &history["builds"][0]] {
            assert_eq!(&summary["phases_ms"], took_ms, "{what}");
            assert_eq!(summary["took_ms"], took_ms["total"], "{what}");
        }
        let took = words.lines().find_map(|line| line.strip_prefix("took ")).expect("a line of the time");
        assert_timing_text(took.split_once(": ").unwrap().1, &WRITTEN);
    }
}

#[test]
fn a_failed_pass_shows_the_time_of_the_stage_in_which_it_failed() {
    let world = World::with_people(5);
    world.provider.schedule(|_| (Some(Fault::KeyInvalid), LATENCY));
    assert_eq!(world.run(&["build"]).code, 1);

    let attempt = &json_of(&world, "status")["last_attempt"];

    let phases = &attempt["phases_ms"];
    assert_timings(phases, &[&WRITTEN[..], &["promote"]].concat(), number(&attempt["took_ms"]));
    assert!(number(&phases["embed"]) >= 400, "{attempt}");
    assert_eq!((&phases["index"], &phases["verify"], &phases["promote"]), (&json!(0), &json!(0), &json!(0)));
}

fn json_of(world: &World, command: &str) -> Value {
    let ran = world.run(&[command, "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[track_caller]
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

/// These phases and no others, each a number, together no more than `most`.
#[track_caller]
fn assert_timings(phases: &Value, names: &[&str], most: u64) {
    let object = phases.as_object().unwrap_or_else(|| panic!("{phases} is no object"));
    let mut expected = names.to_vec();
    expected.sort_unstable();
    let mut found: Vec<&str> = object.keys().map(String::as_str).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
    let sum: u64 = object.values().map(number).sum();
    assert!(sum <= most, "{phases} is more than {most} ms");
}

/// `snapshot 12 ms, plan 3 ms`: these phases in this order, each with a number and its unit.
#[track_caller]
fn assert_timing_text(words: &str, names: &[&str]) {
    let parts: Vec<Vec<&str>> = words.split(", ").map(|part| part.split(' ').collect()).collect();
    let found: Vec<&str> = parts.iter().map(|part| part[0]).collect();
    assert_eq!(found, names, "{words}");
    for part in &parts {
        let is_time = part.len() == 3 && part[1].parse::<f64>().is_ok() && ["ms", "s"].contains(&part[2]);
        assert!(is_time, "{part:?} in {words}");
    }
}
