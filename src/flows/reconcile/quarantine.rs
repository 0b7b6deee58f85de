//! The way back of quarantined rows: since when each is out, and which texts are sent again.
//!
//! A row that is out because of its own value comes back when it changes. A
//! text that the provider refused is tried again once a day, by whichever pass
//! comes first, and whenever a person asks. The tries come before the pass
//! itself, each text alone: one that is refused again, or a provider that does
//! not answer, leaves the pass as it would have been. What is due is
//! `decide::retries`' decision.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::time::Duration;

use super::acceptances::Acceptances;
use super::address_check::Reference;
use super::cached_origin;
use super::context::{PassContext, PassOptions};
use super::embed_missing::{Missing, embed_refused};
use super::error::PassError;
use super::prepare::Prepared;
use super::read_table::TableSummary;
use crate::adapters::builds::staging::Drafted;
use crate::adapters::builds::{error_chain, last_tries, sent_texts};
use crate::adapters::cache::Cache;
use crate::decide::retries::LastTries;
use crate::domain::manifest::{Manifest, QuarantinedRow};
use crate::domain::pass::Counts;
use crate::domain::record::TextHash;

/// How long daily tries go on without a success.
const MAX_DAILY: Duration = Duration::from_secs(30);

/// What became of the tries of a pass.
#[derive(Debug, Default)]
pub(super) enum Retries {
    /// There are none.
    #[default]
    Unneeded,
    /// These texts are to be sent.
    Due(DueTexts),
    /// They were sent: what the provider takes now has a vector, and the rows are read again.
    Made,
}

/// Texts that are to be sent again.
#[derive(Debug)]
pub(super) struct DueTexts {
    texts: HashSet<TextHash>,
    /// What is noted before they are.
    tries: LastTries,
    /// A person asked for it: a failure ends the pass.
    is_asked: bool,
}

impl Retries {
    /// Chooses the texts.
    pub(super) fn choose(context: &PassContext<'_>, options: &PassOptions, prepared: &Prepared) -> Self {
        let refused = refused_texts(prepared.served().build().map(|build| &build.manifest), context);
        if refused.is_empty() {
            if options.retry_quarantined {
                context.warn("no row is quarantined by a provider's refusal; there is nothing to try again");
            }
            return Self::Unneeded;
        }
        // Otherwise the texts are sent as any others are.
        let are_sent_anyway = options.embed_again || context.config.guard.quarantine == 0;
        if are_sent_anyway || prepared.hold().is_some() {
            return Self::Unneeded;
        }
        let (layout, now) = (&prepared.builds.layout, (context.clock)().as_second());
        let (known, warning) = last_tries::load(layout)
            .unwrap_or_else(|error| (LastTries::default(), Some(error_chain(&error))));
        if let Some(warning) = warning {
            context.warn(&warning);
        }
        let mut tries = known.of(&refused, now);
        if tries != known
            && let Err(error) = last_tries::save(layout, &tries)
        {
            context.warn(&error_chain(&error));
        }
        // What leaves beyond the ceiling is to show that the provider works.
        let is_at_ceiling = sent_texts(layout).is_some_and(|sent| sent.is_held);
        let are_all = options.retry_quarantined || options.full;
        if is_at_ceiling && !are_all {
            return Self::Unneeded;
        }
        let due = if are_all { refused } else { tries.due(now, context.config.guard.max_texts) };
        if due.is_empty() {
            return Self::Unneeded;
        }
        tries.begin(&due, now);
        let is_asked = options.retry_quarantined;
        Self::Due(DueTexts { texts: due.into_iter().collect(), tries, is_asked })
    }

    /// What is to be sent, once.
    pub(super) fn take_due(&mut self) -> Option<DueTexts> {
        match mem::take(self) {
            Self::Due(due) => Some(due),
            other @ (Self::Unneeded | Self::Made) => {
                *self = other;
                None
            }
        }
    }

    /// Whether the rows must be read though the scan is known.
    pub(super) fn need_rows(&self) -> bool {
        !matches!(self, Self::Unneeded)
    }
}

impl DueTexts {
    pub(super) fn texts(&self) -> &HashSet<TextHash> {
        &self.texts
    }

    /// Whether the provider at the address of the settings gives the vectors that are served. The daily tries
    /// wait until another pass has proven it; those that were asked for prove it themselves.
    pub(super) fn is_proven(
        &self,
        context: &PassContext<'_>,
        missing: &Missing<'_>,
        reference: Option<&Reference>,
        acceptances: &mut Acceptances,
        counts: &mut Counts,
    ) -> Result<bool, PassError> {
        // A sample without a reference is of cached vectors of another address: a pass settles that first.
        let Some(reference) = reference else { return Ok(missing.table.sample.is_empty()) };
        if self.is_asked {
            reference.settle(context, missing.trigger, acceptances, missing.table, counts)?;
        }
        Ok(reference.facts(acceptances, true).is_settled() && !acceptances.is_apart(context))
    }

    /// Notes that the texts are sent, before they are; whether they may be. Where that cannot be noted, only
    /// what was asked for is sent: each pass would send the others again.
    pub(super) fn note(&self, context: &PassContext<'_>, prepared: &Prepared) -> bool {
        let noted = last_tries::save(&prepared.builds.layout, &self.tries);
        if let Err(error) = &noted {
            context.warn(&format!("quarantined rows: {}", error_chain(error)));
        }
        let are_sent = noted.is_ok() || self.is_asked;
        let recorded = are_sent.then(|| cached_origin::record(context, &prepared.builds));
        if let Some(Err(error)) = &recorded {
            context.warn(&format!("quarantined rows: {}", error.to_line()));
        }
        matches!(recorded, Some(Ok(())))
    }

    /// Sends the texts; gives those that the provider takes now.
    ///
    /// What is `missing` has their rows as if they were not quarantined; `refused` are their messages, and
    /// keeps those that are refused still.
    pub(super) fn send(
        &self,
        context: &PassContext<'_>,
        missing: &Missing<'_>,
        refused: &mut HashMap<TextHash, String>,
        cache: &mut Cache,
        counts: &mut Counts,
    ) -> Result<Vec<TextHash>, PassError> {
        let settings = context.config.embedding.retry_budget;
        let budget = if self.is_asked { settings } else { settings.min(MAX_DAILY) };
        let (sent, result) = embed_refused(context, missing, cache, counts, refused, budget);
        let taken: HashSet<TextHash> = sent.texts.iter().copied().collect();
        let again: HashMap<_, _> = sent.refused.into_iter().collect();
        let (rows, without): (HashSet<_>, HashSet<_>) = (texts_of(missing.table), spooled(missing.drafted)?);
        let tried = refused.len();
        // A text that need not be sent has a vector already: the program died after it had come.
        refused.retain(|text, _| !(taken.contains(text) || rows.contains(text) && !without.contains(text)));
        refused.extend(again);
        let back = tried - refused.len();
        match result {
            Err(PassError::Stopped) => return Err(PassError::Stopped),
            Err(error) if self.is_asked => return Err(error),
            Err(error) => context.warn(&format!(
                "quarantined rows could not all be tried again, and are tomorrow: {}",
                error.to_line()
            )),
            Ok(()) if self.is_asked || back > 0 => context.warn(&format!(
                "texts of quarantined rows tried again: {tried}; taken by the provider now: {back}"
            )),
            Ok(()) => {}
        }
        Ok(sent.texts)
    }
}

/// Notes which texts were refused just now: their day begins.
pub(super) fn note_refused(context: &PassContext<'_>, prepared: &Prepared, refused: &[(TextHash, String)]) {
    let (layout, now) = (&prepared.builds.layout, (context.clock)().as_second());
    let before = refused_texts(prepared.served().build().map(|build| &build.manifest), context);
    let noted = last_tries::load(layout).and_then(|(tries, _)| {
        let mut tries = tries.of(&before, now);
        tries.refused_at.extend(refused.iter().map(|(text, _)| (*text, now)));
        last_tries::save(layout, &tries)
    });
    if let Err(error) = noted {
        context.warn(&error_chain(&error));
    }
}

/// The quarantined rows of a new build, each with the time since when it is out.
pub(super) fn with_since(
    rows: &[QuarantinedRow],
    before: Option<&Manifest>,
    now: &str,
) -> Vec<QuarantinedRow> {
    let known: HashMap<&str, &str> = before
        .iter()
        .flat_map(|manifest| manifest.quarantined.iter().map(|row| (row.id.as_str(), row.since(manifest))))
        .collect();
    let since = |row: &QuarantinedRow| (*known.get(row.id.as_str()).unwrap_or(&now)).to_owned();
    rows.iter().map(|row| QuarantinedRow { since: Some(since(row)), ..row.clone() }).collect()
}

/// The texts of rows that are out because the provider refused them in this space.
fn refused_texts(served: Option<&Manifest>, context: &PassContext<'_>) -> Vec<TextHash> {
    let served = served.filter(|manifest| manifest.space.as_ref() == Some(&context.space));
    let mut texts: Vec<TextHash> =
        served.iter().flat_map(|manifest| &manifest.quarantined).filter_map(|row| row.refused_text).collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

fn texts_of(table: &TableSummary) -> HashSet<TextHash> {
    table.rows.iter().map(|row| row.text).collect()
}

fn spooled(drafted: &Drafted) -> Result<HashSet<TextHash>, PassError> {
    Ok(drafted.spool()?.filter_map(Result::ok).map(|text| text.hash).collect())
}
