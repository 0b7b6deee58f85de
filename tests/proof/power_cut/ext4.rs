//! Real ext4 after a power cut, its journal replayed by the kernel.
//!
//! These are fewer states than the model allows, but they show where the model is
//! wrong. The same checks apply to them.

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

/// A scenario on a device that logs writes.
struct Logged<'a> {
    recorded: Recorded<'a>,
    options: &'static str,
    entries: Vec<Entry>,
    /// The places in the log where the program started, and where it had reported success.
    from: usize,
    reported: usize,
}

/// The result of the cuts.
#[derive(Default)]
struct Checked {
    images: usize,
    after_report: usize,
    states: HashSet<(blake3::Hash, Promise)>,
    violation: Option<String>,
}

impl<'a> Logged<'a> {
    /// Runs it; the flushes of `off` return and do nothing.
    fn new(scenario: &'a Scenario, options: &'static str, off: &[String]) -> Self {
        let device = Device::new(options);
        let place = scenario.prepared(Some(&device.root().join("home")));
        device.flushed();
        let before = Tree::read(&place.home);
        let from = device.logged();
        let mut command = scenario.command(&place);
        let log = place.world.path("strace.log");
        if !off.is_empty() {
            let mut arguments = vec!["-e", "trace=fsync,fdatasync"];
            arguments.extend(off.iter().flat_map(|off| ["-e", off]));
            command = strace::traced(&command, &log, &arguments);
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

    /// Mounts the image of every cut and checks it, until one is wrong.
    fn checked(&self, random: usize) -> Checked {
        let checker = Checker::of(&self.recorded);
        let mut checked = Checked::default();
        block_device::cuts(&self.entries, self.from, self.reported, random, |cut| {
            let promise = Promise { reported: cut.at >= self.reported, ..Promise::default() };
            checked.images += 1;
            checked.after_report += usize::from(promise.reported);
            let found = cut.mounted(self.options, |root| Tree::read(&root.join("home")));
            let result = found.and_then(|tree| {
                if !checked.states.insert((tree.digest(|_| false), promise)) {
                    return Ok(());
                }
                checker.check_state(&tree, promise)?;
                checker.settle(&tree, promise)
            });
            checked.violation = result.err().map(|why| format!("entry {}: {why}", cut.at));
            checked.violation.is_none()
        });
        checked
    }
}

/// Only the full proof runs this: it takes minutes of mounts.
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
        let checked = logged.checked(2);
        assert_eq!(checked.violation, None, "{} on ext4 with {options}", scenario.name);
        report_line(
            "power_cut",
            &format!(
                "{} on ext4 with {options}: {} writes and flushes, {} images mounted, {} of them after success was reported; {} states differ and are checked ({:.0} s)",
                scenario.name,
                logged.reported - logged.from,
                checked.images,
                checked.after_report,
                checked.states.len(),
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
    let checked = Logged::new(scenario, "data=ordered", &everything).checked(1);
    let violation = checked.violation.expect("without any flush something is lost");
    report_line("power_cut", &format!("ext4 without any flush: {violation}"));
    let mut seen = HashSet::new();
    for flush in recorded.flushes.iter().filter(|flush| seen.insert(&flush.label)) {
        let off = format!("inject={}:retval=0:when={}", flush.call, flush.nth);
        let checked = Logged::new(scenario, "data=ordered", &[off]).checked(1);
        let is_file_of_build = flush.label.starts_with("builds/") && !flush.label.contains("/ after");
        assert!(
            checked.violation.is_some() || !is_file_of_build,
            "no flush of {}: nothing is lost",
            flush.label
        );
        // A flush of ext4 also makes earlier renames durable.
        let loss =
            checked.violation.unwrap_or_else(|| "nothing, since a later flush comes in time".to_owned());
        report_line("power_cut", &format!("ext4 without the flush of {}: {loss}", flush.label));
    }
}
