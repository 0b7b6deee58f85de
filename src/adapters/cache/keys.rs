//! Keys and checksums of what is in the cache.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::domain::record::{Space, TextHash};
use crate::domain::request_extras::RequestExtras;

/// The key of a space in the cache, as the integer that SQLite compares fastest.
pub(super) fn key(space: &Space) -> i64 {
    let digits = space.key();
    u64::from_str_radix(&digits, 16).expect("a space's key is sixteen hexadecimal digits").cast_signed()
}

/// Binds a vector to its text and space: it detects a flipped bit and an entry
/// that points to another text's vector. Eight bytes are enough against accident,
/// and nothing that is stored beside its data protects it against malice: so it is
/// a fast checksum, since it is computed twice for every embedded vector.
pub(super) fn checksum(space: i64, text: &TextHash, floats: &[u8]) -> [u8; 8] {
    let mut hasher = Xxh3::new();
    hasher.update(&space.to_le_bytes());
    hasher.update(&text.0);
    hasher.update(floats);
    hasher.digest().to_le_bytes()
}

/// Names vectors of questions: their space, what is sent beside a question, and where it is sent. Those of a
/// `--rebuy` stand apart until it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryKey(pub(super) i64);

impl QueryKey {
    #[must_use]
    pub fn new(space: &Space, extras: &RequestExtras, address: Option<&str>, is_rebuy: bool) -> Self {
        let kind = if is_rebuy { "queries of a rebuy" } else { "queries" };
        let RequestExtras { prefix, fields } = extras;
        let parts = [kind, &space.key(), prefix, &fields.canonical(), address.unwrap_or_default()];
        let mut hasher = Xxh3::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(hasher.digest().cast_signed())
    }
}

/// The key under which the vectors of a `--rebuy` of this space stand.
pub(super) fn key_apart(space: &Space) -> i64 {
    xxh3_64(format!("rebuy {}", space.key()).as_bytes()).cast_signed()
}
