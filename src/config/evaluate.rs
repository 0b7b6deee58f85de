//! The section evaluate: which files are asked, and what a build must reach.
//!
//! Queries and judgements belong together: one without the other is refused.
//! What is in the files is read by each pass, not here.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::ConfigError;
use super::declare::Key;
use super::keys::{EvaluateSettings, RawEvaluate, evaluate as keys};
use super::kinds::{Choice, FilePath, Share, WholeNumber};
use super::origin::ValueOrigin;
use super::resolved::Resolved;

/// Settles the section.
pub(super) fn evaluate(
    raw: &RawEvaluate,
    resolved: &mut Resolved<'_>,
) -> Result<EvaluateSettings, ConfigError> {
    let queries = path(&keys::queries, raw.queries.as_ref(), resolved)?;
    let qrels = path(&keys::qrels, raw.qrels.as_ref(), resolved)?;
    if queries.is_some() != qrels.is_some() {
        let [absent, present] =
            if queries.is_some() { [&keys::qrels, &keys::queries] } else { [&keys::queries, &keys::qrels] };
        let expected =
            format!("a file, because {} is set: one says nothing without the other", present.path());
        return Err(ConfigError::Absent { key: absent.path(), expected });
    }
    let limits = [
        (&keys::k, raw.k.is_some()),
        (&keys::metric, raw.metric.is_some()),
        (&keys::min, raw.min.is_some()),
        (&keys::max_drop, raw.max_drop.is_some()),
    ];
    if let (None, Some((key, _))) = (&queries, limits.into_iter().find(|(_, is_set)| *is_set)) {
        let needed = keys::queries.path();
        resolved.note(format!("{} is set, but without {needed} nothing is measured", key.path()));
    }
    Ok(EvaluateSettings {
        queries,
        qrels,
        k: resolved.settle::<WholeNumber<usize>>(&keys::k, raw.k.as_ref())?,
        metric: resolved.settle::<Choice<_>>(&keys::metric, raw.metric.as_ref())?,
        min: resolved.settle::<Share>(&keys::min, raw.min.as_ref())?,
        max_drop: resolved.settle::<Share>(&keys::max_drop, raw.max_drop.as_ref())?,
    })
}

/// A path, or that there is none.
fn path(
    key: &Key,
    raw: Option<&Spanned<String>>,
    resolved: &mut Resolved<'_>,
) -> Result<Option<PathBuf>, ConfigError> {
    let Some(given) = resolved.written(raw) else {
        resolved.record(key.path(), "none", &ValueOrigin::Default);
        return Ok(None);
    };
    resolved.settle_given::<FilePath>(key, &key.path(), &given).map(Some)
}

impl EvaluateSettings {
    /// The files of queries and judgements; `None` where nothing is measured.
    #[must_use]
    pub fn files(&self) -> Option<(&Path, &Path)> {
        self.queries.as_deref().zip(self.qrels.as_deref())
    }
}
