//! Files without read permission: named, and nothing is lost when the permission is back.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

use super::bounded_run::{assert_named, checked_as};
use super::fixture::{Fixture, Target};
use super::{READ_ONLY_COMMANDS, assert_served};
use crate::support::World;
use crate::{report, sampling};

/// A user whom modes restrict, if the tests run as root.
const UNPRIVILEGED_UID: u32 = 65_534;

#[test]
fn what_may_not_be_read_is_named_and_nothing_is_lost_by_it() {
    let fixture = Fixture::behind();
    let world = &fixture.world;
    give_away(&world.path("data"));
    set_permissions(world.path(""), Permissions::from_mode(0o755)).unwrap();
    let fixture = fixture.keep();
    let world = &fixture.world;
    let [before, served] = &fixture.builds;
    let files = [
        Target::of_build(served, before, 1),
        Target::of_build(before, served, 0),
        Target::notes_and_names(),
        Target::of_cache(),
        Target::of_database(),
        Target::directories(served),
    ];
    let exists =
        |target: &Target| fixture.path(target).symlink_metadata().is_ok_and(|meta| !meta.is_symlink());
    let targets: Vec<Target> = files.into_iter().flatten().filter(exists).collect();
    let (mut commands, mut refused) = (0, 0);
    let targets = sampling::thinned(targets, 6);
    for target in &targets {
        let what = format!("{} unreadable", target.at.display());
        fixture.restore();
        let path = fixture.path(target);
        let mode = path.metadata().unwrap().permissions();
        set_permissions(&path, Permissions::from_mode(0o0)).unwrap();

        for arguments in READ_ONLY_COMMANDS.iter().chain([&["build", "--json"].as_slice()]) {
            let ran = ask(world, arguments, &what);
            commands += 1;
            if ran.code != 0 {
                // What is below `builds` is reached through `current`.
                let names = [&target.names[..], &["data/current/".to_owned()]].concat();
                assert_named(&ran, &names, &what);
                refused += 1;
            }
        }
        if path.exists() {
            set_permissions(&path, mode).unwrap();
        }

        let built = ask(world, &["build", "--full", "--json"], &what);
        assert_eq!(built.code, 0, "{what}: {built:?}");
        let verified = ask(world, &["verify", "--json"], &what);
        assert_eq!(verified.code, 0, "{what}: {verified:?}");
        assert_served(world, fixture.people, &what);
    }
    let count = targets.len();
    report::report_line(
        "damaged_files",
        &format!("unreadable: {count} files, {refused} of {commands} commands refused by name"),
    );
}

fn ask(world: &World, arguments: &[&str], what: &str) -> crate::support::Ran {
    let user = rustix::process::geteuid().is_root().then_some(UNPRIVILEGED_UID);
    checked_as(user, &world.command(arguments), what)
}

/// Gives a tree to [`UNPRIVILEGED_UID`], if the tests run as root.
fn give_away(path: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    lchown(path, Some(UNPRIVILEGED_UID), Some(UNPRIVILEGED_UID)).unwrap();
    let meta = path.symlink_metadata().unwrap();
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
}
