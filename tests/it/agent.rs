//! The agent in normal operation: every commit is served soon after.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::{SOON, World, add_person, eventually};

/// With these triggers only a hint that is reported at once can start a pass.
const NO_HURRY: &str = "quiet = \"10m\"\nmax_wait = \"20m\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\n";

#[test]
fn the_first_line_says_what_runs_with_which_files_and_fields_have_plain_names() {
    let world = World::with_people(3);
    let agent = world.agent_with("quiet = \"200ms\"\n[log]\nformat = \"json\"\nlevel = \"info\"\n");
    agent.wait_for("a build", || world.served().is_some());
    let (log, pid) = (agent.log(), agent.pid().as_raw_nonzero().get());
    agent.stop();

    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = &lines[0];
    let path = |name: &str| world.path("").canonicalize().unwrap().join(name).display().to_string();
    assert_eq!((&first["message"], &first["pid"]), (&"agent: started".into(), &pid.into()), "{log}");
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    for (key, file) in [
        ("settings", "reindexd.toml"),
        ("database", "data/experts.db"),
        ("index", "data/faiss.index"),
        ("metadata", "data/metadata.json"),
    ] {
        assert_eq!(first[key], path(file), "{key}");
    }
    assert_eq!((&first["watch"], first["space"].is_string()), (&"auto".into(), true));
    for line in &lines {
        let names: Vec<_> = line.as_object().unwrap().keys().collect();
        assert!(names.iter().all(|name| !name.starts_with('_')), "{line}");
        assert!(!line.to_string().contains("notify"), "{line}");
    }
}

#[test]
fn a_host_where_nothing_is_served_is_served_as_soon_as_the_agent_starts() {
    let world = World::with_people(30);

    let agent = world.agent_with(NO_HURRY);
    agent.wait_for_promotions(1);

    assert_eq!(world.records().len(), 30);
    assert_eq!(agent.logged("trigger=start"), 2, "one pass began and ended\n{}", agent.log());
    world.assert_proven();
    agent.stop();
}

#[test]
fn an_agent_started_on_a_current_build_embeds_and_writes_nothing() {
    let world = World::with_people(3);
    let build = world.build().text("build");
    world.provider.forget();

    let agent = world.agent_with(NO_HURRY);
    agent.wait_for_log("outcome=unchanged");

    assert_eq!(world.served(), Some(build));
    assert_eq!(world.provider.request_count(), 0);
    agent.stop();
}

#[test]
fn a_commit_is_served_in_either_journal_mode_and_whether_or_not_its_writer_stays() {
    for (journal, stays) in [("DELETE", false), ("DELETE", true), ("WAL", false), ("WAL", true)] {
        let world = World::with_people(2);
        world.sql(&format!("PRAGMA journal_mode = {journal}"));
        let mut writer = Some(world.connect());
        let agent = world.agent();
        agent.wait_for_promotions(1);
        world.provider.forget();

        add_person(writer.as_ref().unwrap(), 3);
        writer = writer.filter(|_| stays);
        agent.wait_for_promotions(2);

        let case = format!("{journal}, writer stays: {stays}");
        assert_eq!(world.records().len(), 3, "{case}");
        assert_eq!(world.provider.text_count(), 1, "{case}: the other texts were already embedded");
        drop(writer);
        // A connection that the agent kept open would prevent the last writer from removing the log.
        eventually(&format!("{case}: no -wal is left"), || !world.path("data/experts.db-wal").exists());
        agent.stop();
    }
}

#[test]
fn a_database_replaced_by_rename_is_served() {
    let world = World::with_people(2);
    let agent = world.agent();
    agent.wait_for_promotions(1);

    std::fs::copy(world.database(), world.path("data/other.db")).unwrap();
    let other = rusqlite::Connection::open(world.path("data/other.db")).unwrap();
    add_person(&other, 3);
    drop(other);
    std::fs::rename(world.path("data/other.db"), world.database()).unwrap();

    agent.wait_for_records(&world, 3);
    agent.stop();
}

#[test]
fn commits_that_follow_each_other_closely_make_one_build() {
    let world = World::with_people(1);
    let agent = world.agent_with("quiet = \"3s\"\nmax_wait = \"1m\"\nresync = \"1h\"\n");
    agent.wait_for_promotions(1);

    let writer = world.connect();
    for id in 2..=11 {
        add_person(&writer, id);
    }
    agent.wait_for_promotions(2);

    assert_eq!(world.records().len(), 11);
    agent.stop();
}

#[test]
fn a_writer_that_never_pauses_does_not_delay_the_build_indefinitely() {
    let world = World::with_people(1);
    let agent = world.agent_with("quiet = \"1500ms\"\nmax_wait = \"1500ms\"\nresync = \"1h\"\n");
    agent.wait_for_promotions(1);

    let writer = world.connect();
    let deadline = Instant::now() + SOON;
    let mut written = 1;
    while agent.promotions() < 2 {
        assert!(Instant::now() < deadline, "not served while the writer went on\n{}", agent.log());
        written += 1;
        add_person(&writer, written);
        std::thread::sleep(Duration::from_millis(20));
    }

    agent.wait_for_records(&world, written as usize);
    agent.stop();
}

#[test]
fn a_commit_during_a_build_is_served_by_a_build_of_its_own_afterwards() {
    let world = World::with_people(2);
    let agent = world.agent();
    agent.wait_for_promotions(1);
    world.provider.forget();
    world.provider.hold();

    world.add_people([3]);
    assert!(world.provider.wait_for_requests(1, SOON), "{}", agent.log());
    world.add_people([4]);
    world.provider.release();
    agent.wait_for_promotions(3);

    assert_eq!(world.records().len(), 4);
    let sizes: Vec<usize> = world.provider.requests().iter().map(|request| request.texts.len()).collect();
    assert_eq!(sizes, [1, 1], "a build for each of the two");
    assert_eq!(world.provider.answered_twice().len(), 0);
    // The quiet window of the second began when its commit was seen, and was waited for.
    let log = agent.log();
    let windows: Vec<_> = log.match_indices("settling").map(|(at, _)| at).collect();
    let promoted: Vec<_> = log.match_indices("outcome=promoted").map(|(at, _)| at).collect();
    assert!(windows.iter().any(|window| (promoted[1]..promoted[2]).contains(window)), "{log}");
    agent.stop();
}

#[test]
fn an_idle_agent_does_not_scan_again_because_of_its_own_reads() {
    let worlds = ["DELETE", "WAL"].map(|journal| {
        let world = World::with_people(3);
        world.sql(&format!("PRAGMA journal_mode = {journal}"));
        world
    });
    let agents = worlds.each_ref().map(|world| {
        let triggers =
            "quiet = \"500ms\"\nmax_wait = \"2s\"\nresync = \"500ms\"\npoll_interval = \"100ms\"\n";
        world.agent_with(&format!("{triggers}[log]\nlevel = \"debug\"\n"))
    });

    for (world, agent) in worlds.iter().zip(&agents) {
        agent.wait_for_promotions(1);
        // Until the stamps of the files have settled, each hint needs a scan.
        wait_until_quiet(agent, Duration::from_secs(4));
        world.provider.forget();
        // Reads by another process are not changes either.
        let read = world.connect().query_row("SELECT count(*) FROM experts", [], |row| row.get::<_, u32>(0));
        assert_eq!(read, Ok(3));
    }
    let passes = agents.each_ref().map(Agent::passes);
    std::thread::sleep(Duration::from_secs(3));

    for ((world, agent), passes) in worlds.iter().zip(agents).zip(passes) {
        assert_eq!(agent.passes(), passes, "{}", agent.log());
        assert!(passes < 20, "{passes} passes for one build\n{}", agent.log());
        assert_eq!((agent.promotions(), world.provider.request_count()), (1, 0));
        agent.stop();
    }
}

/// Waits until no pass has begun for a while.
#[track_caller]
fn wait_until_quiet(agent: &Agent, quiet: Duration) {
    let (mut passes, mut since) = (agent.passes(), Instant::now());
    agent.wait_for("no more passes", || {
        if agent.passes() != passes {
            (passes, since) = (agent.passes(), Instant::now());
        }
        since.elapsed() >= quiet
    });
}

#[test]
fn the_slow_check_finds_what_no_event_reports() {
    let world = World::with_people(3);
    let agent = world.agent_with("resync = \"200ms\"\n");
    agent.wait_for_promotions(1);

    std::fs::remove_file(world.path("data/metadata.json")).unwrap();

    agent.wait_for_records(&world, 3);
    assert_eq!(agent.promotions(), 1, "the link was restored, nothing was built");
    agent.stop();
}

#[test]
fn a_signal_cuts_the_quiet_window_short() {
    let world = World::with_people(2);
    let agent = world.agent_with(NO_HURRY);
    agent.wait_for_promotions(1);

    world.add_people([3]);
    agent.wait_for_log("settling");
    agent.signal(Signal::USR1);

    agent.wait_for_records(&world, 3);
    agent.wait_for_log("trigger=signal");
    agent.stop();
}
