//! A disk that is full, or has no inode left, from any step of a build on.
//!
//! The program is stopped when it enters one of its calls that need disk space,
//! the disk is filled to the last byte or inode, and the program continues. So the
//! disk fills in every stage, and while staging, metadata, cache, index, hashes,
//! manifest, state and adopted files are written.

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

/// The calls that need disk space.
const CALLS: &str = "?mkdir,?mkdirat,?write,?pwrite64,?rename,?renameat,?renameat2,?symlink,?symlinkat,\
     ?link,?linkat,?openat,?fsync,?fdatasync,?ftruncate,?fallocate";
/// How the shortage is named: by the system, by SQLite in the cache, by our own check of the disk space.
const NAMED: [&str; 4] =
    ["No space left on device", "disk is full", "not enough disk space", "disk I/O error"];

/// At how many steps of one work the disk is filled at most.
const MAX_STEPS: usize = 45;

/// What the disk has no more of.
#[derive(Clone, Copy, Debug)]
enum Shortage {
    Bytes,
    Inodes,
}

/// What the program does while the disk fills.
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
            for shortage in [Shortage::Bytes, Shortage::Inodes] {
                fill_at_each_step(work, shortage);
            }
        }
    });
}

fn fill_at_each_step(work: Work, shortage: Shortage) {
    let began = Instant::now();
    let (mut counts, mut files) = (CaseCounts::default(), BTreeSet::new());
    let steps = steps(work);
    let mut disk = SmallDisk::new(work);
    let every = steps.clone().step_by(steps.count().div_ceil(MAX_STEPS));
    for step in thinned(every.collect(), 4) {
        let case = format!("{work:?}, no {shortage:?} from call {step} on");
        disk.begin();
        let before = Before::of(&disk.world);
        let Some((code, log, at)) = disk.build_until_full(step, shortage) else {
            disk.assert_next(&case);
            counts.count("after the last call");
            continue;
        };
        files.insert(at);
        disk.check(&case, &before, code, &log, &mut counts);
    }
    let names = files.into_iter().collect::<Vec<_>>().join(" ");
    counts.report(&format!("disk, {work:?} without {shortage:?}"), began);
    crate::report::report_line(
        super::CHAPTER,
        &format!("disk, {work:?} without {shortage:?}, filled at: {names}"),
    );
    assert!(counts.of("refused") > 0);
}

/// The numbers of those calls of a build that are on files of ours.
fn steps(work: Work) -> RangeInclusive<usize> {
    let mut disk = SmallDisk::new(work);
    disk.begin();
    let log = disk.world.path("calls");
    let options = ["-y", "-e", &format!("trace={CALLS}")];
    let mut build = Agent::start(&mut strace::traced(&disk.world.command(&["build"]), &log, &options));
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
        world.provider.excuse_repeats("no vector can be stored on a full disk");
        let mounted = run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m,nr_inodes=800", "none"])
            .arg(world.path("data")));
        assert_eq!(mounted.code, 0, "{mounted:?}");
        world.make_table();
        world.add_people(1..=40);
        Self { world, work, people: 40 }
    }

    /// Prepares the next build.
    fn begin(&mut self) {
        match self.work {
            Work::Change => {
                self.world.build();
                // Old builds are collected, so that only the test fills the disk.
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
                self.world.provider.begin_life();
                for (name, bytes) in pair {
                    let path = self.world.path("data").join(name);
                    std::fs::remove_file(&path).unwrap();
                    std::fs::write(path, bytes).unwrap();
                }
            }
        }
    }

    /// Builds, and fills the disk when call `step` starts; returns exit code, log and the file of that call.
    fn build_until_full(&self, step: usize, shortage: Shortage) -> Option<(i32, String, String)> {
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
        fill(&self.world.path("data"), shortage);
        let calls = strace::calls(&log);
        let main = child.as_raw_nonzero().get().unsigned_abs();
        let at = calls.iter().rfind(|call| call.thread == main).map(|call| file_of(&call.arguments));
        // Each thread counts its own calls, so that another one may be stopped after this one.
        build.wait_for("the end", || {
            if process_state(child).is_some_and(|state| matches!(state, 't' | 'T')) {
                // It may have ended at this moment.
                kill_process(child, Signal::CONT).ok();
            }
            process_state(build.pid()).is_none_or(|state| state == 'Z')
        });
        let code = build.ended(SOON);
        Some((code, build.log(), at.unwrap_or_default()))
    }

    fn check(&self, case: &str, before: &Before, code: i32, log: &str, counts: &mut CaseCounts) {
        assert!([0, 1].contains(&code) && !log.contains("panicked"), "{case}: {code} {log}");
        let switched = log.contains("is served, but is not known to be durable");
        if code == 0 {
            counts.count("built");
        } else if switched || before.served.is_none() {
            assert!(NAMED.iter().any(|cause| log.contains(cause)), "{case}: {log}");
            // An adoption serves the same bytes before and after.
            assert!(self.world.served_count() >= before.records, "{case}: {log}");
            counts.count("refused");
        } else {
            before.assert_kept(&self.world, case, log, &NAMED);
            counts.count("refused");
        }
        if code == 1 {
            // Faiss writes a line of its own without an end where closing a file fails.
            // A folder of ours has the program's name with a dot.
            let text = log.replace(".reindexd: ", ".reindexd : ");
            assert_eq!(text.matches("reindexd: ").count(), 1, "{case}: {log}");
        }
        let lost = log.contains("cannot store vectors in the cache");
        free_disk_space(&self.world.path("data"));
        self.assert_next(case);
        let twice = self.world.provider.answered_twice().len();
        assert!(
            twice == 0 || (lost && twice <= self.people as usize),
            "{case}: {twice} embedded twice: {log}"
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

/// The last name in a call's arguments, without parts that differ each time.
fn file_of(arguments: &str) -> String {
    let path = arguments.split(['"', '<', '>']).find(|part| part.contains("data/"));
    let name = path.unwrap_or("elsewhere").trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let is_build = name.starts_with(|first: char| first.is_ascii_digit());
    if is_build { "a build's directory".to_owned() } else { name.to_owned() }
}

/// Uses every free byte, or every free inode.
fn fill(folder: &Path, shortage: Shortage) {
    match shortage {
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
    // Only one of them exists.
    std::fs::remove_file(folder.join("filler")).ok();
    std::fs::remove_dir_all(folder.join("fillers")).ok();
}
