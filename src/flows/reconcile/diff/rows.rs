//! The rows of a build as they are compared: matched by id, with a digest of each entry of the index.
//!
//! A row is known by the id that its records publish. Where they do not, as
//! where `source.columns` does not name it, it is known by the digest that the
//! build holds of it, and no id can be shown.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::context::PassContext;
use super::super::error::PassError;
use super::super::record_workers::{EncodedRow, Piece};
use crate::adapters::builds::placed_records::{PlacedRecords, RecordPlace};
use crate::adapters::builds::{Build, BuildsError};
use crate::domain::record::{
    IdHash, Members, RecordHash, RecordId, Row, Schema, TextHash, chunk_index, id_hash, id_text, record_text,
};
use crate::domain::row_hashes::RowHashes;
use crate::domain::source_rules::SourceRules;

/// How a row of one side is found in the other.
#[derive(Clone)]
pub(super) struct RowIds {
    pub(super) rules: Option<Arc<SourceRules>>,
    /// Whether the records of both sides have the whole id.
    pub(super) is_published: bool,
}

impl RowIds {
    /// The id of a record's row.
    pub(super) fn of(&self, record: &Members<'_>) -> Option<RecordId> {
        self.rules.as_ref().filter(|_| self.is_published).and_then(|rules| record.id(&rules.schema))
    }

    /// The id of a row of the table.
    pub(super) fn of_row(&self, schema: &Schema, row: Row<'_>, encoded: &EncodedRow<'_>) -> FoundId {
        let first = if self.is_published { None } else { encoded.pieces().next() };
        let hash = first.map_or_else(|| id_hash(schema, row, None), |piece| piece.id_hash);
        FoundId { hash, text: Some(id_text(schema, row)) }
    }
}

/// A row's id, as far as it is known.
pub(super) struct FoundId {
    pub(super) hash: IdHash,
    pub(super) text: Option<String>,
}

/// Digests of one entry of the index; the text of an adopted build's is not known.
#[derive(Clone, Copy)]
pub(super) struct EntryDigests {
    record: RecordHash,
    text: Option<TextHash>,
}

impl EntryDigests {
    pub(super) fn has_other_text(&self, other: &Self) -> bool {
        self.text.zip(other.text).is_some_and(|(one, two)| one != two)
    }

    pub(super) fn differs(&self, other: &Self) -> bool {
        self.record != other.record || self.has_other_text(other)
    }
}

/// A row of one side.
pub(super) struct RowVersion<'a> {
    pub(super) id: FoundId,
    pub(super) entry: Option<u64>,
    /// Its record, or that of its first chunk.
    pub(super) record: Members<'a>,
    pub(super) entries: &'a [EntryDigests],
}

/// A row of the table, as a build would have it.
pub(super) struct TableRow {
    /// Its record, or that of its first chunk.
    record: String,
    entries: Vec<EntryDigests>,
}

impl TableRow {
    pub(super) fn of(encoded: &EncodedRow<'_>) -> Self {
        let ending = encoded.pieces().next().map(|piece| piece.ending).unwrap_or_default();
        let entry =
            |piece: Piece<'_>| EntryDigests { record: piece.record_hash, text: Some(piece.text_hash) };
        Self { record: record_text(encoded.members, ending), entries: encoded.pieces().map(entry).collect() }
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = TextHash> {
        self.entries.iter().filter_map(|entry| entry.text)
    }

    pub(super) fn version(&self, id: FoundId) -> Result<RowVersion<'_>, String> {
        Ok(RowVersion { id, entry: None, record: Members::parse(&self.record)?, entries: &self.entries })
    }
}

/// Gives the first record of a build to `each`, if it has any.
pub(super) fn first_of(
    build: &Build,
    records: &PlacedRecords,
    each: &mut dyn FnMut(&Members<'_>),
) -> Result<(), PassError> {
    let Some(first) = records.first()? else { return Ok(()) };
    each(&Members::parse(&first).map_err(|error| not_a_record(build, &error))?);
    Ok(())
}

/// Gives every row of a build to `each`, with the place of its first record.
pub(super) fn for_each_row(
    context: &PassContext<'_>,
    build: &Build,
    records: &PlacedRecords,
    ids: &RowIds,
    each: &mut RowTaker<'_>,
) -> Result<(), PassError> {
    // Nothing is known about the rows of an adopted build but their records.
    let adopted = build.manifest.adopted;
    let hashes = if adopted { Vec::new() } else { build.rows().of_build(&build.manifest.id)? };
    let mut rows = RowCollector { build, ids, hashes, begin: 0, first: None, entries: Vec::new() };
    records.for_each(&mut |place, text| {
        if chunk_index(text).is_none_or(|index| index == 0) {
            rows.end(each)?;
            context.stop.check()?;
            rows.first = Some((place, text.to_owned()));
        }
        rows.add(text);
        Ok::<_, PassError>(())
    })?;
    rows.end(each)
}

/// Receives each row of a build.
pub(super) type RowTaker<'t> = dyn FnMut(RowVersion<'_>, RecordPlace) -> Result<(), PassError> + 't;

/// Puts the chunks of a row together as they come.
struct RowCollector<'a> {
    build: &'a Build,
    ids: &'a RowIds,
    hashes: Vec<RowHashes>,
    /// The number of the row's first entry.
    begin: usize,
    first: Option<(RecordPlace, String)>,
    entries: Vec<EntryDigests>,
}

impl RowCollector<'_> {
    fn add(&mut self, record: &str) {
        let text = self.hashes.get(self.begin + self.entries.len()).map(|row| row.text);
        self.entries.push(EntryDigests { record: RecordHash::of(record.as_bytes()), text });
    }

    fn end(&mut self, each: &mut RowTaker<'_>) -> Result<(), PassError> {
        let Some((place, record)) = self.first.take() else { return Ok(()) };
        let record = Members::parse(&record).map_err(|error| not_a_record(self.build, &error))?;
        let Some(id) = self.id(&record) else {
            let keys = record.keys().collect::<Vec<_>>().join(", ");
            return Err(BuildsError::NoRowIds { id: self.build.manifest.id.clone(), keys }.into());
        };
        let entries = std::mem::take(&mut self.entries);
        each(RowVersion { id, entry: Some(self.begin as u64), record, entries: &entries }, place)?;
        self.begin += entries.len();
        Ok(())
    }

    fn id(&self, record: &Members<'_>) -> Option<FoundId> {
        if self.ids.is_published {
            return self.ids.of(record).map(|RecordId { text, hash }| FoundId { hash, text: Some(text) });
        }
        Some(FoundId { hash: self.hashes.get(self.begin)?.id, text: None })
    }
}

/// The side that the other one is compared with.
pub(super) struct EarlierSide {
    pub(super) records: PlacedRecords,
    pub(super) rows: Vec<EarlierRow>,
    pub(super) entries: Vec<EntryDigests>,
    pub(super) by_id: HashMap<IdHash, u32>,
}

pub(super) struct EarlierRow {
    pub(super) place: RecordPlace,
    pub(super) first: u32,
    pub(super) end: u32,
    pub(super) is_met: bool,
}

impl EarlierSide {
    pub(super) fn read(
        context: &PassContext<'_>,
        build: &Build,
        records: PlacedRecords,
        ids: &RowIds,
    ) -> Result<Self, PassError> {
        let (mut rows, mut entries, mut by_id) = (Vec::new(), Vec::new(), HashMap::new());
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        for_each_row(context, build, &records, ids, &mut |row, place| {
            let first = number(entries.len());
            by_id.insert(row.id.hash, number(rows.len()));
            entries.extend(row.entries);
            rows.push(EarlierRow { place, first, end: number(entries.len()), is_met: false });
            Ok(())
        })?;
        Ok(Self { records, rows, entries, by_id })
    }
}

pub(super) fn not_a_record(build: &Build, error: &str) -> PassError {
    let why = format!("a record of its metadata is not one: {error}");
    BuildsError::Damaged { id: build.manifest.id.clone(), why }.into()
}
