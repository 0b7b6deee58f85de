//! Status shows of each target whether it knows of the served build, and if not since when and why.

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
    let words = world.run(&["status"]).stdout;
    let words =
        words.lines().filter_map(|line| line.strip_prefix("announced ")).map(|line| line.trim().to_owned());
    (json["announced"].as_array().unwrap().clone(), words.collect())
}

#[test]
fn a_target_is_up_to_date_once_it_was_notified() {
    let (world, api) = (World::with_people(2), Api::start());
    let name = format!("post {}", api.url());
    world.settings(&webhook_settings(&api));
    let (before, words) = announced(&world);
    assert_eq!((&before[0]["up_to_date"], &before[0]["build"]), (&Value::Null, &Value::Null));
    assert_eq!(words, [format!("{name}: nothing to tell yet")]);

    let build = world.build().text("build");

    let (told, words) = announced(&world);
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!((told["target"].as_str(), &told["up_to_date"]), (Some(name.as_str()), &true.into()));
    assert_eq!(told["build"], build.as_str());
    assert!(told["told_at"].is_string(), "{told}");
    let nothing = (&told["stale_since"], &told["tries"], &told["error"]);
    assert_eq!(nothing, (&Value::Null, &0.into(), &Value::Null));
    assert!(words[0].starts_with(&format!("{name}: up to date, told ")), "{words:?}");
}

#[test]
fn a_target_is_stale_since_its_build_was_replaced_and_a_monitor_sees_it() {
    let (world, api) = (World::with_people(2), Api::start());
    world.settings(&format!("{}{}", webhook_settings(&api), world.command_log_settings("")));
    let first = world.build().text("build");
    api.refuse(true);
    world.add_people([3]);

    let second = world.build().text("build");

    let (told, words) = announced(&world);
    let [post, command] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        (&post["up_to_date"], post["build"].as_str()),
        (&false.into(), Some(first.as_str())),
        "{post}"
    );
    let note: Value = serde_json::from_slice(&world.published("served.json")).unwrap();
    assert_eq!(post["stale_since"], note["at"], "since the promotion of {second}");
    assert_eq!(post["tries"], 1);
    let error = post["error"].as_str().unwrap();
    assert!(error.contains("found 503; it said: loading"), "{error}");
    assert_eq!((&command["up_to_date"], command["build"].as_str()), (&true.into(), Some(second.as_str())));
    assert!(words[0].starts_with(&format!("post {}: stale since ", api.url())), "{words:?}");
    assert!(words[0].ends_with(&format!(", knows {first}; failed once so far: {error}")), "{words:?}");
    assert!(words[1].contains(": up to date, told "), "{words:?}");

    let called = world.run(&["status", "--check", "--max-age", "0s"]);
    assert!(called.stdout.contains("to do: mend what is said under announced"), "{called:?}");
    assert_eq!((called.code, world.run(&["status", "--check"]).code), (1, 0));

    world.run(&["rollback"]);
    let (told, words) = announced(&world);
    // Whether the word of the second build reached it is not known, so it is told of the first again.
    assert_eq!((&told[0]["up_to_date"], &told[0]["tries"]), (&false.into(), &2.into()), "{words:?}");

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
    agent.wait_for("it was told twice", || api.accepted().len() >= 2);

    let (told, words) = announced(&world);
    assert_eq!((&told[0]["up_to_date"], &told[0]["build"]), (&false.into(), &Value::Null), "{told:?}");
    let build = world.served().unwrap();
    let error = format!("did not show build {build} within 300ms; last found status 200 without the id");
    assert!(told[0]["error"].as_str().unwrap().ends_with(&error), "{told:?}");
    assert!(
        told[0]["stale_since"].is_string() && words[0].contains("never told, though tried since"),
        "{words:?}"
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
    agent.wait_for("the first build is told of", || api.received().len() == 1);

    world.add_people([3]);
    agent.wait_for("the second build is told of", || api.received().len() == 2);
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
