//! Where the judged records stand in a build, and what its rankings are worth.
//!
//! A record is found by the digest of its id. Two builds are compared by those
//! judgements alone whose record stands in both, so that a record that is gone
//! counts against neither.

use std::collections::HashMap;

use super::judged::{JudgedQueries, JudgedQuery, Judgement};
use super::ranking::RankedRow;
use super::values::{QueryValues, measure};
use crate::domain::record::{IdHash, id_hashes_of};

/// The rows of judged records in one build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The first row of each judged record, if the build has it.
    rows: Vec<Option<usize>>,
    /// The judged record of a first row.
    records: HashMap<usize, usize>,
}

impl Places {
    /// Finds the records among the ids of a build, in the order of its rows.
    #[must_use]
    pub fn find(records: &[String], ids: impl IntoIterator<Item = IdHash>) -> Self {
        let hashes = records
            .iter()
            .zip(0..)
            .flat_map(|(record, place)| id_hashes_of(record).into_iter().map(move |hash| (hash, place)));
        let wanted: HashMap<IdHash, usize> = hashes.collect();
        let found = ids.into_iter().zip(0..).filter_map(|(id, row)| Some((*wanted.get(&id)?, row)));
        Self::at(records.len(), found)
    }

    /// Judged records and their first rows, as they were found otherwise.
    #[must_use]
    pub fn at(records: usize, found: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut places = Self { rows: vec![None; records], records: HashMap::new() };
        for (record, row) in found {
            if places.rows[record].is_none() {
                places.rows[record] = Some(row);
                places.records.insert(row, record);
            }
        }
        places
    }

    /// Whether the build has a judged record.
    #[must_use]
    pub fn has(&self, record: usize) -> bool {
        self.rows.get(record).is_some_and(Option::is_some)
    }

    /// The judged record whose first row this is.
    #[must_use]
    pub fn record_at(&self, row: usize) -> Option<usize> {
        self.records.get(&row).copied()
    }

    /// Measures the rankings of all queries by those judgements for which `counts` holds.
    #[must_use]
    pub fn measure(
        &self,
        judged: &JudgedQueries,
        rankings: &[Vec<RankedRow>],
        k: usize,
        counts: &dyn Fn(usize) -> bool,
    ) -> Vec<QueryValues> {
        let measured = |(query, ranking): (&JudgedQuery, &Vec<RankedRow>)| {
            let judgements: Vec<Judgement> =
                query.judgements.iter().filter(|judgement| counts(judgement.record)).copied().collect();
            let ranking: Vec<Option<usize>> =
                ranking.iter().map(|ranked| self.record_at(ranked.row)).collect();
            measure(&ranking, &judgements, k)
        };
        judged.queries.iter().zip(rankings).map(measured).collect()
    }

    /// The queries of which the build has no record with a grade of 1 or more.
    #[must_use]
    pub fn without_record<'q>(&self, judged: &'q JudgedQueries) -> Vec<&'q str> {
        let is_there = |judgement: &Judgement| judgement.grade > 0 && self.has(judgement.record);
        let without = judged.queries.iter().filter(|query| !query.judgements.iter().any(is_there));
        without.map(|query| query.id.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::RawValue;

    fn judged() -> JudgedQueries {
        let query = |id: &str, judgements: &[(usize, i64)]| JudgedQuery {
            id: id.to_owned(),
            text: id.to_owned(),
            judgements: judgements.iter().map(|&(record, grade)| Judgement { record, grade }).collect(),
        };
        let queries = vec![
            query("a", &[(0, 2), (1, 1)]),
            query("b", &[(1, 1), (2, -1)]),
            query("c", &[(2, 0), (0, 1)]),
        ];
        JudgedQueries { queries, records: ["7", "x", "9"].map(str::to_owned).to_vec() }
    }

    #[test]
    fn records_are_found_by_their_ids_and_queries_without_any_are_named() {
        let judged = judged();
        let ids = [RawValue::Text(b"y"), RawValue::Text(b"x"), RawValue::Integer(9)];

        let places = Places::find(&judged.records, ids.map(IdHash::of));

        assert_eq!([0, 1, 2].map(|record| places.has(record)), [false, true, true]);
        assert_eq!([0, 1, 2].map(|row| places.record_at(row)), [None, Some(1), Some(2)]);
        assert_eq!(places.without_record(&judged), ["c"]);
    }

    #[test]
    fn only_the_judgements_that_count_are_measured() {
        let judged = judged();
        let places = Places::at(3, [(0, 4), (1, 5)]);
        let ranked = |row| RankedRow { row, score: 0.5 };
        let rankings = vec![vec![ranked(5), ranked(4)], vec![ranked(4)], vec![]];

        let all = places.measure(&judged, &rankings, 10, &|_| true);
        let one = places.measure(&judged, &rankings, 10, &|record| record == 1);

        assert_eq!(all.iter().map(|values| values.recall).collect::<Vec<_>>(), [1.0, 0.0, 0.0]);
        assert!(all[0].ndcg < 1.0 && all[0].first == Some(1), "{all:?}");
        assert_eq!((one[0].ndcg, one[0].recall), (1.0, 1.0), "{one:?}");
    }
}
