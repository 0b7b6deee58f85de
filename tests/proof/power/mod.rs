//! Power cuts: whatever a crash leaves of an unflushed disk, nothing is lost that was promised.
//!
//! The program runs under strace; from its calls every state is built that a
//! file system may legally leave (`volume`, `legal`), and judged by what README
//! promises (`judge`). Then each flush is switched off in turn, and a promise
//! must break: else the flush is needless, or the judge is blind.

mod block;
mod flushes;
mod judge;
mod legal;
mod log;
mod real;
mod scenario;
mod tree;
mod volume;
mod words;

use std::collections::HashSet;
use std::time::Instant;

use judge::{Judge, is_dust};
use legal::{Bounds, Built, Run};
use scenario::Scenario;
use tree::Tree;
use volume::Promise;

use crate::report::tell;
use crate::scale::{is_full, pick, spread};
use crate::support::not_run;
use crate::trace;

/// Whether strace may trace here; says so where it may not, which full mode does not forgive.
fn can_trace() -> bool {
    let Err(reason) = trace::available() else { return true };
    assert!(!is_full(), "{reason}");
    not_run(&reason);
    false
}

fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::from(scenario::ALL);
    if is_full() { all } else { vec![all.swap_remove(1)] }
}

/// Judges the states of a run, each once; the first violation ends it.
struct Sitting<'a> {
    judge: &'a Judge,
    seen: HashSet<(blake3::Hash, Promise)>,
    settled: HashSet<(blake3::Hash, usize)>,
    /// Those that a pass has settled, as they were before.
    trees: Vec<Tree>,
    settles: bool,
    violation: Option<String>,
}

impl<'a> Sitting<'a> {
    fn new(judge: &'a Judge, settles: bool) -> Self {
        let (seen, settled) = (HashSet::new(), HashSet::new());
        Self { judge, seen, settled, trees: Vec::new(), settles, violation: None }
    }

    /// Whether to go on.
    fn judge(&mut self, promise: Promise, tree: Tree) -> bool {
        if !self.seen.insert((tree.digest(|_| false), promise)) {
            return true;
        }
        let mut found = self.judge.look(&tree, promise);
        if found.is_ok() && self.settles && self.settled.insert((tree.digest(is_dust), promise.stored)) {
            found = self.judge.settle(&tree, promise);
            self.trees.push(tree);
        }
        self.violation = found.err();
        self.violation.is_none()
    }

    fn sit(&mut self, run: &Run<'_>, bounds: Bounds) -> Built {
        run.states(bounds, |promise, tree| self.judge(promise, tree))
    }
}

#[test]
fn whatever_a_power_cut_leaves_is_the_old_build_or_the_new_one_and_what_was_reported_stays() {
    if !can_trace() {
        return;
    }
    let bounds =
        pick(Bounds { subsets: 64, random: 4, images: 1 }, Bounds { subsets: 4096, random: 60, images: 6 });
    for scenario in scenarios() {
        let started = Instant::now();
        let recorded = scenario.recorded();
        let judge = Judge::of(&recorded);
        let mut sitting = Sitting::new(&judge, true);
        let built = sitting.sit(&recorded.run(&recorded.steps, None), bounds);
        assert_eq!(sitting.violation, None, "{}", scenario.name);
        let by_hand = spread(std::mem::take(&mut sitting.trees), pick(2, 24));
        for tree in &by_hand {
            assert_eq!(judge.settle_by_hand(tree, &recorded.place), Ok(()), "{}", scenario.name);
        }
        tell(
            "power",
            &format!(
                "{}: {} states of {:.1e} that a crash may leave at {} cuts; {} differ and are judged, {} by a pass of their own, {} by the program ({:.1} s)",
                scenario.name,
                built.states,
                built.legal,
                built.cuts,
                sitting.seen.len(),
                sitting.settled.len(),
                by_hand.len(),
                started.elapsed().as_secs_f32(),
            ),
        );
    }
}
