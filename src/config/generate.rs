//! Generates the shipped settings file and the tables of docs/settings.md from `keys`.
//!
//! Tests compare both with the files in the repository; with
//! `REINDEXD_WRITE_GENERATED=1` in the environment they write them instead.

use super::declare::{Key, Reload};
use super::keys::{DIRECTORY, SECTIONS, Section};

/// Columns of a comment in the settings file.
const COLUMNS: usize = 100;

/// Variables that belong to no key, and what they are for.
const OTHER_VARIABLES: [(&str, &str); 7] = [
    ("`GOOGLE_API_KEY`, `GEMINI_API_KEY`", "the key for gemini; the first one wins"),
    ("`OPENAI_API_KEY`", "the key for openai"),
    ("`CREDENTIALS_DIRECTORY`", "where the key is looked for as `embedding-api-key`"),
    (
        "`REINDEXD_BOOT_ID`",
        "the id of the system's boot, which the unit passes because `/proc/sys` is hidden from it; it keeps two hosts on one network directory apart",
    ),
    ("`REINDEXD_CONFIG`", "the settings file"),
    (
        "`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`",
        "as in other programs; this host's own addresses are always reached directly",
    ),
    ("`NO_COLOR`", "no colour in log lines"),
];

/// The settings file of the package: every key with its default, as a comment.
#[must_use]
pub fn settings_file() -> String {
    let heading = "Settings of reindexd. Every key is here with its default, as a comment: remove the # before a line \
                 to change its value. Unknown keys are refused.";
    let names = variables().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    let sources = format!(
        "Environment variables take precedence over this file: {names}. `reindexd config` shows each value in force \
         and where it came from. Durations are written \"250ms\", \
         \"30s\", \"10m\", \"1h 30m\", \"1d\"."
    );
    let shipped = DIRECTORY.example.expect("the service has a directory of its own");
    let top = format!("{}{} = {shipped}\n", paragraph(&about(&DIRECTORY).replace('`', "")), DIRECTORY.name);
    let sections = SECTIONS.iter().map(section);
    [format!("{}#\n{}", paragraph(heading), paragraph(&sources)), top]
        .into_iter()
        .chain(sections)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A settings file with these keys switched on, each with a value as TOML; no directory is set.
#[must_use]
pub fn settings_file_with(values: &[(String, String)]) -> String {
    let mut section = "";
    let shipped = settings_file();
    let lines = shipped.lines().map(|line| {
        if let Some(name) = line.trim_start_matches('#').strip_prefix('[') {
            section = name.trim_matches(['[', ']']);
        }
        if line.starts_with(DIRECTORY.name) {
            return format!("#{line}");
        }
        let key = line.strip_prefix('#').and_then(|line| line.split_once(" = ")).map(|(key, _)| key);
        let value = key.and_then(|key| values.iter().find(|(path, _)| *path == format!("{section}.{key}")));
        match (key, value) {
            (Some(key), Some((_, value))) => format!("{key} = {value}"),
            _ => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn section(section: &Section) -> String {
    let heading = if section.is_list {
        let about = "Targets to notify of a new build; none by default. One block for each, with either post or command.";
        format!("{}#[[{}]]\n", paragraph(about), section.name)
    } else {
        format!("[{}]\n", section.name)
    };
    let keys = section.keys.iter().map(|key| {
        let value = key.default.or(key.example).expect("every key has a default or an example");
        format!("{}#{} = {value}\n", paragraph(&about(key).replace('`', "")), key.name)
    });
    [heading].into_iter().chain(keys).collect()
}

/// The table of keys.
#[must_use]
pub fn keys_table() -> String {
    let keys =
        [&DIRECTORY].into_iter().chain(SECTIONS.iter().flat_map(|section| section.keys.iter().copied()));
    let rows = keys.map(|key| {
        let default = key.default.map_or_else(|| "none".to_owned(), |default| format!("`{default}`"));
        format!("| `{}` | {default} | {} |\n", key.path(), about(key))
    });
    ["| key | default | what it is |\n| --- | --- | --- |\n".to_owned()].into_iter().chain(rows).collect()
}

/// The table of environment variables.
#[must_use]
pub fn variables_table() -> String {
    let of_keys = variables().map(|(name, key)| format!("| `{name}` | `{}` |\n", key.path()));
    let others = OTHER_VARIABLES.iter().map(|(names, purpose)| format!("| {names} | {purpose} |\n"));
    let heading = "| variable | what it sets |\n| --- | --- |\n".to_owned();
    [heading].into_iter().chain(of_keys).chain(others).collect()
}

/// The variables that set a key.
fn variables() -> impl Iterator<Item = (&'static str, &'static Key)> {
    let keys = SECTIONS.into_iter().flat_map(|section| section.keys);
    keys.filter_map(|key| key.variable.map(|name| (name, *key)))
}

/// What is declared about a key, as sentences.
fn about(key: &Key) -> String {
    let declared = key.about.iter().map(|line| line.trim().to_owned());
    let range = key.bounds().map(|[from, to]| format!("{from} to {to}."));
    let reload = (key.reload == Reload::Restart).then(|| "Needs a restart.".to_owned());
    declared.chain(range).chain(reload).collect::<Vec<_>>().join(" ")
}

/// A text as comments of the settings file.
fn paragraph(text: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is a first line");
        if last.len() + 1 + word.len() > COLUMNS {
            lines.push(format!("# {word}"));
        } else {
            *last = format!("{last} {word}");
        }
    }
    lines.join("\n") + "\n"
}
