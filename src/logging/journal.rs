//! Log lines for the journal, by its native protocol: one datagram an entry.
//!
//! An entry has the same line for people as standard error would have, since
//! that is all that `journalctl` shows by itself, and each field by its own
//! name beside it: `journalctl BUILD=…` finds what is told of a build. Levels
//! are syslog's of the same name. An entry that cannot be sent is lost:
//! nothing waits for the journal, and there is no other place to say so.

use std::fmt::Debug;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::Context;

/// Where the journal listens.
pub(crate) const SOCKET: &str = "/run/systemd/journal/socket";

/// Sends each event to the journal.
pub(crate) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// A journal that listens at a path.
    ///
    /// # Errors
    ///
    /// Where nobody listens there.
    pub(crate) fn at(path: impl AsRef<Path>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // A journal that is started anew has another socket under the same name,
        // so each entry is sent to the name; that somebody listens is seen here.
        UnixDatagram::unbound()?.connect(&path)?;
        Ok(Self { socket, path: path.as_ref().to_owned() })
    }

    fn send(&self, entry: &JournalEntry) {
        let whole = self.socket.send_to(&entry.bytes(usize::MAX), &self.path);
        if whole.is_err_and(|error| error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error())) {
            // Words of a stranger that are longer than a datagram.
            self.socket.send_to(&entry.bytes(MAX_FIELD_BYTES), &self.path).ok();
        }
    }
}

/// How much of a value is kept where an entry is too large as a whole.
const MAX_FIELD_BYTES: usize = 4 * 1024;

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = JournalEntry::default();
        entry.put("PRIORITY", priority(*event.metadata().level()));
        entry.put("SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
        entry.put("TARGET", event.metadata().target());
        event.record(&mut entry);
        self.send(&entry);
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

/// What is sent of an event.
#[derive(Default)]
struct JournalEntry {
    line: String,
    fields: Vec<(String, String)>,
}

impl JournalEntry {
    fn put(&mut self, name: &str, value: impl Into<String>) {
        self.fields.push((name.to_owned(), value.into()));
    }

    fn append(&mut self, field: &Field, value: &dyn Debug) {
        super::write_field(&mut Writer::new(&mut self.line), field, value)
            .expect("a string takes all that is written");
    }

    /// Name, line feed, length as 64 bits from the low end, value, line feed: for
    /// each field, so that no value can be taken for another field.
    fn bytes(&self, longest: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        let line = ("MESSAGE".to_owned(), self.line.clone());
        for (name, value) in self.fields.iter().chain([&line]) {
            let end =
                (0..=longest.min(value.len())).rev().find(|&end| value.is_char_boundary(end)).unwrap_or(0);
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
        self.append(field, &value);
        if field.name() != "message" {
            self.put(&journal_name(field.name()), value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.append(field, value);
        if field.name() != "message" {
            self.put(&journal_name(field.name()), format!("{value:?}"));
        }
    }
}

/// As the journal has names: capitals, digits and `_`, which is not the first.
fn journal_name(name: &str) -> String {
    let fit = |char: char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' };
    name.trim_start_matches(|char: char| !char.is_ascii_alphabetic()).chars().map(fit).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What a journal gets of what `log` logs, entry by entry.
    fn logged(log: impl FnOnce()) -> Vec<BTreeMap<String, String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let journal = Journal::at(&path).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), log);
        let mut entries = Vec::new();
        let mut datagram = vec![0; 1 << 20];
        while let Ok(length) = listener.recv(&mut datagram) {
            entries.push(fields(&datagram[..length]));
        }
        entries
    }

    fn fields(mut bytes: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|&byte| byte == b'\n').unwrap();
            let (name, rest) = (&bytes[..end], &bytes[end + 1..]);
            let (length, rest) = rest.split_first_chunk::<8>().unwrap();
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            let (value, rest) = rest.split_at(length);
            bytes = rest.strip_prefix(b"\n").unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            fields.insert(text(name), text(value));
        }
        fields
    }

    #[test]
    fn an_entry_has_the_line_for_people_and_each_field_by_its_name() {
        let entries =
            logged(|| tracing::info!(took_ms = 7, why = "two words", _build = "b1", "build={}", "b1"));
        let entry = &entries[0];
        assert_eq!(entry["MESSAGE"], "build=b1 took_ms=7 why=\"two words\"");
        let found = ["TOOK_MS", "WHY", "BUILD", "SYSLOG_IDENTIFIER"].map(|name| entry[name].as_str());
        assert_eq!(found, ["7", "two words", "b1", "reindexd"]);
    }

    #[test]
    fn levels_are_those_of_syslog() {
        let entries = logged(|| {
            tracing::error!("e");
            tracing::warn!("w");
            tracing::info!("i");
            tracing::debug!("d");
            tracing::trace!("t");
        });
        let found: Vec<&str> = entries.iter().map(|entry| entry["PRIORITY"].as_str()).collect();
        assert_eq!(found, ["3", "4", "6", "7", "7"]);
    }

    #[test]
    fn a_line_feed_in_a_value_makes_no_field() {
        let entries = logged(|| tracing::warn!(said = "a\nPRIORITY=0\n", "words\nMESSAGE=other"));
        assert_eq!(entries[0]["SAID"], "a\nPRIORITY=0\n");
        assert_eq!((entries[0]["PRIORITY"].as_str(), entries.len()), ("4", 1));
        assert!(entries[0]["MESSAGE"].starts_with("words\nMESSAGE=other"));
    }

    #[test]
    fn an_entry_too_large_for_a_datagram_is_cut_and_not_lost() {
        let entries = logged(|| tracing::warn!(said = "ä".repeat(1 << 20), "much was said"));
        assert!(entries[0]["MESSAGE"].starts_with("much was said"));
        assert_eq!(entries[0]["SAID"].len(), MAX_FIELD_BYTES);
    }

    #[test]
    fn missing_journal_socket_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Journal::at(folder.path().join("socket")).is_err());
    }
}
