//! Chunks and limits: what counts rows of the source, what counts entries of the index.

use serde_json::Value;

use crate::support::{Ran, World};

/// Three rows of three chunks each; more lines for the section of guards.
fn build(world: &World, guards: &str) -> Ran {
    world.settings(&format!(
        "[source]\ntable = \"t\"\ncolumns = [\"id\"]\n[document]\ntemplate = \"{{{{ chunk }}}}\"\n\
         chunk = {{ column = \"body\", size = 12 }}\n[guard]\n{guards}\n"
    ));
    world.run(&["build", "--json"])
}

fn three_rows() -> World {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT);
         INSERT INTO t VALUES (1, 'One a words. One b words. One c words.'),
            (2, 'Two a words. Two b words. Two c words.'), (3, 'Six a words. Six b words. Six c words.')",
    );
    world
}

/// The rows of the served records, each as often as it has chunks.
fn rows(world: &World) -> Vec<u64> {
    world.records().iter().map(|record| record["id"].as_u64().unwrap()).collect()
}

#[test]
fn one_refused_chunk_quarantines_its_row_whole_until_the_row_changes() {
    let world = three_rows();
    world.provider.fail_text("Two b");

    let first = build(&world, "quarantine = 1\nmax_shrink = 1.0");

    assert_eq!((first.code, first.number("records")), (0, 2), "{first:?}");
    assert_eq!(rows(&world), [1, 1, 1, 3, 3, 3], "no chunk of the row");
    let manifest: Value = serde_json::from_slice(&world.published("current/manifest.json")).unwrap();
    let out = manifest["left_out"].as_array().unwrap();
    assert_eq!((out.len(), out[0]["id"].as_str()), (1, Some("2")), "{out:?}");
    world.assert_proven();
    world.provider.forget();
    assert_eq!(build(&world, "quarantine = 1\nmax_shrink = 1.0").text("outcome"), "unchanged");
    assert_eq!(world.provider.text_count(), 0);

    world.sql("UPDATE t SET body = replace(body, 'Two b words', 'Two d words') WHERE id = 2");
    let second = build(&world, "quarantine = 1\nmax_shrink = 1.0");

    assert_eq!((second.code, second.number("records")), (0, 3), "{second:?}");
    assert_eq!(rows(&world), [1, 1, 1, 2, 2, 2, 3, 3, 3]);
    world.assert_proven();
}

#[test]
fn a_refused_chunk_without_quarantine_ends_the_pass_and_names_its_row() {
    let world = three_rows();
    world.provider.fail_text("Two b");
    let ran = build(&world, "");
    assert_eq!((ran.code, world.served()), (1, None), "{ran:?}");
    assert!(ran.text("error").contains('2'), "{ran:?}");
}

#[test]
fn max_texts_counts_entries_and_max_shrink_rows() {
    let world = three_rows();
    let refused = build(&world, "max_texts = 8");
    assert_eq!((refused.code, world.served(), world.provider.text_count()), (3, None, 0), "{refused:?}");
    assert!(refused.text("error").contains("9 texts would be embedded"), "{refused:?}");
    assert_eq!(build(&world, "max_texts = 9").code, 0);

    // Of nine entries six go, and of three rows none.
    world.sql("UPDATE t SET body = substr(body, 1, 12)");
    let shorter = build(&world, "max_shrink = 0.3");
    assert_eq!((shorter.code, shorter.number("records"), rows(&world)), (0, 3, vec![1, 2, 3]), "{shorter:?}");
    // Of three rows one goes.
    let served = world.served();
    world.sql("DELETE FROM t WHERE id = 3");
    let fewer = build(&world, "max_shrink = 0.3");
    assert_eq!((fewer.code, world.served()), (3, served), "{fewer:?}");
    assert!(fewer.text("error").contains("2 records are 33.3 % fewer than the 3 served"), "{fewer:?}");
    assert_eq!(build(&world, "max_shrink = 0.34").code, 0);
}
