//! What strangers leave, name and say: it is neither obeyed nor served, and acts on nothing.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::support::agent::Agent;
use crate::support::provider::Fault;
use crate::support::{SOON, World, not_run, run, start};

/// No user of the system.
const STRANGER: u32 = 65534;

#[test]
fn a_settings_file_of_a_stranger_is_refused_before_its_command_runs() {
    let world = World::with_people(1);
    let settings = "[[announce]]\ncommand = [\"touch\", \"owned\"]\n";
    let change = |mode, owner| {
        std::fs::set_permissions(world.path("reindexd.toml"), PermissionsExt::from_mode(mode)).unwrap();
        chown(world.path("reindexd.toml"), owner, owner).unwrap();
    };
    world.settings(settings);
    let status = world.run(&["status", "--json"]);
    assert!(status.text("settings").ends_with("/reindexd.toml"), "{status:?}");
    change(0o646, None);

    let open = world.run(&["build"]);
    let named = world.run(&["build", "--config", "reindexd.toml"]);

    for ran in [open, named] {
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains("reindexd.toml may be written by every user"), "{ran:?}");
    }
    if rustix::process::geteuid().is_root() {
        change(0o644, Some(STRANGER));
        let found = world.run(&["build"]);
        assert_eq!(found.code, 2, "{found:?}");
        assert!(found.stderr.contains("belongs to user 65534, expected root or the caller"), "{found:?}");
        assert_eq!(world.provider.requests().len(), 0);
        assert!(!world.path("owned").exists());

        let named = world.run(&["build", "--config", "reindexd.toml"]);
        assert_eq!(named.code, 0, "an operator may name another user's file: {named:?}");
    } else {
        not_run("only root can give a file to another user");
    }
}

#[test]
fn a_dotenv_a_key_and_a_link_of_strangers_are_refused() {
    if !rustix::process::geteuid().is_root() {
        return not_run("only root can give a file to another user");
    }
    let world = World::with_people(1);
    let write = |name: &str, text: &str, mode| {
        std::fs::write(world.path(name), text).unwrap();
        std::fs::set_permissions(world.path(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    write(".env", "GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:9\n", 0o644);
    chown(world.path(".env"), Some(STRANGER), None).unwrap();
    let dotenv = world.run(&["plan"]);
    std::fs::remove_file(world.path(".env")).unwrap();

    write("elsewhere.toml", "", 0o644);
    std::os::unix::fs::symlink("elsewhere.toml", world.path("reindexd.toml")).unwrap();
    std::os::unix::fs::lchown(world.path("reindexd.toml"), Some(STRANGER), None).unwrap();
    let link = world.run(&["plan"]);
    std::fs::remove_file(world.path("reindexd.toml")).unwrap();

    write("key", "a-key\n", 0o660);
    chown(world.path("key"), None, Some(STRANGER)).unwrap();
    world.settings("[embedding]\napi_key_file = \"key\"\n");
    let key = world.run(&["build"]);

    for (ran, expected) in [
        (dotenv, ".env file .env belongs to user 65534"),
        (link, "settings file reindexd.toml belongs to user 65534"),
        (key, "key file key may be written by group 65534"),
    ] {
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(expected), "{ran:?}");
    }
    assert_eq!(world.provider.requests().len(), 0);
}

#[test]
fn another_database_is_not_served_from_a_directory_unless_it_is_accepted() {
    let world = World::with_people(3);
    world.build();
    let claim = std::fs::read_to_string(world.path("data/.reindexd/claim.json")).unwrap();
    std::fs::copy(world.database(), world.path("staging.db")).unwrap();
    let staging = rusqlite::Connection::open(world.path("staging.db")).unwrap();
    staging.execute_batch("UPDATE experts SET bio = 'Another ' || id").unwrap();
    let (served, sent) = (world.served(), world.provider.requests().len());
    let other =
        |arguments: &[&str]| run(world.command(arguments).env("DATABASE_URL", "sqlite:///staging.db"));

    for arguments in [&["build", "--json"][..], &["rollback", "--json"], &["run"]] {
        let ran = other(arguments);
        assert_eq!(ran.code, 2, "{ran:?}");
        for expected in ["/data/experts.db", "/staging.db", "--accept-source"] {
            assert!(ran.stderr.contains(expected), "{expected}: {ran:?}");
        }
    }
    assert_eq!((world.served(), world.provider.requests().len()), (served, sent), "nothing changed or sent");
    assert!(claim.contains("experts.db"), "{claim}");

    let planned = other(&["plan", "--json"]);
    assert_eq!(planned.code, 0, "{planned:?}");
    let reasons = planned.json()["reasons"].to_string();
    assert!(reasons.contains("would be refused") && reasons.contains("--accept-source"), "{reasons}");
    let status = other(&["status"]);
    assert!(status.stdout.contains("take its directory over"), "{status:?}");

    let accepted = other(&["build", "--json", "--accept-source"]);
    assert_eq!((accepted.code, accepted.number("embedded")), (0, 3), "{accepted:?}");
    assert_eq!(world.run(&["build"]).code, 2, "the directory is the other database's now");
    assert_eq!(other(&["build"]).code, 0);
}

#[test]
fn a_claim_of_version_0_1_0_and_a_moved_directory_ask_no_question() {
    let world = World::with_people(2);
    world.build();
    let path = world.path("data/.reindexd/claim.json");
    let mut claim: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let source = claim.as_object_mut().unwrap().remove("source").expect("a source");
    std::fs::write(&path, claim.to_string()).unwrap();

    world.build();
    let completed: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(completed["source"], source);

    std::fs::rename(world.path("data"), world.path("moved")).unwrap();
    let moved = run(world
        .command(&["build", "--json"])
        .env("DATABASE_URL", "sqlite:///moved/experts.db")
        .env("FAISS_INDEX_PATH", "moved/faiss.index")
        .env("METADATA_PATH", "moved/metadata.json"));
    assert_eq!((moved.code, moved.text("outcome").as_str()), (0, "unchanged"), "{moved:?}");
}

#[test]
fn a_pass_that_failed_claims_no_source() {
    let world = World::with_people(2);
    world.build();
    let path = world.path("data/.reindexd/claim.json");
    let claim = std::fs::read_to_string(&path).unwrap();
    let mut names: serde_json::Value = serde_json::from_str(&claim).unwrap();
    names.as_object_mut().unwrap().remove("source");
    std::fs::write(&path, names.to_string()).unwrap();
    std::fs::write(world.path("wrong.db"), "no database").unwrap();

    let failed = run(world.command(&["build"]).env("DATABASE_URL", "sqlite:///wrong.db"));

    assert_eq!(failed.code, 1, "{failed:?}");
    world.build();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), claim);
}

#[test]
fn row_text_that_a_provider_quotes_is_in_no_log_and_no_state() {
    let quotes: [(&str, fn(&str) -> String); 4] = [
        ("its beginning", |text| text[..60].to_owned()),
        ("as JSON", |text| serde_json::to_string(text).unwrap()),
        ("JSON within JSON", |text| serde_json::to_string(&serde_json::to_string(text).unwrap()).unwrap()),
        ("other white space", |text| text.replace(' ', "\n  ")),
    ];
    for (name, quote) in quotes {
        let world = World::with_people(1);
        world.sql("UPDATE experts SET bio = 'Suffers from \"hereditary\" porphyria, in confidence.'");
        let text = crate::support::text_of(&serde_json::json!({
            "First Name": "First1", "Last Name": "Last1", "Job Title": "Title", "Company": "Company",
            "Bio": "Suffers from \"hereditary\" porphyria, in confidence.", "tags": ["tag", "other"],
        }));
        let message = format!("content not allowed: {}", quote(&text));
        let body =
            serde_json::json!({"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": message}});
        // Another text, which is sent to see whether the provider is well, is taken.
        world.provider.schedule(move |seen| {
            let is_row = seen.texts.iter().any(|text| text.contains("porphyria"));
            (is_row.then(|| Fault::Status(400, body.to_string())), Duration::ZERO)
        });

        let ran = world.run(&["build", "--json"]);

        let state = std::fs::read_to_string(world.path("data/.reindexd/state.json")).unwrap();
        assert_eq!(ran.code, 1, "{name}: {ran:?}");
        assert!(ran.stderr.contains("content not allowed"), "the rest is said, {name}: {ran:?}");
        for secret in ["porphyria", "hereditary", "First1", "Last1"] {
            for found in [&ran.stdout, &ran.stderr, &state] {
                assert!(!found.contains(secret), "{name}: {found}");
            }
        }
    }
}

#[test]
fn row_text_that_a_provider_quotes_in_another_answer_is_in_no_log_and_no_state() {
    let world = World::with_people(2);
    world.settings("[embedding]\nbatch_size = 1\nconcurrency = 1\n");
    world.sql("UPDATE experts SET bio = 'Suffers from porphyria, in confidence.' WHERE id = 1");
    let body = serde_json::json!({"error": {"code": 400, "status": "INVALID_ARGUMENT",
        "message": "content not allowed, as in: suffers from  porphyria, in confidence"}});
    // The first request has the row that the refusal of the second one quotes.
    world.provider.schedule(move |seen| {
        let is_quoted = seen.texts.iter().any(|text| text.contains("porphyria"));
        ((!is_quoted).then(|| Fault::Status(400, body.to_string())), Duration::ZERO)
    });

    let ran = world.run(&["build", "--json"]);

    let state = std::fs::read_to_string(world.path("data/.reindexd/state.json")).unwrap();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("content not allowed, as in:"), "{ran:?}");
    assert!(!format!("{ran:?}{state}").contains("porphyria"), "{ran:?}{state}");
}

#[test]
fn nothing_that_a_stranger_named_acts_on_a_terminal_or_forges_a_line() {
    let world = World::with_people(1);
    world.build();
    let name = "x\u{1b}[31m\u{9b}\u{202e}\u{61c}\n2031-01-01T00:00:00Z  INFO forged.staging";
    let leave = || std::fs::write(world.path("data").join(name), "").unwrap();
    leave();
    let swept = world.run(&["sweep"]);
    leave();
    let agent = world.agent();
    agent.wait_for_log("stale staging removed");
    let log = agent.log();
    agent.stop();
    world.sql(
        "DROP TABLE experts; CREATE VIEW experts AS SELECT * FROM \"x\u{1b}]0;owned\u{7}\n2031- INFO forged\u{61c}\"",
    );
    let plan = world.run(&["plan"]);
    let status = world.run(&["status"]);

    assert!(swept.stdout.contains("forged"), "{swept:?}");
    for said in [swept.stdout, log, plan.stderr, status.stdout] {
        assert!(!said.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{61c}', '\u{7}']), "{said:?}");
        assert!(!said.lines().any(|line| line.starts_with("2031-")), "{said}");
    }
}

#[test]
fn a_log_of_json_shows_foreign_names_as_escapes_and_programs_read_them() {
    let world = World::with_people(1);
    world.settings("[log]\nformat = \"json\"\nlevel = \"debug\"\n");
    world.build();
    let name = "x\u{202e}\u{61c}\u{2028}\u{1b}[31m.staging";
    std::fs::write(world.path("data").join(name), "").unwrap();

    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for_log("stale staging removed");
    let log = agent.log();
    agent.stop();

    assert!(!log.contains(['\u{202e}', '\u{61c}', '\u{2028}', '\u{1b}']), "{log}");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["path"].as_str().is_some_and(|path| path.ends_with(name))), "{log}");
}

#[test]
fn a_file_in_the_databases_place_is_named_by_its_kind_and_not_quoted() {
    let world = World::with_people(1);
    std::fs::write(world.path("key"), "AIza-of-the-service").unwrap();
    std::fs::remove_file(world.database()).unwrap();
    std::os::unix::fs::symlink("../key", world.database()).unwrap();

    for command in ["plan", "build", "status"] {
        let ran = world.run(&[command]);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains("is not a SQLite database: it is text") && !said.contains("AIza"), "{said}");
    }
}

#[test]
fn a_secret_that_a_reload_would_send_unencrypted_is_said() {
    let world = World::with_people(1);
    world.settings("");
    let agent = world.agent();
    agent.wait_for_promotions(1);
    world.settings("[[announce]]\npost = \"http://192.0.2.1/reload\"\ntoken_file = \"hf_abcdefghijkl\"\n");
    agent.signal(Signal::HUP);
    agent.wait_for_log("announce[0].token_file: the token is sent to http://192.0.2.1/reload unencrypted");
    let log = agent.log();
    agent.stop();
    assert!(!log.contains("hf_abcdefghijkl"), "{log}");
}

#[test]
fn all_that_is_published_in_a_setgid_directory_is_readable_by_its_group() {
    const GROUP: u32 = 61_010;
    if !rustix::process::geteuid().is_root() {
        return not_run("only root can give a directory to any group");
    }
    let world = World::with_people(2);
    let change = |mode| {
        chown(world.path("data"), None, Some(GROUP)).unwrap();
        std::fs::set_permissions(world.path("data"), PermissionsExt::from_mode(mode)).unwrap();
    };
    change(0o2770);
    world.build();
    world.add_people([3]);
    let mut strict = std::process::Command::new("sh");
    let program = format!("umask 077; exec {} build", env!("CARGO_BIN_EXE_reindexd"));
    let command = world.command(&[]);
    strict.args(["-c", &program]).current_dir(world.path("")).env_clear();
    strict.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let built = run(&mut strict);

    assert_eq!(built.code, 0, "{built:?}");
    let mut folders = vec![world.path("data/builds")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        let meta = folder.metadata().unwrap();
        assert_eq!((meta.gid(), meta.mode() & 0o7777), (GROUP, 0o2750), "{}", folder.display());
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let meta = entry.metadata().unwrap();
                assert_eq!((meta.gid(), meta.mode() & 0o7777), (GROUP, 0o440), "{:?}", entry.path());
                files += 1;
            }
        }
    }
    assert_eq!(files, 8);
}

#[test]
fn the_group_and_the_mode_of_the_settings_are_given_to_all_that_is_published() {
    if !rustix::process::geteuid().is_root() {
        return not_run("only root can give a file to any group");
    }
    let world = World::with_people(2);
    world.build();
    let publish = |lines: &str| world.settings(&format!("[publish]\n{lines}\n"));

    publish("group = \"61010\"\nmode = \"0444\"");
    let closed = world.run(&["build", "--full"]);
    assert_eq!(closed.code, 1, "{closed:?}");
    assert!(closed.stderr.contains("data/builds has mode 0750, publish.mode needs 0755"), "{closed:?}");
    assert!(closed.stderr.contains("chmod 0755"), "{closed:?}");
    std::fs::set_permissions(world.path("data/builds"), PermissionsExt::from_mode(0o755)).unwrap();
    world.add_people([3]);
    let build = world.build().text("build");

    let directory = world.path("data/builds").join(&build);
    for (path, mode) in [(world.path("data/builds"), 0o755), (directory.clone(), 0o755)] {
        let meta = path.metadata().unwrap();
        assert_eq!((meta.gid(), meta.mode() & 0o7777), (61_010, mode), "{}", path.display());
    }
    let files =
        ["faiss.index", "metadata.json", "manifest.json", "hashes.bin"].map(|name| directory.join(name));
    for path in files.into_iter().chain([world.path("data/served.json")]) {
        let meta = path.metadata().unwrap();
        assert_eq!((meta.gid(), meta.mode() & 0o7777), (61_010, 0o444), "{}", path.display());
    }
    for (lines, expected) in [
        ("group = \"no-such-group\"", "publish.group"),
        ("mode = \"0640\"", "publish.mode"),
        ("mode = \"440\"", "publish.mode"),
    ] {
        publish(lines);
        let refused = world.run(&["build"]);
        assert!(refused.code == 2 && refused.stderr.contains(expected), "{lines}: {refused:?}");
    }
}

#[test]
fn a_group_that_cannot_be_given_is_named_before_anything_is_sent() {
    use std::os::unix::process::CommandExt;
    if !rustix::process::geteuid().is_root() {
        return not_run("only root can become a user without a group");
    }
    let world = World::with_people(2);
    for folder in ["", "data"] {
        chown(world.path(folder), Some(STRANGER), Some(STRANGER)).unwrap();
    }
    world.settings("[publish]\ngroup = \"root\"\n");

    let refused = run(world.command(&["build"]).uid(STRANGER).gid(STRANGER));

    assert_eq!(refused.code, 1, "{refused:?}");
    for expected in ["publish.group is root (0)", "usermod -aG", "PrivateUsers=no"] {
        assert!(refused.stderr.contains(expected), "{expected}: {refused:?}");
    }
    assert_eq!(world.provider.requests().len(), 0);
}

#[test]
fn nothing_is_written_through_a_link_in_the_place_of_a_file_of_ours() {
    let names = [
        "data/builds",
        "data/.reindexd",
        "data/.reindexd/lock",
        "data/.reindexd/notes.lock",
        "data/.reindexd/agent.lock",
        "data/.reindexd/pass.json",
        "data/.reindexd/agent.json",
        "data/.reindexd/state.json",
        "data/.reindexd/claim.json",
        "data/.reindexd/claim.json.staging",
        "data/.reindexd/embeddings.sqlite",
        "data/served.json",
        "data/served.json.staging",
    ];
    for name in names {
        let world = World::with_people(2);
        let theirs = world.path("theirs");
        std::fs::create_dir(&theirs).unwrap();
        std::fs::create_dir_all(world.path(name).parent().unwrap()).unwrap();
        let (target, is_directory) = match name {
            "data/builds" | "data/.reindexd" => (theirs.clone(), true),
            _ => (theirs.join("file"), false),
        };
        if !is_directory {
            std::fs::write(&target, "theirs").unwrap();
            std::fs::set_permissions(&target, PermissionsExt::from_mode(0o644)).unwrap();
        }
        std::os::unix::fs::symlink(&target, world.path(name)).unwrap();

        world.run(&["build"]);
        let mut agent = Agent::start(&mut world.command(&["run"]));
        agent.wait_for("a pass or the agent has ended", || {
            ["outcome=", "reindexd: "].iter().any(|said| agent.log().contains(said))
        });
        if !agent.is_over() {
            agent.signal(Signal::TERM);
        }
        agent.ended(SOON);

        let found: Vec<_> = std::fs::read_dir(&theirs).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(found.len(), usize::from(!is_directory), "{name}: {found:?}");
        if !is_directory {
            assert_eq!(std::fs::read_to_string(&target).unwrap(), "theirs", "{name}");
            let meta = target.metadata().unwrap();
            assert_eq!(meta.mode() & 0o7777, 0o644, "{name}");
        }
    }
}

#[test]
fn a_process_that_holds_the_key_leaves_no_core() {
    use std::os::unix::process::ExitStatusExt;
    let world = World::with_people(1);
    world.provider.hold();
    let program = format!("ulimit -c unlimited && exec {} build", env!("CARGO_BIN_EXE_reindexd"));
    let command = world.command(&[]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &program]).current_dir(world.path("")).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = start(&mut shell);
    assert!(world.provider.wait_for_requests(1, SOON));

    rustix::process::kill_process(Pid::from_child(&child), Signal::ABORT).unwrap();
    let status = child.wait().unwrap();
    world.provider.release();

    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status:?}");
    assert!(!status.core_dumped(), "{status:?}");
}
