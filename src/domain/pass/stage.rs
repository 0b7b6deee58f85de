//! The stages of a pass, their milliseconds, and the forms in which these are written.
//!
//! A manifest has `took_ms`: five stages, `evaluate` where queries were asked,
//! and the total; it is written before the promotion ends, so that stage is not
//! in it. A past pass in the history has `took_ms`, `promote_ms` and
//! `phases_ms`, the last of these only where the stages were measured. `--json`
//! prints `phases_ms` with or without the total. Preparing is not written anywhere.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A step of a pass, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Sweep, adoption, what is served.
    Prepare,
    /// Reading the database; metadata is written at the same time.
    Scan,
    /// Finding vectors to reuse, and checking the files that hold them.
    Plan,
    /// Getting the other vectors from the provider.
    Embed,
    /// Writing index and hashes.
    Index,
    /// Reading them back.
    Verify,
    /// Asking judged queries.
    Evaluate,
    /// From verified to served.
    Promote,
}

/// Milliseconds by stage; `None` for a stage that was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StagesAndTotal", into = "StagesAndTotal")]
pub struct Timings {
    ms: [Option<u64>; Stage::COUNT],
    pub total: u64,
}

/// `phases_ms`: the stages by their stored names.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct StageTimes {
    snapshot: u64,
    plan: u64,
    embed: u64,
    index: u64,
    verify: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    evaluate: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    promote: Option<u64>,
}

/// `took_ms` of a manifest, and `phases_ms` of a build in `--json`.
#[derive(Serialize, Deserialize)]
struct StagesAndTotal {
    #[serde(flatten)]
    stages: StageTimes,
    total: u64,
}

impl Stage {
    pub const COUNT: usize = 8;
    pub const ALL: [Self; Self::COUNT] = [
        Self::Prepare,
        Self::Scan,
        Self::Plan,
        Self::Embed,
        Self::Index,
        Self::Verify,
        Self::Evaluate,
        Self::Promote,
    ];
}

impl Timings {
    /// All stages at zero milliseconds, but that of a pass that asks no queries is not measured.
    #[must_use]
    pub fn zero() -> Self {
        let mut ms = [Some(0); Stage::COUNT];
        ms[Stage::Evaluate as usize] = None;
        Self { ms, total: 0 }
    }

    /// Nothing but the total.
    #[must_use]
    pub fn total(total: u64) -> Self {
        Self { total, ..Self::default() }
    }

    #[must_use]
    pub fn with_total(self, total: u64) -> Self {
        Self { total, ..self }
    }

    pub fn add(&mut self, stage: Stage, ms: u64) {
        *self.ms[stage as usize].get_or_insert(0) += ms;
    }

    #[must_use]
    pub fn get(&self, stage: Stage) -> Option<u64> {
        self.ms[stage as usize]
    }

    /// Whether the stages were measured, and not the total alone.
    #[must_use]
    pub fn has_stages(&self) -> bool {
        self.get(Stage::Scan).is_some()
    }

    /// The same without the promotion: what a manifest can state.
    #[must_use]
    pub fn before_promotion(mut self) -> Self {
        self.ms[Stage::Promote as usize] = None;
        self
    }

    /// The measured stages that are written, in their order.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, u64)> {
        let written = Stage::ALL.into_iter().filter(|stage| *stage != Stage::Prepare);
        written.filter_map(|stage| Some((stage, self.get(stage)?)))
    }

    /// As `phases_ms` has them.
    #[must_use]
    pub fn to_stage_times(&self) -> StageTimes {
        let ms = |stage| self.get(stage).unwrap_or_default();
        StageTimes {
            snapshot: ms(Stage::Scan),
            plan: ms(Stage::Plan),
            embed: ms(Stage::Embed),
            index: ms(Stage::Index),
            verify: ms(Stage::Verify),
            evaluate: self.get(Stage::Evaluate),
            promote: self.get(Stage::Promote),
        }
    }

    pub(super) fn from_stage_times(stages: StageTimes, total: u64) -> Self {
        let StageTimes { snapshot, plan, embed, index, verify, evaluate, promote } = stages;
        let measured = [snapshot, plan, embed, index, verify].map(Some);
        let [scan, plan, embed, index, verify] = measured;
        Self { ms: [Some(0), scan, plan, embed, index, verify, evaluate, promote], total }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "prepare",
            Self::Scan => "snapshot",
            Self::Plan => "plan",
            Self::Embed => "embed",
            Self::Index => "index",
            Self::Verify => "verify",
            Self::Evaluate => "evaluate",
            Self::Promote => "promote",
        })
    }
}

impl From<StagesAndTotal> for Timings {
    fn from(StagesAndTotal { stages, total }: StagesAndTotal) -> Self {
        Self::from_stage_times(stages, total)
    }
}

impl From<Timings> for StagesAndTotal {
    fn from(timings: Timings) -> Self {
        Self { stages: timings.to_stage_times(), total: timings.total }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn measured() -> Timings {
        let mut timings = Timings::zero().with_total(100);
        for (stage, ms) in Stage::ALL.into_iter().skip(1).zip(1..) {
            timings.add(stage, ms);
        }
        timings
    }

    #[test]
    fn timings_are_written_in_the_keys_and_the_order_of_each_file() {
        let stages = r#""snapshot":1,"plan":2,"embed":3,"index":4,"verify":5,"evaluate":6"#;
        let all = measured();
        let json = |timings: Timings| serde_json::to_string(&timings).unwrap();

        assert_eq!(json(all.before_promotion()), format!(r#"{{{stages},"total":100}}"#));
        assert_eq!(json(all), format!(r#"{{{stages},"promote":7,"total":100}}"#));
        let without_total = serde_json::to_string(&all.to_stage_times()).unwrap();
        assert_eq!(without_total, format!(r#"{{{stages},"promote":7}}"#));
    }

    #[test]
    fn timings_are_read_as_they_were_written() {
        for timings in [Timings::zero(), measured(), measured().before_promotion()] {
            let json = serde_json::to_value(timings).unwrap();
            assert_eq!(serde_json::from_value::<Timings>(json).unwrap(), timings);
        }
        let unasked = serde_json::to_string(&Timings::zero()).unwrap();
        assert!(!unasked.contains("evaluate"), "a pass that asks no queries writes what 0.1.0 wrote");
        for incomplete in [json!({ "total": 1 }), json!({ "snapshot": 1, "plan": 2, "total": 3 })] {
            assert!(serde_json::from_value::<Timings>(incomplete).is_err());
        }
    }
}
