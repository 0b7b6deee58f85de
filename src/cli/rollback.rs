//! `reindexd rollback`: serves an earlier build and holds it.

use serde_json::json;

use super::{Context, DONE, log_warnings, print, print_json};
use crate::flows::reconcile::{PassError, Rollback, RollbackReport, release, rollback};

pub(super) fn run(context: &Context, to: Option<String>, accept_space: bool) -> u8 {
    code(context, switch_back(context, &Rollback { to, by: requester(), accept_space }))
}

pub(super) fn end_hold(context: &Context) -> u8 {
    code(context, release_hold(context))
}

fn code(context: &Context, result: Result<(), PassError>) -> u8 {
    match result {
        Ok(()) => DONE,
        Err(error) => context.fail(&error),
    }
}

fn release_hold(context: &Context) -> Result<(), PassError> {
    let was_held = context.with_pass(&log_warnings, release)?;
    if context.json {
        print_json(&json!({ "released": was_held }));
    } else if was_held {
        print("the hold has ended; the next pass builds what the table has\n");
    } else {
        print("there is no hold\n");
    }
    Ok(())
}

fn switch_back(context: &Context, asked: &Rollback) -> Result<(), PassError> {
    let RollbackReport { from, to } = context.with_pass(&log_warnings, |pass| rollback(pass, asked))?;
    context.deliver_once();
    if context.json {
        print_json(&json!({ "outcome": "rolled back", "from": from, "build": to }));
    } else {
        let from = from.as_deref().unwrap_or("nothing");
        print(&format!("{to} is served in place of {from}, and held until the table changes\n"));
    }
    Ok(())
}

/// Who asked, for the hold: the user id, which needs no name service.
fn requester() -> String {
    format!("uid {}", rustix::process::getuid().as_raw())
}
