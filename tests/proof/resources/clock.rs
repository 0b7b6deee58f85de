//! A clock that jumps by years, forward and back, while an agent runs.
//!
//! The clock of the machine stays as it is: a few lines of C, loaded before libc,
//! add the current content of a file to the time of day of one program.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{CaseCounts, MAX_LOG_LINES, count_warnings, not_run, run_bounded, wrapped};
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
    let (world, mut counts) = (World::with_people(3), CaseCounts::default());
    let Some(clock) = Clock::of(&world) else {
        return not_run("there is no C compiler to build the clock with");
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
    for (then, now) in [(1, 0), (-1, -1), (100, 0)] {
        let world = World::with_people(50);
        let Some(clock) = Clock::of(&world) else {
            return not_run("there is no C compiler to build the clock with");
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
        assert_eq!(ran.code, 0, "embedded at {then} years, built at {now}: {ran:?}");
        assert_eq!(world.provider.answered_twice(), Vec::<String>::new(), "{then} {now}");
        assert_eq!((world.served_count(), world.staging().len()), (50, 0));
        world.assert_proven();
        counts.count(format!("embedded {then} years off, built {now} years off"));
    }
    counts.report("vectors embedded at a wrong time", began);
}

/// Sets the time of day of a program, in years from the true one.
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

    /// Takes effect at once, also in running programs.
    fn set(&self, years: i64) {
        let file = std::fs::OpenOptions::new().write(true).open(&self.file).unwrap();
        file.write_all_at(&(years * YEAR).to_ne_bytes(), 0).unwrap();
    }

    fn command(&self, world: &World, name: &str) -> Command {
        self.with_clock(&world.command(&[name]))
    }

    /// The command that prints the year of this clock.
    fn date(&self, world: &World) -> Command {
        let mut date = Command::new("date");
        date.args(["-u", "+%Y"]).current_dir(world.path(""));
        self.with_clock(&date)
    }

    fn with_clock(&self, command: &Command) -> Command {
        let mut command = wrapped(&["env"], command);
        command.env("LD_PRELOAD", &self.library).env("TEST_CLOCK_JUMP", &self.file);
        command
    }
}
