//! Asks a verified build the judged queries, before it is served.
//!
//! The build that is served is asked the same in the same pass, so that the
//! two are compared by one file of queries. Whether the values are good enough
//! is decided by `decide::quality`.

use super::acceptances::Acceptances;
use super::context::PassContext;
use super::error::PassError;
use super::judging::Judging;
use super::prepare::Prepared;
use crate::adapters::builds::answers::AnsweringIndex;
use crate::adapters::builds::verify::Verified;
use crate::adapters::builds::{Build, Proof};
use crate::adapters::cache::Cache;
use crate::decide::quality::{self, QualityComparison, QualityLimits};
use crate::domain::evaluate::{Evaluation, Places, RankedRow};
use crate::domain::row_hashes::RowHashes;

/// The queries of a pass, and what an operator accepts of their answers.
pub(super) struct Questioning<'a> {
    pub(super) judging: &'a Judging,
    pub(super) acceptances: &'a mut Acceptances,
}

/// A build with the answers that it gave.
struct Answered {
    places: Places,
    rankings: Vec<Vec<RankedRow>>,
}

impl Questioning<'_> {
    /// Measures a verified build of these rows, and compares it with what is served.
    ///
    /// # Errors
    ///
    /// [`PassError::Quality`] if it does not answer well enough.
    pub(super) fn evaluate(
        &mut self,
        context: &PassContext<'_>,
        prepared: &mut Prepared,
        verified: &Verified,
        rows: &[RowHashes],
        cache: &mut Cache,
    ) -> Result<Evaluation, PassError> {
        let settings = &context.config.evaluate;
        let (k, judged) = (settings.k, &self.judging.judged);
        let index = AnsweringIndex::of_verified(verified)?;
        let new = self.ask(context, &index, rows, &self.judging.vectors(cache)?)?;
        let values = new.places.measure(judged, &new.rankings, k, &|_| true);
        let evaluation = Evaluation::of(k, &values);
        let old = match self.comparable(context, prepared)? {
            None => None,
            Some(build) => {
                let index = AnsweringIndex::of_build(&build)?;
                let vectors = self.judging.vectors_for_served(cache)?;
                Some(self.ask(context, &index, prepared.rows(), &vectors)?)
            }
        };
        let ids: Vec<&str> = judged.queries.iter().map(|query| query.id.as_str()).collect();
        let comparison = old.map(|old| {
            let in_both = |record: usize| new.places.has(record) && old.places.has(record);
            let [before, after] =
                [&old, &new].map(|build| build.places.measure(judged, &build.rankings, k, &in_both));
            QualityComparison::of(settings.metric, k, &ids, &before, &after)
        });
        self.judging.warn_once(context, &mut prepared.history, &new.places);
        let limits =
            QualityLimits { metric: settings.metric, min: settings.min, max_drop: settings.max_drop };
        let lowest = quality::lowest(settings.metric, &ids, &values);
        let (accepted, is_waived) = self.acceptances.quality();
        let decision =
            quality::check(&limits, &evaluation, comparison.as_ref(), &lowest, accepted, is_waived);
        self.acceptances.record_quality(context, decision.accepted);
        match decision.refusal {
            None => Ok(evaluation),
            Some(refusal) => Err(PassError::Quality(Box::new(refusal))),
        }
    }

    fn ask(
        &self,
        context: &PassContext<'_>,
        index: &AnsweringIndex,
        rows: &[RowHashes],
        vectors: &[f32],
    ) -> Result<Answered, PassError> {
        let places = Places::find(&self.judging.judged.records, rows.iter().map(|row| row.id));
        let rankings = index.rank::<PassError>(vectors, context.config.evaluate.k, &context.stop)?;
        Ok(Answered { places, rankings })
    }

    /// The served build, if its vectors can be asked the same questions. Else it is said why not.
    fn comparable(&self, context: &PassContext<'_>, prepared: &Prepared) -> Result<Option<Build>, PassError> {
        let Some(build) = prepared.served().build() else { return Ok(None) };
        let why = if build.manifest.adopted {
            Some("nothing is known of how its vectors were made".to_owned())
        } else if build.manifest.space.as_ref() != Some(&context.space) {
            Some("it is of another space".to_owned())
        } else if self.acceptances.is_apart(context) {
            Some("its vectors came from another address".to_owned())
        } else if prepared.rows().is_empty() {
            Some("its rows cannot be read".to_owned())
        } else {
            match build.prove_index(&context.stop)? {
                Proof::Whole(()) => None,
                Proof::Damaged(why) => Some(why),
                Proof::NotKnown(doubt) => return Err(doubt.into()),
            }
        };
        let Some(why) = why else { return Ok(Some(build.clone())) };
        context.warn(&format!(
            "the new build is not compared with the served build {}, because {why}; evaluate.min alone decides",
            build.manifest.id
        ));
        Ok(None)
    }
}
