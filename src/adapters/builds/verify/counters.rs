//! Counts what a file holds from its bytes as they come, in pieces of any size.
//!
//! [`UnitLengths`] reads the floats of an index, [`RecordCounter`] the records
//! of the metadata. Neither holds more than one row, so that a file of any
//! size is proven in one reading, together with its digest.

use serde::de::IgnoredAny;

use super::tree_digest::Reader;
use crate::adapters::builds::index::HEADER_BYTES;

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
    /// For the part that begins so many bytes into the file.
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

    /// Vectors that are not, in all parts of a file, the first one first.
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

impl Reader for UnitLengths {
    fn bytes(&mut self, mut piece: &[u8]) {
        if self.head.len() < self.head_bytes {
            let wanted = (self.head_bytes - self.head.len()).min(piece.len());
            self.head.extend_from_slice(&piece[..wanted]);
            piece = &piece[wanted..];
        }
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

/// No row of a table is longer: what looks like one is a file of another kind, and is not held in memory.
const MAX_RECORD_BYTES: usize = 64 << 20;

/// Counts the records of a JSON array of objects as its bytes come, parsing each.
#[derive(Default)]
pub struct RecordCounter {
    /// Bytes of a record whose end has not come yet.
    left: Vec<u8>,
    /// So many of them must be there before parsing is worth another try: a
    /// record that never ends costs no more than twice its bytes.
    enough: usize,
    state: ParserState,
    records: u64,
    wrong: Option<String>,
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
    pub fn bytes(&mut self, piece: &[u8]) {
        if self.wrong.is_some() {
            return;
        }
        if self.left.is_empty() {
            let used = self.walk(piece);
            self.left.extend_from_slice(&piece[used..]);
        } else {
            self.left.extend_from_slice(piece);
            if self.left.len() < self.enough {
                return;
            }
            let left = std::mem::take(&mut self.left);
            let used = self.walk(&left);
            self.left = left;
            self.left.drain(..used);
        }
        if self.left.len() > MAX_RECORD_BYTES {
            self.wrong = Some(format!("record {} is longer than {MAX_RECORD_BYTES} bytes", self.records + 1));
            self.left = Vec::new();
        }
        self.enough = (2 * self.left.len()).min(MAX_RECORD_BYTES);
    }

    /// Goes over all that is whole, and says how many bytes that was.
    fn walk(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let (Some(&byte), None) = (bytes.get(at), &self.wrong) {
            self.state = match (byte, self.state) {
                (b' ' | b'\n' | b'\r' | b'\t', place) => place,
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
                    let found = char::from(other);
                    self.wrong = Some(format!("{found:?} after record {}", self.records));
                    break;
                }
            };
            at += 1;
        }
        at
    }

    /// Parses one record; none where more of it is to come.
    fn record(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut records = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
        match records.next() {
            Some(Err(error)) if error.is_eof() || is_at_end(&error, bytes) => None,
            Some(Err(error)) => {
                self.wrong = Some(format!("record {}: {error}", self.records + 1));
                None
            }
            _ => {
                self.records += 1;
                Some(records.byte_offset())
            }
        }
    }

    /// The number of records, or what is wrong.
    #[must_use]
    pub fn finish(mut self) -> String {
        let left = std::mem::take(&mut self.left);
        self.walk(&left);
        match self.wrong {
            Some(wrong) => wrong,
            None if self.state == ParserState::Closed => self.records.to_string(),
            None => "a JSON array that does not end".to_owned(),
        }
    }
}

/// Whether the fault is where the bytes end: a number that is cut off is told as a wrong one.
fn is_at_end(error: &serde_json::Error, bytes: &[u8]) -> bool {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n').take(error.line().saturating_sub(1));
    lines.map(<[u8]>::len).sum::<usize>() + error.column() >= bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_are_counted_whatever_the_chunks() {
        let cases = [
            (r"[]", "0"),
            (r#"[{"a": 1}]"#, "1"),
            (r#"[{"a": "]}\"{["}, {"b": [1, {"c": {}}]}]"#, "2"),
            (r#"[{"a": "\\"}, {"b": 2}]"#, "2"),
            ("[{\"a\": -1.25e-3},\n {\"b\":\n true, \"c\":\n-0.5}]\n", "2"),
            (r#"[{"a": 1}"#, "a JSON array that does not end"),
            (r#"[{"a": Infinity}]"#, "record 1: expected value at line 1 column 7"),
            ("", "a JSON array that does not end"),
            ("[]]", "']' after record 0"),
            ("[{} {}]", "'{' after record 1"),
            ("[{},]", "']' after record 1"),
            ("[{}, 1]", "'1' after record 1"),
            ("[[]]", "'[' after record 0"),
            ("{}", "'{' after record 0"),
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
    fn vectors_that_are_not_of_unit_length_are_counted_whatever_the_chunks() {
        let rows: [[f32; 3]; 6] = [
            [1.0, 0.0, 0.0],
            [0.6, 0.8, 0.0],
            [0.6, 0.9, 0.0],
            [f32::NAN, 0.0, 0.0],
            [0.0, 0.0, 0.0],
            [f32::INFINITY, 0.0, 1.0],
        ];
        for dimension in [3, 30] {
            let mut file = vec![7; HEADER_BYTES];
            for row in &rows {
                file.extend(row.iter().flat_map(|x| x.to_le_bytes()));
                file.resize(file.len() + 4 * (dimension - row.len()), 0);
            }
            let parts = HEADER_BYTES..=file.len();
            for (part, size) in parts.flat_map(|part| [1, 2, 5, 12, part].map(|size| (part, size))) {
                let parts = file.chunks(part).enumerate().map(|(nth, bytes)| {
                    let mut lengths = UnitLengths::at((nth * part) as u64, dimension);
                    bytes.chunks(size).for_each(|piece| lengths.bytes(piece));
                    lengths
                });
                assert_eq!(UnitLengths::wrong(parts.collect()), 4, "in parts of {part} and pieces of {size}");
            }
        }
    }

    fn counted(pieces: &[&[u8]]) -> String {
        let mut counter = RecordCounter::default();
        for piece in pieces {
            counter.bytes(piece);
        }
        counter.finish()
    }

    #[test]
    fn a_record_without_end_is_not_held_in_memory() {
        let mut counter = RecordCounter::default();
        counter.bytes(b"[{\"a\": \"");
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..=MAX_RECORD_BYTES / piece.len() {
            counter.bytes(&piece);
        }
        assert!(counter.left.capacity() <= 2 * MAX_RECORD_BYTES);

        assert_eq!(counter.finish(), "record 1 is longer than 67108864 bytes");
    }

    /// Texts made of what JSON is made of, mostly whole and sometimes not.
    fn text() -> impl Strategy<Value = String> {
        let value = prop_oneof![
            Just("null".to_owned()),
            r#""([a-z{}\[\],]|\\\\|\\"){0,8}""#,
            "-?[1-9][0-9]{0,3}",
            r"\[(1, )?\{\}\]",
        ];
        let record = prop::collection::vec(value, 0..4).prop_map(|values| {
            let members = values.iter().enumerate().map(|(nth, value)| format!("\"{nth}\": {value}"));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        });
        let separator = prop::sample::select(vec![", ", ", ", ",\n", ",,", " ", ""]);
        let array = (prop::collection::vec(record, 0..5), separator)
            .prop_map(|(records, separator)| format!("[{}]", records.join(separator)));
        let spoiled = (array.clone(), any::<prop::sample::Index>(), "[\\[\\]{}\", \\\\1x]?").prop_map(
            |(array, at, with)| {
                let at = at.index(array.len());
                format!("{}{with}{}", &array[..at], &array[at + 1..])
            },
        );
        prop_oneof![array, spoiled, r#"[\[\]{}", \\1:]{0,20}"#]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn records_are_counted_as_json_counts_them_whatever_the_pieces(
            text in text(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let whole = serde_json::from_str::<Vec<serde_json::Map<String, serde_json::Value>>>(&text);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]).collect();

            let found = counted(&pieces);

            match whole {
                Ok(records) => prop_assert_eq!(found, records.len().to_string()),
                Err(error) => prop_assert!(found.parse::<u64>().is_err(), "{}: {} though {}", text, found, error),
            }
        }

        #[test]
        fn no_bytes_make_the_counters_panic(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5),
            dimension in 0_usize..9,
        ) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            prop_assert!(!counted(&pieces).is_empty());
            let mut lengths = UnitLengths::at(0, dimension);
            for piece in pieces {
                lengths.bytes(piece);
            }
            UnitLengths::wrong(vec![lengths]);
        }
    }
}
