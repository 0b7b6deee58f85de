//! Makes records, texts and digests of raw rows, with worker threads.
//!
//! Rows come back in the order in which they were given, a batch at a time, and
//! only so many batches are held at once: `parallel` sees to both. What a row
//! becomes is decided by `record` and `document`, what is done with it by the
//! caller.

use std::sync::Arc;

use crate::adapters::source::RowBuffer;
use crate::domain::parallel::Workers;
use crate::domain::python_json::MAX_RECORD_BYTES;
use crate::domain::record::{
    IdHash, RawValue, Record, RecordHash, Row, RowError, Schema, TextHash, printable_id,
};
use crate::domain::tokens::{Measured, TextMeasure};
use crate::domain::{document, python_json};

/// Bytes of raw values in a batch: some hundreds of rows, a millisecond or two of work.
const BATCH_BYTES: usize = 256 << 10;
/// Batches that wait for a thread, or are made and not yet received.
const BATCHES_PER_THREAD: usize = 3;
/// More threads would wait for the thread that reads the rows.
const MAX_THREADS: usize = 4;

/// A row that makes a record.
pub(super) struct EncodedRow<'b> {
    pub text_hash: TextHash,
    pub record_hash: RecordHash,
    /// Whether its tags are the JSON word `null`, which counts as tagged.
    pub has_null_tags: bool,
    /// The tokens of a text that the model does not read whole.
    pub long: Option<u64>,
    /// The record as it stands in the metadata.
    pub json: &'b [u8],
    /// The document text.
    pub text: &'b str,
}

/// Receives each row: its raw values, the digest of its id, and what was made of it.
pub(super) type RowSink<'t, E> =
    dyn FnMut(Row<'_>, IdHash, Result<EncodedRow<'_>, RowError>) -> Result<(), E> + 't;

/// Makes records of rows as they are added, and gives them to a [`RowSink`] in their order.
pub(super) struct RecordWorkers {
    schema: &'static Schema,
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
    encoded: Vec<(IdHash, Result<Offsets, RowError>)>,
    /// One record after the other.
    json: Vec<u8>,
    /// One text after the other.
    texts: String,
}

/// Digests of one row's record and text, and where both end among those of the batch.
#[derive(Clone, Copy)]
struct Offsets {
    text: TextHash,
    record: RecordHash,
    has_null_tags: bool,
    long: Option<u64>,
    json_end: usize,
    text_end: usize,
}

impl RecordWorkers {
    /// `measure`: measures the texts, where it is known what the model reads of them.
    pub(super) fn new(schema: &'static Schema, measure: Option<TextMeasure>) -> Self {
        let measure = measure.map(Arc::new);
        let shared = measure.clone();
        let encode = move |mut batch: RowBatch| {
            batch.encode(schema, shared.as_deref());
            batch
        };
        Self {
            schema,
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
        self.filling.encode(self.schema, self.measure.as_deref());
        self.filling.emit(sink)
    }
}

impl RowBatch {
    /// Makes record and text of every row.
    fn encode(&mut self, schema: &Schema, measure: Option<&TextMeasure>) {
        let Self { raw, encoded, json, texts } = self;
        let (mut values, mut text) = (Vec::with_capacity(schema.width()), String::new());
        let Ok(()) = raw.for_each(|row| {
            let record =
                Record::check(row, schema, python_json::parse_tags, &mut values).and_then(|record| {
                    document::write(schema, &record, &mut text)?;
                    Ok(record)
                });
            let offsets = record.and_then(|record| {
                let long = match measure.map_or(Measured::Fits, |measure| measure.apply(&mut text)) {
                    Measured::Fits => None,
                    Measured::Long(tokens) => Some(tokens),
                    Measured::Refused(tokens) => return Err(refused(row, schema, tokens, measure)),
                };
                let json_start = json.len();
                python_json::write_record(&schema.columns, &record, json);
                let bytes = json.len() - json_start;
                if bytes > MAX_RECORD_BYTES {
                    json.truncate(json_start);
                    return Err(too_long(row, schema, bytes));
                }
                texts.push_str(&text);
                Ok(Offsets {
                    text: TextHash::of(&text),
                    record: RecordHash::of(&json[json_start..]),
                    has_null_tags: record.tags.is_none(),
                    long,
                    json_end: json.len(),
                    text_end: texts.len(),
                })
            });
            encoded.push((IdHash::of(row[schema.id]), offsets));
            Ok::<_, std::convert::Infallible>(())
        });
    }

    /// Gives every row with what was made of it to `sink`.
    fn emit<E>(&mut self, sink: &mut RowSink<'_, E>) -> Result<(), E> {
        let (mut json_start, mut text_start) = (0, 0);
        let mut encoded = self.encoded.drain(..);
        let (json, texts) = (&self.json, &self.texts);
        self.raw.for_each(|row| {
            let (id, offsets) = encoded.next().expect("every row was encoded");
            let result = offsets.map(|offsets| {
                let row = EncodedRow {
                    text_hash: offsets.text,
                    record_hash: offsets.record,
                    has_null_tags: offsets.has_null_tags,
                    long: offsets.long,
                    json: &json[json_start..offsets.json_end],
                    text: &texts[text_start..offsets.text_end],
                };
                (json_start, text_start) = (offsets.json_end, offsets.text_end);
                row
            });
            sink(row, id, result)
        })
    }

    /// Removes the rows and keeps the memory for others.
    fn clear(&mut self) {
        self.raw.clear();
        self.encoded.clear();
        self.json.clear();
        self.texts.clear();
    }
}

/// The error of a row whose text the model surely does not read whole.
fn refused(row: Row<'_>, schema: &Schema, tokens: u64, measure: Option<&TextMeasure>) -> RowError {
    let max_tokens = measure.map_or(0, TextMeasure::max_tokens);
    RowError {
        id: printable_id(row[schema.id]),
        column: "document text".to_owned(),
        message: format!(
            "a text of {tokens} tokens at least, expected at most {max_tokens} (embedding.max_tokens)"
        ),
    }
}

/// The error of a row whose record no proof would accept; it names the column that takes most of it.
fn too_long(row: Row<'_>, schema: &Schema, bytes: usize) -> RowError {
    let length = |value: &RawValue<'_>| match value {
        RawValue::Text(bytes) | RawValue::Blob(bytes) => bytes.len(),
        RawValue::Null | RawValue::Integer(_) | RawValue::Real(_) => 0,
    };
    let longest = row.iter().zip(&schema.columns).max_by_key(|(value, _)| length(value));
    RowError {
        id: printable_id(row[schema.id]),
        column: longest.map(|(_, column)| column.name.clone()).unwrap_or_default(),
        message: format!("a record of {bytes} bytes as JSON, expected at most {MAX_RECORD_BYTES}"),
    }
}

#[cfg(test)]
mod tests;
