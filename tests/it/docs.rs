//! What README.md and ARCHITECTURE.md say is there, is there.
//!
//! Paths, tests, settings, variables, commands, flags and messages that the
//! documents name are looked up in the repository and in the program. As in
//! `tidy`, each check is put to a sample in which something is wrong.

use std::collections::BTreeSet;

use crate::support::source::{SourceFile, assert_complaints, assert_none, file, files, root, test_names};
use crate::support::{World, run};

#[test]
fn every_path_that_the_documents_name_exists() {
    let documents = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(file);
    assert_none(&missing_paths(&documents, &file(".gitignore").text));
}

#[test]
fn a_path_that_does_not_exist_is_found() {
    let text = "`src/lib.rs`, `data/faiss.index`, `/etc/hosts`, `a/b`, `python3 data/sample/gone.py data/experts.db`,\n\
                `src/gone.rs`, `GONE.md`\n```\nsrc/in/a/fence.rs\n```\n";
    let document = SourceFile::sample("x.md", text);

    let complaints = missing_paths(&[document], "/data/*.db*\n/data/faiss.index\n");

    assert_complaints(complaints, &["GONE.md", "data/sample/gone.py", "src/gone.rs"]);
}

#[test]
fn the_code_map_has_every_file_of_the_program() {
    assert_none(&unmapped(&file("ARCHITECTURE.md"), &files("src", ".rs")));
}

#[test]
fn a_file_that_the_code_map_lacks_is_found() {
    let map = SourceFile::sample("ARCHITECTURE.md", "| `src/a.rs` | it |\n");
    let sources = ["src/a.rs", "src/b.rs", "src/a/tests.rs"].map(|path| SourceFile::sample(path, ""));

    assert_complaints(unmapped(&map, &sources), &["src/b.rs"]);
}

#[test]
fn every_test_that_the_documents_name_exists() {
    let tests = [files("src", ".rs"), files("tests/it", ".rs"), files("tests/proof", ".rs")].concat();
    for document in ["ARCHITECTURE.md", "tests/README.md"] {
        assert_none(&unknown_tests(&file(document), &tests));
    }
}

#[test]
fn a_test_that_does_not_exist_is_found() {
    let document = SourceFile::sample(
        "x.md",
        "`a_claim_that_holds`, `a_claim_of_nobody`, `max_texts`, `src/a_b_c_d.rs`",
    );
    let tests = [SourceFile::sample("src/a.rs", "#[test]\nfn a_claim_that_holds() {}")];

    assert_complaints(unknown_tests(&document, &tests), &["a_claim_of_nobody"]);
}

#[test]
fn every_setting_stands_in_the_readme_with_its_default() {
    assert_none(&unsaid_settings(&file("systemd/reindexd.toml"), &file("README.md")));
}

#[test]
fn a_setting_that_the_readme_lacks_or_has_otherwise_is_found() {
    let toml = "[log]\n# Of what.\n#level = \"info\"\n#format = \"auto\"\n#gone = 3\n#[[announce]]\n#post = \"http://x\"\n";
    let readme = "| `log.level` | `\"info\"` | |\n| `log.format` | `\"text\"` | |\n| `announce.post` | none | |\n| `log.old` | 1 | |\n";
    let (toml, readme) = (SourceFile::sample("t", toml), SourceFile::sample("README.md", readme));

    assert_complaints(unsaid_settings(&toml, &readme), &["log.format", "log.gone", "log.old"]);
}

#[test]
fn every_variable_that_is_read_stands_in_the_readme() {
    assert_none(&unsaid_variables(&file("src/config/env.rs"), &file("README.md")));
}

#[test]
fn a_variable_that_the_readme_lacks_is_found() {
    let code =
        "pub(super) const ONE: &str = \"ONE\";\n/// Another.\npub(super) const OTHER: &str = \"OTHER\";\n";
    let readme = SourceFile::sample("README.md", "`ONE` and ANOTHER");

    assert_complaints(unsaid_variables(&SourceFile::sample("env.rs", code), &readme), &["OTHER"]);
}

#[test]
fn every_command_and_flag_stands_in_the_readme() {
    let world = World::new();
    let help = |arguments: &[&str]| run(&mut world.command(arguments)).stdout;
    let commands = commands(&help(&["--help"]));
    assert!(commands.len() >= 10, "the help names {commands:?}");

    let flags = commands.iter().flat_map(|command| flags(&help(&[command, "--help"])));
    let said = commands.iter().map(|command| format!("reindexd {command}")).chain(flags);

    assert_none(&unsaid(&said.collect::<Vec<_>>(), &file("README.md")));
}

#[test]
fn the_help_is_written_for_a_terminal_and_not_for_a_page() {
    let world = World::new();
    let help = |arguments: &[&str]| run(&mut world.command(arguments)).stdout;
    let whole = help(&["--help"]);

    for command in commands(&whole) {
        let words = help(&[&command, "--help"]);
        assert!(!words.contains('`'), "{words}");
    }
    assert!(!whole.contains('`') && whole.contains("$REINDEXD_CONFIG"), "{whole}");
}

#[test]
fn a_command_or_flag_that_the_readme_lacks_is_found() {
    let help = "Words.\n\nCommands:\n  run   The agent: so\n  look  A look\n  help  Print this\n\nOptions:\n      --wait  So\n  -k <K>    How\n      --gone\n  -h, --help  Print help\n";
    let readme = SourceFile::sample("README.md", "`reindexd run --wait`, `-k 10`");

    let said = commands(help).into_iter().map(|name| format!("reindexd {name}")).chain(flags(help));

    assert_complaints(unsaid(&said.collect::<Vec<_>>(), &readme), &["reindexd look", "--gone"]);
}

#[test]
fn every_message_that_the_readme_explains_is_one_of_ours() {
    assert_none(&foreign_messages(&file("README.md"), &files("src", ".rs")));
}

#[test]
fn a_message_that_nobody_says_is_found() {
    let readme = "`before: it does not count`\n## Errors\n| `… rows are gone, 12.5 % of them`, `nobody ever says so` | | `nor this one here` |\n";
    let code = "#[error(\"{n} rows are gone, {percent} % of \\\n    them\")]";

    let complaints =
        foreign_messages(&SourceFile::sample("README.md", readme), &[SourceFile::sample("src/a.rs", code)]);

    assert_complaints(complaints, &["nobody ever says so"]);
}

#[test]
fn the_line_that_ends_the_tagging_touches_the_default_marker() {
    let marker = r#"Path("data/tagging-complete").touch()"#;
    assert!(file("README.md").text.contains(marker));
    assert!(file("systemd/reindexd.toml").text.contains("#marker = \"data/tagging-complete\""));
}

/// Texts between backticks, fenced blocks left out.
fn inline_code(text: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

fn missing_paths(documents: &[SourceFile], made_by_runs: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for document in documents {
        let words = inline_code(&document.text).into_iter().flat_map(str::split_whitespace);
        for word in words.filter(|word| is_path(word) && !is_made(word, made_by_runs)) {
            if !root().join(word).exists() {
                complaints.push(format!("{}: {word} does not exist", document.path));
            }
        }
    }
    complaints
}

/// A path from the root of the repository, or one of its documents.
fn is_path(word: &str) -> bool {
    match word.split_once('/') {
        Some((folder, _)) => !folder.is_empty() && root().join(folder).is_dir(),
        None => word.strip_suffix(".md").is_some_and(|name| name.chars().all(|c| c.is_ascii_uppercase())),
    }
}

/// Whether the lines of `.gitignore` have the path or a folder above it.
fn is_made(path: &str, ignored: &str) -> bool {
    ignored.lines().filter_map(|line| line.strip_prefix('/')).any(|pattern| {
        let mut rest = path;
        let mut parts = pattern.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(after) = rest.strip_prefix(first) else { return false };
        rest = after;
        let mut open = false;
        for part in parts {
            open = true;
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        open || rest.is_empty() || rest.starts_with('/')
    })
}

fn unmapped(map: &SourceFile, sources: &[SourceFile]) -> Vec<String> {
    let mapped: BTreeSet<&str> = inline_code(&map.text).into_iter().collect();
    let missing = sources.iter().filter(|file| !file.is_unit_tests() && !mapped.contains(file.path.as_str()));
    missing.map(|file| format!("{} has no line in the code map of {}", file.path, map.path)).collect()
}

/// A name of four words and more, in backticks, is a test's.
fn unknown_tests(document: &SourceFile, tests: &[SourceFile]) -> Vec<String> {
    let known: BTreeSet<String> = tests.iter().flat_map(|file| test_names(&file.text)).collect();
    let is_test = |name: &&str| {
        name.split('_').count() >= 4
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let named = inline_code(&document.text).into_iter().filter(is_test).filter(|name| !known.contains(*name));
    named.map(|name| format!("{}: there is no test {name}", document.path)).collect()
}

/// Keys with their defaults, as the shipped settings have them behind a `#`.
fn settings(toml: &str) -> Vec<(String, &str)> {
    let mut section = "";
    let mut found = Vec::new();
    for line in toml.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        } else if let Some((key, value)) = line.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
            found.push((format!("{section}.{key}"), value));
        }
    }
    found
}

fn unsaid_settings(toml: &SourceFile, readme: &SourceFile) -> Vec<String> {
    let settings = settings(&toml.text);
    let sections: BTreeSet<&str> =
        settings.iter().filter_map(|(key, _)| key.split_once('.')).map(|(name, _)| name).collect();
    let rows: Vec<(&str, &str)> = readme
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter(|(key, _)| !key.contains(' '))
        .filter(|(key, _)| key.split_once('.').is_some_and(|(section, _)| sections.contains(section)))
        .collect();
    let said = |key: &str, value: &str| {
        let row = rows.iter().find(|(named, _)| *named == key)?;
        (row.1.starts_with(&format!("`{value}` |")) || row.1.starts_with("none |")).then_some(())
    };
    let unsaid = settings.iter().filter(|(key, value)| said(key, value).is_none());
    let mut complaints: Vec<String> = unsaid
        .map(|(key, value)| format!("{} has no row of {key} with {value} or none", readme.path))
        .collect();
    let unknown = rows.iter().filter(|(named, _)| !settings.iter().any(|(key, _)| key == named));
    complaints.extend(unknown.map(|(key, _)| format!("{}: {key} is no setting", readme.path)));
    complaints
}

fn unsaid_variables(code: &SourceFile, readme: &SourceFile) -> Vec<String> {
    let names =
        code.text.lines().filter(|line| line.contains(" const ")).filter_map(|line| line.split('"').nth(1));
    unsaid(&names.map(|name| format!("`{name}`")).collect::<Vec<_>>(), readme)
}

/// The names under `Commands:`, without clap's own.
fn commands(help: &str) -> Vec<String> {
    let list =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = list.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

/// The flags under `Options:`, without clap's own.
fn flags(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Options:").skip(1);
    let names = list.flat_map(str::split_whitespace).map(|word| word.trim_end_matches(','));
    let is_flag = |word: &&str| word.starts_with('-') && !["-h", "--help", "-V", "--version"].contains(word);
    names.filter(is_flag).map(str::to_owned).collect()
}

fn unsaid(names: &[String], readme: &SourceFile) -> Vec<String> {
    let unsaid: BTreeSet<&String> =
        names.iter().filter(|name| !readme.text.contains(name.as_str())).collect();
    unsaid.into_iter().map(|name| format!("{} has no word of {name}", readme.path)).collect()
}

/// Messages are what stands in the first column below `## Errors`. What is
/// between `…` and numbers must stand in the sources, if it is long enough to tell.
fn foreign_messages(readme: &SourceFile, sources: &[SourceFile]) -> Vec<String> {
    const SHORTEST: usize = 10;
    let ours = sources.iter().filter(|file| !file.is_unit_tests());
    let spoken: String = ours.map(|file| joined(file.without_tests())).collect();
    let errors = readme.text.split_once("## Errors").map(|(_, errors)| errors).expect("a section on errors");
    let rows = errors.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let mut complaints = Vec::new();
    for (first, _) in rows {
        let cell = format!("`{first}");
        for message in inline_code(&cell) {
            let parts = message
                .split(|c: char| c == '…' || c.is_ascii_digit())
                .map(|part| part.trim_matches([' ', '.', ':']));
            let foreign = parts.filter(|part| part.len() >= SHORTEST && !spoken.contains(part));
            complaints.extend(foreign.map(|part| format!("{}: nothing says {part:?}", readme.path)));
        }
    }
    complaints
}

/// A text with the line breaks within its literals undone.
fn joined(text: &str) -> String {
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |joined, line| joined + line.trim_start())
}
