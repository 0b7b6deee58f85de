//! A table whose content is served already: a pass costs no request and writes nothing.

use crate::support::World;

#[test]
fn a_table_that_did_not_change_costs_no_request_and_no_write() {
    let world = World::with_people(30);
    let first = world.build();
    world.provider.forget();
    let before = tree(&world);

    let second = world.build();

    assert_eq!(second.text("outcome"), "unchanged");
    assert_eq!(second.text("build"), first.text("build"));
    assert_eq!(second.number("kept"), 30);
    assert_eq!(world.provider.request_count(), 0);
    assert_eq!(tree(&world), before, "nothing below data/ was written");
}

#[test]
fn raw_values_that_make_the_same_records_are_remembered_and_not_built() {
    let world = World::with_people(3);
    let first = world.build();
    // Other bytes in the column, the same tags.
    world.sql("UPDATE experts SET tags = '[\"tag\",\"other\"]' WHERE id = 2");

    let second = world.build();
    let before = tree(&world);
    let third = world.build();

    assert_eq!((second.text("outcome"), second.text("build")), ("unchanged".to_owned(), first.text("build")));
    assert_eq!(third.text("outcome"), "unchanged");
    assert_eq!(tree(&world), before, "the third pass knows the scan hash and writes nothing");
}

/// Path, size and time of last change of everything below `data/` except the database; of the lock the
/// time says when a pass last ended well, which is not a write of content.
fn tree(world: &World) -> Vec<(String, u64, i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    let mut folders = vec![world.path("data")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            if meta.is_dir() {
                folders.push(path.clone());
            }
            if path.starts_with(world.path("data/experts.db")) {
                continue;
            }
            // The lock, and the note of who holds it, are written in place.
            let is_lock =
                ["lock", "lock.host"].iter().any(|name| path.ends_with(format!(".reindexd/{name}")));
            let changed = if is_lock { (0, 0) } else { (meta.ctime(), meta.ctime_nsec()) };
            found.push((path.display().to_string(), meta.len(), changed.0, changed.1));
        }
    }
    found.sort();
    found
}
