//! The digest of a scan, made beside the scan where that is worth a thread.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::domain::record::{RawValue, ScanHash, ScanHasher, Space};

/// Pieces after which a thread is worth its beginning: four mebibytes.
const WORTH_A_THREAD: u32 = 8;
/// Pieces that wait for the thread at most.
const WAITING: usize = 4;

/// The digest of the values that came so far.
pub(super) struct Digest {
    gathered: Vec<u8>,
    hashing: Hashing,
}

enum Hashing {
    /// On the thread that scans, for so many pieces so far.
    Here(Box<ScanHasher>, u32),
    Beside(Beside),
}

/// A thread that hashes full pieces and gives them back empty.
struct Beside {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<ScanHasher>,
}

impl Digest {
    pub(super) fn new(space: &Space) -> Self {
        Self {
            gathered: Vec::with_capacity(ScanHasher::PIECE),
            hashing: Hashing::Here(Box::new(ScanHasher::new(space)), 0),
        }
    }

    /// Adds one column's value.
    pub(super) fn value(&mut self, value: RawValue<'_>) {
        let Self { gathered, hashing } = self;
        ScanHasher::gather(value, gathered, &mut |piece| hashing.full(piece));
    }

    pub(super) fn finish(self) -> ScanHash {
        let mut hasher = match self.hashing {
            Hashing::Here(hasher, _) => *hasher,
            Hashing::Beside(Beside { full, empty, thread }) => {
                drop((full, empty));
                // A panic in there is our own bug and goes on here.
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        hasher.piece(&self.gathered);
        hasher.finish()
    }
}

impl Hashing {
    fn full(&mut self, piece: &mut Vec<u8>) {
        match self {
            Self::Here(hasher, pieces) => {
                hasher.piece(piece);
                piece.clear();
                *pieces += 1;
                // Asked once: where no thread can be had, all of it is done here.
                if *pieces == WORTH_A_THREAD
                    && let Some(beside) = Beside::begin(hasher)
                {
                    *self = Self::Beside(beside);
                }
            }
            Self::Beside(beside) => {
                let next = beside.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(ScanHasher::PIECE));
                let full = std::mem::replace(piece, next);
                beside.full.send(full).expect("the thread ends when nothing more can come");
            }
        }
    }
}

impl Beside {
    fn begin(hasher: &ScanHasher) -> Option<Self> {
        let mut hasher = hasher.clone();
        let (full, pieces) = sync_channel::<Vec<u8>>(WAITING);
        let (emptied, empty) = sync_channel(WAITING);
        let hash = move || {
            for mut piece in pieces {
                hasher.piece(&piece);
                piece.clear();
                // One too many is let go of.
                emptied.try_send(piece).ok();
            }
            hasher
        };
        let thread = std::thread::Builder::new().name("digest".to_owned()).spawn(hash).ok()?;
        Some(Self { full, empty, thread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_made_beside_the_scan_is_the_one_made_within_it() {
        let space =
            Space { provider: "p".into(), model: "m".into(), dimension: 8, task_type: None, text_format: 1 };
        let long = vec![b'x'; 3 * ScanHasher::PIECE + 5];
        for values in [0, 1, 7, 500, 20_000] {
            let mut digest = Digest::new(&space);
            let (mut alone, mut all) = (ScanHasher::new(&space), Vec::new());
            for n in 0..values {
                let text = format!("value {n} of a row that is somewhat long, as those of people are");
                let value = match n % 400 {
                    399 => RawValue::Text(&long),
                    rest if rest % 2 == 0 => RawValue::Integer(n),
                    _ => RawValue::Text(text.as_bytes()),
                };
                digest.value(value);
                ScanHasher::gather(value, &mut all, &mut |piece| {
                    alone.piece(piece);
                    piece.clear();
                });
            }
            alone.piece(&all);

            assert_eq!(matches!(digest.hashing, Hashing::Beside(_)), values > 500, "{values} values");
            assert_eq!(digest.finish(), alone.finish(), "{values} values");
        }
    }
}
