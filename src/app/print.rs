//! Standard output and standard error.
//!
//! Text for people, the one JSON object that `--json` promises, the message of
//! a failure, and how long ago something was. What is printed is decided by the
//! callers.
//!
//! Standard output that cannot be written, as on a full disk, is remembered
//! here, so that no command can forget it: what ends the program asks for
//! [`output_error`]. A reader that has closed its end, as `head` does, is not a
//! failure.

use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::config;
use crate::domain::text::{visible, visible_lines};

/// Text of a long list that is written in one step.
const MAX_PENDING_BYTES: usize = 1 << 16;

/// The first error of writing to standard output, other than that of a closed pipe.
static OUTPUT_ERROR: OnceLock<io::Error> = OnceLock::new();

/// Prints text for people on standard output.
pub(crate) fn print(text: &str) {
    write_out(&visible_lines(text));
}

fn write_out(text: &str) {
    let mut out = io::stdout().lock();
    note_output(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Remembers why standard output could not be written.
pub(crate) fn note_output(written: io::Result<()>) {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            // Only the first one is reported; the others follow from it.
            OUTPUT_ERROR.set(error).ok();
        }
        Ok(()) | Err(_) => {}
    }
}

/// What kept the output of this command from being written, for an operator.
pub(crate) fn output_error() -> Option<String> {
    let error = OUTPUT_ERROR.get()?;
    Some(format!("cannot write to standard output: {error}; whatever the command did is done"))
}

/// Prints the one object that `--json` promises.
pub(crate) fn print_json(value: &impl Serialize) {
    let mut text = serde_json::to_string(value).expect("the objects have string keys only");
    text.push('\n');
    write_out(&text);
}

/// The object that `--json` promises, where a list in it is too long to be held: what comes is printed.
pub(crate) struct JsonList {
    pending: String,
    is_empty: bool,
}

impl JsonList {
    /// Begins the object with these members, then a list under `key`.
    pub(crate) fn begin(members: &Value, key: &str) -> Self {
        let text = members.to_string();
        let members = text.strip_suffix('}').expect("the members are an object, and not an empty one");
        Self { pending: format!("{members},{}:[", json!(key)), is_empty: true }
    }

    pub(crate) fn add(&mut self, item: &Value) {
        if !std::mem::take(&mut self.is_empty) {
            self.pending.push(',');
        }
        self.pending.push_str(&item.to_string());
        if self.pending.len() >= MAX_PENDING_BYTES {
            write_out(&self.pending);
            self.pending.clear();
        }
    }

    /// Ends list and object, the latter with these members.
    pub(crate) fn end(mut self, members: &Value) {
        let text = members.to_string();
        let members = text.strip_prefix('{').expect("the members are an object, and not an empty one");
        self.pending.extend(["],", members, "\n"]);
        write_out(&self.pending);
    }
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
    // If this cannot be written either, the exit code is left; `eprintln!` would panic.
    writeln!(io::stderr(), "{level}reindexd: {}", visible(message)).ok();
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
