//! Reuses the vectors of `ingest.py`, for an operator who asks for the proof that they are right.
//!
//! Nothing shows that the rows of an adopted build match the table, or that its
//! vectors came from the model of the settings. So only rows whose whole record
//! equals an adopted one are taken, and only after some of them, drawn at
//! random, were embedded again and came out the same. Their vectors then go
//! through the cache, as any that exist. Otherwise every text is embedded.

use std::collections::{HashMap, HashSet};

use super::address_check::compare_vectors;
use super::context::PassContext;
use super::embed_missing::embed_sample;
use super::error::PassError;
use super::prepare::Prepared;
use super::read_table::TableSummary;
use super::text_sample::TextSample;
use crate::adapters::builds::{Build, records};
use crate::adapters::cache::Cache;
use crate::domain::pass::{Counts, Trigger};
use crate::domain::record::{RecordHash, TextHash};

/// Vectors that are stored in one step.
const BATCH: usize = 256;

/// An adopted build whose vectors may be reused.
pub(super) struct Adopted {
    build: Build,
    /// The row of each record.
    rows: HashMap<RecordHash, u32>,
}

/// The adopted build that is served; a warning says why there is none that can be trusted.
pub(super) fn find(context: &PassContext<'_>, prepared: &Prepared) -> Result<Option<Adopted>, PassError> {
    let not_reused = |why: &str| {
        context.warn(&format!("no adopted vectors are reused: {why}"));
        Ok(None)
    };
    let Some(build) = prepared.served().build().filter(|build| build.manifest.adopted) else {
        return not_reused("what is served was not adopted");
    };
    let (found, expected) = (build.manifest.dimension, context.space.dimension);
    if found != expected {
        return not_reused(&format!("they have {found} dimensions, those of the settings {expected}"));
    }
    let checks = build.run_checks(&context.stop)?;
    if let Some(failed) = checks.iter().find(|check| !check.ok) {
        return not_reused(&format!("{} is not as expected: {}", failed.name, failed.found));
    }
    let records = records::hashes(build)?;
    let rows = records.into_iter().zip(0..).collect();
    Ok(Some(Adopted { build: build.clone(), rows }))
}

impl Adopted {
    /// Draws texts of rows whose record is in the build.
    pub(super) fn sample(&self) -> TextSample {
        TextSample::of_records(self.rows.clone())
    }

    /// Texts that remain to be embedded if the vectors turn out to be right.
    pub(super) fn left_to_embed(&self, table: &TableSummary) -> u64 {
        let known: HashSet<TextHash> = self.known(table).map(|(text, _)| text).collect();
        table.plan.counts.embedded.saturating_sub(known.len() as u64)
    }

    /// Embeds some texts again, and stores the vectors of all that are in the build if they come out the
    /// same. Otherwise the new vectors are stored, and their texts returned.
    pub(super) fn prove_and_store(
        &self,
        context: &PassContext<'_>,
        table: &TableSummary,
        cache: &mut Cache,
        counts: &mut Counts,
    ) -> Result<Vec<TextHash>, PassError> {
        if table.sample.is_empty() {
            context.warn("no adopted vectors are reused: no row has a record that is in the adopted build");
            return Ok(Vec::new());
        }
        let new = embed_sample(context, Trigger::Command, &table.sample, counts)?;
        let finding = compare_vectors(&self.build, &table.sample, &new)?;
        if finding.is_same() {
            self.store_all(context, table, cache)?;
            return Ok(Vec::new());
        }
        context
            .warn(&format!("no adopted vectors are reused, every text is embedded: {}", finding.describe()));
        let (texts, vectors): (Vec<_>, Vec<_>) = new.into_iter().unzip();
        cache.store(&texts, &vectors.concat())?;
        Ok(texts)
    }

    fn store_all(
        &self,
        context: &PassContext<'_>,
        table: &TableSummary,
        cache: &mut Cache,
    ) -> Result<(), PassError> {
        let mut stored = cache.hashes();
        let missing: Vec<_> = self.known(table).filter(|(text, _)| stored.insert(*text)).collect();
        for batch in missing.chunks(BATCH) {
            context.stop.check()?;
            let (mut texts, mut vectors) = (Vec::with_capacity(BATCH), Vec::new());
            for &(text, row) in batch {
                if let Some(vector) = unit(self.build.vector(u64::from(row))?) {
                    texts.push(text);
                    vectors.extend(vector);
                }
            }
            cache.store(&texts, &vectors)?;
        }
        Ok(())
    }

    /// Rows of the table whose record is in the build: their text, and the row there.
    fn known<'a>(&'a self, table: &'a TableSummary) -> impl Iterator<Item = (TextHash, u32)> + 'a {
        table.rows.iter().filter_map(|row| Some((row.text, *self.rows.get(&row.record)?)))
    }
}

/// At unit length; `None` for one without a direction, whose text is embedded as any other.
#[allow(clippy::cast_possible_truncation, reason = "the nearest f32 is wanted")]
fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    if !length.is_finite() || length < f64::from(f32::MIN_POSITIVE) {
        return None;
    }
    for float in &mut vector {
        *float = (f64::from(*float) / length) as f32;
    }
    Some(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adopted_vector_gets_unit_length_or_is_not_used() {
        assert_eq!(unit(vec![3.0, 4.0]), Some(vec![0.6, 0.8]));
        assert_eq!(unit(vec![0.0, 1.0]), Some(vec![0.0, 1.0]));
        for vector in [vec![0.0, 0.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0], vec![]] {
            assert_eq!(unit(vector.clone()), None, "{vector:?}");
        }
    }
}
