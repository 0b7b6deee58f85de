//! Out of file descriptors: with each limit at the start, and with a limit for a running agent.

use std::time::Instant;

use rustix::process::Signal;

use super::{
    Before, CaseCounts, MAX_LOG_LINES, assert_clean, assert_converges, assert_one_error, count_warnings,
    is_gone, limit, run_bounded, wrapped,
};
use crate::sampling::thinned;
use crate::support::agent::Agent;
use crate::support::{Ran, SOON, World};

/// How the shortage is named: by the loader, by the system, by SQLite.
const NAMED: [&str; 3] = ["Too many open files", "Error 24", "unable to open database file"];
const LIMITS: std::ops::RangeInclusive<u32> = 3..=40;
/// Only signals start a pass, and there is no retry within a test.
const SIGNALS_ONLY: &str = "quiet = \"10m\"\nmax_wait = \"20m\"\nresync = \"1h\"\n";

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn a_command_with_any_number_of_descriptors_builds_or_says_that_there_are_too_few() {
    let began = Instant::now();
    let (world, mut counts) = (World::with_people(3), CaseCounts::default());
    world.build();
    for (people, max) in (4..).zip(thinned(LIMITS.collect(), 12)) {
        let case = format!("{max} descriptors");
        world.add_people([people]);
        let before = Before::of(&world);
        let prlimit = ["prlimit", &format!("--nofile={max}:{max}")];
        let ran = run_bounded(&mut wrapped(&prlimit, &world.command(&["build"])));

        if ran.code == 0 {
            assert_clean(&world, &case);
        } else {
            // With fewer than four even the loader fails.
            if ran.code != 127 {
                assert_one_error(&case, &ran);
            }
            before.assert_kept(&world, &case, &ran.stderr, &NAMED);
        }
        assert_converges(&world, &case, &ran, people as usize);
        counts.count(if ran.code == 0 { "built" } else { "refused" });
    }
    assert!(counts.of("built") > 0 && counts.of("refused") > 2);
    counts.report("descriptors, build", began);
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn agent_with_too_few_descriptors_exits_with_a_reason_or_waits_for_more() {
    let began = Instant::now();
    let (world, mut counts) = (World::with_people(3), CaseCounts::default());
    world.build();
    world.settings(&format!("[trigger]\n{SIGNALS_ONLY}"));
    for (people, max) in (4..).zip(thinned(LIMITS.collect(), 5)) {
        let case = format!("{max} descriptors");
        world.add_people([people]);
        let before = Before::of(&world);
        let prlimit = ["prlimit", &format!("--nofile={max}:100")];
        let mut agent = Agent::start(&mut wrapped(&prlimit, &world.command(&["run"])));
        agent.wait_for(&format!("{case}: an end or a pass"), || {
            is_gone(&agent) || agent.logged("outcome=") > 0
        });

        let log = agent.log();
        assert!(count_warnings(&log) <= MAX_LOG_LINES && !log.contains("panicked"), "{case}: {log}");
        if is_gone(&agent) {
            let code = agent.ended(SOON);
            assert!([1, 127].contains(&code), "{case}: {log}");
            let ran = Ran { code, stdout: String::new(), stderr: agent.log() };
            before.assert_kept(&world, &case, &ran.stderr, &NAMED);
            assert_converges(&world, &case, &ran, people as usize);
            counts.count("ended");
            continue;
        }
        if agent.promotions() == 0 {
            before.assert_kept(&world, &case, &log, &NAMED);
            limit(agent.pid(), "--nofile=100:100");
            agent.signal(Signal::USR1);
            agent.wait_for_promotions(1);
            counts.count("survived");
        } else {
            counts.count("built");
        }
        agent.stop();
        assert_clean(&world, &case);
    }
    assert!(counts.of("ended") > 0 && counts.of("built") > 0);
    counts.report("descriptors, start of the agent", began);
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn agent_survives_emfile_and_resumes() {
    let began = Instant::now();
    let (world, mut counts) = (World::with_people(3), CaseCounts::default());
    let agent = world.agent_with(SIGNALS_ONLY);
    agent.wait_for_promotions(1);
    for (people, max) in (4..).zip(thinned(LIMITS.collect(), 5)) {
        let case = format!("{max} descriptors for a running agent");
        world.add_people([people]);
        let before = Before::of(&world);
        let (logged, ended, promoted) = (agent.log().len(), agent.logged("outcome="), agent.promotions());
        limit(agent.pid(), &format!("--nofile={max}:1000"));
        agent.signal(Signal::USR1);
        agent.wait_for(&format!("{case}: the end of a pass"), || {
            agent.logged("outcome=") > ended || agent.logged("state=backing_off") > counts.of("survived")
        });

        let log = agent.log()[logged..].to_owned();
        assert!(count_warnings(&log) <= MAX_LOG_LINES && !log.contains("panicked"), "{case}: {log}");
        if agent.promotions() == promoted {
            assert_eq!(world.served(), before.served, "{case}");
            limit(agent.pid(), "--nofile=1000:1000");
            agent.signal(Signal::USR1);
            counts.count("survived");
        } else {
            limit(agent.pid(), "--nofile=1000:1000");
            counts.count("built");
        }
        agent.wait_for_promotions(promoted + 1);
        assert_eq!(world.served_count(), people as usize, "{case}");
        assert_eq!(world.provider.answered_twice(), Vec::<String>::new(), "{case}");
    }
    let log = agent.log();
    assert!(NAMED.iter().any(|cause| log.contains(cause)), "{log}");
    agent.stop();
    world.assert_proven();
    assert_eq!(world.staging().len(), 0);
    assert!(counts.of("survived") > 0);
    counts.report("descriptors, a running agent", began);
}
