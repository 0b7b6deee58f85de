//! Files made from declarations: the settings file and the tables of settings.
//!
//! A test makes each of them again and compares. To write them, run this chapter
//! with `REINDEXD_WRITE_GENERATED=1` in the environment.

use reindexd::config::generate;

use crate::support::source::{file, root};

#[test]
fn the_shipped_settings_file_is_generated() {
    assert_generated("systemd/reindexd.toml", &generate::settings_file());
}

#[test]
fn the_tables_of_settings_are_generated() {
    let page = file("docs/settings.md").text;
    let page = with_part(&page, "keys", &generate::keys_table());
    assert_generated("docs/settings.md", &with_part(&page, "variables", &generate::variables_table()));
}

#[test]
fn a_part_of_a_document_is_replaced_between_its_marks_alone() {
    let page = "a\n<!-- generated: x -->\nold\n<!-- end of generated: x -->\nb\n";

    let expected = "a\n<!-- generated: x -->\n\nnew\n\n<!-- end of generated: x -->\nb\n";
    assert_eq!(with_part(page, "x", "new\n"), expected);
    assert_eq!(with_part(expected, "x", "new\n"), expected);
}

/// Compares with the file in the repository, or writes it where that was asked for.
#[track_caller]
fn assert_generated(path: &str, expected: &str) {
    if std::env::var_os("REINDEXD_WRITE_GENERATED").is_some() {
        std::fs::write(root().join(path), expected).unwrap();
    }
    let found = file(path).text;
    let mut lines = expected.lines().zip(found.lines()).filter(|(expected, found)| expected != found);
    if let Some((expected, found)) = lines.next() {
        panic!("{path} is not what is generated:\n  expected {expected}\n  found    {found}");
    }
    assert!(expected == found, "{path} is not what is generated: one of the two goes on longer");
}

/// The document with this part of it replaced.
#[track_caller]
fn with_part(document: &str, name: &str, part: &str) -> String {
    let (begin, end) =
        (format!("<!-- generated: {name} -->\n"), format!("<!-- end of generated: {name} -->"));
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{before}{begin}\n{part}\n{end}{after}")
}
