//! Entries as a journal's socket receives them.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// What a journal gets of what `log` logs, entry by entry.
fn logged(log: impl FnOnce()) -> Vec<BTreeMap<String, String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixDatagram::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let journal = Journal::at(&path, |_| ()).unwrap();
    let queue = journal.0.clone();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), log);
    queue.flush(Duration::from_secs(30));
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
    let entries = logged(|| tracing::info!(took_ms = 7, why = "two words", build = "b1", "pass: {}", "done"));
    let entry = &entries[0];
    assert_eq!(entry["MESSAGE"], "pass: done (took_ms=7 why=\"two words\" build=\"b1\")");
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
    assert!(entries[0]["MESSAGE"].starts_with(r"words\u{a}MESSAGE=other"));
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
    assert!(Journal::at(folder.path().join("socket"), |_| ()).is_err());
}

#[test]
fn a_journal_that_does_not_read_delays_nothing_and_loses_what_the_queue_cannot_take() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _unread = UnixDatagram::bind(&path).unwrap();
    let journal = Journal::at(&path, |_| ()).unwrap();
    let queue = journal.0.clone();

    // More than the kernel and the queue hold together.
    tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), || {
        (0..5_000).for_each(|number| tracing::info!(number, "not read"));
    });

    assert!(queue.lost() > 0);
}
