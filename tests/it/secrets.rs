//! The API key: from every place where it can be configured, it goes to the provider and nowhere else.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::agent::Agent;
use crate::support::provider::Fault;
use crate::support::{self, Ran, World};

/// Nothing else in a test's folder or in the program contains this text.
const KEY: &str = "AIzaSy-Th1s.1s~the-K3Y";

const EVERY_COMMAND: [&[&str]; 13] = [
    &["plan"],
    &["build"],
    &["build", "--full"],
    &["build", "--rebuy"],
    &["status"],
    &["verify"],
    &["history"],
    &["search", "who has the tag"],
    &["rollback"],
    &["rollback", "--release"],
    &["sweep"],
    &["config"],
    &["plan", "--check"],
];

#[test]
fn no_command_writes_the_key_or_a_text_anywhere_even_at_log_level_trace() {
    for provider in ["gemini", "openai"] {
        let world = World::with_people(5);
        world.provider.excuse_money("each command has a directory of its own");
        let set = with_key(&world, provider);
        for json in [false, true] {
            for arguments in EVERY_COMMAND {
                let mut command = world.command(arguments);
                command.args(json.then_some("--json"));

                let ran = support::run(set(&mut command));

                assert!(ran.code <= 1, "{arguments:?}: {ran:?}");
                assert!(
                    !arguments.contains(&"--rebuy") || ran.stderr.contains("TRACE"),
                    "{arguments:?}: {ran:?}"
                );
                assert_silent(&ran, KEY);
                // Only an answer to a question shows texts, and on standard output.
                assert!(!ran.stderr.contains("Bio of person"), "{arguments:?}: {ran:?}");
            }
        }
        let asked = world.provider.requests();

        assert!(asked.len() >= 4 && asked.iter().all(|seen| seen.key() == Some(KEY)), "{provider}");
        assert!(asked.iter().all(|seen| !seen.path.contains(KEY)), "no address contains the key");
        assert_eq!(files_with(&world, KEY), [world.path("provider.key")], "{provider}");
    }
}

#[test]
fn the_agent_at_log_level_trace_writes_neither_the_key_nor_a_text_nor_a_vector() {
    for format in ["text", "json"] {
        let world = World::with_people(5);
        world.settings(&format!(
            "[trigger]\nquiet = \"100ms\"\nmax_wait = \"1s\"\n[log]\nlevel = \"trace\"\nformat = \"{format}\"\n"
        ));
        let mut command = world.command(&["run"]);
        let agent = Agent::start(command.env("GOOGLE_API_KEY", KEY));
        agent.wait_for("the first build", || world.served().is_some());
        let first = world.served();
        world.provider.script([Fault::ServerError(503), Fault::KeyEchoed]);
        world.add_people([6]);
        agent.wait_for("the key to be refused", || world.provider.script_left() == 0);
        agent.wait_for("the failure to be logged", || agent.logged("Incorrect API key provided: ***.") > 0);

        let log = agent.log();
        agent.stop();

        assert_eq!(world.served(), first);
        assert!(log.contains("TRACE"), "without the trace level this proves nothing");
        assert!(!log.contains(KEY) && !log.contains("Bio of person") && !log.contains("\"values\""), "{log}");
        assert_eq!(files_with(&world, KEY), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_provider_that_repeats_the_key_in_its_message_is_quoted_without_it() {
    let world = World::with_people(3);
    let set = with_key(&world, "gemini");
    world.provider.always(Some(Fault::KeyEchoed));

    let failed = support::run(set(&mut world.command(&["build", "--json"])));
    let status = support::run(set(&mut world.command(&["status", "--json"])));
    let history = support::run(set(&mut world.command(&["history"])));

    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.text("error").contains("Incorrect API key provided: ***."), "{failed:?}");
    assert!(status.stdout.contains("***") && history.stdout.contains("***"), "the attempt is recorded");
    for ran in [failed, status, history] {
        assert_silent(&ran, KEY);
    }
    assert_eq!(files_with(&world, KEY), [world.path("provider.key")]);
}

#[test]
fn the_key_comes_from_the_file_before_the_credential_before_the_environment() {
    let world = World::with_people(1);
    world.provider.excuse_money("each key has a directory of its own");
    std::fs::write(world.path("key.txt"), "  from-the-file\n").unwrap();
    std::fs::create_dir(world.path("credentials")).unwrap();
    std::fs::write(world.path("credentials/embedding-api-key"), "from-the-credential\n").unwrap();
    let file = "[embedding]\napi_key_file = \"key.txt\"\n";
    let variables = [("GOOGLE_API_KEY", "from-google"), ("GEMINI_API_KEY", "from-gemini")];
    let cases = [
        (file, true, &variables[..], "from-the-file", "key file key.txt"),
        ("", true, &variables[..], "from-the-credential", "credential"),
        ("", false, &variables[..], "from-google", "environment GOOGLE_API_KEY"),
        ("", false, &variables[1..], "from-gemini", "environment GEMINI_API_KEY"),
    ];
    for (settings, credential, variables, expected, origin) in cases {
        world.settings(settings);
        let set = |command: &mut Command| {
            command.env_remove("GOOGLE_API_KEY").envs(variables.iter().copied());
            command.envs(credential.then(|| ("CREDENTIALS_DIRECTORY", world.path("credentials"))));
            support::run(command)
        };

        let config = set(&mut world.command(&["config", "--json"]));
        let built = set(&mut world.command(&["build", "--rebuy", "--json"]));

        let setting = config.json()["settings"]["embedding.api_key"].clone();
        assert_eq!((setting["value"].as_str(), setting["origin"].as_str()), (Some("***"), Some(origin)));
        assert_eq!(built.code, 0, "{built:?}");
        assert_eq!(world.provider.requests().last().unwrap().key(), Some(expected));
        assert_silent(&config, expected);
    }
}

#[test]
fn a_pass_that_embeds_nothing_needs_no_key_and_others_say_where_they_searched() {
    let world = World::with_people(3);
    world.build();
    let without = |arguments: &[&str]| support::run(world.command(arguments).env_remove("GOOGLE_API_KEY"));

    let unchanged = without(&["build", "--json"]);
    world.sql("UPDATE experts SET hourly_rate = 7 WHERE id = 1");
    let metadata_only = without(&["build", "--json"]);
    world.add_people([4]);
    let refused = without(&["build", "--json"]);

    assert_eq!((unchanged.code, unchanged.text("outcome")), (0, "unchanged".to_owned()));
    assert_eq!((metadata_only.code, metadata_only.number("metadata_only")), (0, 1));
    assert_eq!((refused.code, refused.text("outcome")), (2, "failed".to_owned()), "{refused:?}");
    for place in ["api_key_file", "embedding-api-key", "GOOGLE_API_KEY or GEMINI_API_KEY"] {
        assert!(refused.text("error").contains(place), "{refused:?}");
    }
}

#[test]
fn a_key_in_the_wrong_place_is_refused_and_not_repeated() {
    let two_lines = format!("{KEY}\nsecond line of {KEY}\n");
    let cases = [
        (format!("[embedding]\napi_key = \"{KEY}\"\n"), "unknown key embedding.api_key"),
        (format!("[embedding]\napi_key_file = \"{}\"\n", KEY.replace('.', "-")), "never the key itself"),
        (
            format!("[embedding]\nbase_url = \"http://user:{KEY}@127.0.0.1/\"\n"),
            "without user name or password",
        ),
        (format!("[embedding]\nbase_url = \"http://127.0.0.1/?key={KEY}\"\n"), "without ?query"),
        ("[embedding]\napi_key_file = \"two-lines.key\"\n".to_owned(), "two-lines.key"),
        ("[embedding]\napi_key_file = \"empty.key\"\n".to_owned(), "is empty, expected a key"),
        ("[embedding]\napi_key_file = \"absent.key\"\n".to_owned(), "does not exist"),
    ];
    for (settings, message) in cases {
        let world = World::with_people(1);
        std::fs::write(world.path("two-lines.key"), &two_lines).unwrap();
        std::fs::write(world.path("empty.key"), "\n").unwrap();
        world.settings(&settings);

        let mut command = world.command(&["build", "--json"]);
        let ran = support::run(command.env_remove("GOOGLE_API_KEY").env_remove("GOOGLE_GEMINI_BASE_URL"));

        assert_eq!(ran.code, 2, "{settings}: {ran:?}");
        assert!(ran.text("error").contains(message), "{settings}: {ran:?}");
        assert_silent(&ran, KEY);
        assert_silent(&ran, &KEY.replace('.', "-"));
    }
}

/// Writes settings with the key in a file and the level trace; returns what prepares a command for them.
fn with_key(world: &World, provider: &str) -> impl Fn(&mut Command) -> &mut Command {
    std::fs::write(world.path("provider.key"), format!("{KEY}\n")).unwrap();
    let log = "[log]\nlevel = \"trace\"\n";
    let key = "api_key_file = \"provider.key\"\n";
    if provider == "gemini" {
        world.settings(&format!("[embedding]\n{key}{log}"));
    } else {
        world.ask_openai(log);
        let settings = std::fs::read_to_string(world.path("reindexd.toml")).unwrap();
        world.settings(&settings.replace("openai.key", "provider.key"));
    }
    |command| command.env_remove("GOOGLE_API_KEY")
}

#[track_caller]
fn assert_silent(ran: &Ran, secret: &str) {
    assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{secret} is printed: {ran:?}");
}

/// Every file in the world's folder that contains a text.
fn files_with(world: &World, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![world.path("")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() && has(&entry.path(), text) => found.push(entry.path()),
                _ => (),
            }
        }
    }
    found
}

fn has(path: &Path, text: &str) -> bool {
    std::fs::read(path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes())
}
