//! `reindexd verify`: prove a build against its manifest.

use serde_json::{Value, json};

use super::{Context, DONE, FAILED, USAGE, complain, say, say_json};
use crate::adapters::builds::verify::{Check, VerifyError};
use crate::adapters::builds::{Builds, Served, with_cause};

pub(super) fn run(context: &Context, id: Option<&str>) -> u8 {
    let publish = &context.config.publish;
    let builds = match Builds::at(&publish.index, &publish.metadata) {
        Ok(builds) => builds,
        Err(error) => return unproven(context, id, USAGE, &with_cause(&error)),
    };
    let damaged = |why: String| {
        let check =
            Check { name: "build", ok: false, expected: "a build that can be read".to_owned(), found: why };
        answer(context, id.unwrap_or("current"), &[check])
    };
    let build = match id {
        Some(id) => match builds.build(id) {
            Ok(build) => build,
            Err(error @ crate::adapters::builds::BuildsError::NoSuchBuild { .. }) => {
                return unproven(context, Some(id), FAILED, &with_cause(&error));
            }
            Err(error) => return damaged(with_cause(&error)),
        },
        None => match builds.served() {
            Served::Build(build) => *build,
            Served::Nothing => {
                let words = "nothing is served yet; run `reindexd build` first";
                return unproven(context, None, FAILED, words);
            }
            Served::Broken { why } => return damaged(why),
        },
    };
    match build.prove(&|| context.stop.is_cancelled()) {
        Ok(checks) => answer(context, &build.manifest.id, &checks),
        Err(VerifyError::Stopped) => unproven(context, id, context.stop_code(), "stopped"),
        Err(error @ (VerifyError::Unproven { .. } | VerifyError::Short(_))) => {
            unproven(context, id, FAILED, &with_cause(&error))
        }
    }
}

/// The object where there was nothing to put to the proof: what is not proven is not `ok`.
pub(super) fn nothing_proven(id: Option<&str>, words: &str) -> Value {
    json!({ "ok": false, "build": id, "checks": [], "error": words })
}

fn unproven(context: &Context, id: Option<&str>, code: u8, words: &str) -> u8 {
    if context.json {
        say_json(&nothing_proven(id, words));
    }
    complain(words);
    code
}

fn answer(context: &Context, id: &str, checks: &[Check]) -> u8 {
    let ok = checks.iter().all(|check| check.ok);
    if context.json {
        say_json(&json!({ "ok": ok, "build": id, "checks": checks }));
    } else {
        let lines = checks.iter().map(|check| {
            if check.ok {
                format!("ok      {}: {}\n", check.name, check.found)
            } else {
                format!("FAILED  {}: expected {}, found {}\n", check.name, check.expected, check.found)
            }
        });
        let verdict = if ok { "is proven" } else { "is damaged; `reindexd build --full` makes a new one" };
        say(&format!("{}build {id} {verdict}\n", lines.collect::<String>()));
    }
    if ok { DONE } else { FAILED }
}
