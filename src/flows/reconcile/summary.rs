//! The one line that an operator reads about a pass.

use crate::domain::pass::{Counts, Outcome};

/// The line for a pass that ended like this; `build` is served now.
pub(super) fn summary(outcome: Outcome, build: &str, counts: &Counts) -> String {
    let Counts { records, kept, embedded, metadata_only, removed, requests, .. } = counts;
    match outcome {
        Outcome::Promoted => format!(
            "build={build} records={records} kept={kept} embedded={embedded} metadata_only={metadata_only} removed={removed} requests={requests}"
        ),
        Outcome::Held => format!("build={build} is held by a rollback until the table changes"),
        Outcome::Unchanged | Outcome::Refused | Outcome::Failed(_) | Outcome::Busy | Outcome::Stopped => {
            format!("build={build} records={records}")
        }
    }
}
