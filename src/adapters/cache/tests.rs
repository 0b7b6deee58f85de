//! The cache on real files: kept, damaged, killed, emptied.

#![expect(clippy::float_cmp, reason = "a vector comes back bit for bit, or not at all")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use super::file::SIDE_FILES;
use super::*;
use crate::domain::sibling_path::sibling_path;

const NOW: i64 = 1_795_000_000;
const DAY: i64 = 24 * 60 * 60;

/// Does something to the cache's path.
type Damage<'a> = &'a dyn Fn(&Path);

struct CacheFixture {
    directory: TempDir,
}

impl CacheFixture {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("embeddings.sqlite")
    }

    fn open(&self) -> Cache {
        let (cache, warning) = Cache::open(&self.path(), &space("a"), NOW).unwrap();
        assert_eq!(warning, None);
        cache
    }

    /// A closed cache that holds `count` vectors.
    fn filled(count: u32) -> Self {
        let world = Self::new();
        store(&mut world.open(), 0..count);
        world
    }

    /// The names in the directory, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn space(model: &str) -> Space {
    Space {
        provider: "local".to_owned(),
        model: model.to_owned(),
        dimension: 8,
        task_type: None,
        ..Space::default()
    }
}

fn text(n: u32) -> TextHash {
    TextHash::of(&format!("text {n}"))
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn vector(n: u32) -> [f32; 8] {
    std::array::from_fn(|place| {
        (n as f32).mul_add(0.1, place as f32) * if place % 2 == 0 { -1.0 } else { 1.0 }
    })
}

fn store(cache: &mut Cache, numbers: std::ops::Range<u32>) {
    let texts: Vec<TextHash> = numbers.clone().map(text).collect();
    let vectors: Vec<f32> = numbers.flat_map(vector).collect();
    cache.store(&texts, &vectors).unwrap();
}

fn read(cache: &mut Cache, n: u32) -> Result<[f32; 8], CacheError> {
    let mut out = [f32::NAN; 8];
    cache.vector(&text(n), &mut out).map(|()| out)
}

#[track_caller]
fn assert_works(cache: &mut Cache) {
    store(cache, 900..903);
    assert_eq!(read(cache, 901).unwrap(), vector(901));
}

#[test]
fn a_stored_vector_comes_back_bit_for_bit_from_a_later_opening() {
    let world = CacheFixture::filled(300);

    let mut cache = world.open();

    let expected: HashSet<TextHash> = (0..300).map(text).collect();
    assert_eq!(cache.hashes(), expected);
    for n in 0..300 {
        assert_eq!(read(&mut cache, n).unwrap().map(f32::to_bits), vector(n).map(f32::to_bits));
    }
}

#[test]
fn stored_batch_is_on_disk_before_it_is_reported() {
    let world = CacheFixture::new();
    let after = CacheFixture::new();
    let mut cache = world.open();
    store(&mut cache, 0..100);

    // What a killed process leaves is what its files hold while it still runs.
    for name in world.names() {
        fs::copy(world.directory.path().join(&name), after.directory.path().join(&name)).unwrap();
    }

    assert_eq!(read(&mut after.open(), 99).unwrap(), vector(99));
    assert_eq!(cache.hashes().len(), 100);
}

#[test]
fn a_text_stored_again_has_its_new_vector_and_takes_no_more_room() {
    let world = CacheFixture::filled(10);
    let mut cache = world.open();

    cache.store(&[text(3), text(3)], &[vector(1), vector(2)].concat()).unwrap();

    assert_eq!(read(&mut cache, 3).unwrap(), vector(2));
    assert_eq!(cache.hashes().len(), 10);
    let rows: i64 = cache
        .connection
        .query_row("SELECT count(*) FROM vector WHERE place >= 0", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 10);
}

#[test]
fn a_vector_that_is_missing_is_an_error_that_names_its_text() {
    let mut cache = CacheFixture::filled(2).open();

    let error = read(&mut cache, 7).unwrap_err();

    assert_eq!(
        error.to_string(),
        format!("embedding cache holds no vector of text {}: expected one, found none", text(7))
    );
}

#[test]
fn a_switch_of_space_and_back_loses_nothing_and_mixes_nothing() {
    let world = CacheFixture::filled(5);
    {
        let (mut other, _) = Cache::open(&world.path(), &space("b"), NOW).unwrap();
        assert_eq!(other.hashes().len(), 0);
        assert!(matches!(read(&mut other, 0), Err(CacheError::Missing { .. })));
        other.store(&[text(0)], &vector(77)).unwrap();
        assert_eq!(other.remove(&|_| true).unwrap(), 1);
    }

    let mut cache = world.open();

    assert_eq!(cache.hashes().len(), 5);
    assert_eq!(read(&mut cache, 0).unwrap(), vector(0));
}

#[test]
fn a_vector_is_kept_for_thirty_days_of_good_passes_whatever_its_space_and_no_longer() {
    for (days, ends_well, expected) in [(30, true, 5), (31, true, 0), (100, false, 5)] {
        let world = CacheFixture::filled(5);

        for day in 1..=days {
            let (mut cache, _) = Cache::open(&world.path(), &space("b"), NOW + day * DAY).unwrap();
            if ends_well {
                cache.record_good_end().unwrap();
            }
        }

        assert_eq!(Cache::stored_hashes(&world.path(), &space("a")).unwrap().len(), expected, "{days} days");
    }
}

#[test]
fn no_jump_of_the_clock_drops_a_vector_whenever_it_came() {
    const YEAR: i64 = 366 * DAY;
    let jumps = [-YEAR, 0, YEAR, i64::MIN, i64::MAX];
    for came_at in jumps {
        for opened_at in jumps {
            let world = CacheFixture::new();
            let (mut cache, _) =
                Cache::open(&world.path(), &space("a"), NOW.saturating_add(came_at)).unwrap();
            store(&mut cache, 0..5);
            drop(cache);

            for clock in [opened_at, came_at, opened_at, 0] {
                let (mut cache, _) =
                    Cache::open(&world.path(), &space("a"), NOW.saturating_add(clock)).unwrap();
                assert_eq!(cache.hashes().len(), 5, "came at {came_at}, opened at {opened_at}, then {clock}");
                cache.record_good_end().unwrap();
            }
        }
    }
}

#[test]
fn a_cache_of_0_1_0_keeps_its_vectors_for_thirty_days_more() {
    for (stored_at, opened_at) in [(NOW - 400 * DAY, NOW), (NOW + 400 * DAY, NOW), (NOW, NOW - 400 * DAY)] {
        let world = CacheFixture::filled(5);
        let old = Connection::open(world.path()).unwrap();
        old.execute("DELETE FROM vector WHERE place < 0", []).unwrap();
        old.execute("UPDATE entry SET stored_at = ?1", [stored_at]).unwrap();
        drop(old);

        for day in 0..=30 {
            let (mut cache, _) = Cache::open(&world.path(), &space("a"), opened_at + day * DAY).unwrap();
            assert_eq!(cache.hashes().len(), 5, "stored at {stored_at}, opened at {opened_at}, day {day}");
            cache.record_good_end().unwrap();
        }

        let (cache, _) = Cache::open(&world.path(), &space("a"), opened_at + 31 * DAY).unwrap();
        assert_eq!(cache.hashes().len(), 0, "stored at {stored_at}, opened at {opened_at}");
    }
}

#[test]
fn an_emptied_cache_still_knows_its_age() {
    let world = CacheFixture::filled(5);
    let mut cache = world.open();
    cache.record_good_end().unwrap();
    cache.remove(&|_| true).unwrap();
    let age = cache.age;
    drop(cache);

    assert_eq!(world.open().age, age.grown(NOW));
}

#[test]
fn what_a_build_holds_is_removed_and_the_rest_is_not() {
    let world = CacheFixture::filled(200);
    let mut cache = world.open();
    let held: HashSet<TextHash> = (0..150).map(text).collect();

    let forgotten = cache.remove(&|text| held.contains(text)).unwrap();

    assert_eq!(forgotten, 150);
    assert_eq!(cache.hashes(), (150..200).map(text).collect());
    assert_eq!(read(&mut cache, 199).unwrap(), vector(199));
    assert_eq!(cache.remove(&|text| held.contains(text)).unwrap(), 0);
}

#[test]
fn removing_vectors_frees_their_disk_space_at_once() {
    for (left, most) in [(0, 4), (100, 8)] {
        let world = CacheFixture::new();
        let mut cache = world.open();
        for batch in 0..200 {
            store(&mut cache, 100 * batch..100 * (batch + 1));
        }
        let kept: HashSet<TextHash> = (0..left).map(text).collect();

        cache.remove(&|text| !kept.contains(text)).unwrap();

        let pages = fs::metadata(world.path()).unwrap().len() / 16384;
        assert!(pages <= most, "{left} vectors left take {pages} pages");
        let wal = fs::metadata(sibling_path(&world.path(), "-wal")).unwrap().len();
        assert_eq!(wal, 0, "the log is emptied too");
        assert_works(&mut cache);
    }
}

#[test]
fn reading_stored_hashes_sees_what_a_pass_has_stored_and_changes_nothing() {
    let world = CacheFixture::new();
    let peek = || Cache::stored_hashes(&world.path(), &space("a")).unwrap();
    assert_eq!(peek(), HashSet::new());
    assert_eq!(world.names(), [""; 0]);

    let mut cache = world.open();
    for batch in 0..30 {
        store(&mut cache, 100 * batch..100 * (batch + 1));
        let before = world.names();
        assert_eq!(peek().len(), 100 * (batch as usize + 1));
        assert_eq!(world.names(), before);
    }
    cache.remove(&|_| true).unwrap();
    assert_eq!(peek(), HashSet::new());
    store(&mut cache, 0..5);
    drop(cache);

    assert_eq!(peek(), (0..5).map(text).collect());
    assert_eq!(Cache::stored_hashes(&world.path(), &space("b")).unwrap(), HashSet::new());
    assert_eq!(world.names(), ["embeddings.sqlite"]);
    assert_eq!(read(&mut world.open(), 4).unwrap(), vector(4));
}

#[test]
fn reading_stored_hashes_of_another_file_finds_none_or_is_refused_as_by_a_pass() {
    let other = CacheFixture::filled(3);
    let elsewhere = other.path();
    let spoils: [(bool, Damage<'_>); 5] = [
        (true, &|path| fs::write(path, "not a database").unwrap()),
        (true, &|path| fs::write(path, endless_schema()).unwrap()),
        (false, &|path| symlink(&elsewhere, path).unwrap()),
        (false, &|path| fs::create_dir(path).unwrap()),
        (false, &make_pipe),
    ];
    for (is_damage, spoil) in spoils {
        let world = CacheFixture::new();
        spoil(&world.path());

        match Cache::stored_hashes(&world.path(), &space("a")) {
            Ok(found) => assert!(is_damage && found.is_empty()),
            Err(error) => assert!(!is_damage && matches!(error, CacheError::NotAFile { .. }), "{error:?}"),
        }

        assert_eq!(world.names(), ["embeddings.sqlite"]);
    }
}

#[test]
fn a_full_disk_is_an_error_and_what_was_there_stays() {
    let world = CacheFixture::filled(10);
    let mut cache = world.open();
    let pages: i64 = cache.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    cache.connection.pragma_update(None, "max_page_count", pages).unwrap();

    let texts: Vec<TextHash> = (10..2000).map(text).collect();
    let vectors: Vec<f32> = (10..2000).flat_map(vector).collect();
    let error = cache.store(&texts, &vectors).unwrap_err();

    assert!(error.to_string().ends_with("cannot store a batch of vectors"), "{error}");
    assert_eq!(cache.hashes().len(), 10);
    assert_eq!(read(&mut cache, 9).unwrap(), vector(9));
}

#[test]
fn a_second_user_is_refused_and_the_first_goes_on() {
    let world = CacheFixture::filled(1);
    let mut cache = world.open();

    let error = Cache::open(&world.path(), &space("a"), NOW).unwrap_err();

    assert!(matches!(error, CacheError::Sqlite { .. }), "{error}");
    assert_works(&mut cache);
    assert!(world.names().iter().all(|name| !name.contains("damaged")));
}

#[test]
fn the_file_is_its_owners_alone_and_no_side_file_outlives_the_pass() {
    let world = CacheFixture::filled(3);

    assert_eq!(fs::metadata(world.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(world.names(), ["embeddings.sqlite"]);
    let _cache = world.open();
    assert_eq!(world.names(), ["embeddings.sqlite", "embeddings.sqlite-wal"]);
}

#[test]
fn a_state_directory_reached_by_a_link_is_as_good_as_any() {
    let world = CacheFixture::new();
    let behind = tempfile::tempdir().unwrap();
    let link = world.directory.path().join("state");
    symlink(behind.path(), &link).unwrap();

    let (mut cache, warning) = Cache::open(&link.join("embeddings.sqlite"), &space("a"), NOW).unwrap();

    assert_eq!(warning, None);
    assert_works(&mut cache);
}

#[test]
fn whatever_is_not_a_regular_file_is_named_and_left_alone() {
    for suffix in SIDE_FILES {
        for kind in ["a symbolic link", "a directory", "a pipe, socket or device"] {
            let world = CacheFixture::new();
            let outside = tempfile::tempdir().unwrap();
            let path = sibling_path(&world.path(), suffix);
            match kind {
                "a symbolic link" => symlink(outside.path().join("target"), &path).unwrap(),
                "a directory" => fs::create_dir(&path).unwrap(),
                _ => make_pipe(&path),
            }

            let error = Cache::open(&world.path(), &space("a"), NOW).unwrap_err();

            assert!(matches!(&error, CacheError::NotAFile { found, .. } if *found == kind), "{error}");
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
            assert!(fs::symlink_metadata(&path).is_ok());
        }
    }
}

fn make_pipe(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

#[test]
fn a_missing_directory_is_an_error() {
    let error = Cache::open(&CacheFixture::new().path().join("x/y.sqlite"), &space("a"), NOW).unwrap_err();

    assert!(error.to_string().contains("cannot find the directory of"), "{error}");
}

#[test]
fn an_empty_file_is_a_new_cache_and_no_damage() {
    let world = CacheFixture::new();
    fs::write(world.path(), b"").unwrap();

    assert_works(&mut world.open());
}

#[test]
fn a_cache_of_a_newer_layout_is_refused_by_name_and_keeps_its_vectors() {
    for layout in [file::LAYOUT + 1, 99] {
        let world = CacheFixture::filled(3);
        let sql = format!("PRAGMA user_version = {layout}; CREATE TABLE news(id INTEGER)");
        Connection::open(world.path()).unwrap().execute_batch(&sql).unwrap();

        let opened = Cache::open(&world.path(), &space("a"), NOW).unwrap_err();
        let listed = Cache::stored_hashes(&world.path(), &space("a")).unwrap_err();

        for error in [opened, listed] {
            assert!(matches!(error, CacheError::Newer { known: file::LAYOUT, .. }), "{error:?}");
            assert!(error.to_string().contains(&format!("layout {layout}")), "{error}");
        }
        assert_eq!(world.names(), ["embeddings.sqlite"]);
        let left = Connection::open(world.path()).unwrap();
        let vectors: i64 =
            left.query_row("SELECT count(*) FROM vector WHERE place >= 0", [], |row| row.get(0)).unwrap();
        assert_eq!(vectors, 3, "layout {layout}");
    }
}

#[test]
fn another_programs_file_is_moved_with_a_warning() {
    let sql = |statements: &'static str| {
        move |path: &Path| Connection::open(path).unwrap().execute_batch(statements).unwrap()
    };
    let cases: [(&str, Damage<'_>); 8] = [
        ("text", &|path| fs::write(path, "not a database\n".repeat(2000)).unwrap()),
        ("a few bytes", &|path| fs::write(path, "SQLite format 3").unwrap()),
        ("another table", &sql("CREATE TABLE experts(id INTEGER)")),
        ("an earlier layout", &sql("PRAGMA user_version = 2")),
        ("another mark", &sql("PRAGMA application_id = 5")),
        ("a trigger", &sql("CREATE TRIGGER t AFTER INSERT ON entry BEGIN DELETE FROM entry; END")),
        ("a table dropped", &sql("DROP TABLE vector")),
        ("no vacuum", &|path| {
            fs::remove_file(path).unwrap();
            Connection::open(path)
                .unwrap()
                .execute_batch("PRAGMA page_size = 512; CREATE TABLE x(y); DROP TABLE x")
                .unwrap();
        }),
    ];
    for (case, spoil) in cases {
        let world = CacheFixture::filled(3);
        spoil(&world.path());

        let (mut cache, warning) = Cache::open(&world.path(), &space("a"), NOW).unwrap();

        let warning = warning.unwrap_or_else(|| panic!("{case}: no warning"));
        assert!(
            warning.contains("damaged-1795000000") && warning.contains("embedded again"),
            "{case}: {warning}"
        );
        assert_eq!(cache.hashes().len(), 0, "{case}");
        assert_works(&mut cache);
        drop(cache);
        assert_eq!(world.names(), ["embeddings.sqlite", "embeddings.sqlite.damaged-1795000000"], "{case}");
    }
}

#[test]
fn only_the_last_damaged_file_is_kept_and_its_side_files_go_with_it() {
    let world = CacheFixture::new();
    for later in 0..3 {
        fs::write(world.path(), "not a database".repeat(100)).unwrap();
        fs::write(sibling_path(&world.path(), "-shm"), "left over").unwrap();
        fs::write(sibling_path(&world.path(), ".damaged-17-wal"), "older").unwrap();

        let (_, warning) = Cache::open(&world.path(), &space("a"), NOW + later).unwrap();

        assert!(warning.is_some());
    }

    assert_eq!(
        world.names(),
        [
            "embeddings.sqlite",
            "embeddings.sqlite.damaged-1795000002",
            "embeddings.sqlite.damaged-1795000002-shm"
        ]
    );
}

#[test]
fn a_truncated_file_is_moved_or_read_correctly() {
    let whole = fs::read(CacheFixture::filled(2000).path()).unwrap();
    for length in
        [1, 15, 99, 100, 511, 512, 4096, 16383, 16384, 16385, 40000, whole.len() / 2, whole.len() - 1]
    {
        let world = CacheFixture::new();
        fs::write(world.path(), &whole[..length]).unwrap();

        let (mut cache, warning) = Cache::open(&world.path(), &space("a"), NOW).unwrap();

        let held = cache.hashes().len();
        assert!(warning.is_some() || held == 0 || held == 2000, "cut to {length} bytes: {held} held");
        for n in 0..2000 {
            if let Ok(found) = read(&mut cache, n) {
                assert_eq!(found, vector(n), "cut to {length} bytes");
            }
        }
        assert_works(&mut cache);
    }
}

#[test]
fn a_flipped_bit_anywhere_never_gives_a_wrong_vector_and_never_a_lasting_error() {
    let whole = CacheFixture::filled(40);
    let length = usize::try_from(fs::metadata(whole.path()).unwrap().len()).unwrap();

    let heads = (0..112).step_by(3);
    let bodies = (112..length).step_by(length / 150);
    for at in heads.chain(bodies) {
        assert_survives_a_flip(&whole, "", at);
    }
}

#[test]
fn a_flipped_bit_in_the_log_of_a_killed_process_does_no_more_harm() {
    let killed = CacheFixture::new();
    let mut cache = killed.open();
    for batch in 0..4 {
        store(&mut cache, 10 * batch..10 * (batch + 1));
    }
    let length = usize::try_from(fs::metadata(sibling_path(&killed.path(), "-wal")).unwrap().len()).unwrap();
    assert!(length > 0);

    for at in (0..56).chain((56..length).step_by(length / 50)) {
        assert_survives_a_flip(&killed, "-wal", at);
    }
}

/// Where the header of a SQLite file has the number that is our layout.
const USER_VERSION: std::ops::Range<usize> = 60..64;

fn assert_survives_a_flip(whole: &CacheFixture, suffix: &str, at: usize) {
    let world = CacheFixture::new();
    for suffix in ["", "-wal"] {
        if fs::exists(sibling_path(&whole.path(), suffix)).unwrap() {
            fs::copy(sibling_path(&whole.path(), suffix), sibling_path(&world.path(), suffix)).unwrap();
        }
    }
    let spoilt = sibling_path(&world.path(), suffix);
    let mut bytes = fs::read(&spoilt).unwrap();
    bytes[at] ^= 1 << (at % 8);
    fs::write(&spoilt, bytes).unwrap();

    for attempt in 0..2 {
        let (mut cache, _) = match Cache::open(&world.path(), &space("a"), NOW) {
            Ok(opened) => opened,
            // A greater number of the layout looks like that of a newer program.
            Err(CacheError::Newer { .. }) => return assert!(suffix.is_empty() && USER_VERSION.contains(&at)),
            Err(error) => panic!("byte {at}: {error:?}"),
        };
        for listed in cache.hashes() {
            let mut out = [f32::NAN; 8];
            match cache.vector(&listed, &mut out) {
                Ok(()) => assert!((0..40).any(|n| listed == text(n) && out == vector(n)), "byte {at}"),
                Err(CacheError::Missing { .. }) => assert_eq!(attempt, 0, "byte {at}: listed again"),
                Err(error) => panic!("byte {at}: {error:?}"),
            }
        }
        assert_works(&mut cache);
        cache.remove(&|text| (900..903).any(|n| *text == self::text(n))).unwrap();
    }
}

#[test]
fn an_entry_that_points_to_anothers_vector_is_not_held() {
    let world = CacheFixture::filled(2);
    let cache = world.open();
    let others: i64 = cache
        .connection
        .query_row("DELETE FROM entry WHERE text = ?1 RETURNING place", [text(1).0], |row| row.get(0))
        .unwrap();
    cache.connection.execute("UPDATE entry SET place = ?1", [others]).unwrap();
    drop(cache);
    let mut cache = world.open();

    let error = read(&mut cache, 0).unwrap_err();

    assert!(error.to_string().contains("expected the bytes that were stored, found others"), "{error}");
    assert_eq!(cache.hashes(), HashSet::new());
}

#[test]
fn a_vector_of_another_length_is_not_held() {
    let world = CacheFixture::filled(1);
    let mut cache = world.open();
    cache.connection.execute("UPDATE vector SET floats = x'0000803f'", []).unwrap();

    let error = read(&mut cache, 0).unwrap_err();

    assert!(error.to_string().ends_with("expected 32 bytes, found 4"), "{error}");
    assert_eq!(cache.hashes().len(), 0);
}

#[test]
fn a_file_that_would_be_read_without_end_is_moved() {
    let world = CacheFixture::new();
    fs::write(world.path(), endless_schema()).unwrap();

    let (mut cache, warning) = Cache::open(&world.path(), &space("a"), NOW).unwrap();

    assert!(warning.unwrap().contains("interrupted"));
    assert_works(&mut cache);
}

/// A database whose schema is a tree of 17 levels, each page of which names the
/// same child 40 times: a hundred pages to write, 40^17 rows to read.
fn endless_schema() -> Vec<u8> {
    const PAGE: usize = 512;
    const LEVELS: u8 = 17;
    let world = CacheFixture::new();
    Connection::open(world.path())
        .unwrap()
        .execute_batch(&format!("PRAGMA page_size = {PAGE}; CREATE TABLE t(a UNIQUE)"))
        .unwrap();
    let mut bytes = fs::read(world.path()).unwrap();
    assert_eq!(bytes.len(), 3 * PAGE, "schema, table, index");

    // The first page's rows move to a leaf of their own, which has no file header before it.
    let leaf = page_without_header(&bytes[..PAGE], 2);
    let index_row_only = page_without_header(&bytes[..PAGE], 1);
    let (leaf_at, index_at, first_level) = (4_u8, 5_u8, 6_u8);
    bytes.extend(leaf);
    bytes.extend(index_row_only);
    for level in 0..LEVELS {
        let child = if level + 1 == LEVELS { index_at } else { first_level + level + 1 };
        bytes.extend(interior(&[child; 40], 0, PAGE));
    }
    let root = interior(&[leaf_at, first_level], 100, PAGE);
    bytes[100..PAGE].copy_from_slice(&root[100..]);
    let pages = u32::try_from(bytes.len() / PAGE).unwrap();
    bytes[28..32].copy_from_slice(&pages.to_be_bytes());
    bytes
}

/// The last `rows` rows of the schema leaf on page one, as a page elsewhere.
fn page_without_header(first: &[u8], rows: u8) -> Vec<u8> {
    let all = usize::from(first[104]);
    let mut page = first.to_vec();
    page[..100].fill(0);
    page.copy_within(100..108, 0);
    page[3..5].copy_from_slice(&[0, rows]);
    let skipped = all - usize::from(rows);
    page.copy_within(108 + 2 * skipped..108 + 2 * all, 8);
    page
}

/// An interior page of a table's tree, whose keys all are 9 and whose children are given.
fn interior(children: &[u8], at: usize, length: usize) -> Vec<u8> {
    let (last, others) = children.split_last().unwrap();
    let mut page = vec![0; length];
    let content = length - 5 * others.len();
    page[at] = 5;
    page[at + 4] = u8::try_from(others.len()).unwrap();
    page[at + 5..at + 7].copy_from_slice(&u16::try_from(content).unwrap().to_be_bytes());
    page[at + 11] = *last;
    for (n, child) in others.iter().enumerate() {
        let cell = content + 5 * n;
        let pointer = at + 12 + 2 * n;
        page[pointer..pointer + 2].copy_from_slice(&u16::try_from(cell).unwrap().to_be_bytes());
        page[cell..cell + 5].copy_from_slice(&[0, 0, 0, *child, 9]);
    }
    page
}

fn rebuy(world: &CacheFixture, now: i64) -> Cache {
    Cache::open_rebuy(&world.path(), &space("a"), now, Some("served"), Some("here")).unwrap().0
}

#[test]
fn the_vectors_of_a_rebuy_stand_apart_until_it_ends() {
    let world = CacheFixture::filled(5);
    let mut again = rebuy(&world, NOW);
    assert_eq!((again.rebuy_began(), again.hashes().len()), (None, 0));
    store(&mut again, 3..10);
    drop(again);

    let mut plain = world.open();
    assert_eq!(plain.hashes(), (0..5).map(text).collect());
    assert_eq!(plain.remove(&|_| true).unwrap(), 5);
    store(&mut plain, 20..22);
    drop(plain);
    let marks = rebuys(&world.path()).unwrap();
    let mut again = rebuy(&world, NOW + 60);

    let mark = RebuyMark { space: space("a"), began: NOW, vectors: 7, build: None };
    assert_eq!(marks, [mark]);
    assert_eq!((again.rebuy_began(), again.hashes()), (Some(NOW), (3..10).map(text).collect()));
    assert_eq!(read(&mut again, 9).unwrap(), vector(9));
    assert!(again.end_rebuy().unwrap());
    assert_eq!(again.hashes(), (20..22).map(text).collect(), "from now on it is as any other");
    drop(again);
    assert_eq!(rebuys(&world.path()).unwrap(), []);
}

#[test]
fn a_rebuy_whose_build_is_served_has_ended_and_one_whose_is_not_goes_on() {
    for (build, expected) in [("served", 0), ("another", 7)] {
        let world = CacheFixture::new();
        let mut again = rebuy(&world, NOW);
        store(&mut again, 3..10);
        again.record_rebuy_build(build).unwrap();
        drop(again);

        assert_eq!(rebuy(&world, NOW).hashes().len(), expected, "{build}");
    }
    let world = CacheFixture::new();
    store(&mut rebuy(&world, NOW), 3..10);
    let (elsewhere, _) = Cache::open_rebuy(&world.path(), &space("a"), NOW, None, Some("elsewhere")).unwrap();
    assert_eq!(elsewhere.hashes().len(), 0, "vectors of two addresses are never one --rebuy's");
}

#[test]
fn a_rebuy_waits_for_seven_days_of_the_caches_age_and_is_dropped_with_a_warning() {
    for (days, expected) in [(7, 7), (8, 0)] {
        let world = CacheFixture::new();
        store(&mut rebuy(&world, NOW), 3..10);
        let mut warnings = Vec::new();
        for day in 1..=days {
            // A year at once is a day of the cache's age, and back again is none.
            for at in [NOW + 366 * DAY * day, NOW + 366 * DAY * day - 30 * DAY] {
                warnings.extend(Cache::open(&world.path(), &space("b"), at).unwrap().1);
            }
        }

        let left: u64 = rebuys(&world.path()).unwrap().iter().map(|mark| mark.vectors).sum();
        assert_eq!(left, expected, "{days} days: {warnings:?}");
        let warned = warnings.iter().any(|warning| warning.contains("its 7 vectors of local/a"));
        assert_eq!(warned, left == 0, "{warnings:?}");
    }
}

#[test]
fn a_mark_that_is_damaged_takes_its_vectors_with_it_and_no_others() {
    let world = CacheFixture::filled(5);
    store(&mut rebuy(&world, NOW), 3..10);
    let damaged = Connection::open(world.path()).unwrap();
    damaged.execute("UPDATE vector SET floats = x'7b7d' WHERE place < -1", []).unwrap();
    drop(damaged);

    assert_eq!(rebuys(&world.path()).unwrap(), []);
    assert_eq!(world.open().hashes().len(), 5);
    let mut again = rebuy(&world, NOW);
    assert_eq!((again.rebuy_began(), again.hashes().len()), (None, 0));
    store(&mut again, 3..4);
    assert_eq!(again.rebuy_began(), Some(NOW));
}
