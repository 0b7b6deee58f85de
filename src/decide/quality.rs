//! Whether a build answers well enough to be served.
//!
//! Its value must reach `min`, by all judgements, and may be at most `max_drop`
//! below that of the served build, by the judgements whose record stands in
//! both. An operator may accept a lower one: below `min` that holds over
//! promotions, until the value is above `min` again or falls by `max_drop`
//! more; a drop is accepted until a build is promoted or the value falls again.
//!
//! Pure. The values are measured by `flows`.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::domain::evaluate::{Evaluation, Metric, QueryValues};
use crate::domain::text::literal;

/// Queries that a message names.
const MAX_NAMED: usize = 5;
/// Values that differ by less are the same: sums of floats end somewhere.
const TOLERANCE: f64 = 1e-9;
/// More of a query's id is not shown.
const MAX_ID_CHARS: usize = 60;

/// What an operator asks of a build.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QualityLimits {
    pub metric: Metric,
    pub min: f64,
    pub max_drop: f64,
}

/// Values of a build and of the one it is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct QualityComparison {
    pub new: Evaluation,
    pub old: Evaluation,
    /// The queries that moved, the one that lost most first.
    pub moved: Vec<MovedQuery>,
}

/// A query whose value differs between two builds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MovedQuery {
    pub query: String,
    pub before: f64,
    pub after: f64,
    /// The rank of the first record with a grade of 1 or more.
    pub rank_before: Option<usize>,
    pub rank_after: Option<usize>,
}

/// What an operator accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AcceptedQuality {
    /// The value below `min` that was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below_min: Option<f64>,
    /// The lowest value that may follow what is served, by the judgements of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_to: Option<f64>,
}

impl Eq for AcceptedQuality {}

/// What follows from the values of a build.
#[derive(Clone, Debug, PartialEq)]
pub struct QualityDecision {
    pub refusal: Option<QualityRefusal>,
    /// What is accepted from now on.
    pub accepted: AcceptedQuality,
}

/// A build that answers too badly.
#[derive(Clone, Debug, PartialEq, Error)]
pub struct QualityRefusal {
    metric: Metric,
    evaluation: Evaluation,
    /// The limit that the value is below.
    min: Option<f64>,
    /// The values of both builds, and the limit.
    drop: Option<[f64; 3]>,
    worst: Vec<MovedQuery>,
}

impl QualityRefusal {
    /// What was measured of the build that is refused.
    #[must_use]
    pub fn evaluation(&self) -> &Evaluation {
        &self.evaluation
    }

    /// The queries that lost most, at most five.
    #[must_use]
    pub fn worst(&self) -> &[MovedQuery] {
        &self.worst
    }
}

impl AcceptedQuality {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is still accepted once a build was promoted.
    #[must_use]
    pub fn after_promotion(self) -> Self {
        Self { dropped_to: None, ..self }
    }
}

impl QualityComparison {
    /// Compares the values of all queries, in the order of `ids`.
    #[must_use]
    pub fn of(metric: Metric, k: usize, ids: &[&str], old: &[QueryValues], new: &[QueryValues]) -> Self {
        let pairs = ids.iter().zip(old.iter().zip(new));
        let mut moved: Vec<MovedQuery> = pairs
            .filter(|(_, (old, new))| has_moved(metric, old, new))
            .map(|(id, (old, new))| MovedQuery {
                query: (*id).to_owned(),
                before: metric.of(old),
                after: metric.of(new),
                rank_before: old.first,
                rank_after: new.first,
            })
            .collect();
        moved.sort_by(|a, b| a.change().partial_cmp(&b.change()).unwrap_or(Ordering::Equal));
        Self { new: Evaluation::of(k, new), old: Evaluation::of(k, old), moved }
    }
}

fn has_moved(metric: Metric, old: &QueryValues, new: &QueryValues) -> bool {
    (metric.of(old) - metric.of(new)).abs() > TOLERANCE || old.first != new.first
}

impl MovedQuery {
    /// Below 0 where the query lost.
    #[must_use]
    pub fn change(&self) -> f64 {
        self.after - self.before
    }

    /// Query and ranks, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let rank = |rank: Option<usize>| rank.map_or_else(|| "none".to_owned(), |rank| rank.to_string());
        let [before, after] = [self.rank_before, self.rank_after].map(rank);
        let ranks = if before == after { before } else { format!("{before} to {after}") };
        format!("{} (rank {ranks})", literal(&self.query, MAX_ID_CHARS))
    }
}

/// Decides about a build. `comparison`: with the served build, where the two can be compared. `lowest`: its
/// queries with the lowest values, which a message names where nothing can be compared. `is_waived`: an
/// operator accepts what it is.
#[must_use]
pub fn check(
    limits: &QualityLimits,
    evaluation: &Evaluation,
    comparison: Option<&QualityComparison>,
    lowest: &[MovedQuery],
    accepted: AcceptedQuality,
    is_waived: bool,
) -> QualityDecision {
    let &QualityLimits { metric, min, max_drop } = limits;
    let value = metric.of_all(evaluation);
    let is_below = value < min - TOLERANCE;
    let below_min = match accepted.below_min {
        _ if !is_below => None,
        _ if is_waived => Some(value),
        accepted => accepted.filter(|accepted| value >= accepted - max_drop - TOLERANCE),
    };
    let values = comparison.map(|both| [metric.of_all(&both.old), metric.of_all(&both.new), max_drop]);
    let drop = values.filter(|[old, new, _]| old - new > max_drop + TOLERANCE);
    let dropped_to = match drop {
        Some([_, new, _]) if is_waived => Some(new),
        Some([_, new, _]) => accepted.dropped_to.filter(|accepted| new >= accepted - TOLERANCE),
        None => accepted.dropped_to,
    };
    let min = Some(min).filter(|_| is_below && below_min.is_none());
    let drop = drop.filter(|_| dropped_to.is_none());
    let lost = comparison.into_iter().flat_map(|both| &both.moved).filter(|moved| moved.change() < 0.0);
    let mut worst: Vec<MovedQuery> = lost.take(MAX_NAMED).cloned().collect();
    if worst.is_empty() {
        worst = lowest.iter().take(MAX_NAMED).cloned().collect();
    }
    let refusal = (min.is_some() || drop.is_some()).then_some(QualityRefusal {
        metric,
        evaluation: *evaluation,
        min,
        drop,
        worst,
    });
    QualityDecision { refusal, accepted: AcceptedQuality { below_min, dropped_to } }
}

/// The queries with the lowest values, for a build that cannot be compared.
#[must_use]
pub fn lowest(metric: Metric, ids: &[&str], values: &[QueryValues]) -> Vec<MovedQuery> {
    let mut all: Vec<(&&str, &QueryValues)> = ids.iter().zip(values).collect();
    all.sort_by(|(_, a), (_, b)| metric.of(a).partial_cmp(&metric.of(b)).unwrap_or(Ordering::Equal));
    let query = |(id, values): (&&str, &QueryValues)| MovedQuery {
        query: (*id).to_owned(),
        before: metric.of(values),
        after: metric.of(values),
        rank_before: values.first,
        rank_after: values.first,
    };
    all.into_iter().take(MAX_NAMED).map(query).collect()
}

impl fmt::Display for QualityRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, evaluation, min, drop, worst } = self;
        let title = metric.title(evaluation.k);
        write!(f, "the new build does not answer well enough: over {} queries ", evaluation.queries)?;
        if let Some([old, new, max_drop]) = drop {
            write!(
                f,
                "{title} falls from {old:.4} to {new:.4} by the judgements whose record is in both builds, \
                 more than evaluate.max_drop = {max_drop} allows"
            )?;
        }
        if let Some(min) = min {
            let and = if drop.is_some() { ", and by all judgements " } else { "" };
            let value = metric.of_all(evaluation);
            write!(f, "{and}{title} is {value:.4}, below evaluate.min = {min}")?;
        }
        let described: Vec<String> = worst.iter().map(MovedQuery::describe).collect();
        let lost = if worst.iter().any(|query| query.change() < 0.0) { "lost most" } else { "lowest" };
        write!(
            f,
            "; {lost}: {}; if that is right, run `reindexd build --accept-quality`",
            described.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: QualityLimits = QualityLimits { metric: Metric::Ndcg, min: 0.5, max_drop: 0.1 };

    fn values(ndcg: f64) -> Evaluation {
        Evaluation { k: 10, queries: 4, ndcg, recall: 0.0, mrr: 0.0 }
    }

    fn decided(
        value: f64,
        both: Option<[f64; 2]>,
        accepted: [Option<f64>; 2],
        is_waived: bool,
    ) -> (Option<String>, [Option<f64>; 2]) {
        let both = both.map(|[old, new]| QualityComparison {
            new: values(new),
            old: values(old),
            moved: Vec::new(),
        });
        let [below_min, dropped_to] = accepted;
        let accepted = AcceptedQuality { below_min, dropped_to };
        let decision = check(&LIMITS, &values(value), both.as_ref(), &[], accepted, is_waived);
        let AcceptedQuality { below_min, dropped_to } = decision.accepted;
        (decision.refusal.map(|refusal| refusal.to_string()), [below_min, dropped_to])
    }

    #[test]
    fn a_build_is_refused_just_past_each_limit_and_served_where_that_was_accepted() {
        let none = [None, None];
        let cases = [
            // value, both, accepted, waived, then what the refusal says, and what is accepted afterwards
            (0.5, None, none, false, "", none),
            (0.49, None, none, false, "is 0.4900, below evaluate.min = 0.5", none),
            (0.49, None, none, true, "", [Some(0.49), None]),
            // It holds until the value falls by max_drop more, or is above again.
            (0.40, None, [Some(0.49), None], false, "", [Some(0.49), None]),
            (0.38, None, [Some(0.49), None], false, "below evaluate.min", none),
            (0.60, None, [Some(0.49), None], false, "", none),
            (0.8, Some([0.9, 0.8]), none, false, "", none),
            (0.8, Some([0.9, 0.79]), none, false, "falls from 0.9000 to 0.7900", none),
            (0.8, Some([0.9, 0.79]), none, true, "", [None, Some(0.79)]),
            (0.8, Some([0.9, 0.79]), [None, Some(0.79)], false, "", [None, Some(0.79)]),
            (0.8, Some([0.9, 0.78]), [None, Some(0.79)], false, "falls from 0.9000 to 0.7800", none),
            (0.8, Some([0.9, 0.85]), [None, Some(0.79)], false, "", [None, Some(0.79)]),
            (0.4, Some([0.9, 0.7]), none, false, "allows, and by all judgements nDCG@10 is 0.4000", none),
            (0.4, Some([0.9, 0.7]), none, true, "", [Some(0.4), Some(0.7)]),
            (0.9, Some([0.1, 0.9]), none, true, "", none),
        ];
        for (value, both, accepted, is_waived, expected, after) in cases {
            let (refusal, left) = decided(value, both, accepted, is_waived);
            let case = format!("{value} {both:?} {accepted:?} {is_waived}: {refusal:?}");
            assert_eq!(refusal.is_some(), !expected.is_empty(), "{case}");
            assert!(refusal.unwrap_or_default().contains(expected), "{case}");
            assert_eq!(left, after, "{case}");
        }
    }

    #[test]
    fn a_drop_is_accepted_for_one_promotion_and_a_low_value_beyond_it() {
        let accepted = AcceptedQuality { below_min: Some(0.4), dropped_to: Some(0.3) };
        assert_eq!(accepted.after_promotion(), AcceptedQuality { below_min: Some(0.4), dropped_to: None });
        assert!(!accepted.is_empty() && AcceptedQuality::default().is_empty());
    }

    #[test]
    fn the_five_queries_that_lost_most_are_named_with_their_ranks() {
        let query = |ndcg, first| QueryValues { ndcg, first, ..QueryValues::default() };
        let ids = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let old = [0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.5, 0.4].map(|ndcg| query(ndcg, Some(1)));
        let new =
            [0.1, 0.8, 0.3, 0.7, 0.2, 0.4, 0.5, 0.9].map(|ndcg| query(ndcg, (ndcg > 0.15).then_some(3)));

        let both = QualityComparison::of(Metric::Ndcg, 10, &ids, &old, &new);
        let refusal = check(&LIMITS, &both.new, Some(&both), &[], AcceptedQuality::default(), false).refusal;

        let moved: Vec<&str> = both.moved.iter().map(|moved| moved.query.as_str()).collect();
        assert_eq!(moved, ["a", "e", "c", "f", "d", "b", "g", "h"]);
        let named = "lost most: a (rank 1 to none), e (rank 1 to 3), c (rank 1 to 3), f (rank 1 to 3), d (rank 1 to 3);";
        let message = refusal.unwrap().to_string();
        assert!(message.contains(named), "{message}");
    }

    #[test]
    fn without_a_comparison_the_lowest_are_named() {
        let values = [0.5, 0.0, 0.2].map(|ndcg| QueryValues { ndcg, ..QueryValues::default() });
        let found = lowest(Metric::Ndcg, &["a", "b", "c"], &values);
        let evaluation = Evaluation::of(10, &values);
        let refusal = check(&LIMITS, &evaluation, None, &found, AcceptedQuality::default(), false).refusal;
        let message = refusal.unwrap().to_string();
        assert!(message.contains("; lowest: b (rank none), c (rank none), a (rank none);"), "{message}");
    }
}
