//! Limits that a plan must satisfy before anything is embedded.
//!
//! A table that lost its tags, or most of its rows, or that needs more texts
//! embedded than an operator allowed, is refused; so are settings of another
//! space than what is served, and more rows that cannot be indexed than
//! quarantine allows. The previous build stays.
//! Both are decided here; a pass fails for unfit rows and is refused by the
//! other limits.
//!
//! Pure. What is checked of the files afterwards is `builds`' work.

use std::fmt;

use thiserror::Error;

use super::acceptance::Accepted;
use super::build_space::BuildSpace;
use crate::config::GuardSettings;
use crate::domain::pass::Counts;
use crate::domain::record::{RowError, Space};

/// Faults that a message names one by one; the rest are counted.
pub const MAX_NAMED_FAULTS: usize = 10;

/// What an operator allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The share of the served records that may be missing, 0 to 1.
    pub max_shrink: f64,
    /// Texts that one pass may embed; 0 for no limit.
    pub max_texts: u64,
    /// What an operator lets pass all the same.
    pub accepted: Accepted,
}

/// How much a scan may read before it counts as endless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimits {
    pub max_rows: u64,
    /// Temporary disk space in bytes; `None` for what follows from the database.
    max_scan: Option<u64>,
}

impl ScanLimits {
    const MIN_MAX_ROWS: u64 = 10_000_000;
    const MIN_MAX_SCAN: u64 = 256 << 20;

    /// `served`: records of the served build, `None` if nothing is served.
    #[must_use]
    pub fn new(settings: &GuardSettings, served: Option<u64>) -> Self {
        let twice = served.unwrap_or_default().saturating_mul(2);
        let max_rows = match settings.max_rows {
            0 => twice.max(Self::MIN_MAX_ROWS),
            set => set,
        };
        Self { max_rows, max_scan: settings.max_scan }
    }

    /// The most bytes in temporary files while a database of so many is read.
    #[must_use]
    pub fn max_scan_bytes(&self, database_bytes: u64) -> u64 {
        self.max_scan.unwrap_or_else(|| database_bytes.saturating_mul(4).max(Self::MIN_MAX_SCAN))
    }
}

/// Why a plan is not built, or a scan not ended.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Refusal {
    #[error(
        "no tagged rows{} that can be indexed: {indexed_rows} tagged, {quarantined} quarantined; run the tagging first",
        if *.quarantined > 0 { " left" } else { "" }
    )]
    Empty { indexed_rows: u64, quarantined: u64 },
    #[error(
        "{records} records are {percent:.1} % fewer than the {served} served, more than guard.max_shrink = {max_shrink} allows; if that is right, run `reindexd build --accept-shrink`"
    )]
    Shrunk { records: u64, served: u64, percent: f64, max_shrink: f64 },
    #[error(
        "{to_embed} texts would be embedded, {queries} judged queries among them, more than guard.max_texts = {max_texts} allows; raise it if that is right"
    )]
    TooManyTextsAndQueries { to_embed: u64, queries: u64, max_texts: u64 },
    #[error(
        "{to_embed} texts would be embedded, more than guard.max_texts = {max_texts} allows; raise it if that is right"
    )]
    TooManyTexts { to_embed: u64, max_texts: u64 },
    #[error(
        "the settings are of another space than what is served: expected {served}, found {settings}; {to_embed} texts would be embedded, and an API that asks in the space of the served build would get answers without meaning; put the settings back, or run `reindexd build --accept-space`"
    )]
    OtherSpace { served: String, settings: String, to_embed: u64 },
    #[error(
        "build {id} is of another space than what is served: expected {served}, found {target}; an API that asks in the space of the served build would get answers without meaning; the rollback changed nothing; if the API changes with it, add --accept-space"
    )]
    RollbackToOtherSpace { id: String, served: String, target: String },
    #[error(
        "build {id} was made at {target}, what is served at {served}, and nothing proves that both give the same vectors: {found}; an API that asks one of them would get answers without meaning; the rollback changed nothing; if the API changes with it, add --accept-space"
    )]
    RollbackToOtherAddress { id: String, served: String, target: String, found: String },
    #[error(
        "the provider at {to} gives other vectors than are served, which came from {from}: {found}; nothing was changed; put embedding.base_url back, or run `reindexd build --accept-space`, which embeds every text again"
    )]
    OtherAddress { from: String, to: String, found: String },
    #[error("the table has more than {max_rows} rows to index; raise guard.max_rows if that is right")]
    TooManyRows { max_rows: u64 },
    #[error(
        "sorting the table takes more than {max_bytes} bytes of temporary disk space; raise guard.max_scan if the table has an end"
    )]
    TooMuchScan { max_bytes: u64 },
}

/// Rows that cannot be indexed; an error where they are more than quarantine allows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct UnfitRows {
    pub count: u64,
    /// How many quarantine allows.
    pub allowed: u64,
    /// The first of them.
    pub named: Vec<RowError>,
}

impl Limits {
    #[must_use]
    pub fn new(settings: &GuardSettings, accepted: Accepted) -> Self {
        let &GuardSettings { max_shrink, max_texts, .. } = settings;
        Self { max_shrink, max_texts, accepted }
    }
}

impl UnfitRows {
    /// Whether quarantine excludes them all, so that the pass can go on.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.count <= self.allowed
    }
}

impl fmt::Display for UnfitRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = if self.count == 1 { "row" } else { "rows" };
        write!(f, "{} {rows} cannot be indexed (guard.quarantine = {}): ", self.count, self.allowed)?;
        for (nth, fault) in self.named.iter().enumerate() {
            write!(f, "{}{fault}", if nth == 0 { "" } else { "; " })?;
        }
        match self.count - self.named.len() as u64 {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Decides whether a plan is within the limits.
///
/// `served`: records of the served build, `None` if nothing is served. `queries`: judged queries that must be
/// embedded beside the plan's texts.
///
/// # Errors
///
/// The first [`Refusal`] that applies.
#[allow(clippy::cast_precision_loss, reason = "a share of rows, far below 2^52 of them")]
pub fn check(
    plan: &Counts,
    indexed_rows: u64,
    quarantined: u64,
    served: Option<u64>,
    queries: u64,
    limits: &Limits,
) -> Result<(), Refusal> {
    if plan.records == 0 {
        return Err(Refusal::Empty { indexed_rows, quarantined });
    }
    let is_accepted = limits.accepted.min_records.is_some_and(|min| plan.records >= min);
    if let Some(served) = served.filter(|_| !is_accepted && is_shrunk(plan.records, served, limits)) {
        let missing = served.saturating_sub(plan.records);
        return Err(Refusal::Shrunk {
            records: plan.records,
            served,
            percent: 100.0 * missing as f64 / served as f64,
            max_shrink: limits.max_shrink,
        });
    }
    let (to_embed, max_texts) = (plan.embedded.saturating_add(queries), limits.max_texts);
    if max_texts > 0 && to_embed > max_texts {
        return Err(match queries {
            0 => Refusal::TooManyTexts { to_embed, max_texts },
            queries => Refusal::TooManyTextsAndQueries { to_embed, queries, max_texts },
        });
    }
    Ok(())
}

/// Whether so many records are too few after those that are served.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "a share of rows, far below 2^52 of them")]
pub fn is_shrunk(records: u64, served: Option<u64>, limits: &Limits) -> bool {
    served.is_some_and(|served| served.saturating_sub(records) as f64 > limits.max_shrink * served as f64)
}

/// Decides whether vectors of the settings' space may follow those that are served.
///
/// `served`: `None` if nothing is served, or nothing is known of its vectors.
///
/// # Errors
///
/// [`Refusal::OtherSpace`].
pub fn check_space(
    served: Option<&BuildSpace>,
    settings: &Space,
    to_embed: u64,
    accepted: Accepted,
) -> Result<(), Refusal> {
    let settings = BuildSpace::Named(settings.clone());
    match served.filter(|served| !accepted.space && !served.fits(&settings)) {
        None => Ok(()),
        Some(served) => {
            let [served, settings] = served.names(&settings);
            Err(Refusal::OtherSpace { served, settings, to_embed })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_refuses_just_past_its_edge() {
        let limits = Limits { max_shrink: 0.3, max_texts: 5, accepted: Accepted::default() };
        let cases = [
            // records, to embed, served, refused because of
            (0, 0, None, "no tagged rows"),
            (1, 1, None, ""),
            (70, 0, Some(100), ""),
            (69, 0, Some(100), "31.0 %"),
            (100, 5, Some(100), ""),
            (100, 6, Some(100), "6 texts"),
            (200, 0, Some(100), ""),
        ];
        for (records, embedded, served, because) in cases {
            let plan = Counts { records, embedded, ..Counts::default() };

            let message = check(&plan, records, 0, served, 0, &limits)
                .map_or_else(|refusal| refusal.to_string(), |()| String::new());

            assert!(
                message.contains(because) && message.is_empty() == because.is_empty(),
                "{records} {embedded} {served:?}: {message}"
            );
        }
    }

    #[test]
    fn accepting_a_shrink_waives_that_limit_and_no_other() {
        let accepted = Accepted { min_records: Some(1), space: true };
        let limits = Limits { max_shrink: 0.3, max_texts: 5, accepted };
        let plan = |records, embedded| Counts { records, embedded, ..Counts::default() };

        assert_eq!(check(&plan(1, 0), 1, 0, Some(100), 0, &limits), Ok(()));
        let fewer = Limits { accepted: Accepted { min_records: Some(2), space: true }, ..limits };
        assert!(check(&plan(1, 0), 1, 0, Some(100), 0, &fewer).is_err(), "one less than was accepted");
        assert!(check(&plan(0, 0), 0, 0, Some(100), 0, &limits).is_err());
        assert!(check(&plan(1, 6), 1, 0, Some(100), 0, &limits).is_err());
    }

    #[test]
    fn judged_queries_count_among_the_texts_of_a_plan() {
        let limits = Limits { max_shrink: 0.3, max_texts: 5, accepted: Accepted::default() };
        let plan = Counts { records: 9, embedded: 3, ..Counts::default() };
        assert_eq!(check(&plan, 9, 0, None, 2, &limits), Ok(()));
        let message = check(&plan, 9, 0, None, 3, &limits).unwrap_err().to_string();
        assert!(message.starts_with("6 texts would be embedded, 3 judged queries among them"), "{message}");
    }

    #[test]
    fn another_space_than_the_served_one_is_refused_unless_it_is_accepted() {
        let space = |model: &str| Space {
            provider: "openai".to_owned(),
            model: model.to_owned(),
            dimension: 8,
            ..Space::default()
        };
        let served = |model| Some(BuildSpace::Named(space(model)));
        let cases = [
            // served, accepted, refused
            (None, false, false),
            (served("a"), false, false),
            (served("b"), false, true),
            (served("b"), true, false),
            (Some(BuildSpace::Length(8)), false, false),
            (Some(BuildSpace::Length(9)), false, true),
            (Some(BuildSpace::Length(9)), true, false),
        ];
        for (served, accepted, refused) in cases {
            let accepted = Accepted { min_records: None, space: accepted };

            let checked = check_space(served.as_ref(), &space("a"), 7, accepted);

            assert_eq!(checked.is_err(), refused, "{served:?} {accepted:?}");
            let message = checked.err().map(|refusal| refusal.to_string()).unwrap_or_default();
            let names = served.map(|served| served.to_string()).filter(|_| refused).unwrap_or_default();
            assert!(message.contains(&names) && message.contains("--accept-space") == refused, "{message}");
        }
    }

    #[test]
    fn a_scan_is_bounded_by_the_settings_or_by_what_is_known() {
        let settings = |max_rows, max_scan| GuardSettings {
            max_shrink: 0.3,
            max_texts: 0,
            quarantine: 0,
            max_rows,
            max_scan,
        };
        let mib = 1 << 20;
        let cases = [
            // max_rows, max_scan, served, database, then rows and bytes
            (0, None, None, 0, 10_000_000, 256 * mib),
            (0, None, Some(5_000_000), 64 * mib, 10_000_000, 256 * mib),
            (0, None, Some(6_000_000), 65 * mib, 12_000_000, 260 * mib),
            (0, None, Some(u64::MAX), u64::MAX, u64::MAX, u64::MAX),
            (7, Some(3), Some(6_000_000), 65 * mib, 7, 3),
        ];
        for (max_rows, max_scan, served, database, rows, bytes) in cases {
            let limits = ScanLimits::new(&settings(max_rows, max_scan), served);
            assert_eq!(
                (limits.max_rows, limits.max_scan_bytes(database)),
                (rows, bytes),
                "{max_rows} {served:?}"
            );
        }
    }

    #[test]
    fn quarantine_allows_as_many_rows_as_it_says() {
        for (count, allowed, expected) in [(0, 0, true), (1, 0, false), (2, 2, true), (3, 2, false)] {
            assert_eq!(UnfitRows { count, allowed, named: Vec::new() }.is_allowed(), expected, "{count}");
        }
    }
}
