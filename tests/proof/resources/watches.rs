//! Out of inotify instances and watches: in a user namespace, which has its own limits.

use std::fs::{create_dir, rename};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Instant;

use super::{CaseCounts, MAX_LOG_LINES, count_warnings, not_run, wrapped};
use crate::sampling::thinned;
use crate::support::agent::Agent;
use crate::support::{World, eventually, run};

const POLLED: &str = "[trigger]\nquiet = \"100ms\"\nmax_wait = \"1s\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\n\
     poll_interval = \"100ms\"\n";

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn with_any_number_of_instances_and_watches_changes_are_found() {
    let began = Instant::now();
    if !may_limit() {
        return not_run("this user may not make a user namespace with limits of its own");
    }
    let mut counts = CaseCounts::default();
    let instances = (0..=3).map(|max| ("max_inotify_instances", max));
    let watches = (0..=6).map(|max| ("max_inotify_watches", max));
    for (what, max) in thinned(instances.chain(watches).collect(), 3) {
        let world = World::with_people(1);
        // The path to the database has three directories, each of which needs a watch.
        create_dir(world.path("real")).unwrap();
        create_dir(world.path("by-way")).unwrap();
        rename(world.database(), world.path("real/experts.db")).unwrap();
        symlink("../real/experts.db", world.path("by-way/experts.db")).unwrap();
        symlink("../by-way/experts.db", world.database()).unwrap();
        world.settings(POLLED);
        let agent = limited(&world, what, max);
        agent.wait_for_promotions(1);

        for people in 2..=3 {
            world.add_people([people]);
            agent.wait_for(&format!("{what} = {max}"), || world.served_count() == people as usize);
        }
        let backend = watch_of(&world);
        assert!(agent.logged("polling in use") <= 1, "{what} = {max}: {}", agent.log());
        assert!(count_warnings(&agent.log()) <= MAX_LOG_LINES, "{what} = {max}: {}", agent.log());
        counts.count(format!("by {backend}"));
        agent.stop();
        world.assert_proven();
    }
    assert!(counts.of("by poll") > 0 && counts.of("by inotify") > 0);
    counts.report("inotify, limits at the start", began);
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn agent_without_a_watch_for_a_replaced_directory_polls_until_it_has_one() {
    let began = Instant::now();
    if !may_limit() {
        return not_run("this user may not make a user namespace with limits of its own");
    }
    let mut counts = CaseCounts::default();
    for what in ["max_inotify_instances", "max_inotify_watches"] {
        let world = World::with_people(1);
        world.settings(POLLED);
        let agent = limited(&world, what, 100);
        agent.wait_for_promotions(1);
        assert_eq!(watch_of(&world), "inotify");

        grant(&agent, what, 0);
        rename(world.path("data"), world.path("moved")).unwrap();
        Command::new("cp").args(["-a", "moved", "data"]).current_dir(world.path("")).status().unwrap();
        agent.wait_for_log("polling in use");
        for people in 2..=3 {
            world.add_people([people]);
            agent.wait_for(what, || world.served_count() == people as usize);
        }
        assert_eq!(agent.logged("polling in use"), 1, "{}", agent.log());

        grant(&agent, what, 100);
        // A new set of watched files does not have to wait for the next try.
        world.settings(&POLLED.replace("100ms\"\n", "110ms\"\n"));
        agent.signal(rustix::process::Signal::HUP);
        agent.wait_for_log("inotify in use");
        world.add_people([4]);
        agent.wait_for(what, || world.served_count() == 4);
        eventually("status says so too", || watch_of(&world) == "inotify");
        agent.stop();
        world.assert_proven();
        counts.count("polled and watched again");
    }
    counts.report("inotify, limits of a running agent", began);
}

fn may_limit() -> bool {
    let script = "echo 0 > /proc/sys/user/max_inotify_instances";
    let tried = Command::new("unshare").args(["-U", "-r", "sh", "-c", script]).output();
    tried.is_ok_and(|tried| tried.status.success())
}

/// The agent in a namespace with this limit.
fn limited(world: &World, what: &str, max: u32) -> Agent {
    let script = format!("echo {max} > /proc/sys/user/{what}; exec \"$0\" \"$@\"");
    let agent =
        Agent::start(&mut wrapped(&["unshare", "-U", "-r", "sh", "-c", &script], &world.command(&["run"])));
    agent.wait_for_log("watching");
    agent
}

/// Changes the agent's limit.
fn grant(agent: &Agent, what: &str, max: u32) {
    let pid = agent.pid().as_raw_nonzero().to_string();
    let script = format!("echo {max} > /proc/sys/user/{what}");
    let enter = ["-t", &pid, "-U", "--preserve-credentials", "sh", "-c", &script];
    let ran = run(Command::new("nsenter").args(enter));
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// How the agent watches, by its status.
fn watch_of(world: &World) -> String {
    world.run(&["status", "--json"]).json()["agent"]["watch"].as_str().unwrap().to_owned()
}
