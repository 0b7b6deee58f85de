//! `reindexd diff`: the rows that differ between two builds, or a build and the table.
//!
//! With `--json` each row is printed as it is found. For people so many rows of
//! each kind are held as are shown, and the others are counted.

use clap::Args;
use serde_json::{Map, Value, json};

use super::verify::{NoBuild, find};
use super::{Context, DONE, FAILED, fail, log_warnings, print, print_error, table};
use crate::adapters::builds::Build;
use crate::app::print::JsonList;
use crate::domain::text::{literal, one_line};
use crate::flows::reconcile::PassError;
use crate::flows::reconcile::diff::{DiffSummary, DifferenceSink, RowChange, RowDifference, diff};

/// A cell of the table shows this much.
const MAX_CELL_CHARS: usize = 80;
/// What the word of a change is, in JSON and for people.
const ADDED: &str = "added";
const CHANGED: &str = "changed";
const REMOVED: &str = "removed";
const UNFIT: &str = "unfit";

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The id of the earlier build (default: the served one)
    from: Option<String>,
    /// The id of the later build (default: the table as it is now)
    to: Option<String>,
    /// How many rows of each kind to show at most; with --json all are printed
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
}

pub(super) fn run(context: &Context, options: &DiffArgs) -> u8 {
    let found = find(context, options.from.as_deref()).and_then(|from| {
        let to = options.to.as_deref().map(|to| find(context, Some(to))).transpose()?;
        Ok((from, to))
    });
    let (from, to) = match found {
        Ok(found) => found,
        Err(NoBuild::NotKnown(message) | NoBuild::Damaged(message)) => {
            return fail(context.json, FAILED, &message);
        }
    };
    if context.json {
        print_object(context, &from, to.as_ref())
    } else {
        print_table(context, &from, to.as_ref(), usize::from(options.limit))
    }
}

fn compare(
    context: &Context,
    from: &Build,
    to: Option<&Build>,
    sink: &mut DifferenceSink<'_>,
) -> Result<DiffSummary, PassError> {
    context.with_pass(&log_warnings, |pass| diff(pass, from, to, sink))
}

fn print_object(context: &Context, from: &Build, to: Option<&Build>) -> u8 {
    let ends = json!({ "from": from.manifest.id, "to": to.map(|build| &build.manifest.id) });
    let mut list = JsonList::begin(&ends, "rows");
    let compared = compare(context, from, to, &mut |row| list.add(&row_json(&row)));
    let (code, ending) = match compared {
        Ok(summary) => (DONE, summary_json(&summary)),
        Err(error) => {
            let message = error.to_line();
            print_error(&message);
            (context.code(&error), json!({ "error": message }))
        }
    };
    list.end(&ending);
    code
}

fn row_json(row: &RowDifference) -> Value {
    let RowDifference { id, entry, change } = row;
    let mut object = Map::new();
    object.insert("id".to_owned(), json!(id));
    object.insert("entry".to_owned(), json!(entry));
    object.insert("change".to_owned(), json!(word(change)));
    match change {
        RowChange::Added | RowChange::Removed => {}
        RowChange::Changed { columns, text, entries } => {
            object.insert("columns".to_owned(), json!(columns));
            object.insert("text".to_owned(), json!(text));
            object.insert("entries".to_owned(), json!(entries));
        }
        RowChange::Unfit { column, reason } => {
            object.insert("column".to_owned(), json!(column));
            object.insert("reason".to_owned(), json!(reason));
        }
    }
    Value::Object(object)
}

fn summary_json(summary: &DiffSummary) -> Value {
    json!({
        "added": summary.added,
        "changed": summary.changed,
        "removed": summary.removed,
        "unfit": summary.unfit,
        "unchanged": summary.unchanged,
        "new_columns": summary.new_columns,
        "lost_columns": summary.lost_columns,
        "spaces": summary.spaces.as_ref().map(|(from, to)| [from, to]),
        "ids_not_known": summary.ids_not_known,
    })
}

fn word(change: &RowChange) -> &'static str {
    match change {
        RowChange::Added => ADDED,
        RowChange::Changed { .. } => CHANGED,
        RowChange::Removed => REMOVED,
        RowChange::Unfit { .. } => UNFIT,
    }
}

fn print_table(context: &Context, from: &Build, to: Option<&Build>, limit: usize) -> u8 {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut counts: [(&str, usize); 4] = [ADDED, CHANGED, REMOVED, UNFIT].map(|word| (word, 0));
    let mut sink = |row: RowDifference| {
        let word = word(&row.change);
        let count = counts.iter_mut().find(|(of, _)| *of == word);
        let shown = count.is_some_and(|(_, count)| {
            *count += 1;
            *count <= limit
        });
        if shown {
            rows.push(cells(&row));
        }
    };
    let summary = match compare(context, from, to, &mut sink) {
        Ok(summary) => summary,
        Err(error) => return context.fail(&error),
    };
    let later = to.map_or("the table as it is now", |build| build.manifest.id.as_str());
    let mut text = format!("from {} to {later}\n", from.manifest.id);
    text.extend(notes(&summary).into_iter().map(|note| format!("{note}\n")));
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table::columns(&["CHANGE", "ID", "WHAT"], &rows));
        let more = counts.iter().filter(|(_, count)| *count > limit);
        let more = more
            .map(|(word, count)| format!("{word}: {} more rows are not shown (--limit)\n", count - limit));
        text.extend(more.chain(["\n".to_owned()]));
    }
    text.push_str(&ending(&summary));
    print(&text);
    DONE
}

fn cells(row: &RowDifference) -> Vec<String> {
    let RowDifference { id, entry, change } = row;
    let id = id.as_ref().map(|id| literal(id, MAX_CELL_CHARS));
    let id = id.or_else(|| entry.map(|entry| format!("entry {entry}"))).unwrap_or_default();
    vec![word(change).to_owned(), id, what(change)]
}

fn what(change: &RowChange) -> String {
    match change {
        RowChange::Added | RowChange::Removed => String::new(),
        RowChange::Changed { columns, text, entries } => {
            let columns = columns.iter().map(|column| one_line(column, MAX_CELL_CHARS));
            let text = text.then(|| "document text".to_owned());
            let entries = (*entries > 1).then(|| format!("{entries} chunks"));
            columns.chain(text).chain(entries).collect::<Vec<_>>().join(", ")
        }
        RowChange::Unfit { column, reason } => {
            format!("{}: {}", one_line(column, MAX_CELL_CHARS), one_line(reason, 2 * MAX_CELL_CHARS))
        }
    }
}

/// What differs beyond single rows.
fn notes(summary: &DiffSummary) -> Vec<String> {
    let DiffSummary { new_columns, lost_columns, spaces, ids_not_known, .. } = summary;
    let mut notes = Vec::new();
    if !new_columns.is_empty() || !lost_columns.is_empty() {
        let signed = |sign: &str, columns: &[String]| {
            columns
                .iter()
                .map(|column| format!("{sign}{}", one_line(column, MAX_CELL_CHARS)))
                .collect::<Vec<_>>()
        };
        let columns = [signed("+", new_columns), signed("-", lost_columns)].concat().join(" ");
        notes.push(format!("the records have other columns: {columns}"));
    }
    if let Some((from, to)) = spaces {
        notes.push(format!("the spaces differ, so that every text is embedded again: {from}, then {to}"));
    }
    notes.extend(
        ids_not_known.as_ref().map(|why| format!("no ids are shown, because they are not known: {why}")),
    );
    notes
}

fn ending(summary: &DiffSummary) -> String {
    let DiffSummary { added, changed, removed, unfit, unchanged, .. } = summary;
    let unfit = if *unfit > 0 { format!(", {unfit} unfit") } else { String::new() };
    if added + changed + removed == 0 {
        return format!("no row differs: {unchanged} rows are the same{unfit}\n");
    }
    format!("{added} added, {changed} changed, {removed} removed, {unchanged} the same{unfit}\n")
}
