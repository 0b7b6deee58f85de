//! Refused texts that are sent again, before the pass itself.

use super::embed_missing::Missing;
use super::error::PassError;
use super::quarantine::{DueTexts, Retries};
use super::reuse::VectorSources;
use super::{Pass, address_check, read_scan};
use crate::adapters::source::Rows;
use crate::domain::pass::Stage;

impl Pass<'_> {
    /// Sends texts again that the provider refused, before the pass itself, which then has the rows whose
    /// texts are taken now.
    pub(super) fn retry_refused(
        &mut self,
        rows: Rows,
        sources: &mut VectorSources,
        due: &DueTexts,
    ) -> Result<(), PassError> {
        let mut refused = self.prepared.take_refused(due.texts());
        let reference =
            address_check::reference(self.context, &self.prepared, sources.builds(), &self.acceptances);
        let sample = self.sample(reference.as_ref(), sources)?;
        let (drafted, table, _) = read_scan::draft(self.context, &self.prepared, rows, sources, sample)?;
        self.stopwatch.lap();
        self.stopwatch.enter(self.context, Stage::Embed);
        let missing = Missing { trigger: self.options.trigger, drafted: &drafted, table: &table };
        let (acceptances, counts) = (&mut self.acceptances, &mut self.counts);
        if due.is_proven(self.context, &missing, reference.as_ref(), acceptances, counts)?
            && due.note(self.context, &self.prepared)
        {
            let taken = due.send(self.context, &missing, &mut refused, sources.cache(), counts)?;
            self.embedded.extend(taken);
            self.retries = Retries::Made;
        }
        self.stopwatch.lap();
        self.prepared.add_refused(refused);
        self.discard(drafted);
        Ok(())
    }
}
