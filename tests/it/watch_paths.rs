//! The database, or a directory or link on its path, is replaced, made later, or reached by links and mounts.

use std::fs::{copy, create_dir, remove_dir_all, remove_file, rename};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;

use crate::support::agent::Agent;
use crate::support::{World, add_person, not_run, run};

/// Directories are compared often, everything else only after hints; only inotify, so that nothing is polled.
const QUICK: &str = "[trigger]\nquiet = \"200ms\"\nmax_wait = \"2s\"\nresync = \"1h\"\n\
     poll_interval = \"100ms\"\nwatch = \"inotify\"\n";

#[test]
fn a_database_deleted_and_made_again_or_replaced_with_its_directory_is_served() {
    let place = Place::new("source/experts.db");
    create_dir(place.path("source")).unwrap();
    place.make("source/experts.db", 1);
    let agent = place.agent();
    agent.wait_for_promotions(1);

    let acts: [(&str, fn(&Place, u32)); 4] = [
        ("deleted and made again", |place, people| {
            remove_file(place.path("source/experts.db")).unwrap();
            place.make("source/experts.db", people);
        }),
        ("its directory replaced by another one", |place, people| {
            create_dir(place.path("fresh")).unwrap();
            place.make("fresh/experts.db", people);
            rename(place.path("source"), place.path("aside")).unwrap();
            rename(place.path("fresh"), place.path("source")).unwrap();
        }),
        ("its directory removed, and made again later", |place, people| {
            remove_dir_all(place.path("source")).unwrap();
            std::thread::sleep(Duration::from_millis(300));
            create_dir(place.path("source")).unwrap();
            place.make("source/experts.db", people);
        }),
        ("deleted for a while, and copied into place", |place, people| {
            remove_file(place.path("source/experts.db")).unwrap();
            std::thread::sleep(Duration::from_millis(300));
            place.make("backup.db", people);
            copy(place.path("backup.db"), place.path("source/experts.db")).unwrap();
        }),
    ];
    for (people, (what, act)) in (2..).step_by(2).zip(acts) {
        act(&place, people);
        agent.wait_for(what, || place.world.served_count() == people as usize);
        // The new one is watched as the old one was.
        place.add("source/experts.db", people + 1);
        agent.wait_for(&format!("a commit after: {what}"), || {
            place.world.served_count() == people as usize + 1
        });
    }
    assert_eq!(agent.logged("backing_off"), 0, "an event ends the wait for a missing file\n{}", agent.log());
    agent.stop();
}

#[test]
fn a_database_whose_directory_is_made_after_the_agent_started_is_served() {
    let place = Place::new("late/volume/experts.db");
    let agent = place.agent();
    agent.wait_for_log("outcome=failed");
    assert!(agent.log().contains("does not exist yet"), "{}", agent.log());

    create_dir(place.path("late")).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    create_dir(place.path("late/volume")).unwrap();
    place.make("late/volume/experts.db", 2);

    agent.wait_for_records(&place.world, 2);
    place.add("late/volume/experts.db", 3);
    agent.wait_for_records(&place.world, 3);
    assert_eq!(agent.logged("backing_off"), 0, "an event ends the wait for a missing file\n{}", agent.log());
    agent.stop();
}

#[test]
fn a_database_behind_links_is_served_whichever_link_changes_or_is_written() {
    let place = Place::new("experts.db");
    for (dir, people) in [("one", 1), ("two", 3), ("three", 5), ("four", 6)] {
        create_dir(place.path(dir)).unwrap();
        place.make(&format!("{dir}/real.db"), people);
    }
    // The database is a link to a file below a directory that is a link.
    retarget_link(&place, "current", "one");
    retarget_link(&place, "experts.db", "current/real.db");
    let agent = place.agent();
    agent.wait_for_records(&place.world, 1);

    place.add("one/real.db", 2);
    agent.wait_for_records(&place.world, 2);
    retarget_link(&place, "experts.db", "two/real.db");
    agent.wait_for_records(&place.world, 3);
    let writer = place.connect("two/real.db");
    writer.pragma_update(None, "journal_mode", "WAL").unwrap();
    add_person(&writer, 4);
    agent.wait_for_records(&place.world, 4);
    retarget_link(&place, "current", "three");
    retarget_link(&place, "experts.db", "current/real.db");
    agent.wait_for_records(&place.world, 5);
    retarget_link(&place, "current", "four");

    agent.wait_for("only the link to the directory changed", || place.world.served_count() == 6);
    agent.stop();
}

#[test]
fn a_database_through_a_bind_mount_or_mounted_over_later_is_served() {
    let place = Place::new("mounted/experts.db");
    for (dir, people) in [("real", 1), ("other", 3), ("mounted", 0)] {
        create_dir(place.path(dir)).unwrap();
        place.make(&format!("{dir}/experts.db"), people);
    }
    let Some(way) = way_to_mount(&place) else {
        return not_run("this user may not mount, not even in namespaces of its own");
    };
    let agent = place.agent_in(&way, "mount --bind real mounted");
    agent.wait_for_records(&place.world, 1);

    place.add("real/experts.db", 2);
    agent.wait_for_records(&place.world, 2);
    let mounted = run(place.enter(&agent, &way).args(["mount", "--bind", "other", "mounted"]));
    assert_eq!(mounted.code, 0, "{mounted:?}");
    agent.wait_for_records(&place.world, 3);
    place.add("other/experts.db", 4);
    agent.wait_for_records(&place.world, 4);
    (3..=5).for_each(|id| place.add("real/experts.db", id));
    let gone = run(place.enter(&agent, &way).args(["umount", "mounted"]));
    assert_eq!(gone.code, 0, "{gone:?}");

    agent.wait_for_records(&place.world, 5);
    agent.stop();
}

/// Replaces a link by rename.
fn retarget_link(place: &Place, link: &str, target: &str) {
    symlink(target, place.path("new-link")).unwrap();
    rename(place.path("new-link"), place.path(link)).unwrap();
}

/// A world whose database is not next to the served files.
struct Place {
    world: World,
    database: &'static str,
}

impl Place {
    fn new(database: &'static str) -> Self {
        let world = World::new();
        world.settings(QUICK);
        Self { world, database }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.path(name)
    }

    fn connect(&self, name: &str) -> Connection {
        let database = Connection::open(self.path(name)).unwrap();
        database.busy_timeout(Duration::from_secs(10)).unwrap();
        database
    }

    /// Makes a database with this number of people.
    fn make(&self, name: &str, people: u32) {
        let mut database = self.connect(name);
        let all = database.transaction().unwrap();
        all.execute_batch(include_str!("../../data/schema.sql")).unwrap();
        (1..=people).for_each(|id| add_person(&all, id));
        all.commit().unwrap();
    }

    fn add(&self, name: &str, id: u32) {
        add_person(&self.connect(name), id);
    }

    fn command(&self) -> Command {
        let mut command = self.world.command(&["run"]);
        command.env("DATABASE_URL", format!("sqlite:///{}", self.database));
        command
    }

    fn agent(&self) -> Agent {
        let agent = Agent::start(&mut self.command());
        agent.wait_for_log("watching");
        agent
    }

    /// The agent in a mount namespace where a shell ran `first` before.
    fn agent_in(&self, way: &[&str], first: &str) -> Agent {
        let inner = self.command();
        let mut command = Command::new("unshare");
        command.args(way).args(["sh", "-c", &format!("{first} && exec \"$0\" \"$@\"")]);
        let path = std::env::var_os("PATH").unwrap();
        let agent = Agent::start(
            command
                .arg(inner.get_program())
                .args(inner.get_args())
                .current_dir(self.path(""))
                .env_clear()
                .env("PATH", path)
                .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))),
        );
        agent.wait_for_log("watching");
        agent
    }

    /// A command that runs another in the namespace of the agent of [`Self::agent_in`].
    fn enter(&self, agent: &Agent, way: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &agent.pid().as_raw_nonzero().to_string(), "-m"]);
        if way.contains(&"-U") {
            command.args(["-U", "--preserve-credentials"]);
        }
        command.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(self.path(""));
        command
    }
}

/// How this user may mount: as root, or as root of a namespace of its own.
fn way_to_mount(place: &Place) -> Option<Vec<&'static str>> {
    let ways = [vec!["-m"], vec!["-U", "-r", "-m"]];
    ways.into_iter().find(|way| {
        let mut mount = Command::new("unshare");
        mount.args(way).args(["mount", "--bind", "real", "mounted"]).current_dir(place.path(""));
        mount.output().is_ok_and(|tried| tried.status.success())
    })
}
