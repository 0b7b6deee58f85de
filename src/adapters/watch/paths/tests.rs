//! Which directories and names of a real tree are watched.

use super::*;
use std::os::unix::fs::symlink;

#[test]
fn a_database_behind_links_is_watched_at_every_step() {
    let temp = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(temp.path()).unwrap();
    for dir in ["data", "mnt/volume", "releases"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    symlink("../releases/now.db", root.join("data/experts.db")).unwrap();
    symlink(root.join("mnt/volume/real.db"), root.join("releases/now.db")).unwrap();

    let paths = WatchedPaths::of(&root.join("data/experts.db"), &root.join("data/marker"));

    let step = Some(WatchedName { file: WatchedFile::Database, is_step: true });
    let side_file = Some(WatchedName { file: WatchedFile::Database, is_step: false });
    let table = [
        ("data/experts.db", step),
        ("releases/now.db", step),
        ("mnt/volume/real.db", step),
        ("mnt/volume/real.db-wal", side_file),
        ("mnt/volume/real.db-journal", side_file),
        ("mnt/volume/real.db-shm", None),
        ("mnt/volume/other.db", None),
        ("data/marker", Some(WatchedName { file: WatchedFile::Marker, is_step: true })),
        ("data/marker-wal", None),
    ];
    for (path, expected) in table {
        assert_eq!(paths.find(&root.join(path)), expected, "{path}");
    }
    assert_eq!(paths.iter().count(), 3);
    assert!(paths.is_dir(&root.join("releases")));
}

#[test]
fn a_directory_reached_by_two_paths_is_watched_once() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("data")).unwrap();
    symlink("data", temp.path().join("alias")).unwrap();
    let paths = WatchedPaths::of(&temp.path().join("data/db"), &temp.path().join("alias/marker"));
    assert_eq!(paths.iter().count(), 1);
}

#[test]
fn a_missing_directory_is_not_watched_and_a_circle_of_links_ends() {
    let temp = tempfile::tempdir().unwrap();
    symlink("b", temp.path().join("a")).unwrap();
    symlink("a", temp.path().join("b")).unwrap();
    let paths = WatchedPaths::of(&temp.path().join("a"), &temp.path().join("gone/marker"));
    assert_eq!(paths.iter().count(), 1);
    assert!(paths.missing().eq([temp.path().join("gone")]));
}

#[test]
fn a_recreated_directory_is_another_directory() {
    let temp = tempfile::tempdir().unwrap();
    let (data, moved) = (temp.path().join("data"), temp.path().join("moved"));
    fs::create_dir(&data).unwrap();
    let of = || WatchedPaths::of(&data.join("db"), &data.join("marker"));
    let before = of();
    assert_eq!(of(), before);
    fs::rename(&data, &moved).unwrap();
    fs::create_dir(&data).unwrap();
    assert_ne!(of(), before);
}
