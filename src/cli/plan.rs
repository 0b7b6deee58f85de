//! `reindexd plan`: what a build would do.

use super::{Context, DONE, FAILED, say, say_json, table, warn_only};
use crate::flows::reconcile::{Job, Preview, preview};

pub(super) fn plan(context: &Context, check: bool) -> u8 {
    let preview = match context.in_world(&warn_only, |world| preview(world, &Job::default())) {
        Ok(preview) => preview,
        Err(error) => return context.fail(&error),
    };
    if context.json {
        say_json(&preview);
    } else {
        say(&words(&preview));
    }
    if check && preview.changes { FAILED } else { DONE }
}

fn words(preview: &Preview) -> String {
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
    if preview.left_out > 0 {
        rows.push(("left out", preview.left_out.to_string()));
    }
    rows.extend(preview.reasons.iter().map(|reason| ("because", reason.clone())));
    table::pairs(&rows)
}
