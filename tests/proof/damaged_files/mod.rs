//! Hostile input: everything that the program reads, damaged in every way a file can be.
//!
//! Whatever it finds, no command panics, waits for ever, takes memory by what a
//! file claims, or writes outside the data folder; what is wrong is named; and
//! as soon as the obstacle is gone, or at once where the damage can be repaired
//! from the database, the served build is right again, for no more money than
//! what was lost costs.

mod bounded_run;
mod damage;
mod fixture;
mod settings;
mod unreadable;

use std::time::Duration;

use crate::support::{MODEL, Ran, World};
use crate::{report, sampling};
use bounded_run::{assert_named, bounded, peak_kib};
use damage::Damage;
use fixture::{Fixture, PEOPLE, Target};

/// Commands that look, and one that tidies.
const READ_ONLY_COMMANDS: [&[&str]; 6] = [
    &["status", "--json"],
    &["verify", "--json"],
    &["plan", "--json"],
    &["history", "--json"],
    &["search", "question", "--json"],
    &["sweep", "--json"],
];

#[test]
fn a_served_build_damaged_in_any_way_is_noticed_named_and_replaced() {
    let place = Fixture::behind().keep();
    let [before, served] = place.builds.clone();
    let told = every_case(&place, Target::of_build(&served, &before, 1), 24, |verified, damage, what| {
        let expected = i32::from(!damage.is_seen_through());
        assert_eq!(verified.code, expected, "{what}: {verified:?}");
    });
    report::report_line("hostile", &format!("the served build's files: {told}"));
}

#[test]
fn a_kept_build_damaged_in_any_way_costs_nothing_and_is_not_served() {
    let place = Fixture::behind().keep();
    let [before, served] = place.builds.clone();
    let told = every_case(&place, Target::of_build(&before, &served, 0), 8, assert_whole);
    report::report_line("hostile", &format!("a kept build's files: {told}"));
}

#[test]
fn notes_locks_and_names_damaged_in_any_way_take_nothing_from_what_is_served() {
    let place = Fixture::behind().keep();
    let told = every_case(&place, Target::notes_and_names(), 24, |_, _, _| {});
    report::report_line("hostile", &format!("notes, locks, marker and names: {told}"));
}

#[test]
fn a_cache_damaged_in_any_way_costs_no_more_than_it_held() {
    let place = Fixture::behind().keep();
    let told = every_case(&place, Target::of_cache(), 12, assert_whole);
    report::report_line("hostile", &format!("the cache: {told}"));
}

#[test]
fn a_database_damaged_in_any_way_leaves_what_is_served() {
    let place = Fixture::behind().keep();
    let told = every_case(&place, Target::of_database(), 16, assert_whole);
    report::report_line("hostile", &format!("the database: {told}"));
}

#[test]
fn replaced_directories_are_refused_and_never_written_through() {
    let place = Fixture::behind().keep();
    let targets = Target::directories(&place.builds[1]);
    let told = every_case(&place, targets, 8, |_, _, _| {});
    report::report_line("hostile", &format!("our directories: {told}"));
}

#[test]
fn damaged_files_of_ingest_py_are_adopted_or_refused_and_replaced() {
    let place = Fixture::plain().keep();
    let told = every_case(&place, Target::plain(), 6, |_, _, _| {});
    report::report_line("hostile", &format!("the plain files of ingest.py: {told}"));
}

fn assert_whole(verified: &Ran, _: Damage, what: &str) {
    assert_eq!(verified.code, 0, "{what}: {verified:?}");
}

/// Puts every case to every command; the gate no more than `most` of them.
fn every_case(
    place: &Fixture,
    targets: Vec<Target>,
    most: usize,
    verified: impl Fn(&Ran, Damage, &str),
) -> String {
    let mut cases = place.cases(targets);
    // What is adopted is copied, however long it is: another test's matter, on a disk that may fill.
    cases.retain(|(_, damage)| place.served || !damage.is_long());
    let cases = sampling::thinned(cases, most);
    let mut refused = 0;
    let mut failed = Vec::new();
    for (target, damage) in &cases {
        let one = std::panic::AssertUnwindSafe(|| one_case(place, target, *damage, &verified));
        match std::panic::catch_unwind(one) {
            Ok(at_once) => refused += usize::from(!at_once),
            Err(_) => failed.push(format!("{} {damage:?}", target.at.display())),
        }
    }
    assert!(failed.is_empty(), "of {} cases, told above one by one: {failed:#?}", cases.len());
    let (count, runs) = (cases.len(), cases.len() * (READ_ONLY_COMMANDS.len() + 4));
    format!(
        "{count} cases, {runs} commands; {} cured at once, {refused} refused until mended",
        count - refused
    )
}

/// One thing damaged in one way, before every command; true where a build cures it at once.
fn one_case(place: &Fixture, target: &Target, damage: Damage, verified: &dyn Fn(&Ran, Damage, &str)) -> bool {
    let what = format!("{} {damage:?}", target.at.display());
    place.damaged(target, damage, &what, || {
        for look in READ_ONLY_COMMANDS {
            let ran = bounded(&place.world, look, &what);
            if look[0] == "verify" {
                verified(&ran, damage, &what);
            }
            if ran.code != 0 {
                assert_named(&ran, &target.names, &what);
            }
        }
        bounded(&place.world, &["rollback", "--json"], &what);
    });
    place.damaged(target, damage, &what, || converges(place, target, &what))
}

/// A build must serve the table, or say what is in its way and serve the table when that is gone; true if at once.
fn converges(place: &Fixture, target: &Target, what: &str) -> bool {
    let world = &place.world;
    let first = bounded(world, &["build", "--json"], what);
    if first.code != 0 {
        assert_named(&first, &target.names, what);
        place.restore_target(target);
    }
    let last = bounded(world, &["build", "--full", "--accept-shrink", "--json"], what);
    assert_eq!(last.code, 0, "{what}: {last:?}");
    let proven = bounded(world, &["verify", "--json"], what);
    assert_eq!(proven.code, 0, "{what}: {proven:?}");
    // A table that can be read though it is damaged says something else, and that is served until it is mended.
    if target.dearer != usize::MAX {
        assert_served(world, place.people, what);
        let (bought, most) = (world.provider.text_count(), place.new + target.dearer);
        assert!(bought <= most, "{what}: {bought} texts were bought, {most} at most were lost");
    }
    assert_eq!(world.staging(), Vec::<std::path::PathBuf>::new(), "{what}");
    first.code == 0
}

/// What the two old names lead to is what the table has.
#[track_caller]
fn assert_served(world: &World, people: u32, what: &str) {
    let ids: Vec<_> = world.records().iter().map(|record| record["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=u64::from(people)).collect::<Vec<_>>(), "{what}");
    world.assert_true(MODEL);
}

#[test]
fn a_touched_marker_has_every_damaged_file_of_the_served_build_replaced() {
    let place = Fixture::settled();
    let world = &place.world;
    let agent = world.agent();
    let names = ["faiss.index", "metadata.json", "hashes.bin", "manifest.json"];
    let count = sampling::pick(4, usize::MAX);
    let (mut cases, mut slowest) = (0, Duration::ZERO);
    for name in names {
        let of_served = |name: &str| {
            let served = world.served().unwrap();
            let other = world.builds().into_iter().find(|build| *build != served).unwrap();
            let targets = Target::of_build(&served, &other, 0);
            targets.into_iter().find(|target| target.at.ends_with(name)).unwrap()
        };
        let damages = Damage::all_to(&place.path(&of_served(name)));
        let damages = damages.into_iter().filter(|damage| !damage.is_seen_through());
        for damage in sampling::thinned(damages.collect(), count) {
            let (what, served) = (format!("{name} {damage:?}"), world.served());
            place.damage(&of_served(name), damage);
            let began = std::time::Instant::now();

            std::fs::write(world.path("data/tagging-complete"), &what).unwrap();
            agent.wait_for(&what, || world.served() != served);

            slowest = slowest.max(began.elapsed());
            agent.wait_for(&what, || world.run(&["verify", "--json"]).code == 0);
            assert_served(world, PEOPLE[1], &what);
            world.let_the_grace_pass();
            cases += 1;
        }
    }
    let peak = peak_kib(agent.pid());
    assert!(peak < bounded_run::MAX_KIB / 4, "the agent took {peak} KiB");
    agent.stop();
    let (slowest, peak) = (slowest.as_millis(), peak >> 10);
    report::report_line(
        "hostile",
        &format!(
            "{cases} damages found by the marker's full check and cured, the slowest within {slowest} ms; the agent's peak {peak} MiB"
        ),
    );
}
