//! A disk that is full, or has no inode left, from any step of a build on.
//!
//! The program is stopped as it enters one of its calls that need room, the
//! disk is filled to the last byte or inode, and the program goes on. So the
//! disk fills in the middle of each phase: staging, metadata, purchase, cache,
//! index, hashes, manifest, proof, promotion, state, adoption.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::{Before, CaseCounts, in_mounts_of_its_own, not_run};
use crate::sampling::thinned;
use crate::strace;
use crate::support::agent::Agent;
use crate::support::{SOON, World, process_state, run};

/// The calls that need room.
const CALLS: &str = "?mkdir,?mkdirat,?write,?pwrite64,?rename,?renameat,?renameat2,?symlink,?symlinkat,\
     ?link,?linkat,?openat,?fsync,?fdatasync,?ftruncate,?fallocate";
/// How the lack is named: by the system, by SQLite in the cache, by our own reckoning.
const NAMED: [&str; 4] =
    ["No space left on device", "disk is full", "not enough disk space", "disk I/O error"];

/// The most steps of one work at which the disk is filled.
const MAX_STEPS: usize = 45;

/// What there is no more of.
#[derive(Clone, Copy, Debug)]
enum Shortage {
    Bytes,
    Inodes,
}

/// What is being made.
#[derive(Clone, Copy, Debug)]
enum Work {
    Change,
    Adoption,
}

#[test]
#[ignore = "takes its time: `make proof` runs it"]
fn disk_full_at_any_step_keeps_the_served_build() {
    in_mounts_of_its_own(|| {
        if let Err(reason) = strace::available() {
            return not_run(&reason);
        }
        for work in [Work::Change, Work::Adoption] {
            for lack in [Shortage::Bytes, Shortage::Inodes] {
                fill_at_each_step(work, lack);
            }
        }
    });
}

fn fill_at_each_step(work: Work, lack: Shortage) {
    let began = Instant::now();
    let (mut tally, mut places) = (CaseCounts::default(), BTreeSet::new());
    let steps = steps(work);
    let mut place = SmallDisk::new(work);
    let every = steps.clone().step_by(steps.count().div_ceil(MAX_STEPS));
    for step in thinned(every.collect(), 4) {
        let case = format!("{work:?}, no {lack:?} from call {step} on");
        place.begin();
        let before = Before::of(&place.world);
        let Some((code, words, at)) = place.build_until_full(step, lack) else {
            place.assert_next(&case);
            tally.count("past the last call");
            continue;
        };
        places.insert(at);
        place.check(&case, &before, code, &words, &mut tally);
    }
    let touched = places.into_iter().collect::<Vec<_>>().join(" ");
    tally.report(&format!("disk, {work:?} without {lack:?}"), began);
    crate::report::report_line(
        super::CHAPTER,
        &format!("disk, {work:?} without {lack:?}, filled at: {touched}"),
    );
    assert!(tally.of("refused") > 0);
}

/// The calls of one such build that are on files of ours, by their numbers.
fn steps(work: Work) -> RangeInclusive<usize> {
    let mut place = SmallDisk::new(work);
    place.begin();
    let log = place.world.path("calls");
    let options = ["-y", "-e", &format!("trace={CALLS}")];
    let mut build = Agent::start(&mut strace::traced(&place.world.command(&["build"]), &log, &options));
    assert_eq!(build.ended(SOON), 0, "{}", build.log());
    let calls = strace::calls(&log);
    let of_main: Vec<_> = calls.iter().filter(|call| call.thread == calls[0].thread).collect();
    let is_ours = |call: &&strace::Call| call.arguments.contains("data/");
    let first = of_main.iter().position(is_ours).unwrap();
    let last = of_main.iter().rposition(is_ours).unwrap();
    first + 1..=last + 1
}

/// A world on a file system of its own.
struct SmallDisk {
    world: World,
    work: Work,
    people: u32,
}

impl SmallDisk {
    fn new(work: Work) -> Self {
        let world = World::new();
        let mounted = run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m,nr_inodes=800", "none"])
            .arg(world.path("data")));
        assert_eq!(mounted.code, 0, "{mounted:?}");
        world.make_table();
        world.add_people(1..=40);
        Self { world, work, people: 40 }
    }

    /// What the next build begins with.
    fn begin(&mut self) {
        match self.work {
            Work::Change => {
                self.world.build();
                // Old builds are collected, so that the disk is full by our doing alone.
                self.world.let_the_grace_pass();
                self.world.add_people(self.people + 1..=self.people + 10);
                self.people += 10;
            }
            Work::Adoption => {
                self.world.build();
                let pair = ["faiss.index", "metadata.json"].map(|name| (name, self.world.published(name)));
                for folder in ["builds", ".reindexd"] {
                    std::fs::remove_dir_all(self.world.path("data").join(folder)).unwrap();
                }
                for name in ["current", "served.json"] {
                    std::fs::remove_file(self.world.path("data").join(name)).unwrap();
                }
                for (name, bytes) in pair {
                    let path = self.world.path("data").join(name);
                    std::fs::remove_file(&path).unwrap();
                    std::fs::write(path, bytes).unwrap();
                }
            }
        }
    }

    /// Builds, and fills the disk as call `step` begins; gives exit code, words and what that call was on.
    fn build_until_full(&self, step: usize, lack: Shortage) -> Option<(i32, String, String)> {
        let log = self.world.path("calls");
        let stop = format!("inject={CALLS}:signal=STOP:when={step}");
        let options = ["-y", "-e", &format!("trace={CALLS}"), "-e", &stop];
        let mut build = Agent::start(&mut strace::traced(&self.world.command(&["build"]), &log, &options));
        let mut stopped = None;
        build.wait_for("a stop or the end", || {
            stopped = child_of(build.pid()).filter(|child| matches!(process_state(*child), Some('t' | 'T')));
            let is_over = process_state(build.pid()).is_none_or(|state| state == 'Z');
            is_over
                || stopped.is_some_and(|_| {
                    std::fs::read_to_string(&log).is_ok_and(|log| log.contains("stopped by SIGSTOP"))
                })
        });
        let child = stopped?;
        fill(&self.world.path("data"), lack);
        let calls = strace::calls(&log);
        let main = child.as_raw_nonzero().get().unsigned_abs();
        let at = calls.iter().rfind(|call| call.thread == main).map(|call| place_of(&call.arguments));
        // Each thread counts its own calls, so that another one may come to a stop after this one.
        build.wait_for("the end", || {
            if process_state(child).is_some_and(|state| matches!(state, 't' | 'T')) {
                // It may have ended just now.
                kill_process(child, Signal::CONT).ok();
            }
            process_state(build.pid()).is_none_or(|state| state == 'Z')
        });
        let code = build.ended(SOON);
        Some((code, build.log(), at.unwrap_or_default()))
    }

    fn check(&self, case: &str, before: &Before, code: i32, words: &str, tally: &mut CaseCounts) {
        assert!([0, 1].contains(&code) && !words.contains("panicked"), "{case}: {code} {words}");
        let switched = words.contains("is served, but is not known to be durable");
        if code == 0 {
            tally.count("built");
        } else if switched || before.served.is_none() {
            assert!(NAMED.iter().any(|cause| words.contains(cause)), "{case}: {words}");
            // An adoption serves the same bytes before and after.
            assert!(self.world.served_count() >= before.records, "{case}: {words}");
            tally.count("refused");
        } else {
            before.assert_kept(&self.world, case, words, &NAMED);
            tally.count("refused");
        }
        if code == 1 {
            let own = words.lines().filter(|line| line.starts_with("reindexd: ")).count();
            assert_eq!(own, 1, "{case}: {words}");
        }
        let lost = words.contains("bought vectors could not be kept");
        free_disk_space(&self.world.path("data"));
        self.assert_next(case);
        let twice = self.world.provider.answered_twice().len();
        assert!(
            twice == 0 || (lost && twice <= self.people as usize),
            "{case}: {twice} bought twice: {words}"
        );
    }

    #[track_caller]
    fn assert_next(&self, case: &str) {
        let ran = self.world.build();
        assert_eq!(self.world.served_count(), self.people as usize, "{case}: {ran:?}");
        self.world.assert_proven();
        assert_eq!(self.world.staging().len(), 0, "{case}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The namespace ends with the test, and the mount with it.
        run(Command::new("umount").arg(self.world.path("data")));
    }
}

/// The program that strace runs.
fn child_of(strace: Pid) -> Option<Pid> {
    let pid = strace.as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

/// The last name in a call's arguments, without what is different each time.
fn place_of(arguments: &str) -> String {
    let path = arguments.split(['"', '<', '>']).find(|part| part.contains("data/"));
    let name = path.unwrap_or("elsewhere").trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let is_build = name.starts_with(|first: char| first.is_ascii_digit());
    if is_build { "a build's directory".to_owned() } else { name.to_owned() }
}

/// Leaves no byte, or no inode.
fn fill(folder: &Path, lack: Shortage) {
    match lack {
        Shortage::Bytes => {
            let mut filler = File::create(folder.join("filler")).unwrap();
            while filler.write_all(&[b'x'; 4096]).is_ok() {}
        }
        Shortage::Inodes => {
            std::fs::create_dir(folder.join("fillers")).ok();
            for number in 0.. {
                if File::create(folder.join("fillers").join(number.to_string())).is_err() {
                    break;
                }
            }
        }
    }
}

fn free_disk_space(folder: &Path) {
    // Only one of them is there.
    std::fs::remove_file(folder.join("filler")).ok();
    std::fs::remove_dir_all(folder.join("fillers")).ok();
}
