//! The same results as ingest.py: rows, order, texts and files, in the environment that it had.
//!
//! The reference is Python itself: `tests/reader/oracle.py` computes what
//! ingest.py sends and writes, `tests/reader/ingest_like.py` writes its index
//! with Faiss, from the vectors that the embedding server returns.

use std::path::Path;

use crate::support::host::IngestReference;
use crate::support::{DIMENSION, MODEL, World, run};

#[test]
fn the_sample_becomes_the_files_that_ingest_py_makes_of_it() {
    let world = World::new();
    load_sample(&world);
    let oracle = world.reference();
    let (index, metadata) = (world.path("ingest.index"), world.path("ingest.json"));
    world.ingest_to(&index, &metadata, 768);

    // As on a host that sets only its key: 768 floats, 100 texts a request.
    let built = run(world.command(&["build", "--json"]).env_remove("DATABASE_URL").env_remove("OUTPUT_DIM"));

    assert_eq!(built.text("outcome"), "promoted", "{built:?}");
    assert!(oracle.texts.len() > 1_000, "the sample has {} tagged people", oracle.texts.len());
    assert_same_metadata(&world, &oracle);
    assert_eq!(world.published("metadata.json"), std::fs::read(metadata).unwrap());
    world.compared(&world.path("data/faiss.index"), &index).assert_same(oracle.texts.len(), 768);
    assert_same_requests(&world, &oracle, 100);
    world.assert_readable();
}

#[test]
fn odd_rows_become_the_files_that_ingest_py_makes_of_them() {
    let world = World::new();
    world.sql(ODD_ROWS);
    world.sql("CREATE INDEX ix_experts_tags ON experts (tags); ANALYZE");
    let oracle = world.reference();
    let index = world.path("ingest.index");
    world.ingest_to(&index, &world.path("ingest.json"), DIMENSION);

    let built = world.build();

    assert_eq!(oracle.quarantined, "", "ingest.py accepted every odd row");
    assert_eq!(built.number("records"), oracle.texts.len() as u64);
    assert_same_metadata(&world, &oracle);
    world.compared(&world.path("data/faiss.index"), &index).assert_same(oracle.texts.len(), DIMENSION);
    assert_same_requests(&world, &oracle, 100);
}

#[test]
fn values_keep_their_storage_class_in_a_table_without_declared_types() {
    let world = World::new();
    let columns = "username, first_name, last_name, job_title, company, bio, hourly_rate, currency, \
                   profile_url, profile_url_utm, tags, findability_score, category";
    world.sql(&format!(
        "DROP TABLE experts;
         CREATE TABLE experts (id INTEGER PRIMARY KEY, {columns});
         INSERT INTO experts (id, first_name, job_title, company, bio, hourly_rate, profile_url, findability_score, tags)
         VALUES (1, 'Whole', 0, 0.0, 'Bio', 9223372036854775807, 7, -9223372036854775808, '[]'),
                (2, 'Float', '0', NULL, 'Bio', 100.0, 1e15, 1e16, '[\"a\"]'),
                (3, 'Text', NULL, '', 'Bio', '100', '1e16', 'n/a', '[\"a\"]')"
    ));
    let oracle = world.reference();

    world.build();

    assert_eq!((oracle.texts.len(), oracle.quarantined.as_str()), (3, ""));
    assert_same_metadata(&world, &oracle);
    assert_same_requests(&world, &oracle, 100);
}

#[test]
fn a_row_that_is_not_tagged_is_neither_indexed_nor_sent() {
    let world = World::with_people(5);
    world.sql("UPDATE experts SET tags = NULL WHERE id IN (2, 4)");

    world.build();

    let ids: Vec<_> = world.records().iter().map(|record| record["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 3, 5]);
    assert_same_requests(&world, &world.reference(), 100);
}

#[test]
fn two_runs_over_equal_tables_give_equal_files() {
    let (one, other) = (World::with_people(40), World::with_people(40));
    // Other batches that arrive in another order do not change the vectors.
    one.build();
    let ran = run(other.command(&["build", "--json"]).env("INGEST_BATCH_SIZE", "7"));

    assert_eq!(ran.code, 0, "{ran:?}");
    for name in ["faiss.index", "metadata.json"] {
        assert!(one.published(name) == other.published(name), "{name} differs");
    }
}

/// Every kind of value that ingest.py accepted, and the places where its texts and bytes are surprising.
const ODD_ROWS: &str = r#"
INSERT INTO experts (id, username, first_name, last_name, job_title, company, bio, tags) VALUES
    -- Inserted against the order of their ids.
    (900, 'last', 'Zoë', 'Ångström', 'Dirigentin', 'Größe & Söhne', '日本語のバイオ 🎻 e' || char(769), '["ünïcode", "日本"]'),
    (-5, 'negative', 'Nega', 'Tive', NULL, NULL, NULL, '["a"]'),
    (0, 'zero', NULL, NULL, NULL, NULL, 'Only a bio', '["a"]'),
    -- Each part of a text present and absent.
    (10, 'first only', 'First', NULL, NULL, NULL, NULL, '["a"]'),
    (11, 'last only', NULL, 'Last', NULL, NULL, NULL, '["a"]'),
    (12, 'title only', NULL, NULL, 'Title', '', NULL, '["a"]'),
    (13, 'company only', NULL, NULL, '', 'Company', NULL, '["a"]'),
    (14, 'title, company', NULL, NULL, 'Title', 'Company', NULL, '[]'),
    (15, 'username stands in', NULL, '', ' ', char(9), char(10), '[]'),
    (16, ' not stripped ', NULL, NULL, NULL, NULL, NULL, ''),
    (17, 'null in tags', 'First', 'Last', 'Title', 'Company', 'Bio', 'null'),
    (18, 'no tags, bio', 'First', 'Last', 'Title', 'Company', 'Bio', ''),
    -- What strip() takes away, and what it leaves.
    (20, 'spaces', '  A  B  ', char(160, 8195, 12288) || 'NBSP' || char(160), NULL, NULL, char(13, 10) || 'Line' || char(10) || 'two' || char(10), '["a"]'),
    (21, 'separators', char(28, 29, 30, 31) || 'FS to US' || char(28), char(133) || 'NEL' || char(133), char(11, 12) || 'VT' || char(11), char(8232) || 'LS' || char(8233), char(30) || 'Bio' || char(31), '["a"]'),
    (22, 'not spaces', char(8203) || 'ZWSP', char(65279) || 'BOM' || char(65279), char(6158) || 'MVS', char(8288) || 'WJ', char(1) || 'SOH' || char(127), '["a"]'),
    (23, 'NUL' || char(0), 'N' || char(0) || 'U', char(0), 'L', char(0), 'Bio' || char(0), '["a\u0000b"]'),
    -- What JSON escapes, and what it leaves.
    (30, 'escapes', '"quoted"', 'back\slash', 'sl/ash', '</script>', char(1, 8, 9, 10, 12, 13, 27, 31) || 'controls' || char(127, 128, 159, 8232, 8233, 65533, 65535, 1114111), '["\"", "\\", "\/", "\b\f\n\r\t", "\u0001\u007f\u2028"]'),
    (31, 'percent %s {} $x', 'A', 'B', NULL, NULL, '<b>&amp;</b>', '["%s", "{}", "$HOME", "null", "[]"]'),
    -- Tags as they are written, and as they are meant.
    (40, 'spaced tags', 'A', NULL, NULL, NULL, NULL, ' [ "a" ,' || char(10) || char(9) || '"b" ] '),
    (41, 'escaped tags', 'A', NULL, NULL, NULL, NULL, '["\u00fc", "\ud83c\udfbb", "\u0041"]'),
    (42, 'odd tags', 'A', NULL, NULL, NULL, NULL, '["", " ", "a, b", "a", "a", " padded "]'),
    (43, 'tags only', NULL, NULL, NULL, NULL, NULL, '["one", "two"]'),
    (44, 'an empty tag only', NULL, NULL, NULL, NULL, NULL, '[""]'),
    -- Two people with one text: two rows, two vectors alike.
    (50, 'twin one', 'Same', 'Text', 'Title', 'Company', 'Bio', '["a"]'),
    (51, 'twin two', 'Same', 'Text', 'Title', 'Company', 'Bio', '["a"]');
INSERT INTO experts (id, username, first_name, tags, hourly_rate, findability_score, currency, profile_url, profile_url_utm, category) VALUES
    (60, 'rates', 'A', '[]', 100, 0, 'EUR', 'https://x.test/?a=1&b=2', '', NULL),
    (61, 'rates', 'B', '[]', 0.1 + 0.2, 1e16, '', NULL, NULL, ''),
    (62, 'rates', 'C', '[]', 9999999999999998.0, 1e15, NULL, NULL, NULL, NULL),
    (63, 'rates', 'D', '[]', 0.0001, 0.00001, NULL, NULL, NULL, NULL),
    (64, 'rates', 'E', '[]', -0.0, 5e-324, NULL, NULL, NULL, NULL),
    (65, 'rates', 'F', '[]', 1.7976931348623157e308, -1e-7, NULL, NULL, NULL, NULL),
    (66, 'rates', 'G', '[]', 9007199254740993, 123456789012345678, NULL, NULL, NULL, NULL),
    (67, 'rates', 'H', '[]', 'negotiable', '1e3', 42, 42, 1.5, 0),
    (68, 'rates', 'I', '[]', 2197395979265169.25, 1e22, NULL, NULL, NULL, NULL),
    (9223372036854775807, 'largest id', 'J', '[]', 1e-4, 1e100, NULL, NULL, NULL, NULL);
"#;

/// Replaces the empty table by the sample of `data/sample`.
fn load_sample(world: &World) {
    std::fs::remove_file(world.database()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample/load.py");
    let ran = run(&mut world.python_command(&script, &[&world.database()]));
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[track_caller]
fn assert_same_metadata(world: &World, oracle: &IngestReference) {
    let ours = world.published("metadata.json");
    let at = ours.iter().zip(&oracle.metadata).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| {
        let near = &bytes[at.saturating_sub(200)..bytes.len().min(at + 80)];
        String::from_utf8_lossy(near).into_owned()
    };
    assert!(
        ours == oracle.metadata,
        "metadata differ from byte {at} on:\nours  …{}\nit    …{}",
        around(&ours),
        around(&oracle.metadata)
    );
}

/// Each distinct text was sent once, in batches of this size along the order of the index.
///
/// ingest.py sent equal texts twice; batches may arrive in any order, since several are in flight at a time.
#[track_caller]
fn assert_same_requests(world: &World, oracle: &IngestReference, batch: usize) {
    let distinct = oracle.distinct_texts();
    let mut expected: Vec<_> = distinct.chunks(batch).map(<[String]>::to_vec).collect();
    let mut sent: Vec<_> = world.provider.requests().iter().map(|seen| seen.texts.clone()).collect();
    expected.sort();
    sent.sort();
    assert_eq!(sent, expected);
    assert!(world.provider.requests().iter().all(|seen| seen.model == MODEL && seen.is_answered()));
}
