//! The ceiling on texts that are sent and get no vector: it holds across deaths, restarts and stops, a
//! person ends it, and every text that left is counted.

use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::support::agent::Agent;
use crate::support::provider::Fault;
use crate::support::{SOON, World, eventually};

const FILE: &str = "data/.reindexd/sent.json";
const TRIGGERS: &str = "[trigger]\nquiet = \"100ms\"\nmax_wait = \"1s\"\nmarker_quiet = \"50ms\"\n";

/// What the file says of one thing.
fn remembered(world: &World, key: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(world.path(FILE)).unwrap();
    let json: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    json[key].clone()
}

/// Of ten rows that are left of two hundred, no text may be sent: as many were sent in vain.
fn at_ceiling() -> World {
    let world = World::with_people(200);
    world.settings(&format!("{TRIGGERS}[embedding]\nretry_budget = \"1s\"\n"));
    world.provider.always(Some(Fault::ServerError(503)));
    let ran = world.run(&["build", "--json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(ran.number("texts_sent"), world.provider.text_count() as u64);
    assert_eq!(remembered(&world, "unanswered"), world.provider.text_count());
    world.provider.assert_money(200);
    world.sql("DELETE FROM experts WHERE id > 10");
    world.provider.forget();
    world
}

/// An agent at the ceiling, after the single text that a touch of the marker allows.
fn agent_at_ceiling(world: &World) -> Agent {
    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for_log("next try is in");
    touch_marker(world);
    agent.wait_for_log("the ceiling on texts sent is reached");
    assert_eq!(world.provider.text_count(), 1, "{}", agent.log());
    agent
}

fn touch_marker(world: &World) {
    std::fs::write(world.path("data/tagging-complete"), "").unwrap();
}

#[test]
fn ten_kills_before_an_answer_send_the_texts_once_and_then_one_at_a_time() {
    for command in ["build", "run"] {
        let world = World::with_people(400);
        world.settings(TRIGGERS);
        world.provider.hold();
        for _ in 0..10 {
            let before = world.provider.request_count();
            let mut running = Agent::start(&mut world.command(&[command]));
            running.wait_for("a request, or a wait", || {
                world.provider.request_count() > before || running.logged("next try is in") > 0
            });
            // Of several at a time.
            if before == 0 {
                assert!(world.provider.wait_for_requests(4, SOON), "{}", running.log());
            }
            running.signal(Signal::KILL);
            running.ended(SOON);
        }

        let expected = if command == "build" { 409 } else { 400 };
        assert_eq!(world.provider.text_count(), expected, "{command}");
        // A person who builds begins the count again.
        let counted = if command == "build" { 1 } else { 400 };
        assert_eq!(remembered(&world, "unanswered"), counted, "{command}");
        world.provider.release();
        let built = world.build();
        assert_eq!((built.number("texts_sent"), built.number("records")), (400, 400), "{command}");
        assert_eq!(remembered(&world, "unanswered"), 0, "{command}");
    }
}

#[test]
fn beyond_the_ceiling_one_text_is_sent_and_status_says_what_to_do() {
    let world = at_ceiling();
    let agent = agent_at_ceiling(&world);

    let status = world.run(&["status", "--json"]);
    for part in ["texts sent", "reindexd build"] {
        assert!(status.text("to_do").contains(part), "{status:?}");
    }
    let attempt = &status.json()["last_attempt"];
    assert_eq!(attempt["counts"]["texts_sent"], 1, "{attempt}");
    assert!(attempt["error"].as_str().unwrap().contains("last error: status 503"), "{attempt}");

    let mode = std::fs::metadata(world.path(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    agent.stop();
}

#[test]
fn beyond_the_ceiling_no_start_and_no_change_sends_but_a_signal_begins_again() {
    let world = at_ceiling();
    let agent = agent_at_ceiling(&world);
    world.add_people([11]);
    touch_marker(&world);
    agent.wait_for("one text more", || world.provider.text_count() == 2);
    agent.wait_for("its end", || remembered(&world, "sending").is_null());
    agent.stop();

    for _ in 0..3 {
        let agent = Agent::start(&mut world.command(&["run"]));
        agent.wait_for_log("next try is in");
        agent.stop();
    }
    assert_eq!(world.provider.text_count(), 2);

    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for_log("next try is in");
    world.provider.always(None);
    agent.signal(Signal::USR1);
    agent.wait_for_promotions(1);
    assert_eq!(world.records().len(), 11);
    assert_eq!((remembered(&world, "is_held"), remembered(&world, "unanswered")), (false.into(), 0.into()));
    agent.stop();
}

#[test]
fn beyond_the_ceiling_changed_settings_begin_again() {
    let world = at_ceiling();
    agent_at_ceiling(&world).stop();
    world.provider.always(None);

    world.settings(&format!("{TRIGGERS}[embedding]\nbatch_size = 20\n"));
    let agent = Agent::start(&mut world.command(&["run"]));

    agent.wait_for_promotions(1);
    assert_eq!(world.records().len(), 10);
    agent.stop();
}

#[test]
fn beyond_the_ceiling_a_vector_that_is_stored_begins_the_count_again() {
    let world = at_ceiling();
    let agent = agent_at_ceiling(&world);
    world.provider.always(None);
    world.provider.forget();

    touch_marker(&world);

    agent.wait_for_promotions(1);
    let sizes: Vec<_> = world.provider.requests().iter().map(|seen| seen.texts.len()).collect();
    assert_eq!((sizes[0], sizes.iter().sum::<usize>()), (1, 10), "{sizes:?}");
    agent.stop();
}

#[test]
fn a_damaged_count_lets_one_text_leave_and_a_vector_the_others() {
    for damage in [
        |bytes: &mut Vec<u8>| bytes[9] ^= 4,
        |bytes: &mut Vec<u8>| bytes.truncate(100),
        |bytes: &mut Vec<u8>| bytes.clear(),
    ] {
        let world = World::with_people(3);
        world.settings(TRIGGERS);
        world.build();
        world.add_people(4..=103);
        let mut bytes = std::fs::read(world.path(FILE)).unwrap();
        damage(&mut bytes);
        std::fs::write(world.path(FILE), bytes).unwrap();
        world.provider.forget();
        world.provider.hold();

        let agent = Agent::start(&mut world.command(&["run"]));
        assert!(world.provider.wait_for_in_flight(1, SOON), "{}", agent.log());
        assert_eq!(world.provider.text_count(), 1, "{}", agent.log());
        agent.wait_for_log("does not say how many texts were sent");

        world.provider.release();
        agent.wait_for_records(&world, 103);
        assert_eq!(world.provider.text_count(), 100);
        agent.stop();
    }
}

#[test]
fn a_count_that_cannot_be_read_keeps_every_text_until_it_can() {
    let world = World::with_people(3);
    std::fs::create_dir_all(world.path("data/.reindexd")).unwrap();
    std::fs::create_dir(world.path(FILE)).unwrap();

    let ran = world.run(&["build", "--json"]);

    assert_eq!((ran.code, ran.number("texts_sent")), (1, 0), "{ran:?}");
    assert!(ran.text("error").contains("cannot record how many texts are sent"), "{ran:?}");
    assert!(ran.text("error").contains("sent.json"), "{ran:?}");
    assert_eq!(world.provider.text_count(), 0);
    std::fs::remove_dir(world.path(FILE)).unwrap();
    assert_eq!(world.build().number("texts_sent"), 3);
}

#[test]
fn every_text_that_left_is_counted_in_the_build_its_manifest_and_the_history() {
    let world = World::with_people(20);
    world.settings("[embedding]\nbatch_size = 10\nconcurrency = 1\n");
    world.provider.script([Fault::ServerError(500), Fault::ServerError(503), Fault::ResetBeforeAnswer]);

    let built = world.build();

    let sent = world.provider.text_count() as u64;
    assert!(sent > 20, "{sent}");
    assert_eq!((built.number("texts_sent"), built.number("embedded")), (sent, 20), "{built:?}");
    let manifest: serde_json::Value =
        serde_json::from_slice(&world.published("current/manifest.json")).unwrap();
    assert_eq!(manifest["texts_sent"], sent);
    let history = world.run(&["history", "--json"]).json();
    assert_eq!(history["attempts"][0]["counts"]["texts_sent"], sent);
    assert_eq!(history["builds"][0]["texts_sent"], sent);

    world.sql("UPDATE experts SET hourly_rate = 7 WHERE id = 1");
    assert_eq!(world.build().number("texts_sent"), 0);
}

#[test]
fn a_provider_that_cannot_be_reached_is_sent_nothing_and_a_stop_says_what_was() {
    let world = World::with_people(20);
    world.ask_openai("base_url = \"http://127.0.0.1:1\"\nretry_budget = \"0s\"\n");
    let ran = world.run(&["build", "--json"]);
    assert_eq!((ran.code, ran.number("texts_sent")), (1, 0), "{ran:?}");

    let world = World::with_people(20);
    world.provider.always(Some(Fault::Hang));
    let build = crate::support::start(&mut world.command(&["build", "--json"]));
    assert!(world.provider.wait_for_requests(1, SOON));
    rustix::process::kill_process(rustix::process::Pid::from_child(&build), Signal::TERM).unwrap();
    let ran = crate::support::ended(build);
    assert_eq!((ran.code, ran.number("texts_sent")), (143, 20), "{ran:?}");
}

#[test]
fn a_restart_gives_no_fresh_minute() {
    let world = World::with_people(60);
    world.settings(&format!(
        "{TRIGGERS}[embedding]\nitems_per_minute = 30\nbatch_size = 10\n[log]\nlevel = \"debug\"\n"
    ));
    for command in ["build", "run", "build"] {
        let mut running = Agent::start(&mut world.command(&[command]));
        assert!(world.provider.wait_for_answers(3, SOON), "{}", running.log());
        let path = world.path("data/.reindexd/pass.json");
        // A kill before the last answer is stored leaves doubt, after which an agent may wait without a pass.
        eventually("it waits for the limit, or for the next try", || {
            let shows_pass = std::fs::read_to_string(&path).is_ok_and(|pass| pass.contains("embed"));
            let waits =
                shows_pass || ["backing_off", "items_per_minute"].iter().any(|t| running.logged(t) > 0);
            waits && remembered(&world, "minute_texts") == 30
        });
        running.signal(Signal::KILL);
        running.ended(SOON);
    }
    assert_eq!(world.provider.text_count(), 30);
}

#[test]
fn a_second_process_has_no_fresh_minute_of_tokens() {
    let world = World::with_people(3);
    world.settings(&format!("{TRIGGERS}[embedding]\ntokens_per_minute = 90\n"));
    let tokens = || world.provider.texts_seen().iter().map(|text| text.len().div_ceil(4) as u64).sum::<u64>();
    world.build();
    let sent = tokens();
    assert!(sent > 45 && remembered(&world, "minute_tokens") == sent, "{sent} tokens");

    world.add_people(4..=12);
    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for_log("limit of embedding.tokens_per_minute");
    agent.stop();

    assert!(tokens() <= 90, "{} tokens in a minute", tokens());
}
