//! The settings file as a host has it: read or not, and from whichever directory a command is run.

use std::os::unix::fs::symlink;

use crate::support::World;

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
