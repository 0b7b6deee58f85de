//! Which texts are embedded, which vectors are reused, and how both are counted.

use super::*;
use crate::domain::record::RecordHash;

/// Rows written as `id text record`, one digit each.
fn rows(written: &str) -> Vec<RowHashes> {
    written
        .split_whitespace()
        .map(|row| {
            let [id, text, record] = row.as_bytes() else { panic!("{row}") };
            RowHashes { id: IdHash([*id; 8]), text: TextHash([*text; 16]), record: RecordHash([*record; 16]) }
        })
        .collect()
}

fn plan(now: &str, served: &str, older: &str, cached: &str) -> (Plan, String) {
    let (now, served, older) = (rows(now), rows(served), rows(older));
    let cached: HashSet<_> = cached.bytes().map(|text| TextHash([text; 16])).collect();
    let reusable = Reusable { builds: vec![&served, &older], cached: &cached, embedded: &HashSet::new() };
    let mut planner = Planner::new(&served, served.len() as u64, reusable);
    let embedded = now
        .iter()
        .filter(|row| planner.row(row, true) == Need::Embed)
        .map(|row| char::from(row.text.0[0]))
        .collect();
    (planner.finish(), embedded)
}

#[test]
fn only_texts_without_a_vector_are_embedded() {
    let cases = [
        // what, now, served, older, cached, embedded, kept, metadata only, removed
        ("first build", "1aA 2bB", "", "", "", "ab", 0, 0, 0),
        ("nothing changed", "1aA 2bB", "1aA 2bB", "", "", "", 2, 0, 0),
        ("one text changed", "1aA 2cC", "1aA 2bB", "", "", "c", 1, 0, 0),
        ("metadata alone changed", "1aA 2bC", "1aA 2bB", "", "", "", 2, 1, 0),
        ("two rows swapped texts", "1bX 2aY", "1aA 2bB", "", "", "", 2, 2, 0),
        ("copies of a new text", "1cC 2cD 3cE", "1aA", "", "", "c", 2, 0, 0),
        ("copies of an old text", "1aA 2aD", "1aA", "", "", "", 2, 0, 0),
        ("a row deleted", "2bB", "1aA 2bB", "", "", "", 1, 0, 1),
        ("all rows others", "3cC", "1aA 2bB", "", "", "c", 0, 0, 2),
        ("a row added in front", "0zZ 1aA 2bB", "1aA 2bB", "", "", "z", 2, 0, 0),
        ("a row that an older build had", "1aA 2bB", "1aA", "2bB", "", "", 2, 0, 0),
        ("a text in the cache", "1aA 2cC", "1aA 2bB", "", "c", "", 2, 1, 0),
        ("order turned round", "3cC 2bB 1aA", "1aA 2bB 3cC", "", "", "", 3, 0, 0),
    ];
    for (what, now, served, older, cached, embedded, kept, metadata_only, removed) in cases {
        let (plan, texts) = plan(now, served, older, cached);

        assert_eq!(texts, embedded, "{what}: texts");
        let counts = plan.counts;
        assert_eq!(counts.embedded, embedded.len() as u64, "{what}: embedded");
        assert_eq!(
            (counts.kept, counts.metadata_only, counts.removed),
            (kept, metadata_only, removed),
            "{what}"
        );
        assert_eq!(counts.kept + counts.embedded, counts.records, "{what}: every record is kept or embedded");
        assert_eq!(plan.origins.len() as u64, counts.records, "{what}: an origin for every row");
    }
}

#[test]
fn texts_that_served_rows_need_again_are_counted_apart() {
    let cases = [
        // now, served, again, of other texts
        ("1aA 2bB", "1aA 2bB", 0, 0),
        ("1xA 2yB 3zZ", "1aA 2bB", 2, 2),
        ("1bB 2cC", "1aA 2bB", 1, 1),
        ("3cC", "1aA 2bB", 0, 0),
    ];
    for (now, served, entries, other_texts) in cases {
        let (found, _) = plan(now, served, "", "");
        assert_eq!(found.again, EmbeddedAgain { entries, other_texts }, "{now}");
    }
    // Nothing can be reused, as in another space.
    let (now, none) = (rows("1aA 2bB"), HashSet::new());
    let reusable = Reusable { builds: Vec::new(), cached: &none, embedded: &none };
    let mut planner = Planner::new(&now, 2, reusable);
    for row in &now {
        planner.row(row, true);
    }
    assert_eq!(planner.finish().again, EmbeddedAgain { entries: 2, other_texts: 0 });
}

#[test]
fn the_served_build_comes_before_older_ones_and_these_before_the_cache() {
    let (plan, _) = plan("1aA 2bB 3cC", "1aA", "1aA 2bB", "abc");

    let expected = [
        VectorOrigin::Build { build: 0, row: 0 },
        VectorOrigin::Build { build: 1, row: 1 },
        VectorOrigin::Cache,
    ];
    assert_eq!(plan.origins, expected);
    assert_eq!(plan.builds_used, [0, 1]);
}

#[test]
fn a_row_is_found_wherever_it_is_expected_and_however_often() {
    let served: Vec<RowHashes> = (0..100)
        .map(|n| RowHashes { id: IdHash([n; 8]), text: TextHash([n; 16]), record: RecordHash([n; 16]) })
        .collect();
    let mut lookup = LazyLookup::default();
    for turn in 0..100_u8 {
        let (key, near) = (turn.wrapping_mul(37) % 120, usize::from(turn) * 2);

        let found = lookup.find(&served, near, &TextHash([key; 16]), |row| row.text);

        assert_eq!(found, (key < 100).then_some(u32::from(key)), "searched near {near}");
    }
    assert!(lookup.map.is_some(), "many were out of order");
}

#[test]
fn texts_embedded_before_a_second_scan_of_a_pass_count_as_embedded_once() {
    let (now, served) = (rows("1aA 2cC 3cD 4dD"), rows("1aA 2bB"));
    let embedded = HashSet::from([TextHash(*b"cccccccccccccccc")]);
    let reusable = Reusable { builds: vec![&served], cached: &embedded, embedded: &embedded };
    let mut planner = Planner::new(&served, served.len() as u64, reusable);

    let needs: Vec<_> = now.iter().map(|row| planner.row(row, true)).collect();

    assert_eq!(needs, [Need::Reuse, Need::Embedded, Need::Reuse, Need::Embed]);
    let counts = planner.finish().counts;
    assert_eq!((counts.embedded, counts.kept, counts.metadata_only), (2, 2, 0));
}
