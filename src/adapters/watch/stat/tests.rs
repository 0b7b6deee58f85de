//! Stamps of real files, and when they can be trusted.

use super::*;

#[expect(clippy::unnecessary_wraps, reason = "any stamp may be missing")]
fn at(ns: i64) -> Option<FileStamp> {
    Some(FileStamp { inode: 7, size: 8, mtime_ns: ns, ctime_ns: ns })
}

#[test]
fn equal_stamps_are_trusted_only_where_the_files_had_settled() {
    let now = UNIX_EPOCH + Duration::from_secs(1000);
    let second = 1_000_000_000;
    let table = [
        ("no file", [None, None], true),
        ("long unchanged", [at(900 * second), None], true),
        ("unchanged for just long enough", [at(997 * second), None], true),
        ("just written", [at(998 * second), None], false),
        ("the log just written", [at(0), at(999 * second)], false),
        ("the clock was set back by a second", [at(1001 * second), None], false),
        ("the clock was set back by far", [at(2000 * second), None], true),
    ];
    for (what, stamps, expected) in table {
        assert_eq!(is_settled(&stamps, now), expected, "{what}");
    }
    assert!(!is_settled(&[at(0)], UNIX_EPOCH - Duration::from_secs(1)), "a clock before 1970");
}

#[test]
fn an_unsettled_source_counts_as_changed_though_its_stamps_are_equal() {
    let settled = FileStamps { source: [at(1), None], source_settled: true, marker: None, links: vec![] };
    let unsettled = FileStamps { source_settled: false, ..settled.clone() };
    let other = FileStamps { source: [at(2), None], ..settled.clone() };
    assert!(!settled.source_differs(&settled));
    assert!(settled.source_differs(&unsettled));
    assert!(other.source_differs(&settled));
}

#[test]
fn every_way_to_change_a_file_changes_its_stamp_and_reading_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("experts.db");
    assert_eq!(stamp_of(&path), None);
    fs::write(&path, "one").unwrap();
    let written = stamp_of(&path).unwrap();
    fs::read(&path).unwrap();
    assert_eq!(stamp_of(&path), Some(written), "read");
    fs::write(dir.path().join("new"), "one").unwrap();
    fs::rename(dir.path().join("new"), &path).unwrap();
    let replaced = stamp_of(&path).unwrap();
    assert_ne!(replaced.inode, written.inode, "replaced");
    fs::File::open(&path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(5)).unwrap();
    assert_eq!(stamp_of(&path).unwrap().mtime_ns, 5_000_000_000, "touched");
}

#[test]
fn the_log_is_searched_next_to_the_file_that_a_link_leads_to() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    fs::create_dir(&real).unwrap();
    fs::write(real.join("experts.db"), "x").unwrap();
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink("real/experts.db", &link).unwrap();
    assert_eq!(source(&link)[1], None);
    fs::write(real.join("experts.db-wal"), "").unwrap();
    assert_eq!(source(&link)[1], None, "an empty log is none");
    fs::write(real.join("experts.db-wal"), "frames").unwrap();
    let log = source(&link)[1].unwrap();
    let (log_file, times) = (real.join("experts.db-wal"), fs::FileTimes::new());
    let is_given_away = || {
        let before = stamp_of(&log_file).unwrap().ctime_ns;
        fs::File::open(&log_file).unwrap().set_times(times.set_accessed(SystemTime::now())).unwrap();
        stamp_of(&log_file).unwrap().ctime_ns != before
    };
    while !is_given_away() {}
    assert_eq!(source(&link)[1], Some(log), "a log that was not written");
}

#[test]
fn a_link_has_a_stamp_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let tracked = TrackedFiles { database: dir.path().join("db"), links: vec![dir.path().join("current")] };
    std::os::unix::fs::symlink("builds/one", &tracked.links[0]).unwrap();
    let before = tracked.stat(&dir.path().join("marker"));
    std::os::unix::fs::symlink("builds/two", dir.path().join("new")).unwrap();
    fs::rename(dir.path().join("new"), &tracked.links[0]).unwrap();
    let after = tracked.stat(&dir.path().join("marker"));
    assert_ne!(before.links, after.links);
    assert_eq!((before.marker, before.source), (None, [None, None]));
}
