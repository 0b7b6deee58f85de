//! A volume between two flushes: what is durable, and what may be lost.
//!
//! The weakest file system that POSIX allows, as the work on ALICE describes it:
//!
//! - Bytes, size and mode of a file or folder are durable when a flush of it
//!   has returned. Until then any beginning of its changes may be there, the
//!   last of them torn in half or as zeroes, or one lost among later ones.
//! - A name is durable when its folder was flushed. Until then any subset of
//!   the folder's changes may be there, but those of one name keep their order,
//!   and a rename is one change of two names.
//!
//! Whatever an ordinary file system leaves is among these states: ext4, which
//! with a file flushes the name that it was made under, leaves fewer.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::directory_image::{Content, Image, Node, Tree};

/// The number of a file, folder or link in the order of creation; the root is 0.
pub type Number = usize;

/// One thing that a program did to a volume.
#[derive(Clone, Debug)]
pub enum Step {
    /// A new file, folder or link, without a name yet; it gets the next number.
    Born(Kind, u32),
    /// Bytes, size or mode of one file or folder.
    Change(Number, Change),
    /// Names in one folder.
    Name(Number, Rename),
    /// A flush of one file or folder, and its label.
    Flush(Number, String),
    /// A flush of everything.
    FlushAll,
    /// The promises of the program from here on.
    Promise(Promise),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Link(PathBuf),
}

#[derive(Clone, Debug)]
pub enum Change {
    Write { at: usize, bytes: Arc<[u8]> },
    Resize(usize),
    Mode(u32),
}

impl Change {
    pub fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Mode(_) => {}
            Self::Resize(size) => to.resize(*size, 0),
            Self::Write { at, bytes } => {
                to.resize(to.len().max(at + bytes.len()), 0);
                to[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

/// A change of names in one folder.
#[derive(Clone, Debug)]
pub enum Rename {
    Enter { name: String, number: Number },
    Leave { name: String },
    Move { from: String, to: String },
}

impl Rename {
    pub fn touches(&self, other: &Self) -> bool {
        self.names().any(|name| other.names().any(|of_other| of_other == name))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (one, two) = match self {
            Self::Enter { name, .. } | Self::Leave { name } => (name, None),
            Self::Move { from, to } => (from, Some(to)),
        };
        [Some(one), two].into_iter().flatten().map(String::as_str)
    }

    fn apply(&self, names: &mut BTreeMap<String, Number>) {
        match self {
            Self::Enter { name, number } => {
                names.insert(name.clone(), *number);
            }
            Self::Leave { name } => {
                names.remove(name);
            }
            Self::Move { from, to } => {
                if let Some(number) = names.remove(from) {
                    names.insert(to.clone(), number);
                }
            }
        }
    }
}

/// What users may rely on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Promise {
    /// Success was reported.
    pub reported: bool,
    /// How many embedded texts must not be embedded again.
    pub stored: usize,
    /// How many texts have left and have no stored vector: they must not be forgotten.
    pub sent: usize,
}

/// A volume with everything that was ever on it.
pub struct Volume {
    things: Vec<Thing>,
    /// What was promised so far.
    pub promise: Promise,
}

struct Thing {
    kind: Kind,
    durable: Image,
    pending: Vec<Change>,
    names: BTreeMap<String, Number>,
    pending_names: Vec<Rename>,
    /// Its possible images, after the first request for them.
    images: OnceCell<Vec<Image>>,
}

/// One choice of what a crash leaves.
pub struct Left<'a> {
    /// For each of [`Volume::pending_names`], whether it is kept.
    pub names: &'a [bool],
    /// For a number, which of its [`Volume::images`].
    pub image: &'a dyn Fn(Number, usize) -> usize,
}

impl Volume {
    /// A volume with everything in `tree` durable except the bytes of `unsynced` files, which another program
    /// wrote and did not flush. The numbers are those of the tree's files in the order of their paths.
    pub fn new(tree: &Tree, unsynced: &[&str]) -> (Self, BTreeMap<PathBuf, Number>) {
        let mut volume = Self { things: Vec::new(), promise: Promise::default() };
        let mut numbers: BTreeMap<PathBuf, Number> = BTreeMap::new();
        let mut of_files: BTreeMap<usize, Number> = BTreeMap::new();
        for (path, node) in &tree.0 {
            let next = volume.things.len();
            let number = match node {
                Node::File { number, .. } => *of_files.entry(*number).or_insert(next),
                Node::Folder { .. } | Node::Link(_) => next,
            };
            if number == next {
                volume.things.push(Thing::found(node, unsynced.iter().any(|name| path.ends_with(name))));
            }
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                let names = &mut volume.things[numbers[parent]].names;
                names.insert(name.to_str().unwrap().to_owned(), number);
            }
            numbers.insert(path.clone(), number);
        }
        (volume, numbers)
    }

    /// Does a step; a flush that is `off` returns and does nothing.
    pub fn step(&mut self, step: &Step, off: bool) {
        match step {
            Step::Born(kind, mode) => self.things.push(Thing::born(kind.clone(), *mode)),
            Step::Change(number, change) => self.things[*number].change(change.clone()),
            Step::Name(folder, rename) => self.things[*folder].pending_names.push(rename.clone()),
            Step::Flush(number, _) if !off => self.things[*number].flush(),
            Step::FlushAll if !off => self.things.iter_mut().for_each(Thing::flush),
            Step::Flush(..) | Step::FlushAll => {}
            Step::Promise(promise) => self.promise = *promise,
        }
    }

    /// All changes of names that may be lost.
    pub fn pending_names(&self) -> Vec<(Number, &Rename)> {
        let pending = |(number, thing): (Number, &'_ Thing)| (number, thing.pending_names.len());
        let counts: Vec<_> = self.things.iter().enumerate().map(pending).collect();
        let each = |(number, count): (Number, usize)| (0..count).map(move |nth| (number, nth));
        counts.into_iter().flat_map(each).map(|(n, nth)| (n, &self.things[n].pending_names[nth])).collect()
    }

    /// How many images each file or folder may have, for those that may have more than one.
    pub fn images(&self) -> Vec<(Number, usize)> {
        let counts = self.things.iter().map(|thing| thing.images().len()).enumerate();
        counts.filter(|(_, images)| *images > 1).collect()
    }

    /// How many states a crash may leave now, with dependent names counted as independent.
    pub fn legal_states(&self) -> f64 {
        let names = 2f64.powi(i32::try_from(self.pending_names().len()).unwrap());
        self.images().iter().fold(names, |states, (_, images)| states * f64::from(*images as u32))
    }

    /// The state that a choice leaves.
    pub fn left(&self, left: &Left<'_>) -> Tree {
        let mut kept = left.names.iter();
        let mut names: Vec<Option<BTreeMap<String, Number>>> = vec![None; self.things.len()];
        for (number, thing) in self.things.iter().enumerate() {
            for rename in &thing.pending_names {
                if *kept.next().expect("a choice for every pending name") {
                    let of = names[number].get_or_insert_with(|| thing.names.clone());
                    rename.apply(of);
                }
            }
        }
        let mut tree = Tree::default();
        self.put(&mut tree, PathBuf::new(), 0, &names, left.image);
        tree
    }

    fn put(
        &self,
        tree: &mut Tree,
        at: PathBuf,
        number: Number,
        names: &[Option<BTreeMap<String, Number>>],
        pick: &dyn Fn(Number, usize) -> usize,
    ) {
        let thing = &self.things[number];
        let image = match thing.images() {
            [one] => one,
            many => &many[pick(number, many.len())],
        };
        let node = match &thing.kind {
            Kind::File => Node::File { number, image: image.clone() },
            Kind::Link(target) => Node::Link(target.clone()),
            Kind::Folder => {
                for (name, number) in names[number].as_ref().unwrap_or(&thing.names) {
                    self.put(tree, at.join(name), *number, names, pick);
                }
                Node::Folder { mode: image.mode }
            }
        };
        tree.0.insert(at, node);
    }
}

impl Thing {
    fn found(node: &Node, unsynced: bool) -> Self {
        let mut thing = match node {
            Node::Folder { mode } => Self::born(Kind::Folder, *mode),
            Node::Link(target) => Self::born(Kind::Link(target.clone()), 0o777),
            Node::File { image, .. } => Self::born(Kind::File, image.mode),
        };
        if let Node::File { image, .. } = node {
            if unsynced {
                thing.change(Change::Write { at: 0, bytes: image.content.bytes.as_slice().into() });
            } else {
                thing.durable = image.clone();
            }
        }
        thing
    }

    fn born(kind: Kind, mode: u32) -> Self {
        let durable = Image { content: Content::new(Vec::new()), mode };
        let (pending, pending_names) = (Vec::new(), Vec::new());
        Self { kind, durable, pending, names: BTreeMap::new(), pending_names, images: OnceCell::new() }
    }

    fn change(&mut self, change: Change) {
        self.pending.push(change);
        self.images.take();
    }

    /// Its possible images: the durable one first, the latest last.
    fn images(&self) -> &[Image] {
        self.images.get_or_init(|| images(&self.durable, &self.pending))
    }

    fn flush(&mut self) {
        let latest = |image, change: Change| changed(&image, &change);
        self.durable = self.pending.drain(..).fold(self.durable.clone(), latest);
        self.images.take();
        for rename in self.pending_names.drain(..) {
            rename.apply(&mut self.names);
        }
    }
}

/// The possible images of a file or folder, the durable one first and the latest last, each once.
fn images(durable: &Image, pending: &[Change]) -> Vec<Image> {
    let mut out = vec![durable.clone()];
    let mut now = durable.clone();
    for (nth, change) in pending.iter().enumerate() {
        if let Change::Write { at, bytes } = change {
            let half: Arc<[u8]> = bytes[..bytes.len() / 2].into();
            let zeroes: Arc<[u8]> = vec![0; bytes.len()].into();
            out.extend([half, zeroes].map(|bytes| changed(&now, &Change::Write { at: *at, bytes })));
            // Lost, although later writes are kept.
            let later = pending[nth + 1..].iter().fold(now.clone(), |image, change| changed(&image, change));
            out.push(later);
        }
        now = changed(&now, change);
        out.push(now.clone());
    }
    let mut seen = Vec::new();
    let latest = (now.content.digest, now.mode);
    out.retain(|image| {
        let this = (image.content.digest, image.mode);
        let fresh = !seen.contains(&this);
        seen.push(this);
        fresh && this != latest
    });
    out.push(now);
    out
}

fn changed(image: &Image, change: &Change) -> Image {
    if let Change::Mode(mode) = change {
        return Image { mode: *mode, ..image.clone() };
    }
    let mut bytes = image.content.bytes.clone();
    change.apply(&mut bytes);
    Image { content: Content::new(bytes), mode: image.mode }
}
