//! Lines 8 and 9: the agent from a touch to a build, and an idle agent.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::{Bench, SMALL};
use crate::fixture::Fixture;
use crate::run::{anonymous, processor_time};
use crate::table::Figures;

/// A running agent. Dropping it kills it.
pub struct Agent {
    child: Child,
}

impl Agent {
    /// Starts `reindexd run` and waits until it has nothing more to do.
    fn start(fixture: &Fixture) -> Self {
        let mut command = fixture.command(&["run"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let agent = Self { child };
        // Its first pass repeats its scan for two seconds; then it sleeps.
        let mut before = Duration::MAX;
        let deadline = Instant::now() + Duration::from_secs(60);
        while before != agent.processor_time() || fixture.served().is_none() {
            assert!(Instant::now() < deadline, "the agent becomes idle");
            before = agent.processor_time();
            std::thread::sleep(Duration::from_secs(3));
        }
        agent
    }

    fn processor_time(&self) -> Duration {
        processor_time(self.child.id())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already; then nothing is killed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Line 8: from the touch of the marker until `current` leads to the new build.
pub fn marker(bench: &mut Bench) {
    let fixture = bench.fixture("marker", SMALL);
    fixture.settle();
    let agent = Agent::start(&fixture);
    let mut ours = Figures::default();
    for _ in 0..bench.turns {
        fixture.change(25, &mut bench.random);
        // The hint of the database itself has arrived.
        std::thread::sleep(Duration::from_millis(500));
        let before = fixture.served();
        let touched = Instant::now();
        std::fs::write(fixture.marker(), b"").unwrap();
        while fixture.served() == before {
            assert!(touched.elapsed() < Duration::from_secs(30), "a touch of the marker is answered");
            std::thread::sleep(Duration::from_micros(200));
        }
        ours.push(touched.elapsed());
        // A scan after a hint is repeated for two seconds; then the pass is over.
        std::thread::sleep(Duration::from_secs(3));
        fixture.let_the_grace_pass();
    }
    drop(agent);
    bench.table.within(
        "8",
        "marker touched → promoted, 25 of 1,558 changed (marker_quiet is 250 ms of it)",
        &ours,
        0.400,
    );
}

/// An agent that stays idle while everything else is measured.
pub struct Idle {
    fixture: Fixture,
    agent: Agent,
    since: Instant,
    spent: Duration,
    served: Option<std::path::PathBuf>,
}

/// Line 9 begins: its processor time is its own, whatever else the machine does.
pub fn begin_idle(bench: &Bench) -> Idle {
    let fixture = bench.fixture("idle", SMALL);
    fixture.settle();
    let agent = Agent::start(&fixture);
    let (since, spent, served) = (Instant::now(), agent.processor_time(), fixture.served());
    Idle { fixture, agent, since, spent, served }
}

/// Line 9 ends when it has been idle for long enough.
pub fn end_idle(bench: &mut Bench, idle: &Idle) {
    let left = bench.idle.saturating_sub(idle.since.elapsed());
    if !left.is_zero() {
        eprintln!("the agent is left idle for another {} s", left.as_secs());
        std::thread::sleep(left);
    }
    let spent = idle.agent.processor_time().saturating_sub(idle.spent);
    let memory = anonymous(idle.agent.child.id());
    assert!(memory > 0, "the agent still runs");
    let what = format!("agent idle for {} s: processor time", idle.since.elapsed().as_secs());
    bench.table.within("9", &what, &Figures::of([spent]), 0.1);
    bench.table.memory("9", "its memory", memory, 10_000_000);
    let builds = usize::from(idle.fixture.served() != idle.served);
    bench.table.count("9", "builds in that time", builds, 0);
}
