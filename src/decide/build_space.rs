//! What is known of the vectors of a build, and whether others may follow them.
//!
//! An API asks in the space of the build that it loaded, so another space is
//! served only where an operator accepts it. Of an adopted build nothing but
//! the length of its vectors is known: an equal one counts as the same space.
//!
//! Pure. Who may accept what, and for how long, is decided by `acceptance`.

use std::fmt;

use crate::domain::manifest::Manifest;
use crate::domain::record::Space;

/// What is known of the vectors of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildSpace {
    /// Of a build of our own.
    Named(Space),
    /// Of an adopted one: floats in a vector.
    Length(usize),
}

impl BuildSpace {
    /// `None` if nothing is known, as of an adopted index that Faiss cannot read.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Option<Self> {
        match &manifest.space {
            Some(space) if !manifest.adopted => Some(Self::Named(space.clone())),
            _ => (manifest.dimension > 0).then_some(Self::Length(manifest.dimension)),
        }
    }

    /// Whether vectors of one may be served after those of the other without a question.
    #[must_use]
    pub fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Named(one), Self::Named(other)) => one == other,
            _ => self.length() == other.length(),
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Named(space) => space.dimension,
            Self::Length(length) => *length,
        }
    }

    /// Both as text; two that differ never read the same.
    #[must_use]
    pub fn names(&self, other: &Self) -> [String; 2] {
        let names = [self, other].map(ToString::to_string);
        match (self, other) {
            (Self::Named(one), Self::Named(other)) if names[0] == names[1] && one != other => {
                [one, other].map(|space| format!("{space} (key {})", space.key()))
            }
            _ => names,
        }
    }
}

impl fmt::Display for BuildSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(space) => space.fmt(f),
            Self::Length(length) => write!(f, "adopted vectors of {length} dimensions"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(model: &str, dimension: usize, task: Option<&str>) -> BuildSpace {
        BuildSpace::Named(Space {
            provider: "openai".to_owned(),
            model: model.to_owned(),
            dimension,
            task_type: task.map(str::to_owned),
            ..Space::default()
        })
    }

    #[test]
    fn spaces_fit_by_all_that_is_known_of_both_and_in_both_directions() {
        let length = BuildSpace::Length;
        let cases = [
            (named("a", 8, None), named("a", 8, None), true),
            (named("a", 8, None), named("b", 8, None), false),
            (named("a", 8, None), named("a", 16, None), false),
            (named("a", 8, None), named("a", 8, Some("X")), false),
            (named("a", 8, None), length(8), true),
            (named("a", 8, None), length(16), false),
            (length(8), length(8), true),
            (length(8), length(16), false),
        ];
        for (one, other, expected) in cases {
            assert_eq!(one.fits(&other), expected, "{one} and {other}");
            assert_eq!(other.fits(&one), expected, "{other} and {one}");
            let [a, b] = one.names(&other);
            assert!(expected || a != b, "{a}");
        }
    }
}
