//! The documents are true: what they name exists.
//!
//! Paths, links, tests, settings, variables, commands, flags and messages that
//! the documents name are looked up in the repository and in the program. As in
//! `style`, each check also runs on a sample that breaks it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::source::{SourceFile, assert_complaints, assert_none, file, files, root, test_names};
use crate::support::{World, run};

/// A front page is read in one go.
const MAX_README_LINES: usize = 130;

#[test]
fn whatever_the_tests_install_from_a_registry_is_pinned_by_its_digest() {
    for list in ["tests/reader/requirements.txt", "tests/cmake.txt"] {
        let text = std::fs::read_to_string(list).unwrap();
        let packages: Vec<_> = text.lines().filter(|line| line.contains("==")).collect();
        assert!(!packages.is_empty(), "{list} names nothing");
        for line in packages {
            let after = text.split_once(line).unwrap().1;
            assert!(
                line.ends_with('\\') && after.trim_start().starts_with("--hash=sha256:"),
                "{list}: {line}"
            );
        }
    }
    for script in ["Makefile", "tests/setup.sh"] {
        for line in std::fs::read_to_string(script)
            .unwrap()
            .lines()
            .filter(|line| line.contains("pip\" install") || line.contains("pip install"))
        {
            assert!(line.contains("--require-hashes"), "{script}: {line}");
        }
    }
}

#[test]
fn every_path_that_the_documents_name_exists() {
    assert_none(&missing_paths(&documents(), &file(".gitignore").text));
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
fn every_link_between_documents_resolves() {
    assert_none(&broken_links(&documents()));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let texts = [
        (
            "README.md",
            "# Top\n[a](docs/b.md) [c](docs/b.md#what-it-is) [d](#top) [e](https://example.org/x) `[f](no.md)`\n",
        ),
        (
            "docs/b.md",
            "## What `it` is\n```\n# not-a-heading\n[g](fenced.md)\n```\n[h](../README.md#top) [i](gone.md) [j](#not-a-heading) [k](../README.md#gone)\n",
        ),
    ];
    let documents = texts.map(|(path, text)| SourceFile::sample(path, text));

    assert_complaints(broken_links(&documents), &["gone.md", "#not-a-heading", "README.md#gone"]);
}

#[test]
fn the_readme_links_every_document() {
    assert_none(&unlinked(&file("README.md"), &documents()));
}

#[test]
fn a_document_that_the_readme_does_not_link_is_found() {
    let readme = SourceFile::sample("README.md", "[a](docs/a.md), `docs/b.md`");
    let documents = ["README.md", "docs/a.md", "docs/b.md"].map(|path| SourceFile::sample(path, ""));

    assert_complaints(unlinked(&readme, &documents), &["docs/b.md"]);
}

#[test]
fn the_readme_is_a_front_page_and_names_the_two_commands() {
    let readme = file("README.md");
    let lines = readme.text.lines().count();
    assert!(lines <= MAX_README_LINES, "README.md has {lines} lines, expected at most {MAX_README_LINES}");
    for command in ["make demo", "make test"] {
        assert!(
            readme.text.lines().any(|line| line.starts_with(command)),
            "README.md does not show {command}"
        );
    }
}

#[test]
fn the_architecture_lists_every_folder_of_the_program() {
    assert_none(&unlisted_folders(&file("ARCHITECTURE.md"), &files("src", ".rs")));
}

#[test]
fn a_folder_that_the_architecture_lacks_is_found() {
    let map = SourceFile::sample("ARCHITECTURE.md", "| `src/a/` | it |\n| `src/c` | without a slash |\n");
    let paths = [
        "src/lib.rs",
        "src/main.rs",
        "src/a/mod.rs",
        "src/a/module/mod.rs",
        "src/a/module/tests.rs",
        "src/a/folder/mod.rs",
        "src/a/folder/more.rs",
        "src/b/mod.rs",
        "src/c/mod.rs",
    ];
    let sources = paths.map(|path| SourceFile::sample(path, ""));

    assert_complaints(unlisted_folders(&map, &sources), &["src/a/folder/", "src/b/", "src/c/"]);
}

#[test]
fn every_test_that_the_documents_name_exists() {
    let tests = [files("src", ".rs"), files("tests/it", ".rs"), files("tests/proof", ".rs")].concat();
    let unknown = documents().iter().flat_map(|document| unknown_tests(document, &tests)).collect::<Vec<_>>();
    assert_none(&unknown);
}

#[test]
fn a_test_that_does_not_exist_is_found() {
    let document = SourceFile::sample(
        "x.md",
        "`a_claim_that_holds`, `a_claim_without_a_test`, `max_texts`, `src/a_b_c_d.rs`",
    );
    let tests = [SourceFile::sample("src/a.rs", "#[test]\nfn a_claim_that_holds() {}")];

    assert_complaints(unknown_tests(&document, &tests), &["a_claim_without_a_test"]);
}

#[test]
fn every_setting_is_in_the_documents_with_its_default() {
    assert_none(&missing_settings(&file("systemd/reindexd.toml"), &file("docs/settings.md")));
}

#[test]
fn a_setting_that_the_documents_lack_or_contradict_is_found() {
    let toml = "[log]\n# Of what.\n#level = \"info\"\n#format = \"auto\"\n#gone = 3\n#[[announce]]\n#post = \"http://x\"\n";
    let rows = "| `log.level` | `\"info\"` | |\n| `log.format` | `\"text\"` | |\n| `announce.post` | none | |\n| `log.old` | 1 | |\n";
    let (toml, document) = (SourceFile::sample("t", toml), SourceFile::sample("docs/settings.md", rows));

    assert_complaints(missing_settings(&toml, &document), &["log.format", "log.gone", "log.old"]);
}

#[test]
fn every_variable_that_is_read_is_in_the_documents() {
    assert_none(&missing_variables(&file("src/config/process_env.rs"), &file("docs/settings.md")));
}

#[test]
fn a_variable_that_the_documents_lack_is_found() {
    let code =
        "pub(super) const ONE: &str = \"ONE\";\n/// Another.\npub(super) const OTHER: &str = \"OTHER\";\n";
    let document = SourceFile::sample("docs/settings.md", "`ONE` and ANOTHER");

    let complaints = missing_variables(&SourceFile::sample("process_env.rs", code), &document);

    assert_complaints(complaints, &["OTHER"]);
}

#[test]
fn every_command_and_flag_is_in_the_documents() {
    let world = World::new();
    let help = |arguments: &[&str]| run(&mut world.command(arguments)).stdout;
    let commands = commands(&help(&["--help"]));
    assert!(commands.len() >= 10, "the help names {commands:?}");

    let flags = commands.iter().flat_map(|command| flags(&help(&[command, "--help"])));
    let names = commands.iter().map(|command| format!("reindexd {command}")).chain(flags);

    assert_none(&missing(&names.collect::<Vec<_>>(), &file("docs/commands.md")));
}

#[test]
fn the_help_is_written_for_a_terminal_and_not_for_a_page() {
    let world = World::new();
    let help = |arguments: &[&str]| run(&mut world.command(arguments)).stdout;
    let whole = help(&["--help"]);

    for command in commands(&whole) {
        let text = help(&[&command, "--help"]);
        assert!(!text.contains('`'), "{text}");
    }
    assert!(!whole.contains('`') && whole.contains("$REINDEXD_CONFIG"), "{whole}");
}

#[test]
fn a_command_or_flag_that_the_documents_lack_is_found() {
    let help = "About.\n\nCommands:\n  run   The agent: so\n  plan  A plan\n  help  Print this\n\nOptions:\n      --wait  So\n  -k <K>    How\n      --gone\n  -h, --help  Print help\n";
    let document = SourceFile::sample("docs/commands.md", "`reindexd run --wait`, `-k 10`");

    let names = commands(help).into_iter().map(|name| format!("reindexd {name}")).chain(flags(help));

    assert_complaints(missing(&names.collect::<Vec<_>>(), &document), &["reindexd plan", "--gone"]);
}

#[test]
fn every_message_that_the_documents_explain_is_in_the_sources() {
    assert_none(&foreign_messages(&file("docs/errors.md"), &files("src", ".rs")));
}

#[test]
fn a_message_that_is_not_in_the_sources_is_found() {
    let table = "`before: it does not count`\n| `… rows are gone, 12.5 % of them`, `this one is not there` | | `nor this one here` |\n";
    let code = "#[error(\"{n} rows are gone, {percent} % of \\\n    them\")]";

    let complaints = foreign_messages(
        &SourceFile::sample("docs/errors.md", table),
        &[SourceFile::sample("src/a.rs", code)],
    );

    assert_complaints(complaints, &["this one is not there"]);
}

#[test]
fn the_line_that_ends_the_tagging_touches_the_default_marker() {
    let marker = r#"Path("data/tagging-complete").touch()"#;
    assert!(file("docs/migrating-from-ingest.md").text.contains(marker));
    assert!(file("systemd/reindexd.toml").text.contains("#marker = \"data/tagging-complete\""));
}

/// Every document for people: those at the root of the repository and those in `docs/`.
fn documents() -> Vec<SourceFile> {
    let front = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(file);
    [front.to_vec(), files("docs", ".md")].concat()
}

/// The lines outside fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Texts between backticks, outside fenced blocks.
fn inline_code(text: &str) -> Vec<&str> {
    prose(text).flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

fn missing_paths(documents: &[SourceFile], made_by_runs: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for document in documents {
        let names = inline_code(&document.text).into_iter().flat_map(str::split_whitespace);
        for name in names.filter(|name| is_path(name) && !is_made(name, made_by_runs)) {
            if !root().join(name).exists() {
                complaints.push(format!("{}: {name} does not exist", document.path));
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

/// The targets of `[text](target)`, outside code and without those on the web.
fn links(text: &str) -> Vec<&str> {
    let outside_code = prose(text).flat_map(|line| line.split('`').step_by(2));
    let targets =
        outside_code.flat_map(|part| part.split("](").skip(1)).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).collect()
}

/// The anchors of a document: its headings in lower case, with dashes for spaces.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|title| title.chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

fn broken_links(documents: &[SourceFile]) -> Vec<String> {
    let mut complaints = Vec::new();
    for document in documents {
        for target in links(&document.text) {
            let (path, anchor) = target.split_once('#').map_or((target, None), |(path, at)| (path, Some(at)));
            let wanted = if path.is_empty() { document.path.clone() } else { resolve(&document.path, path) };
            let led_to = documents.iter().find(|other| other.path == wanted);
            let resolves = match (led_to, anchor) {
                (Some(other), Some(anchor)) => anchors(&other.text).contains(anchor),
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => root().join(&wanted).exists(),
            };
            if !resolves {
                complaints.push(format!("{}: the link {target} leads nowhere", document.path));
            }
        }
    }
    complaints
}

/// A relative path, seen from the folder of `document`, as one from the root of the repository.
fn resolve(document: &str, path: &str) -> String {
    let folder = Path::new(document).parent().and_then(Path::to_str).unwrap_or_default();
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in path.split('/').filter(|name| *name != ".") {
        if name == ".." {
            names.pop();
        } else {
            names.push(name);
        }
    }
    names.join("/")
}

fn unlinked(readme: &SourceFile, documents: &[SourceFile]) -> Vec<String> {
    let linked: BTreeSet<&str> = links(&readme.text).into_iter().collect();
    let missing = documents.iter().map(|document| document.path.as_str());
    let missing = missing.filter(|path| *path != readme.path && !linked.contains(path));
    missing.map(|path| format!("{} does not link {path}", readme.path)).collect()
}

/// A layer, or a folder of several files, needs a row; a folder that holds only
/// `mod.rs` and its tests is one module.
fn unlisted_folders(map: &SourceFile, sources: &[SourceFile]) -> Vec<String> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for file in sources.iter().filter(|file| !file.is_unit_tests()) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        *sizes.entry(folder).or_default() += 1;
    }
    let needed = sizes.into_iter().filter(|(folder, size)| match folder.matches('/').count() {
        0 => false,
        1 => true,
        _ => *size > 1,
    });
    let listed: BTreeSet<&str> = inline_code(&map.text).into_iter().collect();
    let missing =
        needed.map(|(folder, _)| format!("{folder}/")).filter(|name| !listed.contains(name.as_str()));
    missing.map(|name| format!("{name} is not in the table of folders of {}", map.path)).collect()
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
            // A key at the top of the file has no section.
            found.push((format!("{section}.{key}").trim_start_matches('.').to_owned(), value));
        }
    }
    found
}

fn missing_settings(toml: &SourceFile, document: &SourceFile) -> Vec<String> {
    let settings = settings(&toml.text);
    let sections: BTreeSet<&str> =
        settings.iter().filter_map(|(key, _)| key.split_once('.')).map(|(name, _)| name).collect();
    let rows: Vec<(&str, &str)> = document
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter(|(key, _)| !key.contains(' '))
        .filter(|(key, _)| match key.split_once('.') {
            Some((section, _)) => sections.contains(section),
            None => settings.iter().any(|(name, _)| name == key),
        })
        .collect();
    let has_row = |key: &str, value: &str| {
        let row = rows.iter().find(|(named, _)| *named == key);
        row.is_some_and(|(_, rest)| rest.starts_with(&format!("`{value}` |")) || rest.starts_with("none |"))
    };
    let missing = settings.iter().filter(|(key, value)| !has_row(key, value));
    let mut complaints: Vec<String> = missing
        .map(|(key, value)| format!("{} has no row of {key} with {value} or none", document.path))
        .collect();
    let unknown = rows.iter().filter(|(named, _)| !settings.iter().any(|(key, _)| key == named));
    complaints.extend(unknown.map(|(key, _)| format!("{}: {key} is not a setting", document.path)));
    complaints
}

fn missing_variables(code: &SourceFile, document: &SourceFile) -> Vec<String> {
    let names =
        code.text.lines().filter(|line| line.contains(" const ")).filter_map(|line| line.split('"').nth(1));
    missing(&names.map(|name| format!("`{name}`")).collect::<Vec<_>>(), document)
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

fn missing(names: &[String], document: &SourceFile) -> Vec<String> {
    let missing: BTreeSet<&String> =
        names.iter().filter(|name| !document.text.contains(name.as_str())).collect();
    missing.into_iter().map(|name| format!("{} does not name {name}", document.path)).collect()
}

/// Messages are the texts in the first column of the tables. What is between
/// `…` and numbers must be in the sources, if it is long enough to recognise.
fn foreign_messages(document: &SourceFile, sources: &[SourceFile]) -> Vec<String> {
    const MIN_LENGTH: usize = 10;
    let program = sources.iter().filter(|file| !file.is_unit_tests());
    let code: String = program.map(|file| joined(file.without_tests())).collect();
    let rows = document.text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let mut complaints = Vec::new();
    for (first, _) in rows {
        let cell = format!("`{first}");
        for message in inline_code(&cell) {
            let parts = message
                .split(|c: char| c == '…' || c.is_ascii_digit())
                .map(|part| part.trim_matches([' ', '.', ':']));
            let foreign = parts.filter(|part| part.len() >= MIN_LENGTH && !code.contains(part));
            complaints.extend(foreign.map(|part| format!("{}: nothing prints {part:?}", document.path)));
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
