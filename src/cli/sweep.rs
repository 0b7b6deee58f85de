//! `reindexd sweep`: removes stale staging.

use std::path::PathBuf;

use serde_json::json;

use super::{BUSY, Context, DONE, FAILED, code_of, fail, print, print_json};
use crate::adapters::builds::{error_chain, sweep};
use crate::domain::text::visible;

pub(super) fn run(context: &Context) -> u8 {
    let builds = &context.builds;
    if !builds.is_prepared() {
        // The lock would make the directories.
        print_removed(context, &[]);
        return DONE;
    }
    let lock = match builds.lock() {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            return fail(context.json, BUSY, "another pass is running, and has removed stale staging itself");
        }
        Err(error) => {
            return fail(context.json, code_of(error.class()), &error_chain(&error));
        }
    };
    let swept = sweep::sweep(builds);
    drop(lock);
    if let Some(error) = swept.failures.first() {
        for path in &swept.removed {
            tracing::info!(path = %path.display(), "sweep: stale staging removed");
        }
        return fail(context.json, FAILED, &error_chain(error));
    }
    print_removed(context, &swept.removed);
    DONE
}

fn print_removed(context: &Context, removed: &[PathBuf]) {
    let removed: Vec<String> = removed.iter().map(|path| path.display().to_string()).collect();
    if context.json {
        print_json(&json!({ "removed": removed }));
    } else if removed.is_empty() {
        print("nothing to sweep\n");
    } else {
        for path in &removed {
            print(&format!("removed {}\n", visible(path)));
        }
    }
}
