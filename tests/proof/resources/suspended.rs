//! An agent that is stopped for a minute, and one whose event queue overflows while it is stopped.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::CaseCounts;
use crate::sampling::pick;
use crate::support::agent::Agent;
use crate::support::{SOON, World, eventually, process_state};

/// Polling and the regular check find nothing in the time of a test, and an answer that comes while the agent
/// is stopped comes after the timeout.
const EVENTS_ALONE: &str = "quiet = \"200ms\"\nmax_wait = \"2s\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\nwatch = \"inotify\"\n\
     [embedding]\nrequest_timeout = \"500ms\"\n";

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn agent_suspended_for_a_minute_serves_what_was_committed_during_it() {
    let began = Instant::now();
    let minute = Duration::from_secs(pick(2, 60));
    let mut counts = CaseCounts::default();
    std::thread::scope(|scope| {
        let idle = scope.spawn(|| {
            let world = World::with_people(3);
            let agent = world.agent_with(EVENTS_ALONE);
            agent.wait_for_promotions(1);
            agent.wait_for_log("state=idle");
            stop(&agent);
            world.add_people([4]);
            std::thread::sleep(minute);
            world.add_people([5]);
            agent.signal(Signal::CONT);
            settle(&world, agent, 5);
        });
        let embedding = scope.spawn(|| {
            let world = World::with_people(3);
            world.provider.hold();
            let agent = world.agent_with(EVENTS_ALONE);
            assert!(world.provider.wait_for_requests(1, SOON), "{}", agent.log());
            stop(&agent);
            world.provider.release();
            std::thread::sleep(minute);
            world.add_people([4, 5]);
            agent.signal(Signal::CONT);
            settle(&world, agent, 5);
        });
        for agent in [idle, embedding] {
            agent.join().unwrap();
        }
    });
    counts.count("idle");
    counts.count("with a request in flight");
    counts.report(&format!("stopped for {} s", minute.as_secs()), began);
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn queue_overflow_while_embedding_loses_no_change() {
    let began = Instant::now();
    let queue = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let queue: usize = queue.trim().parse().unwrap();
    let mut counts = CaseCounts::default();
    for round in 1..=pick(1, 3) {
        let world = World::in_memory();
        world.add_people([1]);
        world.provider.hold();
        let agent = world.agent_with(EVENTS_ALONE);
        assert!(world.provider.wait_for_requests(1, SOON), "{}", agent.log());

        stop(&agent);
        // The kernel merges equal events that follow each other, so two files alternate.
        let mut others = ["a", "b"].map(|name| File::create(world.path("data").join(name)).unwrap());
        for turn in 0..=queue {
            others[turn % 2].write_all(b"x").unwrap();
        }
        // The queue has no space for their events.
        for id in 2..=1 + round {
            world.add_people([id]);
        }
        agent.signal(Signal::CONT);
        world.provider.release();

        settle(&world, agent, 1 + round as usize);
        counts.count(format!("with {queue} events and {round} more"));
    }
    counts.report("event queue overflows while embedding", began);
}

/// Stops the agent, and waits until it is stopped.
#[track_caller]
fn stop(agent: &Agent) {
    agent.signal(Signal::STOP);
    eventually("the agent is stopped", || process_state(agent.pid()) == Some('T'));
}

/// Asserts that all is served, no text was embedded twice, and the agent stops as usual.
#[track_caller]
fn settle(world: &World, agent: Agent, records: usize) {
    agent.wait_for_records(world, records);
    assert!(!agent.log().contains("panicked") && agent.logged("outcome=failed") == 0, "{}", agent.log());
    agent.stop();
    world.assert_proven();
    assert_eq!(world.staging().len(), 0);
    assert_eq!(world.provider.answered_twice(), Vec::<String>::new());
}
