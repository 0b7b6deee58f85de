//! Rows copied out of the database, so that they outlive the step of SQLite that gave them.
//!
//! Raw values one after the other: a letter for the class, then the value.
//! Of a table only so much is copied as may be held in memory; a larger one is
//! read where it lies.

use crate::domain::record::RawValue;

/// Some eighty thousand people.
pub(super) const MAX_BUFFER_BYTES: usize = 32 << 20;

const NULL: u8 = b'n';
const INTEGER: u8 = b'i';
const REAL: u8 = b'r';
const TEXT: u8 = b't';
const BLOB: u8 = b'b';

/// Rows on their way out of the database.
pub(super) struct RowCopier {
    /// `None` once they have become too many.
    rows: Option<RowBuffer>,
    max_bytes: usize,
}

/// Rows as one transaction saw them.
#[derive(Debug, Default)]
pub struct RowBuffer {
    bytes: Vec<u8>,
}

impl RowCopier {
    pub(super) fn up_to(most: usize) -> Self {
        Self { rows: Some(RowBuffer::default()), max_bytes: most }
    }

    pub(super) fn row(&mut self, raw: &[RawValue<'_>; 14]) {
        let Some(rows) = &mut self.rows else { return };
        rows.push(raw);
        if rows.bytes() > self.max_bytes {
            self.rows = None;
        }
    }

    /// The rows, if there were not too many.
    pub(super) fn finish(self) -> Option<RowBuffer> {
        self.rows
    }
}

fn number(bytes: &mut Vec<u8>, class: u8, number: [u8; 8]) {
    bytes.push(class);
    bytes.extend_from_slice(&number);
}

fn string(bytes: &mut Vec<u8>, class: u8, string: &[u8]) {
    number(bytes, class, (string.len() as u64).to_le_bytes());
    bytes.extend_from_slice(string);
}

impl RowBuffer {
    /// Adds a copy of a row.
    pub fn push(&mut self, raw: &[RawValue<'_>; 14]) {
        let bytes = &mut self.bytes;
        for &value in raw {
            match value {
                RawValue::Null => bytes.push(NULL),
                RawValue::Integer(n) => number(bytes, INTEGER, n.to_le_bytes()),
                RawValue::Real(x) => number(bytes, REAL, x.to_le_bytes()),
                RawValue::Text(text) => string(bytes, TEXT, text),
                RawValue::Blob(blob) => string(bytes, BLOB, blob),
            }
        }
    }

    /// The bytes that they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Lets go of the rows, and keeps their room for others.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Hands every row to `each`, in the order in which they came.
    ///
    /// # Errors
    ///
    /// The first error of `each`.
    pub fn rows<'r, E>(
        &'r self,
        each: &mut dyn FnMut(&[RawValue<'r>; 14]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = self.bytes.as_slice();
        while !rest.is_empty() {
            let mut raw = [RawValue::Null; 14];
            raw.fill_with(|| value(&mut rest));
            each(&raw)?;
        }
        Ok(())
    }
}

fn value<'b>(rest: &mut &'b [u8]) -> RawValue<'b> {
    match take(rest, 1)[0] {
        NULL => RawValue::Null,
        INTEGER => RawValue::Integer(i64::from_le_bytes(eight(rest))),
        REAL => RawValue::Real(f64::from_le_bytes(eight(rest))),
        class => {
            let length = usize::try_from(u64::from_le_bytes(eight(rest))).expect("it was in memory once");
            let string = take(rest, length);
            if class == TEXT { RawValue::Text(string) } else { RawValue::Blob(string) }
        }
    }
}

fn eight(rest: &mut &[u8]) -> [u8; 8] {
    take(rest, 8).try_into().expect("eight bytes were taken")
}

fn take<'b>(rest: &mut &'b [u8], bytes: usize) -> &'b [u8] {
    let (taken, left) = rest.split_at(bytes);
    *rest = left;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(first: RawValue<'_>) -> [RawValue<'_>; 14] {
        let mut row = [RawValue::Null; 14];
        row[0] = first;
        row[13] = RawValue::Text(b"last");
        row
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let rows = [
            row(RawValue::Null),
            row(RawValue::Integer(i64::MIN)),
            row(RawValue::Real(-0.5)),
            row(RawValue::Text(b"")),
            row(RawValue::Text(b"n\xff\0i")),
            row(RawValue::Blob(b"blob")),
        ];
        let mut copying = RowCopier::up_to(MAX_BUFFER_BYTES);
        for row in &rows {
            copying.row(row);
        }

        let copied = copying.finish().unwrap();

        let mut nth = 0;
        let mut check = |raw: &[RawValue<'_>; 14]| -> Result<(), ()> {
            assert_eq!(*raw, rows[nth]);
            nth += 1;
            Ok(())
        };
        copied.rows(&mut check).unwrap();
        assert_eq!(nth, rows.len());
    }

    #[test]
    fn more_than_may_be_held_is_not() {
        let mut copying = RowCopier::up_to(30);
        copying.row(&row(RawValue::Null));
        copying.row(&row(RawValue::Null));

        assert!(copying.finish().is_none());
    }
}
