//! What an operator accepted although a guard refuses it, and how long that holds.
//!
//! It holds until a build is promoted, until the settings change, or until the
//! refused value gets worse. So a pass that failed for another reason, such as a
//! provider that did not answer, can be repeated by an agent without a second
//! word from the operator.
//!
//! Pure. The file is `builds`'.

use serde::{Deserialize, Serialize};

use super::address::Finding;
use super::quality::AcceptedQuality;
use crate::domain::record::Space;

/// What an operator accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// The build that was served at the time.
    pub served: Option<String>,
    /// Digest of the settings at the time.
    pub settings: String,
    /// The fewest records that may be served.
    pub min_records: Option<u64>,
    /// The space that may replace the one that is served.
    pub space: Option<Space>,
    /// What was found of the settings' address, where it is another one than that of the served vectors.
    #[serde(default)]
    pub address: Option<AddressFinding>,
    /// Values that are too low.
    #[serde(default, skip_serializing_if = "AcceptedQuality::is_empty")]
    pub quality: AcceptedQuality,
}

/// What was found of a provider's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressFinding {
    pub address: String,
    pub finding: Finding,
    /// An operator accepts it though its vectors are others: they stand apart from those that are served.
    pub accepted: bool,
}

/// Limits that a command waives, or that a plan is beyond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exceeded {
    pub shrink: bool,
    pub space: bool,
}

/// What a guard lets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The fewest records; `None` if no shrink is accepted.
    pub min_records: Option<u64>,
    pub space: bool,
}

impl Acceptance {
    /// For what is served and set now; nothing is accepted yet.
    #[must_use]
    pub fn nothing(served: Option<String>, settings: String) -> Self {
        Self {
            served,
            settings,
            min_records: None,
            space: None,
            address: None,
            quality: AcceptedQuality::default(),
        }
    }

    /// What still holds of an earlier one.
    #[must_use]
    pub fn with_earlier(self, earlier: Option<Self>) -> Self {
        match earlier.filter(|earlier| earlier.settings == self.settings) {
            Some(earlier) if earlier.served == self.served => earlier,
            // A build was promoted since.
            Some(earlier) => Self { quality: earlier.quality.after_promotion(), ..self },
            None => self,
        }
    }

    /// What a guard lets pass, with what this command waives.
    #[must_use]
    pub fn accepted(&self, waived: Exceeded, space: &Space) -> Accepted {
        Accepted {
            min_records: if waived.shrink { Some(0) } else { self.min_records },
            space: waived.space || self.space.as_ref() == Some(space),
        }
    }

    /// What is accepted once a plan is known: what this command waives and needs, and what has not become
    /// worse since.
    #[must_use]
    pub fn after_plan(self, waived: Exceeded, exceeded: Exceeded, records: u64, space: &Space) -> Self {
        let min_records = if waived.shrink && exceeded.shrink {
            Some(records)
        } else {
            self.min_records.filter(|min| records >= *min)
        };
        let space = if waived.space && exceeded.space { Some(space.clone()) } else { self.space };
        Self { min_records, space, ..self }
    }

    /// What was found of this address.
    #[must_use]
    pub fn finding(&self, address: &str) -> Option<&AddressFinding> {
        self.address.as_ref().filter(|found| found.address == address)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.min_records.is_none()
            && self.space.is_none()
            && self.address.is_none()
            && self.quality.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHRINK: Exceeded = Exceeded { shrink: true, space: false };
    const SPACE: Exceeded = Exceeded { shrink: false, space: true };
    const BOTH: Exceeded = Exceeded { shrink: true, space: true };
    const NONE: Exceeded = Exceeded { shrink: false, space: false };

    fn space(model: &str) -> Space {
        Space { provider: "openai".to_owned(), model: model.to_owned(), dimension: 4, ..Space::default() }
    }

    fn nothing() -> Acceptance {
        Acceptance::nothing(Some("a".to_owned()), "s".to_owned())
    }

    fn of(min_records: Option<u64>, model: Option<&str>) -> Acceptance {
        Acceptance { min_records, space: model.map(space), ..nothing() }
    }

    #[test]
    fn a_plan_adds_what_is_waived_and_needed_and_ends_what_has_become_worse() {
        let cases = [
            // before, waived, exceeded, records, expected
            (of(None, None), NONE, BOTH, 7, of(None, None)),
            (of(None, None), SHRINK, SHRINK, 7, of(Some(7), None)),
            (of(None, None), SHRINK, NONE, 7, of(None, None)),
            (of(None, None), SPACE, BOTH, 7, of(None, Some("m"))),
            (of(None, None), BOTH, BOTH, 7, of(Some(7), Some("m"))),
            (of(Some(7), Some("m")), NONE, BOTH, 7, of(Some(7), Some("m"))),
            (of(Some(7), Some("m")), NONE, BOTH, 8, of(Some(7), Some("m"))),
            (of(Some(7), Some("m")), NONE, BOTH, 6, of(None, Some("m"))),
            (of(Some(7), None), SHRINK, SHRINK, 5, of(Some(5), None)),
        ];
        for (before, waived, exceeded, records, expected) in cases {
            let found = before.clone().after_plan(waived, exceeded, records, &space("m"));
            assert_eq!(found, expected, "{before:?} {waived:?} {exceeded:?} {records}");
        }
    }

    #[test]
    fn an_earlier_acceptance_holds_for_the_same_build_and_settings_alone() {
        let earlier = of(Some(7), Some("m"));
        let held = |now: Acceptance| now.with_earlier(Some(earlier.clone()));
        assert_eq!(held(nothing()), earlier);
        assert!(held(Acceptance::nothing(Some("b".to_owned()), "s".to_owned())).is_empty(), "promoted");
        assert!(held(Acceptance::nothing(None, "s".to_owned())).is_empty());
        assert!(held(Acceptance::nothing(Some("a".to_owned()), "t".to_owned())).is_empty(), "settings");
        assert!(nothing().with_earlier(None).is_empty());
    }

    #[test]
    fn of_what_was_accepted_a_value_below_min_alone_outlives_a_promotion() {
        let quality = AcceptedQuality { below_min: Some(0.4), dropped_to: Some(0.3) };
        let earlier = Acceptance { quality, ..of(Some(7), Some("m")) };
        let held = |served: &str, settings: &str| {
            let now = Acceptance::nothing(Some(served.to_owned()), settings.to_owned());
            now.with_earlier(Some(earlier.clone()))
        };
        assert_eq!(held("a", "s"), earlier);
        let promoted = held("b", "s");
        assert_eq!(promoted.quality, AcceptedQuality { dropped_to: None, ..quality });
        assert_eq!((promoted.min_records, &promoted.space), (None, &None));
        assert!(held("b", "t").is_empty() && held("a", "t").is_empty(), "other settings");
    }

    #[test]
    fn a_guard_lets_pass_what_is_waived_now_or_was_accepted() {
        let accepted = |min_records, space| Accepted { min_records, space };
        let cases = [
            (of(None, None), NONE, accepted(None, false)),
            (of(None, None), BOTH, accepted(Some(0), true)),
            (of(Some(7), Some("m")), NONE, accepted(Some(7), true)),
            (of(Some(7), Some("n")), NONE, accepted(Some(7), false)),
            (of(Some(7), None), SHRINK, accepted(Some(0), false)),
        ];
        for (before, waived, expected) in cases {
            assert_eq!(before.accepted(waived, &space("m")), expected, "{before:?} {waived:?}");
        }
    }
}
