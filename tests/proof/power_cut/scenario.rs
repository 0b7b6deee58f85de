//! Whole runs of the program, recorded call by call.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::crash_states::Run;
use super::directory_image::Tree;
use super::syscall_log::{self, Terms};
use super::volume::Step;
use crate::strace::{self, Call};
use crate::support::{Ran, World, run};

/// The beginning of a scenario, what is done, and how many texts it may embed.
pub struct Scenario {
    pub name: &'static str,
    people: u32,
    /// Prepares the world.
    prepare: fn(&ScenarioFolder),
    arguments: &'static [&'static str],
    /// How many texts it embeds.
    pub embeds: usize,
    /// Files that another program left without a flush.
    pub unsynced: &'static [&'static str],
    /// The two published names, in a folder that has nothing else.
    pub names: [&'static str; 2],
}

const PAIR_NAMES: [&str; 2] = ["faiss.index", "metadata.json"];

/// Texts in a request.
const BATCH: usize = 4;

/// All scenarios; the gate runs the second.
pub const ALL: [Scenario; 7] = [
    Scenario {
        name: "a first build",
        people: 12,
        prepare: |_| {},
        arguments: &["build", "--json"],
        embeds: 12,
        unsynced: &[],
        names: PAIR_NAMES,
    },
    Scenario {
        name: "ten changed rows of three hundred",
        people: 300,
        prepare: |place| {
            place.built();
            place.world.sql("UPDATE experts SET bio = bio || ' Changed.' WHERE id % 30 = 0");
        },
        arguments: &["build", "--json"],
        embeds: 10,
        unsynced: &[],
        names: PAIR_NAMES,
    },
    Scenario {
        name: "an adoption",
        people: 12,
        prepare: |place| {
            place.built();
            place.back_to_plain_files();
            place.world.add_people([13]);
        },
        arguments: &["build", "--json"],
        embeds: 13,
        // ingest.py flushes nothing.
        unsynced: &PAIR_NAMES,
        names: PAIR_NAMES,
    },
    Scenario {
        name: "a rollback",
        people: 12,
        prepare: |place| {
            place.built();
            place.world.add_people([13]);
            place.built();
        },
        arguments: &["rollback", "--json"],
        embeds: 0,
        unsynced: &[],
        names: PAIR_NAMES,
    },
    Scenario {
        name: "the end of a hold",
        people: 12,
        prepare: |place| {
            place.built();
            place.world.add_people([13]);
            place.built();
            place.ran(&["rollback"]);
        },
        arguments: &["rollback", "--release", "--json"],
        embeds: 0,
        unsynced: &[],
        names: PAIR_NAMES,
    },
    Scenario {
        name: "a build that removes an old one",
        people: 12,
        prepare: |place| {
            for id in 13..=15 {
                place.built();
                place.world.add_people([id]);
            }
            place.let_the_grace_pass();
        },
        arguments: &["build", "--json"],
        embeds: 1,
        unsynced: &[],
        names: PAIR_NAMES,
    },
    Scenario {
        name: "a first build into a folder that does not exist, the metadata elsewhere",
        people: 12,
        prepare: |place| std::fs::create_dir(place.home.join("elsewhere")).unwrap(),
        arguments: &["build", "--json"],
        embeds: 12,
        unsynced: &[],
        names: ["data/faiss.index", "elsewhere/metadata.json"],
    },
];

/// A world that publishes to a folder with nothing else in it.
pub struct ScenarioFolder {
    pub world: World,
    pub home: PathBuf,
    names: [&'static str; 2],
}

/// A run of a scenario.
pub struct Recorded<'a> {
    pub scenario: &'a Scenario,
    pub place: ScenarioFolder,
    pub before: Tree,
    pub steps: Vec<Step>,
    /// The flushes among the steps.
    pub flushes: Vec<Flush>,
    pub after: Tree,
}

/// A flush, with what identifies it in another run.
pub struct Flush {
    pub label: String,
    /// `fsync` or `fdatasync`.
    pub call: String,
    /// The number of the call among its thread's calls of that name.
    pub nth: usize,
}

impl Scenario {
    /// Makes the world before it, published to a folder of its own or to `home`.
    pub fn prepared(&self, home: Option<&Path>) -> ScenarioFolder {
        let world = World::in_memory();
        world.provider.excuse_repeats("a scenario begins more than once with the same directory");
        world.add_people(1..=self.people);
        world.settings(&format!("[embedding]\nbatch_size = {BATCH}\nconcurrency = 1\n[publish]\nkeep = 2\n"));
        let home = home.map_or_else(|| world.path("home"), Path::to_owned);
        std::fs::create_dir_all(&home).unwrap();
        let place = ScenarioFolder { world, home, names: self.names };
        (self.prepare)(&place);
        place
    }

    /// The program as this scenario runs it.
    pub fn command(&self, place: &ScenarioFolder) -> Command {
        place.command(self.arguments)
    }

    /// Runs it under strace.
    pub fn recorded(&self) -> Recorded<'_> {
        let place = self.prepared(None);
        let before = Tree::read(&place.home);
        let log = place.world.path("strace.log");
        let options = ["-y", "-xx", "-s", "100000000", "-e", "trace=%file,%desc,network"];
        let ran = run(&mut strace::traced(&self.command(&place), &log, &options));
        assert_eq!(ran.code, 0, "{}: {ran:?}", self.name);
        let terms = Terms { batch: BATCH, total: self.embeds };
        let calls = strace::calls(&log);
        let steps = syscall_log::steps(&calls, &place.home, &before, &terms);
        let after = Tree::read(&place.home);
        let flushes = flushes(&calls, &steps);
        Recorded { scenario: self, place, before, steps, flushes, after }
    }
}

impl Recorded<'_> {
    /// Its steps, or others instead of them, with one flush off.
    pub fn run<'a>(&'a self, steps: &'a [Step], off: Option<usize>) -> Run<'a> {
        Run { before: &self.before, unsynced: self.scenario.unsynced, steps, off }
    }
}

fn flushes(calls: &[Call], steps: &[Step]) -> Vec<Flush> {
    let mut counts: HashMap<(u32, &str), usize> = HashMap::new();
    let mut flushes = calls.iter().filter(|call| ["fsync", "fdatasync"].contains(&call.name.as_str()));
    let labels = steps.iter().filter_map(|step| match step {
        Step::Flush(_, label) => Some(label.clone()),
        _ => None,
    });
    let each = labels.map(|label| {
        let call = flushes.next().expect("a call for each flush");
        let nth = counts.entry((call.thread, &call.name)).or_default();
        *nth += 1;
        Flush { label, call: call.name.clone(), nth: *nth }
    });
    let all = each.collect();
    assert!(flushes.next().is_none(), "the program flushes only what it publishes");
    all
}

impl ScenarioFolder {
    /// The program, with settings that publish here.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_at(&self.home, arguments)
    }

    /// The program, with settings that publish to another folder.
    pub fn command_at(&self, home: &Path, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command
            .env("FAISS_INDEX_PATH", home.join(self.names[0]))
            .env("METADATA_PATH", home.join(self.names[1]));
        command
    }

    #[track_caller]
    fn ran(&self, arguments: &[&str]) -> Ran {
        let ran = run(&mut self.command(arguments));
        assert_eq!(ran.code, 0, "{ran:?}");
        ran
    }

    #[track_caller]
    fn built(&self) {
        self.ran(&["build"]);
    }

    /// Leaves what ingest.py leaves on a host: two plain files and nothing else.
    fn back_to_plain_files(&self) {
        let names = PAIR_NAMES.map(|name| self.home.join(name));
        let pair = names.each_ref().map(|name| std::fs::read(name).unwrap());
        std::fs::remove_dir_all(&self.home).unwrap();
        std::fs::create_dir(&self.home).unwrap();
        for (name, bytes) in names.iter().zip(pair) {
            std::fs::write(name, bytes).unwrap();
        }
    }

    /// Makes every promotion eleven minutes older: no reader can still use an old build.
    fn let_the_grace_pass(&self) {
        let path = self.home.join(".reindexd/state.json");
        let mut state: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for promotion in state["promotions"].as_array_mut().unwrap() {
            let at: jiff::Timestamp = promotion["at"].as_str().unwrap().parse().unwrap();
            promotion["at"] = (at - Duration::from_secs(660)).to_string().into();
            let uptime = promotion["uptime_ms"].as_i64().unwrap();
            promotion["uptime_ms"] = (uptime - 660_000).into();
        }
        std::fs::write(path, state.to_string()).unwrap();
    }
}
