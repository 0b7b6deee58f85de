//! Out of memory, by a limit on the address space.
//!
//! Rust aborts a process that gets no memory (134), and the loader and Faiss end
//! it too: that is like a kill. The process must end and not hang, print a
//! message, and lose nothing.

use std::time::Instant;

use rustix::process::Signal;

use super::{
    ABORTED, Before, CaseCounts, INTERRUPTED, assert_clean, assert_converges, is_gone, limit, run_bounded,
    wrapped,
};
use crate::sampling::thinned;
use crate::support::agent::Agent;
use crate::support::{Ran, SOON, World};

/// How the shortage is named: by the loader, Rust, the system, SQLite, C++,
/// `OpenBLAS` and the runtime of OpenMP.
const NAMED: [&str; 9] = [
    "cannot allocate memory",
    "Cannot allocate memory",
    "failed to map segment",
    "memory allocation of",
    "out of memory",
    "Resource temporarily unavailable",
    "bad_alloc",
    "allocate",
    "cannot start",
];

/// From what the loader needs to enough for all, in mebibytes.
fn limits() -> Vec<u64> {
    (8..=16).map(|step| step * 8).chain((9..=40).map(|step| step * 16)).collect()
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn a_command_with_any_amount_of_memory_builds_or_ends_and_loses_nothing() {
    let began = Instant::now();
    let (world, mut counts) = (World::with_people(200), CaseCounts::default());
    world.build();
    for (people, max) in (201..).zip(thinned(limits(), 6)) {
        let case = format!("{max} MiB of address space");
        world.add_people([people]);
        let before = Before::of(&world);
        let prlimit = ["prlimit", &format!("--as={}", max << 20), "--core=0:0"];
        let ran = run_bounded(&mut wrapped(&prlimit, &world.command(&["build"])));

        let end = match ran.code {
            0 => "built",
            ABORTED => "aborted",
            _ => "refused",
        };
        if ran.code == 0 {
            assert_clean(&world, &case);
        } else {
            assert!([1, 127, INTERRUPTED, ABORTED].contains(&ran.code), "{case}: {ran:?}");
            before.assert_kept(&world, &case, &ran.stderr, &NAMED);
        }
        assert_converges(&world, &case, &ran, people as usize);
        counts.count(end);
    }
    assert!(counts.of("built") > 0 && counts.of("built") < counts.0.values().sum());
    counts.report("memory, build", began);
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn agent_without_more_memory_survives_or_exits_and_loses_nothing() {
    let began = Instant::now();
    let (world, mut counts) = (World::with_people(200), CaseCounts::default());
    let signals_only = "quiet = \"10m\"\nmax_wait = \"20m\"\nresync = \"1h\"\n";
    // This many KiB more than it uses.
    for (people, more) in (201..).zip(thinned((0..24).map(|step| step * 512).collect(), 3)) {
        let case = format!("{more} KiB more for a running agent");
        let mut agent = world.agent_with(signals_only);
        agent.wait_for_log("state=idle");
        let before = Before::of(&world);
        world.add_people([people]);
        let (ends, promoted) = (agent.logged("outcome="), agent.promotions());
        limit(agent.pid(), &format!("--as={}:unlimited", address_space(&agent) + (more << 10)));
        agent.signal(Signal::USR1);
        agent.wait_for(&format!("{case}: an end"), || is_gone(&agent) || agent.logged("outcome=") > ends);

        assert!(!agent.log().contains("panicked"), "{case}: {}", agent.log());
        if is_gone(&agent) {
            let code = agent.ended(SOON);
            assert!([1, ABORTED].contains(&code), "{case}: {code} {}", agent.log());
            let ran = Ran { code, stdout: String::new(), stderr: agent.log() };
            before.assert_kept(&world, &case, &ran.stderr, &NAMED);
            assert_converges(&world, &case, &ran, people as usize);
            counts.count("ended");
            continue;
        }
        counts.count(if agent.promotions() > promoted { "built" } else { "survived" });
        limit(agent.pid(), "--as=unlimited:unlimited");
        agent.signal(Signal::USR1);
        agent.wait_for_records(&world, people as usize);
        agent.stop();
        assert_clean(&world, &case);
    }
    counts.report("memory, a running agent", began);
}

/// The bytes of address space that a process has.
fn address_space(agent: &Agent) -> u64 {
    let pages = std::fs::read_to_string(format!("/proc/{}/statm", agent.pid().as_raw_nonzero())).unwrap();
    pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}
