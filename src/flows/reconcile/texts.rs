//! The document texts of rows, as a pass would send them: to be looked at before anything is paid for.
//!
//! Nothing is written and nothing leaves the host.

use super::context::PassContext;
use super::error::PassError;
use super::long_texts;
use super::record_workers::{EncodedRow, RecordWorkers};
use crate::adapters::source::{Purpose, Source, SourceError};
use crate::decide::guard::ScanLimits;
use crate::domain::record::{Row, RowError, id_text};
use crate::domain::tokens::estimate;

/// What is made of one row.
#[derive(Debug)]
pub struct RowTexts {
    /// The whole id.
    pub id: String,
    /// Its texts, one for each chunk, or why it is unfit.
    pub texts: Result<Vec<MadeText>, RowError>,
}

/// A document text with its length.
#[derive(Debug)]
pub struct MadeText {
    pub text: String,
    /// Tokens of a model, as far as they can be known without it: at least, and likely.
    pub tokens: (u64, u64),
}

/// Why the rows end.
enum Ended {
    Failed(PassError),
    /// Every row that was asked for is there.
    Enough,
}

impl From<SourceError> for Ended {
    fn from(error: SourceError) -> Self {
        Self::Failed(error.into())
    }
}

/// Makes the texts of the rows with these ids, or of the first rows where none is named; `limit`: the most
/// rows.
///
/// # Errors
///
/// [`PassError`] if the source cannot be read.
pub fn texts(context: &PassContext<'_>, ids: &[String], limit: usize) -> Result<Vec<RowTexts>, PassError> {
    let config = context.config;
    let limits = ScanLimits::new(&config.guard, None);
    let spec = config.source_spec();
    let source = Source::open(&config.source.database, Purpose::Preview, &context.stop, limits, &spec)?;
    let rows = source.scan(context.basis())?.into_rows(context.basis())?;
    let rules = rows.rules();
    let mut found = Vec::new();
    let most = if ids.is_empty() { limit } else { ids.len().min(limit) };
    let mut sink = |row: Row<'_>, encoded: Result<EncodedRow<'_>, RowError>| {
        let id = id_text(&rules.schema, row);
        if found.len() < most && (ids.is_empty() || ids.contains(&id)) {
            found.push(RowTexts { id, texts: encoded.map(|row| made_texts(&row)) });
        }
        if found.len() == most { Err(Ended::Enough) } else { Ok(()) }
    };
    let mut workers = RecordWorkers::new(rules, long_texts::measure(context));
    let read = rows.for_each(&mut |row| workers.push(row, &mut sink));
    match read.and_then(|_| workers.finish(&mut sink)) {
        Ok(()) | Err(Ended::Enough) => {}
        Err(Ended::Failed(error)) => return Err(error),
    }
    rows.finish()?;
    Ok(found)
}

fn made_texts(row: &EncodedRow<'_>) -> Vec<MadeText> {
    row.pieces().map(|piece| MadeText { text: piece.text.to_owned(), tokens: estimate(piece.text) }).collect()
}
