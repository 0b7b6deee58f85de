//! The two laws of a build, for any source: random schemas, edits, templates and failures.
//!
//! The served build equals one made from nothing, byte for byte; and a text is
//! embedded exactly if it never was before, since every vector is in a kept build
//! or in the cache. Metadata and texts are those that [`table`] expects, which
//! knows no code of the program.

mod table;

use std::collections::HashSet;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use reindexd::domain::pass::Outcome;
use reindexd::flows::reconcile::PassOptions;

use crate::report::report_line;
use crate::sampling;
use crate::support::pass::{BATCH, PassHarness, wait};
use table::{Edit, IDS, Key, Schema, Settings, Shape, Table, edit};

/// Longer than the grace of a build that was replaced.
const AFTER_GRACE: i64 = 11 * 60;
/// Histories in the gate, and in full.
const HISTORIES: (u32, u32) = (40, 2_000);

#[test]
fn after_any_history_of_any_source_a_build_equals_one_from_nothing() {
    let (seed, begun) = (sampling::seed(), Instant::now());
    let cases = sampling::pick(HISTORIES.0, HISTORIES.1);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let mut embedded = 0;
    let histories = (schema(), prop::collection::vec(step(), 2..14));
    let result = {
        let embedded = std::cell::Cell::new(0);
        let result = runner.run(&histories, |(schema, steps)| {
            embedded.set(embedded.get() + follow(schema, &steps));
            Ok(())
        });
        result.map(|()| embedded.get())
    };
    match result {
        Ok(texts) => embedded += texts,
        Err(error) => panic!("REINDEXD_PROOF_SEED={seed}: {error}"),
    }
    let line = format!(
        "{cases} histories of random schemas (seed {seed}): {embedded} texts embedded, each once; {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    report_line("any_source", &line);
    assert!(embedded > cases as usize, "{line}");
}

#[derive(Clone, Debug)]
struct Step {
    edits: Vec<Edit>,
    settings: Option<Settings>,
    act: Act,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Pass,
    Full,
    /// The provider answers this many requests, then fails.
    FailAfter(usize),
}

fn schema() -> impl Strategy<Value = Schema> {
    let key = prop_oneof![
        Just(Key::Integer),
        Just(Key::Rowid),
        Just(Key::Text),
        Just(Key::TextNoCase),
        Just(Key::Pair),
        Just(Key::PairWithoutRowid),
        Just(Key::PairNoCase),
    ];
    let shape = prop_oneof![Just(Shape::Table), Just(Shape::View), Just(Shape::Query)];
    (key, shape).prop_map(|(key, shape)| Schema { key, shape })
}

fn step() -> impl Strategy<Value = Step> {
    let settings = prop_oneof![
        3 => Just(None),
        1 => (0..3_u8, 0..3_u8, any::<bool>())
            .prop_map(|(template, columns, chunks)| Some(Settings { template, columns, chunks })),
    ];
    let act = prop_oneof![
        8 => Just(Act::Pass),
        2 => Just(Act::Full),
        3 => (0..4_usize).prop_map(Act::FailAfter),
    ];
    (prop::collection::vec(edit(), 0..6), settings, act).prop_map(|(edits, settings, act)| Step {
        edits,
        settings,
        act,
    })
}

/// Follows one history; gives how many texts were embedded.
fn follow(schema: Schema, steps: &[Step]) -> usize {
    let mut table = Table::new(schema);
    let mut harness = PassHarness::new(&table.database);
    let mut settings = Settings { template: 0, columns: 0, chunks: false };
    let (mut ever, mut served) = (HashSet::new(), None);
    for step in steps {
        table.change(&step.edits);
        settings = step.settings.unwrap_or(settings);
        let (source, document) = table.written(settings);
        harness.settings(&source, &document);
        wait(AFTER_GRACE);
        let entries = table.entries(settings);
        // Another template of the same texts is the same content.
        let content = (settings.columns, settings.chunks, entries);
        let is_served = served.as_ref() == Some(&content) && !matches!(step.act, Act::Full);
        let mut met = HashSet::new();
        let texts = content.2.iter().map(|entry| entry.text.clone());
        let missing: Vec<String> =
            texts.filter(|text| !ever.contains(text) && met.insert(text.clone())).collect();
        let requests = if let Act::FailAfter(requests) = step.act { requests } else { usize::MAX };
        let options = PassOptions { full: matches!(step.act, Act::Full), ..PassOptions::default() };
        let result = harness.pass(&options, requests);
        let sent = std::mem::take(&mut *harness.embedded.lock().unwrap());
        let fails = requests < missing.len().div_ceil(BATCH);
        let answered = if fails { &missing[..requests * BATCH] } else { &missing[..] };
        if content.2.is_empty() {
            assert_eq!(result.unwrap_err().outcome(), Outcome::Refused, "no rows");
            assert_eq!(sent, [""; 0]);
            continue;
        }
        assert_eq!(sent, answered, "exactly the texts that never had a vector, in order");
        ever.extend(sent);
        if fails {
            assert!(matches!(result.unwrap_err().outcome(), Outcome::Failed(_)));
            continue;
        }
        let report = result.unwrap_or_else(|error| panic!("{error}"));
        let expected = if is_served { Outcome::Unchanged } else { Outcome::Promoted };
        assert_eq!(report.outcome, expected);
        if !is_served {
            assert_eq!(report.counts.records, table.rows_indexed() as u64, "rows of the source");
        }
        let metadata: Vec<&str> = content.2.iter().map(|entry| entry.record.as_str()).collect();
        let [_, found, _] = harness.served();
        assert_eq!(String::from_utf8(found).unwrap(), format!("[{}]", metadata.join(", ")));
        assert_from_nothing(&harness, &table, settings);
        served = Some(content);
    }
    ever.len()
}

/// What is served must be what an empty directory would get.
fn assert_from_nothing(harness: &PassHarness, table: &Table, settings: Settings) {
    let mut fresh = PassHarness::new(&table.database);
    let (source, document) = table.written(settings);
    fresh.settings(&source, &document);
    fresh.pass(&PassOptions::default(), usize::MAX).unwrap();
    assert!(harness.served() == fresh.served(), "index, metadata and hashes as from nothing");
    assert!(usize::from(IDS.end) >= table.rows_indexed());
}
