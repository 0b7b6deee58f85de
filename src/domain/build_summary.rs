//! A build as other programs see it: the `--json` commands print this object,
//! and each announcement sends it.
//!
//! The lists and digests of the manifest stay on disk. The keys are those of
//! 0.1.0: a new one may be added, none is renamed or removed.

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::manifest::{Manifest, Phases};

/// How long a build took, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Spent {
    #[serde(flatten)]
    pub phases: Phases,
    pub total: u64,
}

impl Spent {
    /// As the manifest has it, which is written before the promotion ends.
    pub(crate) fn written(manifest: &Manifest) -> Self {
        Self { phases: manifest.took_ms.phases(None), total: manifest.took_ms.total }
    }
}

pub(crate) fn summary(manifest: &Manifest, spent: &Spent) -> Value {
    json!({
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
        "left_out": manifest.quarantined.len(),
        "took_ms": spent.total,
        "phases_ms": spent,
        "previous": manifest.previous,
    })
}
