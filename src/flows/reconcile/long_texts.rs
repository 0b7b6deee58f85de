//! Texts that the model does not read whole: how they are measured, and the warning about them.
//!
//! The warning comes once for each set of rows: the history remembers of which
//! rows it was. Counts and names are in the plan, the status and the manifest.

use super::context::PassContext;
use crate::adapters::builds::history::History;
use crate::adapters::embed;
use crate::domain::tokens::{LongTexts, TextMeasure, TooLong};

/// Measures texts as these settings say; `None` where the model's limit is not known.
pub(super) fn measure(context: &PassContext<'_>) -> Option<TextMeasure> {
    let settings = &context.config.embedding;
    let limit = settings.token_limit()?;
    Some(TextMeasure::new(limit, &settings.document.prefix, embed::exact_token_count(settings)))
}

/// Warns of long texts, unless the last warning was of the same rows: `rows` is their digest.
pub(super) fn warn_once(
    context: &PassContext<'_>,
    history: &mut History,
    texts: &LongTexts,
    rows: Option<&str>,
) {
    if history.long_texts.as_deref() == rows {
        return;
    }
    history.long_texts = rows.map(str::to_owned);
    let Some(note) = texts.note() else { return };
    let done = match context.config.embedding.too_long {
        TooLong::Warn => "what is beyond that may not be found",
        TooLong::Refuse => "they may be longer or not, and are embedded as they are",
        TooLong::Cut => "they are cut there",
    };
    context.warn(&format!("{note}; {done} (embedding.too_long)"));
}
