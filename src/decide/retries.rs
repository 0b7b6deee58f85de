//! Decides which texts that a provider refused are sent again.
//!
//! A limit that was raised, or a filter that changes its mind, must not keep a
//! row out for ever: each refused text has a try a day, a hundred texts a day at
//! most, those first that were not tried for the longest time. A person who asks
//! has all of them tried.
//!
//! Pure: instants are arguments, in seconds since 1970.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::domain::manifest::Manifest;
use crate::domain::pass::REFUSED_PREFIX;
use crate::domain::record::{Space, TextHash};

const DAY: u64 = 24 * 60 * 60;
/// The most texts that are tried in a day unless a person asks.
const MAX_DAILY: usize = 100;

/// When refused texts were sent last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTries {
    /// When the last tries of a day began.
    #[serde(default)]
    pub daily_at: Option<i64>,
    /// When each text was refused last.
    #[serde(default)]
    pub refused_at: BTreeMap<TextHash, i64>,
}

impl LastTries {
    /// What is known of these texts alone. One of which nothing is known counts as refused now.
    #[must_use]
    pub fn of(&self, refused: &[TextHash], now: i64) -> Self {
        let at = |text: &TextHash| self.refused_at.get(text).copied().unwrap_or(now);
        Self { refused_at: refused.iter().map(|text| (*text, at(text))).collect(), ..*self }
    }

    /// The texts whose daily try is due, the longest untried first; at most `most` of them, if that is not
    /// zero.
    #[must_use]
    pub fn due(&self, now: i64, most: u64) -> Vec<TextHash> {
        if self.daily_at.is_some_and(|at| !is_a_day(at, now)) {
            return Vec::new();
        }
        let mut due: Vec<(i64, TextHash)> = self
            .refused_at
            .iter()
            .filter(|(_, at)| is_a_day(**at, now))
            .map(|(text, at)| (*at, *text))
            .collect();
        due.sort_unstable();
        let most =
            if most == 0 { MAX_DAILY } else { usize::try_from(most).unwrap_or(MAX_DAILY).min(MAX_DAILY) };
        due.into_iter().take(most).map(|(_, text)| text).collect()
    }

    /// These texts are sent now.
    pub fn begin(&mut self, texts: &[TextHash], now: i64) {
        self.daily_at = Some(now);
        self.refused_at.extend(texts.iter().map(|text| (*text, now)));
    }
}

/// Texts that the provider refused when a kept build of this space was made, with its message.
///
/// Of all of them, not of the served one alone: a rollback must not send a
/// refused text to the provider again.
pub fn refused_texts<'a>(
    kept: impl Iterator<Item = &'a Manifest>,
    space: &Space,
) -> HashMap<TextHash, String> {
    // A manifest keeps the message as a part of the reason.
    let message = |reason: &str| reason.strip_prefix(REFUSED_PREFIX).unwrap_or(reason).to_owned();
    let same = kept.filter(|manifest| manifest.space.as_ref() == Some(space));
    let rows = same.flat_map(|manifest| &manifest.quarantined);
    rows.filter_map(|row| Some((row.refused_text?, message(&row.reason)))).collect()
}

/// Whether a day lies between two instants. A clock that jumped puts them far apart in either direction.
fn is_a_day(then: i64, now: i64) -> bool {
    now.abs_diff(then) >= DAY
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000;
    const HOUR: i64 = 3600;

    fn text(n: usize) -> TextHash {
        TextHash::of(&n.to_string())
    }

    #[test]
    fn a_refused_text_is_due_a_day_after_it_was_tried_and_once_a_day() {
        let cases = [
            // The last daily tries, the refusal, then whether it is due.
            (None, Some(23), false),
            (None, Some(24), true),
            (Some(23), Some(50), false),
            (Some(24), Some(50), true),
            (Some(24), Some(2), false),
            (None, None, false),
            // The clock was set back.
            (Some(-24 * 365), Some(-24 * 365), true),
            (Some(-2), Some(50), false),
        ];
        for (daily, refused, expected) in cases {
            let hours_ago = |hours: i64| NOW - hours * HOUR;
            let tries = LastTries {
                daily_at: daily.map(hours_ago),
                refused_at: refused.map(|hours| (text(1), hours_ago(hours))).into_iter().collect(),
            };
            let due = tries.of(&[text(1)], NOW).due(NOW, 0);
            assert_eq!(due, if expected { vec![text(1)] } else { vec![] }, "{daily:?} {refused:?}");
        }
    }

    #[test]
    fn a_hundred_are_tried_in_a_day_the_longest_untried_first_and_all_in_turn() {
        let all: Vec<TextHash> = (0..250).map(text).collect();
        let mut tries = LastTries::default().of(&all, NOW);
        tries.refused_at.insert(text(7), NOW - 5 * HOUR);
        let mut sent = Vec::new();
        for day in 1..=3 {
            let now = NOW + day * 24 * HOUR;
            let due = tries.due(now, 0);
            assert_eq!(due.len(), 100);
            tries.begin(&due, now);
            assert_eq!(tries.due(now + HOUR, 0), []);
            sent.extend(due);
        }
        assert_eq!(sent[0], text(7));
        sent.truncate(all.len());
        sent.sort_unstable();
        sent.dedup();
        assert_eq!(sent.len(), 250, "none a second time before all had their turn");
    }

    #[test]
    fn no_more_are_tried_than_a_build_may_embed() {
        let tries = LastTries { daily_at: None, refused_at: (0..250).map(|n| (text(n), 0)).collect() };
        for (most, expected) in [(0, 100), (1, 1), (99, 99), (101, 100), (u64::MAX, 100)] {
            assert_eq!(tries.due(NOW, most).len(), expected, "{most}");
        }
    }

    #[test]
    fn what_is_no_longer_refused_is_forgotten() {
        let tries = LastTries { daily_at: Some(NOW), refused_at: (0..5).map(|n| (text(n), NOW)).collect() };

        let left = tries.of(&[text(3), text(9)], NOW + 1);

        assert_eq!(left.refused_at, [(text(3), NOW), (text(9), NOW + 1)].into());
        assert_eq!(left.daily_at, Some(NOW));
    }
}
