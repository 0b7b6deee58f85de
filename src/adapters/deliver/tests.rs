//! Targets that hear, targets that do not: real children and real sockets.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::process::{Pid, Signal};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::command::passed_variables;
use super::*;

const BUILD: &str = "20261122T101500Z-7f3a9c";

/// Longer than anything here takes, so that a test that hangs says where.
const DEADLINE: Duration = Duration::from_secs(20);

fn command(words: &[&str]) -> AnnounceSettings {
    AnnounceSettings {
        method: AnnounceMethod::Command(words.iter().map(|&word| word.to_owned()).collect()),
        confirm: None,
        token_file: None,
        timeout: DEADLINE,
    }
}

fn shell(script: &str) -> AnnounceSettings {
    command(&["/bin/sh", "-c", script])
}

fn post(address: SocketAddr) -> AnnounceSettings {
    AnnounceSettings {
        method: AnnounceMethod::Post(format!("http://{address}/admin/reload?key=hidden")),
        ..shell("")
    }
}

async fn announce_to(target: &AnnounceSettings) -> Result<String, AnnounceError> {
    announce_until(target, &Stop::new()).await
}

async fn announce_until(target: &AnnounceSettings, stop: &Stop) -> Result<String, AnnounceError> {
    let summary = json!({ "id": BUILD, "records": 3 });
    let news = BuildNotice { build: BUILD, directory: Path::new("/data/builds/x"), summary: &summary };
    let http = Http::new().unwrap();
    tokio::time::timeout(DEADLINE + DEADLINE, announce(target, &news, &http, stop, std::future::pending()))
        .await
        .expect("it ends")
}

/// Answers each request with the next of `answers`, the last one for ever; gives the requests back.
async fn api(
    answers: &'static [(&'static str, &'static str)],
) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for turn in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !is_complete(&request) {
                if stream.read_buf(&mut request).await.unwrap() == 0 {
                    break;
                }
            }
            requests.send(String::from_utf8(request).unwrap()).ok();
            let (head, body) = answers[turn.min(answers.len() - 1)];
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.ok();
        }
    });
    (address, seen)
}

fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

/// Waits for a condition, with a deadline.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_alive(pid: &str) -> bool {
    // A killed process that nobody has waited for yet is still listed, without a command line.
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
fn a_build_is_announced_until_it_is_the_last_one_announced() {
    let cases = [
        (None, None, false),
        (None, Some("a"), true),
        (Some("a"), Some("a"), false),
        (Some("a"), Some("b"), true),
        (Some("a"), None, false),
    ];
    for (last, served, expected) in cases {
        assert_eq!(due(last, served), expected, "{last:?} {served:?}");
    }
}

#[test]
fn waits_double_from_a_second_to_five_minutes() {
    let cases = [(0, 1), (1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (11, 300), (u32::MAX, 300)];
    for (failures, seconds) in cases {
        assert_eq!(wait_after(failures), Duration::from_secs(seconds), "{failures} failures");
    }
}

// --- requests ---------------------------------------------------------------

#[tokio::test]
async fn a_post_carries_the_summary_and_the_token_of_the_moment() {
    let (address, mut seen) = api(&[("204 No Content", "")]).await;
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    let target = AnnounceSettings { token_file: Some(token_file.clone()), ..post(address) };

    for token in ["first", "second"] {
        fs::write(&token_file, format!("  {token}\n")).unwrap();
        assert_eq!(announce_to(&target).await.unwrap(), "");

        let request = seen.recv().await.unwrap();
        assert!(request.starts_with("POST /admin/reload?key=hidden HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("content-type: application/json\r\n"), "{request}");
        assert!(request.contains(&format!("authorization: Bearer {token}\r\n")), "{request}");
        assert!(request.ends_with(&format!(r#"{{"id":"{BUILD}","records":3}}"#)), "{request}");
    }
}

#[tokio::test]
async fn every_answer_but_2xx_is_a_refusal_that_says_what_was_found() {
    let cases: [(&'static [(&str, &str)], &str); 4] = [
        (&[("503 Busy", "")], "found 503"),
        (&[("401 No", "who are\nyou? \u{1b}[2J")], r"found 401; it said: who are\nyou? \u{1b}[2J"),
        (&[("307 There\r\nlocation: /admin/reload/", "")], "found 307; it said: go to /admin/reload/"),
        (&[("304 Same", "")], "found 304"),
    ];
    for (answers, expected) in cases {
        let (address, _seen) = api(answers).await;

        let error = announce_to(&post(address)).await.unwrap_err().to_string();

        let prefix = format!("announce to http://{address}/admin/reload: expected a status of 200 to 299, ");
        assert_eq!(error, prefix + expected);
    }
}

#[tokio::test]
async fn no_answer_is_an_error_within_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target =
        AnnounceSettings { timeout: Duration::from_millis(200), ..post(silent.local_addr().unwrap()) };

    let error = announce_to(&target).await.unwrap_err();

    assert!(matches!(&error, AnnounceError::Request { source: HttpError::Timeout { .. }, .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
}

#[tokio::test]
async fn a_token_that_cannot_be_had_sends_nothing_and_shows_nothing() {
    let (address, mut seen) = api(&[("200 OK", "")]).await;
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    let target = AnnounceSettings { token_file: Some(token_file.clone()), ..post(address) };
    for content in [None, Some(""), Some("two sesames"), Some("ses\u{e4}me")] {
        if let Some(content) = content {
            fs::write(&token_file, content).unwrap();
        }

        let error = announce_to(&target).await.unwrap_err();

        assert!(matches!(error, AnnounceError::Token { .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("ses"), "{error:?}");
    }
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn a_build_is_confirmed_once_the_answer_shows_its_id() {
    let health = r#"{"status":"ok","build":"20261122T101500Z-7f3a9c"}"#;
    let answers = Box::leak(Box::new([
        ("200 OK", r#"{"build":"20261121T000000Z-000000"}"#),
        ("503 Loading", health),
        ("200 OK", health),
    ]));
    let (address, mut seen) = api(answers).await;
    let target = AnnounceSettings { confirm: Some(format!("http://{address}/health")), ..shell("echo told") };

    assert_eq!(announce_to(&target).await.unwrap(), "told");

    for _ in 0..3 {
        assert!(seen.recv().await.unwrap().starts_with("GET /health HTTP/1.1\r\n"));
    }
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn a_build_that_never_shows_is_an_error_with_the_last_thing_found() {
    let cases: [(&'static [(&str, &str)], &str); 2] = [
        (&[("200 OK", "old")], "last found status 200 without the id"),
        (&[("500 Oops", BUILD)], "last found status 500"),
    ];
    for (answers, expected) in cases {
        let (address, mut seen) = api(answers).await;
        let confirm = Some(format!("http://{address}/health"));
        let target = AnnounceSettings { confirm, timeout: Duration::from_millis(1500), ..shell("") };

        let error = announce_to(&target).await.unwrap_err().to_string();

        assert!(error.contains(&format!("/health did not show build {BUILD} within 1.5s; ")), "{error}");
        assert!(error.ends_with(expected), "{error}");
        assert!(seen.recv().await.is_some() && seen.recv().await.is_some(), "it asked again");
    }
}

#[tokio::test]
async fn a_stop_ends_a_confirmation_at_once() {
    let (address, mut seen) = api(&[("200 OK", "old")]).await;
    let target = AnnounceSettings { confirm: Some(format!("http://{address}/health")), ..shell("") };
    let stop = Stop::new();

    let (told, ()) = tokio::join!(announce_until(&target, &stop), async {
        seen.recv().await.unwrap();
        stop.request();
    });

    let error = told.unwrap_err().to_string();
    assert_eq!(error, format!("announce to http://{address}/health: stopped before it was done"));
}

#[tokio::test]
async fn no_target_is_waited_for_to_confirm_a_build_that_was_replaced() {
    let (address, mut seen) = api(&[("200 OK", "a newer one")]).await;
    let target = AnnounceSettings { confirm: Some(format!("http://{address}/health")), ..shell("echo told") };
    let summary = json!({});
    let news = BuildNotice { build: BUILD, directory: Path::new("/data/builds/x"), summary: &summary };
    let (http, stop) = (Http::new().unwrap(), Stop::new());
    let replaced = async {
        seen.recv().await.unwrap();
    };

    let told = tokio::time::timeout(DEADLINE / 2, announce(&target, &news, &http, &stop, replaced)).await;

    let error = told.expect("it does not wait for the timeout").unwrap_err().to_string();
    let expected = "announce was taken, but build 20261122T101500Z-7f3a9c was replaced before";
    assert_eq!(error, format!("{expected} http://{address}/health showed it"));
}

// --- commands ---------------------------------------------------------------

#[tokio::test]
async fn a_command_gets_its_arguments_unchanged_and_its_output_comes_back_in_order() {
    let target = command(&["/bin/sh", "-c", r#"echo "$0" "$1"; echo err >&2; echo out"#, "a  b", "$HOME;*"]);

    assert_eq!(announce_to(&target).await.unwrap(), r"a  b $HOME;*\nerr\nout");
}

#[tokio::test]
async fn a_command_sees_the_build_and_nothing_else_that_is_ours() {
    let printed = announce_to(&shell("/usr/bin/env; read line; echo end=$?")).await.unwrap();

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
        ("echo no such service; exit 3", "found exit status: 3; it said: no such service"),
        ("exit 1", "found exit status: 1"),
        ("kill -TERM $$", "found signal: 15 (SIGTERM)"),
    ];
    for (script, expected) in cases {
        let error = announce_to(&shell(script)).await.unwrap_err().to_string();

        assert_eq!(error, format!("announce command /bin/sh: expected exit status 0, {expected}"));
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    for words in [&["/nowhere/tell-api"][..], &[]] {
        let error = announce_to(&command(words)).await.unwrap_err();

        assert!(matches!(error, AnnounceError::Start { .. }), "{error:?}");
        let program = words.first().unwrap_or(&"");
        assert_eq!(error.to_string(), format!("announce command {program}: cannot be run"));
    }
}

#[tokio::test]
async fn only_the_end_of_a_long_output_is_kept_and_on_one_line() {
    let script = r"yes line | head -n 200000; printf '\033[31mred\nb\303\244r\377'";

    let printed = announce_to(&shell(script)).await.unwrap();

    assert!(printed.ends_with(r"line\nline\n\u{1b}[31mred\nbär�"), "{}", &printed[printed.len() - 80..]);
    assert!(printed.chars().all(|c| !c.is_control()) && printed.len() < 2 * MAX_OUTPUT_BYTES);
}

#[tokio::test]
async fn a_command_that_overruns_is_killed_with_all_it_started() {
    let (_directory, file, target) = with_sleeper("wait");
    let target = AnnounceSettings { timeout: Duration::from_secs(2), ..target };

    let error = announce_to(&target).await.unwrap_err().to_string();

    assert!(
        error.contains("expected to end within 2s, found it running and killed it; it said: begun"),
        "{error}"
    );
    until("the sleeper dies", || !is_alive(&pid_in(&file))).await;
}

#[tokio::test]
async fn a_stop_kills_a_command_with_all_it_started() {
    let (_directory, file, target) = with_sleeper("wait");
    let stop = Stop::new();

    let (told, ()) = tokio::join!(announce_until(&target, &stop), async {
        until("the command begins", || file.exists()).await;
        stop.request();
    });

    assert!(matches!(told, Err(AnnounceError::Stopped { .. })), "{told:?}");
    until("the sleeper dies", || !is_alive(&pid_in(&file))).await;
}

#[tokio::test]
async fn an_announcement_that_is_dropped_leaves_no_process_behind() {
    let (_directory, file, target) = with_sleeper("wait");

    tokio::select! {
        told = announce_to(&target) => panic!("it ended by itself: {told:?}"),
        () = until("the command begins", || file.exists()) => (),
    }

    until("the sleeper dies", || !is_alive(&pid_in(&file))).await;
}

#[tokio::test]
async fn a_command_is_done_when_it_ends_whatever_it_leaves_in_the_background() {
    let (_directory, file, target) = with_sleeper("exit 0");

    assert_eq!(announce_to(&target).await.unwrap(), "begun");

    let sleeper = pid_in(&file);
    assert!(is_alive(&sleeper), "what it left is its own affair");
    let sleeper = Pid::from_raw(sleeper.parse().unwrap()).unwrap();
    rustix::process::kill_process(sleeper, Signal::KILL).unwrap();
}

#[tokio::test]
async fn nothing_is_started_once_we_are_stopping() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ran");
    let stop = Stop::new();
    stop.request();

    let told = announce_until(&shell(&format!("touch {}", file.display())), &stop).await;

    assert!(matches!(told, Err(AnnounceError::Stopped { .. })), "{told:?}");
    assert!(!file.exists());
}
