//! What neither an event nor a time stamp shows is said: a database that is a mount of the single file, has a
//! second name, or has none any more.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::support::agent::Agent;
use crate::support::{Ran, World, eventually, not_run, run};

const ONE_MORE: &str = "INSERT INTO experts (id, username, bio, tags) VALUES (77, 'u', 'one more', '[]')";

/// All that a run printed.
fn said(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

/// Whether `warnings` of an object has one that holds this text.
fn warns(ran: &Ran, text: &str) -> bool {
    ran.json()["warnings"].as_array().unwrap().iter().any(|one| one.as_str().unwrap().contains(text))
}

#[test]
fn a_second_name_of_the_database_is_said_by_build_plan_status_and_agent() {
    for mode in ["wal", "delete"] {
        let world = World::with_people(3);
        let writer = world.connect();
        writer.pragma_update(None, "journal_mode", mode).unwrap();
        for command in ["plan", "status"] {
            let json = world.run(&[command, "--json"]).json();
            assert_eq!(json["warnings"].as_array().map(Vec::len), Some(0), "{json}");
        }
        std::fs::hard_link(world.database(), world.path("other-name.db")).unwrap();

        let built = world.build();
        assert!(built.stderr.contains("has 2 names (hard links)"), "{built:?}");
        assert!(built.stderr.contains("-wal beside that name"), "{built:?}");
        writer.execute(ONE_MORE, []).unwrap();
        for command in ["plan", "status"] {
            assert!(warns(&world.run(&[command, "--json"]), "has 2 names"), "{command}");
            let text = world.run(&[command]);
            assert!(text.stdout.contains("has 2 names"), "{text:?}");
        }
        let agent = world.agent();
        agent.wait_for_log("has 2 names");
        agent.wait_for_records(&world, 4);
        assert_eq!(agent.logged("has 2 names"), 1, "once: {}", agent.log());
        agent.stop();
    }
}

#[test]
fn a_mount_of_the_single_file_is_refused_in_wal_mode_and_said_in_any_other() {
    for (mode, code) in [("wal", 1), ("delete", 0)] {
        let world = World::with_people(3);
        let first = world.build().text("build");
        world.connect().pragma_update(None, "journal_mode", mode).unwrap();
        let Some(mounted) = Mounted::of(&world) else {
            return not_run("this user may not mount, not even in namespaces of its own");
        };
        world.provider.forget();

        let built = mounted.run(&["build", "--json"]);
        assert_eq!(built.code, code, "{mode}: {built:?}");
        assert!(said(&built).contains("is a mount of the single file"), "{built:?}");
        let plan = mounted.run(&["plan", "--json"]);
        let status = mounted.run(&["status", "--json"]);
        assert!(warns(&status, "is a mount of the single file"), "{status:?}");
        assert_eq!(plan.code, code, "{plan:?}");
        if mode == "wal" {
            for refused in [built.text("error"), plan.text("error"), status.text("error")] {
                assert!(refused.contains("mount its directory"), "{refused}");
            }
        } else {
            assert!(warns(&plan, "is a mount of the single file"), "{plan:?}");
        }
        assert_eq!((world.served(), world.provider.request_count()), (Some(first), 0), "{mode}");
    }
}

#[test]
fn a_mounted_file_that_was_replaced_is_said_within_a_resync_and_calls_a_monitor() {
    let world = World::with_people(3);
    world.settings("[trigger]\nquiet = \"100ms\"\nresync = \"1s\"\n");
    let Some(mounted) = Mounted::of(&world) else {
        return not_run("this user may not mount, not even in namespaces of its own");
    };
    let agent = Agent::start(&mut mounted.command(&["run"]));
    agent.wait_for_log("is a mount of the single file");
    agent.wait_for_records(&world, 3);
    eventually("the agent is at rest", || agent.logged("state=idle") > 0);

    // As the writer of a whole file does where it is mounted from.
    let real = world.path("real/experts.db");
    std::fs::copy(&real, world.path("real/new.db")).unwrap();
    std::fs::rename(world.path("real/new.db"), &real).unwrap();
    agent.wait_for_log("has no name any more");

    let inside = |arguments: &[&str]| run(&mut mounted.enter(&agent, arguments));
    let status = inside(&["status", "--json"]);
    assert!(warns(&status, "has no name any more"), "{status:?}");
    assert!(status.text("to_do").contains("mount the directory"), "{status:?}");
    assert!(warns(&inside(&["plan", "--json"]), "has no name any more"));
    let check = ["status", "--check", "--max-age", "1s"];
    eventually("the monitor is called", || inside(&check).code == 1);
    // A pass reads what the database was, and proves nothing.
    assert_eq!(inside(&["build", "--json"]).text("outcome"), "unchanged");
    assert_eq!(inside(&check).code, 1);
    // A status outside of the namespace, where the path leads elsewhere, has it from the agent.
    let outside = world.run(&["status", "--json"]);
    assert!(warns(&outside, "as the agent sees it"), "{outside:?}");
    agent.stop();
}

/// A world whose database is a mount of the single file `real/experts.db`, in namespaces of each process.
struct Mounted<'a> {
    world: &'a World,
    way: &'static [&'static str],
}

impl<'a> Mounted<'a> {
    /// `None` where this user may not mount.
    fn of(world: &'a World) -> Option<Self> {
        let real = world.path("real/experts.db");
        std::fs::create_dir(world.path("real")).unwrap();
        std::fs::rename(world.database(), &real).unwrap();
        std::fs::write(world.database(), "").unwrap();
        assert_eq!(real.metadata().unwrap().nlink(), 1);
        let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
        let may = |way: &[&str]| {
            let mut mount = Command::new("unshare");
            mount.args(way).args(["mount", "--bind"]).args([&real, &world.database()]);
            mount.output().is_ok_and(|tried| tried.status.success())
        };
        Some(Self { world, way: ways.into_iter().find(|way| may(way))? })
    }

    /// The program, where the file is mounted.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        let script = "mount --bind real/experts.db data/experts.db && exec \"$0\" \"$@\"";
        command.args(self.way).args(["sh", "-c", script]);
        self.completed(command, arguments)
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }

    /// The program in the namespaces of an agent.
    fn enter(&self, agent: &Agent, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &agent.pid().as_raw_nonzero().to_string(), "-m"]);
        if self.way.contains(&"--user") {
            command.args(["-U", "--preserve-credentials"]);
        }
        command.args(["sh", "-c", "cd \"$PLACE\" && exec \"$0\" \"$@\""]).env("PLACE", self.world.path(""));
        self.completed(command, arguments)
    }

    /// Adds the program, its arguments and its environment.
    fn completed(&self, mut command: Command, arguments: &[&str]) -> Command {
        let inner = self.world.command(arguments);
        command
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir(self.world.path(""))
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }
}
