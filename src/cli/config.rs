//! `reindexd config`: the settings in force and where each came from, and whether they fit the database.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Context, DONE, FAILED, USAGE, embedder, print, print_error, print_json, table};
use crate::adapters::builds::error_chain;
use crate::adapters::source::{Purpose, Source, SourceError};
use crate::config::Loaded;
use crate::decide::guard::ScanLimits;
use crate::domain::pass::ErrorClass;

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// Check settings and database instead: exit 2 for what the settings have wrong, 1 for what the database
    /// does not have; writes and sends nothing
    #[arg(long)]
    pub(super) check: bool,
}

pub(super) fn run(as_json: bool, loaded: &Loaded) -> u8 {
    if as_json {
        let all: Map<String, Value> = loaded
            .origins
            .iter()
            .map(|setting| (setting.key.clone(), json!({ "value": setting.value, "origin": setting.origin })))
            .collect();
        print_json(&json!({ "file": loaded.config.file, "settings": all }));
        return DONE;
    }
    let rows: Vec<Vec<String>> = loaded
        .origins
        .iter()
        .map(|setting| vec![setting.key.clone(), setting.value.clone(), setting.origin.clone()])
        .collect();
    print(&table::columns(&["SETTING", "VALUE", "FROM"], &rows));
    DONE
}

/// Says everything that would keep a pass from beginning.
pub(super) fn check(context: &Context) -> u8 {
    let provider = embedder(&context.config).err();
    let is_usage = provider.as_ref().is_some_and(|error| error.class() == ErrorClass::Settings);
    let source = check_source(context);
    if source.is_err() && context.stop.is_requested() {
        return context.stopped();
    }
    let mut faults: Vec<String> = provider.iter().map(|error| error_chain(error)).collect();
    let code = match (is_usage, faults.is_empty() && source.is_ok()) {
        (true, _) => USAGE,
        (false, true) => DONE,
        (false, false) => FAILED,
    };
    let what = source.unwrap_or_else(|more| {
        faults.extend(more);
        String::new()
    });
    if context.json {
        print_json(&json!({ "ok": faults.is_empty(), "file": context.config.file, "faults": faults }));
    }
    for fault in &faults {
        print_error(fault);
    }
    if faults.is_empty() && !context.json {
        print(&format!("settings and database fit: {what}\n"));
    }
    code
}

/// What is read, or each thing that is wrong with it.
fn check_source(context: &Context) -> Result<String, Vec<String>> {
    let config = &context.config;
    let database = &config.source.database;
    let limits = ScanLimits::new(&config.guard, None);
    match Source::open(database, Purpose::Preview, &context.stop, limits, &config.source_spec()) {
        Ok(source) => {
            let schema = &source.rules().schema;
            let read = format!("{} of {}", schema.rows.name(), database.display());
            Ok(format!("{read}, rows by {}, columns {}", schema.id_names(), schema.column_names()))
        }
        Err(SourceError::Settings { path, errors }) => {
            Err(errors.iter().map(|error| format!("database {}: {error}", path.display())).collect())
        }
        Err(error) => Err(vec![error_chain(&error)]),
    }
}
