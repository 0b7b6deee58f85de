//! The command line as scripts use it: exit codes, one JSON object, settings refused by name, help.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::provider::Fault;
use crate::support::{self, Ran, SOON, World};

/// The fields that each command's object is promised to have.
const FIELDS: [(&str, &[&str]); 10] = [
    (
        "build",
        &[
            "outcome",
            "build",
            "records",
            "kept",
            "embedded",
            "metadata_only",
            "removed",
            "requests",
            "took_ms",
        ],
    ),
    (
        "plan",
        &[
            "records",
            "kept",
            "to_embed",
            "metadata_only",
            "removed",
            "requests",
            "estimated_tokens",
            "reasons",
            "held",
        ],
    ),
    ("status", &["served", "drift", "last_attempt", "agent"]),
    ("verify", &["ok", "checks"]),
    ("history", &["served", "builds", "attempts"]),
    ("rollback", &["outcome", "build"]),
    ("search question", &["results"]),
    ("sweep", &["removed"]),
    ("config", &["settings"]),
    ("rollback --release", &["released"]),
];

#[test]
fn every_command_prints_only_one_object_with_its_fields() {
    let world = World::with_people(5);
    world.build();
    world.add_people([6]);
    world.build();
    for (command, fields) in FIELDS {
        let ran = json(&world, command);

        assert_eq!(ran.code, 0, "{command}: {ran:?}");
        assert_object(&ran, fields);
    }
}

#[test]
fn every_command_prints_one_object_also_where_it_fails() {
    // Nothing served and no database.
    let bare = World::new();
    std::fs::remove_file(bare.database()).unwrap();
    for (command, code, fields) in [
        ("build", 1, FIELDS[0].1),
        ("plan", 1, &[]),
        ("status", 0, FIELDS[2].1),
        ("verify", 1, FIELDS[3].1),
        ("verify 20261122T101500Z-7f3a9c", 1, FIELDS[3].1),
        ("history", 0, FIELDS[4].1),
        ("rollback", 1, &[]),
        ("rollback 20261122T101500Z-7f3a9c", 1, &[]),
        ("search question", 1, &[]),
        ("sweep", 0, FIELDS[7].1),
    ] {
        let ran = json(&bare, command);
        assert_eq!(ran.code, code, "{command}: {ran:?}");
        assert_object(&ran, fields);
        assert_eq!(ran.json()["error"].is_string(), code != 0 || command == "status", "{command}: {ran:?}");
    }

    // Settings that are refused.
    bare.settings("[embedding]\nbatch_size = 0\n");
    let named = json(&bare, "verify 20261122T101500Z-7f3a9c");
    assert_eq!((named.code, named.text("build").as_str()), (2, "20261122T101500Z-7f3a9c"), "{named:?}");
    for (command, fields) in FIELDS.into_iter().chain([("run", &[][..])]) {
        let ran = json(&bare, command);
        assert_eq!(ran.code, 2, "{command}: {ran:?}");
        assert!(ran.text("error").contains("embedding.batch_size"), "{command}: {ran:?}");
        assert_object(&ran, if ["build", "verify"].contains(&command) { fields } else { &[] });
    }

    // Arguments that are refused.
    for arguments in
        ["build --bogus", "verify a b", "search", "search x -k 0", "bogus", "rollback x --release"]
    {
        let ran = json(&bare, arguments);
        assert_eq!(ran.code, 2, "{arguments}: {ran:?}");
        assert!(!ran.text("error").is_empty() && ran.stderr.contains("--help"), "{arguments}: {ran:?}");
    }
}

#[test]
fn every_outcome_of_a_build_has_its_exit_code_and_its_word() {
    let world = World::with_people(10);
    assert_outcome(&world, "build", 0, "promoted");
    assert_outcome(&world, "build", 0, "unchanged");

    world.add_people([11]);
    world.provider.always(Some(Fault::KeyInvalid));
    assert_outcome(&world, "build", 1, "failed");
    world.provider.always(None);

    world.settings("[guard]\nmax_texts = 1\n");
    world.add_people([12]);
    let many = assert_outcome(&world, "build", 3, "refused");
    assert!(many.text("error").contains("guard.max_texts = 1"), "{many:?}");
    world.settings("");

    world.sql("UPDATE experts SET tags = NULL WHERE id > 5");
    let shrunk = assert_outcome(&world, "build", 3, "refused");
    assert!(shrunk.text("error").contains("--accept-shrink"), "{shrunk:?}");
    assert_outcome(&world, "build --accept-shrink", 0, "promoted");

    world.sql("UPDATE experts SET tags = NULL");
    let empty = assert_outcome(&world, "build --accept-shrink", 3, "refused");
    assert!(empty.text("error").contains("no tagged rows"), "{empty:?}");
    assert_eq!(world.records().len(), 5, "refused means that the old build is served");
}

#[test]
fn during_another_pass_commands_that_need_the_lock_exit_with_75() {
    let world = World::with_people(5);
    world.build();
    world.add_people([6]);
    world.provider.hold();
    let first = support::start(&mut world.command(&["build", "--json"]));
    assert!(world.provider.wait_for_in_flight(1, SOON));

    assert_outcome(&world, "build", 75, "busy");
    for command in ["sweep", "rollback", "rollback --release"] {
        let ran = json(&world, command);
        assert_eq!((ran.code, ran.json()["error"].is_string()), (75, true), "{command}: {ran:?}");
    }
    for command in ["plan", "status", "verify", "history", "config"] {
        assert_eq!(json(&world, command).code, 0, "{command}");
    }
    let waiting = support::start(&mut world.command(&["build", "--wait", "--json"]));
    world.provider.release();

    assert_eq!(support::ended(first).text("outcome"), "promoted");
    assert_eq!(support::ended(waiting).text("outcome"), "unchanged");
}

#[test]
fn a_signal_ends_a_command_with_128_and_its_number_and_an_object_all_the_same() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let world = World::with_people(5);
        world.build();
        world.add_people([6]);
        for command in [&["build", "--json"][..], &["search", "question", "--json"]] {
            world.provider.forget();
            world.provider.hold();
            let child = support::start(&mut world.command(command));
            assert!(world.provider.wait_for_in_flight(1, SOON));

            kill_process(Pid::from_child(&child), signal).unwrap();
            let ran = support::ended(child);
            world.provider.release();
            // Otherwise the next command's request could be mistaken for this one's.
            assert!(world.provider.wait_for_in_flight(0, SOON));

            assert_eq!((ran.code, ran.json()["error"].is_string()), (code, true), "{command:?}: {ran:?}");
        }
    }
}

#[test]
fn unknown_keys_and_sections_are_refused_with_line_and_nearest_known_one() {
    let world = World::with_people(1);
    for (toml, expected) in [
        ("[embedding]\nbatchsize = 10\n", ["line 2", "embedding.batchsize", "batch_size"]),
        ("[trigger]\nquite = \"1s\"\n", ["line 2", "trigger.quite", "quiet"]),
        ("\n[guards]\n", ["line 2", "guards", "guard"]),
        ("[[announce]]\nurl = \"http://x\"\n", ["line 2", "announce.url", "post"]),
        ("[log]\nlevel = \"loud\"\n", ["line 2", "log.level", "info"]),
        ("[publish]\nkeep = \"3\"\n", ["line 2", "publish.keep", "expected a whole number"]),
        ("[guard]\nmax_shrink = \"a third\"\n", ["line 2", "guard.max_shrink", "expected a number"]),
        ("[publish\n", ["line 1", "reindexd.toml", ""]),
    ] {
        world.settings(toml);
        for command in ["build", "status", "config"] {
            let ran = json(&world, command);

            assert_eq!(ran.code, 2, "{toml}: {ran:?}");
            assert!(expected.iter().all(|part| ran.text("error").contains(part)), "{toml}: {ran:?}");
        }
    }
    assert_eq!(std::fs::read_dir(world.path("data")).unwrap().count(), 1, "no file was created");
}

#[test]
fn config_shows_every_setting_in_force_with_the_place_that_it_came_from() {
    let world = World::with_people(1);
    std::fs::write(world.path(".env"), "EMBEDDING_MODEL=gemini-embedding-002\nOUTPUT_DIM=99\n").unwrap();
    let with_dotenv = json(&world, "config").json();
    std::fs::write(world.path("other.toml"), "[publish]\nkeep = 5\n[trigger]\nquiet = \"90s\"\n").unwrap();
    let with_file = json(&world, "config --config other.toml").json();
    let named =
        support::run(world.command(&["config", "--json"]).env("REINDEXD_CONFIG", "other.toml")).json();
    let table = world.run(&["config"]).stdout;

    let shows = |object: &Value, key: &str, value: &str, origin: &str| {
        let expected = serde_json::json!({ "value": value, "origin": origin });
        assert_eq!(object["settings"][key], expected, "{key}");
    };
    shows(&with_dotenv, "embedding.model", "gemini-embedding-002", ".env EMBEDDING_MODEL");
    shows(&with_dotenv, "embedding.dimension", "32", "environment OUTPUT_DIM");
    shows(&with_dotenv, "source.database", "data/experts.db", "environment DATABASE_URL");
    shows(&with_dotenv, "publish.keep", "3", "default");
    shows(&with_file, "publish.keep", "5", "file other.toml");
    shows(&with_file, "trigger.quiet", "1m 30s", "file other.toml");
    shows(&with_file, "embedding.model", "gemini-embedding-001", "default");
    assert_eq!(with_file, named);
    for key in with_file["settings"].as_object().unwrap().keys() {
        assert!(table.contains(key.as_str()), "{key} is not in the table");
    }
}

#[test]
fn a_settings_file_that_was_named_must_be_there() {
    let world = World::with_people(1);

    for ran in [
        json(&world, "build --config absent.toml"),
        support::run(world.command(&["build", "--json"]).env("REINDEXD_CONFIG", "absent.toml")),
    ] {
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.text("error").contains("absent.toml does not exist"), "{ran:?}");
    }
}

#[test]
fn help_and_version_are_answers_and_anything_unknown_is_not() {
    let world = World::new();
    let commands: Vec<&str> = FIELDS.iter().map(|(command, _)| command.split(' ').next().unwrap()).collect();

    let help = world.run(&["--help"]);
    for command in commands.iter().chain(&["run"]) {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{command}: {help:?}");
        for ask in [&[*command, "--help"][..], &["help", command]] {
            let ran = world.run(ask);
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ask:?}");
            assert!(ran.stdout.contains("--json") && ran.stdout.contains("--config"), "{ask:?}: {ran:?}");
        }
    }
    let version = world.run(&["--version"]);
    let nothing = world.run(&[]);
    let unknown = world.run(&["biuld"]);

    assert_eq!((help.code, version.code, nothing.code, unknown.code), (0, 0, 2, 2));
    assert_eq!(version.stdout, concat!("reindexd ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(nothing.stdout.is_empty() && nothing.stderr.contains("Usage:"), "{nothing:?}");
    assert!(unknown.stdout.is_empty() && unknown.stderr.contains("build"), "{unknown:?}");
}

#[test]
fn a_closed_standard_output_is_not_a_failure() {
    let world = World::with_people(3);
    world.build();
    for command in ["status", "history --json", "config"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let arguments: Vec<&str> = command.split(' ').collect();

        let status = world.command(&arguments).stdout(writer).status().unwrap();

        assert_eq!(status.code(), Some(0), "{command}");
    }
}

/// A command with `--json`.
fn json(world: &World, command: &str) -> Ran {
    let arguments: Vec<&str> = command.split(' ').chain(["--json"]).collect();
    world.run(&arguments)
}

#[track_caller]
fn assert_outcome(world: &World, command: &str, code: i32, outcome: &str) -> Ran {
    let ran = json(world, command);
    assert_eq!((ran.code, ran.text("outcome").as_str()), (code, outcome), "{command}: {ran:?}");
    assert_object(&ran, FIELDS[0].1);
    assert_eq!(ran.json()["error"].is_string(), code != 0, "{command}: {ran:?}");
    ran
}

/// Standard output is one object on one line, and these fields are in it.
#[track_caller]
fn assert_object(ran: &Ran, fields: &[&str]) {
    let object = ran.json();
    assert!(ran.stdout.ends_with("}\n") && ran.stdout.lines().count() == 1, "{ran:?}");
    for field in fields {
        assert!(object.as_object().unwrap().contains_key(*field), "no {field}: {ran:?}");
    }
}
