//! `reindexd plan`: what a build would do.

use serde_json::json;

use super::{Context, DONE, FAILED, log_warnings, print, print_json, table};
use crate::adapters::source::path_warnings;
use crate::decide::source_path::PathWarning;
use crate::flows::reconcile::{PassOptions, Preview, preview};

pub(super) fn plan(context: &Context, check: bool) -> u8 {
    let preview = match context.with_pass(&log_warnings, |pass| preview(pass, &PassOptions::default())) {
        Ok(preview) => preview,
        Err(error) => return context.fail(&error),
    };
    let warnings = path_warnings(&context.config.source.database);
    if context.json {
        let mut object = json!(preview);
        object["warnings"] = warnings.iter().map(ToString::to_string).collect();
        print_json(&object);
    } else {
        print(&describe(&preview, &warnings));
    }
    if check && preview.changes { FAILED } else { DONE }
}

fn describe(preview: &Preview, warnings: &[PathWarning]) -> String {
    let Preview { records, kept, to_embed, requests, estimated_tokens, .. } = preview;
    if !preview.changes {
        let mut lines = vec![format!("nothing to do: {records} records are up to date")];
        lines.extend([preview.null_tags_note(), preview.too_long.note()].into_iter().flatten());
        lines.extend(warnings.iter().map(ToString::to_string));
        lines.extend(preview.reasons.iter().map(ToString::to_string));
        return lines.join("\n") + "\n";
    }
    let tokens = match estimated_tokens {
        0 => String::new(),
        tokens => format!(", about {tokens} tokens"),
    };
    let mut rows = vec![
        ("records", records.to_string()),
        ("kept", kept.to_string()),
        ("to embed", format!("{to_embed} in {requests} requests{tokens}")),
        ("queries to embed", preview.queries_to_embed.unwrap_or_default().to_string()),
        ("metadata only", preview.metadata_only.to_string()),
        ("removed", preview.removed.to_string()),
    ];
    rows.retain(|(name, _)| *name != "queries to embed" || preview.queries_to_embed.is_some());
    if preview.quarantined > 0 {
        rows.push(("quarantined", preview.quarantined.to_string()));
    }
    rows.extend(preview.null_tags_note().map(|note| ("tags", note)));
    rows.extend(preview.too_long.note().map(|note| ("too long", note)));
    rows.extend(warnings.iter().map(|warning| ("database", warning.to_string())));
    rows.extend(preview.reasons.iter().map(|reason| ("because", reason.to_string())));
    table::pairs(&rows)
}
