//! `reindexd config`: the settings in force and where each came from.

use serde_json::{Map, Value, json};

use super::{DONE, print, print_json, table};
use crate::config::Loaded;

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
