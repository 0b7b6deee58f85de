//! A query whose rows change by themselves: builds once an hour, and one warning.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::World;
use crate::support::agent::Agent;

const WARNING: &str = "the rows differ although no file of the database was written";

/// An agent whose query asks for the time; the text is the title alone.
fn agent_of_the_time(world: &World) -> Agent {
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, title TEXT); INSERT INTO t VALUES (1, 'A'), (2, 'B')");
    world.settings(
        "[source]\nquery = \"SELECT id, title, strftime('%Y-%m-%d %H:%M:%f', 'now') AS seen FROM t\"\nid = \"id\"\n\
         [document]\ntemplate = \"{{ title }}\"\n\
         [trigger]\nquiet = \"20ms\"\nmarker_quiet = \"20ms\"\nresync = \"1h\"\n[log]\nlevel = \"debug\"\n",
    );
    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for_promotions(1);
    agent
}

/// Has a pass made that no person asked for, and waits for its end.
fn pass(agent: &Agent) {
    let before = ended_passes(agent);
    agent.signal(Signal::HUP);
    agent.wait_for("the end of a pass", || ended_passes(agent) > before);
}

fn ended_passes(agent: &Agent) -> usize {
    agent.logged("trigger=reload took_ms=")
}

/// Makes the remembered scan so much older, or younger.
fn let_pass(world: &World, minutes: i64) {
    let path = world.path("data/.reindexd/state.json");
    let mut state: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let began = &mut state["acted_scan"]["uptime_ms"];
    *began = (began.as_i64().unwrap() - minutes * 60_000).into();
    std::fs::write(path, state.to_string()).unwrap();
}

#[test]
fn rows_that_change_by_themselves_are_built_once_an_hour_with_one_warning() {
    let world = World::new();
    let agent = agent_of_the_time(&world);
    // Until the file is old enough for its stamp to be trusted, each difference may be a commit.
    agent.wait_for("a warning", || {
        pass(&agent);
        agent.logged(WARNING) > 0
    });
    let builds = agent.promotions();

    for _ in 0..3 {
        pass(&agent);
    }
    assert_eq!((agent.promotions(), agent.logged(WARNING)), (builds, 1), "{}", agent.log());

    let_pass(&world, 57);
    pass(&agent);
    assert_eq!(agent.promotions(), builds, "{}", agent.log());
    let_pass(&world, 1);
    pass(&agent);
    assert_eq!((agent.promotions(), agent.logged(WARNING)), (builds + 1, 1), "{}", agent.log());
    pass(&agent);
    assert_eq!(agent.promotions(), builds + 1, "{}", agent.log());

    // A person has an answer at once, and so has a commit.
    agent.signal(Signal::USR1);
    agent.wait_for_promotions(builds + 2);
    world.sql("INSERT INTO t VALUES (3, 'C')");
    agent.wait_for_records(&world, 3);
    assert_eq!(agent.logged(WARNING), 1, "{}", agent.log());
    agent.stop();
    assert_eq!(world.build().text("outcome"), "promoted");
}
