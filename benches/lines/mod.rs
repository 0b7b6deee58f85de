//! The lines of the table, each a function that measures and adds its rows.

pub mod agent;
pub mod cold;
pub mod core;
pub mod judged;
pub mod large;
pub mod libraries;
pub mod shapes;
pub mod small;
pub mod templates;

use std::time::Duration;

use crate::fixture::{Fixture, Shape};
use crate::run::{Memory, Ran};
use crate::server::Server;
use crate::table::{Figures, Table};

/// Concurrent requests, as by default.
pub const CONCURRENCY: usize = 4;
/// Rows of the small table: as many as the sample has people.
pub const SMALL: u32 = 1558;

/// What the lines share.
pub struct Bench {
    /// Vectors of 768 floats.
    pub server: Server,
    pub table: Table,
    /// How often a run of less than a second is measured.
    pub turns: usize,
    /// The same for longer runs.
    pub long_turns: usize,
    /// How long the agent stays idle.
    pub idle: Duration,
    pub random: fastrand::Rng,
}

impl Bench {
    /// A folder with vectors of 768 floats.
    pub fn fixture(&self, name: &str, rows: u32) -> Fixture {
        Fixture::open(name, Shape::usual(rows), &self.server, 768)
    }
}

/// The times and the highest peak of several runs.
#[derive(Default)]
pub struct Runs {
    pub times: Figures,
    pub peak: u64,
}

impl Runs {
    pub fn add(&mut self, ran: &Ran) {
        self.times.push(ran.took);
        self.peak = self.peak.max(ran.peak);
    }
}

/// No-change checks and bare stepping, in turns.
pub fn checks(fixture: &Fixture, turns: usize, memory: Memory) -> (Runs, Figures) {
    let (mut ours, mut limit) = (Runs::default(), Figures::default());
    // Both once before, so that the database is warm where it may be.
    crate::baselines::stepping(&fixture.database());
    fixture.settle();
    for _ in 0..turns {
        fixture.make_ready();
        limit.push(crate::baselines::stepping(&fixture.database()));
        fixture.make_ready();
        let ran = fixture.build(memory);
        assert_eq!(ran.text("outcome"), "unchanged", "{ran:?}");
        ours.add(&ran);
    }
    (ours, limit)
}
