//! The example of README.md runs as it is written, from an empty directory to an answer.

use std::process::Command;

use crate::support::source::file;

/// A reader sees at once what is needed.
const MAX_LINES: usize = 10;

#[test]
fn ten_lines_lead_from_an_empty_directory_to_an_answered_question() {
    let readme = file("README.md").text;
    let example = readme.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(example.lines().count() <= MAX_LINES, "{example}");
    let folder = tempfile::tempdir().unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_reindexd")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());

    let mut shell = Command::new("sh");
    let ran = shell.args(["-e", "-c", example]).current_dir(&folder).env_clear().env("PATH", path);
    let ran = crate::support::run(ran);

    assert_eq!(ran.code, 0, "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert!(
        lines[0].starts_with("promoted ") && lines[0].contains("2 records (0 kept, 4 embedded"),
        "{ran:?}"
    );
    assert!(lines.last().unwrap().ends_with("Tides"), "{ran:?}");
}
