//! Old builds: how many are kept, how long, and which are never removed.
//!
//! Also builds that were not needed: what `--full` and `--rebuy` cost, and that
//! the same rows give the same bits.

use std::os::unix::fs::MetadataExt;

use reindexd::domain::manifest::Manifest;

use crate::support::{MODEL, World};

#[test]
fn the_newest_three_builds_stay_and_older_ones_go_once_no_reader_can_be_there() {
    let world = World::with_people(6);
    let mut made = vec![world.build().text("build")];
    for rate in 1..=4 {
        world.let_the_grace_pass();
        made.push(changed(&world, rate));
    }

    assert_eq!(world.builds(), sorted(&made[2..]), "the newest three");
    assert_eq!(world.served().as_ref(), made.last());
    world.assert_proven();
}

#[test]
fn a_build_replaced_less_than_ten_minutes_ago_is_kept_with_the_newest_three() {
    let world = World::with_people(6);
    let mut made = vec![world.build().text("build")];
    made.extend((1..=4).map(|rate| changed(&world, rate)));

    assert_eq!(world.builds(), sorted(&made), "a reader may still be opening any of them");

    // Their grace is over, and the next pass removes them although it builds nothing.
    world.let_the_grace_pass();
    assert_eq!(world.build().text("outcome"), "unchanged");
    assert_eq!(world.builds(), sorted(&made[2..]));
}

#[test]
fn a_clock_that_jumps_takes_no_build_from_its_readers() {
    for days in [-400, 400] {
        let world = World::with_people(6);
        let mut made = vec![world.build().text("build")];
        made.extend((1..=4).map(|rate| changed(&world, rate)));

        // As if the time of day had jumped the other way; the other clock says the same as before.
        world.edit_promotions(|promotion| {
            let at: jiff::Timestamp = promotion["at"].as_str().unwrap().parse().unwrap();
            promotion["at"] = (at + jiff::SignedDuration::from_hours(24 * days)).to_string().into();
        });

        assert_eq!(world.build().text("outcome"), "unchanged");
        assert_eq!(world.builds(), sorted(&made), "{days} days: replaced a moment ago");
    }
}

#[test]
fn order_among_builds_is_their_sequence_and_not_their_names() {
    let world = World::with_people(6);
    world.build();
    let mut sequences = Vec::new();
    for rate in 1..=5 {
        world.let_the_grace_pass();
        let id = changed(&world, rate);
        // As if the clock had gone backwards: the newest build has the oldest name.
        let older = format!("2001010{rate}T000000Z-{}", &id[17..]);
        rename(&world, &id, &older);
        sequences.push(manifest(&world, &older)["sequence"].as_u64().unwrap());
    }

    assert!(sequences.is_sorted_by(|before, after| before + 1 == *after), "{sequences:?}");
    let kept: Vec<u64> =
        world.builds().iter().map(|id| manifest(&world, id)["sequence"].as_u64().unwrap()).collect();
    assert_eq!(kept, sequences[2..], "the newest by sequence");
    let listed = world.run(&["history", "--json"]).json();
    let listed: Vec<u64> = listed["builds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|build| build["sequence"].as_u64().unwrap())
        .collect();
    assert!(listed.is_sorted_by(|newer, older| newer > older), "newest first: {listed:?}");
}

#[test]
fn a_vector_that_only_the_oldest_kept_build_holds_is_taken_from_it_before_it_goes() {
    let world = World::with_people(6);
    let oldest = world.build().text("build");
    world.sql("DELETE FROM experts WHERE id = 6");
    for rate in 1..=2 {
        world.let_the_grace_pass();
        changed(&world, rate);
    }
    world.let_the_grace_pass();
    world.provider.forget();
    world.add_people([6]);

    let built = world.build();

    assert_eq!((built.number("embedded"), world.provider.request_count()), (0, 0), "{built:?}");
    assert!(!world.builds().contains(&oldest), "and it is removed now");
    world.assert_true(MODEL);
}

#[test]
fn a_vector_that_leaves_with_its_last_build_is_cached_until_its_row_comes_back() {
    let world = World::with_people(12);
    world.settings("[guard]\nmax_shrink = 1.0\n");
    // Two rows with the same text, and two that leave with another build.
    world.sql(
        "UPDATE experts SET username = 'twin', first_name = 'Twin', last_name = 'Twin' WHERE id IN (3, 4)",
    );
    world.sql("UPDATE experts SET bio = 'The same.', profile_url = NULL WHERE id IN (3, 4)");
    world.build();
    let texts = world.provider.text_count();
    for (step, ids) in [(1, "3, 4, 5"), (2, "6, 7"), (3, "0"), (4, "0"), (5, "0"), (6, "0")] {
        world.let_the_grace_pass();
        world.sql(&format!("UPDATE experts SET category = tags, tags = NULL WHERE id IN ({ids})"));
        changed(&world, step);
    }
    assert_eq!(world.builds().len(), 3, "none of them has the rows");
    assert_eq!(world.provider.text_count(), texts);

    world.sql("UPDATE experts SET tags = category WHERE tags IS NULL");
    let back = world.build();

    assert_eq!((back.number("records"), back.number("embedded")), (12, 0), "{back:?}");
    assert_eq!(world.provider.text_count(), texts, "nothing is paid for twice");
    world.assert_proven();
}

#[test]
fn vectors_of_another_space_leave_with_their_builds() {
    let world = World::with_people(6);
    world.build();
    for step in 1..=4 {
        world.let_the_grace_pass();
        world.sql(&format!("UPDATE experts SET hourly_rate = {step} WHERE id = 2"));
        let built = crate::support::run(
            world.command(&["build", "--json", "--accept-space"]).env("OUTPUT_DIM", "16"),
        );
        assert_eq!(built.code, 0, "{built:?}");
    }

    let cache = rusqlite::Connection::open(world.path("data/.reindexd/embeddings.sqlite")).unwrap();
    let cached: u64 = cache.query_row("SELECT count(*) FROM entry", [], |row| row.get(0)).unwrap();
    assert_eq!((world.builds().len(), cached), (3, 0));
}

#[test]
fn a_pass_that_fails_takes_no_build_away() {
    let world = World::with_people(6);
    let mut made = vec![world.build().text("build")];
    for rate in 1..=2 {
        world.let_the_grace_pass();
        made.push(changed(&world, rate));
    }
    world.let_the_grace_pass();
    world.provider.always(Some(crate::support::provider::Fault::Forbidden));
    world.add_people([7]);

    let failed = world.run(&["build", "--json"]);

    assert_eq!((failed.code, failed.text("outcome").as_str()), (1, "failed"), "{failed:?}");
    assert_eq!(world.builds(), sorted(&made));
}

#[test]
fn the_build_before_the_served_one_and_both_ends_of_a_hold_are_never_collected() {
    let world = World::with_people(6);
    world.settings("[publish]\nkeep = 2\n");
    let oldest = world.build().text("build");
    let mut made = vec![oldest.clone()];
    made.extend((1..=3).map(|rate| changed(&world, rate)));
    // Two builds lie between the ends of this hold, and no rule keeps them.
    let rolled_back = world.run(&["rollback", &oldest, "--json"]);
    assert_eq!(rolled_back.code, 0, "{rolled_back:?}");
    world.let_the_grace_pass();
    let agent = world.agent_with("quiet = \"200ms\"\nmarker_quiet = \"50ms\"\n[publish]\nkeep = 2\n");
    agent.wait_for_log("held");
    agent.stop();

    assert_eq!(world.builds(), sorted(&[made[0].clone(), made[2].clone(), made[3].clone()]));
    assert_eq!(world.served(), Some(oldest.clone()));

    // The hold ends: what is served now was built long before the newest two.
    let newest = changed(&world, 9);
    world.let_the_grace_pass();
    assert_eq!(world.build().text("outcome"), "unchanged");
    assert_eq!(world.builds(), sorted(&[oldest, made[3].clone(), newest]), "the one served before stays");
}

#[test]
fn a_build_that_cannot_be_read_is_collected_like_an_old_one() {
    let world = World::with_people(6);
    let damaged = world.build().text("build");
    changed(&world, 1);
    changed(&world, 2);
    let manifest = world.path("data/builds").join(&damaged).join("manifest.json");
    std::fs::remove_file(&manifest).unwrap();
    std::fs::write(&manifest, "{").unwrap();
    world.let_the_grace_pass();

    changed(&world, 3);

    assert!(!world.builds().contains(&damaged), "{:?}", world.builds());
    world.assert_proven();
}

#[test]
fn a_full_build_of_the_same_rows_has_the_same_bits_and_costs_nothing() {
    let world = World::with_people(20);
    let first = world.build().text("build");
    let before = files(&world);
    world.provider.forget();

    let full = world.run(&["build", "--full", "--json"]);

    assert_eq!((full.code, full.text("outcome").as_str()), (0, "promoted"), "{full:?}");
    assert_ne!(full.text("build"), first);
    assert_eq!((full.number("kept"), full.number("metadata_only"), full.number("requests")), (20, 0, 0));
    assert_eq!(world.provider.request_count(), 0);
    assert_eq!(files(&world), before);
    let old = world.path("data/builds").join(&first).join("faiss.index");
    assert_ne!(inode(&old), inode(&world.path("data/faiss.index")), "a new file");
    assert_eq!(world.build().text("outcome"), "unchanged");
}

#[test]
fn rebuy_embeds_every_text_again_and_the_same_answers_give_the_same_bits() {
    let world = World::with_people(20);
    world.provider.excuse_money("--rebuy embeds again");
    world.build();
    let before = files(&world);
    world.provider.forget();

    let rebuilt = world.run(&["build", "--rebuy", "--json"]);

    assert_eq!((rebuilt.code, rebuilt.text("outcome").as_str()), (0, "promoted"), "{rebuilt:?}");
    assert_eq!((rebuilt.number("embedded"), rebuilt.number("kept")), (20, 0));
    assert_eq!(world.provider.text_count(), 20);
    assert_eq!(files(&world), before);
    world.provider.forget();
    assert_eq!(world.build().text("outcome"), "unchanged");
    assert_eq!(world.provider.request_count(), 0, "the next build embeds nothing");
}

#[test]
fn vectors_of_a_damaged_index_are_reused_from_elsewhere_or_embedded_again() {
    let world = World::with_people(20);
    world.provider.excuse_money("the only vectors are damaged");
    let first = world.build().text("build");
    let second = changed(&world, 1);
    let spoil = |id: &str| {
        let path = world.path("data/builds").join(id).join("faiss.index");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    };
    world.provider.forget();

    spoil(&second);
    let from_the_first = changed(&world, 2);
    assert_eq!(world.provider.request_count(), 0, "the first build has the same vectors");
    world.assert_true(MODEL);
    for id in [first, from_the_first] {
        spoil(&id);
    }
    changed(&world, 3);

    assert_eq!(world.provider.text_count(), 20, "no intact copy was left");
    world.assert_true(MODEL);
    world.assert_proven();
}

/// Changes every rate and builds; returns the id of the new build.
#[track_caller]
fn changed(world: &World, rate: u32) -> String {
    world.sql(&format!("UPDATE experts SET hourly_rate = {rate}"));
    let built = world.build();
    assert_eq!(built.text("outcome"), "promoted", "{built:?}");
    built.text("build")
}

fn sorted(ids: &[String]) -> Vec<String> {
    let mut ids = ids.to_vec();
    ids.sort();
    ids
}

/// Changes the id of a served build, everywhere.
fn rename(world: &World, from: &str, to: &str) {
    let builds = world.path("data/builds");
    std::fs::rename(builds.join(from), builds.join(to)).unwrap();
    let current = world.path("data/current");
    std::fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink(format!("builds/{to}"), current).unwrap();
    let path = builds.join(to).join("manifest.json");
    let manifest = Manifest::parse(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(path, Manifest { id: to.to_owned(), ..manifest }.print()).unwrap();
    for path in [world.path("data/.reindexd/state.json"), world.path("data/served.json")] {
        let text = std::fs::read_to_string(&path).unwrap().replace(from, to);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn manifest(world: &World, id: &str) -> serde_json::Value {
    let path = world.path("data/builds").join(id).join("manifest.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn files(world: &World) -> [Vec<u8>; 3] {
    ["faiss.index", "metadata.json", "current/hashes.bin"].map(|name| world.published(name))
}

fn inode(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}
