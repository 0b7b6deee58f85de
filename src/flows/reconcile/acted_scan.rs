//! The scan that the served build was made from, and whether another one differs by itself.
//!
//! The files are looked at before a scan: what is written later shows in their
//! stamps. Where they had been written too recently for that, nothing is
//! remembered, and the next scan that differs is acted on as any other. The
//! experts are read by a condition that never changes by itself.

use super::context::PassContext;
use crate::adapters::builds::history::{ActedScan, Now};
use crate::adapters::source::{Rows, ScanDigest};
use crate::adapters::watch::settled_source;
use crate::decide::differing_scan::{Difference, difference};
use crate::domain::file_stamp::FileStamp;
use crate::domain::record::ScanHash;
use crate::domain::source_spec::SourceSpec;

const WARNING: &str = "the rows differ although no file of the database was written: the SQL of the source, or a \
                       view, asks for the time, as date('now') does; such a difference is acted on once an hour \
                       at most, and at once by `reindexd build`";

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

    /// Why these rows differ from those of the scan `before`, of which the build `served` was made.
    pub(super) fn compare(
        &mut self,
        context: &PassContext<'_>,
        rows: &Rows,
        (before, served): (&ActedScan, Option<&str>),
        is_asked_for: bool,
    ) -> Difference {
        let rules = self.note_rules(context, rows);
        self.has_warned = before.has_warned && before.rules == rules;
        let is_same_source = served == Some(&before.build)
            && before.rules == rules
            && self.files.as_ref() == Some(&before.files);
        difference(is_same_source, is_asked_for, self.now.uptime.at_least_since(before.uptime_ms))
    }

    /// Notes by which rules the rows were read.
    pub(super) fn note_rules(&mut self, context: &PassContext<'_>, rows: &Rows) -> ScanHash {
        let rules = ScanDigest::new(context.basis(), &rows.rules().scan_input()).finish();
        self.rules = Some(rules);
        rules
    }

    /// Warns the first time.
    pub(super) fn warn_once(&mut self, context: &PassContext<'_>, before: &mut ActedScan) {
        if !self.has_warned {
            context.warn(WARNING);
        }
        (self.has_warned, before.has_warned) = (true, true);
    }

    /// What is remembered once `build` has the content of this scan.
    pub(super) fn acted(self, build: &str) -> Option<ActedScan> {
        let Self { files, now, rules, has_warned } = self;
        let build = build.to_owned();
        Some(ActedScan { build, rules: rules?, files: files?, uptime_ms: now.uptime, has_warned })
    }
}
