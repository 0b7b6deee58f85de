//! Some texts of a scan whose vector a build has, drawn at random.
//!
//! They are embedded again to find out whether a provider still gives the
//! vectors of that build. Every text of the scan that the build has is as
//! likely as any other; no more than a few are held.

use std::collections::{HashMap, HashSet};

use crate::decide::address::MAX_TEXTS;
use crate::domain::record::{RecordHash, TextHash};
use crate::domain::row_hashes::RowHashes;

/// A text with the row of the build that has its vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownText {
    pub(super) hash: TextHash,
    pub(super) text: String,
    pub(super) row: u32,
}

/// Draws texts while a table is read.
#[derive(Default)]
pub(super) struct TextSample {
    known: KnownRows,
    /// Texts of the scan that the build has.
    met: u64,
    texts: Vec<KnownText>,
}

/// What a build has, by what makes a row of the scan the same.
#[derive(Default)]
enum KnownRows {
    #[default]
    None,
    Texts(HashMap<TextHash, u32>),
    Records(HashMap<RecordHash, u32>),
}

impl TextSample {
    /// Of rows with the text of a row in a build.
    pub(super) fn of_texts(rows: &[RowHashes]) -> Self {
        let rows = rows.iter().zip(0..).map(|(row, at)| (row.text, at));
        Self { known: KnownRows::Texts(rows.collect()), ..Self::default() }
    }

    /// Of rows with a text whose vector is cached.
    pub(super) fn of_cached(texts: &HashSet<TextHash>) -> Self {
        Self { known: KnownRows::Texts(texts.iter().map(|text| (*text, 0)).collect()), ..Self::default() }
    }

    /// Of rows whose whole record is in a build.
    pub(super) fn of_records(rows: HashMap<RecordHash, u32>) -> Self {
        Self { known: KnownRows::Records(rows), ..Self::default() }
    }

    /// Takes a row of the scan into the draw.
    pub(super) fn offer(&mut self, hashes: &RowHashes, text: &str) {
        let known = match &self.known {
            KnownRows::None => None,
            KnownRows::Texts(rows) => rows.get(&hashes.text),
            KnownRows::Records(rows) => rows.get(&hashes.record),
        };
        let Some(&row) = known else { return };
        if self.texts.iter().any(|drawn| drawn.hash == hashes.text) {
            return;
        }
        self.met += 1;
        let place = usize::try_from(fastrand::u64(..self.met)).unwrap_or(usize::MAX);
        let drawn = || KnownText { hash: hashes.text, text: text.to_owned(), row };
        if self.texts.len() < MAX_TEXTS {
            self.texts.push(drawn());
        } else if place < MAX_TEXTS {
            self.texts[place] = drawn();
        }
    }

    /// Whether nothing can be drawn.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.known, KnownRows::None)
    }

    pub(super) fn into_texts(self) -> Vec<KnownText> {
        self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::IdHash;

    fn row(number: u8) -> RowHashes {
        RowHashes { id: IdHash([number; 8]), text: TextHash([number; 16]), record: RecordHash([number; 16]) }
    }

    #[test]
    fn a_few_known_texts_are_drawn_each_once_and_any_of_them() {
        let known: Vec<RowHashes> = (0..60).map(row).collect();
        let mut drawn_ever = HashSet::new();
        for _ in 0..200 {
            let mut sample = TextSample::of_texts(&known);
            for number in (0..90).chain(0..90) {
                sample.offer(&row(number), &number.to_string());
            }
            let texts = sample.into_texts();
            let hashes: HashSet<TextHash> = texts.iter().map(|text| text.hash).collect();
            assert_eq!((texts.len(), hashes.len()), (MAX_TEXTS, MAX_TEXTS));
            assert!(texts.iter().all(|text| text.row < 60 && text.text == text.row.to_string()), "{texts:?}");
            drawn_ever.extend(hashes);
        }
        assert_eq!(drawn_ever.len(), 60, "any of them may be drawn");
    }

    #[test]
    fn rows_are_known_by_text_or_by_record_and_without_a_build_none_is() {
        let changed = RowHashes { record: RecordHash([9; 16]), ..row(1) };
        let by_record = || HashMap::from([(row(1).record, 5)]);
        let cases = [
            (TextSample::default(), row(1), 0),
            (TextSample::of_texts(&[row(1)]), changed, 1),
            (TextSample::of_records(by_record()), changed, 0),
            (TextSample::of_records(by_record()), row(1), 1),
        ];
        for (mut sample, hashes, expected) in cases {
            sample.offer(&hashes, "x");
            assert_eq!(sample.into_texts().len(), expected);
        }
    }
}
