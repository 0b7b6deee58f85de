//! The states that a crash may leave: all of them if they are few, else chosen ones.
//!
//! Between two flushes nothing becomes durable, so the states just before a flush
//! include all those since the flush before, and promises only grow: a cut before
//! each flush and one at the end cover all cuts.

use std::collections::HashSet;

use fastrand::Rng;

use super::directory_image::Tree;
use super::volume::{Left, Number, Promise, Rename, Step, Volume};

/// How many states of a cut are built.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Every subset of the pending names, if there are at most this many subsets.
    pub subsets: usize,
    /// Otherwise this many random ones, and those with all, none, a beginning, and all but one or two.
    pub random: usize,
    /// Random images of the files for each subset of names, besides all durable and all latest.
    pub images: usize,
}

/// How many states were built.
#[derive(Clone, Copy, Debug, Default)]
pub struct Built {
    pub cuts: usize,
    pub states: usize,
    /// How many there are in all.
    pub legal: f64,
}

/// A program's steps; the flush at the place `off` does nothing.
pub struct Run<'a> {
    pub before: &'a Tree,
    pub unsynced: &'a [&'a str],
    pub steps: &'a [Step],
    pub off: Option<usize>,
}

impl Run<'_> {
    /// Builds states cut by cut, until `each` returns false. Cuts before the flush that is off are skipped:
    /// there it changes nothing.
    pub fn states(&self, bounds: Bounds, mut each: impl FnMut(Promise, Tree) -> bool) -> Built {
        let mut volume = Volume::new(self.before, self.unsynced).0;
        let mut rng = Rng::with_seed(crate::sampling::seed());
        let mut built = Built::default();
        for nth in 0..=self.steps.len() {
            let step = self.steps.get(nth);
            let is_cut = step.is_none_or(|step| matches!(step, Step::Flush(..) | Step::FlushAll));
            if is_cut && self.off.is_none_or(|off| nth > off) {
                built.cuts += 1;
                built.legal += volume.legal_states();
                if !cut(&volume, bounds, &mut rng, &mut |tree| {
                    built.states += 1;
                    each(volume.promise, tree)
                }) {
                    break;
                }
            }
            if let Some(step) = step {
                volume.step(step, self.off == Some(nth));
            }
        }
        built
    }
}

/// Builds the states of one cut; false if `each` returned false.
fn cut(volume: &Volume, bounds: Bounds, rng: &mut Rng, each: &mut dyn FnMut(Tree) -> bool) -> bool {
    let files = volume.images();
    let sets = kept_sets(&volume.pending_names(), bounds, rng);
    let mut left =
        |names: &[bool], image: &dyn Fn(Number, usize) -> usize| each(volume.left(&Left { names, image }));
    for names in &sets {
        let latest = left(names, &|_, images| images - 1);
        if !latest || !files.is_empty() && !left(names, &|_, _| 0) {
            return false;
        }
        for _ in 0..if files.is_empty() { 0 } else { bounds.images } {
            let seed = rng.u64(..);
            let random_image =
                |number: Number, images| Rng::with_seed(seed ^ (number as u64) << 32).usize(..images);
            if !left(names, &random_image) {
                return false;
            }
        }
    }
    // One file at a time in each state, the others all latest or all durable.
    let all = vec![true; volume.pending_names().len()];
    files.iter().all(|&(file, images)| {
        (0..images).all(|image| {
            let or = |other: usize, number| if number == file { image } else { other };
            left(&all, &|number, images| or(images - 1, number)) && left(&all, &|number, _| or(0, number))
        })
    })
}

/// The sets of changes of names to try: which are kept. A kept change needs the earlier ones of the same
/// name.
fn kept_sets(pending: &[(Number, &Rename)], bounds: Bounds, rng: &mut Rng) -> Vec<Vec<bool>> {
    let count = pending.len();
    let follows = |later: usize, earlier: usize| {
        let ((folder, one), (other, two)) = (pending[later], pending[earlier]);
        folder == other && one.touches(two)
    };
    let needs: Vec<Vec<usize>> =
        (0..count).map(|later| (0..later).filter(|&earlier| follows(later, earlier)).collect()).collect();
    let without_orphans = |mut kept: Vec<bool>| {
        for later in 0..count {
            kept[later] &= needs[later].iter().all(|&earlier| kept[earlier]);
        }
        kept
    };
    let with_needs = |mut kept: Vec<bool>| {
        for later in (0..count).rev().filter(|&later| kept[later]).collect::<Vec<_>>() {
            need(later, &needs, &mut kept);
        }
        kept
    };
    let only = |included: bool, which: &[usize]| -> Vec<bool> {
        (0..count).map(|nth| which.contains(&nth) == included).collect()
    };
    let mut sets = Vec::new();
    if count < 20 && 1 << count <= bounds.subsets {
        let bit = |set: usize| (0..count).map(move |nth| set >> nth & 1 == 1).collect();
        sets.extend((0..1 << count).map(|set| without_orphans(bit(set))));
    } else {
        sets.extend([only(false, &[]), only(true, &[])]);
        for one in 0..count {
            sets.push((0..count).map(|nth| nth < one).collect());
            sets.push(without_orphans(only(false, &[one])));
            sets.push(with_needs(only(true, &[one])));
        }
        for _ in 0..bounds.random {
            let pair = [rng.usize(..count), rng.usize(..count)];
            sets.push(without_orphans(only(false, &pair)));
            sets.push(with_needs(only(true, &pair)));
            sets.push(without_orphans((0..count).map(|_| rng.u8(..8) > 0).collect()));
            sets.push(with_needs((0..count).map(|_| rng.bool()).collect()));
        }
    }
    let mut seen = HashSet::new();
    sets.retain(|set: &Vec<bool>| seen.insert(set.clone()));
    sets
}

fn need(later: usize, needs: &[Vec<usize>], kept: &mut [bool]) {
    for &earlier in &needs[later] {
        if !kept[earlier] {
            kept[earlier] = true;
            need(earlier, needs, kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::power_cut::volume::{Change, Kind};

    /// All that a crash may leave of some steps in an empty folder, as text.
    fn left(steps: &[Step]) -> BTreeSet<String> {
        let folder = tempfile::tempdir().unwrap();
        let before = Tree::read(folder.path());
        let run = Run { before: &before, unsynced: &[], steps, off: None };
        let mut out = BTreeSet::new();
        run.states(Bounds { subsets: 1 << 10, random: 0, images: 20 }, |_, tree| {
            let below = tree.0.keys().filter(|path| *path != Path::new(""));
            let entries = below.map(|path| match tree.0[path].kind() {
                Kind::File => {
                    let bytes = &tree.file(path).unwrap().content.bytes;
                    format!("{}={}", path.display(), String::from_utf8_lossy(bytes).replace('\0', "0"))
                }
                Kind::Folder => format!("{}/", path.display()),
                Kind::Link(to) => format!("{}->{}", path.display(), to.display()),
            });
            out.insert(entries.collect::<Vec<_>>().join(" "));
            true
        });
        out
    }

    fn born(folder: Number, name: &str, number: Number, kind: Kind) -> [Step; 2] {
        let name = name.to_owned();
        [Step::Born(kind, 0o700), Step::Name(folder, Rename::Enter { name, number })]
    }

    fn written(number: Number, text: &str) -> Step {
        Step::Change(number, Change::Write { at: 0, bytes: Arc::from(text.as_bytes()) })
    }

    fn moved(from: &str, to: &str) -> Step {
        Step::Name(0, Rename::Move { from: from.to_owned(), to: to.to_owned() })
    }

    fn flush(number: Number) -> Step {
        Step::Flush(number, String::new())
    }

    #[test]
    fn a_file_renamed_before_its_flush_may_be_found_empty_or_torn_under_its_new_name() {
        let steps = |flushes: bool| {
            let flush = flushes.then(|| flush(1));
            let made = born(0, "new", 1, Kind::File).into_iter().chain([written(1, "abcd")]);
            made.chain(flush).chain([moved("new", "name")]).collect::<Vec<_>>()
        };

        let torn =
            ["name=", "name=0000", "name=ab", "name=abcd", "new=", "new=0000", "new=ab", "new=abcd", ""];
        assert_eq!(left(&steps(false)), torn.map(str::to_owned).into());
        let named: Vec<String> =
            left(&steps(true)).into_iter().filter(|state| state.starts_with("name")).collect();
        assert_eq!(named, ["name=abcd"]);
    }

    #[test]
    fn names_are_lost_in_any_order_but_those_of_one_name_in_their_own() {
        let two = [born(0, "a", 1, Kind::Folder), born(0, "b", 2, Kind::Link("a".into()))].concat();
        assert_eq!(left(&two), ["", "a/", "b->a", "a/ b->a"].map(str::to_owned).into());

        let one = [born(0, "a", 1, Kind::Folder).to_vec(), vec![moved("a", "b"), moved("b", "c")]].concat();
        assert_eq!(left(&one), ["", "a/", "b/", "c/"].map(str::to_owned).into());
    }

    #[test]
    fn folder_entries_are_durable_by_its_flush_and_are_lost_with_its_name() {
        let made = [born(0, "a", 1, Kind::Folder), born(1, "f", 2, Kind::File)].concat();
        let last_of = |flushes: &[Number]| {
            let steps: Vec<Step> = made.iter().cloned().chain(flushes.iter().copied().map(flush)).collect();
            // With the flush of a file that is durable already, only the last cut counts.
            let folder = tempfile::tempdir().unwrap();
            let before = Tree::read(folder.path());
            let mut volume = Volume::new(&before, &[]).0;
            for step in &steps {
                volume.step(step, false);
            }
            let bounds = Bounds { subsets: 16, random: 0, images: 0 };
            let mut out = BTreeSet::new();
            cut(&volume, bounds, &mut Rng::with_seed(1), &mut |tree| {
                out.insert(tree.0.len() - 1);
                true
            });
            out
        };

        // How many names there may be: of `a`, of `a/f`.
        assert_eq!(last_of(&[]), [0, 1, 2].into());
        assert_eq!(last_of(&[1]), [0, 2].into());
        assert_eq!(last_of(&[0]), [1, 2].into());
        assert_eq!(last_of(&[0, 1]), [2].into());
    }
}
