//! Out of file descriptors: at each limit from the start on, and under an agent at work.

use std::time::Instant;

use rustix::process::Signal;

use super::{
    Before, CaseCounts, MAX_LOG_LINES, assert_clean, assert_converges, assert_one_error, behind,
    count_warnings, is_gone, limit, run_bounded,
};
use crate::sampling::thinned;
use crate::support::agent::Agent;
use crate::support::{Ran, SOON, World};

/// How the lack is named: by the loader, by the system, by SQLite.
const NAMED: [&str; 3] = ["Too many open files", "Error 24", "unable to open database file"];
const LIMITS: std::ops::RangeInclusive<u32> = 3..=40;
/// Only orders make it work, and nothing is tried again by itself within a test.
const ORDERED: &str = "quiet = \"10m\"\nmax_wait = \"20m\"\nresync = \"1h\"\n";

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn a_command_with_any_number_of_descriptors_builds_or_says_that_there_are_too_few() {
    let began = Instant::now();
    let (world, mut tally) = (World::with_people(3), CaseCounts::default());
    world.build();
    for (people, most) in (4..).zip(thinned(LIMITS.collect(), 12)) {
        let case = format!("{most} descriptors");
        world.add_people([people]);
        let before = Before::of(&world);
        let words = ["prlimit", &format!("--nofile={most}:{most}")];
        let ran = run_bounded(&mut behind(&words, &world.command(&["build"])));

        if ran.code == 0 {
            assert_clean(&world, &case);
        } else {
            // Below four not even the loader can work.
            if ran.code != 127 {
                assert_one_error(&case, &ran);
            }
            before.assert_kept(&world, &case, &ran.stderr, &NAMED);
        }
        assert_converges(&world, &case, &ran, people as usize);
        tally.count(if ran.code == 0 { "built" } else { "refused" });
    }
    assert!(tally.of("built") > 0 && tally.of("refused") > 2);
    tally.report("descriptors, build", began);
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn agent_with_too_few_descriptors_exits_with_a_reason_or_waits_for_more() {
    let began = Instant::now();
    let (world, mut tally) = (World::with_people(3), CaseCounts::default());
    world.build();
    world.settings(&format!("[trigger]\n{ORDERED}"));
    for (people, most) in (4..).zip(thinned(LIMITS.collect(), 5)) {
        let case = format!("{most} descriptors");
        world.add_people([people]);
        let before = Before::of(&world);
        let words = ["prlimit", &format!("--nofile={most}:100")];
        let mut agent = Agent::start(&mut behind(&words, &world.command(&["run"])));
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
            tally.count("ended");
            continue;
        }
        if agent.promotions() == 0 {
            before.assert_kept(&world, &case, &log, &NAMED);
            limit(agent.pid(), "--nofile=100:100");
            agent.signal(Signal::USR1);
            agent.wait_for_promotions(1);
            tally.count("lived on");
        } else {
            tally.count("built");
        }
        agent.stop();
        assert_clean(&world, &case);
    }
    assert!(tally.of("ended") > 0 && tally.of("built") > 0);
    tally.report("descriptors, start of the agent", began);
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn agent_survives_emfile_and_resumes() {
    let began = Instant::now();
    let (world, mut tally) = (World::with_people(3), CaseCounts::default());
    let agent = world.agent_with(ORDERED);
    agent.wait_for_promotions(1);
    for (people, most) in (4..).zip(thinned(LIMITS.collect(), 5)) {
        let case = format!("{most} descriptors under a live agent");
        world.add_people([people]);
        let before = Before::of(&world);
        let (said, ended, promoted) = (agent.log().len(), agent.logged("outcome="), agent.promotions());
        limit(agent.pid(), &format!("--nofile={most}:1000"));
        agent.signal(Signal::USR1);
        agent.wait_for(&format!("{case}: the end of a pass"), || {
            agent.logged("outcome=") > ended || agent.logged("phase=backing_off") > tally.of("lived on")
        });

        let log = agent.log()[said..].to_owned();
        assert!(count_warnings(&log) <= MAX_LOG_LINES && !log.contains("panicked"), "{case}: {log}");
        if agent.promotions() == promoted {
            assert_eq!(world.served(), before.served, "{case}");
            limit(agent.pid(), "--nofile=1000:1000");
            agent.signal(Signal::USR1);
            tally.count("lived on");
        } else {
            limit(agent.pid(), "--nofile=1000:1000");
            tally.count("built");
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
    assert!(tally.of("lived on") > 0);
    tally.report("descriptors, a live agent", began);
}
