//! What differs of each row, and how many rows differ.
//!
//! Rows of the later side come one by one; what remains of the earlier side is
//! gone. Each difference is given to the sink and not held.

use std::collections::HashMap;

use super::super::context::PassContext;
use super::super::error::PassError;
use super::rows::{EarlierSide, EntryDigests, RowIds, RowVersion, first_of, not_a_record};
use crate::adapters::builds::Build;
use crate::adapters::builds::placed_records::PlacedRecords;
use crate::domain::manifest::QuarantinedRow;
use crate::domain::record::{IdHash, Members, Row, Schema, TextHash, id_hash, id_text};

/// One row that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowDifference {
    /// The row's id; `None` where no record publishes it.
    pub id: Option<String>,
    /// The number of its first entry in the index of the build that has it, the earlier one if both have.
    pub entry: Option<u64>,
    pub change: RowChange,
}

/// What differs of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowChange {
    /// Only the later side has it.
    Added,
    Changed {
        /// The keys whose values differ.
        columns: Vec<String>,
        /// Whether the document text differs, of any of its chunks.
        text: bool,
        /// Entries of the index that differ.
        entries: u64,
    },
    /// Only the earlier side has it.
    Removed,
    /// The table has it, and it cannot be indexed.
    Unfit { column: String, reason: String },
}

/// How many rows differ, and what differs beyond rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffSummary {
    pub added: u64,
    pub changed: u64,
    pub removed: u64,
    pub unfit: u64,
    pub unchanged: u64,
    /// Keys that only the later side's records have.
    pub new_columns: Vec<String>,
    /// Keys that only the earlier side's records have.
    pub lost_columns: Vec<String>,
    /// The spaces, if they are two.
    pub spaces: Option<(String, String)>,
    /// Why no ids are shown.
    pub ids_not_known: Option<String>,
}

/// Receives each row that differs.
pub type DifferenceSink<'a> = dyn FnMut(RowDifference) + 'a;

/// The comparison as it goes on.
pub(super) struct Comparison<'a> {
    from: &'a Build,
    earlier: EarlierSide,
    ids: RowIds,
    /// The keys of the earlier side's first record; `None` where it has none.
    keys: Option<Vec<String>>,
    /// Rows that the provider refused, by their text.
    refused: HashMap<TextHash, QuarantinedRow>,
    sink: &'a mut DifferenceSink<'a>,
    pub(super) summary: DiffSummary,
}

impl<'a> Comparison<'a> {
    /// Reads the earlier side.
    ///
    /// # Errors
    ///
    /// [`PassError`] if the build cannot be read, or its rows cannot be matched.
    pub(super) fn new(
        context: &PassContext<'_>,
        from: &'a Build,
        mut ids: RowIds,
        sink: &'a mut DifferenceSink<'a>,
    ) -> Result<Self, PassError> {
        let records = PlacedRecords::open(from)?;
        let mut keys = None;
        first_of(from, &records, &mut |first| {
            ids.is_published &= ids.of(first).is_some();
            keys = Some(first.all_keys());
        })?;
        let refused = from.manifest.quarantined.iter();
        let refused = refused.filter_map(|row| Some((row.refused_text?, row.clone()))).collect();
        let earlier = EarlierSide::read(context, from, records, &ids)?;
        Ok(Self { from, earlier, ids, keys, refused, sink, summary: DiffSummary::default() })
    }

    /// How rows are matched.
    pub(super) fn ids(&self) -> &RowIds {
        &self.ids
    }

    /// Notes which keys only one of the sides has.
    pub(super) fn compare_keys(&mut self, later: &[String]) {
        let Some(earlier) = &self.keys else { return };
        let only = |of: &[String], other: &[String]| {
            of.iter().filter(|key| !other.contains(key)).cloned().collect::<Vec<_>>()
        };
        self.summary.new_columns = only(later, earlier);
        self.summary.lost_columns = only(earlier, later);
    }

    /// The row that the provider refused before, if this text is one that the earlier side does without.
    pub(super) fn refused(
        &self,
        id: IdHash,
        texts: impl Iterator<Item = TextHash>,
    ) -> Option<&QuarantinedRow> {
        let mut texts = texts.filter(|_| !self.earlier.by_id.contains_key(&id));
        texts.find_map(|text| self.refused.get(&text))
    }

    /// Takes a row of the later side.
    ///
    /// # Errors
    ///
    /// [`PassError`] if the earlier record cannot be read.
    pub(super) fn row(&mut self, later: RowVersion<'_>) -> Result<(), PassError> {
        let found = self.earlier.by_id.get(&later.id.hash).map(|&at| at as usize);
        let Some(row) = found.map(|at| &mut self.earlier.rows[at]) else {
            self.summary.added += 1;
            self.give(later.id.text, later.entry, RowChange::Added);
            return Ok(());
        };
        row.is_met = true;
        let (place, first) = (row.place, row.first);
        let before = &self.earlier.entries[row.first as usize..row.end as usize];
        let (entries, text) = count_differences(before, later.entries);
        if entries == 0 {
            self.summary.unchanged += 1;
            return Ok(());
        }
        let record = self.earlier.records.read(place)?;
        let earlier = Members::parse(&record).map_err(|error| not_a_record(self.from, &error))?;
        let columns = earlier.changed_keys(&later.record);
        self.summary.changed += 1;
        self.give(later.id.text, Some(first.into()), RowChange::Changed { columns, text, entries });
        Ok(())
    }

    /// Takes a row of the table that cannot be indexed.
    pub(super) fn unfit(&mut self, schema: &Schema, row: Row<'_>, column: String, reason: String) {
        for hash in [id_hash(schema, row, None), id_hash(schema, row, Some(0))] {
            if let Some(&at) = self.earlier.by_id.get(&hash) {
                self.earlier.rows[at as usize].is_met = true;
            }
        }
        self.summary.unfit += 1;
        let id = Some(id_text(schema, row));
        (self.sink)(RowDifference { id, entry: None, change: RowChange::Unfit { column, reason } });
    }

    /// Ends the later side: whatever of the earlier one was not met is gone.
    ///
    /// # Errors
    ///
    /// [`PassError`] if a record cannot be read.
    pub(super) fn finish(mut self) -> Result<DiffSummary, PassError> {
        let rows = std::mem::take(&mut self.earlier.rows);
        for row in rows.iter().filter(|row| !row.is_met) {
            let record = self.earlier.records.read(row.place)?;
            let record = Members::parse(&record).map_err(|error| not_a_record(self.from, &error))?;
            let id = self.ids.of(&record).map(|id| id.text);
            self.summary.removed += 1;
            self.give(id, Some(row.first.into()), RowChange::Removed);
        }
        Ok(self.summary)
    }

    fn give(&mut self, id: Option<String>, entry: Option<u64>, change: RowChange) {
        (self.sink)(RowDifference { id, entry, change });
    }
}

/// How many entries of a row differ, by their number, and whether any text does.
fn count_differences(before: &[EntryDigests], after: &[EntryDigests]) -> (u64, bool) {
    let both = || before.iter().zip(after);
    let only_one = before.len().abs_diff(after.len());
    let differ = both().filter(|(one, two)| one.differs(two)).count() + only_one;
    (differ as u64, only_one > 0 || both().any(|(one, two)| one.has_other_text(two)))
}
