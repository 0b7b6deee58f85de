//! The limit on a file's size: a failed write, as on a full disk, and never the signal's end of the process.

use std::time::Instant;

use rustix::process::Signal;

use super::{
    Before, CaseCounts, MAX_LOG_LINES, assert_clean, assert_converges, assert_one_error, behind,
    count_warnings, limit, run_bounded,
};
use crate::sampling::thinned;
use crate::support::World;

/// How the lack is named: by the system, by SQLite in the cache.
const NAMED: [&str; 2] = ["File too large", "disk I/O error"];

/// From nothing to more than any file here has, so that each in turn is the one that is too large.
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
    let (world, mut tally) = (World::with_people(50), CaseCounts::default());
    world.build();
    let mut words = String::new();
    for (people, most) in (51..).zip(thinned(limits(), 8)) {
        let case = format!("files of at most {most} bytes");
        world.add_people([people]);
        let before = Before::of(&world);
        let outer = ["prlimit", &format!("--fsize={most}:{most}"), "--core=0:0"];
        let ran = run_bounded(&mut behind(&outer, &world.command(&["build"])));

        if ran.code == 0 {
            assert_clean(&world, &case);
        } else {
            assert_one_error(&case, &ran);
            before.assert_kept(&world, &case, &ran.stderr, &NAMED);
        }
        words += &ran.stderr;
        assert_converges(&world, &case, &ran, people as usize);
        tally.count(if ran.code == 0 { "built" } else { "refused" });
    }
    assert!(tally.of("built") > 0 && tally.of("refused") > 2, "{words}");
    tally.report("size of files, build", began);
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn an_agent_whose_files_may_not_grow_lives_on_and_builds_when_they_may() {
    let began = Instant::now();
    let (world, mut tally) = (World::with_people(50), CaseCounts::default());
    let agent = world.agent_with("quiet = \"10m\"\nmax_wait = \"20m\"\nresync = \"1h\"\n");
    agent.wait_for_promotions(1);
    for (people, most) in (51..).zip(thinned(limits(), 4)) {
        let case = format!("files of at most {most} bytes under a live agent");
        world.add_people([people]);
        let before = Before::of(&world);
        let (said, promoted) = (agent.log().len(), agent.promotions());
        limit(agent.pid(), &format!("--fsize={most}:unlimited"));
        agent.signal(Signal::USR1);
        agent.wait_for(&format!("{case}: the end of a pass"), || {
            let log = &agent.log()[said..];
            log.contains("outcome=") || log.contains("phase=backing_off")
        });

        let log = agent.log()[said..].to_owned();
        assert!(count_warnings(&log) <= MAX_LOG_LINES, "{case}: {log}");
        let built = agent.promotions() > promoted;
        limit(agent.pid(), "--fsize=unlimited:unlimited");
        if !built {
            assert_eq!(world.served(), before.served, "{case}");
            agent.signal(Signal::USR1);
        }
        agent.wait_for_promotions(promoted + 1);
        assert_eq!(world.served_count(), people as usize, "{case}");
        tally.count(if built { "built" } else { "lived on" });
    }
    agent.stop();
    world.assert_proven();
    assert_eq!(world.staging().len(), 0);
    assert!(tally.of("lived on") > 0);
    tally.report("size of files, a live agent", began);
}
