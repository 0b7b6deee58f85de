//! A `--rebuy` that has not ended: its vectors wait for the next one.

use jiff::Timestamp;
use serde::Serialize;

use crate::adapters::builds::Layout;
use crate::adapters::cache;
use crate::domain::record::Space;

/// Of each space, what a `--rebuy` has embedded and no build has.
#[derive(Debug, Serialize)]
pub(crate) struct RebuyStatus {
    pub(crate) space: Space,
    pub(crate) began: Option<Timestamp>,
    pub(crate) vectors: u64,
}

impl RebuyStatus {
    /// None where the cache cannot be read: the drift says so.
    pub(super) fn read(layout: &Layout, served: Option<&str>) -> Vec<Self> {
        let marks = cache::rebuys(&layout.cache()).unwrap_or_default();
        let open = marks.into_iter().filter(|mark| mark.build.is_none() || mark.build.as_deref() != served);
        open.map(|mark| Self {
            space: mark.space,
            began: Timestamp::from_second(mark.began).ok(),
            vectors: mark.vectors,
        })
        .collect()
    }
}
