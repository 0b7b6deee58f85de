//! The digest of a scan, made beside the scan where that is worth a thread.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::domain::record::{RawValue, ScanHash, ScanHasher, Space};

/// Pieces after which a thread is worth its beginning: four mebibytes.
const MIN_CHUNKS_FOR_THREAD: u32 = 8;
/// Pieces that wait for the thread at most.
const QUEUE_LENGTH: usize = 4;

/// The digest of the values that came so far.
pub(super) struct ScanDigest {
    gathered: Vec<u8>,
    hashing: Hashing,
}

enum Hashing {
    /// On the thread that scans, for so many pieces so far.
    Here(Box<ScanHasher>, u32),
    Thread(DigestThread),
}

/// A thread that hashes full pieces and gives them back empty.
struct DigestThread {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<ScanHasher>,
}

impl ScanDigest {
    pub(super) fn new(space: &Space) -> Self {
        Self {
            gathered: Vec::with_capacity(ScanHasher::CHUNK),
            hashing: Hashing::Here(Box::new(ScanHasher::new(space)), 0),
        }
    }

    /// Adds one column's value.
    pub(super) fn value(&mut self, value: RawValue<'_>) {
        let Self { gathered, hashing } = self;
        ScanHasher::gather(value, gathered, &mut |piece| hashing.hash_chunk(piece));
    }

    pub(super) fn finish(self) -> ScanHash {
        let mut hasher = match self.hashing {
            Hashing::Here(hasher, _) => *hasher,
            Hashing::Thread(DigestThread { full, empty, thread }) => {
                drop((full, empty));
                // A panic in there is our own bug and goes on here.
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        hasher.hash_chunk(&self.gathered);
        hasher.finish()
    }
}

impl Hashing {
    fn hash_chunk(&mut self, piece: &mut Vec<u8>) {
        match self {
            Self::Here(hasher, pieces) => {
                hasher.hash_chunk(piece);
                piece.clear();
                *pieces += 1;
                // Asked once: where no thread can be had, all of it is done here.
                if *pieces == MIN_CHUNKS_FOR_THREAD
                    && let Some(beside) = DigestThread::start(hasher)
                {
                    *self = Self::Thread(beside);
                }
            }
            Self::Thread(beside) => {
                let next = beside.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(ScanHasher::CHUNK));
                let full = std::mem::replace(piece, next);
                beside.full.send(full).expect("the thread ends when nothing more can come");
            }
        }
    }
}

impl DigestThread {
    fn start(hasher: &ScanHasher) -> Option<Self> {
        let mut hasher = hasher.clone();
        let (full, pieces) = sync_channel::<Vec<u8>>(QUEUE_LENGTH);
        let (emptied, empty) = sync_channel(QUEUE_LENGTH);
        let hash = move || {
            for mut piece in pieces {
                hasher.hash_chunk(&piece);
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
    fn a_digest_from_its_own_thread_equals_one_made_during_the_scan() {
        let space =
            Space { provider: "p".into(), model: "m".into(), dimension: 8, task_type: None, text_format: 1 };
        let long = vec![b'x'; 3 * ScanHasher::CHUNK + 5];
        for values in [0, 1, 7, 500, 20_000] {
            let mut digest = ScanDigest::new(&space);
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
                    alone.hash_chunk(piece);
                    piece.clear();
                });
            }
            alone.hash_chunk(&all);

            assert_eq!(matches!(digest.hashing, Hashing::Thread(_)), values > 500, "{values} values");
            assert_eq!(digest.finish(), alone.finish(), "{values} values");
        }
    }
}
