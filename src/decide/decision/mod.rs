//! What a scan means: nothing to do, held, a build with its reasons, or a refusal.
//!
//! [`after_scan`] answers when the scan alone is enough, [`after_rows`] when
//! the rows are read; a pass and a preview ask the same questions about
//! [`Facts`] that they gather themselves. A [`Reason`] is a value: people and
//! `--json` get its text, programs match on it.
//!
//! Pure. Whether a plan is within its limits is `guard`'s decision.

use std::fmt;
use std::path::PathBuf;

use super::acceptance::{AddressFinding, Exceeded};
use super::address::{Finding, MAX_TEXTS};
use super::build_space::BuildSpace;
use super::embedded_again::{ManyAgain, ReadNow, many_again, rules_changes};
use super::guard::{self, Limits, Refusal, UnfitRows};
use super::plan::EmbeddedAgain;
use crate::domain::manifest::Manifest;
use crate::domain::pass::Counts;
use crate::domain::record::{ContentHash, ScanHash, Space};
use crate::domain::source_facts::RulesChange;

/// What a pass does with the table.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Unchanged,
    /// A rollback holds the served build while the table has this content.
    Held,
    Build,
    /// More rows cannot be indexed than quarantine allows.
    Fail(UnfitRows),
    Refuse(Refusal),
}

/// A decision about rows, with what a person should know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    pub decision: Decision,
    /// Whether the served files would change, were nothing in the way.
    pub changes: bool,
    /// Why they would, and what is in the way.
    pub reasons: Vec<Reason>,
    /// The limits that an operator can waive and that the plan is beyond, waived or not.
    pub exceeded: Exceeded,
}

/// Why there is a build, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    NothingServed,
    /// What was expected and found.
    Damaged(String),
    Adopted,
    SpaceChanged {
        from: Option<Space>,
        to: Box<Space>,
    },
    /// Floats in an adopted vector, and in one of the settings: a person asks for a build, so it is made.
    OtherLength {
        served: usize,
        settings: usize,
    },
    /// The provider's address is another one: some texts are compared before any is embedded.
    OtherAddress {
        from: String,
        to: String,
    },
    RowsDiffer,
    /// A part of the settings is another than the served build was made with.
    RulesChanged(RulesChange),
    ManyAgain(ManyAgain),
    /// A public name that does not lead to the served build.
    DanglingLink(PathBuf),
    Held,
    WouldFail(UnfitRows),
    WouldBeRefused(Refusal),
    /// The judged queries cannot be read; the text says why.
    NotMeasured(String),
    /// The directory is another configuration's; the text says whose.
    Claimed(String),
}

/// How an operator learns of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    Note,
    Warning,
}

/// What is served.
#[derive(Clone, Copy, Debug)]
pub enum ServedFacts<'a> {
    Nothing,
    Damaged(&'a str),
    Build(&'a Manifest),
}

/// An address of the settings at which the vectors that are served were not made.
#[derive(Clone, Debug)]
pub struct OtherAddress {
    pub from: String,
    pub to: String,
    /// What an earlier pass found of it.
    pub known: Option<AddressFinding>,
    /// Whether a pass asks again, whatever was found before.
    pub asks_again: bool,
}

/// What is known before the rows are read.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub struct Facts<'a> {
    pub served: ServedFacts<'a>,
    /// The space of the settings.
    pub space: &'a Space,
    /// What is known of the vectors that are served, also where the build itself cannot be read.
    pub served_space: Option<BuildSpace>,
    /// A person asks for this pass, and not an agent.
    pub is_by_hand: bool,
    /// Another scan that is known to have the content of the served build.
    pub equivalent_scan: Option<ScanHash>,
    /// The content for which a rollback holds the served build.
    pub held_content: Option<ContentHash>,
    /// Public names that do not lead to the served build.
    pub dangling_links: &'a [PathBuf],
    /// Records of the served build, or of the newest one if that cannot be read.
    pub previous_records: Option<u64>,
    /// A build is wanted though nothing differs.
    pub is_forced: bool,
    /// Read the rows whatever the scan is. A preview does where a hold exists or a link dangles: it has to
    /// show counts and reasons. A pass replaces such links itself.
    pub always_reads_rows: bool,
    /// A pass ends a hold whose content is gone from the table, even if nothing is built; a preview does not.
    pub ends_holds: bool,
}

/// What the rows of a scan are.
#[derive(Clone, Copy, Debug)]
pub struct TableFacts<'a> {
    pub content: ContentHash,
    pub read: ReadNow<'a>,
    pub counts: &'a Counts,
    pub again: EmbeddedAgain,
    /// Entries that the index will have.
    pub entries: u64,
    pub indexed_rows: u64,
    pub unfit: &'a UnfitRows,
    /// Judged queries that must be embedded.
    pub queries: u64,
    /// Where vectors would stand beside others of another address.
    pub other_address: Option<&'a OtherAddress>,
}

/// The decision if the scan alone is enough for it; `None` if the rows must be read.
#[must_use]
pub fn after_scan(facts: &Facts<'_>, scan: ScanHash) -> Option<Decision> {
    let served = facts.served.build()?;
    if facts.is_forced || facts.always_reads_rows {
        return None;
    }
    let is_known = served.scan_hash == Some(scan) || facts.equivalent_scan == Some(scan);
    is_known.then_some(Decision::Unchanged)
}

/// The decision about these rows. A hold comes before anything else, and unfit rows before a refusal.
#[must_use]
pub fn after_rows(facts: &Facts<'_>, table: &TableFacts<'_>, limits: &Limits) -> Assessment {
    let &TableFacts { content, counts, indexed_rows, unfit, queries, other_address, .. } = table;
    let is_same = facts.served.build().is_some_and(|served| served.content_hash == Some(content));
    let changes = !is_same || facts.is_forced || !facts.dangling_links.is_empty();
    let is_held = facts.is_held(content);
    let unfit = (!unfit.is_allowed()).then(|| unfit.clone());
    let excluded = table.unfit.count;
    let refusal = guard::check(counts, indexed_rows, excluded, facts.previous_records, queries, limits).err();
    let other_length = facts.other_length().filter(|_| facts.is_by_hand);
    let other_space = guard::check_space(
        facts.served_space.as_ref().filter(|_| other_length.is_none()),
        facts.space,
        counts.embedded,
        limits.accepted,
    );
    let other_address = other_address.filter(|_| counts.embedded > 0);
    let is_refused = other_address.and_then(|address| address.refusal(limits));
    // An empty table is the greater mistake.
    let refusal = match refusal {
        Some(Refusal::Empty { .. }) => refusal,
        other => other_space.err().or(is_refused).or(other),
    };
    let refusal = refusal.filter(|_| changes);

    let mut reasons = facts.rules_reasons(table, changes);
    let main = facts.main_reason(is_same);
    // The same values by other rules: no row differs.
    let is_explained = !reasons.is_empty() && facts.has_values_of(table);
    reasons.splice(0..0, main.filter(|main| !is_explained || *main != Reason::RowsDiffer));
    reasons.extend(other_length.filter(|_| changes));
    reasons.extend(other_address.filter(|_| changes).map(OtherAddress::reason));
    reasons.extend(facts.dangling_links.iter().cloned().map(Reason::DanglingLink));
    reasons.extend(is_held.then_some(Reason::Held));
    reasons.extend(unfit.clone().map(Reason::WouldFail));
    reasons.extend(refusal.clone().map(Reason::WouldBeRefused));

    let decision = match (unfit, refusal) {
        _ if is_held => Decision::Held,
        _ if !changes => Decision::Unchanged,
        (Some(unfit), _) => Decision::Fail(unfit),
        (None, Some(refusal)) => Decision::Refuse(refusal),
        (None, None) => Decision::Build,
    };
    let settings = BuildSpace::Named(facts.space.clone());
    let exceeded = Exceeded {
        shrink: changes && guard::is_shrunk(counts.records, facts.previous_records, limits),
        space: changes && facts.served_space.as_ref().is_some_and(|served| !served.fits(&settings)),
    };
    Assessment { decision, changes, reasons, exceeded }
}

impl OtherAddress {
    /// Whether an operator accepted it, or it was found to give the same vectors.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.accepted || known.finding.is_same())
    }

    /// What was found before is not asked of the provider at every pass.
    fn refusal(&self, limits: &Limits) -> Option<Refusal> {
        let known = self.known.as_ref().filter(|_| !self.is_settled())?;
        let is_asked = self.asks_again || limits.accepted.space;
        (!is_asked).then(|| self.refused(&known.finding))
    }

    /// The refusal for what was found.
    #[must_use]
    pub fn refused(&self, finding: &Finding) -> Refusal {
        Refusal::OtherAddress { from: self.from.clone(), to: self.to.clone(), found: finding.describe() }
    }

    fn reason(&self) -> Reason {
        Reason::OtherAddress { from: self.from.clone(), to: self.to.clone() }
    }
}

impl<'a> ServedFacts<'a> {
    #[must_use]
    pub fn build(&self) -> Option<&'a Manifest> {
        match *self {
            Self::Build(manifest) => Some(manifest),
            Self::Nothing | Self::Damaged(_) => None,
        }
    }
}

impl Facts<'_> {
    /// Whether a rollback forbids to build this content.
    #[must_use]
    pub fn is_held(&self, content: ContentHash) -> bool {
        self.held_content == Some(content)
    }

    /// Whether a hold is over now that the table has this content.
    #[must_use]
    pub fn is_hold_over(&self, content: ContentHash) -> bool {
        self.ends_holds && !self.is_held(content)
    }

    /// Whether the values that are read are those that the served build was made from.
    fn has_values_of(&self, table: &TableFacts<'_>) -> bool {
        self.served.build().is_some_and(|served| served.values_hash == Some(table.read.values))
    }

    /// What differs in the settings, and what that costs, if anything changes.
    fn rules_reasons(&self, table: &TableFacts<'_>, changes: bool) -> Vec<Reason> {
        let Some(served) = self.served.build().filter(|_| changes) else { return Vec::new() };
        let &TableFacts { read, again, entries, .. } = table;
        let parts = rules_changes(served, read).into_iter().map(Reason::RulesChanged);
        let many = many_again(served, read, self.space, again, entries).map(Reason::ManyAgain);
        parts.chain(many).collect()
    }

    /// Where the served build is adopted and its vectors have another length than the settings.
    fn other_length(&self) -> Option<Reason> {
        match &self.served_space {
            Some(BuildSpace::Length(served)) if *served != self.space.dimension => {
                Some(Reason::OtherLength { served: *served, settings: self.space.dimension })
            }
            _ => None,
        }
    }

    fn main_reason(&self, is_same: bool) -> Option<Reason> {
        match self.served {
            ServedFacts::Nothing => Some(Reason::NothingServed),
            ServedFacts::Damaged(why) => Some(Reason::Damaged(why.to_owned())),
            ServedFacts::Build(served) if served.adopted => Some(Reason::Adopted),
            ServedFacts::Build(served) if served.space.as_ref() != Some(self.space) => {
                Some(Reason::SpaceChanged { from: served.space.clone(), to: Box::new(self.space.clone()) })
            }
            ServedFacts::Build(_) => (!is_same).then_some(Reason::RowsDiffer),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingServed => f.write_str("nothing is served yet"),
            Self::Damaged(why) => write!(f, "what is served cannot be read: {why}"),
            Self::Adopted => f.write_str("the served build is adopted: its rows are not known to match"),
            Self::SpaceChanged { from, to } => {
                let from = from.as_ref().map(ToString::to_string).unwrap_or_default();
                write!(f, "the space changed from {from} to {to}")
            }
            Self::OtherLength { served, settings } => write!(
                f,
                "the adopted vectors have {served} dimensions, those of the settings {settings}: an API that asks with another model must change with the build"
            ),
            Self::OtherAddress { from, to } => write!(
                f,
                "the provider's address changed from {from} to {to}: up to {MAX_TEXTS} texts are embedded again and compared first"
            ),
            Self::RowsDiffer => f.write_str("rows differ from the served build"),
            Self::RulesChanged(change) => change.fmt(f),
            Self::ManyAgain(many) => many.fmt(f),
            Self::DanglingLink(path) => write!(f, "{} does not lead to the served build", path.display()),
            Self::Held => f.write_str("a rollback holds the served build until the table changes"),
            Self::WouldFail(unfit) => write!(f, "would fail: {unfit}"),
            Self::WouldBeRefused(refusal) => write!(f, "would be refused: {refusal}"),
            Self::NotMeasured(why) => write!(f, "would fail: {why}"),
            Self::Claimed(whose) => write!(f, "would be refused: {whose}"),
        }
    }
}

impl Reason {
    /// What an operator should know of a build before anything is sent.
    #[must_use]
    pub fn news(&self) -> Option<News> {
        match self {
            Self::OtherLength { .. } | Self::ManyAgain(_) => Some(News::Warning),
            Self::RulesChanged(_) => Some(News::Note),
            Self::NothingServed
            | Self::Damaged(_)
            | Self::Adopted
            | Self::SpaceChanged { .. }
            | Self::OtherAddress { .. }
            | Self::RowsDiffer
            | Self::DanglingLink(_)
            | Self::Held
            | Self::WouldFail(_)
            | Self::WouldBeRefused(_)
            | Self::NotMeasured(_)
            | Self::Claimed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
