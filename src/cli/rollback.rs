//! `reindexd rollback`: serve an earlier build, and hold it.

use serde_json::json;

use super::{Context, DONE, log_warnings, print, print_json};
use crate::flows::reconcile::{Rollback, release, rollback};

pub(super) fn run(context: &Context, to: Option<String>, ends: bool) -> u8 {
    if ends {
        return match context.with_pass(&log_warnings, release) {
            Ok(held) => {
                if context.json {
                    print_json(&json!({ "released": held }));
                } else {
                    print(if held {
                        "the hold has ended; the next pass builds what the table has\n"
                    } else {
                        "there is no hold\n"
                    });
                }
                DONE
            }
            Err(error) => context.fail(&error),
        };
    }
    let asked = Rollback { to, by: requester() };
    match context.with_pass(&log_warnings, |world| rollback(world, &asked)) {
        Ok(done) => {
            context.deliver_once();
            if context.json {
                print_json(&json!({ "outcome": "rolled back", "from": done.from, "build": done.to }));
            } else {
                let from = done.from.as_deref().unwrap_or("nothing");
                print(&format!(
                    "{} is served in place of {from}, and held until the table changes\n",
                    done.to
                ));
            }
            DONE
        }
        Err(error) => context.fail(&error),
    }
}

/// Who asked, for the hold: the name a person logged in with, as far as the system says.
fn requester() -> String {
    format!("uid {}", rustix::process::getuid().as_raw())
}
