//! Out of inotify instances and watches: in a user namespace, whose limits are its own.

use std::fs::{create_dir, rename};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Instant;

use super::{CaseCounts, MAX_LOG_LINES, behind, count_warnings, not_run};
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
    let mut tally = CaseCounts::default();
    let instances = (0..=3).map(|most| ("max_inotify_instances", most));
    let watches = (0..=6).map(|most| ("max_inotify_watches", most));
    for (what, most) in thinned(instances.chain(watches).collect(), 3) {
        let world = World::with_people(1);
        // The way to the database leads by three directories, each of which wants a watch.
        create_dir(world.path("real")).unwrap();
        create_dir(world.path("by-way")).unwrap();
        rename(world.database(), world.path("real/experts.db")).unwrap();
        symlink("../real/experts.db", world.path("by-way/experts.db")).unwrap();
        symlink("../by-way/experts.db", world.database()).unwrap();
        world.settings(POLLED);
        let agent = limited(&world, what, most);
        agent.wait_for_promotions(1);

        for people in 2..=3 {
            world.add_people([people]);
            agent.wait_for(&format!("{what} = {most}"), || world.served_count() == people as usize);
        }
        let way = watch_of(&world);
        assert!(agent.logged("polling in use") <= 1, "{what} = {most}: {}", agent.log());
        assert!(count_warnings(&agent.log()) <= MAX_LOG_LINES, "{what} = {most}: {}", agent.log());
        tally.count(format!("by {way}"));
        agent.stop();
        world.assert_proven();
    }
    assert!(tally.of("by poll") > 0 && tally.of("by inotify") > 0);
    tally.report("inotify, limits at the start", began);
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn agent_without_a_watch_for_a_replaced_directory_polls_until_it_has_one() {
    let began = Instant::now();
    if !may_limit() {
        return not_run("this user may not make a user namespace with limits of its own");
    }
    let mut tally = CaseCounts::default();
    for what in ["max_inotify_instances", "max_inotify_watches"] {
        let world = World::with_people(1);
        world.settings(POLLED);
        let agent = limited(&world, what, 100);
        agent.wait_for_promotions(1);
        assert_eq!(watch_of(&world), "inotify");

        grant(&agent, what, 0);
        rename(world.path("data"), world.path("aside")).unwrap();
        Command::new("cp").args(["-a", "aside", "data"]).current_dir(world.path("")).status().unwrap();
        agent.wait_for_log("polling in use");
        for people in 2..=3 {
            world.add_people([people]);
            agent.wait_for(what, || world.served_count() == people as usize);
        }
        assert_eq!(agent.logged("polling in use"), 1, "{}", agent.log());

        grant(&agent, what, 100);
        // A watch that is aimed anew need not wait to ask again.
        world.settings(&POLLED.replace("100ms\"\n", "110ms\"\n"));
        agent.signal(rustix::process::Signal::HUP);
        agent.wait_for_log("inotify in use");
        world.add_people([4]);
        agent.wait_for(what, || world.served_count() == 4);
        eventually("status says so too", || watch_of(&world) == "inotify");
        agent.stop();
        world.assert_proven();
        tally.count("polled and watched again");
    }
    tally.report("inotify, limits under a live agent", began);
}

fn may_limit() -> bool {
    let script = "echo 0 > /proc/sys/user/max_inotify_instances";
    let tried = Command::new("unshare").args(["-U", "-r", "sh", "-c", script]).output();
    tried.is_ok_and(|tried| tried.status.success())
}

/// The agent where its user may have so many of something.
fn limited(world: &World, what: &str, most: u32) -> Agent {
    let script = format!("echo {most} > /proc/sys/user/{what}; exec \"$0\" \"$@\"");
    let agent =
        Agent::start(&mut behind(&["unshare", "-U", "-r", "sh", "-c", &script], &world.command(&["run"])));
    agent.wait_for_log("watching");
    agent
}

/// Sets the agent's limit anew.
fn grant(agent: &Agent, what: &str, most: u32) {
    let pid = agent.pid().as_raw_nonzero().to_string();
    let script = format!("echo {most} > /proc/sys/user/{what}");
    let enter = ["-t", &pid, "-U", "--preserve-credentials", "sh", "-c", &script];
    let ran = run(Command::new("nsenter").args(enter));
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// How the agent watches, by its status.
fn watch_of(world: &World) -> String {
    world.run(&["status", "--json"]).json()["agent"]["watch"].as_str().unwrap().to_owned()
}
