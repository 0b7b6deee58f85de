//! kill -9 at any point: the old build or the new one is served whole, and the next start removes what
//! the killed process had not finished.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::support::agent::Agent;
use crate::support::{Ran, SOON, World, not_run, run};

const KILLED: i32 = 137;

#[test]
fn kill_while_embedding_repeats_only_unanswered_requests() {
    for command in ["run", "build"] {
        let world = World::with_people(50);
        world.settings("[embedding]\nbatch_size = 10\nconcurrency = 1\n");
        world.provider.hold_after(3);
        let mut running = Agent::start(&mut world.command(&[command]));
        // The fourth request is sent only when the vectors of the third are in the cache.
        assert!(world.provider.wait_for_requests(4, SOON), "{}", running.log());

        running.signal(Signal::KILL);
        assert_eq!(running.ended(SOON), KILLED);
        assert_eq!(world.drafts().len(), 1, "{command} left its staging behind");
        world.provider.release();
        let agent = Agent::start(&mut world.command(&["run"]));
        agent.wait_for_promotions(1);

        assert_eq!(world.records().len(), 50);
        assert_eq!(agent.logged("stale staging removed (path=data/builds"), 1, "{}", agent.log());
        assert_eq!(world.drafts().len(), 0);
        assert_eq!(world.provider.answered_twice(), Vec::<String>::new());
        world.assert_proven();
        agent.stop();
    }
}

#[test]
fn killed_at_any_moment_it_serves_the_old_build_or_the_new_one() {
    let steps: [(&str, fn(&World, &str) -> bool); 6] = [
        ("staging is there", |world, _| !world.staging().is_empty()),
        ("the metadata are begun", |world, _| in_staging(world, "metadata.json")),
        ("the index is begun", |world, _| in_staging(world, "faiss.index")),
        ("the hashes are begun", |world, _| in_staging(world, "hashes.bin")),
        ("the manifest is begun", |world, _| in_staging(world, "manifest.json")),
        ("it is served", |world, old| world.served().is_some_and(|served| served != old)),
    ];
    for (step, reached) in steps {
        let world = World::with_people(3);
        world.provider.excuse_money("a kill may fall between an answer and its commit");
        let old = world.build().text("build");
        world.add_people(4..=400);
        let mut build = Agent::start(&mut world.command(&["build"]));
        while !reached(&world, &old) && !build.is_over() {
            std::thread::yield_now();
        }

        // On a slow machine the build may end before this check: then nothing is killed.
        if !build.is_over() {
            build.signal(Signal::KILL);
        }
        build.ended(SOON);

        assert_old_or_new(&world, step, &old, 3, 400);
    }
}

/// Whether a file is in a staging directory.
fn in_staging(world: &World, name: &str) -> bool {
    world.drafts().iter().any(|staging| staging.join(name).exists())
}

/// Killed or not, the old build or the new one is served whole, and the next build is the new one.
#[track_caller]
fn assert_old_or_new(world: &World, step: &str, old: &str, before: usize, after: usize) {
    let served = world.served();
    let records = if served.as_deref() == Some(old) { before } else { after };
    assert_eq!((world.records().len(), world.vectors().len()), (records, records), "{step}");
    world.assert_proven();

    let planned = world.run(&["plan", "--json"]);
    let build = world.build();

    assert_eq!(build.number("embedded"), planned.number("to_embed"), "{step}: as planned from the cache");
    assert_eq!((world.records().len(), world.vectors().len()), (after, after), "{step}");
    assert_eq!(world.staging().len(), 0, "{step}");
    world.assert_proven();
}

/// The system calls that change names.
const NAMES: [&str; 5] = [
    "?rename,?renameat,?renameat2",
    "?unlink,?unlinkat",
    "?symlink,?symlinkat",
    "?link,?linkat",
    "?mkdir,?mkdirat",
];
/// The system calls that make bytes durable, or cut a file.
const BYTES: [&str; 2] = ["?fsync,?fdatasync", "?ftruncate"];

#[test]
fn killed_before_any_step_of_a_build_it_serves_the_old_build_or_the_new_one() {
    let Some(strace) = strace() else { return };
    let world = World::with_people(3);
    world.provider.excuse_money("each kill begins with the same directory");
    let old = world.build().text("build");
    world.add_people([4]);
    world.sql("UPDATE experts SET hourly_rate = 7 WHERE id = 1; DELETE FROM experts WHERE id = 2");

    let calls = [NAMES.as_slice(), BYTES.as_slice()].concat();
    let kills = kill_at_each_step(&world, &strace, &calls, |step| {
        assert_old_or_new(&world, step, &old, 3, 3);
        let served: Vec<_> = world.records().iter().map(|record| record["id"].clone()).collect();
        assert_eq!(served, [1, 3, 4], "{step}");
        // Only a kill between answer and commit can make a text be embedded again.
        let max = if step.contains("sync") || step.contains("mkdir") { 2 } else { 1 };
        let embedded = world.provider.text_count();
        assert!((1..=max).contains(&embedded), "{step}: embedded {embedded} times");
    });

    assert!(kills >= 25, "{kills} kills are fewer than a build has steps");
}

#[test]
fn killed_before_any_step_of_an_adoption_it_leaves_no_name_missing() {
    let Some(strace) = strace() else { return };
    let world = World::with_people(3);
    world.provider.excuse_money("each kill begins with the same directory");
    world.build();
    let (index, metadata) = (world.published("faiss.index"), world.published("metadata.json"));
    for name in ["builds", ".reindexd"] {
        std::fs::remove_dir_all(world.path("data").join(name)).unwrap();
    }
    for name in ["current", "served.json", "faiss.index", "metadata.json"] {
        std::fs::remove_file(world.path("data").join(name)).unwrap();
    }
    std::fs::write(world.path("data/faiss.index"), &index).unwrap();
    std::fs::write(world.path("data/metadata.json"), &metadata).unwrap();

    let kills = kill_at_each_step(&world, &strace, &NAMES, |step| {
        // Adopted or not, replaced or not: equal rows make equal files.
        assert_eq!(world.published("faiss.index"), index, "{step}");
        assert_eq!(world.published("metadata.json"), metadata, "{step}");
        world.build();
        assert_eq!(world.published("faiss.index"), index, "{step}");
        assert_eq!(world.staging().len(), 0, "{step}");
        world.assert_proven();
    });

    assert!(kills >= 15, "{kills} kills are fewer than an adoption has steps");
}

/// Runs a build once for each of its steps, killed before that step, from the same beginning each time.
fn kill_at_each_step(world: &World, strace: &Path, calls: &[&str], check: impl Fn(&str)) -> usize {
    let kept = world.path("kept");
    copy(&world.path("data"), &kept);
    let mut kills = 0;
    for calls in calls {
        for nth in 1.. {
            let step = format!("{calls} number {nth}");
            std::fs::remove_dir_all(world.path("data")).unwrap();
            copy(&kept, &world.path("data"));
            world.provider.forget();
            let ran = killed_at(world, strace, calls, nth);
            assert!([0, KILLED].contains(&ran.code), "{step}: {ran:?}");
            if ran.code == 0 {
                break;
            }
            kills += 1;
            check(&step);
        }
    }
    kills
}

/// Runs a build that is killed when it enters the `nth` of these system calls.
fn killed_at(world: &World, strace: &Path, calls: &str, nth: usize) -> Ran {
    let build = world.command(&["build"]);
    let mut traced = Command::new(strace);
    traced
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")])
        .args(["-e", &format!("inject={calls}:signal=KILL:when={nth}")])
        .arg(build.get_program())
        .args(build.get_args())
        .env_clear()
        .envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(world.path(""));
    run(&mut traced)
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// A strace that may kill what it traces; where there is none, a line says that the test did not run.
pub(crate) fn strace() -> Option<std::path::PathBuf> {
    let strace = ["/usr/bin/strace", "/usr/local/bin/strace", "/bin/strace"].iter().map(Path::new);
    let strace = strace.into_iter().find(|path| path.exists());
    let Some(strace) = strace else {
        not_run("there is no strace to kill a build before each of its steps");
        return None;
    };
    let tried = Command::new(strace)
        .args(["-f", "-qq", "-o", "/dev/null"])
        .args(["-e", "trace=?close", "-e", "inject=?close:signal=KILL:when=1", "true"])
        .output()
        .unwrap();
    let killed = std::os::unix::process::ExitStatusExt::signal(&tried.status) == Some(9);
    if !killed {
        not_run(&format!("strace may not trace here: {tried:?}"));
    }
    killed.then(|| strace.to_owned())
}
