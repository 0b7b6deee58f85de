//! Which texts a pass embeds again only to compare: for another address, or another model behind the name.

use super::address_check::Reference;
use super::error::PassError;
use super::judging::Judging;
use super::reuse::VectorSources;
use super::text_sample::TextSample;
use super::trust_adopted::Adopted;
use super::{Pass, cached_origin};

impl Pass<'_> {
    /// The texts that are compared in this pass. Where there are none and queries are embedded again: those
    /// that show whether the model is still the same; then it says so.
    pub(super) fn sample_with_queries(
        &mut self,
        known: Option<&Reference>,
        sources: &mut VectorSources,
    ) -> Result<(TextSample, bool), PassError> {
        if self.judging.is_none() {
            match Judging::read(self.context, self.options.embed_again) {
                Ok(judging) => self.judging = judging,
                Err(error) => self.not_judged = Some(error),
            }
        }
        let sample = self.sample(known, sources)?;
        match &self.judging {
            Some(judging) if sample.is_empty() => Ok((judging.sample(sources)?, true)),
            Some(_) | None => Ok((sample, false)),
        }
    }

    /// The texts that are compared before vectors of two origins stand in one index.
    pub(super) fn sample(
        &self,
        known: Option<&Reference>,
        sources: &VectorSources,
    ) -> Result<TextSample, PassError> {
        let sample = self.adopted.as_ref().map(Adopted::sample).or_else(|| known.map(Reference::sample));
        sample.map_or_else(|| cached_origin::sample(self.context, &self.prepared.builds, sources), Ok)
    }
}
