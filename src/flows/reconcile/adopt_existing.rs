//! Adopts what `ingest.py` left under the public names, and records it.

use super::context::PassContext;
use super::error::PassError;
use crate::adapters::builds::adopt::{self, Adoption};
use crate::adapters::builds::history::History;
use crate::adapters::builds::{Builds, Served, error_chain};
use crate::domain::pass::PromotedBy;

pub(super) fn adopt_existing(
    context: &PassContext<'_>,
    builds: &Builds,
    served: &Served,
    sequence: u64,
    history: &mut History,
) -> Result<Adoption, PassError> {
    let now = context.now();
    let adoption = adopt::adopt(builds, served, sequence, now.at, &context.stop)?;
    if let Adoption::Adopted { build, mismatch } = &adoption {
        let id = &build.manifest.id;
        context.warn(&format!("adopted the files of ingest.py as build {id}"));
        if let Some(mismatch) = mismatch {
            context.warn(&format!("the adopted files do not belong together: {mismatch}"));
        }
        history.record_promotion(id, PromotedBy::Adopt.as_str(), now);
        if let Err(error) = history.save(&builds.layout) {
            context.warn(&error_chain(&error));
        }
    }
    Ok(adoption)
}
