//! What is remembered of texts that left the host: `.reindexd/sent.json`, bytes to a type and back.
//!
//! ```text
//! one JSON object on a line, the 64 digits of its blake3 digest on a second
//! line, spaces up to 1,024 bytes
//! ```
//!
//! The length never changes, so that the file is replaced in place by one
//! write. A bit that has changed, or a write that was torn, is damage. What
//! follows from what is remembered is `decide::ceiling`'s; when it is written
//! belongs to the flow of a pass.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The format of the file.
const FORMAT: u32 = 1;
/// Bytes of the file.
pub(crate) const SENT_TEXTS_BYTES: usize = 1024;

/// What is remembered of texts that left the host. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentTexts {
    /// Texts that left and whose vectors were not stored, since a pass last ended well.
    pub unanswered: u64,
    /// Whether there may be any number of them, because what was remembered is lost.
    pub is_unknown: bool,
    /// Whether a pass has ended at the ceiling.
    pub is_held: bool,
    /// When texts last left, while an attempt runs; what remains of it says that its process died.
    pub sending: Option<i64>,
    /// Whether no vector was stored since the last attempt began.
    pub is_silent: bool,
    /// Attempts that failed in a row.
    pub failures: u32,
    /// No start of an agent sends before.
    pub retry_at: Option<i64>,
    /// When a single text last left beyond the ceiling, or the ceiling was reached.
    pub probed_at: Option<i64>,
    /// Single texts that left beyond the ceiling in a row.
    pub probes: u32,
    /// Names the settings that all of this was counted with.
    pub settings: String,
    /// Texts that had left within a minute before `minute_at`.
    pub minute_texts: u64,
    /// The same in tokens, by estimate.
    pub minute_tokens: u64,
    pub minute_at: Option<i64>,
}

/// Why bytes do not say what was sent.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum SentTextsError {
    #[error("it is not what was written")]
    Damaged,
    #[error("its format is {found}, this program knows up to {FORMAT}")]
    Newer { found: u32 },
}

#[derive(Serialize, Deserialize)]
struct WrittenSentTexts {
    format: u32,
    #[serde(flatten)]
    sent: SentTexts,
}

impl SentTexts {
    /// Reads the file's bytes.
    ///
    /// # Errors
    ///
    /// [`SentTextsError`] for bytes that this program did not write.
    pub fn parse(bytes: &[u8]) -> Result<Self, SentTextsError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let text = std::str::from_utf8(bytes).map_err(|_| SentTextsError::Damaged)?;
        let (json, rest) = text.split_once('\n').ok_or(SentTextsError::Damaged)?;
        let (digest, padding) = rest.split_once('\n').ok_or(SentTextsError::Damaged)?;
        let is_whole = digest == blake3::hash(json.as_bytes()).to_hex().as_str()
            && bytes.len() == SENT_TEXTS_BYTES
            && padding.bytes().all(|byte| byte == b' ');
        if !is_whole {
            return Err(SentTextsError::Damaged);
        }
        let Head { format: found } = serde_json::from_str(json).map_err(|_| SentTextsError::Damaged)?;
        if found > FORMAT {
            return Err(SentTextsError::Newer { found });
        }
        let file: WrittenSentTexts = serde_json::from_str(json).map_err(|_| SentTextsError::Damaged)?;
        Ok(file.sent)
    }

    /// The bytes of the file.
    ///
    /// # Panics
    ///
    /// If the name of the settings is longer than a digest.
    #[must_use]
    pub fn print(&self) -> Vec<u8> {
        let file = WrittenSentTexts { format: FORMAT, sent: self.clone() };
        let json = serde_json::to_string(&file).expect("string keys only");
        let mut bytes = format!("{json}\n{}\n", blake3::hash(json.as_bytes()).to_hex()).into_bytes();
        assert!(bytes.len() <= SENT_TEXTS_BYTES, "{} bytes for what was sent", bytes.len());
        bytes.resize(SENT_TEXTS_BYTES, b' ');
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SentTexts {
        SentTexts {
            unanswered: u64::MAX,
            is_unknown: true,
            is_held: true,
            sending: Some(i64::MAX),
            is_silent: true,
            failures: u32::MAX,
            retry_at: Some(i64::MIN),
            probed_at: Some(i64::MAX),
            probes: u32::MAX,
            settings: "0123456789abcdef".to_owned(),
            minute_texts: u64::MAX,
            minute_tokens: u64::MAX,
            minute_at: Some(i64::MIN),
        }
    }

    #[test]
    fn what_was_sent_is_read_as_it_was_written_in_always_the_same_length() {
        for sent in [SentTexts::default(), sample()] {
            let bytes = sent.print();
            assert_eq!(bytes.len(), SENT_TEXTS_BYTES);
            assert_eq!(SentTexts::parse(&bytes), Ok(sent));
        }
    }

    #[test]
    fn every_bit_that_changes_and_every_length_but_its_own_is_damage() {
        let bytes = sample().print();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SentTexts::parse(&changed), Err(SentTextsError::Damaged), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(SentTexts::parse(&bytes[..length]), Err(SentTextsError::Damaged), "{length} bytes");
        }
        let longer = [bytes.as_slice(), b" "].concat();
        assert_eq!(SentTexts::parse(&longer), Err(SentTextsError::Damaged));
    }

    #[test]
    fn a_newer_format_is_named() {
        let json = r#"{"format":2,"texts":"unknown"}"#;
        let mut bytes = format!("{json}\n{}\n", blake3::hash(json.as_bytes()).to_hex()).into_bytes();
        bytes.resize(SENT_TEXTS_BYTES, b' ');
        assert_eq!(SentTexts::parse(&bytes), Err(SentTextsError::Newer { found: 2 }));
    }
}
