//! The times of a past pass as the history has them, for `#[serde(flatten, with = "attempt_times")]`.
//!
//! `took_ms` is the total, `promote_ms` the promotion, and `phases_ms` has the
//! stages. The last is absent where a pass could not begin, and where an
//! earlier program did not note it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::stage::{Stage, StageTimes, Timings};

#[derive(Serialize, Deserialize)]
struct AttemptTimes {
    took_ms: u64,
    #[serde(default)]
    promote_ms: u64,
    #[serde(rename = "phases_ms", default, skip_serializing_if = "Option::is_none")]
    stages: Option<StageTimes>,
}

#[allow(clippy::missing_errors_doc, reason = "as serde asks for it")]
pub fn serialize<S: Serializer>(timings: &Timings, serializer: S) -> Result<S::Ok, S::Error> {
    let times = AttemptTimes {
        took_ms: timings.total,
        promote_ms: timings.get(Stage::Promote).unwrap_or_default(),
        stages: timings.has_stages().then(|| timings.to_stage_times()),
    };
    times.serialize(serializer)
}

#[allow(clippy::missing_errors_doc, reason = "as serde asks for it")]
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timings, D::Error> {
    let AttemptTimes { took_ms, promote_ms, stages } = AttemptTimes::deserialize(deserializer)?;
    if let Some(stages) = stages {
        return Ok(Timings::from_stage_times(stages, took_ms));
    }
    let mut timings = Timings::total(took_ms);
    if promote_ms > 0 {
        timings.add(Stage::Promote, promote_ms);
    }
    Ok(timings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Attempt {
        before: u8,
        #[serde(flatten, with = "super")]
        timings: Timings,
    }

    #[test]
    fn times_of_an_attempt_are_written_in_their_order_and_read_as_they_were_written() {
        let mut promoted = Timings::total(100);
        promoted.add(Stage::Promote, 4);
        let mut measured = Timings::zero().with_total(100);
        measured.add(Stage::Embed, 7);
        measured.add(Stage::Promote, 4);
        let stages = r#"{"snapshot":0,"plan":0,"embed":7,"index":0,"verify":0,"promote":4}"#;
        let cases = [
            (Timings::total(100), r#""took_ms":100,"promote_ms":0"#.to_owned()),
            (promoted, r#""took_ms":100,"promote_ms":4"#.to_owned()),
            (measured, format!(r#""took_ms":100,"promote_ms":4,"phases_ms":{stages}"#)),
        ];
        for (timings, expected) in cases {
            let json = serde_json::to_string(&Attempt { before: 1, timings }).unwrap();
            assert_eq!(json, format!(r#"{{"before":1,{expected}}}"#));
            assert_eq!(serde_json::from_str::<Attempt>(&json).unwrap().timings, timings);
        }
    }
}
