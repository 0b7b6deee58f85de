//! Finds out whether the provider at another address gives the vectors that are served.
//!
//! A few texts that a build of the space holds are embedded again and compared
//! with the vectors in it. Nothing of it is stored, except where an operator
//! accepts the address: then every text is embedded again, so that vectors of
//! two models never stand in one index. What the comparison means is decided by
//! `decide::address`.

use std::sync::Arc;

use super::acceptances::Acceptances;
use super::context::PassContext;
use super::embed_missing::embed_sample;
use super::error::PassError;
use super::prepare::Prepared;
use super::read_table::TableSummary;
use super::reuse::BuildRows;
use super::text_sample::{KnownText, TextSample};
use crate::adapters::builds::{Build, Proof};
use crate::decide::address::Finding;
use crate::decide::decision::OtherAddress;
use crate::domain::pass::{Counts, Trigger};
use crate::domain::record::TextHash;
use crate::domain::row_hashes::RowHashes;

/// A build of the space that was made at another address than that of the settings.
pub(super) struct Reference {
    build: Build,
    rows: Arc<Vec<RowHashes>>,
    /// Where its vectors came from.
    pub(super) from: String,
    /// Where those of the settings come from.
    pub(super) to: String,
}

/// The build that vectors of the settings' address are compared with; `None` if it was made at that address,
/// or at none that is known, or if an operator accepted that they stand apart.
pub(super) fn reference(
    context: &PassContext<'_>,
    prepared: &Prepared,
    builds: &[BuildRows],
    acceptances: &Acceptances,
) -> Option<Reference> {
    if acceptances.is_apart(context) {
        return None;
    }
    let to = context.config.embedding.address()?;
    let served = prepared.served().build().filter(|_| !prepared.rows().is_empty());
    let served = served.filter(|build| build.manifest.space.as_ref() == Some(&context.space));
    let (build, rows) = served
        .map(|build| (build, prepared.rows()))
        .or_else(|| builds.first().map(BuildRows::build_and_rows))?;
    let from = build.manifest.address.clone().filter(|from| *from != to)?;
    Some(Reference { build: build.clone(), rows: Arc::clone(rows), from, to })
}

impl Reference {
    /// What a decision needs to know of it. `asks_again`: whatever was found before.
    pub(super) fn facts(&self, acceptances: &Acceptances, asks_again: bool) -> OtherAddress {
        let known = acceptances.finding(&self.to).cloned();
        OtherAddress { from: self.from.clone(), to: self.to.clone(), known, asks_again }
    }

    /// Draws texts of the scan that the build has.
    pub(super) fn sample(&self) -> TextSample {
        TextSample::of_texts(&self.rows)
    }

    /// Compares what the provider gives now with the vectors of the build, where that is not known. Others
    /// end the pass, unless an operator accepts them.
    pub(super) fn settle(
        &self,
        context: &PassContext<'_>,
        trigger: Trigger,
        acceptances: &mut Acceptances,
        table: &TableSummary,
        counts: &mut Counts,
    ) -> Result<(), PassError> {
        let other = self.facts(acceptances, true);
        if table.plan.counts.embedded == 0 || other.is_settled() {
            return Ok(());
        }
        let finding = compare(context, trigger, &self.build, &table.sample, counts)?;
        let (refusal, is_same) = (other.refused(&finding), finding.is_same());
        let is_accepted = acceptances.record_finding(context, &self.to, finding);
        if is_same || is_accepted {
            return Ok(());
        }
        Err(PassError::OtherAddress { refusal, requests: counts.requests })
    }
}

/// Embeds texts again and compares their vectors with those of a build.
pub(super) fn compare(
    context: &PassContext<'_>,
    trigger: Trigger,
    build: &Build,
    texts: &[KnownText],
    counts: &mut Counts,
) -> Result<Finding, PassError> {
    let is_whole = match build.prove_index(&context.stop)? {
        Proof::Whole(()) => true,
        Proof::Damaged(_) => false,
        Proof::NotKnown(doubt) => return Err(doubt.into()),
    };
    if texts.is_empty() || !is_whole {
        return Ok(Finding::default());
    }
    let new = embed_sample(context, trigger, texts, counts)?;
    compare_vectors(build, texts, &new)
}

/// Compares new vectors of texts with those of a build that is known to be whole.
pub(super) fn compare_vectors(
    build: &Build,
    texts: &[KnownText],
    new: &[(TextHash, Vec<f32>)],
) -> Result<Finding, PassError> {
    let mut pairs = Vec::with_capacity(new.len());
    for (hash, new) in new {
        if let Some(known) = texts.iter().find(|known| known.hash == *hash) {
            pairs.push((build.vector(u64::from(known.row))?, new));
        }
    }
    Ok(Finding::of(pairs.iter().map(|(old, new)| (old.as_slice(), new.as_slice()))))
}
