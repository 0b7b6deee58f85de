//! The rows that the served build is without, and why: the first of them, and how many there are.

use jiff::Timestamp;
use serde::Serialize;

use crate::adapters::builds::{Layout, last_tries};
use crate::domain::manifest::{Manifest, QuarantinedRow};

/// Rows that are shown; `left_out` in the manifest has them all.
const MAX_SHOWN: usize = 10;

/// The quarantined rows of the served build.
#[derive(Debug, Default, Serialize)]
pub(crate) struct QuarantineStatus {
    pub(crate) count: usize,
    /// The first of them.
    pub(crate) rows: Vec<QuarantinedRowStatus>,
}

#[derive(Debug, Serialize)]
pub(crate) struct QuarantinedRowStatus {
    pub(crate) id: String,
    pub(crate) column: String,
    pub(crate) reason: String,
    /// Since when it is out.
    pub(crate) since: String,
    /// When the provider refused its text last, where that is why.
    pub(crate) refused_at: Option<Timestamp>,
}

impl QuarantineStatus {
    pub(super) fn read(layout: &Layout, served: Option<&Manifest>) -> Self {
        let Some(manifest) = served.filter(|manifest| !manifest.quarantined.is_empty()) else {
            return Self::default();
        };
        let (tries, _) = last_tries::load(layout).unwrap_or_default();
        let row = |row: &QuarantinedRow| QuarantinedRowStatus {
            id: row.id.clone(),
            column: row.column.clone(),
            reason: row.reason.clone(),
            since: row.since(manifest).to_owned(),
            refused_at: row
                .refused_text
                .and_then(|text| tries.refused_at.get(&text).copied())
                .and_then(|at| Timestamp::from_second(at).ok()),
        };
        Self {
            count: manifest.quarantined.len(),
            rows: manifest.quarantined.iter().take(MAX_SHOWN).map(row).collect(),
        }
    }
}
