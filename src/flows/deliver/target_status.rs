//! Whether each target has received the served build, and if not since when and why.
//!
//! Follows from the record of deliveries and the history of promotions; no
//! target is asked. `cli` prints it, `status --json` serialises it.

use jiff::Timestamp;
use serde::Serialize;

use crate::adapters::builds::history::History;
use crate::adapters::deliver::Target;
use crate::adapters::deliver::state::DeliveryStates;
use crate::decide::delivery::is_due;

/// One of `announced` in `status --json`: its keys never change.
#[derive(Debug, Serialize)]
pub(crate) struct TargetStatus {
    pub(crate) target: String,
    /// None while nothing is served.
    pub(crate) up_to_date: Option<bool>,
    /// The last build that it received.
    pub(crate) build: Option<String>,
    #[serde(rename = "told_at")]
    pub(crate) delivered_at: Option<Timestamp>,
    /// When the build that it received was replaced, or when a delivery first
    /// failed; none if it is up to date or no delivery was tried.
    pub(crate) stale_since: Option<Timestamp>,
    /// How many deliveries in a row failed.
    pub(crate) tries: u32,
    pub(crate) error: Option<String>,
}

pub(crate) fn target_states(
    targets: &[Box<dyn Target>],
    states: &DeliveryStates,
    served: Option<&str>,
    history: &History,
) -> Vec<TargetStatus> {
    targets.iter().map(|target| target_state(target.name(), states, served, history)).collect()
}

fn target_state(
    target: &str,
    states: &DeliveryStates,
    served: Option<&str>,
    history: &History,
) -> TargetStatus {
    let state = states.get(target).cloned().unwrap_or_default();
    let is_stale = is_due(state.confirmed(), served);
    let replaced_at = state.build.as_deref().and_then(|build| history.replaced_at(build));
    let failing = state.failing.filter(|_| is_stale);
    let stale_since = replaced_at.or(failing.as_ref().map(|failing| failing.since));
    TargetStatus {
        target: target.to_owned(),
        up_to_date: served.map(|_| !is_stale),
        build: state.build,
        delivered_at: state.at,
        stale_since: stale_since.filter(|_| is_stale),
        tries: failing.as_ref().map_or(0, |failing| failing.tries),
        error: failing.map(|failing| failing.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::builds::history::Now;
    use crate::adapters::builds::uptime::Uptime;
    use crate::adapters::deliver::state::DeliveryState;

    #[test]
    fn a_target_is_stale_since_its_build_was_replaced_or_a_delivery_first_failed() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let now = |second| Now { at: at(second), uptime: Uptime(second * 1000) };
        let mut history = History::default();
        history.record_promotion("a", "build", now(10));
        history.record_promotion("b", "build", now(20));
        let received = |build: &str| {
            let mut state = DeliveryState::default();
            state.record_success(build, at(15));
            state
        };
        let failed = |state: &DeliveryState| {
            let mut state = state.clone();
            state.record_failure("b", "refused".to_owned(), at(30));
            state.record_failure("b", "refused".to_owned(), at(40));
            state
        };
        let new = DeliveryState::default;
        let cases = vec![
            // recorded, served, up to date, stale since, tries
            (new(), None, None, None, 0),
            (new(), Some("b"), Some(false), None, 0),
            (received("b"), Some("b"), Some(true), None, 0),
            (received("a"), Some("b"), Some(false), Some(at(20)), 0),
            (received("a"), None, None, None, 0),
            (failed(&received("a")), Some("b"), Some(false), Some(at(20)), 2),
            (failed(&received("b")), Some("b"), Some(false), Some(at(30)), 2),
            (failed(&new()), Some("b"), Some(false), Some(at(30)), 2),
            (failed(&new()), None, None, None, 0),
        ];
        for (state, served, up_to_date, stale_since, tries) in &cases {
            let states = DeliveryStates::from([("post x".to_owned(), state.clone())]);

            let found = target_state("post x", &states, *served, &history);

            let facts = (found.up_to_date, found.stale_since, found.tries, found.error.is_some());
            assert_eq!(facts, (*up_to_date, *stale_since, *tries, *tries > 0), "{state:?} {served:?}");
            assert_eq!((found.build, found.delivered_at), (state.build.clone(), state.at));
        }
    }
}
