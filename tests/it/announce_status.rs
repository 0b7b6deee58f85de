//! Status shows of each target whether it has received the served build, and if not since when and why.

use serde_json::Value;

use crate::support::World;
use crate::support::agent::Agent;
use crate::support::api::Api;

const TRIGGERS: &str = "[trigger]\nquiet = \"200ms\"\nmax_wait = \"2s\"\nresync = \"1h\"\n";

fn webhook_settings(api: &Api) -> String {
    format!("[[announce]]\npost = \"{}\"\n", api.url())
}

/// What status says of each target, for programs and for people.
#[track_caller]
fn announced(world: &World) -> (Vec<Value>, Vec<String>) {
    let json = world.run(&["status", "--json"]).json();
    let lines = world.run(&["status"]).stdout;
    let lines =
        lines.lines().filter_map(|line| line.strip_prefix("announced ")).map(|line| line.trim().to_owned());
    (json["announced"].as_array().unwrap().clone(), lines.collect())
}

#[test]
fn a_target_is_up_to_date_once_it_received_the_served_build() {
    let (world, api) = (World::with_people(2), Api::start());
    let name = format!("post {}", api.url());
    world.settings(&webhook_settings(&api));
    let (before, lines) = announced(&world);
    assert_eq!((&before[0]["up_to_date"], &before[0]["build"]), (&Value::Null, &Value::Null));
    assert_eq!(lines, [format!("{name}: nothing to deliver yet")]);

    let build = world.build().text("build");

    let (targets, lines) = announced(&world);
    let [target] = &targets[..] else { panic!("{targets:?}") };
    assert_eq!((target["target"].as_str(), &target["up_to_date"]), (Some(name.as_str()), &true.into()));
    assert_eq!(target["build"], build.as_str());
    assert!(target["told_at"].is_string(), "{target}");
    let nothing = (&target["stale_since"], &target["tries"], &target["error"]);
    assert_eq!(nothing, (&Value::Null, &0.into(), &Value::Null));
    assert!(lines[0].starts_with(&format!("{name}: up to date, received ")), "{lines:?}");
}

#[test]
fn a_target_is_stale_since_its_build_was_replaced_and_a_monitor_sees_it() {
    let (world, api) = (World::with_people(2), Api::start());
    world.settings(&format!("{}{}", webhook_settings(&api), world.command_log_settings("")));
    let first = world.build().text("build");
    api.refuse(true);
    world.add_people([3]);

    let second = world.build().text("build");

    let (targets, lines) = announced(&world);
    let [post, command] = &targets[..] else { panic!("{targets:?}") };
    assert_eq!(
        (&post["up_to_date"], post["build"].as_str()),
        (&false.into(), Some(first.as_str())),
        "{post}"
    );
    let note: Value = serde_json::from_slice(&world.published("served.json")).unwrap();
    assert_eq!(post["stale_since"], note["at"], "since the promotion of {second}");
    assert_eq!(post["tries"], 1);
    let error = post["error"].as_str().unwrap();
    assert!(error.contains("found 503; answer: loading"), "{error}");
    assert_eq!((&command["up_to_date"], command["build"].as_str()), (&true.into(), Some(second.as_str())));
    assert!(lines[0].starts_with(&format!("post {}: stale since ", api.url())), "{lines:?}");
    assert!(lines[0].ends_with(&format!(", last received {first}; failed once: {error}")), "{lines:?}");
    assert!(lines[1].contains(": up to date, received "), "{lines:?}");

    let called = world.run(&["status", "--check", "--max-age", "0s"]);
    assert!(called.stdout.contains("to do: fix the error shown under \"announced\""), "{called:?}");
    assert_eq!((called.code, world.run(&["status", "--check"]).code), (1, 0));

    world.run(&["rollback"]);
    let (targets, lines) = announced(&world);
    // It is not known whether it received the second build, so the first is delivered again.
    assert_eq!((&targets[0]["up_to_date"], &targets[0]["tries"]), (&false.into(), &2.into()), "{lines:?}");

    api.refuse(false);
    world.run(&["rollback", &second]);
    assert_eq!((&announced(&world).0[0]["up_to_date"], api.accepted()), (&true.into(), vec![first, second]));
}

#[test]
fn an_api_that_accepts_the_notice_and_never_shows_the_build_is_stale() {
    let (world, api) = (World::with_people(2), Api::start());
    api.show("{\"build\": \"20200101T000000Z-000000\"}");
    let confirm = format!("confirm = \"{0}\"\ntimeout = \"300ms\"\n", api.url());
    world.settings(&format!("{TRIGGERS}{}{confirm}", webhook_settings(&api)));
    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for("it received it twice", || api.accepted().len() >= 2);

    let (targets, lines) = announced(&world);
    assert_eq!(
        (&targets[0]["up_to_date"], &targets[0]["build"]),
        (&false.into(), &Value::Null),
        "{targets:?}"
    );
    let build = world.served().unwrap();
    let error = format!("{} within 300ms, found status 200 without the id", api.url());
    let error = format!("announce accepted, but not confirmed: expected build {build} at {error}");
    assert_eq!(targets[0]["error"].as_str(), Some(error.as_str()), "{targets:?}");
    assert!(
        targets[0]["stale_since"].is_string() && lines[0].contains("never delivered, failing since"),
        "{lines:?}"
    );

    api.show(&format!("{{\"status\": \"ok\", \"build\": \"{build}\"}}"));
    agent.wait_for("it is confirmed", || announced(&world).0[0]["up_to_date"] == true);
    assert_eq!(announced(&world).0[0]["build"], build.as_str());
    agent.stop();
}

#[test]
fn a_newer_build_is_delivered_without_waiting_for_a_confirmation() {
    let (world, api) = (World::with_people(2), Api::start());
    let confirm = format!("confirm = \"{0}\"\ntimeout = \"10m\"\n", api.url());
    world.settings(&format!("{TRIGGERS}{}{confirm}", webhook_settings(&api)));
    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for("the first build is delivered", || api.received().len() == 1);

    world.add_people([3]);
    agent.wait_for("the second build is delivered", || api.received().len() == 2);
    api.show(&world.served().unwrap());

    agent.wait_for("it is confirmed", || announced(&world).0[0]["up_to_date"] == true);
    assert_eq!(agent.logged("not announced"), 0, "{}", agent.log());
    agent.stop();
}

#[test]
fn settings_without_a_target_show_none() {
    let (world, api) = (World::with_people(2), Api::start());
    world.settings(&webhook_settings(&api));
    world.build();

    world.settings("");

    assert_eq!(announced(&world), (vec![], vec![]));
}
