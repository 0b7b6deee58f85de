//! A clock that jumps by years, forward and back, while an agent runs.
//!
//! The clock of the machine stays as it is: only that of the program is shifted.

use std::time::{Duration, Instant};

use super::{CaseCounts, MAX_LOG_LINES, count_warnings, not_run, run_bounded};
use crate::sampling::pick;
use crate::support::agent::Agent;
use crate::support::clock::Clock;
use crate::support::{SOON, World, run};

const TRIGGERS: &str =
    "[trigger]\nquiet = \"100ms\"\nmax_wait = \"1s\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\n";

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn an_agent_whose_clock_jumps_by_a_year_serves_each_change_once_and_makes_no_loop() {
    let began = Instant::now();
    let (world, mut counts) = (World::with_people(3), CaseCounts::default());
    let Some(clock) = Clock::of(&world) else {
        return not_run("there is no C compiler to build the clock with");
    };
    world.settings(TRIGGERS);
    let agent = Agent::start(&mut clock.command(&world, &["run"]));
    agent.wait_for_promotions(1);
    let mut years = 0;
    let jumps = [1, -2, 1, -1, 2, -30, 30, -1, 1, 100, -100];
    for (people, jump) in (4..).zip(&jumps[..pick(2, jumps.len())]) {
        let passes = agent.passes();
        years += jump;
        clock.set(years);
        // A jump alone must not count as a change.
        std::thread::sleep(Duration::from_millis(300));
        world.add_people([people]);
        agent.wait_for(&format!("{jump} years"), || world.served_count() == people as usize);
        agent.wait_for_promotions(people as usize - 2);
        assert!(agent.passes() - passes <= 12, "{jump} years: a loop: {}", agent.log());
        let id = world.served().unwrap();
        let year = run(&mut clock.date(&world)).stdout;
        assert!(
            id.starts_with(year.trim()),
            "{jump} years: the program does not have the time: {id} in {year}"
        );
        world.assert_proven();
        counts.count(if *jump > 0 { "forward" } else { "back" });
    }
    let log = agent.log();
    assert!(count_warnings(&log) <= MAX_LOG_LINES && !log.contains("panicked"), "{log}");
    agent.stop();
    assert_eq!(world.provider.answered_twice(), Vec::<String>::new());
    assert_eq!(world.staging().len(), 0);
    counts.report("jumps of the clock of a running agent", began);
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn vectors_embedded_at_a_wrong_time_are_not_embedded_again() {
    let began = Instant::now();
    let mut counts = CaseCounts::default();
    let years = [-1, 0, 1, 100];
    for (then, now) in years.iter().flat_map(|then| years.map(|now| (*then, now))) {
        let world = World::with_people(50);
        let Some(clock) = Clock::of(&world) else {
            return not_run("there is no C compiler to build the clock with");
        };
        world.settings("[embedding]\nbatch_size = 10\nconcurrency = 1\n");
        clock.set(then);
        world.provider.hold_after(3);
        let mut build = Agent::start(&mut clock.command(&world, &["build"]));
        // The fourth request is sent only when the vectors of the third are in the cache.
        assert!(world.provider.wait_for_requests(4, SOON), "{}", build.log());
        build.signal(rustix::process::Signal::KILL);
        build.ended(SOON);
        world.provider.release();

        clock.set(now);
        let ran = run_bounded(&mut clock.command(&world, &["build"]));
        assert_eq!(ran.code, 0, "embedded at {then} years, built at {now}: {ran:?}");
        assert_eq!(world.provider.answered_twice(), Vec::<String>::new(), "{then} {now}");
        assert_eq!((world.served_count(), world.staging().len()), (50, 0));
        world.assert_proven();
        counts.count(format!("embedded {then} years off, built {now} years off"));
    }
    counts.report("vectors embedded at a wrong time", began);
}
