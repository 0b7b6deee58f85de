//! One line of `status` for each target: whether it has received the served build.
//!
//! Names and errors may hold foreign text; they are shortened and made safe for
//! a terminal. What is true of a target is `flows::deliver`'s answer.

use jiff::Timestamp;

use super::print::ago;
use crate::domain::text::one_line;
use crate::flows::deliver::TargetStatus;

const MAX_NAME_CHARS: usize = 80;
const MAX_ERROR_CHARS: usize = 400;

pub(super) fn describe_target(found: &TargetStatus, now: Timestamp) -> String {
    let ago = |at: Option<Timestamp>| at.map(|at| format!(" {}", ago(at, now))).unwrap_or_default();
    let state = match (found.up_to_date, &found.build, found.stale_since) {
        (None, ..) => "nothing to deliver yet".to_owned(),
        (Some(true), ..) => format!("up to date, received{}", ago(found.delivered_at)),
        (Some(false), None, None) => "not delivered yet".to_owned(),
        (Some(false), None, since) => format!("never delivered, failing since{}", ago(since)),
        (Some(false), Some(build), since) => format!("stale since{}, last received {build}", ago(since)),
    };
    let target = one_line(&found.target, MAX_NAME_CHARS);
    match &found.error {
        None => format!("{target}: {state}"),
        Some(error) => format!(
            "{target}: {state}; failed {}: {}",
            if found.tries == 1 { "once".to_owned() } else { format!("{} times", found.tries) },
            one_line(error, MAX_ERROR_CHARS)
        ),
    }
}
