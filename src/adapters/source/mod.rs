//! The source: one short read transaction over the indexed rows.
//!
//! [`Source`], [`Scanned`] and [`Rows`] are the steps of one read, in the only
//! order in which they make sense. No connection outlives them: an open reader
//! would keep the writer's last close from checkpointing, and the log that then
//! stays could be replayed over a database that is restored by rename.
//!
//! Rows are handed over as they are read: what they mean is `record`'s, what a
//! scan leads to is the caller's. When the database is opened, copied and
//! closed is in `scan`, how it is opened in `access`.

mod access;
mod authorize;
mod describe;
mod error;
mod failure;
mod file_system;
mod header;
mod missing_names;
mod mounts;
mod names;
mod quiescence;
mod resolve;
mod row_buffer;
mod scan;
mod scan_digest;
mod sqlite;
mod temporary_files;

use std::path::Path;
use std::sync::Arc;

use crate::decide::guard::ScanLimits;
use crate::domain::record::{Basis, Row, ScanHash};
use crate::domain::source_rules::SourceRules;
use crate::domain::source_spec::SourceSpec;
use crate::domain::stop::Stop;
use access::LockPolicy;
pub(crate) use access::Purpose;
pub(crate) use describe::{TableDescription, describe};
pub use error::SourceError;
use header::FileIdentity;
pub(crate) use names::path_warnings;
pub(crate) use resolve::check_sql;
pub(crate) use row_buffer::RowBuffer;
pub(crate) use scan::Scan;
use scan::{SourceReader, Table};
pub use scan_digest::ScanDigest;

/// An open database, within a read transaction, before its scan.
pub(crate) struct Source {
    // Fields drop in their order: the connection is closed before the scan lock is released.
    table: Table,
    reader: SourceReader,
}

/// A scan, whose rows can be asked for. Dropping it ends the transaction.
pub(crate) struct Scanned {
    scan: Scan,
    left: Left,
    reader: SourceReader,
}

/// The rows of a scan. Dropping them ends the transaction.
pub(crate) struct Rows {
    scan: Scan,
    table: Table,
    reader: SourceReader,
}

/// What a scan left for a read of its rows.
enum Left {
    Table(Table),
    /// No row: the database was at rest, with this identity, and is closed.
    Closed(FileIdentity),
}

impl Source {
    /// Opens the database and begins to read.
    ///
    /// A stop request is noticed between rows, between waits for a lock, and
    /// within a step of SQLite that reads many rows to find one.
    ///
    /// # Errors
    ///
    /// [`SourceError`]: each state of the file has its own.
    pub(crate) fn open(
        database: &Path,
        purpose: Purpose,
        stop: &Stop,
        limits: ScanLimits,
        spec: &SourceSpec,
    ) -> Result<Self, SourceError> {
        let reader = SourceReader::of(database, purpose, stop, limits, spec)?;
        Ok(Self { table: reader.begin(LockPolicy::IfNeeded)?, reader })
    }

    /// Whether there is a file to read; nothing is opened.
    ///
    /// # Errors
    ///
    /// [`SourceError::Missing`] or [`SourceError::Io`] if the path does not lead to one.
    pub(crate) fn find(database: &Path) -> Result<(), SourceError> {
        scan::resolve(database).map(drop)
    }

    /// What the rows are and what is made of them, as settings and database have it.
    pub(crate) fn rules(&self) -> &Arc<SourceRules> {
        self.table.rules()
    }

    /// Scans the raw values once.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if reading fails.
    pub(crate) fn scan<'a>(self, basis: impl Into<Basis<'a>>) -> Result<Scanned, SourceError> {
        let basis = basis.into();
        let Self { reader, mut table } = self;
        if let Some(before) = table.quiescent_identity() {
            match reader.scan_and_close(table, basis) {
                Ok(scan) => return Ok(Scanned { scan, left: Left::Closed(before), reader }),
                Err(SourceError::Changed { .. }) => table = reader.begin(LockPolicy::Always)?,
                Err(error) => return Err(error),
            }
        }
        let (scan, table) = reader.scan_and_keep(table, basis)?;
        Ok(Scanned { scan, left: Left::Table(table), reader })
    }
}

impl Scanned {
    /// Digest of the raw values.
    pub(crate) fn hash(&self) -> ScanHash {
        self.scan.hash
    }

    /// The rows of this scan, or of a newer one if they had to be scanned again: [`Rows::scan`] is the
    /// scan that counts.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the rows must be scanned again and reading fails.
    pub(crate) fn into_rows<'a>(self, basis: impl Into<Basis<'a>>) -> Result<Rows, SourceError> {
        let Self { reader, scan, left } = self;
        let (scan, table) = match left {
            Left::Table(table) => (scan, table),
            Left::Closed(before) => reader.reopen(scan, before, basis.into())?,
        };
        Ok(Rows { scan, table, reader })
    }

    /// Ends the read: what was scanned is now known to be one state of the table.
    ///
    /// # Errors
    ///
    /// [`SourceError::Changed`] if it was read without locks and the file has changed since.
    pub(crate) fn finish(self) -> Result<(), SourceError> {
        let Self { reader, left, .. } = self;
        match left {
            Left::Table(table) => reader.close(table),
            Left::Closed(_) => Ok(()),
        }
    }
}

impl Rows {
    /// The scan that these rows belong to.
    pub(crate) fn scan(&self) -> Scan {
        self.scan
    }

    /// What the rows are and what is made of them.
    pub(crate) fn rules(&self) -> &Arc<SourceRules> {
        self.table.rules()
    }

    /// Gives every indexed row to `each`, in id order, and counts them. Can be called again.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if reading fails, or the first error of `each`.
    pub(crate) fn for_each<E: From<SourceError>>(
        &self,
        each: &mut dyn FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        self.reader.for_each(&self.table, each)
    }

    /// Ends the read: what was read is now known to be one state of the table.
    ///
    /// # Errors
    ///
    /// [`SourceError::Changed`] if it was read without locks and the file has changed since.
    pub(crate) fn finish(self) -> Result<(), SourceError> {
        let Self { reader, table, .. } = self;
        reader.close(table)
    }
}

#[cfg(test)]
mod tests;
