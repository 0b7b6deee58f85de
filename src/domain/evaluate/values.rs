//! nDCG, recall and MRR of rankings, as `trec_eval` defines them.
//!
//! nDCG has linear gain and the ideal over all judgements; a grade below 0
//! counts as 0. Recall counts grades of 1 and more. MRR is the reciprocal rank
//! of the first of these. All three are of the ranking cut at k, and a mean
//! over every query that is asked, also those of which nothing was found.

use serde::{Deserialize, Serialize};

use super::judged::Judgement;

/// What is measured of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct QueryValues {
    pub ndcg: f64,
    pub recall: f64,
    pub mrr: f64,
    /// The rank of the first record with a grade of 1 or more, from 1.
    pub first: Option<usize>,
}

/// What is measured of a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Where the rankings were cut.
    pub k: usize,
    /// Queries that were asked.
    pub queries: usize,
    pub ndcg: f64,
    pub recall: f64,
    pub mrr: f64,
}

/// The value that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Ndcg,
    Recall,
    Mrr,
}

impl Metric {
    pub const ALL: [Self; 3] = [Self::Ndcg, Self::Recall, Self::Mrr];

    /// As settings and JSON write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ndcg => "ndcg",
            Self::Recall => "recall",
            Self::Mrr => "mrr",
        }
    }

    /// As people write it, with where the ranking was cut.
    #[must_use]
    pub fn title(self, k: usize) -> String {
        let name = match self {
            Self::Ndcg => "nDCG",
            Self::Recall => "recall",
            Self::Mrr => "MRR",
        };
        format!("{name}@{k}")
    }

    #[must_use]
    pub fn of(self, values: &QueryValues) -> f64 {
        match self {
            Self::Ndcg => values.ndcg,
            Self::Recall => values.recall,
            Self::Mrr => values.mrr,
        }
    }

    #[must_use]
    pub fn of_all(self, evaluation: &Evaluation) -> f64 {
        match self {
            Self::Ndcg => evaluation.ndcg,
            Self::Recall => evaluation.recall,
            Self::Mrr => evaluation.mrr,
        }
    }
}

impl Evaluation {
    /// The means of all queries.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a number of queries")]
    pub fn of(k: usize, queries: &[QueryValues]) -> Self {
        let mean = |metric: Metric| {
            let sum = queries.iter().map(|values| metric.of(values)).fold(0.0, |sum, value| sum + value);
            sum / queries.len().max(1) as f64
        };
        let [ndcg, recall, mrr] = Metric::ALL.map(mean);
        Self { k, queries: queries.len(), ndcg, recall, mrr }
    }

    /// The three values for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let value = |metric: Metric| format!("{} {:.4}", metric.title(self.k), metric.of_all(self));
        format!("{} over {} queries", Metric::ALL.map(value).join(", "), self.queries)
    }
}

/// Measures one ranking: for each rank, the place of the record among those that are judged, if it is. `k`
/// is at least 1.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "grades and ranks, far below 2^52")]
pub fn measure(ranking: &[Option<usize>], judgements: &[Judgement], k: usize) -> QueryValues {
    let grade_of = |record: usize| {
        judgements.iter().find(|judgement| judgement.record == record).map_or(0, |judgement| judgement.grade)
    };
    let grades = ranking.iter().take(k).map(|record| record.map_or(0, &grade_of));
    let grades: Vec<i64> = grades.collect();
    let discounted = |grades: &[i64]| -> f64 {
        let gains = grades.iter().zip(1_u32..).filter(|(grade, _)| **grade > 0);
        // A sum of nothing would be -0.
        gains
            .map(|(grade, rank)| *grade as f64 / f64::from(rank + 1).log2())
            .fold(0.0, |sum, gain| sum + gain)
    };
    let mut ideal: Vec<i64> = judgements.iter().map(|judgement| judgement.grade).collect();
    ideal.sort_unstable_by(|a, b| b.cmp(a));
    ideal.truncate(k);
    let best = discounted(&ideal);
    let relevant = judgements.iter().filter(|judgement| judgement.grade >= 1).count();
    let found = grades.iter().filter(|grade| **grade >= 1).count();
    let first = grades.iter().position(|grade| *grade >= 1).map(|at| at + 1);
    QueryValues {
        ndcg: if best > 0.0 { discounted(&grades) / best } else { 0.0 },
        recall: if relevant > 0 { found as f64 / relevant as f64 } else { 0.0 },
        mrr: first.map_or(0.0, |rank| 1.0 / rank as f64),
        first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(grades: &[i64]) -> Vec<Judgement> {
        grades.iter().zip(0..).map(|(&grade, record)| Judgement { record, grade }).collect()
    }

    #[test]
    fn values_are_those_of_trec_eval() {
        let log3 = 3_f64.log2();
        let cases = [
            // ranking, grades, k, then ndcg, recall, mrr
            (vec![Some(0)], vec![1], 1, [1.0, 1.0, 1.0]),
            (vec![None, Some(0)], vec![1], 2, [1.0 / log3, 1.0, 0.5]),
            (vec![None, Some(0)], vec![1], 1, [0.0, 0.0, 0.0]),
            (vec![], vec![1], 5, [0.0, 0.0, 0.0]),
            // The gain is linear, and the ideal has the best first.
            (vec![Some(0), Some(1)], vec![1, 3], 2, [(1.0 + 3.0 / log3) / (3.0 + 1.0 / log3), 1.0, 1.0]),
            // The ideal is over all judgements, as far as k.
            (vec![Some(0)], vec![1, 3], 1, [1.0 / 3.0, 0.5, 1.0]),
            // Grades below 1 do not answer, and those below 0 take nothing away.
            (vec![Some(0), Some(1), Some(2)], vec![-2, 0, 2], 3, [(2.0 / 2.0) / 2.0, 1.0, 1.0 / 3.0]),
            (vec![Some(0)], vec![0, -1], 1, [0.0, 0.0, 0.0]),
        ];
        for (ranking, grades, k, expected) in cases {
            let found = measure(&ranking, &judged(&grades), k);
            for (metric, expected) in Metric::ALL.into_iter().zip(expected) {
                let found = metric.of(&found);
                assert!(
                    (found - expected).abs() < 1e-12,
                    "{} {ranking:?} {grades:?} {k}: {found}",
                    metric.name()
                );
            }
        }
    }

    #[test]
    fn a_mean_is_over_every_query_and_the_first_relevant_rank_is_kept() {
        let one = measure(&[Some(0)], &judged(&[1]), 3);
        let none = measure(&[None, None], &judged(&[1]), 3);

        let both = Evaluation::of(3, &[one, none]);

        assert_eq!((one.first, none.first), (Some(1), None));
        assert_eq!((both.ndcg, both.recall, both.mrr, both.queries), (0.5, 0.5, 0.5, 2));
        assert_eq!(both.describe(), "nDCG@3 0.5000, recall@3 0.5000, MRR@3 0.5000 over 2 queries");
        assert!(none.ndcg.is_sign_positive() && Evaluation::of(3, &[]).ndcg.is_sign_positive());
    }
}
