//! What must be bought, what can be kept.
//!
//! Rows of a snapshot come one by one, in index order. For each the
//! [`Planner`] says where its vector comes from: a build that holds it, the
//! cache, or the provider. A text is bought once, however many rows have it.
//! The served build comes first, and its rows are met in their own order, so
//! that an unchanged table costs one comparison a row and no look-up table.
//!
//! Pure: the same inputs give the same [`Plan`]. Whether the plan may be
//! carried out is `guard`'s to say, where the files lie is `builds`'.

use std::collections::{HashMap, HashSet};

use crate::domain::pass::Counts;
use crate::domain::record::{IdHash, TextHash};
use crate::domain::row_hashes::RowHashes;

/// Where a row's vector comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorOrigin {
    /// Row `row` of the build at `build` in the list that the planner was given.
    Build {
        /// Which build.
        build: u16,
        /// Which of its rows.
        row: u32,
    },
    /// The cache of vectors paid for: there already, or after this pass bought it.
    Cache,
}

/// Vectors that need not be bought, all of the space in force.
pub struct Reusable<'a> {
    /// Rows of kept builds, the likeliest first.
    pub builds: Vec<&'a [RowHashes]>,
    /// Texts whose vector is in the cache.
    pub cached: &'a HashSet<TextHash>,
    /// Of these, texts that this pass has bought: it had to look again, and they count as bought.
    pub embedded: &'a HashSet<TextHash>,
}

/// What a pass would do.
#[derive(Debug, Default)]
pub struct Plan {
    /// In rows and texts.
    pub counts: Counts,
    /// For each row of the snapshot, in index order.
    pub origins: Vec<VectorOrigin>,
    /// The builds that vectors are taken from, by their place in [`Reusable::builds`].
    pub builds_used: Vec<u16>,
}

/// Whether a row's text must be set aside for buying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The vector is at hand, or an earlier row asked for it.
    Reuse,
    /// The first row with a text that nothing holds.
    Embed,
    /// The first row with a text that this pass has bought already.
    Embedded,
}

/// Plans a snapshot row by row.
pub struct Planner<'a> {
    served: &'a [RowHashes],
    reusable: Reusable<'a>,
    /// Rows of each held build by text.
    by_text: Vec<LazyLookup<TextHash>>,
    /// Where the next vector is expected in the first held build.
    cursor: usize,
    ids: IdWalk<'a>,
    wanted: HashSet<TextHash>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    /// Begins a plan against the served build's rows and what is held.
    #[must_use]
    pub fn new(served: &'a [RowHashes], held: Reusable<'a>) -> Self {
        let by_text = held.builds.iter().map(|_| LazyLookup::default()).collect();
        Self {
            served,
            reusable: held,
            by_text,
            cursor: 0,
            ids: IdWalk { served, by_id: LazyLookup::default(), cursor: 0, found: 0 },
            wanted: HashSet::new(),
            plan: Plan::default(),
        }
    }

    /// Plans the next row.
    ///
    /// # Panics
    ///
    /// Past 4,294,967,295 rows, which `snapshot` refuses.
    pub fn row(&mut self, row: &RowHashes) -> Need {
        let (origin, verdict) = self.origin(row.text);
        let before = self.ids.find(row.id).map(|at| self.served[at]);
        let counts = &mut self.plan.counts;
        counts.records += 1;
        match verdict {
            Need::Embed | Need::Embedded => counts.embedded += 1,
            Need::Reuse => {
                counts.kept += 1;
                let differs = before.is_some_and(|served| served.record != row.record);
                counts.metadata_only += u64::from(differs && !self.wanted.contains(&row.text));
            }
        }
        if let VectorOrigin::Build { build, .. } = origin
            && !self.plan.builds_used.contains(&build)
        {
            self.plan.builds_used.push(build);
        }
        self.plan.origins.push(origin);
        verdict
    }

    /// The plan for all rows seen.
    #[must_use]
    pub fn finish(mut self) -> Plan {
        self.plan.counts.removed = self.served.len() as u64 - self.ids.found;
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
        let bought = cached && self.reusable.embedded.contains(&text);
        let verdict = if (cached && !bought) || !self.wanted.insert(text) {
            Need::Reuse
        } else if bought {
            Need::Embedded
        } else {
            Need::Embed
        };
        (VectorOrigin::Cache, verdict)
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
/// Mostly the next row is asked for, or one a little further on. A few others
/// are looked for from end to end, which for a million rows takes some
/// milliseconds and no memory; only where they are many a map pays for itself.
struct LazyLookup<K> {
    walks_left: u32,
    map: Option<HashMap<K, u32>>,
}

impl<K> Default for LazyLookup<K> {
    fn default() -> Self {
        // A map costs about as much time as so many walks.
        Self { walks_left: 16, map: None }
    }
}

impl<K: Copy + Eq + std::hash::Hash> LazyLookup<K> {
    /// Rows looked at from the expected one on.
    const NEAR: usize = 8;

    fn find(&mut self, rows: &[RowHashes], near: usize, key: &K, of: fn(&RowHashes) -> K) -> Option<u32> {
        let ahead = rows.get(near..).unwrap_or_default().iter().take(Self::NEAR);
        if let Some(at) = ahead.map(of).position(|found| found == *key) {
            return Some(index_of(near + at));
        }
        if self.map.is_none() && self.walks_left > 0 {
            self.walks_left -= 1;
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
    fn find(&mut self, id: IdHash) -> Option<usize> {
        let at = self.by_id.find(self.served, self.cursor, &id, |row| row.id).map(|at| at as usize);
        if let Some(at) = at {
            self.cursor = at + 1;
            self.found += 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::RecordHash;

    /// Rows written as `id text record`, one digit each.
    fn rows(written: &str) -> Vec<RowHashes> {
        written
            .split_whitespace()
            .map(|row| {
                let [id, text, record] = row.as_bytes() else { panic!("{row}") };
                RowHashes {
                    id: IdHash([*id; 8]),
                    text: TextHash([*text; 16]),
                    record: RecordHash([*record; 16]),
                }
            })
            .collect()
    }

    fn plan(now: &str, served: &str, older: &str, cached: &str) -> (Plan, String) {
        let (now, served, older) = (rows(now), rows(served), rows(older));
        let cached: HashSet<_> = cached.bytes().map(|text| TextHash([text; 16])).collect();
        let held = Reusable { builds: vec![&served, &older], cached: &cached, embedded: &HashSet::new() };
        let mut planner = Planner::new(&served, held);
        let bought = now
            .iter()
            .filter(|row| planner.row(row) == Need::Embed)
            .map(|row| char::from(row.text.0[0]))
            .collect();
        (planner.finish(), bought)
    }

    #[test]
    fn only_texts_without_a_vector_are_embedded() {
        let cases = [
            // what, now, served, older, cached, bought, kept, metadata only, removed
            ("first build", "1aA 2bB", "", "", "", "ab", 0, 0, 0),
            ("nothing changed", "1aA 2bB", "1aA 2bB", "", "", "", 2, 0, 0),
            ("one text changed", "1aA 2cC", "1aA 2bB", "", "", "c", 1, 0, 0),
            ("metadata alone changed", "1aA 2bC", "1aA 2bB", "", "", "", 2, 1, 0),
            ("two rows swapped texts", "1bX 2aY", "1aA 2bB", "", "", "", 2, 2, 0),
            ("copies of a new text", "1cC 2cD 3cE", "1aA", "", "", "c", 2, 0, 0),
            ("copies of an old text", "1aA 2aD", "1aA", "", "", "", 2, 0, 0),
            ("a row deleted", "2bB", "1aA 2bB", "", "", "", 1, 0, 1),
            ("all rows others", "3cC", "1aA 2bB", "", "", "c", 0, 0, 2),
            ("a row added in front", "0zZ 1aA 2bB", "1aA 2bB", "", "", "z", 2, 0, 0),
            ("a row that an older build had", "1aA 2bB", "1aA", "2bB", "", "", 2, 0, 0),
            ("a text in the cache", "1aA 2cC", "1aA 2bB", "", "c", "", 2, 1, 0),
            ("order turned round", "3cC 2bB 1aA", "1aA 2bB 3cC", "", "", "", 3, 0, 0),
        ];
        for (what, now, served, older, cached, bought, kept, metadata_only, removed) in cases {
            let (plan, texts) = plan(now, served, older, cached);

            assert_eq!(texts, bought, "{what}: bought");
            let counts = plan.counts;
            assert_eq!(counts.embedded, bought.len() as u64, "{what}: embedded");
            assert_eq!(
                (counts.kept, counts.metadata_only, counts.removed),
                (kept, metadata_only, removed),
                "{what}"
            );
            assert_eq!(
                counts.kept + counts.embedded,
                counts.records,
                "{what}: every record is kept or bought"
            );
            assert_eq!(plan.origins.len() as u64, counts.records, "{what}: an origin for every row");
        }
    }

    #[test]
    fn the_served_build_is_asked_before_older_ones_and_these_before_the_cache() {
        let (plan, _) = plan("1aA 2bB 3cC", "1aA", "1aA 2bB", "abc");

        let expected = [
            VectorOrigin::Build { build: 0, row: 0 },
            VectorOrigin::Build { build: 1, row: 1 },
            VectorOrigin::Cache,
        ];
        assert_eq!(plan.origins, expected);
        assert_eq!(plan.builds_used, [0, 1]);
    }

    #[test]
    fn a_row_is_found_wherever_it_is_asked_for_and_however_often() {
        let served: Vec<RowHashes> = (0..100)
            .map(|n| RowHashes { id: IdHash([n; 8]), text: TextHash([n; 16]), record: RecordHash([n; 16]) })
            .collect();
        let mut finder = LazyLookup::default();
        for turn in 0..100_u8 {
            let (key, near) = (turn.wrapping_mul(37) % 120, usize::from(turn) * 2);

            let found = finder.find(&served, near, &TextHash([key; 16]), |row| row.text);

            assert_eq!(found, (key < 100).then_some(u32::from(key)), "asked near {near}");
        }
        assert!(finder.map.is_some(), "many were asked for out of order");
    }

    #[test]
    fn texts_embedded_before_a_second_scan_of_a_pass_count_as_embedded_once() {
        let (now, served) = (rows("1aA 2cC 3cD 4dD"), rows("1aA 2bB"));
        let bought = HashSet::from([TextHash(*b"cccccccccccccccc")]);
        let held = Reusable { builds: vec![&served], cached: &bought, embedded: &bought };
        let mut planner = Planner::new(&served, held);

        let verdicts: Vec<_> = now.iter().map(|row| planner.row(row)).collect();

        assert_eq!(verdicts, [Need::Reuse, Need::Embedded, Need::Reuse, Need::Embed]);
        let counts = planner.finish().counts;
        assert_eq!((counts.embedded, counts.kept, counts.metadata_only), (2, 2, 0));
    }
}
