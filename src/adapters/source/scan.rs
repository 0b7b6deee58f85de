//! When the database is opened, scanned, copied and closed.
//!
//! With a rollback journal a commit waits for every reader. So a scan copies the
//! rows and closes the database; only a table too large to buffer stays open
//! for the second scan.
//!
//! A file with a rollback journal that has been at rest is read without any
//! lock, so no commit waits for such a scan. Its result counts if
//! the file is unchanged afterwards; if not, it is scanned again with locks.
//! Since such a scan rarely finds a change it copies nothing, and its rows are
//! read again when they are needed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::access::{LockPolicy, Purpose};
use super::error::SourceError;
use super::header::FileIdentity;
use super::row_buffer::{MAX_BUFFER_BYTES, RowBuffer, RowCopier};
use super::scan_digest::ScanDigest;
use super::sqlite::{self, Transaction};
use crate::decide::guard::{Refusal, ScanLimits};
use crate::domain::record::{Basis, Row, ScanHash};
use crate::domain::source_rules::SourceRules;
use crate::domain::source_spec::SourceSpec;
use crate::domain::stop::Stop;

/// Rows between two checks for a stop request.
const ROWS_PER_CHECK: u64 = 256;

/// Reading the file's header and a connection to the file must never overlap in
/// one process: closing the header's descriptor would drop SQLite's locks.
static SCAN_LOCK: Mutex<()> = Mutex::new(());

/// What one scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Digest of the raw values.
    pub hash: ScanHash,
    /// Indexed rows.
    pub rows: u64,
}

/// The file that is read, and the right to read it.
pub(super) struct SourceReader {
    path: PathBuf,
    purpose: Purpose,
    stop: Stop,
    limits: ScanLimits,
    spec: SourceSpec,
    _scan_lock: MutexGuard<'static, ()>,
}

/// Where the rows are.
pub(super) enum Table {
    /// In the database, within a transaction.
    Open(Box<Transaction>),
    /// In memory. The database is closed.
    Copied(RowBuffer, Arc<SourceRules>),
}

impl Table {
    /// What the rows are and what is made of them.
    pub(super) fn rules(&self) -> &Arc<SourceRules> {
        match self {
            Self::Open(transaction) => transaction.rules(),
            Self::Copied(_, rules) => rules,
        }
    }

    /// What the file was before it was opened, if it is read without locks though it could be read with them.
    pub(super) fn quiescent_identity(&self) -> Option<FileIdentity> {
        match self {
            Self::Open(transaction) => transaction.quiescent_identity(),
            Self::Copied(..) => None,
        }
    }
}

impl SourceReader {
    /// Waits for every other read in this process to end.
    pub(super) fn of(
        database: &Path,
        purpose: Purpose,
        stop: &Stop,
        limits: ScanLimits,
        spec: &SourceSpec,
    ) -> Result<Self, SourceError> {
        // A poisoned lock means only that another scan panicked; it holds no data.
        let scan_lock = SCAN_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Self {
            path: resolve(database)?,
            purpose,
            stop: stop.clone(),
            limits,
            spec: spec.clone(),
            _scan_lock: scan_lock,
        })
    }

    /// Opens the database; no other connection of this reader may be open.
    pub(super) fn begin(&self, locks: LockPolicy) -> Result<Table, SourceError> {
        let transaction =
            sqlite::begin(&self.path, self.purpose, locks, &self.stop, self.limits, &self.spec)?;
        Ok(Table::Open(Box::new(transaction)))
    }

    /// Scans and keeps nothing.
    pub(super) fn scan_and_close(&self, table: Table, basis: Basis<'_>) -> Result<Scan, SourceError> {
        let scan = self.digest(&table, basis, &mut |_| ())?;
        self.close(table)?;
        Ok(scan)
    }

    /// Scans and copies the rows; closes the database unless they are too many.
    pub(super) fn scan_and_keep(&self, table: Table, basis: Basis<'_>) -> Result<(Scan, Table), SourceError> {
        let mut copy = RowCopier::up_to(MAX_BUFFER_BYTES);
        let scan = self.digest(&table, basis, &mut |row| copy.push(row))?;
        match copy.finish() {
            Some(rows) => {
                let rules = Arc::clone(table.rules());
                self.close(table)?;
                Ok((scan, Table::Copied(rows, rules)))
            }
            // It may not stay at rest for as long as it stays open.
            None if table.quiescent_identity().is_some() => Err(self.changed()),
            None => Ok((scan, table)),
        }
    }

    /// The rows of a scan that kept none, with the scan that they belong to.
    pub(super) fn reopen(
        &self,
        scan: Scan,
        before: FileIdentity,
        basis: Basis<'_>,
    ) -> Result<(Scan, Table), SourceError> {
        if before.bytes > MAX_BUFFER_BYTES as u64 {
            // Probably too large to buffer: its rows are read from the database.
            let table = self.begin(LockPolicy::Always)?;
            if before.is_unchanged(&self.path) {
                return Ok((scan, table));
            }
            return self.scan_and_keep(table, basis);
        }
        match self.scan_and_keep(self.begin(LockPolicy::IfNeeded)?, basis) {
            // A writer changed the file, or the rows are too many after all: this time with locks.
            Err(SourceError::Changed { .. }) => self.scan_and_keep(self.begin(LockPolicy::Always)?, basis),
            other => other,
        }
    }

    fn digest(
        &self,
        table: &Table,
        basis: Basis<'_>,
        also: &mut dyn FnMut(Row<'_>),
    ) -> Result<Scan, SourceError> {
        let mut digest = ScanDigest::new(basis, &table.rules().scan_input());
        let rows = self.for_each(table, &mut |row| {
            digest.row(row);
            also(row);
            Ok::<_, SourceError>(())
        });
        let rows = rows.map_err(|error| match table {
            Table::Open(transaction) => transaction.or_changed(&self.path, error),
            Table::Copied(..) => error,
        })?;
        Ok(Scan { hash: digest.finish(), rows })
    }

    /// Gives every indexed row to `each`, in id order, and counts them.
    pub(super) fn for_each<E: From<SourceError>>(
        &self,
        table: &Table,
        each: &mut dyn FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut count = 0;
        let mut counted = |row: Row<'_>| {
            if count % ROWS_PER_CHECK == 0 && self.stop.check().is_err() {
                return Err(SourceError::Stopped.into());
            }
            if count == self.limits.max_rows {
                let max_rows = self.limits.max_rows;
                return Err(SourceError::Refused(Refusal::TooManyRows { max_rows }).into());
            }
            count += 1;
            each(row)
        };
        match table {
            Table::Open(transaction) => transaction.for_each(&self.path, &mut counted)?,
            Table::Copied(copied, _) => copied.for_each(|row| counted(row))?,
        }
        Ok(count)
    }

    /// Closes the database, if it is open.
    ///
    /// # Errors
    ///
    /// [`SourceError::Changed`] if it was read without locks and the file has changed since.
    pub(super) fn close(&self, table: Table) -> Result<(), SourceError> {
        match table {
            Table::Open(transaction) => transaction.close(&self.path),
            Table::Copied(..) => Ok(()),
        }
    }

    fn changed(&self) -> SourceError {
        SourceError::Changed { path: self.path.clone() }
    }
}

/// The file that the path leads to: SQLite names its journals after the path it is given.
pub(super) fn resolve(database: &Path) -> Result<PathBuf, SourceError> {
    let missing = || SourceError::Missing { path: database.to_owned() };
    database.canonicalize().map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => missing(),
        _ => SourceError::Io { act: "find", path: database.to_owned(), source },
    })
}
