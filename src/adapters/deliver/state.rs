//! Records which build each target received: `.reindexd/announced.json`.
//!
//! A target is known by its name, so the record outlives
//! restarts and is shared by the agent and the commands. Every change is made
//! under the lock of the notes. A damaged file counts as empty: then each
//! target receives the served build once more.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::adapters::builds::json_file::{change_note, load as load_note, path};
use crate::adapters::builds::{DiskError, Layout};

/// The name of the file among the notes.
const NOTE: &str = "announced";

/// What each target received, by the target's name.
pub type DeliveryStates = BTreeMap<String, DeliveryState>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeliveryState {
    /// The last build that the target received, and confirmed if it was asked to.
    pub build: Option<String>,
    /// When that was.
    pub at: Option<Timestamp>,
    /// Set while the last delivery may not have been received.
    pub failing: Option<DeliveryFailure>,
}

/// The last of one or more deliveries in a row that failed or were not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryFailure {
    /// When the first of them failed.
    pub since: Timestamp,
    /// How many they are.
    pub tries: u32,
    /// The build of the last one.
    pub build: String,
    /// When the last one failed.
    pub at: Timestamp,
    /// Why the last one failed.
    pub error: String,
}

impl DeliveryState {
    /// The build that the target certainly received last. While the last
    /// delivery failed there is none: it may have been received all the same.
    #[must_use]
    pub fn confirmed(&self) -> Option<&str> {
        self.build.as_deref().filter(|_| self.failing.is_none())
    }

    pub fn record_success(&mut self, build: &str, now: Timestamp) {
        *self = Self { build: Some(build.to_owned()), at: Some(now), failing: None };
    }

    pub fn record_failure(&mut self, build: &str, error: String, now: Timestamp) {
        let (since, tries) = self.failing.as_ref().map_or((now, 0), |before| (before.since, before.tries));
        let tries = tries.saturating_add(1);
        self.failing = Some(DeliveryFailure { since, tries, build: build.to_owned(), at: now, error });
    }
}

#[must_use]
pub fn load(layout: &Layout) -> DeliveryStates {
    load_note(&path(layout, NOTE)).0
}

/// Changes the record while no other process does.
///
/// # Errors
///
/// [`DiskError`] if the lock cannot be had or the file cannot be replaced.
pub fn change(layout: &Layout, change: impl FnOnce(&mut DeliveryStates)) -> Result<(), DiskError> {
    change_note(layout, NOTE, change)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_delivery_is_confirmed_until_the_next_one_fails() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut target = DeliveryState::default();
        assert_eq!(target.confirmed(), None);

        target.record_success("a", at(1));
        assert_eq!(target.confirmed(), Some("a"));
        target.record_failure("b", "no answer".to_owned(), at(2));
        target.record_failure("c", "refused".to_owned(), at(3));

        assert_eq!((target.confirmed(), target.build.as_deref(), target.at), (None, Some("a"), Some(at(1))));
        let failing = target.failing.clone().unwrap();
        let found =
            (failing.since, failing.tries, failing.build.as_str(), failing.at, failing.error.as_str());
        assert_eq!(found, (at(2), 2, "c", at(3), "refused"));
        target.record_success("c", at(4));
        assert_eq!((target.confirmed(), &target.failing), (Some("c"), &None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_of_deliveries_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let folder = tempfile::tempdir().unwrap();
            let layout = Layout::new(&folder.path().join("faiss.index"), &folder.path().join("metadata.json"));
            let layout = layout.unwrap();
            std::fs::create_dir(&layout.private).unwrap();
            std::fs::write(path(&layout, NOTE), &bytes).unwrap();
            drop(load(&layout));
        }
    }
}
