//! The limit on a file's size: a write fails, as on a full disk, and the signal never ends the process.

use std::time::Instant;

use rustix::process::Signal;

use super::{
    Before, CaseCounts, MAX_LOG_LINES, assert_clean, assert_converges, assert_one_error, count_warnings,
    limit, run_bounded, wrapped,
};
use crate::sampling::thinned;
use crate::support::World;

/// How the shortage is named: by the system, by SQLite in the cache.
const NAMED: [&str; 2] = ["File too large", "disk I/O error"];

/// From 0 to more than any file here has, so that each file in turn is the one that is too large.
fn limits() -> Vec<u64> {
    let mut limits: Vec<u64> = (0..6).map(|step| step * 64).collect();
    limits.extend((1..48).map(|step| step * 2048));
    limits.push(1 << 24);
    limits
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn a_command_whose_files_may_not_grow_says_so_and_leaves_the_old_build() {
    let began = Instant::now();
    let (world, mut counts) = (World::with_people(50), CaseCounts::default());
    world.provider.excuse_repeats("where nothing can be written, no vector can be stored");
    world.build();
    let mut logs = String::new();
    for (people, max) in (51..).zip(thinned(limits(), 8)) {
        let case = format!("files of at most {max} bytes");
        world.add_people([people]);
        let before = Before::of(&world);
        let prlimit = ["prlimit", &format!("--fsize={max}:{max}"), "--core=0:0"];
        let ran = run_bounded(&mut wrapped(&prlimit, &world.command(&["build"])));

        if ran.code == 0 {
            assert_clean(&world, &case);
        } else {
            assert_one_error(&case, &ran);
            before.assert_kept(&world, &case, &ran.stderr, &NAMED);
        }
        logs += &ran.stderr;
        assert_converges(&world, &case, &ran, people as usize);
        counts.count(if ran.code == 0 { "built" } else { "refused" });
    }
    assert!(counts.of("built") > 0 && counts.of("refused") > 2, "{logs}");
    counts.report("size of files, build", began);
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn an_agent_whose_files_may_not_grow_lives_on_and_builds_when_they_may() {
    let began = Instant::now();
    let (world, mut counts) = (World::with_people(50), CaseCounts::default());
    world.provider.excuse_repeats("where nothing can be written, no vector can be stored");
    let agent = world.agent_with("quiet = \"10m\"\nmax_wait = \"20m\"\nresync = \"1h\"\n");
    agent.wait_for_promotions(1);
    for (people, max) in (51..).zip(thinned(limits(), 4)) {
        let case = format!("files of at most {max} bytes for a running agent");
        world.add_people([people]);
        let before = Before::of(&world);
        let (logged, promoted) = (agent.log().len(), agent.promotions());
        limit(agent.pid(), &format!("--fsize={max}:unlimited"));
        agent.signal(Signal::USR1);
        agent.wait_for(&format!("{case}: the end of a pass"), || {
            let log = &agent.log()[logged..];
            log.contains("outcome=") || log.contains("state=backing_off")
        });

        let log = agent.log()[logged..].to_owned();
        assert!(count_warnings(&log) <= MAX_LOG_LINES, "{case}: {log}");
        let built = agent.promotions() > promoted;
        limit(agent.pid(), "--fsize=unlimited:unlimited");
        if !built {
            assert_eq!(world.served(), before.served, "{case}");
            agent.signal(Signal::USR1);
        }
        agent.wait_for_promotions(promoted + 1);
        assert_eq!(world.served_count(), people as usize, "{case}");
        counts.count(if built { "built" } else { "survived" });
    }
    agent.stop();
    world.assert_proven();
    assert_eq!(world.staging().len(), 0);
    assert!(counts.of("survived") > 0);
    counts.report("size of files, a running agent", began);
}
