//! `reindexd verify`: compares the files of a build with its manifest.

use serde_json::{Value, json};

use super::{Context, DONE, FAILED, print, print_error, print_json};
use crate::adapters::builds::verify::{Check, VerifyError};
use crate::adapters::builds::{Build, BuildsError, Served, error_chain};

/// The words of `result`.
const WHOLE: &str = "whole";
const DAMAGED: &str = "damaged";
const NOT_KNOWN: &str = "not known";

pub(super) fn run(context: &Context, id: Option<&str>) -> u8 {
    let build = match find(context, id) {
        Ok(build) => build,
        Err(NoBuild::NotKnown(message)) => return print_not_verified(context, id, FAILED, &message),
        Err(NoBuild::Damaged(found)) => {
            let expected = "a build that can be read".to_owned();
            let check = Check { name: "build", ok: false, expected, found };
            return print_checks(context, id.unwrap_or("current"), &[check]);
        }
    };
    match build.run_checks(&context.stop) {
        Ok(checks) => print_checks(context, &build.manifest.id, &checks),
        Err(VerifyError::Stopped) => print_not_verified(context, id, context.stop_code(), "stopped"),
        Err(error @ (VerifyError::ChecksFailed { .. } | VerifyError::NotKnown(_))) => {
            print_not_verified(context, id, FAILED, &error_chain(&error))
        }
    }
}

/// Why there is no build to read.
pub(super) enum NoBuild {
    /// It does not exist, or whether it is whole could not be found out.
    NotKnown(String),
    Damaged(String),
}

/// The build of this id, or the served one.
pub(super) fn find(context: &Context, id: Option<&str>) -> Result<Build, NoBuild> {
    let Some(id) = id else {
        return match context.builds.served() {
            Served::Build(build) => Ok(*build),
            Served::Nothing => {
                Err(NoBuild::NotKnown("nothing is served yet; run `reindexd build` first".to_owned()))
            }
            Served::Damaged { why } => Err(NoBuild::Damaged(why)),
            Served::NotKnown(doubt) => Err(NoBuild::NotKnown(error_chain(&doubt))),
        };
    };
    context.builds.build(id).map_err(|error| match error {
        BuildsError::Damaged { .. } => NoBuild::Damaged(error_chain(&error)),
        other => NoBuild::NotKnown(error_chain(&other)),
    })
}

/// The object if nothing was compared: what is not verified is not `ok`.
pub(super) fn not_verified(id: Option<&str>, message: &str) -> Value {
    json!({ "ok": false, "result": NOT_KNOWN, "build": id, "checks": [], "error": message })
}

fn print_not_verified(context: &Context, id: Option<&str>, code: u8, message: &str) -> u8 {
    if context.json {
        print_json(&not_verified(id, message));
    }
    print_error(message);
    code
}

fn print_checks(context: &Context, id: &str, checks: &[Check]) -> u8 {
    let ok = checks.iter().all(|check| check.ok);
    if context.json {
        print_json(
            &json!({ "ok": ok, "result": if ok { WHOLE } else { DAMAGED }, "build": id, "checks": checks }),
        );
    } else {
        let lines: String = checks.iter().map(check_line).collect();
        let result = if ok { "is verified" } else { "is damaged; `reindexd build --full` makes a new one" };
        print(&format!("{lines}build {id} {result}\n"));
    }
    if ok { DONE } else { FAILED }
}

fn check_line(check: &Check) -> String {
    let Check { name, ok, expected, found } = check;
    if *ok {
        format!("ok      {name}: {found}\n")
    } else {
        format!("FAILED  {name}: expected {expected}, found {found}\n")
    }
}
