//! The settings file as a host has it: read or not, and from whichever directory a command is run.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::{World, run};

/// Commands that read the settings and the key.
const COMMANDS: [&str; 4] = ["build", "run", "search question", "config"];

#[test]
fn settings_that_cannot_be_read_end_with_1_and_wrong_ones_with_2() {
    // A link to itself can never be opened, for root neither: it stands for every error but a missing file.
    let looped = |world: &World, name: &str| symlink(name, world.path(name)).unwrap();
    let wrong = |world: &World, name: &str| std::fs::write(world.path(name), "= \"two words\"\n").unwrap();
    for (file, fails, code) in [
        ("reindexd.toml", &looped as &dyn Fn(&World, &str), 1),
        ("reindexd.toml", &wrong, 2),
        ("key", &looped, 1),
        ("key", &wrong, 2),
    ] {
        let world = World::with_people(2);
        if file == "key" {
            world.settings("[embedding]\napi_key_file = \"key\"\n");
        }
        fails(&world, file);
        for command in COMMANDS {
            let ran = world.run(&command.split(' ').collect::<Vec<_>>());

            let case = format!("{command}, {file}: {ran:?}");
            assert_eq!(ran.code, code, "{case}");
            assert!(ran.stderr.contains(file), "{case}");
            assert_eq!(ran.stderr.contains("cannot be read; nothing is known"), code == 1, "{case}");
        }
        assert_eq!((world.provider.text_count(), world.path("data/builds").exists()), (0, false), "{file}");
    }
}

#[test]
fn with_a_directory_in_the_settings_a_command_means_the_same_place_from_anywhere() {
    let world = World::with_people(3);
    let elsewhere = world.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let settings = world.path("etc.toml");
    std::fs::write(&settings, format!("directory = \"{}\"\n", world.path("").display())).unwrap();
    let from = |directory: &Path, arguments: &[&str]| {
        let mut command = world.command(arguments);
        command.arg("--config").arg(&settings).current_dir(directory).env_remove("DATABASE_URL");
        run(&mut command)
    };

    let built = from(&elsewhere, &["build", "--json"]);
    assert_eq!(built.code, 0, "{built:?}");
    assert_eq!(world.served(), Some(built.text("build")), "below the directory of the settings");

    for directory in [&elsewhere, &world.path(""), Path::new("/")] {
        let status = from(directory, &["status", "--check", "--json"]);
        assert_eq!((status.code, &status.json()["drift"]["changes"]), (0, &false.into()), "{status:?}");
        let unchanged = from(directory, &["build", "--json"]);
        assert_eq!(unchanged.text("outcome"), "unchanged", "the claim is the same: {unchanged:?}");
    }
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing was made there");
}

#[test]
fn status_calls_where_nothing_is_served_and_there_is_no_database() {
    let world = World::new();
    std::fs::remove_file(world.database()).unwrap();

    for age in ["1s", "1h", "52w"] {
        let status = world.run(&["status", "--check", "--max-age", age]);
        assert_eq!(status.code, 1, "{status:?}");
        assert!(status.stdout.contains("does not exist"), "{status:?}");
    }
    assert_eq!(world.run(&["status"]).code, 0, "without --check it only shows");
}
