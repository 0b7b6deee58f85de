//! A command that receives builds: what it is given, how long it may run, where its output goes.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::World;
use crate::support::agent::Agent;

const TRIGGERS: &str = "quiet = \"200ms\"\nmax_wait = \"2s\"\nresync = \"1h\"\n";

/// Whether a process runs: one that was killed and not yet waited for does not.
fn is_alive(pid: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn a_command_sees_the_build_and_a_clean_environment() {
    let world = World::with_people(2);
    world.settings(&format!("[trigger]\n{TRIGGERS}{}", world.command_log_settings("/usr/bin/env > env")));
    let secrets = ["OPENAI_API_KEY", "GEMINI_API_KEY", "CREDENTIALS_DIRECTORY", "OTHER_SECRET"];
    let mut command = world.command(&["run"]);
    command.env("PATH", "/usr/bin:/bin").env("LC_TIME", "C");
    command.envs(secrets.map(|name| (name, "/nowhere")));

    let agent = Agent::start(&mut command);
    agent.wait_for("it is delivered", || agent.logged("INFO announced") == 1);
    agent.stop();

    let build = world.served().unwrap();
    let directory = world.path("data/builds").join(&build);
    let mut env: Vec<_> = world
        .lines("env")
        .into_iter()
        .filter(|line| !["PWD=", "SHLVL=", "_="].iter().any(|own| line.starts_with(own)))
        .collect();
    env.sort();
    let [inherited @ .., named, lies] = &env[..] else { panic!("{env:?}") };
    assert_eq!(inherited, ["LC_TIME=C", "PATH=/usr/bin:/bin"]);
    assert_eq!(*named, format!("REINDEXD_BUILD={build}"));
    assert_eq!(*lies, format!("REINDEXD_BUILD_DIR={}", directory.display()));
}

#[test]
fn no_shell_stands_between_the_settings_and_a_command() {
    let world = World::with_people(2);
    let program = world.path("notify api");
    std::fs::write(&program, "#!/bin/sh\nprintf '%s\\n' \"$@\" > arguments\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let argv = r#"["./notify api", "two words", "$HOME", "*; touch gone-wrong", ""]"#;
    world.settings(&format!("[[announce]]\ncommand = {argv}\n"));

    world.build();

    assert_eq!(world.lines("arguments"), ["two words", "$HOME", "*; touch gone-wrong", ""]);
    assert!(!world.path("gone-wrong").exists());
}

#[test]
fn what_a_command_prints_is_in_the_log_and_one_that_fails_is_run_again() {
    let world = World::with_people(2);
    let script = "test -f ready || { echo loading; echo busy >&2; exit 3; }; echo reloaded";
    let agent = world.agent_with(&format!("{TRIGGERS}{}", world.command_log_settings(script)));
    agent.wait_for_log(r"expected exit status 0, found exit status: 3; output: loading\nbusy");

    std::fs::write(world.path("ready"), "").unwrap();
    agent.wait_for("it is delivered", || agent.logged("INFO announced") == 1);

    assert_eq!(agent.logged("output=\"reloaded\""), 1, "{}", agent.log());
    let received = world.lines("received");
    let served = world.served();
    assert!(
        received.len() >= 2 && received.iter().all(|build| Some(build) == served.as_ref()),
        "{received:?}"
    );
    agent.stop();
}

#[test]
fn a_command_that_overruns_is_killed_with_all_it_started_and_delays_no_build() {
    let world = World::with_people(2);
    let script = "sleep 600 & echo $! >> sleepers; echo begun; wait";
    let target = format!("{}timeout = \"300ms\"\n", world.command_log_settings(script));
    let agent = world.agent_with(&format!("{TRIGGERS}{target}"));
    agent.wait_for_log(
        "expected to end within 300ms, found it running; killed it and all that it started; output: begun",
    );

    world.add_people([3]);
    agent.wait_for_promotions(2);
    let newest = world.served();
    agent.wait_for("the newer build is delivered", || world.lines("received").last() == newest.as_ref());

    agent.wait_for("none of its processes is left", || {
        !world.lines("sleepers").iter().any(|pid| is_alive(pid))
    });
    agent.stop();
}

#[test]
fn a_program_that_is_not_there_is_named_and_fails_no_build() {
    let world = World::with_people(2);
    world.settings("[[announce]]\ncommand = [\"/nowhere/notify-api\"]\n");

    let ran = world.build();

    assert_eq!(ran.text("outcome"), "promoted");
    assert!(
        ran.stderr.contains("announce command /nowhere/notify-api: cannot be run: No such file"),
        "{ran:?}"
    );
}

#[test]
fn a_command_that_runs_on_ends_with_the_agent() {
    let world = World::with_people(1);
    let target = world.command_log_settings("echo $$ > pid; exec sleep 600");
    let mut agent = world.agent_with(&format!("{TRIGGERS}{target}"));
    agent.wait_for("the command runs", || !world.lines("pid").is_empty());
    let command = world.lines("pid")[0].clone();

    agent.signal(Signal::TERM);
    let code = agent.ended(Duration::from_secs(5));

    assert_eq!(code, 0, "{}", agent.log());
    assert!(!is_alive(&command), "the command is still there");
}
