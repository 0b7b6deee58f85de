//! One pass at a time, and one agent and one configuration for a directory.

use crate::support::agent::Agent;
use crate::support::{SOON, World, not_run, run};

#[test]
fn a_second_agent_on_the_same_directory_is_refused() {
    let world = World::with_people(1);
    let agent = world.agent();
    agent.wait_for_promotions(1);

    let second = world.run(&["run"]);

    assert_eq!(second.code, 75, "{second:?}");
    assert!(second.stderr.contains("another agent is running in data"), "{second:?}");
    assert_eq!(world.run(&["status", "--json"]).json()["agent"]["running"], true);
    agent.stop();
    assert_eq!(world.run(&["status", "--json"]).json()["agent"]["running"], false);
}

#[test]
fn a_second_configuration_that_claims_the_directory_is_refused_by_name() {
    let world = World::with_people(1);
    world.build();
    let before = world.published("metadata.json");

    for command in ["run", "build"] {
        for (key, value) in
            [("FAISS_INDEX_PATH", "data/other.index"), ("METADATA_PATH", "data/other-metadata.json")]
        {
            let other = run(world.command(&[command]).env(key, value));
            assert_eq!(other.code, 2, "{other:?}");
            assert!(other.stderr.contains("belongs to another configuration"), "{other:?}");
            assert!(other.stderr.contains("faiss.index"), "both paths are named: {other:?}");
        }
    }

    assert_eq!(world.published("metadata.json"), before);
    assert!(!world.path("data/other.index").exists());
}

#[test]
fn a_build_during_an_agents_pass_is_busy_and_with_wait_finds_all_done() {
    let world = World::with_people(3);
    world.provider.hold();
    let agent = world.agent();
    assert!(world.provider.wait_for_requests(1, SOON));

    let busy = world.run(&["build", "--json"]);
    let waiting = world.command(&["build", "--json", "--wait"]).stdout(std::process::Stdio::piped()).spawn();
    let waiting = waiting.unwrap();
    for command in [["plan", "--json"], ["status", "--json"], ["history", "--json"]] {
        assert_eq!(world.run(&command).code, 0, "{command:?} takes no lock");
    }
    world.provider.release();
    let waited = waiting.wait_with_output().unwrap();

    assert_eq!((busy.code, busy.text("outcome").as_str()), (75, "busy"), "{busy:?}");
    assert_eq!(waited.status.code(), Some(0));
    let waited: serde_json::Value = serde_json::from_slice(&waited.stdout).unwrap();
    assert_eq!((&waited["outcome"], &waited["kept"]), (&"unchanged".into(), &3.into()));
    assert_eq!(world.provider.answered_twice().len(), 0);
    agent.wait_for_promotions(1);
    agent.stop();
}

#[test]
fn an_agent_during_a_build_waits_for_it_without_a_failure() {
    let world = World::with_people(2);
    world.provider.hold();
    let mut build = Agent::start(&mut world.command(&["build"]));
    assert!(world.provider.wait_for_requests(1, SOON), "{}", build.log());

    let agent = world.agent();
    agent.wait_for_log("state=waiting_for_lock");
    assert_eq!(world.drafts().len(), 1, "an agent removes no staging that a build still writes");
    world.provider.release();
    agent.wait_for_log("outcome=unchanged");

    assert_eq!(build.ended(SOON), 0, "{}", build.log());
    assert_eq!(agent.logged("outcome=failed"), 0, "{}", agent.log());
    assert_eq!(world.provider.answered_twice().len(), 0);
    agent.stop();
}

#[test]
fn builds_started_together_make_one_build_and_embed_each_text_once() {
    let world = World::with_people(50);

    let builds: Vec<_> = (0..4).map(|_| Agent::start(&mut world.command(&["build", "--wait"]))).collect();
    for mut build in builds {
        assert_eq!(build.ended(SOON), 0, "{}", build.log());
    }

    let history = world.run(&["history", "--json"]);
    assert_eq!(history.json()["builds"].as_array().unwrap().len(), 1, "{history:?}");
    assert_eq!(world.provider.answered_twice().len(), 0);
    world.assert_proven();
}

#[test]
fn a_second_user_learns_who_owns_the_directory_and_changes_nothing() {
    if !rustix::process::geteuid().is_root() {
        return not_run("only root can begin as one user and go on as another");
    }
    let world = World::with_people(2);
    let served = world.build().text("build");
    std::os::unix::fs::chown(world.path("data/.reindexd"), Some(65534), None).unwrap();
    world.sql("UPDATE experts SET bio = 'Another.' WHERE id = 1");

    for command in [&["build", "--json"][..], &["rollback", "--json"], &["sweep", "--json"], &["run"]] {
        let ran = world.run(command);

        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains("belongs to uid 65534, and this runs as uid 0"), "{ran:?}");
    }
    assert_eq!(world.served(), Some(served));
    assert_eq!(world.staging(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn locks_belong_to_the_publishing_user_alone_also_those_that_were_wider() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::with_people(1);
    let locks = ["lock", "agent.lock", "notes.lock"].map(|name| world.path("data/.reindexd").join(name));
    let agent = world.agent();
    agent.wait_for_promotions(1);
    agent.stop();
    let modes = || locks.each_ref().map(|path| path.metadata().unwrap().permissions().mode() & 0o777);
    assert_eq!(modes(), [0o600; 3]);

    for path in &locks {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o640)).unwrap();
    }
    let agent = world.agent();
    agent.wait_for_log("outcome=unchanged");
    world.add_people([2]);
    agent.wait_for_promotions(1);
    agent.stop();
    assert_eq!(modes(), [0o600; 3]);
}
