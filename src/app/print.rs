//! Standard output and standard error.
//!
//! Text for people, the one JSON object that `--json` promises, the message of
//! a failure, and how long ago something was. What is printed is decided by the
//! callers.

use std::io::Write;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::config;

/// Prints text on standard output. A reader that has closed its end is not a failure.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        tracing::debug!("standard output is closed");
    }
}

/// Prints the one object that `--json` promises.
pub(crate) fn print_json(value: &impl Serialize) {
    let mut text = serde_json::to_string(value).expect("the objects have string keys only");
    text.push('\n');
    print(&text);
}

/// Prints why a command failed: on standard error, and as an object where that is promised.
pub(crate) fn fail(json: bool, code: u8, message: &str) -> u8 {
    if json {
        print_json(&json!({ "error": message }));
    }
    print_error(message);
    code
}

/// Prints on standard error why a command failed.
pub(crate) fn print_error(message: &str) {
    // The journal takes the level off the line; without one it would count as information.
    let level = if config::logs_to_journal() { "<3>" } else { "" };
    eprintln!("{level}reindexd: {message}");
}

/// How long ago a time was; a time in the future is `just now`, whatever the clock did.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs().max(0).unsigned_abs();
    match seconds {
        0..5 => "just now".to_owned(),
        5..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
