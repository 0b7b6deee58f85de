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
