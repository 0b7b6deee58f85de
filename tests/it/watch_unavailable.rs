//! Without events from the kernel, or with too few: changes are found all the same, and the log says so once.

use std::fs::{File, remove_file, rename};
use std::io::Write;
use std::process::Command;

use rustix::process::Signal;

use crate::support::agent::Agent;
use crate::support::{World, add_person, eventually, not_run, process_state, python, run};

/// Quick passes; each test adds how the files are watched.
const QUICK: &str = "quiet = \"200ms\"\nmax_wait = \"2s\"\nmarker_quiet = \"50ms\"\n";
/// Polling and the regular check find nothing in the time of a test.
const EVENTS_ALONE: &str = "watch = \"inotify\"\nresync = \"1h\"\n";

#[test]
fn a_change_whose_event_was_lost_in_a_full_queue_is_served() {
    let queue = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let queue: usize = queue.trim().parse().unwrap();
    let world = World::in_memory();
    world.add_people([1]);
    let agent = world.agent_with(&format!("{QUICK}{EVENTS_ALONE}"));
    agent.wait_for_promotions(1);

    agent.signal(Signal::STOP);
    eventually("the agent is stopped", || process_state(agent.pid()) == Some('T'));
    // The kernel merges equal events that follow each other, so two files alternate.
    let mut others = ["a", "b"].map(|name| File::create(world.path("data").join(name)).unwrap());
    for turn in 0..=queue {
        others[turn % 2].write_all(b"x").unwrap();
    }
    world.add_people([2]);
    agent.signal(Signal::CONT);

    agent.wait_for_records(&world, 2);
    agent.stop();
}

#[test]
fn where_inotify_is_refused_that_is_said_once_and_left_again_once_it_is_granted() {
    if !may_limit() {
        return not_run("this user may not make a user namespace with limits of its own");
    }
    for limit in ["max_inotify_instances", "max_inotify_watches"] {
        let world = World::with_people(1);
        let polled = "resync = \"1h\"\npoll_interval = \"100ms\"\n";
        let agent = limited(&world, limit, polled);
        agent.wait_for_promotions(1);

        for id in 2..=3 {
            world.add_people([id]);
            agent.wait_for(&format!("{limit}: found by polling"), || world.served_count() == id as usize);
        }
        File::create(world.path("data/tagging-complete")).unwrap();
        agent.wait_for_log("pass: started (trigger=marker");
        assert_eq!(agent.logged("polling in use"), 1, "{limit}\n{}", agent.log());
        assert_eq!(watch_of(&world), "poll");

        grant(&agent, limit);
        // A new set of watched files does not have to wait for the next try.
        world.settings(&format!("[trigger]\n{QUICK}{}", polled.replace("100ms", "1h")));
        agent.signal(Signal::HUP);
        agent.wait_for_log("inotify in use");
        world.add_people([4]);
        agent.wait_for(&format!("{limit}: found by inotify"), || world.served_count() == 4);
        eventually("status says so too", || watch_of(&world) == "inotify");
        agent.stop();
    }
}

#[test]
fn where_inotify_is_refused_and_nothing_else_allowed_the_slow_round_finds_changes() {
    if !may_limit() {
        return not_run("this user may not make a user namespace with limits of its own");
    }
    let world = World::with_people(1);
    let agent = limited(&world, "max_inotify_instances", "watch = \"inotify\"\nresync = \"300ms\"\n");
    agent.wait_for_promotions(1);

    world.add_people([2]);
    agent.wait_for_records(&world, 2);
    File::create(world.path("data/tagging-complete")).unwrap();
    agent.wait_for_log("pass: started (trigger=marker");

    assert_eq!(agent.logged("only the resync finds changes"), 1, "{}", agent.log());
    assert_eq!(watch_of(&world), "none");
    agent.stop();
}

#[test]
fn a_file_system_that_gives_no_events_is_polled_until_another_one_takes_its_place() {
    let world = World::with_people(1);
    let agent = world.agent_with(&format!("{QUICK}resync = \"1h\"\npoll_interval = \"100ms\"\n"));
    agent.wait_for_promotions(1);
    assert_eq!(watch_of(&world), "inotify");

    for id in 2..=3 {
        change_without_events(&world, id);
        agent.wait_for_records(&world, id as usize);
    }
    assert_eq!(agent.logged("polling in use"), 1, "{}", agent.log());
    eventually("status says so too", || watch_of(&world) == "poll");

    // The files next to the links move too, as where a volume is mounted again.
    rename(world.path("data"), world.path("aside")).unwrap();
    rename(world.path("aside"), world.path("data")).unwrap();
    agent.wait_for_log("inotify in use");
    world.add_people([4]);
    agent.wait_for_records(&world, 4);
    agent.stop();
}

#[test]
fn the_slow_round_finds_a_change_that_gave_no_event() {
    let world = World::with_people(1);
    let agent = world.agent_with(&format!("{QUICK}watch = \"inotify\"\nresync = \"300ms\"\n"));
    agent.wait_for_promotions(1);

    change_without_events(&world, 2);

    agent.wait_for_records(&world, 2);
    agent.wait_for_log("trigger=resync");
    agent.stop();
}

/// Adds a person by writing to mapped memory, which inotify never reports.
fn change_without_events(world: &World, id: u32) {
    let changed = world.path("changed");
    std::fs::copy(world.database(), &changed).unwrap();
    add_person(&rusqlite::Connection::open(&changed).unwrap(), id);
    let script = "import mmap, sys\n\
         new = open(sys.argv[2], 'rb').read()\n\
         with open(sys.argv[1], 'r+b') as file, mmap.mmap(file.fileno(), 0) as map:\n\
        \x20   map[:] = new\n";
    let ran = run(Command::new(python()).args(["-c", script]).arg(world.database()).arg(&changed));
    assert_eq!(ran.code, 0, "a database of the same size: {ran:?}");
    remove_file(changed).unwrap();
}

/// Whether this user may make a user namespace and set limits in it.
fn may_limit() -> bool {
    let mut limit = Command::new("unshare");
    limit.args(["-U", "-r", "sh", "-c", "echo 0 > /proc/sys/user/max_inotify_instances"]);
    limit.output().is_ok_and(|tried| tried.status.success())
}

/// The agent in a namespace where this limit is 0.
fn limited(world: &World, limit: &str, triggers: &str) -> Agent {
    world.settings(&format!("[trigger]\n{QUICK}{triggers}"));
    let inner = world.command(&["run"]);
    let mut command = Command::new("unshare");
    let script = format!("echo 0 > /proc/sys/user/{limit}; exec \"$0\" \"$@\"");
    command.args(["-U", "-r", "sh", "-c", &script]).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(world.path("")).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    let agent = Agent::start(command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))));
    agent.wait_for_log("watching");
    agent
}

/// Removes the limit that [`limited`] set.
fn grant(agent: &Agent, limit: &str) {
    let pid = agent.pid().as_raw_nonzero().to_string();
    let script = format!("echo 100 > /proc/sys/user/{limit}");
    let ran =
        run(Command::new("nsenter").args(["-t", &pid, "-U", "--preserve-credentials", "sh", "-c", &script]));
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// How the agent watches, by its status.
fn watch_of(world: &World) -> String {
    world.run(&["status", "--json"]).json()["agent"]["watch"].as_str().unwrap().to_owned()
}
