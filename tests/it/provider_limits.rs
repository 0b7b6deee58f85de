//! Limits of embedding: texts in a batch, concurrent requests, texts per minute, waits that the provider
//! asks for, timeouts.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::agent::Agent;
use crate::support::provider::Fault;
use crate::support::{self, SOON, World};

#[test]
fn batches_hold_as_many_texts_as_the_setting_and_the_provider_allow() {
    for (set, expected) in [(None, vec![50, 100, 100]), (Some("70"), vec![40, 70, 70, 70])] {
        let world = World::with_people(250);
        let mut command = world.command(&["build", "--json"]);
        command.envs(set.map(|size| ("INGEST_BATCH_SIZE", size)));

        let ran = support::run(&mut command);

        let mut sizes: Vec<_> = world.provider.requests().iter().map(|seen| seen.texts.len()).collect();
        sizes.sort_unstable();
        assert_eq!((ran.code, sizes), (0, expected), "{ran:?}");
        assert_eq!(world.provider.text_count(), 250, "every text once");
    }
}

#[test]
fn no_request_is_larger_than_the_provider_takes() {
    for (provider, most) in [("gemini", 4 << 20), ("openai", 1 << 20)] {
        let world = World::new();
        if provider == "openai" {
            world.ask_openai("");
        }
        for id in 1..=6 {
            // Quotes and line breaks grow when they are written as JSON.
            let bio = "say \"no\"\n".repeat(60_000) + &id.to_string();
            world.connect().execute(WITH_BIO, rusqlite::params![id, bio]).unwrap();
        }

        let ran = world.build();

        let requests = world.provider.requests();
        assert_eq!((ran.number("embedded"), world.provider.text_count()), (6, 6), "{provider}");
        assert!(requests.iter().all(|seen| seen.body.len() <= most), "{provider}");
        assert!(provider == "openai" || requests.len() < 6, "a batch has as many texts as fit");
    }
}

#[test]
fn as_many_requests_are_on_their_way_as_the_setting_says_and_no_more() {
    for (settings, expected) in [("", 4), ("concurrency = 1\n", 1), ("concurrency = 7\n", 7)] {
        let world = World::with_people(20);
        world.settings(&format!("[embedding]\nbatch_size = 1\n{settings}"));
        world.provider.hold();

        let build = support::start(&mut world.command(&["build", "--json"]));
        assert!(world.provider.wait_for_in_flight(expected, SOON), "{settings}");
        world.provider.release();
        let ran = support::ended(build);

        assert_eq!((ran.code, world.provider.request_count()), (0, 20), "{ran:?}");
        assert_eq!(world.provider.peak(), expected, "{settings}");
    }
}

#[test]
fn a_limit_of_texts_per_minute_is_kept_and_a_stop_keeps_what_was_embedded() {
    let world = World::with_people(8);
    // One at a time, otherwise the smaller batch may send its request first.
    world.settings("[embedding]\nitems_per_minute = 5\nconcurrency = 1\n[log]\nlevel = \"debug\"\n");

    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for_log("embedding (done=5 total=8");
    let sizes: Vec<_> = world.provider.requests().iter().map(|seen| seen.texts.len()).collect();
    agent.stop();
    world.settings("");
    let ran = world.build();

    assert_eq!(sizes, [5], "no batch is larger than the limit, and the next one waits");
    assert_eq!((ran.number("records"), ran.number("embedded"), world.provider.text_count()), (8, 3, 8));
    assert_eq!(world.provider.answered_twice(), Vec::<String>::new());
}

#[test]
fn a_limit_of_tokens_a_minute_is_kept_by_every_request_and_by_all_of_a_minute() {
    let world = World::with_people(12);
    world.settings("[embedding]\ntokens_per_minute = 100\n");
    let planned = world.run(&["plan", "--json"]).number("requests");

    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for_log("limit of embedding.tokens_per_minute");
    agent.stop();

    let tokens: usize = world.provider.texts_seen().iter().map(|text| text.len().div_ceil(4)).sum();
    assert!(tokens <= 100 && world.provider.text_count() > 0, "{tokens} tokens");
    assert!(planned > 1, "{planned} requests, and none holds more than a minute's tokens");
}

#[test]
fn a_limit_of_texts_a_minute_is_kept_from_one_pass_to_the_next() {
    let world = World::with_people(5);
    world.settings("[embedding]\nitems_per_minute = 5\nretry_budget = \"0s\"\n");
    world.provider.script([Fault::ServerError(503)]);
    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for_log("outcome=failed");

    agent.signal(Signal::USR1);
    agent.wait_for_log("limit of embedding.items_per_minute");

    assert_eq!((world.provider.text_count(), agent.promotions()), (5, 0), "{}", agent.log());
    agent.stop();
}

#[test]
fn the_wait_that_the_provider_names_is_kept_to_the_fraction_and_by_every_request() {
    let named = [
        (Some("1.2s"), None, 1200),
        (None, Some("1"), 1000),
        (Some("1.1s"), Some("1"), 1100),
        (None, Some("0.9"), 900),
    ];
    for (retry_info, retry_after, wait) in named {
        let world = World::with_people(4);
        world.settings("[embedding]\nbatch_size = 1\nconcurrency = 2\n");
        world
            .provider
            .script([Fault::RateLimited { retry_info, retry_after: retry_after.map(str::to_owned) }]);

        world.build();

        let seen = world.provider.requests();
        let limited = seen.iter().find(|seen| seen.status() == Some(429)).unwrap();
        let again = seen.iter().rfind(|seen| seen.texts == limited.texts).unwrap();
        let waited = again.at - limited.at;
        let min = Duration::from_millis(wait);
        assert!((min..min + Duration::from_secs(4)).contains(&waited), "{waited:?} for {wait} ms");
        // One other request may have been in flight already, and one started before the answer was read.
        let during_wait = seen.iter().filter(|seen| seen.at > limited.at && seen.at < limited.at + min);
        assert!(during_wait.count() <= 2, "every request waits");
    }
}

#[test]
fn a_wait_longer_than_the_budget_is_not_waited_for() {
    let world = World::with_people(3);
    world.provider.always(Some(Fault::RateLimited { retry_info: Some("3600s"), retry_after: None }));
    let begun = Instant::now();

    let ran = world.run(&["build", "--json"]);

    assert_eq!((ran.code, world.provider.request_count()), (1, 1), "{ran:?}");
    assert!(ran.text("error").contains("asks to wait 3600s, longer than the retry budget"), "{ran:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_budget_starts_again_with_every_success() {
    let world = World::with_people(3);
    world.settings("[embedding]\nbatch_size = 1\nconcurrency = 1\nretry_budget = \"1s\"\n");
    world.provider.set_latency(Duration::from_millis(600));
    let right = Fault::SlowDrip { bytes: usize::MAX, every: Duration::ZERO };
    let each = [Fault::Status(408, String::new()), right];
    world.provider.script(each.into_iter().cycle().take(6));
    let begun = Instant::now();

    let ran = world.build();

    assert_eq!((ran.number("embedded"), ran.number("requests")), (3, 6));
    assert!(begun.elapsed() > Duration::from_secs(3), "{:?}: this proves nothing", begun.elapsed());
}

const WITH_BIO: &str = "INSERT INTO experts (id, username, bio, tags) VALUES (?1, 'user', ?2, '[\"t\"]')";
