//! Each test that raises signals runs again alone in a process of its own.

use super::*;
use signal_hook::low_level::raise;
use std::process::Command;
use std::time::Duration;

const ROLE: &str = "REINDEXD_TEST_SIGNAL_ROLE";

/// Runs one test of this module again, alone in a process of its own.
fn alone(test: &str, role: &str) -> Option<i32> {
    let module = module_path!().split_once("::").unwrap().1;
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
        .env(ROLE, role)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(!child.status.success() || output.contains("1 passed"), "the child ran nothing: {output}");
    child.status.code()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn received(signals: &mut (impl Stream<Item = Signal> + Unpin), count: usize) -> Vec<Signal> {
    let received = signals.take(count).collect();
    tokio::time::timeout(Duration::from_secs(10), received).await.expect("the signals arrived")
}

#[test]
fn signals_before_and_after_the_stream_starts_are_delivered() {
    if std::env::var_os(ROLE).is_none() {
        assert_eq!(alone("signals_before_and_after_the_stream_starts_are_delivered", "child"), Some(0));
        return;
    }
    let handlers = Handlers::install().unwrap();
    raise(SIGHUP).unwrap();
    raise(SIGUSR1).unwrap();
    runtime().block_on(async {
        let mut signals = handlers.stream().unwrap();
        assert_eq!(received(&mut signals, 2).await, [Signal::Reload, Signal::Now]);
        raise(SIGHUP).unwrap();
        assert_eq!(received(&mut signals, 1).await, [Signal::Reload]);
        raise(SIGTERM).unwrap();
        assert_eq!(received(&mut signals, 1).await, [Signal::Terminate]);
        assert_eq!(handlers.stop(), Some(Signal::Terminate));
    });
}

#[test]
fn a_stop_signal_that_came_before_the_stream_is_delivered() {
    if std::env::var_os(ROLE).is_none() {
        assert_eq!(alone("a_stop_signal_that_came_before_the_stream_is_delivered", "child"), Some(0));
        return;
    }
    let handlers = Handlers::install().unwrap();
    assert_eq!(handlers.stop(), None);
    raise(SIGINT).unwrap();
    runtime().block_on(async {
        let mut signals = handlers.stream().unwrap();
        assert_eq!(received(&mut signals, 1).await, [Signal::Interrupt]);
    });
}

#[test]
fn second_stop_signal_exits_at_once_with_128_plus_number() {
    let test = "second_stop_signal_exits_at_once_with_128_plus_number";
    match std::env::var(ROLE).as_deref() {
        Err(_) => {
            for (role, expected) in [("term term", 143), ("int int", 130), ("term int", 130)] {
                assert_eq!(alone(test, role), Some(expected), "{role}");
            }
        }
        Ok(role) => {
            let _handlers = Handlers::install().unwrap();
            for word in role.split(' ') {
                raise(if word == "term" { SIGTERM } else { SIGINT }).unwrap();
            }
        }
    }
}

#[test]
fn a_command_stopped_by_a_signal_says_so_in_its_status() {
    for number in [SIGTERM, SIGINT, SIGHUP, SIGUSR1] {
        let signal = Signal::from_number(number).unwrap();
        assert_eq!(c_int::from(signal.exit_code()), 128 + number, "{signal:?}");
        assert_eq!(signal.is_stop(), number == SIGTERM || number == SIGINT, "{signal:?}");
    }
}

#[test]
fn a_stop_that_nothing_answers_ends_the_process_within_its_limit() {
    const TEST: &str = "a_stop_that_nothing_answers_ends_the_process_within_its_limit";
    let Some(role) = std::env::var_os(ROLE) else {
        assert_eq!(alone(TEST, "before"), Some(7));
        assert_eq!(alone(TEST, "after"), Some(7));
        return;
    };
    let handlers = Handlers::install().unwrap();
    if role == "before" {
        raise(SIGTERM).unwrap();
        handlers.end_after_stop(Duration::from_millis(20), Some(7)).unwrap();
    } else {
        handlers.end_after_stop(Duration::from_millis(20), Some(7)).unwrap();
        raise(SIGINT).unwrap();
    }
    // As a thread that a file system does not let go on.
    std::thread::sleep(Duration::from_secs(30));
    panic!("still running");
}
