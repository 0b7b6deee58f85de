//! A clock that jumps by a year, forward and back, under an agent at work.
//!
//! The machine's clock is left alone: a few lines of C, loaded before libc,
//! add to the time of day of one program what a file says at that moment.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{CaseCounts, MAX_LOG_LINES, behind, count_warnings, not_run, run_bounded};
use crate::sampling::pick;
use crate::support::agent::Agent;
use crate::support::{SOON, World, run};

const YEAR: i64 = 366 * 24 * 3600;
const TRIGGERS: &str =
    "[trigger]\nquiet = \"100ms\"\nmax_wait = \"1s\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\n";

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn an_agent_whose_clock_jumps_by_a_year_serves_each_change_once_and_makes_no_loop() {
    let began = Instant::now();
    let (world, mut tally) = (World::with_people(3), CaseCounts::default());
    let Some(clock) = Clock::of(&world) else {
        return not_run("no C compiler to make a clock with");
    };
    world.settings(TRIGGERS);
    let agent = Agent::start(&mut clock.command(&world, "run"));
    agent.wait_for_promotions(1);
    let mut years = 0;
    let jumps = [1, -2, 1, -1, 2, -30, 30, -1, 1, 100, -100];
    for (people, jump) in (4..).zip(&jumps[..pick(2, jumps.len())]) {
        let passes = agent.passes();
        years += jump;
        clock.set(years);
        // What changes nothing must not begin to count as a change.
        std::thread::sleep(Duration::from_millis(300));
        world.add_people([people]);
        agent.wait_for(&format!("{jump} years"), || world.served_count() == people as usize);
        agent.wait_for_promotions(people as usize - 2);
        assert!(agent.passes() - passes <= 12, "{jump} years: a loop: {}", agent.log());
        let id = world.served().unwrap();
        let year = run(&mut clock.date(&world)).stdout;
        assert!(id.starts_with(year.trim()), "{jump} years: the program has not seen it: {id} in {year}");
        world.assert_proven();
        tally.count(if *jump > 0 { "forward" } else { "back" });
    }
    let log = agent.log();
    assert!(count_warnings(&log) <= MAX_LOG_LINES && !log.contains("panicked"), "{log}");
    agent.stop();
    assert_eq!(world.provider.answered_twice(), Vec::<String>::new());
    assert_eq!(world.staging().len(), 0);
    tally.report("jumps of the clock under a live agent", began);
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn vectors_embedded_at_a_wrong_time_are_not_embedded_again() {
    let began = Instant::now();
    let mut tally = CaseCounts::default();
    for (then, now) in [(1, 0), (-1, -1), (100, 0)] {
        let world = World::with_people(50);
        let Some(clock) = Clock::of(&world) else {
            return not_run("no C compiler to make a clock with");
        };
        world.settings("[embedding]\nbatch_size = 10\nconcurrency = 1\n");
        clock.set(then);
        world.provider.hold_after(3);
        let mut build = Agent::start(&mut clock.command(&world, "build"));
        // The fourth request is sent only when the vectors of the third are in the cache.
        assert!(world.provider.wait_for_requests(4, SOON), "{}", build.log());
        build.signal(rustix::process::Signal::KILL);
        build.ended(SOON);
        world.provider.release();

        clock.set(now);
        let ran = run_bounded(&mut clock.command(&world, "build"));
        assert_eq!(ran.code, 0, "bought at {then} years, built at {now}: {ran:?}");
        assert_eq!(world.provider.answered_twice(), Vec::<String>::new(), "{then} {now}");
        assert_eq!((world.served_count(), world.staging().len()), (50, 0));
        world.assert_proven();
        tally.count(format!("bought {then} years off, built {now} years off"));
    }
    tally.report("vectors bought at a wrong time", began);
}

/// The time of day that a program has, in years from the true one.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// `None` without a C compiler.
    fn of(world: &World) -> Option<Self> {
        let clock = Self { library: world.path("jump.so"), file: world.path("jump") };
        std::fs::write(&clock.file, 0_i64.to_ne_bytes()).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proof/resources/jump.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&clock.library).arg(source);
        compiler.status().is_ok_and(|status| status.success()).then_some(clock)
    }

    /// At once, for programs at work too.
    fn set(&self, years: i64) {
        let file = std::fs::OpenOptions::new().write(true).open(&self.file).unwrap();
        file.write_all_at(&(years * YEAR).to_ne_bytes(), 0).unwrap();
    }

    fn command(&self, world: &World, name: &str) -> Command {
        self.over(&world.command(&[name]))
    }

    /// What a program of the system says the year is.
    fn date(&self, world: &World) -> Command {
        let mut date = Command::new("date");
        date.args(["-u", "+%Y"]).current_dir(world.path(""));
        self.over(&date)
    }

    fn over(&self, command: &Command) -> Command {
        let mut command = behind(&["env"], command);
        command.env("LD_PRELOAD", &self.library).env("TEST_CLOCK_JUMP", &self.file);
        command
    }
}
