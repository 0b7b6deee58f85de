//! Log lines for the journal, by its native protocol: one datagram per entry.
//!
//! An entry has the same line for people as standard error, since that is all
//! that `journalctl` shows by default, and each field under its own name:
//! `journalctl BUILD=…` finds the entries of a build. Levels are syslog's of
//! the same name. Entries are sent by the thread of a `queue`: nothing else waits
//! for the journal. An entry that cannot be sent is lost: there is no other place
//! to report it.
//!
//! Written here because tracing-journald cannot put fields into the message.

use std::fmt::Debug;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::line::Line;
use super::queue::{LogLine, LogQueue};

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Queues each event for the journal.
pub(super) struct Journal(pub(super) LogQueue<JournalEntry>);

/// The way to the journal. Sending waits while the journal does not read.
struct JournalSocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// A journal that receives at a path.
    ///
    /// # Errors
    ///
    /// If no socket receives there.
    pub(super) fn at(path: impl AsRef<Path>, report_lost: impl Fn(u64) + Send + 'static) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // A restarted journal has another socket under the same name, so each
        // entry is sent to the name; here it is only checked that one receives.
        UnixDatagram::unbound()?.connect(&path)?;
        let socket = JournalSocket { socket, path: path.as_ref().to_owned() };
        Ok(Self(LogQueue::start(move |entry| socket.send(entry), report_lost)))
    }
}

impl JournalSocket {
    fn send(&self, entry: &JournalEntry) {
        let whole = self.socket.send_to(&entry.bytes(usize::MAX), &self.path);
        if whole.is_err_and(|error| error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error())) {
            // A foreign text that is longer than a datagram.
            self.socket.send_to(&entry.bytes(MAX_FIELD_BYTES), &self.path).ok();
        }
    }
}

/// How much of each value is kept if an entry is too large as a whole.
const MAX_FIELD_BYTES: usize = 4 * 1024;

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = JournalEntry::default();
        entry.put("PRIORITY", priority(*event.metadata().level()));
        entry.put("SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
        entry.put("TARGET", event.metadata().target());
        event.record(&mut entry);
        self.0.push(entry);
    }
}

fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

#[derive(Default)]
pub(super) struct JournalEntry {
    line: Line,
    fields: Vec<(String, String)>,
}

impl LogLine for JournalEntry {
    fn bytes(&self) -> usize {
        self.line.bytes() + self.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

impl JournalEntry {
    fn put(&mut self, name: &str, value: impl Into<String>) {
        self.fields.push((name.to_owned(), value.into()));
    }

    /// Name, line feed, length as 64 bits from the low end, value, line feed: for
    /// each field, so that no value can be taken for another field.
    fn bytes(&self, max_value: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        let line = ("MESSAGE".to_owned(), self.line.to_string());
        for (name, value) in self.fields.iter().chain([&line]) {
            let end =
                (0..=max_value.min(value.len())).rev().find(|&end| value.is_char_boundary(end)).unwrap_or(0);
            let value = &value.as_bytes()[..end];
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(b'\n');
            bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        bytes
    }
}

impl Visit for JournalEntry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.line.record_str(field, value);
        if field.name() != "message" {
            self.put(&journal_name(field.name()), value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.line.record_debug(field, value);
        if field.name() != "message" {
            self.put(&journal_name(field.name()), format!("{value:?}"));
        }
    }
}

/// The journal allows capitals, digits and `_`, and not `_` as the first.
fn journal_name(name: &str) -> String {
    let fit = |char: char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' };
    name.trim_start_matches(|char: char| !char.is_ascii_alphabetic()).chars().map(fit).collect()
}

#[cfg(test)]
mod tests;
