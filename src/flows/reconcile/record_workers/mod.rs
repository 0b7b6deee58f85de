//! Makes records, texts and digests of raw rows, with worker threads.
//!
//! Rows come back in the order in which they were given, a batch at a time, and
//! only so many batches are held at once: `parallel` sees to both. What a row
//! becomes is decided by `record` and `document`, what is done with it by the
//! caller. The members of a record are held once, however many chunks repeat
//! them.

use std::sync::Arc;

use crate::adapters::source::RowBuffer;
use crate::domain::document::{self, UnfitText};
use crate::domain::parallel::Workers;
use crate::domain::python_json::MAX_RECORD_BYTES;
use crate::domain::record::{
    ChunkPlace, IdHash, RawValue, Record, RecordHash, RecordHasher, Row, RowError, Schema, TextHash, ending,
    id_hash, printable_id, write_members,
};
use crate::domain::source_rules::SourceRules;
use crate::domain::tokens::{Measured, TextMeasure};

/// Bytes of raw values in a batch: some hundreds of rows, a millisecond or two of work.
const BATCH_BYTES: usize = 256 << 10;
/// Batches that wait for a thread, or are made and not yet received.
const BATCHES_PER_THREAD: usize = 3;
/// More threads would wait for the thread that reads the rows.
const MAX_THREADS: usize = 4;

/// A row that makes a record, or several with one text each.
pub(super) struct EncodedRow<'b> {
    /// Whether its tags are the JSON word `null`, which counts as tagged.
    pub has_null_tags: bool,
    /// The record as it stands in the metadata, without what ends it.
    pub members: &'b [u8],
    pieces: &'b [Offsets],
    texts: &'b str,
    text_start: usize,
}

/// One text of a row: all of it, or a chunk.
pub(super) struct Piece<'b> {
    /// Of the row, and of the chunk where it is one.
    pub id_hash: IdHash,
    pub text_hash: TextHash,
    pub record_hash: RecordHash,
    /// The tokens of a text that the model does not read whole.
    pub long: Option<u64>,
    /// What ends the record.
    pub ending: &'b str,
    /// The document text.
    pub text: &'b str,
}

/// Receives each row: its raw values, and what was made of it.
pub(super) type RowSink<'t, E> = dyn FnMut(Row<'_>, Result<EncodedRow<'_>, RowError>) -> Result<(), E> + 't;

/// Makes records of rows as they are added, and gives them to a [`RowSink`] in their order.
pub(super) struct RecordWorkers {
    rules: Arc<SourceRules>,
    measure: Option<Arc<TextMeasure>>,
    workers: Workers<RowBatch, RowBatch>,
    /// Rows since the last full batch.
    filling: RowBatch,
    /// Batches that can be used again.
    spare: Vec<RowBatch>,
}

/// Rows, and what was made of them.
#[derive(Default)]
struct RowBatch {
    raw: RowBuffer,
    encoded: Vec<Result<EncodedOffsets, RowError>>,
    /// The members of one record after the other.
    members: Vec<u8>,
    pieces: Vec<Offsets>,
    /// One text after the other.
    texts: String,
}

/// Where the parts of one row end among those of the batch.
#[derive(Clone, Copy)]
struct EncodedOffsets {
    has_null_tags: bool,
    members_end: usize,
    pieces_end: usize,
}

/// Digests of one piece, and where its text ends among those of the batch.
struct Offsets {
    id: IdHash,
    text: TextHash,
    record: RecordHash,
    long: Option<u64>,
    ending: String,
    text_end: usize,
}

impl<'b> EncodedRow<'b> {
    /// Its pieces, in their order; at least one.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece<'b>> + use<'b> {
        let (texts, mut start) = (self.texts, self.text_start);
        self.pieces.iter().map(move |piece| {
            let text = &texts[start..piece.text_end];
            start = piece.text_end;
            Piece {
                id_hash: piece.id,
                text_hash: piece.text,
                record_hash: piece.record,
                long: piece.long,
                ending: &piece.ending,
                text,
            }
        })
    }
}

impl RecordWorkers {
    /// `measure`: measures the texts, where it is known what the model reads of them.
    pub(super) fn new(rules: &Arc<SourceRules>, measure: Option<TextMeasure>) -> Self {
        let measure = measure.map(Arc::new);
        let (shared_rules, shared_measure) = (Arc::clone(rules), measure.clone());
        let encode = move |mut batch: RowBatch| {
            batch.encode(&shared_rules, shared_measure.as_deref());
            batch
        };
        Self {
            rules: Arc::clone(rules),
            measure,
            workers: Workers::new("records", MAX_THREADS, BATCHES_PER_THREAD, encode),
            filling: RowBatch::default(),
            spare: Vec::new(),
        }
    }

    /// Adds a row; rows that are ready go to `sink`.
    pub(super) fn push<E>(&mut self, row: Row<'_>, sink: &mut RowSink<'_, E>) -> Result<(), E> {
        self.filling.raw.push(row);
        if self.filling.raw.bytes() < BATCH_BYTES {
            return Ok(());
        }
        let next = self.spare.pop().unwrap_or_default();
        let full = std::mem::replace(&mut self.filling, next);
        if let Some(mut ready) = self.workers.push(full) {
            ready.emit(sink)?;
            ready.clear();
            self.spare.push(ready);
        }
        Ok(())
    }

    /// Gives all remaining rows to `sink`.
    pub(super) fn finish<E>(mut self, sink: &mut RowSink<'_, E>) -> Result<(), E> {
        while let Some(mut ready) = self.workers.take() {
            ready.emit(sink)?;
        }
        // A small table is one batch that is not full, and needs no thread.
        self.filling.encode(&self.rules, self.measure.as_deref());
        self.filling.emit(sink)
    }
}

impl RowBatch {
    /// Makes record and texts of every row.
    fn encode(&mut self, rules: &SourceRules, measure: Option<&TextMeasure>) {
        let Self { raw, encoded, members, pieces, texts } = self;
        let schema = &rules.schema;
        let (mut values, mut text) = (Vec::with_capacity(schema.width()), String::new());
        let Ok(()) = raw.for_each(|row| {
            let ends = (members.len(), pieces.len(), texts.len());
            let result = Record::check(row, schema, &mut values).and_then(|record| {
                write_members(schema, &record, members);
                let bytes = members.len() - ends.0;
                if bytes > MAX_RECORD_BYTES {
                    return Err(too_long(row, schema, bytes));
                }
                let record_hasher = RecordHasher::of(&members[ends.0..]);
                let mut each = |text: &mut String, chunk: Option<ChunkPlace>| {
                    let long = measured(text, measure)?;
                    let ending = ending(chunk);
                    texts.push_str(text);
                    pieces.push(Offsets {
                        id: id_hash(schema, row, chunk.map(|chunk| chunk.index)),
                        text: TextHash::of(text),
                        record: record_hasher.ended_by(ending.as_bytes()),
                        long,
                        ending,
                        text_end: texts.len(),
                    });
                    Ok(())
                };
                document::write(&rules.document, schema, &record, &mut text, &mut each)
                    .map_err(|unfit| unfit_text(row, schema, unfit))?;
                Ok(record.has_null_tags())
            });
            if result.is_err() {
                members.truncate(ends.0);
                pieces.truncate(ends.1);
                texts.truncate(ends.2);
            }
            encoded.push(result.map(|has_null_tags| EncodedOffsets {
                has_null_tags,
                members_end: members.len(),
                pieces_end: pieces.len(),
            }));
            Ok::<_, std::convert::Infallible>(())
        });
    }

    /// Gives every row with what was made of it to `sink`.
    fn emit<E>(&mut self, sink: &mut RowSink<'_, E>) -> Result<(), E> {
        let (mut members_start, mut pieces_start) = (0, 0);
        let mut encoded = self.encoded.drain(..);
        let (members, pieces, texts) = (&self.members, &self.pieces, &self.texts);
        self.raw.for_each(|row| {
            let result = encoded.next().expect("every row was encoded");
            let result = result.map(|EncodedOffsets { has_null_tags, members_end, pieces_end }| {
                let row = EncodedRow {
                    has_null_tags,
                    members: &members[members_start..members_end],
                    pieces: &pieces[pieces_start..pieces_end],
                    texts,
                    text_start: pieces_start.checked_sub(1).map_or(0, |before| pieces[before].text_end),
                };
                (members_start, pieces_start) = (members_end, pieces_end);
                row
            });
            sink(row, result)
        })
    }

    /// Removes the rows and keeps the memory for others.
    fn clear(&mut self) {
        self.raw.clear();
        self.encoded.clear();
        self.members.clear();
        self.pieces.clear();
        self.texts.clear();
    }
}

/// Measures a text, and cuts it where the settings say so: its tokens, if the model does not read it whole.
fn measured(text: &mut String, measure: Option<&TextMeasure>) -> Result<Option<u64>, UnfitText> {
    let Some(measure) = measure else { return Ok(None) };
    match measure.apply(text) {
        Measured::Fits => Ok(None),
        Measured::Long(tokens) => Ok(Some(tokens)),
        Measured::Refused(tokens) => {
            let max_tokens = measure.max_tokens();
            let message = format!(
                "a text of {tokens} tokens at least, expected at most {max_tokens} (embedding.max_tokens)"
            );
            Err(UnfitText { column: "document text".to_owned(), message })
        }
    }
}

fn unfit_text(row: Row<'_>, schema: &Schema, unfit: UnfitText) -> RowError {
    let UnfitText { column, message } = unfit;
    RowError { id: printable_id(schema, row), column, message }
}

/// The error of a row whose record no proof would accept; it names the column that takes most of it.
fn too_long(row: Row<'_>, schema: &Schema, bytes: usize) -> RowError {
    let length = |value: &RawValue<'_>| match value {
        RawValue::Text(bytes) | RawValue::Blob(bytes) => bytes.len(),
        RawValue::Null | RawValue::Integer(_) | RawValue::Real(_) => 0,
    };
    let longest = row.iter().zip(&schema.columns).max_by_key(|(value, _)| length(value));
    RowError {
        id: printable_id(schema, row),
        column: longest.map(|(_, column)| column.name.clone()).unwrap_or_default(),
        message: format!("a record of {bytes} bytes as JSON, expected at most {MAX_RECORD_BYTES}"),
    }
}

#[cfg(test)]
mod tests;
