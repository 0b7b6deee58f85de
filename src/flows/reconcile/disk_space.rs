//! Room on the disk: old builds go, and a build that would not fit is refused.
//!
//! Old builds go when a pass has ended well, so that one that fails takes
//! nothing from a rollback or from the next pass, which may need a vector that
//! only the oldest build holds. Where space is short they go earlier, those
//! aside that this very pass takes vectors from.

use std::time::Duration;

use super::prepare::VectorSources;
use super::read_table::TableSummary;
use super::{Pass, PassError, PassProgress};
use crate::adapters::builds::collect::{self, RetentionRules};
use crate::adapters::builds::history::READER_GRACE;
use crate::adapters::builds::staging::Drafted;
use crate::adapters::builds::{BuildsError, disk, error_chain};

impl Pass<'_> {
    /// Takes away builds that nobody needs any more. What fails here costs only room.
    pub(super) fn collect_old_builds(&self) {
        if let Err(error) = self.collect(self.context.config.publish.keep, READER_GRACE, &[]) {
            (self.context.progress)(PassProgress::Warning(&error_chain(&error)));
        }
    }

    /// Refuses a build that would not fit, before anything is bought.
    pub(super) fn ensure_disk_space(
        &self,
        drafted: &Drafted,
        survey: &TableSummary,
        held: &VectorSources,
    ) -> Result<(), PassError> {
        let needed = drafted.bytes_remaining(survey.rows.len() as u64, self.context.space.dimension);
        let root = &self.builds.layout.root;
        if disk::free_bytes(root)? >= needed {
            return Ok(());
        }
        // The build in the making will be one of the newest.
        let newest = self.context.config.publish.keep.saturating_sub(1).max(1);
        self.collect(newest, Duration::ZERO, &held.used_by(&survey.plan))?;
        let free = disk::free_bytes(root)?;
        if free < needed {
            return Err(PassError::NoSpace { path: root.clone(), needed, free });
        }
        Ok(())
    }

    fn collect(&self, newest: usize, grace: Duration, used: &[&str]) -> Result<(), BuildsError> {
        let served = self.builds.served_id();
        let keep = RetentionRules {
            newest,
            grace,
            served: served.as_deref(),
            used,
            state: &self.history,
            hold: self.hold.as_ref(),
            now: (self.context.clock)(),
        };
        let surplus = collect::surplus(&self.builds.ids()?, &self.builds.kept()?, &keep);
        Ok(collect::collect(&self.builds, &surplus)?)
    }
}
