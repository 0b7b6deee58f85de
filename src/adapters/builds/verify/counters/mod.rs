//! Counts what a file holds from its bytes, in chunks of any size.
//!
//! [`UnitLengths`] reads the vectors of an index, [`RecordCounter`] the records
//! of the metadata. Neither holds more than one row, so that a file of any size
//! is verified in one reading, together with its digest. The record counter is
//! written by hand: a parser that reads for itself would be a second reading.

use serde::de::IgnoredAny;
use thiserror::Error;

use super::tree_digest::PartReader;
use crate::adapters::builds::index::HEADER_BYTES;
use crate::domain::python_json::MAX_RECORD_BYTES;

/// How far the squared length of a vector may be from one: far above what
/// single precision loses, far below what any wrong vector shows.
const UNIT_TOLERANCE: f32 = 1e-3;

/// Counts vectors that are not finite or not of unit length, in a part of an index.
pub(super) struct UnitLengths {
    row_bytes: usize,
    /// Bytes before the first row that begins in this part: the header, or the rest of a row.
    head_bytes: usize,
    head: Vec<u8>,
    /// Bytes of a row that has not ended yet.
    left: Vec<u8>,
    wrong: u64,
}

impl UnitLengths {
    /// For the part that begins at this offset in the file.
    pub(super) fn at(offset: u64, dimension: usize) -> Self {
        let row_bytes = 4 * dimension.max(1);
        let head_bytes = match offset.checked_sub(HEADER_BYTES as u64) {
            None => HEADER_BYTES - usize::try_from(offset).expect("less than the header"),
            Some(into_rows) => {
                let into_row = usize::try_from(into_rows % row_bytes as u64).expect("less than a row");
                (row_bytes - into_row) % row_bytes
            }
        };
        Self { row_bytes, head_bytes, head: Vec::new(), left: Vec::new(), wrong: 0 }
    }

    /// Vectors that are not, in all parts of a file in their order.
    pub(super) fn wrong(parts: Vec<Self>) -> u64 {
        let mut wrong = 0;
        // Of a row that began in an earlier part.
        let mut row = Vec::new();
        for (nth, part) in parts.into_iter().enumerate() {
            wrong += part.wrong;
            if nth > 0 {
                row.extend(part.head);
                wrong += u64::from(row.len() == part.row_bytes && !is_unit(&row));
            }
            if row.len() == part.row_bytes || part.head_bytes == 0 || nth == 0 {
                row = part.left;
            }
        }
        wrong
    }
}

impl PartReader for UnitLengths {
    fn bytes(&mut self, mut chunk: &[u8]) {
        if self.head.len() < self.head_bytes {
            let wanted = (self.head_bytes - self.head.len()).min(chunk.len());
            self.head.extend_from_slice(&chunk[..wanted]);
            chunk = &chunk[wanted..];
        }
        if !self.left.is_empty() {
            let wanted = (self.row_bytes - self.left.len()).min(chunk.len());
            self.left.extend_from_slice(&chunk[..wanted]);
            chunk = &chunk[wanted..];
            if self.left.len() == self.row_bytes {
                self.wrong += u64::from(!is_unit(&self.left));
                self.left.clear();
            }
        }
        let rows = chunk.chunks_exact(self.row_bytes);
        self.left.extend_from_slice(rows.remainder());
        self.wrong += rows.filter(|row| !is_unit(row)).count() as u64;
    }
}

/// Summed in sixteen lanes, which the compiler turns into wide instructions.
fn is_unit(row: &[u8]) -> bool {
    let mut lanes = [0.0_f32; 16];
    let (wide, rest) = row.as_chunks::<64>();
    for floats in wide {
        for (lane, bytes) in lanes.iter_mut().zip(floats.as_chunks::<4>().0) {
            let x = f32::from_le_bytes(*bytes);
            *lane += x * x;
        }
    }
    for (lane, bytes) in lanes.iter_mut().zip(rest.as_chunks::<4>().0) {
        let x = f32::from_le_bytes(*bytes);
        *lane += x * x;
    }
    // A NaN or an infinity makes the sum one, which is not within the tolerance.
    (lanes.iter().sum::<f32>() - 1.0).abs() <= UNIT_TOLERANCE
}

/// Counts the records of a JSON array of objects, parsing each.
#[derive(Default)]
pub(in crate::adapters::builds) struct RecordCounter {
    /// Bytes of a record whose end has not come yet.
    left: Vec<u8>,
    /// How many of them there must be before another try to parse them: a
    /// record that never ends costs no more than twice its bytes.
    enough: usize,
    state: ParserState,
    records: u64,
    error: Option<NotRecords>,
}

/// Why bytes are not a JSON array of objects.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(in crate::adapters::builds) enum NotRecords {
    #[error("record {nth} is longer than {MAX_RECORD_BYTES} bytes")]
    TooLong { nth: u64 },
    #[error("record {nth}: {message}")]
    Invalid { nth: u64, message: String },
    #[error("{found:?} after record {nth}")]
    Unexpected { found: char, nth: u64 },
    #[error("a JSON array that does not end")]
    Unfinished,
}

/// Where in the array the next byte stands.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum ParserState {
    /// Before `[`.
    #[default]
    Before,
    /// After `[`.
    Opened,
    /// After a record.
    AfterRecord,
    /// After a comma.
    AfterComma,
    /// After `]`.
    Closed,
}

impl RecordCounter {
    /// Takes the next bytes.
    pub(in crate::adapters::builds) fn bytes(&mut self, chunk: &[u8]) {
        if self.error.is_some() {
            return;
        }
        if self.left.is_empty() {
            let used = self.count(chunk);
            self.left.extend_from_slice(&chunk[used..]);
        } else {
            self.left.extend_from_slice(chunk);
            if self.left.len() < self.enough {
                return;
            }
            let left = std::mem::take(&mut self.left);
            let used = self.count(&left);
            self.left = left;
            self.left.drain(..used);
        }
        if self.left.len() > MAX_RECORD_BYTES {
            self.error = Some(NotRecords::TooLong { nth: self.records + 1 });
            self.left = Vec::new();
        }
        self.enough = (2 * self.left.len()).min(MAX_RECORD_BYTES);
    }

    /// Counts all records that are whole, and returns how many bytes that took.
    fn count(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let (Some(&byte), None) = (bytes.get(at), &self.error) {
            self.state = match (byte, self.state) {
                (b' ' | b'\n' | b'\r' | b'\t', state) => state,
                (b'[', ParserState::Before) => ParserState::Opened,
                (b']', ParserState::Opened | ParserState::AfterRecord) => ParserState::Closed,
                (b',', ParserState::AfterRecord) => ParserState::AfterComma,
                (b'{', ParserState::Opened | ParserState::AfterComma) => {
                    let Some(length) = self.record(&bytes[at..]) else { return at };
                    at += length;
                    self.state = ParserState::AfterRecord;
                    continue;
                }
                (other, _) => {
                    self.error = Some(NotRecords::Unexpected { found: char::from(other), nth: self.records });
                    break;
                }
            };
            at += 1;
        }
        at
    }

    /// Parses one record and returns its length; `None` if more of it is to come.
    fn record(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut records = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
        match records.next() {
            Some(Err(error)) if error.is_eof() || is_at_end(&error, bytes) => None,
            Some(Err(error)) => {
                let message = error.to_string();
                self.error = Some(NotRecords::Invalid { nth: self.records + 1, message });
                None
            }
            _ => {
                self.records += 1;
                Some(records.byte_offset())
            }
        }
    }

    /// The number of records.
    pub(in crate::adapters::builds) fn finish(mut self) -> Result<u64, NotRecords> {
        let left = std::mem::take(&mut self.left);
        self.count(&left);
        match self.error {
            Some(error) => Err(error),
            None if self.state == ParserState::Closed => Ok(self.records),
            None => Err(NotRecords::Unfinished),
        }
    }
}

/// Whether the error is where the bytes end: a number that is cut off is reported as a wrong one.
fn is_at_end(error: &serde_json::Error, bytes: &[u8]) -> bool {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n').take(error.line().saturating_sub(1));
    lines.map(<[u8]>::len).sum::<usize>() + error.column() >= bytes.len()
}

#[cfg(test)]
mod tests;
