//! The time of day of one program, shifted by years while it runs.
//!
//! A few lines of C, loaded before libc, add the current content of a file to
//! what the system says; the clock of the machine stays as it is.

#![allow(dead_code, unreachable_pub, reason = "support of test binaries: each uses what it needs")]

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use super::World;

const YEAR: i64 = 366 * 24 * 3600;

/// Sets the time of day of a program, in years from the true one.
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// `None` without a C compiler.
    pub fn of(world: &World) -> Option<Self> {
        let clock = Self { library: world.path("jump.so"), file: world.path("jump") };
        std::fs::write(&clock.file, 0_i64.to_ne_bytes()).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proof/resources/jump.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&clock.library).arg(source);
        compiler.status().is_ok_and(|status| status.success()).then_some(clock)
    }

    /// Takes effect at once, also in running programs.
    pub fn set(&self, years: i64) {
        self.set_seconds(years * YEAR);
    }

    /// The same, in seconds from the true time.
    pub fn set_seconds(&self, seconds: i64) {
        let file = std::fs::OpenOptions::new().write(true).open(&self.file).unwrap();
        file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    /// The program under test, with this clock.
    pub fn command(&self, world: &World, arguments: &[&str]) -> Command {
        self.with_clock(world.command(arguments))
    }

    /// The command that prints the year of this clock.
    pub fn date(&self, world: &World) -> Command {
        let mut date = Command::new("date");
        date.args(["-u", "+%Y"]).current_dir(world.path(""));
        self.with_clock(date)
    }

    fn with_clock(&self, mut command: Command) -> Command {
        command.env("LD_PRELOAD", &self.library).env("TEST_CLOCK_JUMP", &self.file);
        command
    }
}
