//! Each flush is switched off in turn, or comes too late, and a promise must break.
//!
//! This proves that the model and its checks notice lost data, and it finds every
//! flush that no promise needs.

use std::collections::BTreeMap;

use super::checks::Checker;
use super::crash_states::{Bounds, Run};
use super::scenario;
use super::volume::{Rename, Step};
use super::{CheckSession, can_trace, scenarios};
use crate::report::report_line;
use crate::sampling::{is_full, pick};

/// Flushes by their labels, each with the promise that breaks.
type Found = BTreeMap<String, Option<String>>;

/// Whether SQLite makes a flush: some of its flushes serve promises that it makes to others.
fn is_sqlites(label: &str) -> bool {
    label.contains("embeddings.sqlite")
}

/// The promise that a run breaks, if any: in the state itself and then, if `settles`, by the next pass.
fn broken(checker: &Checker, run: &Run<'_>, settles: bool) -> Option<String> {
    let bounds =
        pick(Bounds { subsets: 64, random: 2, images: 0 }, Bounds { subsets: 256, random: 8, images: 1 });
    // Checking the state itself is faster.
    [Some(false), settles.then_some(true)].into_iter().flatten().find_map(|settles| {
        let mut session = CheckSession::new(checker, settles);
        session.run(run, bounds);
        session.violation
    })
}

fn report_found(what: &str, found: &Found) {
    for (label, violation) in found.iter().filter(|_| is_full()) {
        let broken_promise = violation.as_deref().unwrap_or("no promise of ours breaks");
        report_line("power_cut", &format!("{what} of {label}: {broken_promise}"));
    }
}

#[test]
fn every_flush_is_needed_by_a_promise() {
    if !can_trace() {
        return;
    }
    let (mut found, mut flushes, mut broke) = (Found::new(), 0, 0);
    for scenario in scenarios() {
        let recorded = scenario.recorded();
        let checker = Checker::of(&recorded);
        for (nth, step) in recorded.steps.iter().enumerate() {
            let Step::Flush(_, label) = step else { continue };
            flushes += 1;
            let violation = found.entry(label.clone()).or_default();
            // The thousands of passes are only for kinds that have broken no promise yet.
            let why = broken(&checker, &recorded.run(&recorded.steps, Some(nth)), violation.is_none());
            broke += usize::from(why.is_some());
            *violation = violation.take().or(why.map(|why| format!("{why} ({})", scenario.name)));
        }
    }
    report_found("without the flush", &found);
    report_line(
        "power_cut",
        &format!(
            "{flushes} flushes of {} kinds switched off one by one: {broke} break a promise each, {} kinds do",
            found.len(),
            found.values().flatten().count()
        ),
    );
    let needless: Vec<_> = found.iter().filter(|(label, why)| why.is_none() && !is_sqlites(label)).collect();
    assert!(needless.is_empty(), "no promise needs these flushes: {needless:?}");
}

/// Whether a rename gives the file of a flush its own name, or the build that it belongs to.
fn publishes(rename: &Rename, label: &str) -> bool {
    let Rename::Move { from, .. } = rename else { return false };
    let is_build = from.ends_with(".staging") && from.starts_with(|c: char| c.is_ascii_digit());
    label.rsplit('/').next() == Some(from) || (is_build && label.starts_with("builds/ID.staging/"))
}

#[test]
fn every_file_is_flushed_before_its_rename() {
    if !can_trace() {
        return;
    }
    let mut found = Found::new();
    for scenario in scenarios() {
        let recorded = scenario.recorded();
        let checker = Checker::of(&recorded);
        for (nth, step) in recorded.steps.iter().enumerate() {
            let Step::Flush(_, label) = step else { continue };
            let is_rename = |step: &Step| matches!(step, Step::Name(_, rename) if publishes(rename, label));
            let Some(next) = recorded.steps[nth..].iter().position(is_rename) else { continue };
            // Folders are flushed at their time for other reasons.
            if label.contains("/ after") || is_sqlites(label) {
                continue;
            }
            let mut late = recorded.steps.clone();
            late[nth..=nth + next].rotate_left(1);
            let violation = found.entry(label.clone()).or_default();
            let why = broken(&checker, &recorded.run(&late, None), violation.is_none());
            *violation = violation.take().or(why.map(|why| format!("{why} ({})", scenario.name)));
        }
    }
    report_found("with a rename before the flush", &found);
    report_line(
        "power_cut",
        &format!("{} kinds of files flushed too late break a promise each", found.len()),
    );
    let unseen: Vec<_> = found.iter().filter(|(_, why)| why.is_none()).collect();
    assert!(unseen.is_empty(), "no promise needs the order of these: {unseen:?}");
}

#[test]
fn a_promotion_takes_five_flushes() {
    if !can_trace() {
        return;
    }
    let recorded = scenario::ALL[1].recorded();
    let labels: Vec<&str> = recorded.flushes.iter().map(|flush| flush.label.as_str()).collect();

    let promotion = labels.iter().skip_while(|label| !label.ends_with("manifest.json"));
    let promotion: Vec<&str> = promotion.copied().take_while(|label| !label.contains(".reindexd")).collect();
    assert_eq!(
        promotion,
        [
            "builds/ID.staging/manifest.json",
            "builds/ID.staging/ after manifest.json",
            "builds/ after ID",
            "./ after current",
            "served.json.staging"
        ]
    );
}
