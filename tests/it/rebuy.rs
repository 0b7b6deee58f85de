//! `build --rebuy`: every text is embedded again, once, however often it is cut short.

use std::time::Duration;

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::clock::Clock;
use crate::support::provider::Fault;
use crate::support::{Ran, SOON, World, not_run, run};

const BATCHES: &str = "[embedding]\nbatch_size = 10\nconcurrency = 1\n";

/// Fifty people are served; a `--rebuy` had thirty of their texts embedded when the key was refused.
fn cut_short() -> World {
    let world = World::with_people(50);
    world.provider.excuse_money("--rebuy embeds again");
    world.settings(BATCHES);
    world.build();
    world.provider.forget();
    refuse_from(&world, 4);
    let failed = world.run(&["build", "--rebuy", "--json"]);
    assert_eq!((failed.code, failed.number("embedded")), (1, 30), "{failed:?}");
    world.provider.schedule(|_| (None, Duration::ZERO));
    world
}

/// The key is refused from this request on.
fn refuse_from(world: &World, nth: usize) {
    let mut requests = 0;
    world.provider.schedule(move |_| {
        requests += 1;
        ((requests >= nth).then_some(Fault::Forbidden), Duration::ZERO)
    });
}

fn rebuy(world: &World) -> Ran {
    let ran = world.run(&["build", "--rebuy", "--json"]);
    assert_eq!((ran.code, ran.text("outcome").as_str()), (0, "promoted"), "{ran:?}");
    ran
}

fn rebuys(world: &World) -> Value {
    world.run(&["status", "--json"]).json()["rebuys"].clone()
}

fn cached(world: &World) -> u64 {
    let cache = Connection::open(world.path("data/.reindexd/embeddings.sqlite")).unwrap();
    cache.query_row("SELECT count(*) FROM entry", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_rebuy_that_was_cut_short_goes_on_and_says_so() {
    let world = cut_short();
    let mark = rebuys(&world);
    let text = world.run(&["status"]).stdout;

    let ran = rebuy(&world);

    assert_eq!((ran.number("embedded"), ran.number("kept")), (20, 30), "{ran:?}");
    let began = mark[0]["began"].as_str().unwrap();
    assert!(ran.stderr.contains(&format!("began at {began} goes on: 30 vectors")), "{began}: {ran:?}");
    assert_eq!((&mark[0]["vectors"], &mark[0]["space"]["dimension"]), (&30.into(), &32.into()), "{mark}");
    assert!(text.contains("30 vectors of gemini/gemini-embedding-001"), "{text}");
    assert_eq!(world.provider.answered_twice(), Vec::<String>::new());
    assert_eq!((rebuys(&world), cached(&world)), (Value::Array(vec![]), 0), "it has ended");
    world.assert_proven();
    // The next one begins from nothing.
    world.provider.forget();
    assert_eq!(rebuy(&world).number("embedded"), 50);
}

#[test]
fn a_rebuy_killed_again_and_again_pays_for_each_text_once() {
    let world = World::with_people(50);
    world.provider.excuse_money("--rebuy embeds again");
    world.settings(BATCHES);
    world.build();
    world.provider.forget();
    for _ in 0..4 {
        world.provider.hold_after(1);
        let before = world.provider.request_count();
        let mut build = Agent::start(&mut world.command(&["build", "--rebuy"]));
        // The second request is sent only when the vectors of the first are in the cache.
        assert!(world.provider.wait_for_requests(before + 2, SOON), "{}", build.log());
        build.signal(Signal::KILL);
        build.ended(SOON);
        world.provider.release();
    }

    let ran = rebuy(&world);

    assert_eq!(ran.number("embedded"), 10, "{ran:?}");
    assert_eq!(world.provider.answered_twice(), Vec::<String>::new());
    world.assert_proven();
}

#[test]
fn a_plain_pass_neither_uses_nor_drops_the_vectors_of_a_rebuy() {
    let world = cut_short();
    world.provider.forget();
    // The served vectors are those of before, and a text that only the --rebuy could have is embedded.
    world.sql("UPDATE experts SET hourly_rate = 5 WHERE id = 1");
    world.add_people([51]);

    let plain = world.build();
    let left = rebuys(&world);
    let ran = rebuy(&world);

    assert_eq!((plain.number("embedded"), plain.number("kept")), (1, 50), "{plain:?}");
    assert_eq!(left[0]["vectors"], 30, "{left}");
    assert_eq!((ran.number("embedded"), ran.number("kept")), (21, 30), "{ran:?}");
    world.assert_proven();
}

#[test]
fn texts_that_a_rebuy_has_are_not_taken_by_a_pass_that_lacks_them() {
    let world = World::with_people(20);
    world.provider.excuse_money("a plain pass does not use what a --rebuy has");
    world.settings(BATCHES);
    refuse_from(&world, 2);
    assert_eq!(world.run(&["build", "--rebuy"]).code, 1);
    world.provider.schedule(|_| (None, Duration::ZERO));

    let built = world.build();

    assert_eq!((built.number("embedded"), built.number("kept")), (20, 0), "{built:?}");
    assert_eq!(rebuys(&world)[0]["vectors"], 10);
}

#[test]
fn a_rebuy_of_another_space_has_a_mark_of_its_own() {
    let world = cut_short();
    world.provider.forget();
    let other = |arguments: &[&str]| run(world.command(arguments).env("OUTPUT_DIM", "16"));
    refuse_from(&world, 2);
    std::fs::remove_file(world.path("reindexd.toml")).unwrap();
    let other_failed = run(world
        .command(&["build", "--rebuy", "--accept-space", "--json"])
        .env("OUTPUT_DIM", "16")
        .env("INGEST_BATCH_SIZE", "5"));
    world.provider.schedule(|_| (None, Duration::ZERO));

    let marks = other(&["status", "--json"]).json()["rebuys"].clone();
    world.settings(BATCHES);
    let ran = rebuy(&world);

    assert_ne!(other_failed.code, 0, "{other_failed:?}");
    let dimensions: Vec<u64> =
        marks.as_array().unwrap().iter().filter_map(|mark| mark["space"]["dimension"].as_u64()).collect();
    assert_eq!(dimensions, [32, 16], "{marks}");
    assert_eq!((ran.number("embedded"), ran.number("kept")), (20, 30), "{ran:?}");
}

#[test]
fn a_mark_is_dropped_with_a_warning_after_seven_days_of_the_caches_age() {
    const DAY: i64 = 24 * 3600;
    let world = cut_short();
    let Some(clock) = Clock::of(&world) else { return not_run("there is no C compiler") };
    let mut warned = Vec::new();
    // A year at once is one day of the cache's age.
    for (day, seconds) in (1..).zip((0..8).map(|day| 366 * DAY + day * DAY)) {
        clock.set_seconds(seconds);
        world.sql("UPDATE experts SET hourly_rate = hourly_rate + 1 WHERE id = 1");
        let ran = run(&mut clock.command(&world, &["build", "--json"]));
        assert_eq!(ran.code, 0, "{ran:?}");
        if ran.stderr.contains("was not continued for seven days: its 30 vectors") {
            warned.push(day);
        }
    }

    assert_eq!(warned, [8]);
    assert_eq!((rebuys(&world), cached(&world)), (Value::Array(vec![]), 0));
}
