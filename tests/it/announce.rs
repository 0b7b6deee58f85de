//! The API is told of each new build, once, and until it has heard.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::World;
use crate::support::agent::Agent;
use crate::support::api::Api;

const TRIGGERS: &str = "quiet = \"200ms\"\nmax_wait = \"2s\"\nresync = \"1h\"\n";

fn told_by_post(api: &Api) -> String {
    format!("[[announce]]\npost = \"{}\"\n", api.url())
}

/// A command that appends the build it is told of to `told`, and what else it was given to `env`.
fn told_by_command(world: &World, then: &str) -> String {
    let (told, env) = (world.path("told"), world.path("env"));
    let script = format!(
        "test -f \"$REINDEXD_BUILD_DIR/faiss.index\" && \
         echo \"$REINDEXD_BUILD\" >> {}; env > {}; {then}",
        told.display(),
        env.display()
    );
    format!("[[announce]]\ncommand = [\"/bin/sh\", \"-c\", '''{script}''']\n")
}

fn lines(world: &World, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(world.path(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_agent_tells_each_new_build_once_by_post_and_by_command() {
    let (world, api) = (World::with_people(2), Api::start());
    let targets = format!("{}{}", told_by_post(&api), told_by_command(&world, ""));
    let agent = world.agent_with(&format!("{TRIGGERS}{targets}"));
    agent.wait_for("the first build is told of twice", || agent.logged("INFO announced") == 2);
    let first = world.served().unwrap();

    world.add_people([3]);
    agent.wait_for("the second build is told of twice", || agent.logged("INFO announced") == 4);
    let second = world.served().unwrap();
    agent.stop();
    let agent = world.agent_with(&format!("{TRIGGERS}{targets}"));
    agent.wait_for_log("outcome=unchanged");
    agent.stop();

    assert_eq!(api.told(), [first.clone(), second.clone()]);
    assert_eq!(lines(&world, "told"), [first, second]);
    assert_eq!((&api.bodies()[1]["records"], &api.bodies()[1]["embedded"]), (&3.into(), &1.into()));
    let env = lines(&world, "env").join("\n");
    assert!(!env.contains("test-key"), "no key reaches a command: {env}");
}

#[test]
fn the_command_line_tells_a_build_once_and_leaves_the_agent_nothing_to_tell() {
    let (world, api) = (World::with_people(2), Api::start());
    world.settings(&format!("[trigger]\n{TRIGGERS}{}", told_by_post(&api)));

    let build = world.build().text("build");
    world.build();
    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for_log("outcome=unchanged");
    agent.stop();

    assert_eq!(api.told(), [build]);
}

#[test]
fn a_build_that_the_api_would_not_hear_of_is_served_and_told_again_until_it_does() {
    let (world, api) = (World::with_people(2), Api::start());
    world.settings(&format!("[trigger]\n{TRIGGERS}{}", told_by_post(&api)));
    api.refuse(true);

    let ran = world.build();
    assert_eq!((ran.text("outcome").as_str(), api.told().len()), ("promoted", 1), "once: {ran:?}");
    assert!(ran.stderr.contains("503"), "{ran:?}");
    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for("the agent tells it twice", || api.told().len() >= 3);
    api.refuse(false);
    agent.wait_for("it is heard", || agent.logged("INFO announced") == 1);
    let times = api.told().len();
    agent.stop();
    world.build();

    assert_eq!(api.told(), vec![ran.text("build"); times], "nothing is told that was heard");
}

#[test]
fn an_api_that_does_not_answer_delays_no_build_and_no_other_target() {
    let (world, api) = (World::with_people(2), Api::start());
    // Taken and never answered: connections wait in the queue of a socket that nobody accepts from.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let targets = format!(
        "[[announce]]\npost = \"http://{}/\"\ntimeout = \"10m\"\n{}",
        deaf.local_addr().unwrap(),
        told_by_post(&api)
    );
    let agent = world.agent_with(&format!("{TRIGGERS}{targets}"));
    agent.wait_for("the other target is told", || api.told().len() == 1);
    let first = world.served().unwrap();

    world.add_people([3]);
    agent.wait_for("the other target is told again", || api.told().len() == 2);

    assert_eq!(api.told(), [first, world.served().unwrap()]);
    agent.stop();
}

#[test]
fn a_target_named_while_the_agent_runs_is_told_of_what_is_served() {
    let (world, api) = (World::with_people(2), Api::start());
    let agent = world.agent_with(TRIGGERS);
    agent.wait_for_promotions(1);

    world.settings(&format!("[trigger]\n{TRIGGERS}{}", told_by_post(&api)));
    agent.signal(Signal::HUP);
    agent.wait_for("it is told", || api.told().len() == 1);

    assert_eq!(api.told(), [world.served().unwrap()]);
    agent.stop();
}

#[test]
fn a_command_that_runs_on_ends_with_the_agent() {
    let world = World::with_people(1);
    let target = told_by_command(&world, "echo $$ > pid; exec sleep 600");
    let mut agent = world.agent_with(&format!("{TRIGGERS}{target}"));
    agent.wait_for("the command runs", || !lines(&world, "pid").is_empty());
    let command = lines(&world, "pid")[0].clone();

    agent.signal(Signal::TERM);
    let code = agent.ended(Duration::from_secs(5));

    assert_eq!(code, 0, "{}", agent.log());
    let state = std::fs::read_to_string(format!("/proc/{command}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "still there: {state}");
}
