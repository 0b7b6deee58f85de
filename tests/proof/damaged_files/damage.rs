//! What can happen to a file or a directory between two reads of it.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use crate::sampling;

/// Longer than any of our files, and than the memory that a command may use; it takes no disk space.
const HUGE: u64 = 10 << 30;
/// Where headers keep magic numbers, versions, counts and lengths: of the index, of the hashes, of SQLite.
const FIELDS: [usize; 12] = [0, 4, 8, 12, 16, 18, 24, 28, 33, 37, 45, 56];

/// One change of what a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Damage {
    /// Only this number of bytes is left.
    Cut(usize),
    /// One bit of this byte is flipped.
    Flipped(usize),
    /// Meaningless bytes follow.
    Grown,
    /// It is replaced by another file of ours.
    Swapped,
    /// Ten gigabytes of zeros follow.
    LongTail,
    /// Ten gigabytes of zeros and nothing else.
    Zeros,
    /// A few bytes of no format.
    Garbage,
    /// A directory with a file in it.
    Directory,
    /// A pipe without a writer.
    Fifo,
    /// A socket without a listener.
    Socket,
    /// A link to an endless device.
    LinkToZero,
    /// A link to its old content, outside the data folder.
    LinkOut,
    /// A link to itself.
    Loop,
    /// A link to nothing, outside the data folder.
    Dangling,
    /// The name does not exist any more.
    Gone,
}

/// The changes that are possible for every file.
const REPLACED: [Damage; 9] = [
    Damage::Garbage,
    Damage::Fifo,
    Damage::Socket,
    Damage::LinkToZero,
    Damage::LinkOut,
    Damage::Loop,
    Damage::Dangling,
    Damage::Zeros,
    Damage::Gone,
];

impl Damage {
    /// All changes that are possible for what exists at `path`, with bits chosen by the seed.
    pub fn all_to(path: &Path) -> Vec<Self> {
        let mut all = REPLACED.to_vec();
        let Ok(meta) = path.symlink_metadata() else {
            all.pop();
            all.push(Self::Directory);
            return all;
        };
        if !meta.is_dir() {
            all.push(Self::Directory);
        }
        if meta.is_file() {
            let length = usize::try_from(meta.len()).unwrap();
            let mut random = fastrand::Rng::with_seed(sampling::seed() ^ meta.len());
            let bits = FIELDS.into_iter().filter(|at| *at < length);
            let chosen = (0..6).filter(|_| length > 0).map(|_| random.usize(..length.max(1)));
            let cuts = [0, 1, length / 2, length.saturating_sub(1)];
            all.extend(cuts.into_iter().filter(|left| *left < length).map(Self::Cut));
            all.extend(bits.chain(chosen.collect::<Vec<_>>()).map(Self::Flipped));
            all.extend([Self::Grown, Self::Swapped, Self::LongTail]);
        }
        let mut seen = HashSet::new();
        all.retain(|damage| seen.insert(*damage));
        all
    }

    /// Whether it can never be read: nothing is known of it then, and nothing is replaced because of it.
    pub fn is_unreadable(self) -> bool {
        self == Self::Loop
    }

    /// Whether it makes a file longer than a copy of it should be.
    pub fn is_long(self) -> bool {
        matches!(self, Self::LongTail | Self::Zeros)
    }

    /// Applies it to `path`; a swap uses `other`, targets of links are in `outside`.
    pub fn apply(self, path: &Path, other: &Path, outside: &Path) {
        let whole = fs::read(path).unwrap_or_default();
        let twin = outside.join("target");
        if self == Self::LinkOut {
            copy(path, &twin);
        }
        remove(path);
        match self {
            Self::Cut(left) => write(path, &whole[..left.min(whole.len() - 1)]),
            Self::Flipped(at) => {
                let mut bytes = whole.clone();
                bytes[at % whole.len()] ^= 1 << (at % 8);
                write(path, &bytes);
            }
            Self::Grown => write(path, &[&whole[..], &[0xa5; 37]].concat()),
            Self::Swapped => write(path, &fs::read(other).unwrap()),
            Self::LongTail => {
                write(path, &whole);
                File::options().write(true).open(path).unwrap().set_len(HUGE).unwrap();
            }
            Self::Zeros => File::create(path).unwrap().set_len(HUGE).unwrap(),
            Self::Garbage => write(path, b"\0\xff[{\"\n"),
            Self::Directory => {
                fs::create_dir(path).unwrap();
                write(&path.join("within"), b"within");
            }
            Self::Fifo => {
                let mode = rustix::fs::Mode::from_raw_mode(0o644);
                rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
            }
            Self::Socket => drop(UnixListener::bind(path).unwrap()),
            Self::LinkToZero => symlink("/dev/zero", path).unwrap(),
            Self::LinkOut => symlink(twin, path).unwrap(),
            Self::Loop => symlink(path.file_name().unwrap(), path).unwrap(),
            Self::Dangling => symlink(outside.join("nothing"), path).unwrap(),
            Self::Gone => {}
        }
    }
}

/// Removes whatever exists at `path`, without following a link.
pub fn remove(path: &Path) {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Copies a file or a tree with its links and modes; does nothing if there is none.
pub fn copy(from: &Path, to: &Path) {
    remove(to);
    if from.symlink_metadata().is_ok() {
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap();
}
