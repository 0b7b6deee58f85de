//! Each new build is announced to the API once, and again after a failure until it was received.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::World;
use crate::support::agent::Agent;
use crate::support::api::Api;

const TRIGGERS: &str = "quiet = \"200ms\"\nmax_wait = \"2s\"\nresync = \"1h\"\n";

fn webhook_settings(api: &Api) -> String {
    format!("[[announce]]\npost = \"{}\"\n", api.url())
}

/// Waits until an agent that was just started has nothing more to do, adds a person, and gives the
/// build that is delivered next: if another had been delivered again, it would stand before this one.
#[track_caller]
fn next_delivered_build(world: &World, agent: &Agent, api: &Api, person: u32) -> String {
    agent.wait_for_log("outcome=unchanged");
    let before = world.served();
    world.add_people([person]);
    agent.wait_for("a newer build is served", || world.served() != before);
    let next = world.served().unwrap();
    agent.wait_for("it is delivered", || api.received().contains(&next));
    next
}

#[test]
fn the_agent_delivers_each_new_build_once_by_webhook_and_by_command() {
    let (world, api) = (World::with_people(2), Api::start());
    let targets = format!("{}{}", webhook_settings(&api), world.command_log_settings(""));
    let agent = world.agent_with(&format!("{TRIGGERS}{targets}"));
    agent.wait_for("the first build is delivered twice", || agent.logged("INFO announced") == 2);
    let first = world.served().unwrap();

    world.add_people([3]);
    agent.wait_for("the second build is delivered twice", || agent.logged("INFO announced") == 4);
    let second = world.served().unwrap();
    agent.stop();
    let agent = world.agent_with(&format!("{TRIGGERS}{targets}"));
    let third = next_delivered_build(&world, &agent, &api, 4);
    agent.wait_for("the command is run for it", || world.lines("received").contains(&third));
    agent.stop();

    assert_eq!(api.received(), [first.clone(), second.clone(), third.clone()]);
    assert_eq!(world.lines("received"), [first, second, third]);
    let body = &api.requests()[1].body;
    assert_eq!((&body["records"], &body["embedded"]), (&3.into(), &1.into()));
}

#[test]
fn the_command_line_delivers_a_build_once_and_the_agent_not_again() {
    let (world, api) = (World::with_people(2), Api::start());
    world.settings(&format!("[trigger]\n{TRIGGERS}{}", webhook_settings(&api)));

    let build = world.build().text("build");
    world.build();
    let agent = Agent::start(&mut world.command(&["run"]));
    let next = next_delivered_build(&world, &agent, &api, 3);
    agent.stop();

    assert_eq!(api.received(), [build, next]);
}

#[test]
fn failed_announcement_is_retried_and_never_blocks_serving() {
    let (world, api) = (World::with_people(2), Api::start());
    world.settings(&format!("[trigger]\n{TRIGGERS}{}", webhook_settings(&api)));
    api.refuse(true);

    let ran = world.build();
    assert_eq!((ran.text("outcome").as_str(), api.received().len()), ("promoted", 1), "once: {ran:?}");
    assert!(ran.stderr.contains("503"), "{ran:?}");
    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for("the agent delivers it twice", || api.received().len() >= 3);
    api.refuse(false);
    agent.wait_for("it is received", || agent.logged("INFO announced") == 1);
    let times = api.received().len();
    agent.stop();
    world.build();

    assert_eq!(
        api.received(),
        vec![ran.text("build"); times],
        "nothing is delivered again that was received"
    );
}

#[test]
fn an_api_that_does_not_answer_delays_no_build_and_no_other_target() {
    let (world, api) = (World::with_people(2), Api::start());
    // Connections wait in the queue of a socket that never accepts one.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let targets = format!(
        "[[announce]]\npost = \"http://{}/\"\ntimeout = \"10m\"\n{}",
        silent.local_addr().unwrap(),
        webhook_settings(&api)
    );
    let agent = world.agent_with(&format!("{TRIGGERS}{targets}"));
    agent.wait_for("the other target receives it", || api.received().len() == 1);
    let first = world.served().unwrap();

    world.add_people([3]);
    agent.wait_for("the other target receives the next", || api.received().len() == 2);

    assert_eq!(api.received(), [first, world.served().unwrap()]);
    agent.stop();
}

#[test]
fn a_target_added_while_the_agent_runs_receives_the_served_build() {
    let (world, api) = (World::with_people(2), Api::start());
    let agent = world.agent_with(TRIGGERS);
    agent.wait_for_promotions(1);

    world.settings(&format!("[trigger]\n{TRIGGERS}{}", webhook_settings(&api)));
    agent.signal(Signal::HUP);
    agent.wait_for("it is delivered", || api.received().len() == 1);

    assert_eq!(api.received(), [world.served().unwrap()]);
    agent.stop();
}

#[test]
fn a_target_is_notified_as_soon_as_it_is_added_without_a_pass() {
    let (world, api) = (World::with_people(2), Api::start());
    let by_marker = format!("{TRIGGERS}on = [\"marker\"]\n");
    let agent = world.agent_with(&by_marker);
    agent.wait_for_promotions(1);
    let passes = agent.passes();

    world.settings(&format!("[trigger]\n{by_marker}{}", webhook_settings(&api)));
    agent.signal(Signal::HUP);
    agent.wait_for("it is delivered", || api.received().len() == 1);

    assert_eq!(agent.passes(), passes, "{}", agent.log());
    agent.stop();
}

#[test]
fn an_undelivered_build_is_superseded_by_a_newer_one() {
    let (world, api) = (World::with_people(2), Api::start());
    api.refuse(true);
    let agent = world.agent_with(&format!("{TRIGGERS}{}", webhook_settings(&api)));
    agent.wait_for("the first build is refused", || api.received().len() == 1);
    let first = world.served().unwrap();

    world.add_people([3]);
    agent.wait_for("the second build is delivered", || api.received().iter().any(|build| *build != first));
    api.refuse(false);
    agent.wait_for("it is received", || agent.logged("INFO announced") == 1);

    assert_eq!(api.accepted(), [world.served().unwrap()]);
    agent.stop();
}

#[test]
fn passes_that_change_nothing_deliver_nothing_sooner() {
    let (world, api) = (World::with_people(2), Api::start());
    api.refuse(true);
    let agent = world.agent_with(&format!("{TRIGGERS}{}", webhook_settings(&api)));
    agent.wait_for("it is refused", || api.received().len() == 1);
    let began = Instant::now();

    for nth in 1..=10 {
        agent.signal(Signal::USR1);
        agent.wait_for(&format!("pass {nth}"), || agent.logged("trigger=signal") >= nth);
    }

    // At once, and then after waits of 1, 2, 4, 8 and 16 seconds.
    let due =
        [1, 3, 7, 15, 31].iter().filter(|&&second| began.elapsed() >= Duration::from_secs(second)).count();
    let tries = api.received().len();
    assert!(tries <= 1 + due, "delivered {tries} times in {:?}", began.elapsed());
    agent.stop();
}

#[test]
fn a_command_with_other_settings_makes_the_agent_deliver_nothing_again() {
    let (world, api) = (World::with_people(2), Api::start());
    let targets = format!("{TRIGGERS}{}", webhook_settings(&api));
    let agent = world.agent_with(&targets);
    agent.wait_for("it is delivered", || agent.logged("INFO announced") == 1);
    let first = world.served().unwrap();
    std::fs::write(world.path("none.toml"), "").unwrap();

    let ran = world.run(&["build", "--json", "--config", "none.toml"]);
    assert_eq!((ran.code, ran.text("outcome").as_str()), (0, "unchanged"), "{ran:?}");
    agent.stop();
    let agent = world.agent_with(&targets);
    let next = next_delivered_build(&world, &agent, &api, 3);
    agent.stop();

    assert_eq!(api.received(), [first, next]);
}

#[test]
fn a_delivery_that_failed_in_a_command_is_made_by_the_agent() {
    let (world, api) = (World::with_people(2), Api::start());
    let first = world.build().text("build");
    world.add_people([3]);
    let agent = world.agent_with(&format!("{}{}", TRIGGERS.replace("1h", "500ms"), webhook_settings(&api)));
    agent.wait_for("the second build is delivered", || agent.logged("INFO announced") == 1);
    api.refuse(true);

    agent.wait_for("a rollback between two passes", || world.run(&["rollback"]).code != 75);
    assert_eq!(world.served().as_ref(), Some(&first));
    api.refuse(false);
    agent.wait_for("the agent delivers what is served", || api.accepted().last() == Some(&first));

    agent.stop();
}

#[test]
fn addresses_that_differ_in_their_query_are_each_notified() {
    let (world, api) = (World::with_people(2), Api::start());
    let worker = |nth: u32| format!("[[announce]]\npost = \"{}?worker={nth}\"\n", api.url());
    world.settings(&worker(1));
    api.refuse(true);
    let refused = world.build();
    api.refuse(false);
    world.build();

    world.settings(&format!("{}{}", worker(1), worker(2)));
    world.build();

    let paths: Vec<_> =
        api.requests().into_iter().filter(|request| request.accepted).map(|request| request.path).collect();
    assert_eq!(paths, ["/admin/reload?worker=1", "/admin/reload?worker=2"]);
    assert!(refused.stderr.contains("/admin/reload: expected a status"), "{refused:?}");
    assert!(!refused.stderr.contains("worker="), "a query may hold a secret: {refused:?}");
}

#[test]
fn a_token_is_read_again_for_each_request_and_shown_nowhere() {
    let (world, api) = (World::with_people(2), Api::start());
    api.refuse(true);
    std::fs::write(world.path("token"), "first-secret\n").unwrap();
    let target = format!("{}token_file = \"token\"\n", webhook_settings(&api));
    let agent = world.agent_with(&format!("{TRIGGERS}{target}[log]\nlevel = \"trace\"\n"));
    agent.wait_for("it is refused", || api.received().len() == 1);

    std::fs::write(world.path("token"), "second-secret\n").unwrap();
    api.refuse(false);
    agent.wait_for("it is received", || agent.logged("announced (build=") == 1);

    let given: Vec<_> = api.requests().into_iter().filter_map(|request| request.authorization).collect();
    assert_eq!(given.first().unwrap(), "Bearer first-secret");
    assert_eq!(given.last().unwrap(), "Bearer second-secret");
    assert!(!agent.log().contains("-secret"), "{}", agent.log());
    agent.stop();
}
