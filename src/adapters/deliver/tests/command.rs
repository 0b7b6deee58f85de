//! Commands: their environment, arguments and output, and what is left of them.

use std::fs;

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use super::*;
use crate::adapters::deliver::command::{PASSED_VARIABLES, passed_variables};

fn shell(script: &str) -> AnnounceSettings {
    command_settings(&["/bin/sh", "-c", script])
}

fn is_alive(pid: &str) -> bool {
    // A killed process that was not waited for yet is still listed, without a command line.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// A script that starts a long sleep in the background, writes the sleep's pid to the file, and goes on.
fn with_sleeper(then: &str) -> (TempDir, PathBuf, AnnounceSettings) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script =
        format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; echo begun; {then}", file.display());
    (directory, file, shell(&script))
}

fn pid_in(file: &Path) -> String {
    fs::read_to_string(file).unwrap().trim().to_owned()
}

#[test]
fn a_target_has_the_name_that_0_1_0_recorded() {
    let named = |argv: &[&str]| {
        let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
        CommandTarget::new(&argv, &command_settings(&[])).name().to_owned()
    };
    assert_eq!(named(&["/bin/true"]), "command /bin/true");
    assert_eq!(named(&["/bin/false", "always"]), "command /bin/false always");
}

#[tokio::test]
async fn a_command_gets_its_arguments_unchanged_and_its_output_is_kept_in_order() {
    let target =
        command_settings(&["/bin/sh", "-c", r#"echo "$0" "$1"; echo err >&2; echo out"#, "a  b", "$HOME;*"]);

    assert_eq!(output(deliver(&target).await), r"a  b $HOME;*\nerr\nout");
}

#[tokio::test]
async fn a_command_sees_the_build_and_nothing_else_that_is_ours() {
    let printed = output(deliver(&shell("/usr/bin/env; read line; echo end=$?")).await);

    for line in printed.split(r"\n") {
        let (name, value) = line.split_once('=').unwrap();
        match name {
            "REINDEXD_BUILD" => assert_eq!(value, BUILD),
            "REINDEXD_BUILD_DIR" => assert_eq!(value, "/data/builds/x"),
            "end" => assert_eq!(value, "1", "standard input is empty"),
            "PWD" | "SHLVL" | "_" | "OLDPWD" => (),
            _ => assert!(PASSED_VARIABLES.contains(&name) || name.starts_with("LC_"), "{name}"),
        }
    }
    assert!(printed.contains("REINDEXD_BUILD_DIR="), "{printed}");
}

#[test]
fn no_key_and_no_notify_socket_is_passed_on() {
    let ours =
        ["PATH", "GEMINI_API_KEY", "LC_ALL", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "HOME", "PATHS"];

    let passed = passed_variables(ours.map(|name| (name.into(), "x".into())).into_iter());

    assert_eq!(passed.map(|(name, _)| name).collect::<Vec<_>>(), ["PATH", "LC_ALL", "HOME"]);
}

#[tokio::test]
async fn a_failed_command_reports_its_status_and_its_output() {
    let cases = [
        ("echo no such service; exit 3", "found exit status: 3; output: no such service"),
        ("exit 1", "found exit status: 1"),
        ("kill -TERM $$", "found signal: 15 (SIGTERM)"),
    ];
    for (script, expected) in cases {
        let message = refusal(deliver(&shell(script)).await);

        assert_eq!(message, format!("announce command /bin/sh: expected exit status 0, {expected}"));
    }
}

#[tokio::test]
async fn a_missing_program_is_named() {
    for argv in [&["/nowhere/notify-api"][..], &[]] {
        let error = deliver(&command_settings(argv)).await.unwrap_err();

        assert!(matches!(error, DeliverError::Start { .. }), "{error:?}");
        let program = argv.first().unwrap_or(&"");
        assert_eq!(error.to_string(), format!("announce command {program}: cannot be run"));
    }
}

#[tokio::test]
async fn only_the_end_of_a_long_output_is_kept_and_on_one_line() {
    let script = r"yes line | head -n 200000; printf '\033[31mred\nb\303\244r\377'";

    let printed = output(deliver(&shell(script)).await);

    assert!(printed.ends_with(r"line\nline\n\u{1b}[31mred\nbär�"), "{}", &printed[printed.len() - 80..]);
    assert!(printed.chars().all(|c| !c.is_control()) && printed.len() < 2 * MAX_OUTPUT_BYTES);
}

#[tokio::test]
async fn a_command_that_overruns_is_killed_with_all_it_started() {
    let (_directory, file, target) = with_sleeper("wait");
    let target = AnnounceSettings { timeout: Duration::from_secs(2), ..target };

    let error = deliver(&target).await.unwrap_err().to_string();

    assert!(
        error.ends_with(
            "expected to end within 2s, found it running; killed it and all that it started; output: begun"
        ),
        "{error}"
    );
    until("the sleeper dies", || !is_alive(&pid_in(&file))).await;
}

#[tokio::test]
async fn a_stop_kills_a_command_with_all_it_started() {
    let (_directory, file, target) = with_sleeper("wait");
    let stop = Stop::new();

    let (result, ()) = tokio::join!(deliver_until(&target, &stop), async {
        until("the command begins", || file.exists()).await;
        stop.request();
    });

    assert!(matches!(result, Err(DeliverError::Stopped { .. })), "{result:?}");
    until("the sleeper dies", || !is_alive(&pid_in(&file))).await;
}

#[tokio::test]
async fn a_delivery_that_is_dropped_leaves_no_process_behind() {
    let (_directory, file, target) = with_sleeper("wait");

    tokio::select! {
        result = deliver(&target) => panic!("it ended by itself: {result:?}"),
        () = until("the command begins", || file.exists()) => (),
    }

    until("the sleeper dies", || !is_alive(&pid_in(&file))).await;
}

#[tokio::test]
async fn a_command_is_done_when_it_ends_whatever_it_leaves_in_the_background() {
    let (_directory, file, target) = with_sleeper("exit 0");

    assert_eq!(output(deliver(&target).await), "begun");

    let sleeper = pid_in(&file);
    assert!(is_alive(&sleeper), "what it left is not ours to kill");
    let sleeper = Pid::from_raw(sleeper.parse().unwrap()).unwrap();
    rustix::process::kill_process(sleeper, Signal::KILL).unwrap();
}

#[tokio::test]
async fn nothing_is_started_after_a_stop_request() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ran");
    let stop = Stop::new();
    stop.request();

    let result = deliver_until(&shell(&format!("touch {}", file.display())), &stop).await;

    assert!(matches!(result, Err(DeliverError::Stopped { .. })), "{result:?}");
    assert!(!file.exists());
}
