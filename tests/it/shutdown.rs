//! SIGTERM and SIGINT: the program ends within seconds, leaves no staging, and loses no vector.

use std::io::Write;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::agent::Agent;
use crate::support::provider::Fault;
use crate::support::{SOON, World, eventually};

const FIVE_SECONDS: Duration = Duration::from_secs(5);
/// Ten texts in a request and one request at a time, so that a test knows which were answered.
const BY_TENS: &str = "[embedding]\nbatch_size = 10\nconcurrency = 1\n[trigger]\nquiet = \"100ms\"\n";

fn stopped_while_embedding(command: &str) -> (World, Agent) {
    let world = World::with_people(50);
    world.settings(BY_TENS);
    world.provider.hold_after(2);
    let running = Agent::start(&mut world.command(&[command]));
    // The third request is sent only when the vectors of the second are in the cache.
    assert!(world.provider.wait_for_requests(3, SOON), "{}", running.log());
    (world, running)
}

/// Asserts that the next build embeds only what was not answered before.
#[track_caller]
fn assert_no_answer_is_lost(world: &World) {
    assert_eq!(world.staging().len(), 0);
    world.provider.release();
    world.provider.always(None);
    let build = world.build();
    assert_eq!((build.number("records"), build.number("embedded")), (50, 30), "{build:?}");
    assert_eq!(world.provider.answered_twice().len(), 0);
}

#[test]
fn an_agent_stopped_while_embedding_keeps_what_it_embedded() {
    for signal in [Signal::TERM, Signal::INT] {
        let (world, mut agent) = stopped_while_embedding("run");

        agent.signal(signal);
        let code = agent.ended(FIVE_SECONDS);

        assert_eq!(code, 0, "{signal:?}: {}", agent.log());
        assert_no_answer_is_lost(&world);
    }
}

#[test]
fn a_stopped_build_names_its_signal_and_keeps_what_it_embedded() {
    for (signal, expected) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let (world, mut build) = stopped_while_embedding("build");

        build.signal(signal);
        let code = build.ended(FIVE_SECONDS);

        assert_eq!(code, expected, "{}", build.log());
        assert!(build.log().contains("the vectors received so far are in the cache"), "{}", build.log());
        assert_no_answer_is_lost(&world);
    }
}

#[test]
fn a_provider_that_hangs_or_answers_slowly_does_not_delay_a_stop() {
    let dribbles = Fault::SlowDrip { bytes: 1, every: Duration::from_millis(100) };
    for fault in [Fault::Hang, Fault::StallInBody, dribbles] {
        for (command, expected) in [("run", 0), ("build", 143)] {
            let world = World::with_people(20);
            world.provider.always(Some(fault.clone()));
            let mut running = Agent::start(&mut world.command(&[command]));
            assert!(world.provider.wait_for_requests(1, SOON), "{}", running.log());

            running.signal(Signal::TERM);
            let code = running.ended(FIVE_SECONDS);

            assert_eq!(code, expected, "{command}, {fault:?}: {}", running.log());
            assert_eq!(world.staging().len(), 0);
        }
    }
}

#[test]
fn a_stop_waits_for_the_answers_on_their_way_and_keeps_them() {
    for (command, expected) in [("run", 0), ("build", 143)] {
        for (latency, sent_again) in [(200, 0), (1000, 0), (3000, 0), (10_000, 20)] {
            let world = World::with_people(20);
            world.settings("[embedding]\nbatch_size = 10\nconcurrency = 2\n[trigger]\nquiet = \"100ms\"\n");
            world.provider.set_latency(Duration::from_millis(latency));
            let mut running = Agent::start(&mut world.command(&[command]));
            assert!(world.provider.wait_for_requests(2, SOON), "{}", running.log());

            running.signal(Signal::TERM);
            let code = running.ended(FIVE_SECONDS);

            assert_eq!(code, expected, "{command} {latency} ms: {}", running.log());
            world.provider.set_latency(Duration::ZERO);
            world.provider.forget();
            world.build();
            assert_eq!(world.provider.text_count(), sent_again, "{command} {latency} ms");
        }
    }
}

#[test]
fn a_wait_between_two_tries_does_not_delay_a_stop() {
    let world = World::with_people(20);
    world.provider.always(Some(Fault::RateLimited { retry_info: Some("300s"), retry_after: None }));
    let mut build = Agent::start(&mut world.command(&["build"]));
    assert!(world.provider.wait_for_answers(1, SOON), "{}", build.log());

    build.signal(Signal::INT);

    assert_eq!(build.ended(FIVE_SECONDS), 130, "{}", build.log());
    assert_eq!(world.staging().len(), 0);
}

#[test]
fn an_agent_stops_from_every_state_that_waits() {
    let idle = |_: &World| {};
    let settling = |world: &World| world.add_people([2]);
    let backing_off = |world: &World| {
        world.provider.always(Some(Fault::Forbidden));
        world.provider.script([Fault::ServerError(500)]);
        world.add_people([2]);
        std::fs::write(world.path("data/tagging-complete"), "").unwrap();
    };
    let states: [(&str, fn(&World)); 3] =
        [("idle", idle), ("settling", settling), ("backing_off", backing_off)];
    for (state, act) in states {
        let world = World::with_people(1);
        let mut agent = world.agent_with(
            "quiet = \"10m\"\nmax_wait = \"20m\"\nmarker_quiet = \"0s\"\n[embedding]\nretry_budget = \"0s\"\n",
        );
        agent.wait_for_promotions(1);
        agent.wait_for_log("state=idle");
        act(&world);
        agent.wait_for_log(&format!("state={state}"));

        agent.signal(Signal::TERM);
        let code = agent.ended(FIVE_SECONDS);

        assert_eq!(code, 0, "{state}: {}", agent.log());
        assert_eq!(agent.logged("INFO agent: stopped"), 1, "{}", agent.log());
    }
}

#[test]
fn a_locked_database_does_not_delay_a_stop() {
    for (command, expected) in [("run", 0), ("build", 143)] {
        let world = World::with_people(1);
        let writer = world.connect();
        writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let mut running = Agent::start(&mut world.command(&[command]));
        eventually("the pass has begun", || world.path("data/.reindexd/lock").exists());

        running.signal(Signal::TERM);

        assert_eq!(running.ended(FIVE_SECONDS), expected, "{command}: {}", running.log());
    }
}

#[test]
fn a_build_that_waits_for_another_one_stops_and_leaves_that_its_staging() {
    let (world, first) = stopped_while_embedding("build");
    let mut waiting = Agent::start(&mut world.command(&["build", "--wait"]));
    waiting.wait_for_log("until another pass has ended");

    waiting.signal(Signal::TERM);
    assert_eq!(waiting.ended(FIVE_SECONDS), 143, "{}", waiting.log());

    assert_eq!(world.drafts().len(), 1);
    world.provider.release();
    let mut first = first;
    assert_eq!(first.ended(SOON), 0, "{}", first.log());
    assert_eq!(world.provider.answered_twice().len(), 0);
}

#[test]
fn a_search_that_waits_for_the_provider_stops() {
    let world = World::with_people(3);
    world.build();
    world.provider.forget();
    world.provider.hold();
    let mut search = Agent::start(&mut world.command(&["search", "who?"]));
    assert!(world.provider.wait_for_requests(1, SOON), "{}", search.log());

    search.signal(Signal::INT);

    assert_eq!(search.ended(FIVE_SECONDS), 130, "{}", search.log());
}

#[test]
fn a_second_signal_ends_the_program_whatever_it_hangs_on() {
    for command in ["run", "build"] {
        let (world, running, code) = ended_by_two_signals(command);

        assert!([130, 143].contains(&code), "{command} ended with {code}: {}", running.log());
        assert_eq!(running.logged("INFO agent: stopped"), 0, "at once: {}", running.log());
        world.provider.release();
        let build = world.build();
        assert_eq!(
            (build.number("embedded"), world.staging().len()),
            (30, 0),
            "the next start removes the staging"
        );
    }
}

/// Ends a program that is embedding by two signals, one after the other.
///
/// Two threads may receive the two at the same instant; then both are the
/// first, and the program ends in its usual way: that is repeated.
fn ended_by_two_signals(command: &str) -> (World, Agent, i32) {
    for _ in 0..4 {
        let ended = try_two_signals(command);
        if ended.1.logged("INFO agent: stopped") == 0 && ended.2 != 0 {
            return ended;
        }
    }
    try_two_signals(command)
}

fn try_two_signals(command: &str) -> (World, Agent, i32) {
    let (world, mut running) = stopped_while_embedding(command);
    // While it is stopped, it cannot act on the first before it has the second.
    running.signal(Signal::STOP);
    running.signal(Signal::TERM);
    running.signal(Signal::INT);
    running.signal(Signal::CONT);
    let code = running.ended(FIVE_SECONDS);
    (world, running, code)
}

#[test]
fn a_build_stopped_at_any_point_leaves_no_staging_and_a_whole_build_or_none() {
    let world = World::with_people(300);
    let mut codes = Vec::new();
    for nth in 0..12_u64 {
        let mut build = Agent::start(&mut world.command(&["build", "--full"]));
        eventually("it has a staging", || !world.staging().is_empty() || build.is_over());
        std::thread::sleep(Duration::from_millis(3 * nth));
        if !build.is_over() {
            build.signal(Signal::TERM);
        }
        codes.push(build.ended(FIVE_SECONDS));

        assert!([0, 143].contains(codes.last().unwrap()), "{codes:?}: {}", build.log());
        assert_eq!(world.staging().len(), 0, "{}", build.log());
        if world.served().is_some() {
            world.assert_proven();
        }
    }
    assert!(codes.contains(&143), "no build was stopped: {codes:?}");
}

/// A pipe that takes nothing more, and its other end, which is not read.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (unread, mut pipe) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&pipe).unwrap();
    fcntl_setfl(&pipe, flags | OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        while pipe.write(&vec![b'.'; size]).is_ok() {}
    }
    fcntl_setfl(&pipe, flags).unwrap();
    (unread, pipe)
}

#[test]
fn a_standard_error_that_nothing_reads_keeps_no_program_from_stopping() {
    for (command, expected) in [("run", 0), ("build", 143), ("plan", 143)] {
        let world = World::with_people(5);
        world.settings("[trigger]\nquiet = \"50ms\"\n[log]\nlevel = \"debug\"\n");
        let (_unread, pipe) = full_pipe();
        if command == "plan" {
            // It ends with a message that nothing takes.
            std::fs::remove_file(world.path("data/experts.db")).unwrap();
        }
        let mut running = world.command(&[command]).stderr(pipe).spawn().unwrap();
        let pid = Pid::from_child(&running);
        let has_begun = || {
            let folder = format!("/proc/{}/task", pid.as_raw_nonzero());
            std::fs::read_dir(folder).map_or(0, Iterator::count) > 1
        };
        eventually("it has settings and threads", has_begun);

        let began = Instant::now();
        kill_process(pid, Signal::TERM).unwrap();
        let mut ended = None;
        eventually("it has ended", || {
            ended = running.try_wait().unwrap();
            ended.is_some()
        });

        let took = began.elapsed();
        assert_eq!(ended.unwrap().code(), Some(expected), "{command}");
        assert!(took < FIVE_SECONDS, "{command}: {took:?}");
    }
}
