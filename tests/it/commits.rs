//! The newest commit has the form that CONTRIBUTING.md asks for.
//!
//! Only the newest is read: older ones cannot be changed any more. A tree
//! without a `.git`, such as an unpacked archive, has no commit to check.

use std::process::Command;

use crate::support::source::{assert_complaints, assert_none, root};

/// Characters of the subject.
const MAX_SUBJECT: usize = 50;
/// Columns of the body, where a line can be broken at all.
const MAX_COLUMNS: usize = 72;

#[test]
fn the_newest_commit_has_a_short_subject_and_a_body_that_says_why() {
    if root().join(".git").exists() {
        let log = Command::new("git").args(["log", "-1", "--format=%B"]).current_dir(root()).output();
        let log = log.expect("git can read the log");
        assert!(log.status.success(), "{}", String::from_utf8_lossy(&log.stderr));
        assert_none(&malformed(&String::from_utf8(log.stdout).unwrap()));
    }
}

#[test]
fn a_commit_of_another_form_is_found() {
    let long = "Refuse a table whose ids are not unique by their text".to_owned();
    let wide = format!("Refuse equal ids\n\n{}", "why ".repeat(20));
    let samples = [
        ("Refuse equal ids\n\nTwo rows with one id cannot be distinguished.\n", None),
        (
            "Refuse equal ids\n\nhttps://example.org/a/very/long/address/that/cannot/be/broken/at/any/place\n",
            None,
        ),
        (long.as_str(), Some("subject")),
        ("Refuse equal ids.\n\nWhy.\n", Some("full stop")),
        ("refuse equal ids\n\nWhy.\n", Some("capital")),
        ("Refuse equal ids\nWhy.\n", Some("blank")),
        ("Refuse equal ids\n", Some("body")),
        (wide.as_str(), Some("72")),
    ];
    for (message, expected) in samples {
        let complaints = malformed(message);
        match expected {
            None => assert_none(&complaints),
            Some(expected) => assert_complaints(complaints, &[expected]),
        }
    }
}

fn malformed(message: &str) -> Vec<String> {
    let mut lines = message.trim_end().lines();
    let subject = lines.next().unwrap_or_default();
    let mut complaints = Vec::new();
    if subject.chars().count() > MAX_SUBJECT {
        return vec![format!("subject of more than {MAX_SUBJECT} characters: {subject}")];
    }
    if !subject.starts_with(|c: char| c.is_uppercase()) {
        complaints.push(format!("subject without a capital: {subject}"));
    }
    if subject.ends_with('.') {
        complaints.push(format!("subject with a full stop: {subject}"));
    }
    match lines.next() {
        None => complaints.push(format!("no body that says why: {subject}")),
        Some("") => {}
        Some(line) => complaints.push(format!("no blank line after the subject, but {line:?}")),
    }
    let wide = lines.filter(|line| line.chars().count() > MAX_COLUMNS && line.trim().contains(' '));
    complaints.extend(wide.take(1).map(|line| format!("wider than {MAX_COLUMNS} columns: {line}")));
    complaints
}
