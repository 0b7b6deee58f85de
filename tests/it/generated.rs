//! Files made from declarations: settings from `config::keys`, commands from clap.
//!
//! A test makes each of them again and compares. To write them, run this chapter
//! with `REINDEXD_WRITE_GENERATED=1` in the environment.

use clap::{Arg, Command, CommandFactory};
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
fn the_table_of_commands_is_generated() {
    let page = file("docs/commands.md").text;
    assert_generated("docs/commands.md", &with_part(&page, "commands", &commands_table()));
}

#[test]
fn a_part_of_a_document_is_replaced_between_its_marks_alone() {
    let page = "a\n<!-- generated: x -->\nold\n<!-- end of generated: x -->\nb\n";

    let expected = "a\n<!-- generated: x -->\n\nnew\n\n<!-- end of generated: x -->\nb\n";
    assert_eq!(with_part(page, "x", "new\n"), expected);
    assert_eq!(with_part(expected, "x", "new\n"), expected);
}

#[test]
fn a_command_is_described_by_its_names_flags_and_defaults() {
    let command = Command::new("program").arg(Arg::new("all").long("all").global(true)).subcommand(
        Command::new("find")
            .about("Find it")
            .arg(Arg::new("query").required(true).help("The question"))
            .arg(Arg::new("place"))
            .arg(Arg::new("count").short('k').default_value("10").help("How many")),
    );

    let row = "| `program find QUERY [PLACE]` | Find it. `QUERY`: the question. `-k COUNT`: how many (default 10). |";
    assert_eq!(rows(command), [row]);
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

fn commands_table() -> String {
    let rows = rows(reindexd::cli::Args::command());
    format!("| command | what it does |\n| --- | --- |\n{}\n", rows.join("\n"))
}

/// A row for each command; what all of them take is said above the table.
fn rows(mut program: Command) -> Vec<String> {
    program.build();
    let commands = program.get_subcommands().filter(|command| command.get_name() != "help");
    commands.map(|command| row(program.get_name(), command)).collect()
}

fn row(program: &str, command: &Command) -> String {
    let of_its_own =
        |arg: &&Arg| !arg.is_global_set() && !["help", "version"].contains(&arg.get_id().as_str());
    let args: Vec<&Arg> = command.get_arguments().filter(of_its_own).collect();
    let places = args
        .iter()
        .filter(|arg| arg.is_positional())
        .map(|arg| if arg.is_required_set() { shown(arg) } else { format!("[{}]", shown(arg)) });
    let name = [program.to_owned(), command.get_name().to_owned()].into_iter().chain(places);
    let about = command.get_long_about().or(command.get_about()).expect("every command has a help text");
    let about =
        [sentence(&about.to_string())].into_iter().chain(args.iter().filter_map(|arg| described(arg)));
    let about = about.collect::<Vec<_>>().join(" ").replace('|', "\\|");
    format!("| `{}` | {about} |", name.collect::<Vec<_>>().join(" "))
}

/// An argument with its help text and default.
fn described(arg: &Arg) -> Option<String> {
    let help = arg.get_long_help().or(arg.get_help())?.to_string();
    let default = arg.get_default_values().first().filter(|_| arg.get_action().takes_values());
    let help = match default.and_then(|value| value.to_str()) {
        Some(value) => format!("{help} (default {value})"),
        None => help,
    };
    Some(format!("`{}`: {}", shown(arg), sentence(&lower_first(&help))))
}

/// An argument as it is typed.
fn shown(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let value = names.first().map_or_else(|| arg.get_id().to_string(), ToString::to_string).to_uppercase();
    let flag = match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => return value,
    };
    if arg.get_action().takes_values() { format!("{flag} {value}") } else { flag }
}

/// On one line, with a full stop.
fn sentence(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}.", line.trim_end_matches('.'))
}

/// `How` as `how`, but `JSON` and `POST` as they are.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}
