//! Quarantined rows: why and since when each is out, and how it comes back.

use std::fs;

use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::provider::Fault;
use crate::support::{Ran, World};

const DAY: i64 = 24 * 3600;

/// `embedding` goes into its section of the settings.
fn settings(embedding: &str) -> String {
    format!(
        "[guard]\nquarantine = 200\nmax_shrink = 1.0\n[trigger]\nquiet = \"100ms\"\n\
         [embedding]\nbatch_size = 10\nconcurrency = 1\n{embedding}"
    )
}

/// A world that serves all but these people, whose texts the provider refuses.
fn refusing(people: u32, refused: &[u32]) -> World {
    let world = World::with_people(people);
    world.settings(&settings(""));
    for id in refused {
        world.provider.fail_text(&format!("person {id}."));
    }
    let built = world.build();
    assert_eq!(built.number("records"), u64::from(people) - refused.len() as u64);
    world.provider.forget();
    world
}

/// As if this many seconds had passed since any text was tried.
fn let_pass(world: &World, seconds: i64) {
    let path = world.path("data/.reindexd/quarantine.json");
    let mut tries: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let earlier = |at: &Value| at.as_i64().map(|at| Value::from(at - seconds)).unwrap_or_default();
    tries["daily_at"] = earlier(&tries["daily_at"]);
    for at in tries["refused_at"].as_object_mut().unwrap().values_mut() {
        *at = earlier(at);
    }
    fs::write(path, tries.to_string()).unwrap();
}

/// The people whose texts were sent, each as often as it was, and how many other texts.
fn sent(world: &World) -> (Vec<u32>, usize) {
    let texts = world.provider.texts_seen();
    let person = |text: &String| text.split("person ").nth(1)?.split('.').next()?.parse().ok();
    let mut people: Vec<u32> = texts.iter().filter_map(person).collect();
    people.sort_unstable();
    let others = texts.len() - people.len();
    (people, others)
}

fn outcome(ran: &Ran) -> (i32, String, u64) {
    (ran.code, ran.text("outcome"), ran.number("records"))
}

#[test]
fn status_says_why_a_row_is_out_and_since_when() {
    let world = refusing(20, &[5]);
    world.sql("UPDATE experts SET tags = 'none' WHERE id IN (8, 9, 10, 11, 12, 13)");
    world.build();

    let status = world.run(&["status", "--json"]).json();
    let text = world.run(&["status"]).stdout;

    let quarantined = &status["quarantined"];
    assert_eq!(quarantined["count"], 7, "{status}");
    let row = &quarantined["rows"][0];
    assert_eq!((&row["id"], &row["column"]), (&"5".into(), &"document text".into()), "{row}");
    assert!(row["reason"].as_str().unwrap().contains("status 400"), "{row}");
    assert!(row["refused_at"].is_string(), "{row}");
    let [out, later] = [0, 1].map(|nth| quarantined["rows"][nth]["since"].as_str().unwrap().to_owned());
    assert!(out < later, "row 5 was out before: {quarantined}");
    assert!(quarantined["rows"][1]["refused_at"].is_null(), "{quarantined}");
    assert!(text.contains("7 rows are not in the index"), "{text}");
    assert!(text.contains("row id=5, document text: the provider refuses it"), "{text}");
    assert!(text.contains("row id=8, tags: ") && text.contains("out since just now"), "{text}");
    assert!(text.contains("and 2 more"), "{text}");
    // What a build keeps of a row that is out does not begin again.
    world.build();
    let again = world.run(&["status", "--json"]).json();
    assert_eq!(again["quarantined"]["rows"][0]["since"].as_str(), Some(out.as_str()));
}

#[test]
fn a_refused_row_comes_back_when_a_person_asks_and_nothing_else_is_sent() {
    for flag in ["--full", "--retry-quarantined"] {
        let world = refusing(10, &[5, 6]);
        world.provider.clear_fault();

        let built = world.run(&["build", "--json", flag]);

        assert_eq!(outcome(&built), (0, "promoted".to_owned(), 10), "{flag}: {built:?}");
        assert_eq!(built.number("embedded"), 2, "{flag}: {built:?}");
        assert_eq!(sent(&world), (vec![5, 6], 0), "{flag}");
        assert_eq!(world.run(&["status", "--json"]).json()["quarantined"]["count"], 0, "{flag}");
        world.assert_proven();
    }
}

#[test]
fn rows_that_are_refused_again_make_no_build_and_are_sent_once() {
    let refused: Vec<u32> = (11..=50).collect();
    let world = refusing(60, &refused);
    world.provider.excuse_money("a served text is the witness");
    let before = world.served();

    let asked = world.run(&["build", "--json", "--retry-quarantined"]);
    let (mut people, others) = sent(&world);
    // The witness is a row that is served.
    people.retain(|id| *id > 10);
    let sent_once = world.provider.text_count() <= 41;
    assert_eq!(asked.number("texts_sent"), world.provider.text_count() as u64, "{asked:?}");
    world.provider.forget();
    let full = world.run(&["build", "--json", "--full"]);

    assert_eq!(outcome(&asked), (0, "unchanged".to_owned(), 20), "{asked:?}");
    assert!(asked.stderr.contains("tried again: 40; taken by the provider now: 0"), "{asked:?}");
    assert_eq!((people, others, sent_once), (refused.clone(), 0, true), "each text once, and the witness");
    assert_eq!(outcome(&full), (0, "promoted".to_owned(), 20), "{full:?}");
    assert_ne!(world.served(), before, "a full build is made all the same");
    assert!(world.provider.text_count() <= 41, "each text once, and the witness");
}

#[test]
fn a_refused_row_is_tried_once_a_day_though_the_table_is_the_same() {
    let world = refusing(10, &[5]);
    let before = world.served();
    let unchanged = (0, "unchanged".to_owned(), 9);

    assert_eq!(outcome(&world.build()), unchanged);
    assert_eq!(world.provider.text_count(), 0, "it was refused just now");
    let_pass(&world, DAY - 60);
    assert_eq!(outcome(&world.build()), unchanged);
    assert_eq!(world.provider.text_count(), 0, "the day is not over");
    let_pass(&world, 60);
    assert_eq!(outcome(&world.build()), unchanged);
    assert_eq!(sent(&world).0, [5]);
    assert!(world.provider.text_count() <= 2, "the text and the witness");
    assert_eq!(outcome(&world.build()), unchanged);
    assert_eq!(sent(&world).0, [5], "once a day");
    assert_eq!((world.served(), world.staging().len()), (before, 0), "no build is made");

    world.provider.clear_fault();
    world.provider.forget();
    let_pass(&world, DAY);
    let back = world.build();
    assert_eq!(outcome(&back), (0, "promoted".to_owned(), 10), "{back:?}");
    assert_eq!((sent(&world), back.number("embedded")), ((vec![5], 0), 1));
    world.assert_proven();
}

#[test]
fn a_hundred_refused_rows_are_tried_in_a_day_and_all_in_turn() {
    let refused: Vec<u32> = (11..=130).collect();
    let world = refusing(130, &refused);
    world.provider.clear_fault();
    let mut tried = Vec::new();
    for expected in [110, 130] {
        let_pass(&world, DAY);
        let built = world.build();
        assert_eq!(built.number("records"), expected, "{built:?}");
        tried.extend(sent(&world).0);
        world.provider.forget();
    }
    tried.sort_unstable();
    assert_eq!(tried, refused, "each once");
}

#[test]
fn what_is_due_is_tried_with_a_change_and_never_holds_it_up() {
    let cases: [(&str, Option<Fault>); 3] = [
        ("refused again", None),
        ("failing", Some(Fault::ServerError(500))),
        ("a key that is refused", Some(Fault::Forbidden)),
    ];
    for (case, fault) in cases {
        let world = refusing(10, &[5, 6]);
        world.provider.excuse_repeats("a served text is the witness of a try that fails");
        let_pass(&world, DAY);
        world.provider.schedule(move |seen| {
            let retried =
                seen.texts.iter().any(|text| text.contains("person 5.") || text.contains("person 6."));
            (fault.clone().filter(|_| retried), std::time::Duration::ZERO)
        });
        world.settings(&settings("retry_budget = \"1s\"\n"));
        world.add_people([11]);

        let built = world.build();

        assert_eq!(outcome(&built), (0, "promoted".to_owned(), 9), "{case}: {built:?}");
        assert!(sent(&world).0.contains(&11), "{case}");
        world.provider.forget();
        assert_eq!(outcome(&world.build()), (0, "unchanged".to_owned(), 9), "{case}");
        assert_eq!(world.provider.text_count(), 0, "{case}: once a day, whatever came of it");
        world.assert_proven();
    }
}

#[test]
fn an_outage_leaves_an_unchanged_table_unchanged_and_fails_only_what_was_asked_for() {
    let world = refusing(10, &[5]);
    world.settings(&settings("retry_budget = \"1s\"\n"));
    world.provider.always(Some(Fault::ServerError(503)));
    let_pass(&world, DAY);

    let plain = world.build();
    let asked = world.run(&["build", "--json", "--retry-quarantined"]);

    assert_eq!(outcome(&plain), (0, "unchanged".to_owned(), 9), "{plain:?}");
    assert!(plain.stderr.contains("could not all be tried again"), "{plain:?}");
    assert_eq!((asked.code, asked.text("outcome").as_str()), (1, "failed"), "{asked:?}");
    assert_eq!((world.served_count(), world.staging().len()), (9, 0));
}

#[test]
fn where_nothing_is_quarantined_the_flag_says_so() {
    let world = World::with_people(3);
    for (settings, expected) in [("", "promoted"), (&settings(""), "unchanged")] {
        world.settings(settings);

        let ran = world.run(&["build", "--json", "--retry-quarantined"]);

        assert_eq!((ran.code, ran.text("outcome").as_str()), (0, expected), "{ran:?}");
        assert!(ran.stderr.contains("no row is quarantined by a provider's refusal"), "{ran:?}");
    }
}

#[test]
fn an_agent_brings_a_row_back_that_the_provider_takes_again() {
    let world = refusing(10, &[5]);
    world.provider.clear_fault();
    let_pass(&world, DAY);

    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for_records(&world, 10);

    assert_eq!(sent(&world), (vec![5], 0));
    agent.stop();
    world.assert_proven();
}

#[test]
fn a_held_build_has_no_tries_and_what_a_note_does_not_know_waits_a_day() {
    let world = refusing(10, &[5]);
    world.add_people([11]);
    world.build();
    world.provider.forget();
    let note = world.path("data/.reindexd/quarantine.json");

    // The note is lost, as where 0.1.0 has never written one: the day begins with the next pass.
    fs::remove_file(&note).unwrap();
    world.build();
    assert_eq!(world.provider.text_count(), 0);
    assert!(note.exists());

    assert_eq!(world.run(&["rollback"]).code, 0);
    let_pass(&world, DAY);
    world.settings(&format!("{}[log]\nlevel = \"debug\"\n", settings("")));
    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for_log("held by a rollback");
    agent.stop();
    assert_eq!(world.provider.text_count(), 0, "the agent does not build while a rollback holds");
}

#[test]
fn more_than_can_be_remembered_is_refused_as_a_setting() {
    for (quarantine, code) in [(10_000, 0), (10_001, 2)] {
        let world = World::with_people(1);
        world.settings(&format!("[guard]\nquarantine = {quarantine}\n"));

        let ran = world.run(&["build", "--json"]);

        assert_eq!(ran.code, code, "{ran:?}");
        assert_eq!(ran.stderr.contains("guard.quarantine"), code == 2, "{ran:?}");
    }
}
