//! `reindexd verify`: prove a build against its manifest.

use serde_json::{Value, json};

use super::{Context, DONE, FAILED, print, print_error, print_json};
use crate::adapters::builds::verify::{Check, VerifyError};
use crate::adapters::builds::{Served, error_chain};

pub(super) fn run(context: &Context, id: Option<&str>) -> u8 {
    let builds = &context.builds;
    let damaged = |why: String| {
        let check =
            Check { name: "build", ok: false, expected: "a build that can be read".to_owned(), found: why };
        print_checks(context, id.unwrap_or("current"), &[check])
    };
    let build = match id {
        Some(id) => match builds.build(id) {
            Ok(build) => build,
            Err(error @ crate::adapters::builds::BuildsError::NoSuchBuild { .. }) => {
                return print_not_verified(context, Some(id), FAILED, &error_chain(&error));
            }
            Err(error) => return damaged(error_chain(&error)),
        },
        None => match builds.served() {
            Served::Build(build) => *build,
            Served::Nothing => {
                let words = "nothing is served yet; run `reindexd build` first";
                return print_not_verified(context, None, FAILED, words);
            }
            Served::Damaged { why } => return damaged(why),
        },
    };
    match build.run_checks(&context.stop) {
        Ok(checks) => print_checks(context, &build.manifest.id, &checks),
        Err(VerifyError::Stopped) => print_not_verified(context, id, context.stop_code(), "stopped"),
        Err(error @ (VerifyError::ChecksFailed { .. } | VerifyError::Shortage(_))) => {
            print_not_verified(context, id, FAILED, &error_chain(&error))
        }
    }
}

/// The object where there was nothing to put to the proof: what is not proven is not `ok`.
pub(super) fn not_verified(id: Option<&str>, words: &str) -> Value {
    json!({ "ok": false, "build": id, "checks": [], "error": words })
}

fn print_not_verified(context: &Context, id: Option<&str>, code: u8, words: &str) -> u8 {
    if context.json {
        print_json(&not_verified(id, words));
    }
    print_error(words);
    code
}

fn print_checks(context: &Context, id: &str, checks: &[Check]) -> u8 {
    let ok = checks.iter().all(|check| check.ok);
    if context.json {
        print_json(&json!({ "ok": ok, "build": id, "checks": checks }));
    } else {
        let lines = checks.iter().map(|check| {
            if check.ok {
                format!("ok      {}: {}\n", check.name, check.found)
            } else {
                format!("FAILED  {}: expected {}, found {}\n", check.name, check.expected, check.found)
            }
        });
        let verdict = if ok { "is proven" } else { "is damaged; `reindexd build --full` makes a new one" };
        print(&format!("{}build {id} {verdict}\n", lines.collect::<String>()));
    }
    if ok { DONE } else { FAILED }
}
