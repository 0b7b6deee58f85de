//! Out of threads: each number that a user may have at the start, and a limit for a running agent.
//!
//! The limit counts all threads of a user and does not apply to root, so the
//! program runs as a user that has no other threads.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{
    Before, CaseCounts, INTERRUPTED, assert_clean, assert_converges, assert_one_error, not_run, run_bounded,
    wrapped,
};
use crate::sampling::{pick, thinned};
use crate::support::agent::Agent;
use crate::support::{World, run};

/// How the shortage is named: by the system, and by `OpenBLAS` before `main`.
const NAMED: [&str; 1] = ["Resource temporarily unavailable"];

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn a_command_with_any_number_of_threads_builds_or_says_that_there_are_too_few() {
    let began = Instant::now();
    let Some(user) = ForeignUser::new() else {
        return not_run("only root may become a user that has no other threads");
    };
    let (world, mut counts) = (World::with_people(3), CaseCounts::default());
    world.build();
    for (people, max) in (4..).zip(thinned((0..=24).collect(), 5)) {
        let case = format!("{max} threads");
        world.add_people([people]);
        let before = Before::of(&world);
        user.owns(&world.path(""));
        let ran = run_bounded(&mut user.with_threads(max, &world.command(&["build"])));
        give(&world.path(""), 0);

        if ran.code == 0 {
            assert_clean(&world, &case);
        } else {
            if ran.code != INTERRUPTED {
                assert_one_error(&case, &ran);
            }
            before.assert_kept(&world, &case, &ran.stderr, &NAMED);
        }
        assert_converges(&world, &case, &ran, people as usize);
        counts.count(if ran.code == 0 { "built" } else { "refused" });
    }
    assert!(counts.of("built") > 0 && counts.of("refused") > 1);
    counts.report("threads, build", began);
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn an_agent_that_may_start_no_more_threads_goes_on_with_those_it_has() {
    let began = Instant::now();
    let Some(user) = ForeignUser::new() else {
        return not_run("only root may become a user that has no other threads");
    };
    let (world, mut counts) = (World::with_people(3), CaseCounts::default());
    world.settings("[trigger]\nquiet = \"10m\"\nmax_wait = \"20m\"\nresync = \"1h\"\n");
    user.owns(&world.path(""));
    let agent = Agent::start(&mut user.with_threads(100, &world.command(&["run"])));
    agent.wait_for_promotions(1);
    user.has_no_more_threads(&agent);
    // Idle threads end after ten seconds, unless they are reserved.
    std::thread::sleep(Duration::from_secs(pick(0, 12)));
    for people in 4..pick(6, 12) {
        world.add_people([people]);
        agent.signal(Signal::USR1);
        agent.wait_for_records(&world, people as usize);
        counts.count("built");
    }
    assert!(!agent.log().contains("panicked"), "{}", agent.log());
    agent.stop();
    give(&world.path(""), 0);
    world.assert_proven();
    assert_eq!(world.provider.answered_twice(), Vec::<String>::new());
    assert_eq!(world.staging().len(), 0);
    counts.report("threads, a running agent", began);
}

/// A user without any other process.
struct ForeignUser(u32);

impl ForeignUser {
    /// `None` if the test may not run as one, or one may not run the program.
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let user = Self(1_000_000_000 + std::process::id() * 8 + NEXT.fetch_add(1, Ordering::Relaxed));
        let mut version = Command::new(env!("CARGO_BIN_EXE_reindexd"));
        version.arg("--version").current_dir("/");
        let ran = run(&mut user.with_threads(100, &version));
        (ran.code == 0).then_some(user)
    }

    fn owns(&self, folder: &Path) {
        give(folder, self.0);
    }

    /// Root may not set the limits of other users everywhere, but each user may lower its own.
    fn has_no_more_threads(&self, agent: &Agent) {
        let pid = agent.pid().as_raw_nonzero().to_string();
        let user = format!("--reuid={}", self.0);
        let setpriv = [&user, "--clear-groups", "prlimit", "--pid", &pid, "--nproc=1:1"];
        let ran = run(Command::new("setpriv").args(setpriv));
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    /// The command as this user, with at most `max` threads.
    fn with_threads(&self, max: u32, command: &Command) -> Command {
        let user = format!("--reuid={}", self.0);
        wrapped(&["setpriv", &user, "--clear-groups", "prlimit", &format!("--nproc={max}:{max}")], command)
    }
}

/// Makes a user the owner of everything below a folder.
fn give(folder: &Path, user: u32) {
    let ran = run(Command::new("chown").args(["-hR", &user.to_string()]).arg(folder));
    assert_eq!(ran.code, 0, "{ran:?}");
}
