//! Counts what a file holds from its bytes as they come, in pieces of any size.
//!
//! [`UnitLengths`] reads the floats of an index, [`RecordCounter`] the records
//! of the metadata. Neither holds more than one row, so that a file of any
//! size is proven in one reading, together with its digest.

use serde::de::IgnoredAny;

use crate::builds::index::HEADER_BYTES;

/// How far the squared length of a vector may be from one: far above what
/// single precision loses, far below what any wrong vector shows.
const UNIT_TOLERANCE: f32 = 1e-3;

/// Counts vectors that are not finite or not of unit length, from the bytes of an index as they come.
pub(super) struct UnitLengths {
    /// Bytes still to be passed over before the next float.
    skip: usize,
    left: Vec<u8>,
    row_bytes: usize,
    /// Vectors that are not, so far.
    pub(super) wrong: u64,
}

impl UnitLengths {
    pub(super) fn new(dimension: usize) -> Self {
        Self { skip: HEADER_BYTES, left: Vec::new(), row_bytes: 4 * dimension.max(1), wrong: 0 }
    }

    pub(super) fn bytes(&mut self, piece: &[u8]) {
        let skipped = self.skip.min(piece.len());
        self.skip -= skipped;
        let mut piece = &piece[skipped..];
        if !self.left.is_empty() {
            let wanted = (self.row_bytes - self.left.len()).min(piece.len());
            self.left.extend_from_slice(&piece[..wanted]);
            piece = &piece[wanted..];
            if self.left.len() == self.row_bytes {
                self.wrong += u64::from(!is_unit(&self.left));
                self.left.clear();
            }
        }
        let rows = piece.chunks_exact(self.row_bytes);
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

/// Counts the records of a JSON array of objects as its bytes come, parsing each.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "four independent facts about where a byte stands")]
pub struct RecordCounter {
    record: Vec<u8>,
    depth: u32,
    in_string: bool,
    escaped: bool,
    records: u64,
    /// `[` seen, `]` seen.
    opened: bool,
    closed: bool,
    wrong: Option<String>,
}

impl RecordCounter {
    /// Takes the next bytes.
    pub fn bytes(&mut self, piece: &[u8]) {
        if self.wrong.is_some() {
            return;
        }
        let mut from = 0;
        for (at, &byte) in piece.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    match self.depth {
                        1 => self.opened = true,
                        2 => from = at,
                        _ => {}
                    }
                }
                b'}' | b']' => {
                    let Some(depth) = self.depth.checked_sub(1) else {
                        self.wrong = Some("a bracket too many".to_owned());
                        return;
                    };
                    self.depth = depth;
                    match depth {
                        0 => self.closed = true,
                        1 => {
                            self.record.extend_from_slice(&piece[from..=at]);
                            self.one();
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        if self.depth >= 2 {
            self.record.extend_from_slice(&piece[from..]);
        }
    }

    fn one(&mut self) {
        self.records += 1;
        if let Err(error) = serde_json::from_slice::<IgnoredAny>(&self.record) {
            self.wrong.get_or_insert_with(|| format!("record {}: {error}", self.records));
        }
        self.record.clear();
    }

    /// The number of records, or what is wrong.
    #[must_use]
    pub fn finish(self) -> String {
        match self.wrong {
            Some(wrong) => wrong,
            None if self.opened && self.closed && self.depth == 0 => self.records.to_string(),
            None => "a JSON array that does not end".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_whatever_the_pieces() {
        let cases = [
            (r"[]", "0"),
            (r#"[{"a": 1}]"#, "1"),
            (r#"[{"a": "]}\"{["}, {"b": [1, {"c": {}}]}]"#, "2"),
            (r#"[{"a": "\\"}, {"b": 2}]"#, "2"),
            (r#"[{"a": 1}"#, "a JSON array that does not end"),
            (r#"[{"a": Infinity}]"#, "record 1: expected value at line 1 column 7"),
            ("", "a JSON array that does not end"),
            ("[]]", "a bracket too many"),
        ];
        for (json, expected) in cases {
            for size in 1..=json.len().max(1) {
                let mut counter = RecordCounter::default();
                json.as_bytes().chunks(size).for_each(|piece| counter.bytes(piece));
                assert_eq!(counter.finish(), expected, "{json} in pieces of {size}");
            }
        }
    }

    #[test]
    fn vectors_that_are_not_of_unit_length_are_counted_whatever_the_pieces() {
        let rows: [[f32; 3]; 6] = [
            [1.0, 0.0, 0.0],
            [0.6, 0.8, 0.0],
            [0.6, 0.9, 0.0],
            [f32::NAN, 0.0, 0.0],
            [0.0, 0.0, 0.0],
            [f32::INFINITY, 0.0, 1.0],
        ];
        let mut file = vec![7; HEADER_BYTES];
        file.extend(rows.iter().flatten().flat_map(|x| x.to_le_bytes()));
        for size in 1..=file.len() {
            let mut lengths = UnitLengths::new(3);
            file.chunks(size).for_each(|piece| lengths.bytes(piece));
            assert_eq!(lengths.wrong, 4, "in pieces of {size}");
        }
    }
}
