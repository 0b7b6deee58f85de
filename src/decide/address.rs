//! Whether a provider at another address gives the vectors that are served.
//!
//! Behind the same model's name may stand another model: an alias of a gateway,
//! a newer version, a quantised copy. So at another address some texts that the
//! served build holds are embedded again, and only vectors that come out the
//! same may stand beside those of the first one.
//!
//! Pure. Which texts those are, and who embeds them, is the flow's matter.

use serde::{Deserialize, Serialize};

/// Texts that are embedded again at most.
pub const MAX_TEXTS: usize = 16;
/// The least cosine, in millionths, of two vectors that count as the same.
const MIN_COSINE: i64 = 999_000;

/// What texts that were embedded again came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Texts that were compared.
    pub texts: usize,
    /// The least cosine of an old and a new vector, in millionths; `None` if no text was compared.
    pub least_cosine: Option<i64>,
}

impl Finding {
    /// Compares pairs of an old and a new vector of the same text.
    #[must_use]
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a [f32], &'a [f32])>) -> Self {
        let mut found = Self::default();
        for (old, new) in pairs {
            let cosine = cosine_in_millionths(old, new);
            found.texts += 1;
            found.least_cosine = Some(found.least_cosine.map_or(cosine, |least| least.min(cosine)));
        }
        found
    }

    /// Whether there was something to compare, and all of it came out the same.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.least_cosine.is_some_and(|least| least >= MIN_COSINE)
    }

    /// For a person: what was found in the vectors of two builds.
    #[must_use]
    pub fn describe_builds(&self) -> String {
        let Self { texts, least_cosine } = self;
        match least_cosine {
            None => "no text is in both, so nothing could be compared".to_owned(),
            #[allow(clippy::cast_precision_loss, reason = "a number of seven digits")]
            Some(least) => format!(
                "of {texts} texts that both have, the least cosine of the two vectors is {:.4}, expected at least {:.3}",
                *least as f64 / 1e6,
                MIN_COSINE as f64 / 1e6
            ),
        }
    }

    /// For a person: what was found.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self { texts, least_cosine } = self;
        match least_cosine {
            None => "no text of the table is in the served build, so nothing could be compared".to_owned(),
            #[allow(clippy::cast_precision_loss, reason = "a number of seven digits")]
            Some(least) => format!(
                "{texts} texts were embedded again, and the least cosine of an old and a new vector is {:.4}, expected at least {:.3}",
                *least as f64 / 1e6,
                MIN_COSINE as f64 / 1e6
            ),
        }
    }
}

/// Whether vectors of builds made at two addresses may stand in one index, as far as it is known. That one
/// was proven to give those of the other is not recorded: it costs a text that only the older build has.
#[must_use]
pub fn agree(one: Option<&str>, other: Option<&str>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// What must be done before vectors of the settings' address stand beside those that are served.
#[must_use]
pub fn must_compare(served: Option<&str>, settings: Option<&str>, to_embed: u64) -> bool {
    // What 0.1.0 made has no address, nor has the model inside the program.
    matches!((served, settings), (Some(served), Some(settings)) if served != settings) && to_embed > 0
}

/// Rounded down, so that a cosine below the least one never reaches it.
#[allow(clippy::cast_possible_truncation, reason = "between plus and minus a million")]
fn cosine_in_millionths(one: &[f32], other: &[f32]) -> i64 {
    let sum = |of: &mut dyn Iterator<Item = (f32, f32)>| -> f64 {
        of.map(|(a, b)| f64::from(a) * f64::from(b)).sum()
    };
    let pairs = |a: &'_ [f32], b: &'_ [f32]| a.iter().copied().zip(b.iter().copied()).collect::<Vec<_>>();
    let dot = sum(&mut pairs(one, other).into_iter());
    let squares = sum(&mut pairs(one, one).into_iter()) * sum(&mut pairs(other, other).into_iter());
    let cosine = if one.len() == other.len() && squares > 0.0 { dot / squares.sqrt() } else { -1.0 };
    (cosine * 1e6).floor() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_the_same_only_where_each_pair_is() {
        let a: &[f32] = &[1.0, 0.0];
        let near: &[f32] = &[0.9995, 0.0316]; // cosine 0.9995
        let far: &[f32] = &[0.998, 0.063]; // cosine 0.998
        let scaled: &[f32] = &[7.5, 0.0];
        let cases = [
            (vec![], false),
            (vec![(a, a)], true),
            (vec![(a, scaled)], true),
            (vec![(a, near), (a, a)], true),
            (vec![(a, near), (a, far)], false),
            (vec![(a, &[-1.0, 0.0][..])], false),
            (vec![(a, &[0.0, 0.0])], false),
            (vec![(a, &[1.0])], false),
        ];
        for (pairs, expected) in cases {
            let found = Finding::of(pairs.iter().copied());
            assert_eq!(found.is_same(), expected, "{}", found.describe());
            assert_eq!(found.texts, pairs.len());
        }
    }

    #[test]
    fn builds_agree_unless_both_addresses_are_known_and_differ() {
        for (one, other, expected) in [
            (None, None, true),
            (Some("a"), None, true),
            (Some("a"), Some("a"), true),
            (Some("a"), Some("b"), false),
        ] {
            assert_eq!((agree(one, other), agree(other, one)), (expected, expected), "{one:?} {other:?}");
        }
    }

    #[test]
    fn addresses_are_compared_where_both_are_known_and_something_is_embedded() {
        let cases = [
            (None, Some("b"), 1, false),
            (Some("a"), None, 1, false),
            (Some("a"), Some("a"), 1, false),
            (Some("a"), Some("b"), 0, false),
            (Some("a"), Some("b"), 1, true),
        ];
        for (served, settings, to_embed, expected) in cases {
            assert_eq!(must_compare(served, settings, to_embed), expected, "{served:?} {settings:?}");
        }
    }
}
