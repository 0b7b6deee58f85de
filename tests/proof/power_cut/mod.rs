//! Power cuts: whatever a crash leaves of an unflushed disk, nothing is lost that was promised.
//!
//! The program runs under strace; from its calls every state is built that a
//! file system may leave (`volume`, `crash_states`), and checked by the promises
//! of README (`checks`). Then each flush is switched off in turn, and a promise
//! must break: otherwise the flush is needless, or the checks miss something.

mod block_device;
mod checks;
mod crash_states;
mod directory_image;
mod ext4;
mod flushes;
mod scenario;
mod strace_args;
mod syscall_log;
mod volume;

use std::collections::HashSet;
use std::time::Instant;

use checks::{Checker, is_garbage};
use crash_states::{Bounds, Built, Run};
use directory_image::Tree;
use scenario::Scenario;
use volume::Promise;

use crate::report::report_line;
use crate::sampling::{is_full, pick, spread};
use crate::strace;
use crate::support::not_run;

/// Whether strace may trace here; if not, prints the reason, and fails in full mode.
fn can_trace() -> bool {
    let Err(reason) = strace::available() else { return true };
    assert!(!is_full(), "{reason}");
    not_run(&reason);
    false
}

fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::from(scenario::ALL);
    if is_full() { all } else { vec![all.swap_remove(1)] }
}

/// Checks the states of a run, each once; the first violation ends it.
struct CheckSession<'a> {
    checker: &'a Checker,
    seen: HashSet<(blake3::Hash, Promise)>,
    settled: HashSet<(blake3::Hash, usize)>,
    /// The states that a pass has settled, before that pass.
    trees: Vec<Tree>,
    settles: bool,
    violation: Option<String>,
}

impl<'a> CheckSession<'a> {
    fn new(checker: &'a Checker, settles: bool) -> Self {
        let (seen, settled) = (HashSet::new(), HashSet::new());
        Self { checker, seen, settled, trees: Vec::new(), settles, violation: None }
    }

    /// Checks one state; false ends the run.
    fn check(&mut self, promise: Promise, tree: Tree) -> bool {
        if !self.seen.insert((tree.digest(|_| false), promise)) {
            return true;
        }
        let mut found = self.checker.check_state(&tree, promise);
        if found.is_ok() && self.settles && self.settled.insert((tree.digest(is_garbage), promise.stored)) {
            found = self.checker.settle(&tree, promise);
            self.trees.push(tree);
        }
        self.violation = found.err();
        self.violation.is_none()
    }

    fn run(&mut self, run: &Run<'_>, bounds: Bounds) -> Built {
        run.states(bounds, |promise, tree| self.check(promise, tree))
    }
}

#[test]
fn power_cut_leaves_old_or_new_build_and_what_was_reported() {
    if !can_trace() {
        return;
    }
    let bounds =
        pick(Bounds { subsets: 64, random: 4, images: 1 }, Bounds { subsets: 4096, random: 60, images: 6 });
    for scenario in scenarios() {
        let started = Instant::now();
        let recorded = scenario.recorded();
        let checker = Checker::of(&recorded);
        let mut session = CheckSession::new(&checker, true);
        let built = session.run(&recorded.run(&recorded.steps, None), bounds);
        assert_eq!(session.violation, None, "{}", scenario.name);
        let by_hand = spread(std::mem::take(&mut session.trees), pick(2, 24));
        for tree in &by_hand {
            assert_eq!(checker.settle_by_hand(tree, &recorded.place), Ok(()), "{}", scenario.name);
        }
        report_line(
            "power_cut",
            &format!(
                "{}: {} states of {:.1e} that a crash may leave at {} cuts; {} differ and are checked, {} by a pass of their own, {} by the program ({:.1} s)",
                scenario.name,
                built.states,
                built.legal,
                built.cuts,
                session.seen.len(),
                session.settled.len(),
                by_hand.len(),
                started.elapsed().as_secs_f32(),
            ),
        );
    }
}
