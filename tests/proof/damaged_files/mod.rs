//! Damaged files: everything that the program reads, damaged in every way a file can be.
//!
//! No command panics, waits without limit, allocates what a damaged file claims,
//! or writes outside the data folder; the message names the file. When the file
//! is restored, or at once where the damage can be repaired from the database,
//! the served build is right again, and only lost vectors are embedded again.

mod bounded_run;
mod damage;
mod fixture;
mod settings;
mod unreadable;

use std::time::Duration;

use rustix::process::Signal;

use crate::support::agent::Agent;
use crate::support::{MODEL, Ran, World};
use crate::{report, sampling};
use bounded_run::{assert_named, bounded, peak_kib};
use damage::Damage;
use fixture::{Fixture, PEOPLE, Target};

/// The commands that only read, and `sweep`.
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
    let fixture = Fixture::behind().keep();
    let [before, served] = fixture.builds.clone();
    let result = every_case(&fixture, Target::of_build(&served, &before, 1), 24, |verified, what| {
        assert_eq!(verified.code, 1, "{what}: {verified:?}");
    });
    report::report_line("damaged_files", &format!("the served build's files: {result}"));
}

#[test]
fn a_kept_build_damaged_in_any_way_costs_nothing_and_is_not_served() {
    let fixture = Fixture::behind().keep();
    let [before, served] = fixture.builds.clone();
    let result = every_case(&fixture, Target::of_build(&before, &served, 0), 8, assert_whole);
    report::report_line("damaged_files", &format!("a kept build's files: {result}"));
}

#[test]
fn notes_locks_and_names_damaged_in_any_way_take_nothing_from_what_is_served() {
    let fixture = Fixture::behind().keep();
    let result = every_case(&fixture, Target::notes_and_names(), 24, |_, _| {});
    report::report_line("damaged_files", &format!("notes, locks, marker and names: {result}"));
}

#[test]
fn a_cache_damaged_in_any_way_costs_no_more_than_it_held() {
    let fixture = Fixture::behind().keep();
    let result = every_case(&fixture, Target::of_cache(), 12, assert_whole);
    report::report_line("damaged_files", &format!("the cache: {result}"));
}

#[test]
fn a_database_damaged_in_any_way_leaves_what_is_served() {
    let fixture = Fixture::behind().keep();
    let result = every_case(&fixture, Target::of_database(), 16, assert_whole);
    report::report_line("damaged_files", &format!("the database: {result}"));
}

#[test]
fn replaced_directories_are_refused_and_never_written_through() {
    let fixture = Fixture::behind().keep();
    let targets = Target::directories(&fixture.builds[1]);
    let result = every_case(&fixture, targets, 8, |_, _| {});
    report::report_line("damaged_files", &format!("our directories: {result}"));
}

#[test]
fn damaged_files_of_ingest_py_are_adopted_or_refused_and_replaced() {
    let fixture = Fixture::plain().keep();
    let result = every_case(&fixture, Target::plain(), 6, |_, _| {});
    report::report_line("damaged_files", &format!("the plain files of ingest.py: {result}"));
}

fn assert_whole(verified: &Ran, what: &str) {
    assert_eq!(verified.code, 0, "{what}: {verified:?}");
}

/// Runs every command on every case; in the gate on at most `max` of them.
fn every_case(fixture: &Fixture, targets: Vec<Target>, max: usize, verified: impl Fn(&Ran, &str)) -> String {
    let mut cases = fixture.cases(targets);
    // Adoption copies files of any length: tested elsewhere, on a disk that may fill.
    cases.retain(|(_, damage)| fixture.served || !damage.is_long());
    let cases = sampling::thinned(cases, max);
    let mut refused = 0;
    let mut failed = Vec::new();
    for (target, damage) in &cases {
        let one = std::panic::AssertUnwindSafe(|| one_case(fixture, target, *damage, &verified));
        match std::panic::catch_unwind(one) {
            Ok(at_once) => refused += usize::from(!at_once),
            Err(_) => failed.push(format!("{} {damage:?}", target.at.display())),
        }
    }
    assert!(failed.is_empty(), "of {} cases, each reported above: {failed:#?}", cases.len());
    let (count, runs) = (cases.len(), cases.len() * (READ_ONLY_COMMANDS.len() + 4));
    format!(
        "{count} cases, {runs} commands; {} repaired at once, {refused} refused until the file was restored",
        count - refused
    )
}

/// Damages one file in one way before every command; true where a build repairs it at once.
fn one_case(fixture: &Fixture, target: &Target, damage: Damage, verified: &dyn Fn(&Ran, &str)) -> bool {
    let what = format!("{} {damage:?}", target.at.display());
    fixture.damaged(target, damage, &what, || {
        for command in READ_ONLY_COMMANDS {
            let ran = bounded(&fixture.world, command, &what);
            if command[0] == "verify" {
                verified(&ran, &what);
            }
            if ran.code != 0 {
                assert_named(&ran, &target.names, &what);
            }
        }
        bounded(&fixture.world, &["rollback", "--json"], &what);
    });
    fixture.damaged(target, damage, &what, || converges(fixture, target, &what))
}

/// A build must serve the table, or name the file and serve the table after its restoration; true if at once.
fn converges(fixture: &Fixture, target: &Target, what: &str) -> bool {
    let world = &fixture.world;
    let first = bounded(world, &["build", "--json"], what);
    if first.code != 0 {
        assert_named(&first, &target.names, what);
        fixture.restore_target(target);
    }
    let last = bounded(world, &["build", "--full", "--accept-shrink", "--json"], what);
    assert_eq!(last.code, 0, "{what}: {last:?}");
    let proven = bounded(world, &["verify", "--json"], what);
    assert_eq!(proven.code, 0, "{what}: {proven:?}");
    // A damaged table that can still be read has other content, which is served until it is restored.
    if target.lost != usize::MAX {
        assert_served(world, fixture.people, what);
        let (embedded, max) = (world.provider.text_count(), fixture.new + target.lost);
        assert!(embedded <= max, "{what}: {embedded} texts were embedded, at most {max} were lost");
    }
    assert_eq!(world.staging(), Vec::<std::path::PathBuf>::new(), "{what}");
    first.code == 0
}

/// What cannot be read is not known to be damaged: it is refused by name, costs nothing, and is whole again.
fn refuses_what_cannot_be_read(
    fixture: &Fixture,
    agent: &Agent,
    target: &Target,
    damage: Damage,
    what: &str,
) {
    let (world, path) = (&fixture.world, fixture.path(target));
    let (whole, mode) = (std::fs::read(&path).unwrap(), path.metadata().unwrap().permissions());
    let (served, failures, ends) =
        (world.served(), agent.logged("outcome=failed"), agent.logged("outcome=unchanged"));
    world.provider.forget();
    fixture.damage(target, damage);

    std::fs::write(world.path("data/tagging-complete"), what).unwrap();
    agent.wait_for(what, || agent.logged("outcome=failed") > failures);

    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(agent.log().contains(&name) && !agent.log().contains("panicked"), "{what}: {}", agent.log());
    assert_eq!((world.served(), world.provider.text_count()), (served, 0), "{what}");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, whole).unwrap();
    std::fs::set_permissions(&path, mode).unwrap();
    agent.signal(Signal::USR1);
    agent.wait_for(what, || agent.logged("outcome=unchanged") > ends);
}

/// The two old names lead to the content of the table.
#[track_caller]
fn assert_served(world: &World, people: u32, what: &str) {
    let ids: Vec<_> = world.records().iter().map(|record| record["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=u64::from(people)).collect::<Vec<_>>(), "{what}");
    world.assert_true(MODEL);
}

#[test]
fn a_touched_marker_has_every_damaged_file_of_the_served_build_replaced() {
    let fixture = Fixture::settled();
    let world = &fixture.world;
    let agent = world.agent();
    let names = ["faiss.index", "metadata.json", "hashes.bin", "manifest.json"];
    let count = sampling::pick(4, usize::MAX);
    let (mut cases, mut unreadable, mut slowest) = (0, 0, Duration::ZERO);
    for name in names {
        let of_served = |name: &str| {
            let served = world.served().unwrap();
            let other = world.builds().into_iter().find(|build| *build != served).unwrap();
            let targets = Target::of_build(&served, &other, 0);
            targets.into_iter().find(|target| target.at.ends_with(name)).unwrap()
        };
        let damages = Damage::all_to(&fixture.path(&of_served(name)));
        for damage in sampling::thinned(damages, count) {
            world.provider.begin_life();
            let (what, served) = (format!("{name} {damage:?}"), world.served());
            if damage.is_unreadable() {
                refuses_what_cannot_be_read(&fixture, &agent, &of_served(name), damage, &what);
                unreadable += 1;
                continue;
            }
            fixture.damage(&of_served(name), damage);
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
    assert!(peak < bounded_run::MAX_KIB / 4, "the agent used {peak} KiB");
    agent.stop();
    let (slowest, peak) = (slowest.as_millis(), peak >> 10);
    report::report_line(
        "damaged_files",
        &format!(
            "{cases} damages found by the marker's full check and repaired, the slowest within {slowest} ms, {unreadable} \
             files that could not be read left as they were; the agent's peak {peak} MiB"
        ),
    );
}
