//! What an operator accepts in a pass, or accepted before it.
//!
//! Under the lock it is written down before anything is sent, and forgotten
//! once a build is promoted. How long it holds is decided by `acceptance`.

use super::context::{PassContext, PassOptions};
use super::error::PassError;
use super::prepare::Prepared;
use crate::adapters::builds::{accepted, error_chain};
use crate::decide::acceptance::{Acceptance, Accepted, Exceeded};
use crate::domain::pass::Outcome;

/// What a pass may do past a guard.
pub(super) struct Acceptances {
    waived: Exceeded,
    remembered: Acceptance,
    /// What the file says.
    stored: Option<Acceptance>,
}

impl Acceptances {
    pub(super) fn load(
        context: &PassContext<'_>,
        options: &PassOptions,
        prepared: &Prepared,
    ) -> Result<Self, PassError> {
        let (stored, warning) = accepted::load(&prepared.builds.layout)?;
        if let Some(warning) = warning {
            context.warn(&warning);
        }
        let nothing = Acceptance::nothing(prepared.id().map(str::to_owned), settings_digest(context));
        let remembered = nothing.with_earlier(stored.clone());
        let waived = Exceeded { shrink: options.accept_shrink, space: options.accept_space };
        Ok(Self { waived, remembered, stored })
    }

    pub(super) fn accepted(&self, context: &PassContext<'_>) -> Accepted {
        self.remembered.accepted(self.waived, &context.space)
    }

    /// Writes down what this pass accepts of a plan, and that what became worse is no longer accepted.
    pub(super) fn remember(
        &mut self,
        context: &PassContext<'_>,
        prepared: &Prepared,
        exceeded: Exceeded,
        records: u64,
    ) {
        let before = self.remembered.clone();
        self.remembered = before.after_plan(self.waived, exceeded, records, &context.space);
        let now = Some(&self.remembered).filter(|now| !now.is_empty());
        if self.stored.as_ref() == now {
            return;
        }
        let layout = &prepared.builds.layout;
        let saved = now.map_or_else(|| accepted::forget(layout), |now| accepted::save(layout, now));
        match saved {
            Ok(()) => self.stored = now.cloned(),
            Err(error) => {
                context.warn(&format!("what was accepted is not remembered: {}", error_chain(&error)));
            }
        }
    }

    /// Nothing is accepted any more once it is served.
    pub(super) fn end(&mut self, context: &PassContext<'_>, prepared: &Prepared, outcome: Outcome) {
        if outcome != Outcome::Promoted || self.stored.take().is_none() {
            return;
        }
        // It names the build that was served before, so that it holds no longer even if it stays.
        if let Err(error) = accepted::forget(&prepared.builds.layout) {
            context.warn(&error_chain(&error));
        }
    }
}

/// Digest of the settings that an acceptance is about.
fn settings_digest(context: &PassContext<'_>) -> String {
    let config = context.config;
    let parts = [
        context.space.key(),
        config.embedding.base_url.clone().unwrap_or_default(),
        config.source.database.display().to_string(),
        config.guard.max_shrink.to_string(),
    ];
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}
