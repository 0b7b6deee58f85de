//! Decisions as tables of cases: what is served, what is asked for, what the table has.

use super::*;
use crate::decide::acceptance::Accepted;
use crate::domain::manifest::{FileFact, Files, MANIFEST_FORMAT, SourceFacts};
use crate::domain::pass::Timings;
use crate::domain::record::{RowError, ValuesHash};
use crate::domain::source_facts::RulesFacts;

const SERVED_SCAN: ScanHash = ScanHash([1; 32]);
const OTHER_SCAN: ScanHash = ScanHash([2; 32]);
const SERVED_CONTENT: ContentHash = ContentHash([3; 32]);
const OTHER_CONTENT: ContentHash = ContentHash([4; 32]);
const SERVED_VALUES: ValuesHash = ValuesHash([5; 32]);
const OTHER_VALUES: ValuesHash = ValuesHash([6; 32]);

fn rules(template: &str) -> RulesFacts {
    RulesFacts { template: Some(template.to_owned()), ..RulesFacts::default() }
}

fn space(model: &str) -> Space {
    Space {
        provider: "openai".to_owned(),
        model: model.to_owned(),
        dimension: 4,
        task_type: None,
        ..Space::default()
    }
}

fn manifest() -> Manifest {
    let fact = FileFact { bytes: 1, blake3: String::new() };
    Manifest {
        format: MANIFEST_FORMAT,
        id: "a".to_owned(),
        sequence: 1,
        created: String::new(),
        trigger: String::new(),
        adopted: false,
        program: String::new(),
        faiss: String::new(),
        source: SourceFacts { indexed_rows: 10, ..SourceFacts::default() },
        rules: Some(rules("a")),
        space: Some(space("m")),
        address: None,
        scan_hash: Some(SERVED_SCAN),
        values_hash: Some(SERVED_VALUES),
        content_hash: Some(SERVED_CONTENT),
        quarantined: Vec::new(),
        files: Files { index: fact.clone(), metadata: fact.clone(), hashes: fact },
        ntotal: 10,
        dimension: 4,
        metric: String::new(),
        counts: Counts::default(),
        timings: Timings::default(),
        evaluation: None,
        previous: None,
    }
}

/// What a pass knows where `manifest` is served in the space of the settings.
fn facts<'a>(manifest: &'a Manifest, space: &'a Space) -> Facts<'a> {
    Facts {
        served: ServedFacts::Build(manifest),
        space,
        served_space: BuildSpace::of(manifest),
        is_by_hand: false,
        equivalent_scan: None,
        held_content: None,
        dangling_links: &[],
        previous_records: Some(manifest.ntotal),
        is_forced: false,
        always_reads_rows: false,
        ends_holds: true,
    }
}

fn limits() -> Limits {
    Limits { max_shrink: 0.3, max_texts: 5, accepted: Accepted::default() }
}

fn unfit(count: u64) -> UnfitRows {
    let named = RowError { id: "7".to_owned(), column: "tags".to_owned(), message: "not a list".to_owned() };
    UnfitRows { count, allowed: 1, named: vec![named] }
}

fn assess(facts: &Facts<'_>, content: ContentHash, counts: Counts, unfit_rows: u64) -> Assessment {
    let unfit = unfit(unfit_rows);
    let (rules, values) = (rules("a"), OTHER_VALUES);
    after_rows(facts, &table(content, &counts, &unfit, ReadNow { rules: &rules, values }), &limits())
}

fn table<'a>(
    content: ContentHash,
    counts: &'a Counts,
    unfit: &'a UnfitRows,
    read: ReadNow<'a>,
) -> TableFacts<'a> {
    let (again, entries) = (EmbeddedAgain::default(), counts.records);
    TableFacts {
        content,
        read,
        counts,
        again,
        entries,
        indexed_rows: 10,
        unfit,
        queries: 0,
        other_address: None,
    }
}

fn ten_records() -> Counts {
    Counts { records: 10, ..Counts::default() }
}

#[test]
fn a_scan_is_enough_only_where_it_is_known_and_nothing_forces_a_build() {
    let (manifest, space) = (manifest(), space("m"));
    let known = || facts(&manifest, &space);
    let unchanged = Some(Decision::Unchanged);
    let cases = [
        ("the scan of the served build", known(), SERVED_SCAN, unchanged.clone()),
        ("another scan", known(), OTHER_SCAN, None),
        (
            "another scan with the same content",
            Facts { equivalent_scan: Some(OTHER_SCAN), ..known() },
            OTHER_SCAN,
            unchanged.clone(),
        ),
        ("a build asked for", Facts { is_forced: true, ..known() }, SERVED_SCAN, None),
        ("nothing served", Facts { served: ServedFacts::Nothing, ..known() }, SERVED_SCAN, None),
        ("a damaged build", Facts { served: ServedFacts::Damaged("why"), ..known() }, SERVED_SCAN, None),
        ("a hold, in a pass", Facts { held_content: Some(OTHER_CONTENT), ..known() }, SERVED_SCAN, unchanged),
    ];
    for (what, facts, scan, expected) in cases {
        assert_eq!(after_scan(&facts, scan), expected, "{what}");
    }
}

#[test]
fn a_preview_reads_the_rows_whatever_the_scan_is() {
    let (manifest, space) = (manifest(), space("m"));

    let preview = Facts { always_reads_rows: true, ..facts(&manifest, &space) };

    assert_eq!(after_scan(&preview, SERVED_SCAN), None);
}

#[test]
fn a_pass_ends_a_hold_whose_content_is_gone_and_a_preview_never_does() {
    let (manifest, space) = (manifest(), space("m"));
    let held = Facts { held_content: Some(OTHER_CONTENT), ..facts(&manifest, &space) };

    assert!(held.is_hold_over(SERVED_CONTENT));
    assert!(!held.is_hold_over(OTHER_CONTENT), "the table still has it");
    assert!(!Facts { ends_holds: false, ..held }.is_hold_over(SERVED_CONTENT));
}

#[test]
fn rows_are_built_held_or_left_as_they_are() {
    let (manifest, space) = (manifest(), space("m"));
    let pass = || facts(&manifest, &space);
    let cases = [
        // what, facts, content, decision, whether files would change
        ("same content", pass(), SERVED_CONTENT, Decision::Unchanged, false),
        ("other content", pass(), OTHER_CONTENT, Decision::Build, true),
        ("a build asked for", Facts { is_forced: true, ..pass() }, SERVED_CONTENT, Decision::Build, true),
        (
            "the content that is held",
            Facts { held_content: Some(OTHER_CONTENT), ..pass() },
            OTHER_CONTENT,
            Decision::Held,
            true,
        ),
        (
            "the content that is held, a build asked for",
            Facts { held_content: Some(OTHER_CONTENT), is_forced: true, ..pass() },
            OTHER_CONTENT,
            Decision::Held,
            true,
        ),
        (
            "another content than is held",
            Facts { held_content: Some(SERVED_CONTENT), ..pass() },
            OTHER_CONTENT,
            Decision::Build,
            true,
        ),
        (
            "a held build with the content of the table",
            Facts { held_content: Some(SERVED_CONTENT), ..pass() },
            SERVED_CONTENT,
            Decision::Held,
            false,
        ),
    ];
    for (what, facts, content, decision, changes) in cases {
        let found = assess(&facts, content, ten_records(), 0);
        assert_eq!((found.decision, found.changes), (decision, changes), "{what}");
    }
}

#[test]
fn unfit_rows_fail_a_pass_before_a_limit_refuses_it() {
    let (manifest, space) = (manifest(), space("m"));
    let facts = facts(&manifest, &space);
    let shrunk = Counts { records: 3, ..Counts::default() };
    let refused = |counts: &Counts| guard::check(counts, 10, 0, Some(10), 0, &limits()).unwrap_err();
    let cases = [
        ("as many as are allowed", ten_records(), 1, Decision::Build),
        ("one more", ten_records(), 2, Decision::Fail(unfit(2))),
        ("too few records", shrunk, 0, Decision::Refuse(refused(&shrunk))),
        ("both", shrunk, 2, Decision::Fail(unfit(2))),
    ];
    for (what, counts, count, expected) in cases {
        assert_eq!(assess(&facts, OTHER_CONTENT, counts, count).decision, expected, "{what}");
    }
    let same = assess(&facts, SERVED_CONTENT, shrunk, 2);
    assert_eq!((same.decision, same.changes), (Decision::Unchanged, false), "nothing would be built");
}

#[test]
fn the_main_reason_is_the_first_that_applies() {
    let (manifest, space) = (manifest(), space("m"));
    let (adopted, other_space) = (Manifest { adopted: true, ..manifest.clone() }, self::space("n"));
    let pass = || facts(&manifest, &space);
    let cases = [
        (pass(), SERVED_CONTENT, None),
        (pass(), OTHER_CONTENT, Some("rows differ from the served build")),
        (Facts { served: ServedFacts::Nothing, ..pass() }, OTHER_CONTENT, Some("nothing is served yet")),
        (
            Facts { served: ServedFacts::Damaged("why"), ..pass() },
            OTHER_CONTENT,
            Some("what is served cannot be read: why"),
        ),
        (
            facts(&adopted, &other_space),
            OTHER_CONTENT,
            Some("the served build is adopted: its rows are not known to match"),
        ),
        (
            Facts { space: &other_space, served_space: None, ..pass() },
            OTHER_CONTENT,
            Some("the space changed from openai/m of 4 dimensions to openai/n of 4 dimensions"),
        ),
    ];
    for (facts, content, expected) in cases {
        let found = assess(&facts, content, ten_records(), 0).reasons;
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, Vec::from_iter(expected));
    }
}

#[test]
fn an_agent_is_refused_another_space_and_a_person_only_one_that_is_named() {
    let (manifest, space, other) = (manifest(), space("m"), self::space("n"));
    let longer = Space { dimension: 8, ..space.clone() };
    let adopted = Manifest { adopted: true, space: None, ..manifest.clone() };
    let by_hand = |facts| Facts { is_by_hand: true, ..facts };
    let exceeded = |space| Exceeded { shrink: false, space };
    let cases = [
        // what, facts, refused, other length, beyond what may be waived
        ("the same", facts(&manifest, &space), false, false, false),
        ("another model, an agent", facts(&manifest, &other), true, false, true),
        ("another model, a person", by_hand(facts(&manifest, &other)), true, false, true),
        ("adopted, of this length", facts(&adopted, &other), false, false, false),
        ("adopted, of another length, an agent", facts(&adopted, &longer), true, false, true),
        ("adopted, of another length, a person", by_hand(facts(&adopted, &longer)), false, true, true),
        (
            "nothing served",
            Facts { served: ServedFacts::Nothing, served_space: None, ..facts(&manifest, &other) },
            false,
            false,
            false,
        ),
        (
            "damaged",
            Facts { served: ServedFacts::Damaged("why"), ..facts(&manifest, &other) },
            true,
            false,
            true,
        ),
    ];
    for (what, facts, refused, other_length, beyond) in cases {
        let found = assess(&facts, OTHER_CONTENT, ten_records(), 0);
        let is_refused = matches!(found.decision, Decision::Refuse(Refusal::OtherSpace { .. }));
        let is_other = found.reasons.iter().any(|reason| matches!(reason, Reason::OtherLength { .. }));
        assert_eq!(
            (is_refused, is_other, found.exceeded),
            (refused, other_length, exceeded(beyond)),
            "{what}"
        );
        assert_eq!(found.decision == Decision::Build, !refused, "{what}");
    }
}

#[test]
fn another_space_is_refused_before_other_limits_and_after_an_empty_table() {
    let (manifest, other) = (manifest(), space("n"));
    let facts = facts(&manifest, &other);
    let counts = |records, embedded| Counts { records, embedded, ..Counts::default() };

    let many = assess(&facts, OTHER_CONTENT, counts(3, 100), 0).decision;
    let empty = assess(&facts, OTHER_CONTENT, counts(0, 0), 0).decision;

    assert!(matches!(many, Decision::Refuse(Refusal::OtherSpace { to_embed: 100, .. })), "{many:?}");
    assert!(matches!(empty, Decision::Refuse(Refusal::Empty { .. })), "{empty:?}");
}

#[test]
fn what_is_in_the_way_follows_the_main_reason_in_a_fixed_order() {
    let (manifest, space) = (manifest(), space("m"));
    let links = [PathBuf::from("data/faiss.index")];
    let dangling = Facts { dangling_links: &links, ..facts(&manifest, &space) };
    let relinked = assess(&dangling, SERVED_CONTENT, ten_records(), 0);
    assert_eq!((relinked.changes, relinked.reasons), (true, vec![Reason::DanglingLink(links[0].clone())]));

    let held = Facts { held_content: Some(OTHER_CONTENT), ..dangling };
    let shrunk = Counts { records: 3, ..Counts::default() };
    let expected = [
        "rows differ from the served build",
        "data/faiss.index does not lead to the served build",
        "a rollback holds the served build until the table changes",
        "would fail: 2 rows cannot be indexed (guard.quarantine = 1): ",
        "would be refused: 3 records are 70.0 % fewer than the 10 served",
    ];
    let found = assess(&held, OTHER_CONTENT, shrunk, 2).reasons;
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.to_string().starts_with(expected), "{found}");
    }
}

#[test]
fn what_differs_in_the_settings_is_a_reason_and_says_what_it_costs() {
    let (manifest, space) = (manifest(), space("m"));
    let changed = Reason::RulesChanged(RulesChange::Template);
    let many = |again: u64| EmbeddedAgain { entries: again, other_texts: again };
    // what, template, values, texts again, content, reasons
    let cases = [
        ("nothing", "a", SERVED_VALUES, 0, SERVED_CONTENT, vec![]),
        ("rows", "a", OTHER_VALUES, 9, OTHER_CONTENT, vec![Reason::RowsDiffer]),
        ("a template with the same texts", "b", SERVED_VALUES, 0, SERVED_CONTENT, vec![]),
        ("a template alone", "b", SERVED_VALUES, 1, OTHER_CONTENT, vec![changed.clone()]),
        ("template and rows", "b", OTHER_VALUES, 1, OTHER_CONTENT, vec![Reason::RowsDiffer, changed]),
    ];
    for (what, template, values, again, content, expected) in cases {
        let (rules, counts, unfit) = (rules(template), ten_records(), unfit(0));
        let read = ReadNow { rules: &rules, values };
        let table = TableFacts { again: many(again), ..table(content, &counts, &unfit, read) };

        let found = after_rows(&facts(&manifest, &space), &table, &limits()).reasons;

        assert_eq!(found, expected, "{what}");
    }
    let (rules, counts, unfit) = (rules("b"), ten_records(), unfit(0));
    let read = ReadNow { rules: &rules, values: SERVED_VALUES };
    let table = TableFacts { again: many(2), ..table(OTHER_CONTENT, &counts, &unfit, read) };
    let found = after_rows(&facts(&manifest, &space), &table, &limits()).reasons;
    let news: Vec<_> = found.iter().map(Reason::news).collect();
    assert_eq!(news, [Some(News::Note), Some(News::Warning)], "{found:?}");
}
