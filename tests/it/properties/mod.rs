//! Properties of any sequence of edits, failures, waits and rollbacks.
//!
//! The served build equals one made from scratch, byte for byte; and a text is
//! embedded exactly if no kept build and no cache has its vector. The second is
//! checked against [`model::Model`], which knows nothing of files: it records
//! which texts were embedded, where their vectors are, and when those are removed.

mod model;

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;
use reindexd::domain::pass::{ErrorClass, Outcome};
use reindexd::flows::reconcile::PassOptions;
use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::support::pass::{BATCH, PassHarness, folder, wait};
use model::{Content, Model, Person};

const MODELS: [&str; 2] = ["gemini-embedding-001", "gemini-embedding-exp"];
const SECOND: i64 = 1;
/// Longer than the grace of a build that was replaced.
const AFTER_GRACE: i64 = 11 * 60;
/// Longer than a vector stays in the cache, but a jump of the clock makes none older than a day.
const CLOCK_JUMP: i64 = 31 * 24 * 60 * 60;

/// Few ids and fewer texts, so that copies, swaps and returns are common.
const IDS: std::ops::Range<i64> = 1..9;
const TEXTS: std::ops::Range<u8> = 0..10;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_history_a_build_equals_one_from_scratch_and_reuses_every_vector(
        steps in prop::collection::vec(step(), 1..16)
    ) {
        let mut table = Table::new();
        let mut harness = PassHarness::new(&table.database);
        let mut model = Model::default();
        for step in &steps {
            table.change(&step.edits);
            wait(step.wait);
            MODELS[step.model].clone_into(&mut harness.config.embedding.model);
            act(&step.act, &table.content(step.model), &harness, &mut model);

            prop_assert_eq!(harness.builds(), model.kept(), "builds kept");
            if model.serves(&table.content(step.model)) {
                let mut fresh = PassHarness::new(&table.database);
                fresh.config.embedding = harness.config.embedding.clone();
                fresh.pass(&PassOptions::default(), usize::MAX).unwrap();
                prop_assert!(harness.served() == fresh.served(), "index, metadata and hashes as from scratch");
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Step {
    edits: Vec<Edit>,
    wait: i64,
    model: usize,
    act: Act,
}

#[derive(Clone, Debug)]
enum Edit {
    Insert(i64, u8),
    Delete(i64),
    Text(i64, u8),
    Rate(i64, u8),
    Swap(i64, i64),
    Copy(i64, i64),
    /// Every row gets another text.
    Shift(u8),
    Tag(i64, bool),
    /// Other bytes in the column, the same tags.
    Respell(i64),
}

#[derive(Clone, Debug)]
enum Act {
    Pass,
    Full,
    Rebuy,
    /// The provider answers this many requests, then fails.
    FailAfter(usize),
    /// To one of the kept builds.
    RollBack(Index),
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![4 => Just(SECOND), 8 => Just(AFTER_GRACE), 1 => Just(CLOCK_JUMP)];
    let model = prop_oneof![9 => Just(0), 1 => Just(1)];
    let act = prop_oneof![
        8 => Just(Act::Pass),
        2 => Just(Act::Full),
        1 => Just(Act::Rebuy),
        4 => (0..4_usize).prop_map(Act::FailAfter),
        1 => any::<Index>().prop_map(Act::RollBack),
    ];
    (prop::collection::vec(edit(), 0..6), wait, model, act).prop_map(|(edits, wait, model, act)| Step {
        edits,
        wait,
        model,
        act,
    })
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => (IDS, TEXTS).prop_map(|(id, text)| Edit::Insert(id, text)),
        1 => IDS.prop_map(Edit::Delete),
        2 => (IDS, TEXTS).prop_map(|(id, text)| Edit::Text(id, text)),
        1 => (IDS, 0..3_u8).prop_map(|(id, rate)| Edit::Rate(id, rate)),
        1 => (IDS, IDS).prop_map(|(one, other)| Edit::Swap(one, other)),
        1 => (IDS, IDS).prop_map(|(from, to)| Edit::Copy(from, to)),
        1 => TEXTS.prop_map(Edit::Shift),
        1 => (IDS, any::<bool>()).prop_map(|(id, tagged)| Edit::Tag(id, tagged)),
        1 => IDS.prop_map(Edit::Respell),
    ]
}

/// Performs the act of a step, and compares the result with what the model expects.
fn act(act: &Act, content: &Content, harness: &PassHarness, model: &mut Model) {
    let options = PassOptions {
        full: matches!(act, Act::Full),
        embed_again: matches!(act, Act::Rebuy),
        ends_hold: true,
        ..PassOptions::default()
    };
    let requests = match act {
        Act::Pass | Act::Full | Act::Rebuy => usize::MAX,
        Act::FailAfter(requests) => *requests,
        Act::RollBack(which) => {
            let kept = model.kept();
            if !kept.is_empty() {
                let to = which.get(&kept);
                harness.roll_back(to).unwrap();
                model.promoted(to);
            }
            return;
        }
    };
    if !(options.full || options.embed_again) && model.serves(content) {
        let report = harness.pass(&options, requests).unwrap();
        assert_eq!((report.outcome, embedded(harness)), (Outcome::Unchanged, Vec::new()));
        model.collect_old_builds(content.model);
        return;
    }
    let wanted = if options.embed_again { content.texts() } else { model.without_vector(content) };
    if content.people.is_empty() {
        assert_eq!(harness.pass(&options, requests).unwrap_err().outcome(), Outcome::Refused);
        assert_eq!(embedded(harness), [""; 0]);
        return;
    }
    if requests < wanted.len().div_ceil(BATCH) {
        let before = &wanted[..requests * BATCH];
        let error = harness.pass(&options, requests).unwrap_err();
        assert!(
            matches!(error.outcome(), Outcome::Failed(_)) && error.class() == ErrorClass::Other,
            "{error}"
        );
        assert_eq!(embedded(harness), documents(before), "embedded before the provider failed");
        model.cached(content.model, before);
        return;
    }
    let report = harness.pass(&options, requests).unwrap();
    assert_eq!(report.outcome, Outcome::Promoted);
    assert_eq!(
        embedded(harness),
        documents(&wanted),
        "exactly the texts without a vector, once and in order"
    );
    let counts = report.counts;
    assert_eq!(
        (counts.records, counts.kept, counts.embedded),
        (content.people.len() as u64, (content.people.len() - wanted.len()) as u64, wanted.len() as u64)
    );
    assert_eq!((counts.metadata_only, counts.removed), model.differences(content, &wanted));
    assert_eq!(counts.requests, wanted.len().div_ceil(BATCH) as u64);
    model.built(&report.build.unwrap(), content.clone());
    model.collect_old_builds(content.model);
}

/// Takes the texts that were embedded since the last call.
fn embedded(harness: &PassHarness) -> Vec<String> {
    std::mem::take(&mut *harness.embedded.lock().unwrap())
}

/// The document texts of the table's rows, by their numbers.
fn documents(texts: &[u8]) -> Vec<String> {
    texts.iter().map(|text| format!("Text {text}. Domains: a.")).collect()
}

/// A row of the table; `person` is set where it is tagged.
#[derive(Clone, Copy, PartialEq)]
struct Row {
    person: Person,
    tagged: bool,
    respelled: bool,
}

/// The table, twice: for the model, and in SQLite.
struct Table {
    rows: BTreeMap<i64, Row>,
    connection: Connection,
    database: PathBuf,
    _folder: TempDir,
}

impl Table {
    fn new() -> Self {
        let folder = folder();
        let database = folder.path().join("experts.db");
        let connection = Connection::open(&database).unwrap();
        connection.execute_batch(include_str!("../../../data/schema.sql")).unwrap();
        Self { rows: BTreeMap::new(), connection, database, _folder: folder }
    }

    /// The tagged rows, as a build of this model has them.
    fn content(&self, model: usize) -> Content {
        let people = self.rows.iter().filter(|(_, row)| row.tagged).map(|(id, row)| (*id, row.person));
        Content { model, people: people.collect() }
    }

    /// Applies edits, and commits what they changed in one transaction.
    fn change(&mut self, edits: &[Edit]) {
        let before = self.rows.clone();
        for edit in edits {
            apply(edit, &mut self.rows);
        }
        let all = self.connection.transaction().unwrap();
        for id in before.keys().filter(|id| !self.rows.contains_key(id)) {
            all.execute("DELETE FROM experts WHERE id = ?1", [id]).unwrap();
        }
        for (id, row) in self.rows.iter().filter(|(id, row)| before.get(id) != Some(row)) {
            let tags = match (row.tagged, row.respelled) {
                (false, _) => None,
                (true, false) => Some(r#"["a"]"#),
                (true, true) => Some(r#" [ "\u0061" ]"#),
            };
            let sql = "INSERT OR REPLACE INTO experts (id, bio, hourly_rate, tags)
                VALUES (?1, 'Text ' || ?2 || '.', ?3, ?4)";
            all.execute(sql, params![id, row.person.text, row.person.rate, tags]).unwrap();
        }
        all.commit().unwrap();
    }
}

fn apply(edit: &Edit, rows: &mut BTreeMap<i64, Row>) {
    let mut change = |id: i64, change: &dyn Fn(&mut Row)| {
        rows.entry(id).and_modify(change);
    };
    match *edit {
        Edit::Insert(id, text) => {
            rows.insert(id, Row { person: Person { text, rate: 0 }, tagged: true, respelled: false });
        }
        Edit::Delete(id) => {
            rows.remove(&id);
        }
        Edit::Text(id, text) => change(id, &|row| row.person.text = text),
        Edit::Rate(id, rate) => change(id, &|row| row.person.rate = rate),
        Edit::Tag(id, tagged) => change(id, &|row| row.tagged = tagged),
        Edit::Respell(id) => change(id, &|row| row.respelled = !row.respelled),
        Edit::Shift(by) => {
            for row in rows.values_mut() {
                row.person.text = (row.person.text + by) % TEXTS.end;
            }
        }
        Edit::Swap(one, other) => {
            if let (Some(&first), Some(&second)) = (rows.get(&one), rows.get(&other)) {
                rows.insert(one, second);
                rows.insert(other, first);
            }
        }
        Edit::Copy(from, to) => {
            if let Some(&row) = rows.get(&from) {
                rows.insert(to, row);
            }
        }
    }
}
