//! Decides which texts are embedded and which vectors are reused.
//!
//! Rows of a scan come one by one, in index order. For each the [`Planner`]
//! says where its vector comes from: a kept build, the cache, or the provider.
//! A text is embedded once, however many rows have it. The served build comes
//! first, and its rows are met in their own order, so that an unchanged table
//! costs one comparison a row and no lookup table.
//!
//! Pure: the same inputs give the same [`Plan`]. Whether it may be carried out
//! is `guard`'s decision; where vectors are stored is `builds`' and `cache`'s.

use std::collections::{HashMap, HashSet};

use crate::domain::pass::Counts;
use crate::domain::record::{IdHash, TextHash};
use crate::domain::row_hashes::RowHashes;

/// Where a row's vector comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorOrigin {
    /// Row `row` of the build at `build` in [`Reusable::builds`].
    Build { build: u16, row: u32 },
    /// The cache: there already, or after this pass has embedded the text.
    Cache,
}

/// Vectors that can be reused, all of the space of the settings.
pub struct Reusable<'a> {
    /// Rows of kept builds, the likeliest first.
    pub builds: Vec<&'a [RowHashes]>,
    /// Texts whose vector is in the cache.
    pub cached: &'a HashSet<TextHash>,
    /// Of these, texts that this pass embedded before it had to read the table again: they count as embedded.
    pub embedded: &'a HashSet<TextHash>,
}

/// What a pass would do.
#[derive(Debug, Default)]
pub struct Plan {
    pub counts: Counts,
    /// One for each row, in index order.
    pub origins: Vec<VectorOrigin>,
    /// The builds that vectors are taken from, by their place in [`Reusable::builds`].
    pub builds_used: Vec<u16>,
    pub again: EmbeddedAgain,
}

/// Entries of the served build for which a text is embedded again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbeddedAgain {
    pub entries: u64,
    /// Of these, entries whose text is another one.
    pub other_texts: u64,
}

/// Whether a row's text must be embedded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The vector exists, or an earlier row needs the same one.
    Reuse,
    /// The first row with a text that has no vector.
    Embed,
    /// The first row with a text that this pass has embedded already.
    Embedded,
}

/// Plans a table row by row.
pub struct Planner<'a> {
    served: &'a [RowHashes],
    served_records: u64,
    reusable: Reusable<'a>,
    /// Rows of each reusable build by text.
    by_text: Vec<LazyLookup<TextHash>>,
    /// Where the next vector is expected in the first build.
    cursor: usize,
    ids: IdWalk<'a>,
    /// Texts without a vector that a row before has.
    needed: HashSet<TextHash>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    /// `served`: entries of the served build, with which records and ids are compared; `served_records`:
    /// how many rows of the source they are.
    #[must_use]
    pub fn new(served: &'a [RowHashes], served_records: u64, reusable: Reusable<'a>) -> Self {
        let by_text = reusable.builds.iter().map(|_| LazyLookup::default()).collect();
        Self {
            served,
            served_records,
            reusable,
            by_text,
            cursor: 0,
            ids: IdWalk { served, by_id: LazyLookup::default(), cursor: 0, found: 0 },
            needed: HashSet::new(),
            plan: Plan::default(),
        }
    }

    /// Plans the next entry of the index. `begins_row`: not where it is a further chunk of a row.
    ///
    /// # Panics
    ///
    /// Past 4,294,967,295 rows, which `source` refuses.
    pub fn row(&mut self, row: &RowHashes, begins_row: bool) -> Need {
        let (origin, need) = self.origin(row.text);
        let before = self.ids.find(row.id, begins_row).map(|at| self.served[at]);
        let counts = &mut self.plan.counts;
        counts.records += u64::from(begins_row);
        match need {
            Need::Embed | Need::Embedded => {
                counts.embedded += 1;
                self.plan.again.entries += u64::from(before.is_some());
                let is_other = before.is_some_and(|served| served.text != row.text);
                self.plan.again.other_texts += u64::from(is_other);
            }
            Need::Reuse => {
                counts.kept += 1;
                let differs = before.is_some_and(|served| served.record != row.record);
                counts.metadata_only += u64::from(differs && !self.needed.contains(&row.text));
            }
        }
        if let VectorOrigin::Build { build, .. } = origin
            && !self.plan.builds_used.contains(&build)
        {
            self.plan.builds_used.push(build);
        }
        self.plan.origins.push(origin);
        need
    }

    /// Whether a text has a vector that can be reused.
    pub fn has_vector(&mut self, text: TextHash) -> bool {
        let cursor = self.cursor;
        let is_in_build = (0..self.reusable.builds.len()).any(|build| self.find(build, text).is_some());
        self.cursor = cursor;
        is_in_build || self.reusable.cached.contains(&text)
    }

    /// The plan for all rows seen.
    #[must_use]
    pub fn finish(mut self) -> Plan {
        // A build of an earlier version may have an id twice, and then has fewer ids than rows.
        self.plan.counts.removed = self.served_records.saturating_sub(self.ids.found);
        self.plan
    }

    fn origin(&mut self, text: TextHash) -> (VectorOrigin, Need) {
        for build in 0..self.reusable.builds.len() {
            if let Some(row) = self.find(build, text) {
                let build = u16::try_from(build).expect("kept builds are few");
                return (VectorOrigin::Build { build, row }, Need::Reuse);
            }
        }
        let cached = self.reusable.cached.contains(&text);
        let embedded = cached && self.reusable.embedded.contains(&text);
        let need = if (cached && !embedded) || !self.needed.insert(text) {
            Need::Reuse
        } else if embedded {
            Need::Embedded
        } else {
            Need::Embed
        };
        (VectorOrigin::Cache, need)
    }

    fn find(&mut self, build: usize, text: TextHash) -> Option<u32> {
        let near = if build == 0 { self.cursor } else { usize::MAX };
        let found = self.by_text[build].find(self.reusable.builds[build], near, &text, |row| row.text);
        if let (0, Some(row)) = (build, found) {
            self.cursor = row as usize + 1;
        }
        found
    }
}

/// Finds rows by one of their hashes.
///
/// Mostly it is the expected row, or one a little further on. A few others are
/// searched from end to end, which for a million rows takes some milliseconds
/// and no memory; only for many of them a map is worth its cost.
struct LazyLookup<K> {
    searches_left: u32,
    map: Option<HashMap<K, u32>>,
}

impl<K> Default for LazyLookup<K> {
    fn default() -> Self {
        // A map costs about as much time as so many searches.
        Self { searches_left: 16, map: None }
    }
}

impl<K: Copy + Eq + std::hash::Hash> LazyLookup<K> {
    /// Rows compared from the expected one on.
    const NEAR: usize = 8;

    fn find(&mut self, rows: &[RowHashes], near: usize, key: &K, of: fn(&RowHashes) -> K) -> Option<u32> {
        let ahead = rows.get(near..).unwrap_or_default().iter().take(Self::NEAR);
        if let Some(at) = ahead.map(of).position(|found| found == *key) {
            return Some(index_of(near + at));
        }
        if self.map.is_none() && self.searches_left > 0 {
            self.searches_left -= 1;
            return rows.iter().position(|row| of(row) == *key).map(index_of);
        }
        let all = || rows.iter().enumerate().map(|(at, row)| (of(row), index_of(at))).collect();
        self.map.get_or_insert_with(all).get(key).copied()
    }
}

fn index_of(row: usize) -> u32 {
    u32::try_from(row).expect("a build has fewer than 2^32 rows")
}

/// Finds served rows by id, in the order in which both tables are sorted.
struct IdWalk<'a> {
    served: &'a [RowHashes],
    by_id: LazyLookup<IdHash>,
    cursor: usize,
    found: u64,
}

impl IdWalk<'_> {
    /// `counts`: whether it is the first entry of a row.
    fn find(&mut self, id: IdHash, counts: bool) -> Option<usize> {
        let at = self.by_id.find(self.served, self.cursor, &id, |row| row.id).map(|at| at as usize);
        if let Some(at) = at {
            self.cursor = at + 1;
            self.found += u64::from(counts);
        }
        at
    }
}

#[cfg(test)]
mod tests;
