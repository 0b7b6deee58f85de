//! Makes records, texts and digests of raw rows, with worker threads.
//!
//! Rows come back in the order in which they were given, a batch at a time.
//! Memory has a bound: only so many batches are in work at once. Without a
//! thread a batch is made inline. What a row becomes is decided by `record`
//! and `document`, what is done with it by the caller.

use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;

use crate::adapters::source::RowBuffer;
use crate::domain::record::{IdHash, Record, RecordHash, Row, RowError, Schema, TextHash};
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
    /// The record as it stands in the metadata.
    pub json: &'b [u8],
    /// The document text.
    pub text: &'b str,
}

/// Receives each row: its raw values, the digest of its id, and what was made of it.
pub(super) type RowSink<'t, E> =
    dyn FnMut(Row<'_>, IdHash, Result<EncodedRow<'_>, RowError>) -> Result<(), E> + 't;

/// Makes records of rows as they are added, and gives them to a [`RowSink`] in their order.
pub(super) struct RecordWorkers<'s, 'e> {
    scope: &'s Scope<'s, 'e>,
    schema: &'s Schema,
    /// Started with the first full batch: a small table needs none.
    workers: Option<Vec<RecordWorker>>,
    /// Rows since the last full batch.
    filling: RowBatch,
    /// Batches that can be used again.
    spare: Vec<RowBatch>,
    /// Batches sent to the threads, and how many of them were received.
    sent: usize,
    received: usize,
}

/// A thread that makes one batch after the other.
struct RecordWorker {
    input: Sender<RowBatch>,
    output: Receiver<RowBatch>,
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
    json_end: usize,
    text_end: usize,
}

impl<'s, 'e> RecordWorkers<'s, 'e> {
    /// Threads start in `scope` once there is enough for them to do.
    pub(super) fn new(scope: &'s Scope<'s, 'e>, schema: &'s Schema) -> Self {
        Self {
            scope,
            schema,
            workers: None,
            filling: RowBatch::default(),
            spare: Vec::new(),
            sent: 0,
            received: 0,
        }
    }

    /// Adds a row; rows that are ready go to `sink`.
    pub(super) fn push<E>(&mut self, row: Row<'_>, sink: &mut RowSink<'_, E>) -> Result<(), E> {
        self.filling.raw.push(row);
        if self.filling.raw.bytes() < BATCH_BYTES { Ok(()) } else { self.send(sink) }
    }

    /// Gives all remaining rows to `sink`.
    pub(super) fn finish<E>(mut self, sink: &mut RowSink<'_, E>) -> Result<(), E> {
        while self.received < self.sent {
            self.receive(sink)?;
        }
        self.filling.encode(self.schema);
        self.filling.emit(sink)
    }

    fn send<E>(&mut self, sink: &mut RowSink<'_, E>) -> Result<(), E> {
        let (scope, schema) = (self.scope, self.schema);
        let threads = self.workers.get_or_insert_with(|| start_workers(scope, schema)).len();
        if threads == 0 {
            self.filling.encode(schema);
            self.filling.emit(sink)?;
            self.filling.clear();
            return Ok(());
        }
        if self.sent - self.received == threads * BATCHES_PER_THREAD {
            self.receive(sink)?;
        }
        let next = self.spare.pop().unwrap_or_default();
        let full = std::mem::replace(&mut self.filling, next);
        self.worker(self.sent).input.send(full).expect("the thread ends only after this sender is dropped");
        self.sent += 1;
        Ok(())
    }

    /// Waits for the batch that is next in order.
    fn receive<E>(&mut self, sink: &mut RowSink<'_, E>) -> Result<(), E> {
        let mut batch = self.worker(self.received).output.recv().expect("making a row does not panic");
        self.received += 1;
        batch.emit(sink)?;
        batch.clear();
        self.spare.push(batch);
        Ok(())
    }

    /// Batches go to the threads in turn, so that their order is known.
    fn worker(&self, nth: usize) -> &RecordWorker {
        let threads = self.workers.as_deref().expect("started before the first batch was sent");
        &threads[nth % threads.len()]
    }
}

/// As many threads as are useful and available; with a single processor none is.
fn start_workers<'s>(scope: &'s Scope<'s, '_>, schema: &'s Schema) -> Vec<RecordWorker> {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let wanted = if processors == 1 { 0 } else { processors.min(MAX_THREADS) };
    (0..wanted).map_while(|_| RecordWorker::start(scope, schema)).collect()
}

impl RecordWorker {
    fn start<'s>(scope: &'s Scope<'s, '_>, schema: &'s Schema) -> Option<Self> {
        let (input, batches) = channel::<RowBatch>();
        let (done, output) = channel();
        let work = move || {
            for mut batch in batches {
                batch.encode(schema);
                if done.send(batch).is_err() {
                    // The thread that reads the rows has failed.
                    return;
                }
            }
        };
        std::thread::Builder::new().name("records".to_owned()).spawn_scoped(scope, work).ok()?;
        Some(Self { input, output })
    }
}

impl RowBatch {
    /// Makes record and text of every row.
    fn encode(&mut self, schema: &Schema) {
        let Self { raw, encoded, json, texts } = self;
        let (mut values, mut text) = (Vec::with_capacity(schema.width()), String::new());
        let Ok(()) = raw.for_each(|row| {
            let record =
                Record::check(row, schema, python_json::parse_tags, &mut values).and_then(|record| {
                    document::write(schema, &record, &mut text)?;
                    Ok(record)
                });
            let offsets = record.map(|record| {
                let json_start = json.len();
                python_json::write_record(&schema.columns, &record, json);
                texts.push_str(&text);
                Offsets {
                    text: TextHash::of(&text),
                    record: RecordHash::of(&json[json_start..]),
                    json_end: json.len(),
                    text_end: texts.len(),
                }
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

#[cfg(test)]
mod tests;
