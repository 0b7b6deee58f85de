//! What is cached grows old by passes and days, and never by a clock that is wrong.

use std::time::Duration;

use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::agent::Agent;
use crate::support::clock::Clock;
use crate::support::provider::Fault;
use crate::support::{SOON, World, not_run, run};

const YEARS: [i64; 3] = [-1, 0, 1];
const BATCHES: &str = "[embedding]\nbatch_size = 10\nconcurrency = 1\n";

#[test]
fn no_jump_of_the_clock_between_two_builds_embeds_a_text_again() {
    for then in YEARS {
        for now in YEARS {
            let world = World::with_people(50);
            let Some(clock) = Clock::of(&world) else { return not_run("there is no C compiler") };
            world.settings(BATCHES);
            clock.set(then);
            world.provider.hold_after(3);
            let mut build = Agent::start(&mut clock.command(&world, &["build"]));
            // The fourth request is sent only when the vectors of the third are in the cache.
            assert!(world.provider.wait_for_requests(4, SOON), "{}", build.log());
            build.signal(Signal::KILL);
            build.ended(SOON);
            world.provider.release();

            clock.set(now);
            let ran = run(&mut clock.command(&world, &["build", "--json"]));

            assert_eq!((ran.code, world.served_count()), (0, 50), "{then} {now}: {ran:?}");
            assert_eq!(ran.number("embedded"), 20, "{then} {now}: {ran:?}");
            assert_eq!(world.provider.answered_twice(), Vec::<String>::new(), "{then} {now}");
        }
    }
}

#[test]
fn no_jump_of_the_clock_of_a_running_agent_embeds_a_text_again() {
    let world = World::with_people(10);
    let Some(clock) = Clock::of(&world) else { return not_run("there is no C compiler") };
    world.settings(&format!("{BATCHES}[trigger]\nquiet = \"100ms\"\nmarker_quiet = \"50ms\"\n"));
    let agent = Agent::start(&mut clock.command(&world, &["run"]));
    agent.wait_for_promotions(1);
    let mut people = 10;
    for then in YEARS {
        for now in YEARS {
            // The first batch of two is taken, then the key is refused.
            clock.set(then);
            world.provider.forget();
            world.provider.schedule({
                let mut requests = 0;
                move |_| {
                    requests += 1;
                    ((requests == 2).then_some(Fault::Forbidden), Duration::ZERO)
                }
            });
            let failures = agent.logged("status 403");
            world.add_people(people + 1..=people + 20);
            people += 20;
            agent.wait_for("the second request is refused", || agent.logged("status 403") > failures);

            clock.set(now);
            std::fs::write(world.path("data/tagging-complete"), b"").unwrap();
            agent.wait_for_records(&world, people as usize);

            assert_eq!(world.provider.answered_twice(), Vec::<String>::new(), "{then} {now}");
            assert_eq!(world.provider.text_count(), 30, "{then} {now}: the second batch is sent twice");
        }
    }
    agent.stop();
    world.assert_proven();
}

#[test]
fn a_vector_that_no_build_holds_leaves_after_thirty_days_of_good_passes() {
    const DAY: i64 = 24 * 3600;
    let world = World::with_people(5);
    let Some(clock) = Clock::of(&world) else { return not_run("there is no C compiler") };
    world.settings("[embedding]\nbatch_size = 1\nconcurrency = 1\n");
    world.build();
    // One text whose vector is cached, and whose row is gone before a build has it.
    world.provider.script([Fault::SlowDrip { bytes: 1 << 20, every: Duration::ZERO }, Fault::Forbidden]);
    world.add_people([6, 7]);
    assert_eq!(world.run(&["build"]).code, 1);
    world.sql("DELETE FROM experts WHERE id IN (6, 7)");

    let mut cached = Vec::new();
    for day in 1..=32 {
        clock.set_seconds(day * DAY);
        // Each pass reads the rows, because their raw values differ, and finds nothing else.
        world.sql("UPDATE experts SET hourly_rate = hourly_rate + 1 WHERE id = 1");
        let ran = run(&mut clock.command(&world, &["build", "--json"]));
        assert_eq!(ran.code, 0, "day {day}: {ran:?}");
        cached.push(cached_texts(&world));
    }

    assert_eq!(cached[..30], [1; 30], "{cached:?}");
    assert_eq!(cached[31], 0, "{cached:?}");
}

fn cached_texts(world: &World) -> u64 {
    let cache = Connection::open(world.path("data/.reindexd/embeddings.sqlite")).unwrap();
    cache.query_row("SELECT count(*) FROM entry", [], |row| row.get(0)).unwrap()
}
