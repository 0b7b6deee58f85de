//! The digest of a scan, hashed on a second thread if the scan is large enough.
//!
//! Values are gathered into chunks large enough for the digest's wide lanes:
//! hashing value by value costs several times as much. A full chunk goes to a
//! thread that hashes while the scan goes on; without a thread it is hashed
//! inline. What is hashed, and in which bytes, is `record`'s.

use std::sync::mpsc::{Receiver, sync_channel};

use crate::domain::parallel::Background;
use crate::domain::record::{Basis, RawValue, Row, ScanHash, ScanHasher, ValuesHash, feed};

/// Chunks after which a thread is worth its start: four mebibytes.
const MIN_CHUNKS_FOR_THREAD: u32 = 8;
/// Chunks that wait for the thread at most.
const QUEUE_LENGTH: usize = 4;

/// The digest of the rows of one scan, so far.
pub struct ScanDigest {
    gathered: Vec<u8>,
    hashing: Hashing,
}

enum Hashing {
    /// On the thread that scans, with the number of chunks so far.
    Inline(Box<ScanHasher>, u32),
    Thread(DigestThread),
}

/// A thread that hashes full chunks and gives them back empty.
struct DigestThread {
    full: Background<Vec<u8>, ScanHasher>,
    empty: Receiver<Vec<u8>>,
}

impl ScanDigest {
    /// Bytes in a chunk.
    pub const CHUNK: usize = 512 * 1024;

    /// `rules`: see [`SourceRules::scan_input`](crate::domain::source_rules::SourceRules::scan_input).
    #[must_use]
    pub fn new<'a>(basis: impl Into<Basis<'a>>, rules: &[u8]) -> Self {
        Self::with(ScanHasher::new(basis.into(), rules))
    }

    /// Of the values alone, for [`ScanDigest::finish_values`].
    pub(crate) fn of_values() -> Self {
        Self::with(ScanHasher::of_values())
    }

    fn with(hasher: ScanHasher) -> Self {
        Self { gathered: Vec::with_capacity(Self::CHUNK), hashing: Hashing::Inline(Box::new(hasher), 0) }
    }

    /// Adds the values of one row. Every row must have the same number of values.
    #[inline]
    pub fn row(&mut self, row: Row<'_>) {
        for &value in row {
            self.value(value);
        }
    }

    #[inline]
    fn value(&mut self, value: RawValue<'_>) {
        const HEAD: usize = 9;
        let length = match value {
            RawValue::Null | RawValue::Integer(_) | RawValue::Real(_) => 0,
            RawValue::Text(bytes) | RawValue::Blob(bytes) => bytes.len(),
        };
        // Nearly always all of it fits, and no byte needs a check of its own.
        if self.gathered.len() + HEAD + length < Self::CHUNK {
            feed(&mut |bytes| self.gathered.extend_from_slice(bytes), value);
        } else {
            self.value_across_chunks(value);
        }
    }

    #[cold]
    fn value_across_chunks(&mut self, value: RawValue<'_>) {
        let Self { gathered, hashing } = self;
        let mut gather = |mut bytes: &[u8]| {
            while gathered.len() + bytes.len() >= Self::CHUNK {
                let (fits, rest) = bytes.split_at(Self::CHUNK - gathered.len());
                gathered.extend_from_slice(fits);
                hashing.hash_chunk(gathered);
                bytes = rest;
            }
            gathered.extend_from_slice(bytes);
        };
        feed(&mut gather, value);
    }

    #[must_use]
    pub fn finish(self) -> ScanHash {
        self.hasher().finish()
    }

    pub(crate) fn finish_values(self) -> ValuesHash {
        self.hasher().finish_values()
    }

    fn hasher(self) -> ScanHasher {
        let mut hasher = match self.hashing {
            Hashing::Inline(hasher, _) => *hasher,
            Hashing::Thread(thread) => thread.full.finish(),
        };
        hasher.hash_chunk(&self.gathered);
        hasher
    }
}

impl Hashing {
    /// Hashes a full chunk, or has it hashed, and leaves it empty.
    fn hash_chunk(&mut self, chunk: &mut Vec<u8>) {
        match self {
            Self::Inline(hasher, chunks) => {
                hasher.hash_chunk(chunk);
                chunk.clear();
                *chunks += 1;
                // Tried once: if no thread is available, all of it is hashed inline.
                if *chunks == MIN_CHUNKS_FOR_THREAD
                    && let Some(thread) = DigestThread::start(hasher)
                {
                    *self = Self::Thread(thread);
                }
            }
            Self::Thread(thread) => {
                let next = thread.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(ScanDigest::CHUNK));
                thread.full.send(std::mem::replace(chunk, next));
            }
        }
    }
}

impl DigestThread {
    /// Goes on with what `hasher` has hashed so far.
    fn start(hasher: &ScanHasher) -> Option<Self> {
        let mut hasher = hasher.clone();
        let (emptied, empty) = sync_channel(QUEUE_LENGTH);
        let hash = move |chunks: Receiver<Vec<u8>>| {
            for mut chunk in chunks {
                hasher.hash_chunk(&chunk);
                chunk.clear();
                // One chunk too many is dropped.
                emptied.try_send(chunk).ok();
            }
            hasher
        };
        Some(Self { full: Background::start("digest", QUEUE_LENGTH, hash)?, empty })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::Space;

    #[test]
    fn a_digest_from_its_own_thread_equals_one_made_during_the_scan() {
        let space = Space {
            provider: "p".into(),
            model: "m".into(),
            dimension: 8,
            task_type: None,
            ..Space::default()
        };
        let long = vec![b'x'; 3 * ScanDigest::CHUNK + 5];
        for values in [0, 1, 7, 500, 20_000] {
            let mut digest = ScanDigest::new(&space, b"");
            let (mut alone, mut all) = (ScanHasher::new(Basis::from(&space), b""), Vec::new());
            for n in 0..values {
                let text = format!("value {n} of a row that is somewhat long, as those of people are");
                let value = match n % 400 {
                    399 => RawValue::Text(&long),
                    rest if rest % 2 == 0 => RawValue::Integer(n),
                    _ => RawValue::Text(text.as_bytes()),
                };
                digest.row(&[value]);
                feed(&mut |bytes| all.extend_from_slice(bytes), value);
            }
            alone.hash_chunk(&all);

            assert_eq!(matches!(digest.hashing, Hashing::Thread(_)), values > 500, "{values} values");
            assert_eq!(digest.finish(), alone.finish(), "{values} values");
        }
    }
}
