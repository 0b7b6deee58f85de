//! `reindexd init`: writes a commented settings file, and never over another one.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{DONE, FAILED, USAGE, fail, print, print_json};
use crate::adapters::builds::error_chain;
use crate::adapters::source::{TableDescription, describe};
use crate::app::code_of;
use crate::config::{InitialValues, generate, initial_values, quoted};
use crate::decide::first_settings::{DeclaredColumn, id, published, template};

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Take over what the environment and a .env of ingest.py say; never a key
    #[arg(long)]
    from_env: bool,
    /// Write settings for this table or view as it is
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
}

pub(super) fn run(json: bool, file: Option<&Path>, options: &InitArgs) -> u8 {
    let path = file.map_or_else(|| PathBuf::from("reindexd.toml"), Path::to_owned);
    let found = match initial_values(Path::new("")) {
        Ok(found) => found,
        Err(error) => return fail(json, code_of(error.class()), &error_chain(&error)),
    };
    let mut values = if options.from_env { found.values.clone() } else { Vec::new() };
    if let Some(table) = &options.table {
        match describe(&found.database, table) {
            Ok(description)
                if description.columns.iter().any(|(name, _)| name.eq_ignore_ascii_case("row")) =>
            {
                return fail(json, USAGE, &names_a_row(table));
            }
            Ok(description) => values.extend(of_table(table, &description, &found, options.from_env)),
            Err(error) => return fail(json, FAILED, &error_chain(&error)),
        }
    }
    let has_provider = values.iter().any(|(key, _)| key == "embedding.provider");
    if !found.has_api_key && !has_provider {
        values.push(("embedding.provider".to_owned(), quoted("local")));
    }
    match write_new(&path, &generate::settings_file_with(&values)) {
        Ok(()) => {
            let names: Vec<_> = values.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            if json {
                print_json(&json!({ "file": path, "values": names }));
            } else {
                print(&format!("{} is written\n{}\n", path.display(), names.join("\n")));
            }
            DONE
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let message = format!(
                "{} exists already and is left as it is; name another file with --config",
                path.display()
            );
            fail(json, USAGE, &message)
        }
        Err(error) => fail(json, FAILED, &format!("cannot write {}: {error}", path.display())),
    }
}

/// Why no settings fit a table with such a column, which are refused as well.
fn names_a_row(table: &str) -> String {
    format!(
        "{table} has a column named row, expected another name, since in a template that is the whole row; nothing was written: write source.query with an alias for it, such as SELECT \"row\" AS line, … FROM {table}, in place of source.table"
    )
}

/// The values for a table.
fn of_table(
    table: &str,
    description: &TableDescription,
    found: &InitialValues,
    has_database: bool,
) -> Vec<(String, String)> {
    let columns: Vec<_> =
        description.columns.iter().map(|(name, kind)| DeclaredColumn { name, kind }).collect();
    let list =
        |names: Vec<&str>| format!("[{}]", names.into_iter().map(quoted).collect::<Vec<_>>().join(", "));
    let key = id(&columns, &description.key, description.is_view);
    let mut values = vec![
        ("source.table", quoted(table)),
        (
            "source.id",
            if key.len() == 1 { quoted(&key[0]) } else { list(key.iter().map(String::as_str).collect()) },
        ),
        ("source.columns", list(published(&columns))),
        ("document.template", quoted(&template(&columns, &key))),
    ];
    if !has_database {
        values.push(("source.database", quoted(&found.database.display().to_string())));
    }
    values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Creates the file with the text. Others may not write it, or it would be refused as settings.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
