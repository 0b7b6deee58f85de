//! `reindexd text`: the document text of rows, before anything is sent.

use clap::Args;
use serde_json::{Value, json};

use super::{Context, DONE, FAILED, fail, log_warnings, print, print_json};
use crate::flows::reconcile::{MadeText, RowTexts, texts};

#[derive(Debug, Args)]
pub(super) struct TextArgs {
    /// Ids of rows, as messages print them; without one the first rows are shown
    ids: Vec<String>,
    /// How many rows to show at most
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
}

pub(super) fn run(context: &Context, options: &TextArgs) -> u8 {
    let limit = if options.ids.is_empty() { usize::from(options.limit) } else { options.ids.len() };
    let found = match context.with_pass(&log_warnings, |pass| texts(pass, &options.ids, limit)) {
        Ok(found) => found,
        Err(error) => return context.fail(&error),
    };
    if context.json {
        print_json(&json!({ "rows": found.iter().map(row_json).collect::<Vec<_>>() }));
    } else {
        found.iter().for_each(print_row);
    }
    let is_missing = |id: &&String| !found.iter().any(|row| row.id == **id);
    match options.ids.iter().find(is_missing) {
        Some(id) => fail(false, FAILED, &format!("no indexed row has the id {id}")),
        None => DONE,
    }
}

fn row_json(row: &RowTexts) -> Value {
    match &row.texts {
        Ok(texts) => json!({ "id": row.id, "texts": texts.iter().map(text_json).collect::<Vec<_>>() }),
        Err(unfit) => json!({ "id": row.id, "unfit": unfit.to_string() }),
    }
}

fn text_json(made: &MadeText) -> Value {
    let MadeText { text, tokens: (at_least, likely) } = made;
    json!({ "text": text, "characters": text.chars().count(), "tokens_at_least": at_least, "tokens": likely })
}

fn print_row(row: &RowTexts) {
    let texts = match &row.texts {
        Ok(texts) => texts,
        Err(unfit) => return print(&format!("{unfit}\n\n")),
    };
    for (nth, MadeText { text, tokens: (_, likely) }) in texts.iter().enumerate() {
        let chunk =
            if texts.len() > 1 { format!(", chunk {} of {}", nth + 1, texts.len()) } else { String::new() };
        let characters = text.chars().count();
        print(&format!("id {}{chunk}: {characters} characters, about {likely} tokens\n{text}\n\n", row.id));
    }
}
