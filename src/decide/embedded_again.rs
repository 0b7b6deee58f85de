//! Why texts are embedded again though their rows are as they were.
//!
//! A changed setting, or another version of the program, can make another text
//! of every row, and each costs money. Where that concerns more than a tenth of
//! the index, the cause is said before anything is sent.
//!
//! Pure. What is counted is `plan`'s, what is said `decision`'s.

use std::fmt;

use super::plan::EmbeddedAgain;
use crate::domain::manifest::Manifest;
use crate::domain::record::{Space, ValuesHash};
use crate::domain::source_facts::{RulesChange, RulesFacts};

/// One of so many entries may be embedded again without a word.
const QUIET_SHARE: u64 = 10;

/// What is read now, and by which rules.
#[derive(Clone, Copy, Debug)]
pub struct ReadNow<'a> {
    pub rules: &'a RulesFacts,
    pub values: ValuesHash,
}

/// Many texts that are embedded again, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManyAgain {
    pub texts: u64,
    /// Entries that the index will have.
    pub entries: u64,
    /// At least one.
    pub causes: Vec<AgainCause>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgainCause {
    Space,
    Rules(RulesChange),
    /// Values and settings are those of the served build, which this program made.
    OtherVersion(String),
}

/// What is another in the settings than in the served build, as far as its manifest says.
#[must_use]
pub fn rules_changes(served: &Manifest, now: ReadNow<'_>) -> Vec<RulesChange> {
    served.rules.as_ref().map(|before| now.rules.changes_since(before)).unwrap_or_default()
}

/// Why more than a tenth of `entries` are embedded again; `None` where they are fewer, or their rows changed.
#[must_use]
pub fn many_again(
    served: &Manifest,
    now: ReadNow<'_>,
    space: &Space,
    again: EmbeddedAgain,
    entries: u64,
) -> Option<ManyAgain> {
    let is_many = |texts: u64| texts.saturating_mul(QUIET_SHARE) > entries;
    if served.space.as_ref().is_some_and(|served| served != space) {
        let texts = again.entries;
        return is_many(texts).then(|| ManyAgain { texts, entries, causes: vec![AgainCause::Space] });
    }
    let texts = again.other_texts;
    if !is_many(texts) {
        return None;
    }
    let changes = rules_changes(served, now).into_iter().filter(|change| change.is_about_texts());
    let mut causes: Vec<_> = changes.map(AgainCause::Rules).collect();
    if causes.is_empty() && served.values_hash == Some(now.values) {
        causes.push(AgainCause::OtherVersion(served.program.clone()));
    }
    (!causes.is_empty()).then_some(ManyAgain { texts, entries, causes })
}

impl fmt::Display for ManyAgain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { texts, entries, causes } = self;
        write!(f, "{texts} of {entries} texts are embedded again: ")?;
        for (nth, cause) in causes.iter().enumerate() {
            write!(f, "{}{cause}", if nth == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl fmt::Display for AgainCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Space => f.write_str("the space changed"),
            Self::Rules(change) => change.fmt(f),
            Self::OtherVersion(program) => write!(
                f,
                "the rendering differs: another version of the program, {program}, made the served build of the same values"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::manifest::{FileFact, Files, MANIFEST_FORMAT, SourceFacts};
    use crate::domain::pass::{Counts, Timings};

    const VALUES: ValuesHash = ValuesHash([1; 32]);

    fn rules(template: &str) -> RulesFacts {
        let table = Some("t".to_owned());
        RulesFacts { table, template: Some(template.to_owned()), ..RulesFacts::default() }
    }

    fn space(model: &str) -> Space {
        Space { model: model.to_owned(), ..Space::default() }
    }

    fn served(values_hash: Option<ValuesHash>) -> Manifest {
        let fact = FileFact { bytes: 1, blake3: String::new() };
        Manifest {
            format: MANIFEST_FORMAT,
            id: String::new(),
            sequence: 1,
            created: String::new(),
            trigger: String::new(),
            adopted: false,
            program: "reindexd 0.0.9".to_owned(),
            faiss: String::new(),
            source: SourceFacts::default(),
            rules: values_hash.map(|_| rules("a")),
            space: Some(space("m")),
            address: None,
            scan_hash: None,
            values_hash,
            content_hash: None,
            quarantined: Vec::new(),
            files: Files { index: fact.clone(), metadata: fact.clone(), hashes: fact },
            ntotal: 100,
            dimension: 4,
            metric: String::new(),
            counts: Counts::default(),
            timings: Timings::default(),
            evaluation: None,
            previous: None,
        }
    }

    #[test]
    fn more_than_a_tenth_embedded_again_has_its_cause_named() {
        let other_values = ValuesHash([2; 32]);
        let chunk = RulesFacts {
            chunk: Some(crate::domain::source_facts::ChunkFacts {
                column: "b".to_owned(),
                size: 9,
                overlap: 0,
            }),
            ..rules("a")
        };
        let filter = RulesFacts { schema: Some("other".to_owned()), ..rules("a") };
        let known = || served(Some(VALUES));
        // what, served, space, rules, values, entries again, of other texts, cause
        let cases = [
            ("a tenth", known(), "m", rules("b"), VALUES, 10, 10, None),
            ("more", known(), "m", rules("b"), VALUES, 11, 11, Some("the template changed")),
            ("rows differ too", known(), "m", rules("b"), other_values, 11, 11, Some("the template changed")),
            ("chunks", known(), "m", chunk, VALUES, 90, 90, Some("the chunk settings changed")),
            ("the same texts, as after damage", known(), "m", rules("b"), VALUES, 90, 10, None),
            ("space", known(), "n", rules("a"), VALUES, 90, 0, Some("the space changed")),
            ("space, few rows", known(), "n", rules("a"), VALUES, 10, 0, None),
            ("space of 0.1.0", served(None), "n", rules("a"), VALUES, 90, 0, Some("the space changed")),
            ("program", known(), "m", rules("a"), VALUES, 90, 90, Some("another version of the program")),
            ("values", known(), "m", rules("a"), other_values, 90, 90, None),
            ("another condition", known(), "m", filter, other_values, 90, 90, None),
            ("rules not known", served(None), "m", rules("b"), VALUES, 90, 90, None),
        ];
        for (what, served, model, rules, values, entries, other_texts, expected) in cases {
            let now = ReadNow { rules: &rules, values };
            let again = EmbeddedAgain { entries, other_texts };

            let found = many_again(&served, now, &space(model), again, 100).map(|many| many.to_string());

            assert_eq!(found.is_some(), expected.is_some(), "{what}: {found:?}");
            let found = found.unwrap_or_default();
            assert!(found.contains(expected.unwrap_or_default()), "{what}: {found}");
        }
    }
}
