//! `reindexd plan`: what a build would do.

use super::{Context, DONE, FAILED, log_warnings, print, print_json, table};
use crate::flows::reconcile::{PassOptions, Preview, preview};

pub(super) fn plan(context: &Context, check: bool) -> u8 {
    let preview = match context.with_pass(&log_warnings, |world| preview(world, &PassOptions::default())) {
        Ok(preview) => preview,
        Err(error) => return context.fail(&error),
    };
    if context.json {
        print_json(&preview);
    } else {
        print(&describe(&preview));
    }
    if check && preview.changes { FAILED } else { DONE }
}

fn describe(preview: &Preview) -> String {
    if !preview.changes {
        return format!("nothing to do: {} records are up to date\n", preview.records);
    }
    let mut rows = vec![
        ("records", preview.records.to_string()),
        ("kept", preview.kept.to_string()),
        (
            "to embed",
            format!(
                "{} in {} requests, about {} tokens",
                preview.to_embed, preview.requests, preview.estimated_tokens
            ),
        ),
        ("metadata only", preview.metadata_only.to_string()),
        ("removed", preview.removed.to_string()),
    ];
    if preview.quarantined > 0 {
        rows.push(("left out", preview.quarantined.to_string()));
    }
    rows.extend(preview.reasons.iter().map(|reason| ("because", reason.clone())));
    table::pairs(&rows)
}
