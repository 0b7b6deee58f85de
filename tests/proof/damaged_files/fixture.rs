//! A host with everything that the program reads; a copy of it restores it before each case.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::process::Signal;

use super::bounded_run::tree;
use super::damage::{self, Damage};
use crate::support::agent::Agent;
use crate::support::{SOON, World};

/// People whose vectors are in the older build, in the served one, and in the table.
pub const PEOPLE: [u32; 3] = [4, 5, 9];
/// Texts whose vector is only in the cache.
pub const CACHED: usize = 2;

/// A world with two builds, a table with more, a cache in use, and every state file.
pub struct Fixture {
    pub world: World,
    /// The build that was served before, and the served one.
    pub builds: [String; 2],
    /// Tagged rows of the table.
    pub people: u32,
    /// Whether a build is served.
    pub served: bool,
    /// How many of their texts have no vector anywhere.
    pub new: usize,
}

impl Fixture {
    /// The content of the table is served; the agent has run, the cache is empty.
    pub fn settled() -> Self {
        let world = World::in_memory();
        world.add_people(1..=PEOPLE[0]);
        let before = world.build().text("build");
        world.add_people(PEOPLE[0] + 1..=PEOPLE[1]);
        let served = world.build().text("build");
        std::fs::write(world.path("data/tagging-complete"), "touched").unwrap();
        let agent = world.agent();
        agent.wait_for("the marker is recorded as handled", || {
            world.path("data/.reindexd/marker.json").exists()
        });
        agent.wait_for("the agent's note", || world.path("data/.reindexd/agent.json").exists());
        agent.stop();
        std::fs::remove_file(world.path("reindexd.toml")).unwrap();
        std::fs::create_dir(world.path("outside")).unwrap();
        std::fs::write(world.path("outside/other.json"), "{\"not\": \"ours\"}").unwrap();
        Self { world, builds: [before, served], people: PEOPLE[1], served: true, new: 0 }
    }

    /// The same with more people in the table, some of whose vectors a killed pass left in the cache.
    pub fn behind() -> Self {
        let place = Self::settled();
        let world = &place.world;
        world.add_people(PEOPLE[1] + 1..=PEOPLE[2]);
        world.settings("[embedding]\nbatch_size = 1\nconcurrency = 1\n");
        world.provider.hold_after(CACHED);
        let seen = world.provider.request_count();
        let mut killed = Agent::start(&mut world.command(&["build"]));
        assert!(world.provider.wait_for_requests(seen + CACHED + 1, SOON), "{}", killed.log());
        killed.signal(Signal::KILL);
        killed.ended(SOON);
        world.provider.release();
        std::fs::remove_file(world.path("reindexd.toml")).unwrap();
        place.note(
            "hold",
            &format!(
                "{{\"build\": {:?}, \"from\": null, \"content_hash\": null, \"by\": \"test\", \"at\": {:?}}}",
                place.builds[0],
                Timestamp::UNIX_EPOCH.to_string()
            ),
        );
        place.note("announced", "{}");
        Self { people: PEOPLE[2], new: (PEOPLE[2] - PEOPLE[1]) as usize - CACHED, ..place }
    }

    /// A host after ingest.py: two plain files under the public names, and no file of ours.
    pub fn plain() -> Self {
        let place = Self::settled();
        let data = place.world.path("data");
        for (name, aside) in [("faiss.index", "older.index"), ("metadata.json", "older.json")] {
            let plain = place.world.published(name);
            damage::remove(&data.join(name));
            std::fs::write(data.join(name), plain).unwrap();
            damage::copy(&data.join("builds").join(&place.builds[0]).join(name), &data.join(aside));
        }
        for name in ["builds", "current", "served.json", ".reindexd"] {
            damage::remove(&data.join(name));
        }
        Self { served: false, new: PEOPLE[1] as usize, ..place }
    }

    fn note(&self, name: &str, json: &str) {
        std::fs::write(self.world.path("data/.reindexd").join(format!("{name}.json")), json).unwrap();
    }

    /// Copies everything, as the state that each case begins with.
    pub fn keep(self) -> Self {
        damage::copy(&self.world.path("data"), &self.world.path("kept"));
        self
    }

    /// Restores the fixture, damages one file, acts, and asserts that nothing
    /// outside the data folder changed.
    pub fn damaged<T>(&self, target: &Target, damage: Damage, what: &str, act: impl FnOnce() -> T) -> T {
        self.restore();
        self.damage(target, damage);
        let outside = || tree(&self.world.path(""), &self.world.path("data"));
        let before = outside();
        let result = act();
        let after = outside();
        let others: Vec<_> = after.iter().filter(|(path, facts)| before.get(*path) != Some(facts)).collect();
        assert!(
            others.is_empty() && before.len() == after.len(),
            "{what}: outside the data folder: {others:?}"
        );
        result
    }

    /// Restores everything.
    pub fn restore(&self) {
        damage::copy(&self.world.path("kept"), &self.world.path("data"));
        damage::remove(&self.outside().join("target"));
        self.world.provider.begin_life();
    }

    /// Restores one damaged file, whatever exists at its path.
    pub fn restore_target(&self, target: &Target) {
        damage::copy(&self.world.path("kept").join(&target.at), &self.path(target));
    }

    /// Damages one file.
    pub fn damage(&self, target: &Target, damage: Damage) {
        let other = target.other.as_ref().map(|other| self.world.path("data").join(other));
        let other = other.unwrap_or_else(|| self.outside().join("other.json"));
        damage.apply(&self.path(target), &other, &self.outside());
    }

    /// The path of a file.
    pub fn path(&self, target: &Target) -> PathBuf {
        self.world.path("data").join(&target.at)
    }

    fn outside(&self) -> PathBuf {
        self.world.path("outside")
    }

    /// Every possible damage of each of these.
    pub fn cases(&self, targets: Vec<Target>) -> Vec<(Target, Damage)> {
        let all = |target: Target| {
            let damages = Damage::all_to(&self.path(&target));
            damages.into_iter().map(move |damage| (target.clone(), damage))
        };
        targets.into_iter().flat_map(all).collect()
    }
}

/// A file, link or directory that the program reads.
#[derive(Clone, Debug)]
pub struct Target {
    /// Below `data/`.
    pub at: PathBuf,
    /// The file that a swap replaces it by.
    other: Option<PathBuf>,
    /// Names of which one must be in every message about it.
    pub names: Vec<String>,
    /// How many embedded texts may have to be embedded again at most.
    pub lost: usize,
}

impl Target {
    fn new(at: impl AsRef<Path>, lost: usize) -> Self {
        let at = at.as_ref().to_owned();
        // Where nothing leads to a build, no name can be in the message.
        let name = at.file_name().unwrap().to_str().unwrap().to_owned();
        let names = vec![name, "nothing is served yet".to_owned()];
        Self { at, other: None, names, lost }
    }

    /// The four files of a build; texts whose vector only this build has must be embedded again without it.
    pub fn of_build(build: &str, other: &str, only_here: usize) -> Vec<Self> {
        let file = |(name, word, lost): (&str, &str, usize)| Self {
            other: Some(Path::new("builds").join(other).join(name)),
            names: vec![word.to_owned(), build.to_owned()],
            ..Self::new(Path::new("builds").join(build).join(name), lost)
        };
        let files = [
            ("faiss.index", "index", only_here),
            ("metadata.json", "metadata", 0),
            ("hashes.bin", "hashes", only_here),
            ("manifest.json", "manifest", only_here),
        ];
        files.map(file).into()
    }

    /// Notes that outlast a pass, locks, the marker, and the names that lead to the served build.
    pub fn notes_and_names() -> Vec<Self> {
        let notes = ["state", "hold", "marker", "agent", "announced", "claim"];
        let notes = notes.map(|name| Self::new(format!(".reindexd/{name}.json"), 0));
        let locks =
            ["lock", "agent.lock", "notes.lock"].map(|name| Self::new(format!(".reindexd/{name}"), 0));
        let names = ["served.json", "tagging-complete", "current", "faiss.index", "metadata.json"];
        notes.into_iter().chain(locks).chain(names.map(|name| Self::new(name, 0))).collect()
    }

    /// The cache and the files that SQLite may have next to it.
    pub fn of_cache() -> Vec<Self> {
        let files = ["", "-wal", "-shm", "-journal"];
        files
            .map(|more| Self {
                names: vec!["embeddings.sqlite".to_owned()],
                ..Self::new(format!(".reindexd/embeddings.sqlite{more}"), CACHED)
            })
            .into()
    }

    /// The database and the files that SQLite may have next to it.
    pub fn of_database() -> Vec<Self> {
        let files = ["", "-wal", "-shm", "-journal"];
        files
            .map(|more| Self {
                names: vec!["experts.db".to_owned(), "/dev/zero".to_owned()],
                ..Self::new(format!("experts.db{more}"), usize::MAX)
            })
            .into()
    }

    /// The two plain files that ingest.py leaves.
    pub fn plain() -> Vec<Self> {
        let files = [("faiss.index", "older.index"), ("metadata.json", "older.json")];
        files.map(|(name, older)| Self { other: Some(older.into()), ..Self::new(name, 0) }).into()
    }

    /// The directories of the program.
    pub fn directories(served: &str) -> Vec<Self> {
        vec![
            Self::new("builds", PEOPLE[1] as usize),
            Self::new(Path::new("builds").join(served), 1),
            Self::new(".reindexd", CACHED),
        ]
    }
}
