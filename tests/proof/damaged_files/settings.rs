//! Settings, `.env` and the key file, damaged in every way: refused by name, and a running agent keeps the
//! settings that it has.

use std::path::PathBuf;

use rustix::process::Signal;

use super::bounded_run::{assert_named, checked_as};
use super::damage::{self, Damage};
use crate::support::World;
use crate::{report, sampling};

const SETTINGS: &str =
    "[trigger]\nquiet = \"200ms\"\nmarker_quiet = \"50ms\"\n[embedding]\napi_key_file = \"key\"\n";
/// Commands that read every setting and send nothing.
const READ_ONLY_COMMANDS: [&[&str]; 3] = [&["config", "--json"], &["plan", "--json"], &["status", "--json"]];

/// A file that is read before a command starts its work.
struct InputFile {
    name: &'static str,
    holds: String,
    /// Names of which one must be in every message about it.
    named: [&'static str; 3],
    /// Whether a command accepts that it is missing.
    may_be_absent: bool,
}

impl InputFile {
    fn all(world: &World) -> [Self; 3] {
        let dotenv = format!("DATABASE_URL=sqlite:///{}\nOUTPUT_DIM=32\n", world.database().display());
        [
            Self {
                name: "reindexd.toml",
                holds: SETTINGS.to_owned(),
                named: ["reindexd.toml", "key", "key"],
                may_be_absent: true,
            },
            Self {
                name: "key",
                holds: "a-key-of-thirty-characters-000\n".to_owned(),
                named: ["key"; 3],
                may_be_absent: false,
            },
            Self {
                name: ".env",
                holds: dotenv,
                named: [".env", "DATABASE_URL", "OUTPUT_DIM"],
                may_be_absent: true,
            },
        ]
    }

    /// Whether it cannot be read at all, so that no command may continue without it.
    fn is_unreadable(&self, damage: Damage) -> bool {
        match damage {
            Damage::Garbage
            | Damage::Fifo
            | Damage::Socket
            | Damage::LinkToZero
            | Damage::Loop
            | Damage::Zeros
            | Damage::LongTail => true,
            Damage::Gone | Damage::Dangling => !self.may_be_absent,
            // Some users have a Python environment in a directory of that name.
            Damage::Directory => self.name != ".env",
            Damage::Cut(_) | Damage::Flipped(_) | Damage::Grown | Damage::Swapped | Damage::LinkOut => false,
        }
    }
}

#[test]
fn settings_damaged_in_any_way_are_refused_by_name_or_mean_what_they_say() {
    let world = World::in_memory();
    world.add_people(1..=3);
    world.build();
    let outside = world.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("other"), "x = 1\n").unwrap();
    let (mut cases, mut refused) = (0, 0);
    for file in InputFile::all(&world) {
        // The settings file and the key that it names exist together; `.env` is read only without them.
        let together = if file.name == ".env" { 2..3 } else { 0..2 };
        let path = world.path(file.name);
        std::fs::write(&path, &file.holds).unwrap();
        let damages = sampling::thinned(Damage::all_to(&path), 4);
        for damage in damages {
            for whole in &InputFile::all(&world)[together.clone()] {
                damage::remove(&world.path(whole.name));
                std::fs::write(world.path(whole.name), &whole.holds).unwrap();
            }
            damage.apply(&path, &outside.join("other"), &outside);
            let what = format!("{} {damage:?}", file.name);
            for arguments in READ_ONLY_COMMANDS {
                let mut command = world.command(arguments);
                if file.name == ".env" {
                    command.env_remove("DATABASE_URL").env_remove("OUTPUT_DIM");
                }
                let ran = checked_as(None, &command, &what);
                // What may be readable later is worth another start.
                let refusal = if damage.is_unreadable() { 1 } else { 2 };
                let is_refused = ran.code == refusal;
                if is_refused {
                    assert_named(&ran, &file.named.map(str::to_owned), &what);
                    refused += 1;
                }
                // A command that embeds nothing needs no key.
                let needed = file.name != "key" || arguments[0] == "config";
                assert!(is_refused || !needed || !file.is_unreadable(damage), "{what}: {ran:?}");
            }
            cases += 1;
        }
        for name in ["reindexd.toml", "key", ".env"] {
            damage::remove(&world.path(name));
        }
    }
    report::report_line(
        "damaged_files",
        &format!(
            "settings, .env and key: {cases} cases, {refused} of {} commands refused",
            cases * READ_ONLY_COMMANDS.len()
        ),
    );
}

#[test]
fn agent_that_reloads_unreadable_settings_continues_with_those_it_has() {
    let world = World::in_memory();
    world.add_people([1]);
    let agent =
        world.agent_with("quiet = \"100ms\"\nmax_wait = \"1s\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\n");
    agent.wait_for_promotions(1);
    let (path, outside): (PathBuf, PathBuf) = (world.path("reindexd.toml"), world.path("outside"));
    std::fs::create_dir(&outside).unwrap();
    let good = std::fs::read(&path).unwrap();
    let unreadable = [
        Damage::Garbage,
        Damage::Zeros,
        Damage::Directory,
        Damage::Fifo,
        Damage::Socket,
        Damage::LinkToZero,
        Damage::Loop,
        Damage::LongTail,
        Damage::Cut(5),
    ];
    for (nth, damage) in (1..).zip(unreadable) {
        damage::remove(&path);
        std::fs::write(&path, &good).unwrap();
        damage.apply(&path, &path, &outside);

        agent.signal(Signal::HUP);
        agent.wait_for(&format!("{damage:?}"), || {
            agent.logged("settings: refused, the previous ones stay") == nth
        });

        let person = u32::try_from(nth).unwrap() + 1;
        world.add_people([person]);
        agent.wait_for_records(&world, person as usize);
    }
    agent.stop();
    report::report_line(
        "damaged_files",
        &format!("SIGHUP: {} unreadable files, after each the agent continues", unreadable.len()),
    );
}
