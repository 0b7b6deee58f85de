//! A full disk: the old build stays served, the message names the cause, and the next pass with enough
//! disk space succeeds.
//!
//! Each test runs itself once more in a mount namespace of its own, where its
//! world's data lie on a file system of a few mebibytes.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::support::agent::Agent;
use crate::support::{SOON, World, not_run, run};

/// Environment variable that is set where the test already runs in a namespace of its own.
const INSIDE: &str = "REINDEXD_TEST_INSIDE_NAMESPACE";

/// Runs `act` in a world on a small disk, in a process of its own.
fn on_a_small_disk(act: impl FnOnce(&World)) {
    if std::env::var_os(INSIDE).is_some() {
        let world = World::new();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "none"])
            .arg(world.path("data"))
            .status()
            .unwrap();
        assert!(mounted.success());
        world.make_table();
        act(&world);
        return;
    }
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let may = |way: &[&str]| {
        let tried = Command::new("unshare").args(way).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    let Some(way) = ways.into_iter().find(|way| may(way)) else {
        return not_run("this user may not mount, not even in namespaces of its own");
    };
    let test = std::thread::current().name().unwrap().to_owned();
    let inside = run(Command::new("unshare")
        .args(way)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(INSIDE, "1"));
    assert!(inside.code == 0 && inside.stdout.contains("1 passed"), "{}\n{}", inside.stdout, inside.stderr);
}

/// Writes a file until only `leave` bytes are free.
fn fill(world: &World, leave: u64) {
    let stat = rustix::fs::statvfs(world.path("data")).unwrap();
    let free = stat.f_bavail * stat.f_frsize;
    let bytes = usize::try_from(free.saturating_sub(leave)).unwrap();
    std::fs::File::create(filler(world)).unwrap().write_all(&vec![b'x'; bytes]).unwrap();
}

fn filler(world: &World) -> PathBuf {
    world.path("data/somebody-elses-log")
}

#[test]
fn too_little_disk_space_is_refused_before_anything_is_embedded() {
    on_a_small_disk(|world| {
        world.add_people(1..=100);
        let old = world.build().text("build");
        world.add_people(101..=200);
        world.provider.forget();

        for leave in [0, 16 << 10, 64 << 10, 1 << 20] {
            free_disk_space(world);
            fill(world, leave);
            let ran = world.run(&["build", "--json"]);

            assert_eq!((ran.code, ran.text("outcome").as_str()), (1, "failed"), "{leave}: {ran:?}");
            assert!(names_the_cause(&ran.text("error")), "{leave}: {ran:?}");
            assert_eq!(world.served(), Some(old.clone()), "{leave}: {ran:?}");
            assert_eq!(world.staging(), Vec::<PathBuf>::new(), "{leave}: {ran:?}");
            world.assert_proven();
        }
        assert_eq!(world.provider.request_count(), 0);

        free_disk_space(world);
        assert_eq!(world.build().number("records"), 200);
    });
}

#[test]
fn disk_full_while_embedding_leaves_a_whole_build_and_the_next_pass_succeeds() {
    on_a_small_disk(|world| {
        world.provider.excuse_money("no vector can be stored on a full disk");
        let mut people = 100;
        world.add_people(1..=people);
        world.build();
        let mut logs = String::new();
        // One page more each time, so that each file in turn is the one that does not fit.
        for pages in 0.. {
            let old = world.served();
            world.add_people(people + 1..=people + 10);
            people += 10;
            world.provider.forget();
            world.provider.hold();
            let mut build = Agent::start(&mut world.command(&["build"]));
            assert!(world.provider.wait_for_requests(1, SOON), "{}", build.log());
            fill(world, pages * 4096);
            world.provider.release();
            let code = build.ended(SOON);
            let log = build.log();

            world.assert_proven();
            free_disk_space(world);
            if code == 0 {
                break;
            }
            assert!(code == 1 && names_the_cause(&log), "{code}: {log}");
            let switched = log.contains("is served, but is not known to be durable");
            assert_eq!(world.served() != old, switched, "{log}");
            assert_eq!(world.staging(), Vec::<PathBuf>::new(), "{log}");
            assert_eq!(world.build().number("records"), u64::from(people));
            let lost = log.contains("cannot store vectors in the cache");
            assert_eq!(world.provider.answered_twice().len(), if lost { 10 } else { 0 }, "{log}");
            logs += &log;
        }
        for file in ["embeddings.sqlite", "faiss.index", "hashes.bin", "served.json"] {
            assert!(logs.contains(file), "{file} always fitted: {logs}");
        }
    });
}

#[test]
fn an_agent_whose_disk_was_full_continues_when_there_is_space() {
    on_a_small_disk(|world| {
        world.add_people(1..=100);
        let agent = world.agent_with("quiet = \"10m\"\nmax_wait = \"20m\"\n");
        agent.wait_for_promotions(1);
        world.add_people([101]);

        fill(world, 0);
        agent.signal(Signal::USR1);
        agent.wait_for_log("outcome=failed");
        free_disk_space(world);
        agent.signal(Signal::USR1);

        agent.wait_for_records(world, 101);
        agent.stop();
    });
}

#[test]
fn a_full_directory_of_temporary_files_is_named_and_not_the_database() {
    on_a_small_disk(|world| {
        world.add_people(1..=300);
        let first = world.build().text("build");
        world.sql("UPDATE experts SET bio = bio || hex(zeroblob(5000))");
        world.sql("ALTER TABLE experts RENAME TO people");
        // Its rows have no order that SQLite could use.
        world.sql(
            "CREATE VIEW experts AS SELECT id + 0 AS id, username, first_name, last_name, job_title, company, bio,
                 hourly_rate, currency, profile_url, profile_url_utm, tags, findability_score, category
             FROM people",
        );
        let small = world.path("small");
        std::fs::create_dir(&small).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(&small);
        assert!(mount.status().unwrap().success());
        world.provider.forget();

        for arguments in [["build", "--json"], ["plan", "--json"]] {
            let failed = run(world.command(&arguments).env("SQLITE_TMPDIR", &small));
            let error = failed.text("error");
            assert_eq!(failed.code, 1, "{failed:?}");
            assert!(error.contains(&format!("temporary files in {}", small.display())), "{error}");
            assert!(error.contains("SQLITE_TMPDIR") && error.contains("disk is full"), "{error}");
        }
        assert_eq!((world.served(), world.provider.request_count()), (Some(first), 0));

        assert_eq!(world.build().number("records"), 300, "with room elsewhere");
    });
}

fn free_disk_space(world: &World) {
    // At first there is nothing to remove.
    std::fs::remove_file(filler(world)).ok();
}

fn names_the_cause(log: &str) -> bool {
    ["No space left on device", "disk is full", "not enough disk space"]
        .iter()
        .any(|cause| log.contains(cause))
}
