//! Raw rows become records, texts and digests, on as many threads as there are processors.
//!
//! Nearly all of a look's work is here, and none of it depends on another row.
//! Rows are given in the order of the table and come back in it, a batch at a
//! time; so many batches are under way at most that memory has a bound.

use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;

use crate::adapters::source::RowBuffer;
use crate::domain::python_json;
use crate::domain::record::{IdHash, RawValue, Record, RecordHash, Row, RowError, TextHash, column};

/// Bytes of raw values in a batch: some hundreds of rows, a millisecond or two of work.
const BATCH_BYTES: usize = 256 << 10;
/// Batches that a thread has before it, or has made and not yet given up.
const BATCHES_PER_THREAD: usize = 3;
/// More threads would wait for whoever reads the rows.
const MAX_THREADS: usize = 4;

/// Rows, and what was made of them.
#[derive(Default)]
pub(super) struct RowBatch {
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

/// A row that makes a record.
pub(super) struct EncodedRow<'b> {
    /// Digest of the text.
    pub text_hash: TextHash,
    /// Digest of the record.
    pub record_hash: RecordHash,
    /// The record as it stands in the metadata.
    pub json: &'b [u8],
    /// The document text.
    pub text: &'b str,
}

/// What is done with each row: its raw values, the digest of its id, and what it came to.
pub(super) type RowSink<'t, E> =
    dyn FnMut(Row<'_>, IdHash, Result<EncodedRow<'_>, RowError>) -> Result<(), E> + 't;

impl RowBatch {
    fn encode(&mut self) {
        let Self { raw, encoded: made, json, texts } = self;
        let mut text = String::new();
        let make = |raw: &[RawValue<'_>]| {
            let record = Record::from_raw(raw).and_then(|record| {
                record.document(&mut text)?;
                Ok(record)
            });
            let ends = record.map(|record| {
                let json_begin = json.len();
                python_json::write_record(&record, json);
                texts.push_str(&text);
                Offsets {
                    text: TextHash::of(&text),
                    record: RecordHash::of(&json[json_begin..]),
                    json_end: json.len(),
                    text_end: texts.len(),
                }
            });
            made.push((IdHash::of(raw[column::ID]), ends));
            Ok::<_, std::convert::Infallible>(())
        };
        let Ok(()) = raw.for_each(make);
    }

    fn emit<E>(&mut self, take: &mut RowSink<'_, E>) -> Result<(), E> {
        let (mut json_begin, mut text_begin) = (0, 0);
        let mut made = self.encoded.drain(..);
        let (json, texts) = (&self.json, &self.texts);
        self.raw.for_each(|raw| {
            let (id, ends) = made.next().expect("something was made of every row");
            let row = ends.map(|ends| {
                let row = EncodedRow {
                    text_hash: ends.text,
                    record_hash: ends.record,
                    json: &json[json_begin..ends.json_end],
                    text: &texts[text_begin..ends.text_end],
                };
                (json_begin, text_begin) = (ends.json_end, ends.text_end);
                row
            });
            take(raw, id, row)
        })
    }

    /// Its room serves for other rows.
    fn clear(&mut self) {
        self.raw.clear();
        self.encoded.clear();
        self.json.clear();
        self.texts.clear();
    }
}

/// Makes what is to be made of rows as they come, and hands it on in their order.
pub(super) struct RecordWorkers<'s, 'e> {
    scope: &'s Scope<'s, 'e>,
    /// Begun with the first full batch: a small table needs none.
    workers: Option<Vec<RecordWorker>>,
    /// Rows that came since the last full batch.
    filling: RowBatch,
    /// Batches that may be used again.
    spare: Vec<RowBatch>,
    /// Batches given to the threads, and of these the ones that came back.
    sent: usize,
    received: usize,
}

/// A thread that makes one batch after the other.
struct RecordWorker {
    input: Sender<RowBatch>,
    output: Receiver<RowBatch>,
}

impl<'s, 'e> RecordWorkers<'s, 'e> {
    /// Threads will be begun in `scope`, when there is enough for them to do.
    pub(super) fn new(scope: &'s Scope<'s, 'e>) -> Self {
        Self { scope, workers: None, filling: RowBatch::default(), spare: Vec::new(), sent: 0, received: 0 }
    }

    /// Adds a row; rows that are ready meanwhile go to `take`.
    pub(super) fn push<E>(&mut self, raw: Row<'_>, take: &mut RowSink<'_, E>) -> Result<(), E> {
        self.filling.raw.push(raw);
        if self.filling.raw.bytes() < BATCH_BYTES { Ok(()) } else { self.send(take) }
    }

    /// All rows have come: what is left goes to `take`.
    pub(super) fn finish<E>(mut self, take: &mut RowSink<'_, E>) -> Result<(), E> {
        while self.received < self.sent {
            self.receive(take)?;
        }
        self.filling.encode();
        self.filling.emit(take)
    }

    fn send<E>(&mut self, take: &mut RowSink<'_, E>) -> Result<(), E> {
        let scope = self.scope;
        let threads = self.workers.get_or_insert_with(|| start_workers(scope)).len();
        if threads == 0 {
            self.filling.encode();
            self.filling.emit(take)?;
            self.filling.clear();
            return Ok(());
        }
        if self.sent - self.received == threads * BATCHES_PER_THREAD {
            self.receive(take)?;
        }
        let next = self.spare.pop().unwrap_or_default();
        let full = std::mem::replace(&mut self.filling, next);
        self.worker(self.sent).input.send(full).expect("the thread ends when nothing more can come");
        self.sent += 1;
        Ok(())
    }

    /// Waits for the batch that is next in order.
    fn receive<E>(&mut self, take: &mut RowSink<'_, E>) -> Result<(), E> {
        let mut batch = self.worker(self.received).output.recv().expect("making a row does not panic");
        self.received += 1;
        batch.emit(take)?;
        batch.clear();
        self.spare.push(batch);
        Ok(())
    }

    /// Each thread has its turn, so that order needs no bookkeeping.
    fn worker(&self, nth: usize) -> &RecordWorker {
        let threads = self.workers.as_deref().expect("begun before the first batch was given");
        &threads[nth % threads.len()]
    }
}

/// As many threads as are worth it and can be had; beside one processor none is.
fn start_workers<'s>(scope: &'s Scope<'s, '_>) -> Vec<RecordWorker> {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let wanted = if processors == 1 { 0 } else { processors.min(MAX_THREADS) };
    (0..wanted).map_while(|_| RecordWorker::start(scope)).collect()
}

impl RecordWorker {
    fn start<'s>(scope: &'s Scope<'s, '_>) -> Option<Self> {
        let (to_make, waiting) = channel::<RowBatch>();
        let (done, made) = channel();
        let work = move || {
            for mut batch in waiting {
                batch.encode();
                if done.send(batch).is_err() {
                    // Whoever reads has given up.
                    return;
                }
            }
        };
        std::thread::Builder::new().name("records".to_owned()).spawn_scoped(scope, work).ok()?;
        Some(Self { input: to_make, output: made })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids_after(rows: i64, bio: &str) -> Vec<String> {
        let mut taken = Vec::new();
        let mut take = |raw: Row<'_>, id, made: Result<EncodedRow<'_>, RowError>| -> Result<(), ()> {
            assert_eq!(id, IdHash::of(raw[column::ID]));
            taken.push(match made {
                Ok(made) => {
                    assert_eq!(made.text_hash, TextHash::of(made.text));
                    assert_eq!(made.record_hash, RecordHash::of(made.json));
                    let record: serde_json::Value = serde_json::from_slice(made.json).unwrap();
                    assert_eq!(record["Bio"].as_str(), Some(made.text));
                    record["id"].to_string()
                }
                Err(fault) => format!("fault {}", fault.id),
            });
            Ok(())
        };
        std::thread::scope(|scope| {
            let mut making = RecordWorkers::new(scope);
            for id in 0..rows {
                let mut raw = [RawValue::Null; 14];
                raw[column::ID] = RawValue::Integer(id);
                let text = format!("{id} {bio}");
                if id % 7 != 3 {
                    raw[column::BIO] = RawValue::Text(text.as_bytes());
                }
                making.push(&raw, &mut take).unwrap();
            }
            making.finish(&mut take).unwrap();
        });
        taken
    }

    #[test]
    fn rows_come_back_in_their_order_with_what_was_made_of_each() {
        let long = "x".repeat(3000);
        for (rows, bio) in [(0, "short"), (5, "short"), (3000, long.as_str())] {
            let due: Vec<_> = (0..rows)
                .map(|id| if id % 7 == 3 { format!("fault {id}") } else { id.to_string() })
                .collect();
            assert_eq!(ids_after(rows, bio), due);
        }
    }

    #[test]
    fn the_first_refusal_ends_it_whatever_is_still_under_way() {
        let bio = vec![b'x'; 4000];
        let mut raw = [RawValue::Null; 14];
        raw[column::BIO] = RawValue::Text(&bio);
        let mut left = 100;
        let mut take = |_: Row<'_>, _, _: Result<EncodedRow<'_>, RowError>| {
            left -= 1;
            if left == 0 { Err("enough") } else { Ok(()) }
        };
        let ended = std::thread::scope(|scope| {
            let mut making = RecordWorkers::new(scope);
            (0..10_000).try_for_each(|id| {
                raw[column::ID] = RawValue::Integer(id);
                making.push(&raw, &mut take)
            })
        });
        assert_eq!((ended, left), (Err("enough"), 0));
    }
}
