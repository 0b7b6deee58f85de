//! The scan that the served build was made from, and whether another one differs by itself.
//!
//! The files are looked at before a scan: what is written later shows in their
//! stamps. Where they had been written too recently for that, nothing is
//! remembered, and the next scan that differs is acted on as any other. The
//! experts are read by a condition that never changes by itself.

use super::context::{PassContext, PassOptions};
use super::prepare::Prepared;
use crate::adapters::builds::history::{ActedScan, Now};
use crate::adapters::source::{Rows, ScanDigest};
use crate::adapters::watch::settled_source;
use crate::decide::differing_scan::{Difference, difference};
use crate::domain::file_stamp::FileStamp;
use crate::domain::record::ScanHash;
use crate::domain::source_spec::SourceSpec;

/// What was known when a scan began.
pub(super) struct BegunScan {
    files: Option<[Option<FileStamp>; 2]>,
    now: Now,
    /// Digest of settings and space without any row, once it is known.
    rules: Option<ScanHash>,
    has_warned: bool,
}

impl BegunScan {
    /// Before the database is opened.
    pub(super) fn start(context: &PassContext<'_>) -> Self {
        let config = context.config;
        let is_fixed = config.source_spec() == SourceSpec::Experts;
        let files = if is_fixed { None } else { settled_source(&config.source.database) };
        Self { files, now: context.now(), rules: None, has_warned: false }
    }

    /// Whether rows that differ from the served build's are left for a later pass: nobody wrote them, and
    /// nobody asks. The first time, the operator is warned.
    pub(super) fn waits(
        &mut self,
        context: &PassContext<'_>,
        options: &PassOptions,
        prepared: &mut Prepared,
        rows: &Rows,
    ) -> bool {
        let rules = ScanDigest::new(context.basis(), &rows.rules().scan_input()).finish();
        self.rules = Some(rules);
        let Some(before) = prepared.history.acted_scan.clone() else { return false };
        self.has_warned = before.has_warned && before.rules == rules;
        let is_same_source =
            prepared.id() == Some(&before.build) && before.rules == rules && self.files == Some(before.files);
        let is_asked_for = options.trigger.is_asked_for() || prepared.facts(context, options).is_forced;
        let since = self.now.uptime.at_least_since(before.uptime_ms);
        let Difference::ByItself { is_due } = difference(is_same_source, is_asked_for, since) else {
            return false;
        };
        if !self.has_warned {
            context.warn(
                "the rows differ although no file of the database was written: source.query, source.where or a view asks for the time, as date('now') does; such a difference is acted on once an hour at most, and at once by `reindexd build`",
            );
            self.has_warned = true;
            prepared.history.acted_scan = Some(ActedScan { has_warned: true, ..before });
            prepared.save_history(context);
        }
        // While a rollback holds the build, the rows decide whether it goes on.
        !is_due && prepared.hold().is_none()
    }

    /// What is remembered once `build` has the content of this scan.
    pub(super) fn acted(self, build: &str) -> Option<ActedScan> {
        let Self { files, now, rules, has_warned } = self;
        let build = build.to_owned();
        Some(ActedScan { build, rules: rules?, files: files?, uptime_ms: now.uptime, has_warned })
    }
}
