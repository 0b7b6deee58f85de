//! An agent that stands still for a minute, and one whose queue of events runs over meanwhile.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::CaseCounts;
use crate::sampling::pick;
use crate::support::agent::Agent;
use crate::support::{SOON, World, eventually, process_state};

/// Nothing is found by polling or by the slow round in the time of a test, and whatever comes while
/// the agent stands still comes past the timeout.
const EVENTS_ALONE: &str = "quiet = \"200ms\"\nmax_wait = \"2s\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\nwatch = \"inotify\"\n\
     [embedding]\nrequest_timeout = \"500ms\"\n";

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn agent_suspended_for_a_minute_serves_what_was_committed_during_it() {
    let began = Instant::now();
    let minute = Duration::from_secs(pick(2, 60));
    let mut tally = CaseCounts::default();
    std::thread::scope(|scope| {
        let at_rest = scope.spawn(|| {
            let world = World::with_people(3);
            let agent = world.agent_with(EVENTS_ALONE);
            agent.wait_for_promotions(1);
            agent.wait_for_log("phase=idle");
            stop(&agent);
            world.add_people([4]);
            std::thread::sleep(minute);
            world.add_people([5]);
            agent.signal(Signal::CONT);
            settle(&world, agent, 5);
        });
        let at_work = scope.spawn(|| {
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
        for stood in [at_rest, at_work] {
            stood.join().unwrap();
        }
    });
    tally.count("at rest");
    tally.count("with a request on the wire");
    tally.report(&format!("stopped for {} s", minute.as_secs()), began);
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn queue_overflow_while_embedding_loses_no_change() {
    let began = Instant::now();
    let queue = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let queue: usize = queue.trim().parse().unwrap();
    let mut tally = CaseCounts::default();
    for round in 1..=pick(1, 3) {
        let world = World::in_memory();
        world.add_people([1]);
        world.provider.hold();
        let agent = world.agent_with(EVENTS_ALONE);
        assert!(world.provider.wait_for_requests(1, SOON), "{}", agent.log());

        stop(&agent);
        // Equal events that follow each other are one to the kernel, so two files take turns.
        let mut others = ["a", "b"].map(|name| File::create(world.path("data").join(name)).unwrap());
        for turn in 0..=queue {
            others[turn % 2].write_all(b"x").unwrap();
        }
        // Their events find no place in the queue.
        for id in 2..=1 + round {
            world.add_people([id]);
        }
        agent.signal(Signal::CONT);
        world.provider.release();

        settle(&world, agent, 1 + round as usize);
        tally.count(format!("with {queue} events and {round} more"));
    }
    tally.report("queue of events run over during a purchase", began);
}

/// Stops the agent, and waits until it stands.
#[track_caller]
fn stop(agent: &Agent) {
    agent.signal(Signal::STOP);
    eventually("the agent is stopped", || process_state(agent.pid()) == Some('T'));
}

/// All is served, nothing twice bought, and the agent ends as ever.
#[track_caller]
fn settle(world: &World, agent: Agent, records: usize) {
    agent.wait_for_records(world, records);
    assert!(!agent.log().contains("panicked") && agent.logged("outcome=failed") == 0, "{}", agent.log());
    agent.stop();
    world.assert_proven();
    assert_eq!(world.staging().len(), 0);
    assert_eq!(world.provider.answered_twice(), Vec::<String>::new());
}
