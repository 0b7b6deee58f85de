//! The real thing: ext4 after a power cut, its journal replayed by the kernel.
//!
//! What the model allows and ext4 never does is not seen here; what the model
//! may have wrong is. The states are put to the same judge.

use std::collections::HashSet;
use std::time::Instant;

use super::block_device::{self, Device, Entry};
use super::checks::Checker;
use super::directory_image::Tree;
use super::scenario::{self, Recorded, Scenario};
use super::volume::Promise;
use crate::report::report_line;
use crate::sampling::is_full;
use crate::strace;
use crate::support::run;

/// A scenario on a device that kept a log.
struct Logged<'a> {
    recorded: Recorded<'a>,
    options: &'static str,
    entries: Vec<Entry>,
    /// Where in the log the program began, and where it had reported success.
    from: usize,
    reported: usize,
}

/// What came of the cuts.
#[derive(Default)]
struct Checked {
    images: usize,
    after_report: usize,
    states: HashSet<(blake3::Hash, Promise)>,
    violation: Option<String>,
}

impl<'a> Logged<'a> {
    /// Runs it; these flushes return and do nothing.
    fn new(scenario: &'a Scenario, options: &'static str, off: &[String]) -> Self {
        let device = Device::new(options);
        let place = scenario.prepared(Some(&device.root().join("home")));
        device.flushed();
        let before = Tree::read(&place.home);
        let from = device.logged();
        let mut command = scenario.command(&place);
        let log = place.world.path("strace.log");
        if !off.is_empty() {
            let mut words = vec!["-e", "trace=fsync,fdatasync"];
            words.extend(off.iter().flat_map(|off| ["-e", off]));
            command = strace::traced(&command, &log, &words);
        }
        let ran = run(&mut command);
        let reported = device.logged();
        assert_eq!(ran.code, 0, "{}: {ran:?}", scenario.name);
        if !off.is_empty() {
            assert!(strace::calls(&log).iter().any(strace::Call::was_injected), "{off:?} hit nothing");
        }
        let after = Tree::read(&place.home);
        let recorded = Recorded { scenario, place, before, steps: Vec::new(), flushes: Vec::new(), after };
        Self { recorded, options, entries: device.entries(), from, reported }
    }

    /// Mounts what every cut leaves and judges it, until one is wrong.
    fn checked(&self, random: usize) -> Checked {
        let judge = Checker::of(&self.recorded);
        let mut judged = Checked::default();
        block_device::cuts(&self.entries, self.from, self.reported, random, |cut| {
            let promise = Promise { reported: cut.at >= self.reported, ..Promise::default() };
            judged.images += 1;
            judged.after_report += usize::from(promise.reported);
            let found = cut.mounted(self.options, |root| Tree::read(&root.join("home")));
            let verdict = found.and_then(|tree| {
                if !judged.states.insert((tree.digest(|_| false), promise)) {
                    return Ok(());
                }
                judge.check_state(&tree, promise)?;
                judge.settle(&tree, promise)
            });
            judged.violation = verdict.err().map(|why| format!("entry {}: {why}", cut.at));
            judged.violation.is_none()
        });
        judged
    }
}

/// The model is what the gate runs; here are minutes of mounts.
fn is_due() -> bool {
    if is_full() {
        block_device::available().unwrap();
    }
    is_full()
}

#[test]
fn ext4_power_cut_leaves_old_or_new_build_and_what_was_reported() {
    if !is_due() {
        return;
    }
    for (scenario, options) in scenario::ALL
        .iter()
        .map(|scenario| (scenario, "data=ordered"))
        .chain([(&scenario::ALL[1], "data=writeback"), (&scenario::ALL[1], "data=journal")])
    {
        let started = Instant::now();
        let logged = Logged::new(scenario, options, &[]);
        let judged = logged.checked(2);
        assert_eq!(judged.violation, None, "{} on ext4 with {options}", scenario.name);
        report_line(
            "power",
            &format!(
                "{} on ext4 with {options}: {} writes and flushes, {} images mounted, {} of them after success was reported; {} states differ and are judged ({:.0} s)",
                scenario.name,
                logged.reported - logged.from,
                judged.images,
                judged.after_report,
                judged.states.len(),
                started.elapsed().as_secs_f32(),
            ),
        );
    }
}

#[test]
fn ext4_loses_a_file_whose_flush_is_switched_off() {
    if !is_due() {
        return;
    }
    let scenario = &scenario::ALL[1];
    let recorded = scenario.recorded();
    let everything = ["fsync", "fdatasync"].map(|call| format!("inject={call}:retval=0"));
    let judged = Logged::new(scenario, "data=ordered", &everything).checked(1);
    let violation = judged.violation.expect("a program that flushes nothing loses something");
    report_line("power", &format!("ext4 without any flush: {violation}"));
    let mut seen = HashSet::new();
    for flush in recorded.flushes.iter().filter(|flush| seen.insert(&flush.label)) {
        let off = format!("inject={}:retval=0:when={}", flush.call, flush.nth);
        let judged = Logged::new(scenario, "data=ordered", &[off]).checked(1);
        let is_file_of_build = flush.label.starts_with("builds/") && !flush.label.contains("/ after");
        assert!(
            judged.violation.is_some() || !is_file_of_build,
            "no flush of {}: nothing is lost",
            flush.label
        );
        // A flush of ext4 takes along whatever was renamed before it.
        let words =
            judged.violation.unwrap_or_else(|| "nothing, since a later flush comes in time".to_owned());
        report_line("power", &format!("ext4 without the flush of {}: {words}", flush.label));
    }
}
