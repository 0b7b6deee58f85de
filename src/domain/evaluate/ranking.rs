//! From what an index finds to a ranking of records, cut at k.
//!
//! Records are in the order of their score; of equal scores the earlier row is
//! first. Where a record has several rows, its best one counts. An index that
//! was asked for n rows gives any of those that share the last score, so it is
//! asked for more until the score of the k-th record is passed.
//!
//! Pure. The index is `builds`'.

use std::cmp::Ordering;
use std::collections::HashSet;

/// A row that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankedRow {
    /// The row, or in a ranking the first row of its record.
    pub row: usize,
    pub score: f32,
}

/// The best k records among rows that were found. `record_of` gives the first row of a row's record.
#[must_use]
pub fn rank(found: &[RankedRow], record_of: &dyn Fn(usize) -> usize, k: usize) -> Vec<RankedRow> {
    let mut found = found.to_vec();
    let by_score = |a: &RankedRow, b: &RankedRow| b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal);
    found.sort_by(|a, b| by_score(a, b).then(a.row.cmp(&b.row)));
    let mut seen = HashSet::new();
    let records = found.iter().map(|found| RankedRow { row: record_of(found.row), ..*found });
    records.filter(|record| seen.insert(record.row)).take(k).collect()
}

/// Whether no row that was not found can belong into a ranking. `rows`: how many the index has.
#[must_use]
pub fn is_settled(found: &[RankedRow], ranking: &[RankedRow], k: usize, rows: usize) -> bool {
    let lowest = found.iter().map(|found| found.score).min_by(f32::total_cmp);
    let kth = k.checked_sub(1).and_then(|last| ranking.get(last)).map(|record| record.score);
    found.len() >= rows || lowest.zip(kth).is_some_and(|(lowest, kth)| lowest < kth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(found: &[(usize, f32)]) -> Vec<RankedRow> {
        found.iter().map(|&(row, score)| RankedRow { row, score }).collect()
    }

    #[test]
    fn records_are_ranked_by_score_and_then_by_row_and_cut_at_k() {
        let alone: &dyn Fn(usize) -> usize = &|row| row;
        let pairs: &dyn Fn(usize) -> usize = &|row| row - row % 2;
        let found = rows(&[(4, 0.5), (1, 0.5), (3, 0.9), (2, 0.5), (0, 0.1)]);
        let cases = [
            (alone, 9, vec![(3, 0.9), (1, 0.5), (2, 0.5), (4, 0.5), (0, 0.1)]),
            (alone, 2, vec![(3, 0.9), (1, 0.5)]),
            (alone, 0, vec![]),
            (pairs, 9, vec![(2, 0.9), (0, 0.5), (4, 0.5)]),
            (pairs, 1, vec![(2, 0.9)]),
        ];
        for (record_of, k, expected) in cases {
            assert_eq!(rank(&found, record_of, k), rows(&expected), "{k}");
        }
    }

    #[test]
    fn a_ranking_is_settled_once_the_kth_score_is_passed_or_every_row_was_found() {
        let alone: &dyn Fn(usize) -> usize = &|row| row;
        let all_one: &dyn Fn(usize) -> usize = &|_| 0;
        let cases = [
            (vec![(0, 0.9), (1, 0.5)], alone, 1, 9, true),
            (vec![(0, 0.9), (1, 0.9)], alone, 1, 9, false),
            (vec![(0, 0.9), (1, 0.5)], alone, 2, 9, false),
            (vec![(0, 0.9), (1, 0.5)], alone, 2, 2, true),
            (vec![(0, 0.9), (1, 0.5)], all_one, 2, 9, false),
            (vec![], alone, 1, 0, true),
        ];
        for (found, record_of, k, all, expected) in cases {
            let found = rows(&found);
            let ranking = rank(&found, record_of, k);
            assert_eq!(is_settled(&found, &ranking, k, all), expected, "{found:?} {k} {all}");
        }
    }
}
