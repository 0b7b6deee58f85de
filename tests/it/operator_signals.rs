//! Requests of an operator to a running agent: SIGUSR1, and SIGHUP with a good and with a bad file.

use rustix::process::Signal;

use crate::support::provider::Fault;
use crate::support::{SOON, World};

const NO_HURRY: &str = "quiet = \"10m\"\nmax_wait = \"20m\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\n";
const QUICK: &str = "quiet = \"100ms\"\nmax_wait = \"1s\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\n";

#[test]
fn sigusr1_causes_a_scan_without_a_hint() {
    let world = World::with_people(2);
    let agent = world.agent_with(NO_HURRY);
    agent.wait_for_promotions(1);

    agent.signal(Signal::USR1);
    agent.wait_for_log("outcome=unchanged trigger=signal");

    agent.stop();
}

#[test]
fn sigusr1_during_a_build_is_answered_after_it() {
    let world = World::with_people(1);
    world.provider.hold();
    let agent = world.agent_with(NO_HURRY);
    assert!(world.provider.wait_for_requests(1, SOON), "{}", agent.log());

    world.add_people([2]);
    agent.signal(Signal::USR1);
    // Signals are received in order, and this one is answered by a line in the log.
    agent.signal(Signal::HUP);
    agent.wait_for_log("the previous values stay in force");
    world.provider.release();
    agent.wait_for_promotions(2);

    assert_eq!(world.records().len(), 2);
    assert!(agent.log().contains("outcome=promoted trigger=signal"), "{}", agent.log());
    agent.stop();
}

#[test]
fn sighup_applies_new_settings_and_scans() {
    let world = World::with_people(4);
    let agent = world.agent_with(NO_HURRY);
    agent.wait_for_promotions(1);
    world.add_people([5]);
    agent.wait_for_log("settling");

    world.settings(&format!("[trigger]\n{QUICK}[guard]\nmax_texts = 2\n"));
    agent.signal(Signal::HUP);
    agent.wait_for_records(&world, 5);

    agent.wait_for_log("new values in force");
    for change in
        ["trigger.quiet from 10m to 100ms", "guard.max_texts from 0 to 2", "log.level from debug to info"]
    {
        assert!(agent.log().contains(change), "{change}\n{}", agent.log());
    }
    world.add_people(6..=8);
    agent.wait_for_log("outcome=refused");
    assert_eq!(world.records().len(), 5, "the new guard is in force");
    agent.stop();
}

#[test]
fn a_bad_file_at_sighup_is_named_and_changes_nothing() {
    let bad = [
        ("[trigger]\nquite = \"1s\"\n", "trigger.quite"),
        ("[trigger\n", "settings: refused"),
        ("[trigger]\nquiet = \"often\"\n", "trigger.quiet"),
    ];
    let world = World::with_people(1);
    let agent = world.agent_with(QUICK);
    agent.wait_for_promotions(1);

    for (nth, (file, message)) in (1..).zip(bad) {
        world.settings(file);
        agent.signal(Signal::HUP);
        agent.wait_for("the refusal", || agent.logged("settings: refused, the previous ones stay") == nth);
        assert!(agent.log().contains(message), "{message}\n{}", agent.log());
    }
    world.add_people([2]);

    agent.wait_for_records(&world, 2);
    agent.stop();
}

#[test]
fn a_setting_that_needs_a_restart_is_named_and_waits_for_it() {
    let world = World::with_people(1);
    let agent = world.agent_with(QUICK);
    agent.wait_for_promotions(1);

    world.settings(&format!("[trigger]\n{QUICK}[embedding]\nmodel = \"gemini-embedding-002\"\n"));
    agent.signal(Signal::HUP);
    agent.wait_for_log("the old values stay in force until a restart: embedding.model from gemini-embedding-001 to gemini-embedding-002");
    world.add_people([2]);
    agent.wait_for_promotions(2);

    let models: Vec<String> = world.provider.requests().iter().map(|seen| seen.model.clone()).collect();
    assert_eq!(models, ["gemini-embedding-001"; 2]);
    agent.stop();
}

#[test]
fn a_key_that_was_refused_is_read_again_at_sighup() {
    let world = World::with_people(1);
    std::fs::write(world.path("key"), "old").unwrap();
    world.provider.refuse_key_other_than("new");
    let settings = format!("{NO_HURRY}[embedding]\napi_key_file = \"key\"\n");
    let agent = world.agent_with(&settings);
    agent.wait_for_log("outcome=failed");

    std::fs::write(world.path("key"), "new").unwrap();
    world.settings(&format!("[trigger]\n{}", settings.replace("10m", "100ms")));
    agent.signal(Signal::HUP);

    agent.wait_for_records(&world, 1);
    agent.stop();
}

#[test]
fn an_order_cuts_the_wait_after_a_failure_short_and_a_commit_does_not() {
    let world = World::with_people(1);
    let agent = world.agent_with(&format!("{QUICK}[embedding]\nretry_budget = \"0s\"\n"));
    agent.wait_for_promotions(1);
    world.provider.always(Some(Fault::ServerError(503)));
    world.add_people([2]);
    agent.wait_for_log("state=backing_off");
    let passes = agent.passes();
    world.provider.always(None);

    world.add_people([3]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(agent.passes(), passes, "a commit does not shorten the wait\n{}", agent.log());
    agent.signal(Signal::USR1);

    agent.wait_for_records(&world, 3);
    agent.stop();
}

#[test]
fn a_wait_for_the_provider_says_until_when_and_when_it_gives_up() {
    let world = World::with_people(1);
    world.provider.always(Some(Fault::ServerError(503)));
    let agent = world.agent_with(NO_HURRY);

    agent.wait_for_log("; until 20");

    let log = agent.log();
    let line = log.lines().find(|line| line.contains("; until 20")).unwrap();
    assert!(line.contains("status 503") && line.contains("; gives up at 20"), "{line}");
    agent.stop();
}

#[test]
fn a_marker_cuts_the_wait_after_a_failure_short() {
    let world = World::with_people(1);
    let agent = world.agent_with(&format!("{QUICK}[embedding]\nretry_budget = \"0s\"\n"));
    agent.wait_for_promotions(1);
    world.provider.always(Some(Fault::ServerError(503)));
    world.add_people([2]);
    agent.wait_for_log("state=backing_off");
    world.provider.always(None);

    std::fs::write(world.path("data/tagging-complete"), "").unwrap();

    agent.wait_for_records(&world, 2);
    agent.stop();
}

#[test]
fn a_provider_that_asks_for_no_wait_does_not_shorten_the_back_off() {
    let world = World::with_people(1);
    let agent = world.agent_with(&format!("{QUICK}[embedding]\nretry_budget = \"0s\"\n"));
    agent.wait_for_promotions(1);
    world.provider.script([Fault::RateLimited { retry_info: Some("0s"), retry_after: Some("0".to_owned()) }]);

    world.add_people([2]);
    // 30 s, less up to a quarter.
    agent.wait_for_log("state=backing_off wait_ms=2");

    agent.signal(Signal::USR1);
    agent.wait_for_records(&world, 2);
    agent.stop();
}

#[test]
fn commits_to_another_table_are_not_worth_a_line_each() {
    let world = World::with_people(2);
    world.sql("CREATE TABLE other (x)");
    let agent = world.agent_with(QUICK);
    agent.wait_for_promotions(1);
    agent.wait_for_log("state=idle");
    let before = agent.log().len();

    for commit in 1..=5 {
        world.sql(&format!("INSERT INTO other VALUES ({commit})"));
        agent.wait_for("the pass that follows", || {
            agent.logged("outcome=unchanged trigger=database") == commit
        });
    }
    let log = agent.log_from(before);
    assert!(!["INFO", "WARN", "ERROR"].iter().any(|level| log.contains(level)), "{log}");

    world.add_people([3]);
    agent.wait_for_promotions(2);
    agent.wait_for("the state after it", || agent.logged("INFO agent: state entered (state=idle") == 2);
    agent.stop();
}

#[test]
fn the_same_failure_is_logged_once() {
    let world = World::with_people(1);
    world.provider.always(Some(Fault::Forbidden));
    let agent = world.agent_with(NO_HURRY);
    agent.wait_for_log("outcome=failed");

    for times in 2..=4 {
        agent.signal(Signal::USR1);
        assert!(world.provider.wait_for_requests(times, SOON));
    }
    world.provider.always(None);
    agent.signal(Signal::USR1);
    agent.wait_for_promotions(1);

    assert_eq!(agent.logged("outcome=failed"), 4, "at the debug level each is logged\n{}", agent.log());
    assert_eq!(agent.logged("ERROR pass"), 1, "{}", agent.log());
    agent.stop();
}
