//! Readers during promotions: index and metadata are opened, mapped and searched in other processes while
//! builds are promoted and collected as fast as possible.
//!
//! A build that was replaced is kept for ten minutes, for readers that resolved it
//! and have not opened it yet. Here promotions age [`AGEING`] times as fast, so
//! that ten minutes are over in three seconds and builds are collected while
//! readers have them open: those must not notice, and a reader that opens what it
//! resolved within the three seconds must find it.

mod raw_reader;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::{World, reader_script, start};
use crate::{report, sampling, subprocess};
use raw_reader::{ReaderPlan, Seen};
use subprocess::ChildTest;

const CHAPTER: &str = "readers";
const PEOPLE: u32 = 60;
/// How many times faster than time promotions age.
const AGEING: i32 = 200;
/// Ten minutes at this speed.
const GRACE: Duration = Duration::from_secs(3);
/// How many promotions there are between two ageings.
const PROMOTIONS_PER_AGEING: u32 = 5;

#[test]
fn readers_always_see_a_whole_pair() {
    if let Some(plan) = subprocess::part() {
        return raw_reader::read(&plan);
    }
    let world = World::in_memory();
    world.add_people(1..=PEOPLE);
    let agent = world.agent_with("on = [\"marker\"]\n[publish]\nkeep = 2\n");
    agent.wait_for_promotions(1);
    let raw_readers: Vec<(ChildTest, ReaderPlan)> = [false, true]
        .into_iter()
        .cycle()
        .take(sampling::pick(2, 4))
        .enumerate()
        .map(|(nth, by_name)| raw_reader(&world, nth, by_name))
        .collect();
    let mut mapped: Vec<Mapped> = (0..sampling::pick(1, 2)).map(|_| Mapped::start(&world)).collect();

    let (promotions, seconds) = promote(&world, &agent, sampling::pick(8, 60));

    std::fs::write(world.path("stop reading"), "").unwrap();
    let mut by_current: Vec<Seen> = mapped.iter_mut().map(Mapped::seen).collect();
    let mut by_name = Vec::new();
    for (reader, plan) in raw_readers {
        assert_eq!(reader.ended(), 0);
        let seen = serde_json::from_slice(&std::fs::read(plan.report).unwrap()).unwrap();
        if plan.by_name { by_name.push(seen) } else { by_current.push(seen) }
    }
    let collected = promotions as usize - world.builds().len();
    report::report_line(
        CHAPTER,
        &format!("{promotions} promotions and {collected} collections in {seconds:.0} s"),
    );
    for (how, readers, fewest) in [
        ("by current", &by_current, sampling::pick((50, 2), (1_000, 100))),
        ("by the old names", &by_name, sampling::pick((20, 0), (500, 0))),
    ] {
        check_readers(how, readers, fewest);
    }
    let (min_promotions, min_collected) = sampling::pick((20, 5), (500, 200));
    assert!(promotions >= min_promotions && collected >= min_collected, "too few to prove anything");
    world.assert_readable();
    world.assert_proven();
    agent.stop();
}

/// Reports what readers saw: no fault, and at least `fewest` pairs opened, and
/// pairs that outlived their builds.
#[track_caller]
fn check_readers(how: &str, readers: &[Seen], fewest: (u64, u64)) {
    let sum = |count: fn(&Seen) -> u64| readers.iter().map(count).sum::<u64>();
    let (opened, outlived) = (sum(|seen| seen.opened), sum(|seen| seen.outlived));
    let builds: BTreeSet<&String> = readers.iter().flat_map(|seen| &seen.builds).collect();
    report::report_line(
        CHAPTER,
        &format!(
            "{} readers {how}: {opened} pairs opened of {} builds, {} searches, {outlived} pairs read again after their builds were collected, {} straddled a switch, {} were late",
            readers.len(),
            builds.len(),
            sum(|seen| seen.searched),
            sum(|seen| seen.straddled),
            sum(|seen| seen.late),
        ),
    );
    let faults: Vec<&String> = readers.iter().flat_map(|seen| &seen.faults).collect();
    assert_eq!(faults, Vec::<&String>::new(), "{how}");
    assert!(opened >= fewest.0 && outlived >= fewest.1, "{how}: too few pairs to prove anything");
    // A reader that a busy machine delays proves nothing.
    assert!(sum(|seen| seen.late) * 10 <= opened, "{how}: too late too often");
}

fn raw_reader(world: &World, nth: usize, by_name: bool) -> (ChildTest, ReaderPlan) {
    let plan = ReaderPlan {
        data: world.path("data"),
        by_name,
        grace: GRACE,
        stop: world.path("stop reading"),
        report: world.path(&format!("raw reader {nth}")),
    };
    (ChildTest::start(&plan), plan)
}

/// Promotes one build after the other for `seconds`; returns how many there are, the first included.
fn promote(world: &World, agent: &Agent, seconds: u64) -> (u32, f64) {
    let database = world.connect();
    let mut ages = BTreeMap::new();
    let mut promotions = 1;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        let before = world.served();
        // Another number of records, another text of the first one, other bytes in all files.
        let tags = if promotions % 2 == 0 { "NULL" } else { "'[\"tag\", \"other\"]'" };
        database
            .execute_batch(&format!(
                "BEGIN; UPDATE experts SET tags = {tags} WHERE id = {PEOPLE};
                 UPDATE experts SET bio = 'Bio of round {promotions}.' WHERE id = 1; COMMIT"
            ))
            .unwrap();
        agent.signal(Signal::USR1);
        agent.wait_for("another build is served", || world.served() != before);
        promotions += 1;
        if promotions % PROMOTIONS_PER_AGEING == 0 {
            age_promotions(world, &mut ages);
        }
    }
    (promotions, began.elapsed().as_secs_f64())
}

/// Makes each promotion [`AGEING`] times as old as it is.
fn age_promotions(world: &World, ages: &mut BTreeMap<String, (Timestamp, i64)>) {
    // The state of passes may only be changed under their lock.
    let lock = std::fs::File::options().write(true).open(world.path("data/.reindexd/lock")).unwrap();
    lock.lock().unwrap();
    let path = world.path("data/.reindexd/state.json");
    let mut state: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let now = Timestamp::now();
    for promotion in state["promotions"].as_array_mut().unwrap() {
        let at: Timestamp = promotion["at"].as_str().unwrap().parse().unwrap();
        let uptime = promotion["uptime_ms"].as_i64().unwrap();
        let build = promotion["build"].as_str().unwrap().to_owned();
        let (at, uptime) = *ages.entry(build).or_insert((at, uptime));
        let age = now.duration_since(at);
        // The grace counts by the time since the start of the host, the clock is only for people.
        promotion["at"] = (now - age * AGEING).to_string().into();
        promotion["uptime_ms"] = (uptime - i64::try_from((age * (AGEING - 1)).as_millis()).unwrap()).into();
    }
    std::fs::write(&path, state.to_string()).unwrap();
}

/// `tests/reader/mapped.py`, which reads until the stop file exists.
struct Mapped(Child);

impl Mapped {
    /// Starts it and waits until it has opened the first pair.
    fn start(world: &World) -> Self {
        let arguments =
            [world.path("data"), world.path("stop reading"), PathBuf::from(GRACE.as_secs().to_string())];
        let arguments = arguments.each_ref().map(PathBuf::as_path);
        let mut child = start(&mut world.python_command(&reader_script("mapped.py"), &arguments));
        let mut output = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut output).unwrap();
        assert_eq!(output, "reading\n");
        Self(child)
    }

    /// What it saw, as it prints it at its end.
    #[track_caller]
    fn seen(&mut self) -> Seen {
        let mut output = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        self.0.wait().unwrap();
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // It may have ended already; then nothing is killed.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
