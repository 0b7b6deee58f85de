//! Rows copied out of the database, so that they outlive the step of SQLite that gave them.
//!
//! Raw values one after the other: a letter for the class, then the value. A
//! [`RowCopier`] copies rows up to a limit of memory; beyond it a table is read
//! from the database again, which `scan` decides.

use crate::domain::record::{RawValue, Row};

/// Some eighty thousand rows of people.
pub(super) const MAX_BUFFER_BYTES: usize = 32 << 20;

const NULL: u8 = b'n';
const INTEGER: u8 = b'i';
const REAL: u8 = b'r';
const TEXT: u8 = b't';
const BLOB: u8 = b'b';

/// Copies rows until they are too many.
pub(super) struct RowCopier {
    /// `None` once they are too many.
    rows: Option<RowBuffer>,
    max_bytes: usize,
}

/// Rows as one transaction saw them, all of one width.
#[derive(Debug, Default)]
pub(crate) struct RowBuffer {
    bytes: Vec<u8>,
    /// Values of a row.
    width: usize,
}

impl RowCopier {
    pub(super) fn up_to(max_bytes: usize) -> Self {
        Self { rows: Some(RowBuffer::default()), max_bytes }
    }

    pub(super) fn push(&mut self, row: Row<'_>) {
        let Some(rows) = &mut self.rows else { return };
        rows.push(row);
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
    ///
    /// # Panics
    ///
    /// If its width is not that of the rows before: our own bug.
    pub(crate) fn push(&mut self, row: Row<'_>) {
        assert!(self.bytes.is_empty() || self.width == row.len(), "rows of one table have one width");
        self.width = row.len();
        let bytes = &mut self.bytes;
        for &value in row {
            match value {
                RawValue::Null => bytes.push(NULL),
                RawValue::Integer(n) => number(bytes, INTEGER, n.to_le_bytes()),
                RawValue::Real(x) => number(bytes, REAL, x.to_le_bytes()),
                RawValue::Text(text) => string(bytes, TEXT, text),
                RawValue::Blob(blob) => string(bytes, BLOB, blob),
            }
        }
    }

    /// How many bytes the rows take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Removes the rows and keeps their memory for others.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Gives every row to `each`, in the order in which they were added.
    ///
    /// # Errors
    ///
    /// The first error of `each`.
    pub(crate) fn for_each<'r, E>(
        &'r self,
        mut each: impl FnMut(&[RawValue<'r>]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = self.bytes.as_slice();
        let mut row = Vec::with_capacity(self.width);
        while !rest.is_empty() {
            row.clear();
            row.extend((0..self.width).map(|_| value(&mut rest)));
            each(&row)?;
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
            let length =
                usize::try_from(u64::from_le_bytes(eight(rest))).expect("it was the length of a slice");
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

    fn row(first: RawValue<'_>) -> Vec<RawValue<'_>> {
        let mut row = vec![RawValue::Null; 14];
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
        let mut copier = RowCopier::up_to(MAX_BUFFER_BYTES);
        for row in &rows {
            copier.push(row);
        }

        let buffer = copier.finish().unwrap();

        let mut nth = 0;
        let all: Result<(), ()> = buffer.for_each(|row| {
            assert_eq!(row, rows[nth]);
            nth += 1;
            Ok(())
        });
        all.unwrap();
        assert_eq!(nth, rows.len());
    }

    #[test]
    fn more_rows_than_the_limit_allows_are_not_kept() {
        let mut copier = RowCopier::up_to(30);
        copier.push(&row(RawValue::Null));
        copier.push(&row(RawValue::Null));

        assert!(copier.finish().is_none());
    }
}
