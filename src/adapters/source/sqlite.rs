//! A read transaction in SQLite: begins it, and steps through the rows.
//!
//! A lock that another process holds is waited for, up to [`LOCK_TIMEOUT`]; a
//! stop request ends the wait, and a long step of SQLite too. Whether locks are
//! taken is decided in `access`, what an error means in `failure`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::access::{AccessMode, LockPolicy, Purpose};
use super::authorize::allow_only_reading;
use super::error::SourceError;
use super::failure::{LOCK_TIMEOUT, SqliteFailure, changed, classify, is_about_temporary_files, locked};
use super::file_system::FileSystem;
use super::header::{DatabaseHeader, FileIdentity};
use super::missing_names;
use super::mounts::is_mount;
use super::resolve;
use super::temporary_files;
use crate::decide::guard::{Refusal, ScanLimits};
use crate::domain::record::{RawValue, Row};
use crate::domain::sibling_path::sibling_path;
use crate::domain::source_rules::SourceRules;
use crate::domain::source_spec::SourceSpec;
use crate::domain::sqlite_uri::uri;
use crate::domain::stop::Stop;

/// How long a read waits for an open write transaction, whose commit would meet our lock. Longer ones
/// do not keep us from what is committed.
const OPEN_WRITER_WAIT: Duration = Duration::from_millis(500);
/// How long SQLite waits in one attempt: a stop request is noticed between two.
const LOCK_POLL: Duration = Duration::from_millis(200);
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(20);
/// SQLite's own instructions between two checks for a stop request: some milliseconds.
const STEPS_PER_CHECK: i32 = 100_000;
/// How often temporary files are measured: a disk takes some tens of mebibytes in that time.
const SPACE_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// A connection within a read transaction. Dropping it closes the connection.
pub(super) struct Transaction {
    connection: Connection,
    rules: Arc<SourceRules>,
    /// The table and columns that the settings name, for messages.
    expected: String,
    lock_free: Option<LockFreeRead>,
    scan_space: Arc<ScanSpace>,
}

/// The temporary disk space of a scan.
#[derive(Default)]
struct ScanSpace {
    /// The limit, once it was passed; else 0.
    passed: AtomicU64,
}

/// A file that is read without locks.
struct LockFreeRead {
    /// What it was before.
    before: FileIdentity,
    /// Whether it has a rollback journal, so that it could be read with locks.
    is_quiescent: bool,
}

/// Begins a read transaction; waits for a writer, within limits.
#[allow(
    clippy::disallowed_methods,
    reason = "bounded by LOCK_TIMEOUT, and a stop request is noticed between two attempts"
)]
pub(super) fn begin(
    path: &Path,
    purpose: Purpose,
    locks: LockPolicy,
    stop: &Stop,
    limits: ScanLimits,
    spec: &SourceSpec,
) -> Result<Transaction, SourceError> {
    let started = Instant::now();
    loop {
        match open(path, purpose, locks, started.elapsed() < OPEN_WRITER_WAIT, spec) {
            Ok(mut transaction) => {
                transaction.interrupt_on(path, stop, limits).map_err(|error| SourceError::Sqlite {
                    path: path.to_owned(),
                    found: error.to_string(),
                })?;
                return Ok(transaction);
            }
            Err(SqliteFailure::Wait(last)) if started.elapsed() >= LOCK_TIMEOUT => return Err(last),
            Err(SqliteFailure::Wait(_)) if stop.check().is_err() => return Err(SourceError::Stopped),
            Err(SqliteFailure::Wait(_)) => std::thread::sleep(ATTEMPT_INTERVAL),
            Err(SqliteFailure::Final(error)) => return Err(error),
        }
    }
}

/// Opens a connection and begins a read transaction.
fn open(
    path: &Path,
    purpose: Purpose,
    locks: LockPolicy,
    waits_for_writer: bool,
    spec: &SourceSpec,
) -> Result<Transaction, SqliteFailure> {
    let header = DatabaseHeader::read(path).map_err(SqliteFailure::Final)?;
    if waits_for_writer && header.has_writer && !header.wal {
        return Err(locked(path));
    }
    if header.wal && is_mount(path) == Some(true) {
        return Err(SqliteFailure::Final(SourceError::MountedFile { path: path.to_owned() }));
    }
    let access = AccessMode::choose(path, &header, &FileSystem::of(path), purpose, locks)?;
    let (flags, parameters) = match access {
        AccessMode::Owner => (OpenFlags::SQLITE_OPEN_READ_WRITE, "mode=rw"),
        AccessMode::Reader => (OpenFlags::SQLITE_OPEN_READ_ONLY, "mode=ro&readonly_shm=1"),
        AccessMode::Immutable(_) => (OpenFlags::SQLITE_OPEN_READ_ONLY, "mode=ro&immutable=1"),
    };
    let flags = flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let expected = spec.expected();
    let failed = |error: rusqlite::Error| match (&access, classify(path, &error, &expected)) {
        (AccessMode::Immutable(before), _) if FileIdentity::of(path).is_ok_and(|now| now != *before) => {
            changed(path)
        }
        (_, failure) => failure,
    };
    let mut connection = Connection::open_with_flags(uri(path, parameters), flags).map_err(failed)?;
    connection.busy_timeout(LOCK_POLL).map_err(failed)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; BEGIN").map_err(failed)?;
    // BEGIN takes no lock; the first read does, and fails on whatever prevents reading.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(failed)?;
    let explained = |failure| missing_names::explain(&connection, failure);
    let rules = resolve::rules(&connection, path, spec, &failed).map_err(explained)?;
    // Names are checked while the database may still be asked which ones it has.
    connection.prepare(&rules.schema.select()).map_err(failed).map_err(explained)?;
    allow_only_reading(&mut connection).map_err(failed)?;
    let lock_free = match access {
        AccessMode::Immutable(before) => Some(LockFreeRead { before, is_quiescent: !header.wal }),
        AccessMode::Owner | AccessMode::Reader => None,
    };
    Ok(Transaction { connection, rules, expected, lock_free, scan_space: Arc::default() })
}

impl Transaction {
    /// What the rows are and what is made of them.
    pub(super) fn rules(&self) -> &Arc<SourceRules> {
        &self.rules
    }

    /// Lets a stop request end a step of SQLite, and temporary files that grow too large.
    fn interrupt_on(&mut self, path: &Path, stop: &Stop, limits: ScanLimits) -> rusqlite::Result<()> {
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        let max_bytes = limits.max_scan_bytes(bytes(path).saturating_add(bytes(&sibling_path(path, "-wal"))));
        let (stop, scan_space) = (stop.clone(), Arc::clone(&self.scan_space));
        let mut next_check = Instant::now();
        let ends = move || {
            let now = Instant::now();
            if now >= next_check {
                next_check = now + SPACE_CHECK_INTERVAL;
                if temporary_files::bytes() > max_bytes {
                    scan_space.passed.store(max_bytes, Ordering::Relaxed);
                    return true;
                }
            }
            stop.check().is_err()
        };
        self.connection.progress_handler(STEPS_PER_CHECK, Some(ends))
    }

    /// What an error of a step means.
    fn explain(&self, path: &Path, error: &rusqlite::Error) -> SourceError {
        match self.scan_space.passed.load(Ordering::Relaxed) {
            // Nothing but a temporary file is written while rows are read.
            0 if is_about_temporary_files(error) => {
                let (path, place) = (path.to_owned(), temporary_files::place());
                SourceError::TemporaryFiles { path, place, found: error.to_string() }
            }
            0 => self.or_changed(path, classify(path, error, &self.expected).into_error()),
            max_bytes => SourceError::Refused(Refusal::TooMuchScan { max_bytes }),
        }
    }

    /// What the file was, if it is read without locks though it could be read with them.
    pub(super) fn quiescent_identity(&self) -> Option<FileIdentity> {
        self.lock_free.as_ref().filter(|read| read.is_quiescent).map(|read| read.before)
    }

    /// Whether no lock keeps a writer from changing what is read.
    #[cfg(test)]
    pub(super) fn is_lock_free(&self) -> bool {
        self.lock_free.is_some()
    }

    /// Gives every indexed row to `each`, in id order.
    pub(super) fn for_each<E: From<SourceError>>(
        &self,
        path: &Path,
        each: &mut dyn FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let explain = |error| self.explain(path, &error);
        let schema = &self.rules.schema;
        let mut statement = self.connection.prepare(&schema.select()).map_err(explain)?;
        let mut rows = statement.query([]).map_err(explain)?;
        let mut buffer = vec![RawValue::Null; schema.width()];
        while let Some(row) = rows.next().map_err(explain)? {
            let mut values = buffer;
            for (at, value) in values.iter_mut().enumerate() {
                *value = raw_value(row.get_ref(at).map_err(explain)?);
            }
            each(&values)?;
            buffer = nulls(values);
        }
        Ok(())
    }

    /// What an error means where no lock keeps a writer from changing what is read.
    pub(super) fn or_changed(&self, path: &Path, error: SourceError) -> SourceError {
        let Some(read) = &self.lock_free else { return error };
        if matches!(error, SourceError::Stopped) || FileIdentity::of(path).is_ok_and(|now| now == read.before)
        {
            return error;
        }
        SourceError::Changed { path: path.to_owned() }
    }

    /// Closes the connection.
    ///
    /// # Errors
    ///
    /// [`SourceError::Changed`] if it was read without locks and the file has changed since.
    pub(super) fn close(self, path: &Path) -> Result<(), SourceError> {
        // Closing after reading cannot lose anything, so its result says nothing.
        drop(self.connection);
        match self.lock_free {
            Some(read) if FileIdentity::of(path)? != read.before => {
                Err(SourceError::Changed { path: path.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

fn raw_value(value: ValueRef<'_>) -> RawValue<'_> {
    match value {
        ValueRef::Null => RawValue::Null,
        ValueRef::Integer(n) => RawValue::Integer(n),
        ValueRef::Real(x) => RawValue::Real(x),
        ValueRef::Text(bytes) => RawValue::Text(bytes),
        ValueRef::Blob(bytes) => RawValue::Blob(bytes),
    }
}

/// A buffer for the values of another row, which the compiler holds for another type. A `Vec` is
/// collected in place, so no row costs an allocation.
fn nulls<'b>(values: Vec<RawValue<'_>>) -> Vec<RawValue<'b>> {
    values.into_iter().map(|_| RawValue::Null).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_of_a_row_is_used_again_for_the_next() {
        let text = "text".to_owned();
        let values = vec![RawValue::Text(text.as_bytes()); 3];
        let place = values.as_ptr();

        let next = nulls(values);

        assert_eq!((next.as_ptr().addr(), next), (place.addr(), vec![RawValue::Null; 3]));
    }
}
