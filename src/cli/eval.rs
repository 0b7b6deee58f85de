//! `reindexd eval`: how well a build answers judged queries.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{Context, DONE, FAILED, fail, log_warnings, print, print_json, table};
use crate::decide::quality::{MovedQuery, QualityComparison};
use crate::domain::evaluate::run_file::write_run;
use crate::domain::evaluate::{Evaluation, Metric};
use crate::domain::text::{literal, one_line};
use crate::flows::reconcile::{EvalReport, EvalRequest, QueryRun, evaluate_build};

/// Queries that are listed for people.
const MAX_LISTED: usize = 20;
/// More of an id is not shown.
const MAX_ID_CHARS: usize = 40;
const WRITES: &str = "a String takes every write";

/// The arguments of `eval`.
#[derive(Debug, Args)]
pub(super) struct EvalArgs {
    /// The id of a build; else the served one
    build: Option<String>,
    /// Compare it with this build, query by query
    #[arg(long, value_name = "BUILD")]
    against: Option<String>,
    /// Write the rankings to FILE, as a run file of TREC
    #[arg(long, value_name = "FILE")]
    run: Option<PathBuf>,
}

pub(super) fn run(context: &Context, args: &EvalArgs) -> u8 {
    let request = EvalRequest {
        build: args.build.clone(),
        against: args.against.clone(),
        with_run: args.run.is_some(),
    };
    let report = match context.with_pass(&log_warnings, |pass| evaluate_build(pass, &request)) {
        Ok(report) => report,
        Err(error) => return context.fail(&error),
    };
    if let Some(path) = &args.run
        && let Err(error) = write_file(path, &report)
    {
        let message = format!("the run file {} cannot be written: {error}", path.display());
        return fail(context.json, FAILED, &message);
    }
    if context.json {
        print_json(&object(&report));
    } else {
        print(&describe(&report, context.config.evaluate.metric));
    }
    DONE
}

/// An existing file is replaced: a run is made again at any time.
#[allow(clippy::disallowed_methods, reason = "a file that an operator names, and no reader is served from")]
fn write_file(path: &Path, report: &EvalReport) -> std::io::Result<()> {
    let mut run = String::new();
    for QueryRun { query, records } in &report.run {
        write_run(&mut run, query, records.iter().map(|(record, score)| (record.as_str(), *score)));
    }
    std::fs::write(path, run)
}

fn object(report: &EvalReport) -> Value {
    let queries = report.queries.iter().map(|(query, values)| {
        json!({ "query": query, "ndcg": values.ndcg, "recall": values.recall, "mrr": values.mrr, "rank": values.first })
    });
    let against = report.against.as_ref().map(
        |(build, both)| json!({ "build": build, "before": both.old, "after": both.new, "moved": both.moved }),
    );
    json!({
        "build": report.build,
        "evaluation": report.evaluation,
        "queries": queries.collect::<Vec<_>>(),
        "without_record": report.without_record,
        "against": against,
    })
}

fn describe(report: &EvalReport, metric: Metric) -> String {
    let Evaluation { k, queries, .. } = report.evaluation;
    let mut text = format!("{}: {queries} judged queries\n", report.build);
    match &report.against {
        None => {
            let row = |metric: Metric| vec![metric.title(k), value(metric.of_all(&report.evaluation))];
            text.push_str(&table::columns(&["METRIC", "VALUE"], &Metric::ALL.map(row)));
        }
        Some((other, both)) => text.push_str(&describe_against(other, both, metric)),
    }
    if !report.without_record.is_empty() {
        let named = report.without_record.iter().take(MAX_LISTED).map(|id| literal(id, MAX_ID_CHARS));
        let named: Vec<String> = named.collect();
        let count = report.without_record.len();
        let named = named.join(", ");
        writeln!(text, "\n{count} queries have no record that answers them: {named}").expect(WRITES);
    }
    text
}

fn describe_against(other: &str, both: &QualityComparison, metric: Metric) -> String {
    let QualityComparison { new, old, moved } = both;
    let row = |metric: Metric| {
        let [before, after] = [metric.of_all(old), metric.of_all(new)];
        vec![metric.title(new.k), value(after), value(before), change(after - before)]
    };
    let mut text = format!("by the judgements whose record is in both builds, against {other}:\n");
    text.push_str(&table::columns(&["METRIC", "VALUE", "AGAINST", "CHANGE"], &Metric::ALL.map(row)));
    if moved.is_empty() {
        return text + "\nno query moved\n";
    }
    let rank = |rank: Option<usize>| rank.map_or_else(|| "none".to_owned(), |rank| rank.to_string());
    let row = |query: &MovedQuery| {
        let ranks = [query.rank_before, query.rank_after].map(rank);
        let [before, after] = [query.before, query.after].map(value);
        let id = one_line(&query.query, MAX_ID_CHARS);
        let [from, to] = ranks;
        vec![id, after, before, change(query.change()), from, to]
    };
    let rows: Vec<_> = moved.iter().take(MAX_LISTED).map(row).collect();
    let title = metric.title(new.k);
    text.push('\n');
    text.push_str(&table::columns(
        &["QUERY", &title, "AGAINST", "CHANGE", "RANK BEFORE", "RANK AFTER"],
        &rows,
    ));
    if moved.len() > MAX_LISTED {
        writeln!(text, "and {} more", moved.len() - MAX_LISTED).expect(WRITES);
    }
    text
}

fn value(value: f64) -> String {
    format!("{value:.4}")
}

fn change(change: f64) -> String {
    format!("{change:+.4}")
}
