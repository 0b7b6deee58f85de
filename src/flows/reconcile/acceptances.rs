//! What an operator accepts in a pass, or accepted before it.
//!
//! Under the lock it is written down before anything is sent, and forgotten
//! once a build is promoted. How long it holds is decided by `acceptance`.

use super::context::{PassContext, PassOptions};
use super::error::PassError;
use crate::adapters::builds::checked_file::{self, ACCEPTED};
use crate::adapters::builds::{Builds, Layout, error_chain};
use crate::decide::acceptance::{Acceptance, Accepted, AddressFinding, Exceeded};
use crate::decide::address::Finding;
use crate::decide::quality::AcceptedQuality;
use crate::domain::pass::Outcome;

/// What a pass may do past a guard.
pub(super) struct Acceptances {
    layout: Layout,
    waived: Exceeded,
    remembered: Acceptance,
    waives_quality: bool,
    /// What the file says.
    stored: Option<Acceptance>,
}

impl Acceptances {
    pub(super) fn load(
        context: &PassContext<'_>,
        options: &PassOptions,
        builds: &Builds,
        served: Option<&str>,
    ) -> Result<Self, PassError> {
        let (stored, warning) = checked_file::load::<Acceptance>(&builds.layout, ACCEPTED)?;
        if let Some(warning) = warning {
            context.warn(&warning);
        }
        let nothing = Acceptance::nothing(served.map(str::to_owned), settings_digest(context));
        let layout = builds.layout.clone();
        let remembered = nothing.with_earlier(stored.clone());
        let waived = Exceeded { shrink: options.accept_shrink, space: options.accept_space };
        Ok(Self { layout, waived, waives_quality: options.accept_quality, remembered, stored })
    }

    pub(super) fn accepted(&self, context: &PassContext<'_>) -> Accepted {
        self.remembered.accepted(self.waived, &context.space)
    }

    /// Writes down what this pass accepts of a plan, and that what became worse is no longer accepted.
    pub(super) fn remember(&mut self, context: &PassContext<'_>, exceeded: Exceeded, records: u64) {
        let before = self.remembered.clone();
        self.remembered = before.after_plan(self.waived, exceeded, records, &context.space);
        self.save(context);
    }

    /// What was found of the settings' address before.
    pub(super) fn finding(&self, address: &str) -> Option<&AddressFinding> {
        self.remembered.finding(address)
    }

    /// Whether an operator accepts that the settings' address gives other vectors than are served.
    pub(super) fn is_apart(&self, context: &PassContext<'_>) -> bool {
        let address = context.config.embedding.address();
        address.and_then(|address| self.finding(&address).map(|found| found.accepted)).unwrap_or_default()
    }

    /// Remembers what was found of an address. Gives whether it is accepted though its vectors are others.
    pub(super) fn record_finding(
        &mut self,
        context: &PassContext<'_>,
        address: &str,
        finding: Finding,
    ) -> bool {
        let accepted = !finding.is_same() && self.waived.space;
        self.remembered.address = Some(AddressFinding { address: address.to_owned(), finding, accepted });
        self.save(context);
        accepted
    }

    /// What an operator accepts of the values of a build: before, and with this pass.
    pub(super) fn quality(&self) -> (AcceptedQuality, bool) {
        (self.remembered.quality, self.waives_quality)
    }

    /// Remembers which values are accepted from now on.
    pub(super) fn record_quality(&mut self, context: &PassContext<'_>, quality: AcceptedQuality) {
        self.remembered.quality = quality;
        self.save(context);
    }

    fn save(&mut self, context: &PassContext<'_>) {
        let now = Some(&self.remembered).filter(|now| !now.is_empty());
        if self.stored.as_ref() == now {
            return;
        }
        let layout = &self.layout;
        let saved = match now {
            Some(now) => checked_file::save(layout, ACCEPTED, now),
            None => checked_file::forget(layout, ACCEPTED),
        };
        match saved {
            Ok(()) => self.stored = now.cloned(),
            Err(error) => {
                context.warn(&format!("what was accepted is not remembered: {}", error_chain(&error)));
            }
        }
    }

    /// Nothing is accepted any more once it is served, but a value below `evaluate.min`: that is so of the
    /// next build as well.
    pub(super) fn end(&mut self, context: &PassContext<'_>, outcome: Outcome, served: Option<&str>) {
        if outcome != Outcome::Promoted || self.stored.is_none() {
            return;
        }
        let settings = self.remembered.settings.clone();
        let nothing = Acceptance::nothing(served.map(str::to_owned), settings);
        let quality = self.remembered.quality.after_promotion();
        self.remembered = Acceptance { quality, ..nothing };
        if !self.remembered.is_empty() {
            return self.save(context);
        }
        self.stored = None;
        // It names the build that was served before, so that it holds no longer even if it stays.
        if let Err(error) = checked_file::forget(&self.layout, ACCEPTED) {
            context.warn(&error_chain(&error));
        }
    }
}

/// Digest of the settings that an acceptance is about.
fn settings_digest(context: &PassContext<'_>) -> String {
    let config = context.config;
    let mut parts = vec![
        context.space.key(),
        config.embedding.address().unwrap_or_default(),
        config.source.database.display().to_string(),
        config.guard.max_shrink.to_string(),
    ];
    let evaluate = &config.evaluate;
    if let Some((queries, qrels)) = evaluate.files() {
        parts.extend([queries, qrels].map(|path| path.display().to_string()));
        parts.push(evaluate.metric.title(evaluate.k));
        parts.extend([evaluate.min, evaluate.max_drop].map(|limit| limit.to_string()));
    }
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}
