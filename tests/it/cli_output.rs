//! What the command line says is so: output that is lost is a failure, a plan is what the build does, and a
//! command in a wrong directory leaves nothing behind.

use std::fs::File;
use std::process::Stdio;

use crate::support::{self, World};

#[test]
fn output_that_cannot_be_written_fails_with_one_line_and_a_closed_pipe_does_not() {
    let world = World::with_people(3);
    world.build();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["plan"],
        &["plan", "--json"],
        &["config"],
        &["history"],
        &["verify", "--json"],
        &["sweep"],
        &["build", "--json"],
        &["search", "a person", "--json"],
        &["--help"],
        &["--version"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child = world.command(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let ran = support::ended(child);

        assert_eq!((ran.code, ran.stderr.lines().count()), (1, 1), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("No space left on device"), "{arguments:?}: {ran:?}");

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = world.command(arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let ran = support::ended(child);

        assert_eq!((ran.code, &*ran.stderr), (0, ""), "{arguments:?}: a closed pipe");
    }
}

#[test]
fn a_failure_keeps_its_exit_code_where_its_output_is_lost() {
    let world = World::with_people(3);
    world.settings("[guard]\nmax_texts = 1\n");
    let full = File::options().write(true).open("/dev/full").unwrap();

    let child = world.command(&["build", "--json"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let ran = support::ended(child);

    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("guard.max_texts") && ran.stderr.contains("No space left"), "{ran:?}");
}

#[test]
fn a_failure_that_cannot_be_printed_keeps_its_exit_code() {
    let world = World::new();
    let full = || File::options().write(true).open("/dev/full").unwrap();

    let child = world.command(&["verify"]).stdout(full()).stderr(full()).spawn().unwrap();

    assert_eq!(support::ended(child).code, 1);
}

#[test]
fn a_plan_counts_the_requests_that_the_build_then_makes() {
    for (settings, requests, costs) in [
        ("[embedding]\nprovider = \"local\"\n", 3, false),
        ("[embedding]\nbatch_size = 7\n", 6, true),
        ("[embedding]\nitems_per_minute = 20\nbatch_size = 40\n", 2, true),
    ] {
        let world = World::with_people(40);
        world.settings(settings);
        let command = |arguments: &[&str]| {
            let mut command = world.command(arguments);
            if !costs {
                command.env_remove("OUTPUT_DIM");
            }
            command
        };

        let plan = support::run(&mut command(&["plan", "--json"]));
        let table = support::run(&mut command(&["plan"]));

        assert_eq!(plan.number("requests"), requests, "{settings}: {plan:?}");
        assert_eq!((plan.number("estimated_tokens") > 0, table.stdout.contains("tokens")), (costs, costs));
        if !settings.contains("minute") {
            let built = support::run(&mut command(&["build", "--json"]));
            assert_eq!((built.code, built.number("requests")), (0, requests), "{settings}: {built:?}");
        }
    }
}

#[test]
fn a_command_in_a_wrong_directory_leaves_nothing_behind() {
    let world = World::new();
    let elsewhere = world.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    for (arguments, code, message) in [
        (&["build"][..], 1, "data/experts.db does not exist"),
        (&["build", "--json"], 1, "data/experts.db does not exist"),
        (&["build", "--full"], 1, "data/experts.db does not exist"),
        (&["rollback"], 1, "data/experts.db does not exist"),
        (&["rollback", "--release"], 0, ""),
        (&["sweep"], 0, ""),
        (&["plan"], 1, "data/experts.db does not exist"),
        (&["status"], 0, ""),
        (&["history"], 0, ""),
        (&["verify"], 1, "nothing is served yet"),
    ] {
        let ran = support::run(world.command(arguments).current_dir(&elsewhere));

        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(message), "{arguments:?}: {ran:?}");
        assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0, "{arguments:?}");
    }
}

#[test]
fn a_missing_database_is_recorded_where_builds_are() {
    let world = World::with_people(3);
    world.build();
    std::fs::rename(world.database(), world.path("data/elsewhere.db")).unwrap();

    let ran = world.run(&["build", "--json"]);
    let status = world.run(&["status", "--json"]).json();

    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(status["last_attempt"]["outcome"], "failed", "{status}");
}

#[test]
fn tags_that_are_the_word_null_are_counted_and_reported_where_they_are_all() {
    let world = World::with_people(3);
    world.sql("UPDATE experts SET tags = 'null' WHERE id < 3");
    let some = world.run(&["plan"]);
    let built = world.run(&["build"]);
    let unchanged = world.run(&["status"]);
    world.sql("UPDATE experts SET tags = ' null '");
    let all = world.run(&["plan", "--json"]);
    let warned = world.run(&["build"]);

    let note = "some indexed rows, 2 of 3, have the JSON word null as tags, which counts as tagged";
    assert!(some.stdout.contains(note), "{some:?}");
    assert_eq!((built.code, built.stderr.contains("null")), (0, false), "{built:?}");
    assert!(unchanged.stdout.contains(note), "{unchanged:?}");
    assert_eq!((all.code, all.number("null_tags")), (0, 3), "{all:?}");
    assert!(warned.stderr.contains("all indexed rows, 3 of 3, have the JSON word null"), "{warned:?}");
}

#[test]
fn durations_of_flags_are_written_as_those_of_settings() {
    let world = World::with_people(3);
    world.build();
    for age in ["1d", "90m", "1h 30m", "0s", "2w"] {
        assert_eq!(world.run(&["status", "--check", "--max-age", age]).code, 0, "{age}");
    }
    for age in ["1", "soon", "-1d", "1mo", ""] {
        let ran = world.run(&["status", "--check", &format!("--max-age={age}")]);

        assert_eq!(ran.code, 2, "{age}: {ran:?}");
        assert!(ran.stderr.contains("expected a duration, such as 30s, 1h 30m or 1d"), "{age}: {ran:?}");
    }
    world.settings("[trigger]\nmax_wait = \"1d\"\n");
    assert!(world.run(&["config"]).stdout.contains("24h"), "a day is allowed where 24h is");
}

#[test]
fn certificates_that_cannot_be_read_add_no_lines_to_a_build_that_needs_none() {
    let world = World::with_people(3);
    let folder = world.path("certificates");
    std::fs::create_dir(&folder).unwrap();
    for name in ["a.pem", "b.pem"] {
        std::fs::write(folder.join(name), "-----BEGIN CERTIFICATE-----\nno base64!\n").unwrap();
    }
    let ran = support::run(world.command(&["build"]).env("SSL_CERT_DIR", &folder));
    assert_eq!((ran.code, &*ran.stderr), (0, ""), "{ran:?}");
}
