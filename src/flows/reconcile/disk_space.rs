//! Room on the disk: old builds go, and a build that would not fit is refused.
//!
//! Old builds go when a pass has ended well, so that one that fails takes
//! nothing from a rollback or from the next pass, which may need a vector that
//! only the oldest build holds. Where space is short they go earlier, those
//! aside that this very pass takes vectors from.

use std::time::Duration;

use super::prepare::HeldVectors;
use super::read_table::Survey;
use super::{Pass, PassError, Progress};
use crate::adapters::builds::collect::{self, GRACE, Keep};
use crate::adapters::builds::staging::Drafted;
use crate::adapters::builds::{BuildsError, disk, with_cause};

impl Pass<'_> {
    /// Takes away builds that nobody needs any more. What fails here costs only room.
    pub(super) fn tidy(&self) {
        if let Err(error) = self.collect(self.world.config.publish.keep, GRACE, &[]) {
            (self.world.progress)(Progress::Warning(&with_cause(&error)));
        }
    }

    /// Refuses a build that would not fit, before anything is bought.
    pub(super) fn make_room(
        &self,
        drafted: &Drafted,
        survey: &Survey,
        held: &HeldVectors,
    ) -> Result<(), PassError> {
        let needed = drafted.bytes_to_come(survey.rows.len() as u64, self.world.space.dimension);
        let root = &self.builds.layout.root;
        if disk::free_bytes(root)? >= needed {
            return Ok(());
        }
        // The build in the making will be one of the newest.
        let newest = self.world.config.publish.keep.saturating_sub(1).max(1);
        self.collect(newest, Duration::ZERO, &held.used_by(&survey.plan))?;
        let free = disk::free_bytes(root)?;
        if free < needed {
            return Err(PassError::NoSpace { path: root.clone(), needed, free });
        }
        Ok(())
    }

    fn collect(&self, newest: usize, grace: Duration, used: &[&str]) -> Result<(), BuildsError> {
        let served = self.builds.named();
        let keep = Keep {
            newest,
            grace,
            served: served.as_deref(),
            used,
            state: &self.state,
            hold: self.hold.as_ref(),
            now: (self.world.clock)(),
        };
        let surplus = collect::surplus(&self.builds.ids()?, &self.builds.kept()?, &keep);
        Ok(collect::collect(&self.builds, &surplus)?)
    }
}
