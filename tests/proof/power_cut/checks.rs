//! The promises of README for a folder after a power cut, checked on a state.
//!
//! [`Checker::check_state`] checks what a reader finds before anything else has
//! run. [`Checker::settle`] runs the next pass and checks its result: a pass in
//! this process, in memory, so that thousands of states can be checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use reindexd::adapters::builds::Builds;
use reindexd::flows::reconcile::PassOptions;

use super::directory_image::{Image, Node, Tree};
use super::scenario::{Recorded, ScenarioFolder};
use super::volume::Promise;
use crate::support::pass::{self, PassHarness};
use crate::support::{DIMENSION, run};

const FILES: [&str; 4] = ["faiss.index", "metadata.json", "manifest.json", "hashes.bin"];

/// How many served texts a provider at another address embeds first.
const COMPARED: usize = 16;

/// The expectations of one scenario.
pub struct Checker {
    /// The two published names, and the folder of the first, which has everything else.
    names: [&'static str; 2],
    data: PathBuf,
    /// Every complete build that existed: its files by name, and its folder's mode.
    builds: BTreeMap<String, BTreeMap<&'static str, Image>>,
    folder_modes: BTreeMap<String, u32>,
    /// Builds that are removed: no reader may need them any more.
    removed: BTreeSet<String>,
    /// The build that was served before, and the one that is served when success is reported.
    before: Option<String>,
    expected: String,
    /// The plain files of ingest.py, if there were any.
    plain: BTreeMap<&'static str, Image>,
    /// Whether ingest.py itself may have lost what it wrote.
    unsynced: bool,
    had_names: bool,
    hold: Hold,
    /// Index, metadata and hashes that the next pass may lead to.
    settled: Vec<[blake3::Hash; 3]>,
    /// How many texts the scenario embeds.
    embeds: usize,
    database: PathBuf,
}

/// What happens to a rollback's hold.
#[derive(PartialEq)]
enum Hold {
    None,
    /// It exists from the switch on.
    Begins,
    /// It does not exist when success is reported.
    Ends,
}

impl Checker {
    pub fn of(recorded: &Recorded<'_>) -> Self {
        let names = recorded.scenario.names;
        let data = Path::new(names[0]).parent().unwrap().to_owned();
        let (before, after) = (&recorded.before.below(&data), &recorded.after.below(&data));
        let (mut builds, mut folder_modes) = (BTreeMap::new(), BTreeMap::new());
        for tree in [before, after] {
            for id in tree.names("builds") {
                let folder = Path::new("builds").join(&id);
                let file = |name: &&'static str| (*name, tree.file(folder.join(name)).unwrap().clone());
                let Some(Node::Folder { mode }) = tree.0.get(&folder) else { panic!("{id} is not a folder") };
                folder_modes.insert(id.clone(), *mode);
                builds.insert(id, FILES.iter().map(file).collect());
            }
        }
        let removed = before.names("builds").into_iter().filter(|id| !after.names("builds").contains(id));
        let has_hold = |tree: &Tree| tree.file(".reindexd/hold.json").is_some();
        let plain = |name: &&'static str| match recorded.before.0.get(Path::new(name)) {
            Some(Node::File { image, .. }) => Some((*name, image.clone())),
            _ => None,
        };
        Self {
            removed: removed.collect(),
            before: served(before),
            expected: served(after).expect("something is served in the end"),
            plain: names.iter().filter_map(plain).collect(),
            unsynced: !recorded.scenario.unsynced.is_empty(),
            had_names: names.iter().all(|name| recorded.before.file(name).is_some()),
            hold: match (has_hold(before), has_hold(after)) {
                (false, true) => Hold::Begins,
                (true, false) => Hold::Ends,
                _ => Hold::None,
            },
            settled: Vec::new(),
            embeds: recorded.scenario.embeds,
            database: recorded.place.world.database(),
            names,
            data,
            builds,
            folder_modes,
        }
        .with_settled()
    }

    /// A build leads to its own files; if a hold begins or ends, to the files of either build.
    fn with_settled(mut self) -> Self {
        let three = |files: &BTreeMap<&str, Image>| {
            ["faiss.index", "metadata.json", "hashes.bin"].map(|name| files[name].content.digest)
        };
        let ids: Vec<&String> = match self.hold {
            Hold::None => vec![&self.expected],
            Hold::Begins | Hold::Ends => self.builds.keys().collect(),
        };
        self.settled = ids.into_iter().map(|id| three(&self.builds[id])).collect();
        self
    }

    /// Checks what a reader finds, and what an operator would find.
    pub fn check_state(&self, tree: &Tree, promise: Promise) -> Result<(), String> {
        let data = &tree.below(&self.data);
        for id in data.names("builds") {
            if !id.ends_with(".staging") && !self.removed.contains(&id) {
                self.is_whole(data, &id)?;
            }
        }
        sent_is_counted(data, promise)?;
        address_is_noted(data, promise)?;
        let served = self.is_served(data, promise)?;
        self.names_lead_to(tree, served.as_deref(), promise)?;
        self.notes_are_whole(data, served.as_deref(), promise)
    }

    fn is_whole(&self, tree: &Tree, id: &str) -> Result<(), String> {
        let files = self.builds.get(id).ok_or(format!("unknown build {id}"))?;
        let folder = Path::new("builds").join(id);
        match tree.0.get(&folder) {
            Some(Node::Folder { mode }) if *mode == self.folder_modes[id] => {}
            other => return Err(format!("the folder of a build is {other:?}")),
        }
        for (name, image) in files {
            let found = tree.file(folder.join(name));
            if found != Some(image) {
                return Err(format!(
                    "a build has its final name, and its {name} is {}",
                    describe_difference(found, image)
                ));
            }
        }
        Ok(())
    }

    /// The build that `current` leads to.
    fn is_served(&self, tree: &Tree, promise: Promise) -> Result<Option<String>, String> {
        let served = served(tree);
        match &served {
            None if self.before.is_some() || promise.reported => return Err("current is missing".to_owned()),
            None => {}
            Some(id) if !tree.0.contains_key(&Path::new("builds").join(id)) => {
                return Err("current leads to a build that does not exist".to_owned());
            }
            Some(id) => self.is_whole(tree, id)?,
        }
        if promise.reported && served.as_deref() != Some(&*self.expected) {
            return Err("success was reported, and the build before is served again".to_owned());
        }
        Ok(served)
    }

    fn names_lead_to(&self, tree: &Tree, served: Option<&str>, promise: Promise) -> Result<(), String> {
        for (name, file) in self.names.into_iter().zip(FILES) {
            let found = tree.file(name);
            match tree.0.get(Path::new(name)) {
                None if self.had_names || promise.reported => {
                    return Err(format!("{name} is missing"));
                }
                None => {}
                Some(Node::Link(_)) if found.is_some() => {}
                Some(Node::File { .. }) if !promise.reported && self.is_as_ingest_left_it(name, found) => {
                    // If the other name is a link, both must lead to files of the served build.
                    let other = self.names.iter().find(|other| **other != name);
                    let other = other.and_then(|other| tree.0.get(Path::new(other)));
                    let torn = found.map(|image| image.content.digest)
                        != self.plain.get(name).map(|image| image.content.digest);
                    if let (Some(Node::Link(_)), Some(id), false) = (other, served, torn)
                        && self.builds[id][file].content.digest != self.plain[name].content.digest
                    {
                        return Err(format!("{name} is the old one, and the other name the new one"));
                    }
                }
                Some(node) => return Err(format!("{name} is {}", kind(node, found))),
            }
        }
        Ok(())
    }

    fn is_as_ingest_left_it(&self, name: &str, found: Option<&Image>) -> bool {
        self.unsynced || found.is_some() && found == self.plain.get(name)
    }

    fn notes_are_whole(&self, tree: &Tree, served: Option<&str>, promise: Promise) -> Result<(), String> {
        let note = |path: &str| match tree.json(path) {
            Some(Err(error)) => Err(format!("{path} is torn: {error}")),
            Some(Ok(note)) => Ok(Some(note)),
            None => Ok(None),
        };
        let served_note = note("served.json")?;
        if promise.reported && served_note.is_none() && self.before.is_some() {
            return Err("served.json is missing".to_owned());
        }
        if note(".reindexd/claim.json")?.is_none() && served.is_some() {
            return Err("a build is served, and the claim on the folder is missing".to_owned());
        }
        let state = note(".reindexd/state.json")?;
        let last = state.as_ref().and_then(|state| state["promotions"].as_array()?.last()?["build"].as_str());
        if promise.reported && last != Some(&*self.expected) {
            return Err("success was reported, and state.json does not have it".to_owned());
        }
        let hold = note(".reindexd/hold.json")?;
        let held = hold.as_ref().and_then(|hold| hold["build"].as_str());
        match self.hold {
            Hold::Begins if served == Some(&*self.expected) && held != served => {
                Err("the earlier build is served, and there is no hold".to_owned())
            }
            Hold::Ends if promise.reported && hold.is_some() => Err("there is a hold again".to_owned()),
            _ => Ok(()),
        }
    }

    /// Runs the next pass, and checks its result.
    pub fn settle(&self, tree: &Tree, promise: Promise) -> Result<(), String> {
        pass::wait(now() - pass::now());
        let folder = pass::folder();
        tree.write(folder.path());
        let root = folder.path().to_owned();
        let mut harness = PassHarness::at(folder, &self.database, DIMENSION);
        let publish = &mut harness.config.publish;
        [publish.index, publish.metadata] = self.names.map(|name| root.join(name));
        let report = harness.pass(&PassOptions::default(), usize::MAX).map_err(|error| error.to_line())?;
        let warnings = harness.warned.lock().unwrap().join("; ");
        let embedded = harness.embedded.lock().unwrap().len();
        let missing = self.embeds - promise.stored;
        // The next pass has another provider, which is compared before it embeds beside what is served, and
        // before vectors that are only stored are used.
        let compared = match self.before {
            Some(_) if missing > 0 => COMPARED,
            Some(_) => 0,
            None => cached(&tree.below(&self.data)).min(COMPARED),
        };
        if embedded > missing + compared || report.counts.embedded > missing as u64 {
            return Err(format!("{} texts were stored, and {embedded} embedded again", promise.stored));
        }
        if !self.is_settled(&root) {
            return Err(format!("the next pass leads to other files: {report:?}; {warnings}"));
        }
        let left = Tree::read(&root);
        if left.0.keys().any(|path| path.to_string_lossy().contains(".damaged-")) {
            return Err(format!("the next pass finds a damaged cache: {warnings}"));
        }
        if let Some(left) = left.0.keys().find(|path| is_garbage(path)) {
            return Err(format!("the next pass leaves {}", left.display()));
        }
        let [index, metadata] = self.names.map(|name| root.join(name));
        let builds = Builds::at(&index, &metadata).unwrap();
        let checks = builds
            .served()
            .build()
            .ok_or("nothing is served")?
            .run_checks(&reindexd::domain::stop::Stop::new())
            .unwrap();
        let failed = reindexd::adapters::builds::verify::failed(&checks);
        if failed.is_empty() {
            self.check_state(&left, Promise::default()).or_else(|why| rebuilt(&why))
        } else {
            Err(failed)
        }
    }
}

impl Checker {
    /// Whether index, metadata and hashes are those that a pass may lead to.
    fn is_settled(&self, root: &Path) -> bool {
        let served = root.join(&self.data).join("current");
        let digest = |name| blake3::hash(&std::fs::read(served.join(name)).unwrap());
        self.settled.contains(&["faiss.index", "metadata.json", "hashes.bin"].map(digest))
    }

    /// Runs the program itself, as a person would, and checks its result.
    pub fn settle_by_hand(&self, tree: &Tree, folder_of_scenario: &ScenarioFolder) -> Result<(), String> {
        let folder = pass::folder();
        tree.write(folder.path());
        for command in ["build", "verify"] {
            let ran = run(&mut folder_of_scenario.command_at(folder.path(), &[command, "--json"]));
            if ran.code != 0 {
                return Err(format!("{command}: {ran:?}"));
            }
        }
        let left = Tree::read(folder.path()).0.into_keys().find(|path| is_garbage(path));
        match left {
            Some(left) => Err(format!("a build leaves {}", left.display())),
            None if self.is_settled(folder.path()) => Ok(()),
            None => Err("a build leads to other files".to_owned()),
        }
    }
}

/// Whether the texts that left are counted or have a stored vector. A damaged count stands for any number.
fn sent_is_counted(tree: &Tree, promise: Promise) -> Result<(), String> {
    if promise.sent == 0 {
        return Ok(());
    }
    let Some(file) = tree.file(".reindexd/sent.json") else {
        return Err(format!("{} texts left, and nothing says so", promise.sent));
    };
    match reindexd::domain::sent_texts::SentTexts::parse(&file.content.bytes) {
        Ok(found) if found.unanswered < promise.sent as u64 => {
            let counted = usize::try_from(found.unanswered).expect("less than what was sent");
            let (left, stored) = (promise.stored + promise.sent, cached(tree));
            if stored + counted >= left {
                return Ok(());
            }
            Err(format!("{left} texts left, {stored} have a stored vector, and {counted} are counted"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether the note exists that says whose vectors are stored: without it they pass for anyone's.
fn address_is_noted(tree: &Tree, promise: Promise) -> Result<(), String> {
    match tree.json(".reindexd/cached-from.json") {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(format!("the note of the cache's provider is torn: {error}")),
        None if promise.stored == 0 => Ok(()),
        // A build has them, with the address in its manifest.
        None if cached(tree) == 0 => Ok(()),
        None => Err(format!("{} texts are stored, and nothing says from where", promise.stored)),
    }
}

/// How many vectors the cache has; its files are copied, because opening them changes them.
fn cached(tree: &Tree) -> usize {
    let copy = pass::folder();
    for name in ["embeddings.sqlite", "embeddings.sqlite-wal"] {
        let Some(image) = tree.file(Path::new(".reindexd").join(name)) else { continue };
        std::fs::write(copy.path().join(name), &image.content.bytes).unwrap();
    }
    let opened = rusqlite::Connection::open(copy.path().join("embeddings.sqlite")).unwrap();
    // Without tables there is none.
    opened.query_row("SELECT count(*) FROM entry", [], |row| row.get(0)).unwrap_or(0)
}

/// After a pass there may be a new build, whose checks have succeeded before.
fn rebuilt(why: &str) -> Result<(), String> {
    if why.starts_with("unknown build") { Ok(()) } else { Err(format!("after the next pass: {why}")) }
}

/// The build that `current` names.
fn served(tree: &Tree) -> Option<String> {
    match tree.0.get(Path::new("current"))? {
        Node::Link(target) => Some(target.file_name()?.to_str()?.to_owned()),
        other => panic!("current is {other:?}"),
    }
}

/// Whether a path belongs to a staging, whose bytes do not matter.
pub fn is_garbage(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str().as_encoded_bytes().ends_with(b".staging"))
}

fn describe_difference(found: Option<&Image>, expected: &Image) -> String {
    let Some(found) = found else { return "missing".to_owned() };
    let (bytes, of) = (found.content.bytes.len(), expected.content.bytes.len());
    match (bytes == of, found.content.digest == expected.content.digest) {
        (_, true) => format!("of mode {:o}, not {:o}", found.mode, expected.mode),
        (true, _) => "of other bytes".to_owned(),
        (false, _) => format!("of {bytes} bytes, not {of}"),
    }
}

fn kind(node: &Node, found: Option<&Image>) -> &'static str {
    match (node, found) {
        (Node::Link(_), None) => "a link that leads nowhere",
        (Node::File { .. }, _) => "a plain file that has changed",
        _ => "not a file",
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}
