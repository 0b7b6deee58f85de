//! A build as other programs see it: the `--json` commands print this object,
//! and each announcement sends it.
//!
//! The lists and digests of the manifest stay on disk. The keys are those of
//! 0.1.0: a new one may be added, none is renamed or removed.

use serde_json::{Value, json};

use crate::domain::manifest::Manifest;
use crate::domain::pass::Timings;

pub(crate) fn summary(manifest: &Manifest, timings: &Timings) -> Value {
    let mut summary = json!({
        "id": manifest.id,
        "sequence": manifest.sequence,
        "created": manifest.created,
        "trigger": manifest.trigger,
        "adopted": manifest.adopted,
        "space": manifest.space,
        "content_hash": manifest.content_hash,
        "ntotal": manifest.ntotal,
        "dimension": manifest.dimension,
        "metric": manifest.metric,
        "records": manifest.counts.records,
        "kept": manifest.counts.kept,
        "embedded": manifest.counts.embedded,
        "metadata_only": manifest.counts.metadata_only,
        "removed": manifest.counts.removed,
        "requests": manifest.counts.requests,
        "too_long": manifest.source.too_long.rows,
        "left_out": manifest.quarantined.len(),
        "took_ms": timings.total,
        "phases_ms": timings,
        "previous": manifest.previous,
    });
    // Not known of builds that an earlier program made.
    if manifest.counts.texts_sent > 0 {
        summary["texts_sent"] = manifest.counts.texts_sent.into();
    }
    // Only where judged queries were asked.
    if let Some(evaluation) = &manifest.evaluation {
        summary["evaluation"] = json!(evaluation);
    }
    summary
}
