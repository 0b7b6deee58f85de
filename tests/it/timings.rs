//! The time of each stage: `build`, `status` and `history` show the same times of a build.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::crash::strace;
use crate::support::agent::Agent;
use crate::support::provider::Fault;
use crate::support::{SOON, World};

/// The stages that a manifest records; `promote` follows them.
const WRITTEN: [&str; 5] = ["snapshot", "plan", "embed", "index", "verify"];

/// Longer than everything else that a small build does.
const LATENCY: Duration = Duration::from_millis(400);

#[test]
fn build_status_and_history_show_the_same_milliseconds_of_each_stage() {
    let world = World::with_people(5);
    world.provider.set_latency(LATENCY);
    let built = world.build().json();
    let status = json_of(&world, "status");
    let history = json_of(&world, "history");

    let (stages, took_ms) = (&built["phases_ms"], &built["took_ms"]);
    assert_timings(stages, &[&WRITTEN[..], &["promote"]].concat(), number(took_ms));
    assert!(number(&stages["embed"]) >= 400, "the provider's time is not in its stage: {built}");
    let mut with_total = stages.clone();
    with_total["total"] = took_ms.clone();
    for (what, summary) in [("status", &status["served"]), ("history", &history["builds"][0])] {
        assert_eq!((&summary["phases_ms"], &summary["took_ms"]), (&with_total, took_ms), "{what}");
    }
    for (what, attempt) in [("status", &status["last_attempt"]), ("history", &history["attempts"][0])] {
        assert_eq!((&attempt["phases_ms"], &attempt["took_ms"]), (stages, took_ms), "{what}");
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
    assert_eq!(took.split_once(": ").expect("the total, then the stages").1, lines[1], "{status}");
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
    earlier["attempts"][0]
        .as_object_mut()
        .unwrap()
        .remove("phases_ms")
        .expect("the times of the stages are recorded");

    let mut stages = took_ms.clone();
    stages.as_object_mut().unwrap().remove("total").expect("the total is among the stages");
    assert_timings(&stages, &WRITTEN, number(&took_ms["total"]));
    for (what, state_bytes) in
        [("a state that an earlier program wrote", Some(earlier.to_string())), ("no state", None)]
    {
        match state_bytes {
            Some(bytes) => std::fs::write(&state, bytes).unwrap(),
            None => std::fs::remove_file(&state).unwrap(),
        }
        let (status, history) = (json_of(&world, "status"), json_of(&world, "history"));
        let table = world.run(&["status"]).stdout;

        for summary in [&status["served"], &history["builds"][0]] {
            assert_eq!(&summary["phases_ms"], took_ms, "{what}");
            assert_eq!(summary["took_ms"], took_ms["total"], "{what}");
        }
        let took = table.lines().find_map(|line| line.strip_prefix("took ")).expect("a line of the time");
        assert_timing_text(took.split_once(": ").unwrap().1, &WRITTEN);
    }
}

#[test]
fn a_failed_pass_shows_the_time_of_the_stage_in_which_it_failed() {
    let world = World::with_people(5);
    world.provider.schedule(|_| (Some(Fault::KeyInvalid), LATENCY));
    assert_eq!(world.run(&["build"]).code, 1);

    let attempt = &json_of(&world, "status")["last_attempt"];

    let stages = &attempt["phases_ms"];
    assert_timings(stages, &[&WRITTEN[..], &["promote"]].concat(), number(&attempt["took_ms"]));
    assert!(number(&stages["embed"]) >= 400, "{attempt}");
    assert_eq!((&stages["index"], &stages["verify"], &stages["promote"]), (&json!(0), &json!(0), &json!(0)));
}

#[test]
fn a_failed_pass_shows_the_texts_that_were_embedded_and_not_those_planned() {
    let world = World::with_people(12);
    world.settings("[embedding]\nbatch_size = 4\nconcurrency = 1\n");
    let nth = AtomicUsize::new(0);
    world.provider.schedule(move |_| {
        let fault = (nth.fetch_add(1, Ordering::Relaxed) > 0).then_some(Fault::KeyInvalid);
        (fault, Duration::ZERO)
    });
    assert_eq!(world.run(&["build"]).code, 1);

    let attempt = &json_of(&world, "history")["attempts"][0];
    assert_eq!((number(&attempt["counts"]["embedded"]), number(&attempt["counts"]["requests"])), (4, 2));

    world.provider.schedule(|_| (None, Duration::ZERO));
    assert_eq!(world.build().number("embedded"), 8, "the others were stored");
    world.settings("[guard]\nmax_texts = 1\n");
    world.add_people(13..=20);
    assert_eq!(world.run(&["build"]).code, 3);
    let attempts = json_of(&world, "history")["attempts"].clone();
    let refused = &attempts.as_array().unwrap().last().unwrap()["counts"];
    assert_eq!((number(&refused["embedded"]), number(&refused["kept"])), (0, 12), "{refused}");
}

#[test]
fn the_time_of_a_full_check_is_charged_to_verifying() {
    let Some(strace) = strace() else { return };
    let world = World::with_people(5);
    world.settings("[trigger]\non = [\"marker\"]\nmarker_quiet = \"50ms\"\n");
    let served = world.build().text("build");
    world.add_people([6]);
    let command = world.command(&["run"]);
    // Read by a full check alone.
    let metadata = format!("data/builds/{served}/metadata.json");
    let mut traced = Command::new(strace);
    traced
        .args(["-f", "-qq", "-o", "/dev/null", "-P", &metadata, "-e", "trace=openat"])
        .args(["-e", "inject=openat:delay_enter=700000"])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(world.path(""));
    let mut agent = Agent::start(&mut traced);
    agent.wait_for_log("agent: watching");

    std::fs::write(world.path("data/tagging-complete"), "").unwrap();
    agent.wait_for_promotions(1);
    agent.signal_traced(Signal::TERM);
    assert_eq!(agent.ended(SOON), 0, "{}", agent.log());

    let stages = &json_of(&world, "status")["last_attempt"]["phases_ms"];
    assert!(number(&stages["verify"]) >= 700 && number(&stages["snapshot"]) < 700, "{stages}");
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
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a whole number"))
}

/// Asserts that there are these stages and no others, each a number, together at most `max`.
#[track_caller]
fn assert_timings(stages: &Value, names: &[&str], max: u64) {
    let object = stages.as_object().unwrap_or_else(|| panic!("{stages} is not an object"));
    let mut expected = names.to_vec();
    expected.sort_unstable();
    let mut found: Vec<&str> = object.keys().map(String::as_str).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
    let sum: u64 = object.values().map(number).sum();
    assert!(sum <= max, "{stages} is more than {max} ms");
}

/// Asserts a text like `snapshot 12 ms, plan 3 ms`: these stages in this order, each with number and unit.
#[track_caller]
fn assert_timing_text(text: &str, names: &[&str]) {
    let parts: Vec<Vec<&str>> = text.split(", ").map(|part| part.split(' ').collect()).collect();
    let found: Vec<&str> = parts.iter().map(|part| part[0]).collect();
    assert_eq!(found, names, "{text}");
    for part in &parts {
        let is_time = part.len() == 3 && part[1].parse::<f64>().is_ok() && ["ms", "s"].contains(&part[2]);
        assert!(is_time, "{part:?} in {text}");
    }
}
