//! A Python reader with faiss-cpu during promotions: its pair is always of one build, and no public name
//! is ever missing.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};

use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use serde_json::Value;

use crate::support::{DIMENSION, SOON, World, reader_script, run, start};

/// Promotions during which the loop reads.
const PROMOTIONS: u32 = 60;
const PEOPLE: u32 = 20;

#[test]
fn a_reader_that_resolves_current_once_never_sees_a_mixed_pair() {
    let world = World::in_memory();
    world.add_people(1..=PEOPLE);
    let mut reader = Loop::start(&world);

    for nth in 0..PROMOTIONS {
        promote_another(&world, nth);
    }

    let seen = reader.stop(&world);
    let count = |key: &str| seen[key].as_u64().unwrap();
    assert_eq!(["mixed", "missing", "errors"].map(count), [0; 3], "{seen}");
    assert_eq!(seen["fault"], Value::Null);
    let builds = seen["builds"].as_array().unwrap().len();
    assert!(count("passes") >= 20 && builds >= 10, "too few passes to prove anything: {seen}");
    world.assert_readable();
}

#[test]
fn names_are_never_missing_while_the_files_of_ingest_py_are_adopted_and_replaced() {
    let world = World::with_people(PEOPLE);
    world.ingest(DIMENSION);
    let mut reader = Loop::start(&world);
    let witness = RemovalWatcher::start(&world);

    for nth in 0..5 {
        promote_another(&world, nth);
    }
    for arguments in [&["rollback"][..], &["rollback", "--release"]] {
        let ran = world.run(arguments);
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    let seen = reader.stop(&world);
    assert_eq!(["mixed", "missing", "errors"].map(|key| seen[key].as_u64().unwrap()), [0; 3], "{seen}");
    // The reader checks often, the kernel reports every removal.
    assert_eq!(witness.removed(&world), Vec::<PathBuf>::new());
}

#[test]
fn the_reader_finds_what_the_program_published() {
    let world = World::with_people(PEOPLE);
    world.build();

    let ran = world.python("reader.py", &[&world.path("data")]);

    let id = world.served().unwrap();
    let expected = format!("{id}: {PEOPLE} vectors of {DIMENSION}, {PEOPLE} records, search answers\n");
    assert_eq!((ran.code, ran.stdout), (0, expected));
}

#[test]
fn a_pair_that_was_read_once_stays_readable_after_later_promotions() {
    let world = World::with_people(PEOPLE);
    world.settings("[publish]\nkeep = 2\n");
    world.build();
    // What a reader found when it resolved `current`, before it opened anything.
    let resolved = std::fs::canonicalize(world.path("data/current")).unwrap();

    for nth in 0..5 {
        promote_another(&world, nth);
    }

    let index = std::fs::read(resolved.join("faiss.index")).unwrap();
    assert_eq!(u64::from_le_bytes(index[8..16].try_into().unwrap()), u64::from(PEOPLE));
    let records = std::fs::read(resolved.join("metadata.json")).unwrap();
    let records: Vec<Value> = serde_json::from_slice(&records).unwrap();
    assert_eq!(records.len(), PEOPLE as usize);
}

#[test]
fn the_lines_of_python_in_readme_load_the_pair() {
    let world = World::with_people(PEOPLE);
    world.build();
    let script = world.path("readme.py");
    let lines = readme_lines().join("\n    ");
    let report = "build, index, metadata = load_pair(\"data\")\nprint(build, index.ntotal, len(metadata))";
    std::fs::write(&script, format!("import json, os, faiss\ndef load_pair(data):\n    {lines}\n{report}\n"))
        .unwrap();

    let ran = run(&mut world.python_command(&script, &[]));

    let build = std::fs::canonicalize(world.path("data/current")).unwrap();
    let expected = format!("{} {PEOPLE} {PEOPLE}\n", build.display());
    assert_eq!((ran.code, ran.stdout.as_str()), (0, expected.as_str()), "{ran:?}");
}

#[test]
fn the_lines_of_python_in_readme_are_those_that_the_reader_is_tested_with() {
    let source = std::fs::read_to_string(reader_script("reader.py")).unwrap();
    let body = source.split_once("def load_pair(data):\n").expect("reader.py has load_pair").1;
    let body = body.split_once("\n\n").unwrap().0.lines();
    let tested: Vec<_> = body
        .map(|line| line.strip_prefix("    ").unwrap())
        .filter(|line| !line.starts_with("\"\"\""))
        .collect();

    assert_eq!(tested.len(), 5, "{tested:?}");
    assert_eq!(readme_lines(), tested);
}

/// The block of Python in docs/migrating-from-ingest.md that resolves `current`.
fn readme_lines() -> Vec<String> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migrating-from-ingest.md");
    let readme = std::fs::read_to_string(document).unwrap();
    let blocks = readme.split("```python\n").skip(1).map(|block| block.split("```").next().unwrap());
    let mut blocks = blocks.filter(|block| block.contains("os.path.realpath("));
    let block = blocks.next().expect("docs/migrating-from-ingest.md shows how to load the pair");
    assert_eq!(blocks.next(), None, "one way to load the pair is enough");
    block.lines().map(str::to_owned).collect()
}

/// Promotes a build with another number of records and other bytes; no text is embedded twice.
#[track_caller]
fn promote_another(world: &World, nth: u32) {
    let tags = if nth.is_multiple_of(2) { "NULL" } else { "'[\"tag\", \"other\"]'" };
    world.sql(&format!(
        "UPDATE experts SET tags = {tags} WHERE id = {PEOPLE};
         UPDATE experts SET category = 'round {nth}' WHERE id = 1"
    ));
    assert_eq!(world.build().text("outcome"), "promoted");
}

/// Receives an event from the kernel for every name that is removed from the data directory.
struct RemovalWatcher {
    _watcher: RecommendedWatcher,
    events: Receiver<notify::Event>,
}

impl RemovalWatcher {
    fn start(world: &World) -> Self {
        let (sender, events) = channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // After the end of the test there is no receiver.
            sender.send(event.unwrap()).ok();
        })
        .unwrap();
        watcher.watch(&world.path("data"), RecursiveMode::NonRecursive).unwrap();
        Self { _watcher: watcher, events }
    }

    /// The public names that were removed or moved away; one that is renamed over is neither.
    fn removed(&self, world: &World) -> Vec<PathBuf> {
        let last = world.path("data/last");
        std::fs::write(&last, "").unwrap();
        let names = ["faiss.index", "metadata.json", "current"].map(|name| world.path("data").join(name));
        let away = |kind: EventKind| {
            matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)))
        };
        let mut removed = Vec::new();
        let mut seen = 0;
        loop {
            let event = self.events.recv_timeout(SOON).unwrap();
            assert!(!event.need_rescan(), "events were lost");
            if event.paths.contains(&last) {
                assert!(seen > 0, "there was no event for the names");
                return removed;
            }
            let ours: Vec<_> = event.paths.into_iter().filter(|path| names.contains(path)).collect();
            seen += ours.len();
            if away(event.kind) {
                removed.extend(ours);
            }
        }
    }
}

/// `tests/reader/loop.py`, reading the world's data until it is stopped.
struct Loop {
    child: Child,
}

impl Loop {
    /// Starts it and waits until its first pass is over.
    fn start(world: &World) -> Self {
        let arguments = [world.path("data"), world.path("stop reading")];
        let arguments = arguments.each_ref().map(PathBuf::as_path);
        let mut child = start(&mut world.python_command(&reader_script("loop.py"), &arguments));
        let mut said = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "reading\n");
        Self { child }
    }

    /// What it saw.
    #[track_caller]
    fn stop(&mut self, world: &World) -> Value {
        std::fs::write(world.path("stop reading"), "").unwrap();
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.child.wait().unwrap();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // It may have ended already; then nothing is killed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
