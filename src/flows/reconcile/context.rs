//! What a pass works with, what is asked of it, and what it reports on its way.

use std::sync::Arc;

use jiff::Timestamp;

use crate::adapters::builds::history::Now;
use crate::adapters::builds::uptime::Uptime;
use crate::adapters::embed::{EmbedError, Embedder, SentLog};
use crate::config::Config;
use crate::decide::decision::{News, Reason};
use crate::domain::pass::{Stage, Trigger};
use crate::domain::record::{Basis, Space};
use crate::domain::stop::Stop;

/// What a pass works with.
pub struct PassContext<'a> {
    pub config: &'a Config,
    /// The space of the settings.
    pub space: Space,
    /// Makes the provider when texts must be embedded: a pass that finds nothing new needs no key.
    pub embedder: &'a dyn Fn() -> Result<Arc<dyn Embedder>, EmbedError>,
    /// What was sent to the provider in the last minute, by this pass and those before it.
    pub sent: SentLog,
    /// Where requests run.
    pub runtime: tokio::runtime::Handle,
    /// Ends the pass, and receives its signs of life.
    pub stop: Stop,
    pub progress: &'a (dyn Fn(PassProgress<'_>) + Sync),
    /// The time of day, for names and people, and for ages where nothing else is known.
    pub clock: fn() -> Timestamp,
    /// How long the system has run: the age of builds that were replaced is counted by it.
    pub uptime: fn() -> Uptime,
}

/// What is asked of a pass.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "wishes that are independent of each other")]
pub struct PassOptions {
    pub trigger: Trigger,
    /// Make a build though nothing differs.
    pub full: bool,
    /// Embed every text again.
    pub embed_again: bool,
    /// Try every quarantined row again that the provider refused; a failure of that ends the pass.
    pub retry_quarantined: bool,
    /// Waive `guard.max_shrink`.
    pub accept_shrink: bool,
    /// Waive the guard of the space.
    pub accept_space: bool,
    /// Waive the guard of the values that judged queries give.
    pub accept_quality: bool,
    /// Reuse the vectors of an adopted build once some came out the same.
    pub trust_adopted: bool,
    /// Take over a directory that another configuration claims.
    pub accept_source: bool,
    /// Verify the served files in full first, and replace them if they are damaged.
    pub full_check: bool,
    /// End a hold: a person asked for a build.
    pub ends_hold: bool,
}

/// A step of a running pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PassProgress<'a> {
    /// A stage began.
    Stage(Stage),
    /// Texts were embedded.
    Embedded {
        done: u64,
        total: u64,
        /// What is being waited for.
        waiting: Option<&'a str>,
    },
    /// An attempt to embed has ended: texts that left this host during the pass.
    Sent { texts: u64 },
    /// Something that an operator did, and what follows from it.
    Note(&'a str),
    /// Something an operator should know that does not end the pass.
    Warning(&'a str),
}

impl PassContext<'_> {
    /// The same pass, reporting its steps and signs of life to others.
    pub(super) fn with_progress<'b>(
        &'b self,
        progress: &'b (dyn Fn(PassProgress<'_>) + Sync),
        stop: Stop,
    ) -> PassContext<'b> {
        PassContext {
            config: self.config,
            space: self.space.clone(),
            embedder: self.embedder,
            sent: self.sent.clone(),
            runtime: self.runtime.clone(),
            stop,
            progress,
            clock: self.clock,
            uptime: self.uptime,
        }
    }

    /// What digests of scans and contents are fed with first.
    pub(super) fn basis(&self) -> Basis<'_> {
        self.config.basis(&self.space)
    }

    /// This instant, by both clocks.
    pub(super) fn now(&self) -> Now {
        Now { at: (self.clock)(), uptime: (self.uptime)() }
    }

    pub(super) fn warn(&self, message: &str) {
        (self.progress)(PassProgress::Warning(message));
    }

    /// Reports those reasons for a build that an operator should know.
    pub(super) fn report_reasons(&self, reasons: &[Reason]) {
        for reason in reasons {
            match reason.news() {
                Some(News::Warning) => self.warn(&reason.to_string()),
                Some(News::Note) => (self.progress)(PassProgress::Note(&reason.to_string())),
                None => {}
            }
        }
    }
}

impl PassOptions {
    /// Whether a build is made though nothing differs.
    pub(super) fn is_forced(&self) -> bool {
        self.full || self.embed_again
    }
}
