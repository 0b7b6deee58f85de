//! The source: one short read transaction over the tagged rows.
//!
//! A [`Look`] opens the database, reads within one transaction and closes it;
//! no connection outlives it. An open reader would keep the writer's last
//! close from checkpointing, and the log it leaves behind can be replayed over
//! a database that is restored by rename.
//!
//! With a rollback journal a commit waits for whoever reads. So the first scan
//! copies the rows, and the database is closed before anything is made of
//! them; only a table too large to be held in memory stays open until it was
//! gone over a second time.
//!
//! A file with a rollback journal that has been at rest for a second is read
//! without any lock, so that no commit can meet one: what is read counts if the
//! file is then what it was before, and is read again with locks if not. No
//! writer waits for such a scan, and mostly it finds nothing new: so it copies
//! nothing, and the rows are read once more where they are wanted: those of a
//! large file with locks, and where they lie.
//!
//! Otherwise how it opens the file depends on whose file it is. The owner opens it as
//! any client does, with `query_only` on, so that closing leaves the directory
//! as any client would. Anybody else reads only, never makes a file beside
//! the database, and reads an idle WAL database as `immutable`, which is safe
//! only while nothing writes: identity and header are compared before and
//! after, and a difference is [`SourceError::Changed`], to be tried again.
//!
//! Nothing is decided here: rows are handed on as they are read.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement};

use crate::domain::record::{COLUMNS, RawValue, ScanHash, Space, column};
use crate::domain::sqlite_uri::uri;
use crate::domain::stop::Stop;
pub use error::SourceError;
use header::{DatabaseHeader, FileIdentity};
use quiescence::is_quiescent;
pub use row_buffer::RowBuffer;
use row_buffer::RowCopier;
use scan_digest::ScanDigest;

mod error;
mod header;
mod quiescence;
mod row_buffer;
mod scan_digest;

/// The one query. Plain names: SQLite reads a quoted name that it does not know as a text.
const TABLE: &str = "experts";

/// How long a look waits for a writer's lock before it gives up.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a writer in mid-transaction is waited for, whose commit would meet our lock.
/// One that thinks for longer does not keep us from what is committed.
const OPEN_WRITER_WAIT: Duration = Duration::from_millis(500);
/// How long one attempt waits, between which a stop is heard.
const LOCK_POLL: Duration = Duration::from_millis(200);
/// SQLite's own instructions between two such questions: some milliseconds.
const STEPS_PER_CHECK: i32 = 100_000;
/// Rows between two questions whether to stop.
const ROWS_PER_CHECK: u64 = 256;

/// Plain reading of the file's header and a connection to it must never
/// overlap in one process: closing the plain descriptor drops SQLite's locks.
static SCAN_LOCK: Mutex<()> = Mutex::new(());

/// What one look found in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Digest of the raw values.
    pub hash: ScanHash,
    /// Tagged rows.
    pub rows: u64,
}

/// One read transaction on the source. Dropping it closes the connection.
pub struct Look<'s> {
    path: PathBuf,
    table: Table,
    stop: &'s Stop,
    _scan_lock: std::sync::MutexGuard<'static, ()>,
}

/// A file that is read without locks.
struct LockFreeRead {
    /// What it was before.
    before: FileIdentity,
    /// It has a rollback journal, and could be read with locks.
    is_quiescent: bool,
}

/// When to take locks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LockPolicy {
    /// Not while the file is at rest.
    IfNeeded,
    /// Wherever this process may.
    Always,
}

/// Where the rows are.
enum Table {
    /// In the database, within a transaction; with what the file was, where it takes no lock.
    Open(Connection, Option<LockFreeRead>),
    /// In memory. The database is closed.
    Copied(RowBuffer),
    /// Nowhere: the database was read at rest, when it was this, and is closed.
    Closed(Option<FileIdentity>),
}

impl Table {
    /// Whether it is read without locks though it could be read with them.
    fn is_quiescent(&self) -> bool {
        matches!(self, Self::Open(_, Some(LockFreeRead { is_quiescent: true, .. })))
    }

    /// What an error means where nothing keeps a writer from changing what is read.
    fn or_changed(&self, path: &Path, error: SourceError) -> SourceError {
        let Self::Open(_, Some(unlocked)) = self else { return error };
        if matches!(error, SourceError::Stopped)
            || FileIdentity::of(path).is_ok_and(|now| now == unlocked.before)
        {
            return error;
        }
        SourceError::Changed { path: path.to_owned() }
    }
}

impl<'s> Look<'s> {
    /// Opens the database and begins to read.
    ///
    /// `stop` is asked between rows and between waits for a lock, `interrupt`
    /// within a step of SQLite that goes over many rows to find one.
    ///
    /// # Errors
    ///
    /// [`SourceError`]: each state of the file has its own.
    pub fn open(database: &Path, stop: &'s Stop) -> Result<Self, SourceError> {
        // A poisoned lock means only that another look panicked; it holds no data.
        let alone = SCAN_LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let path = resolve(database)?;
        let table = begin(&path, LockPolicy::IfNeeded, stop)?;
        Ok(Self { path, table, stop, _scan_lock: alone })
    }

    /// One scan of the raw values.
    ///
    /// # Errors
    ///
    /// [`SourceError`] where reading fails.
    pub fn scan(&mut self, space: &Space) -> Result<Scan, SourceError> {
        if self.table.is_quiescent() {
            match self.scan_quiescent(space) {
                Err(SourceError::Changed { .. }) => self.begin_again(LockPolicy::Always)?,
                other => return other,
            }
        }
        self.copy(space)
    }

    fn scan_quiescent(&mut self, space: &Space) -> Result<Scan, SourceError> {
        let scan = self.digest(space, &mut |_| ())?;
        let read = match &self.table {
            Table::Open(_, Some(unlocked)) => Some(unlocked.before),
            Table::Open(_, None) | Table::Copied(_) | Table::Closed(_) => None,
        };
        close(&self.path, std::mem::replace(&mut self.table, Table::Closed(read)))?;
        Ok(scan)
    }

    /// Lets [`Look::rows`] hand out the rows of a scan, or of a newer one, which is then given.
    ///
    /// # Errors
    ///
    /// [`SourceError`] where the rows must be read once more and reading fails.
    pub fn hold(&mut self, scan: Scan, space: &Space) -> Result<Scan, SourceError> {
        let Table::Closed(read) = self.table else { return Ok(scan) };
        if let Some(read) = read.filter(|read| read.bytes > row_buffer::MAX_BUFFER_BYTES as u64) {
            // Too large to be copied for certain: its rows are gone over where they lie.
            self.begin_again(LockPolicy::Always)?;
            if read.is_unchanged(&self.path) {
                return Ok(scan);
            }
            return self.copy(space);
        }
        self.begin_again(LockPolicy::IfNeeded)?;
        match self.copy(space) {
            // A writer came by, or the rows are too many after all: this time with locks.
            Err(SourceError::Changed { .. }) => {
                self.begin_again(LockPolicy::Always)?;
                self.copy(space)
            }
            other => other,
        }
    }

    fn begin_again(&mut self, locks: LockPolicy) -> Result<(), SourceError> {
        // Closed before it is opened again.
        self.table = Table::Closed(None);
        self.table = begin(&self.path, locks, self.stop)?;
        Ok(())
    }

    /// One scan, and a copy of the rows if it is small enough: then the database is closed.
    fn copy(&mut self, space: &Space) -> Result<Scan, SourceError> {
        let mut copying = RowCopier::up_to(row_buffer::MAX_BUFFER_BYTES);
        let scan = self.digest(space, &mut |raw| copying.row(raw))?;
        if let Some(copied) = copying.finish() {
            let read = std::mem::replace(&mut self.table, Table::Copied(copied));
            close(&self.path, read)?;
        } else if self.table.is_quiescent() {
            // Nobody could say how long it will stay so.
            return Err(SourceError::Changed { path: self.path.clone() });
        }
        Ok(scan)
    }

    fn digest(&self, space: &Space, also: &mut dyn FnMut(&[RawValue<'_>; 14])) -> Result<Scan, SourceError> {
        let mut digest = ScanDigest::new(space);
        let rows = self.rows(&mut |raw| {
            for &value in raw {
                digest.value(value);
            }
            also(raw);
            Ok::<_, SourceError>(())
        });
        let rows = rows.map_err(|error| self.table.or_changed(&self.path, error))?;
        Ok(Scan { hash: digest.finish(), rows })
    }

    /// Hands every tagged row to `each`, in id order, and counts them.
    ///
    /// # Errors
    ///
    /// [`SourceError`] where reading fails, or the first error of `each`.
    ///
    /// # Panics
    ///
    /// After a scan, if the rows are not on [`Look::hold`].
    pub fn rows<E: From<SourceError>>(
        &self,
        each: &mut dyn FnMut(&[RawValue<'_>; 14]) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut count = 0;
        let mut counted = |raw: &[RawValue<'_>; 14]| {
            if count % ROWS_PER_CHECK == 0 && self.stop.check().is_err() {
                return Err(SourceError::Stopped.into());
            }
            count += 1;
            each(raw)
        };
        match &self.table {
            Table::Open(connection, _) => self.read(connection, &mut counted)?,
            Table::Copied(copied) => copied.rows(&mut counted)?,
            Table::Closed(_) => panic!("rows are held before they are gone over"),
        }
        Ok(count)
    }

    fn read<E: From<SourceError>>(
        &self,
        connection: &Connection,
        each: &mut dyn FnMut(&[RawValue<'_>; 14]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self.prepare(connection)?;
        let mut rows = statement.query([]).map_err(|error| self.explain(&error))?;
        while let Some(row) = rows.next().map_err(|error| self.explain(&error))? {
            let mut raw = [RawValue::Null; 14];
            for (at, value) in raw.iter_mut().enumerate() {
                *value = match row.get_ref(at).map_err(|error| self.explain(&error))? {
                    ValueRef::Null => RawValue::Null,
                    ValueRef::Integer(n) => RawValue::Integer(n),
                    ValueRef::Real(x) => RawValue::Real(x),
                    ValueRef::Text(bytes) => RawValue::Text(bytes),
                    ValueRef::Blob(bytes) => RawValue::Blob(bytes),
                };
            }
            each(&raw)?;
        }
        Ok(())
    }

    /// Ends the look: what was read is now known to be one state of the table.
    ///
    /// # Errors
    ///
    /// [`SourceError::Changed`] where it was read without locks and the file changed meanwhile.
    pub fn finish(self) -> Result<(), SourceError> {
        close(&self.path, self.table)
    }

    fn prepare<'c>(&self, connection: &'c Connection) -> Result<Statement<'c>, SourceError> {
        let columns = COLUMNS.join(", ");
        let (id, tags) = (COLUMNS[column::ID], COLUMNS[column::TAGS]);
        connection
            .prepare(&format!("SELECT {columns} FROM {TABLE} WHERE {tags} IS NOT NULL ORDER BY {id}"))
            .map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &rusqlite::Error) -> SourceError {
        match classify(&self.path, error) {
            SqliteFailure::Wait(error) | SqliteFailure::Final(error) => error,
        }
    }
}

/// Closes the database, where it is still open.
fn close(path: &Path, table: Table) -> Result<(), SourceError> {
    let Table::Open(connection, unlocked) = table else { return Ok(()) };
    // Closing after reading cannot lose anything, so its result says nothing.
    drop(connection);
    match unlocked {
        Some(unlocked) if FileIdentity::of(path)? != unlocked.before => {
            Err(SourceError::Changed { path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

enum SqliteFailure {
    /// Another attempt a moment later may succeed.
    Wait(SourceError),
    Final(SourceError),
}

impl From<SourceError> for SqliteFailure {
    fn from(error: SourceError) -> Self {
        Self::Final(error)
    }
}

/// The file that the path leads to: SQLite names its journals after the path it is given.
fn resolve(database: &Path) -> Result<PathBuf, SourceError> {
    let missing = || SourceError::Missing { path: database.to_owned() };
    database.canonicalize().map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => missing(),
        _ => SourceError::Io { act: "find", path: database.to_owned(), source },
    })
}

/// Waits until the database can be read, for a time.
#[allow(
    clippy::disallowed_methods,
    reason = "bounded by MOST_WAIT, and a stop is heard between two attempts"
)]
fn begin(path: &Path, locks: LockPolicy, stop: &Stop) -> Result<Table, SourceError> {
    let (patience, deadline) = (Instant::now() + OPEN_WRITER_WAIT, Instant::now() + LOCK_TIMEOUT);
    loop {
        match open_transaction(path, locks, Instant::now() < patience) {
            Ok((mut connection, unlocked)) => {
                let interrupt = stop.clone();
                connection
                    .progress_handler(STEPS_PER_CHECK, Some(move || interrupt.check().is_err()))
                    .map_err(|error| SourceError::Sqlite {
                        path: path.to_owned(),
                        found: error.to_string(),
                    })?;
                return Ok(Table::Open(connection, unlocked));
            }
            Err(SqliteFailure::Wait(last)) if Instant::now() >= deadline => return Err(last),
            Err(SqliteFailure::Wait(_)) if stop.check().is_err() => return Err(SourceError::Stopped),
            Err(SqliteFailure::Wait(_)) => std::thread::sleep(Duration::from_millis(20)),
            Err(SqliteFailure::Final(error)) => return Err(error),
        }
    }
}

/// Opens a connection and enters a read transaction.
fn open_transaction(
    path: &Path,
    locks: LockPolicy,
    is_patient: bool,
) -> Result<(Connection, Option<LockFreeRead>), SqliteFailure> {
    let header = DatabaseHeader::read(path)?;
    if is_patient && header.has_writer && !header.wal {
        return Err(SqliteFailure::Wait(SourceError::Locked { path: path.to_owned() }));
    }
    let access = AccessMode::choose(path, &header, locks)?;
    let (flags, parameters) = match access {
        AccessMode::Owner => (OpenFlags::SQLITE_OPEN_READ_WRITE, "mode=rw"),
        AccessMode::Reader => (OpenFlags::SQLITE_OPEN_READ_ONLY, "mode=ro&readonly_shm=1"),
        AccessMode::Immutable(_) => (OpenFlags::SQLITE_OPEN_READ_ONLY, "mode=ro&immutable=1"),
    };
    let flags = flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error: rusqlite::Error| match (&access, classify(path, &error)) {
        (AccessMode::Immutable(before), _) if FileIdentity::of(path).is_ok_and(|now| now != *before) => {
            SqliteFailure::Wait(SourceError::Changed { path: path.to_owned() })
        }
        (_, trouble) => trouble,
    };
    let connection = Connection::open_with_flags(uri(path, parameters), flags).map_err(failed)?;
    connection.busy_timeout(LOCK_POLL).map_err(failed)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; BEGIN").map_err(failed)?;
    // BEGIN takes no lock; the first read does, and meets what stands in the way.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(failed)?;
    let unlocked = match access {
        AccessMode::Immutable(before) => Some(LockFreeRead { before, is_quiescent: !header.wal }),
        AccessMode::Owner | AccessMode::Reader => None,
    };
    Ok((connection, unlocked))
}

/// How this process may open the file.
enum AccessMode {
    /// As its owner, in a directory where the owner may write.
    Owner,
    /// Reading only, with the locks that a reader takes.
    Reader,
    /// Reading only, without locks, while nobody writes.
    Immutable(FileIdentity),
}

impl AccessMode {
    fn choose(path: &Path, header: &DatabaseHeader, locks: LockPolicy) -> Result<Self, SqliteFailure> {
        if locks == LockPolicy::IfNeeded && is_quiescent(path, header) {
            return Ok(Self::Immutable(header.identity));
        }
        let owner = header.identity.uid == rustix::process::geteuid().as_raw();
        let directory = path.parent().unwrap_or(Path::new("/"));
        if owner && can_write(directory) && can_write(path) {
            return Ok(Self::Owner);
        }
        if !header.wal {
            return Ok(Self::Reader);
        }
        let (wal, shm) = (sibling(path, "-wal"), sibling(path, "-shm"));
        if header.identity.wal_bytes > 0 {
            let found = if !shm.exists() {
                "-shm is missing"
            } else if File::open(&wal).is_err() {
                "-wal is not readable"
            } else if File::open(&shm).is_err() {
                "-shm is not readable"
            } else {
                return Ok(Self::Reader);
            };
            // A writer that opens or closes just now passes through this state.
            return Err(SqliteFailure::Wait(SourceError::WalUnreadable {
                path: path.to_owned(),
                found: found.to_owned(),
            }));
        }
        if header.identity.is_settled() {
            return Ok(Self::Immutable(header.identity));
        }
        // Too young to be read without locks: within the file system's time
        // stamp a write could hide. A moment later it is settled.
        Err(SqliteFailure::Wait(SourceError::Changed { path: path.to_owned() }))
    }
}

fn can_write(path: &Path) -> bool {
    rustix::fs::accessat(rustix::fs::CWD, path, rustix::fs::Access::WRITE_OK, rustix::fs::AtFlags::EACCESS)
        .is_ok()
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn classify(path: &Path, error: &rusqlite::Error) -> SqliteFailure {
    let path = path.to_owned();
    let found = error.to_string();
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return SqliteFailure::Final(match error {
            rusqlite::Error::SqlInputError { msg, .. } => SourceError::Schema { path, found: msg.clone() },
            _ => SourceError::Sqlite { path, found },
        });
    };
    match (failure.code, failure.extended_code) {
        (ErrorCode::OperationInterrupted, _) => SqliteFailure::Final(SourceError::Stopped),
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
            SqliteFailure::Wait(SourceError::Locked { path })
        }
        (_, rusqlite::ffi::SQLITE_READONLY_ROLLBACK) => SqliteFailure::Wait(SourceError::HotJournal { path }),
        (ErrorCode::ReadOnly, _) if sibling(&path, "-journal").exists() => {
            SqliteFailure::Wait(SourceError::HotJournal { path })
        }
        (ErrorCode::ReadOnly | ErrorCode::FileLockingProtocolFailed | ErrorCode::CannotOpen, _)
            if sibling(&path, "-wal").exists() =>
        {
            SqliteFailure::Wait(SourceError::WalUnreadable { path, found })
        }
        (ErrorCode::NotADatabase, _) => SqliteFailure::Final(SourceError::NotADatabase { path, found }),
        (ErrorCode::Unknown, _) if found.starts_with("no such") => {
            SqliteFailure::Final(SourceError::Schema { path, found })
        }
        _ => SqliteFailure::Final(SourceError::Sqlite { path, found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of so many tagged people in a database with a rollback journal, and a writer who never waits.
    fn tagged_rows(folder: &Path, count: u32) -> (PathBuf, Connection) {
        let path = folder.join("experts.db");
        let writer = Connection::open(&path).unwrap();
        writer.busy_timeout(Duration::ZERO).unwrap();
        writer.execute_batch(include_str!("../../../data/schema.sql")).unwrap();
        let tagged = "INSERT INTO experts (username, tags)
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) SELECT i, '[]' FROM n";
        writer.execute(tagged, [count]).unwrap();
        (path, writer)
    }

    fn space() -> Space {
        Space { provider: "p".into(), model: "m".into(), dimension: 8, task_type: None, text_format: 1 }
    }

    #[test]
    fn a_commit_waits_for_the_copy_of_the_rows_and_not_for_what_is_made_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let (path, writer) = tagged_rows(folder.path(), 1000);
        let mut look = Look::open(&path, no_stop()).unwrap();
        assert!(writer.execute("DELETE FROM experts WHERE id = 1", []).is_err(), "the look holds a lock");

        let scan = look.scan(&space()).unwrap();
        writer.execute("DELETE FROM experts WHERE id > 7", []).unwrap();

        assert_eq!((look.hold(scan, &space()).unwrap(), scan.rows), (scan, 1000));
        assert_eq!(look.rows(&mut |_| Ok::<_, SourceError>(())).unwrap(), 1000, "as they were");
        look.finish().unwrap();
    }

    fn no_stop() -> &'static Stop {
        Box::leak(Box::default())
    }

    /// A look at a file that has been at rest for long enough.
    fn open_quiescent(path: &Path) -> Look<'static> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let look = Look::open(path, no_stop()).unwrap();
            if look.table.is_quiescent() {
                return look;
            }
            assert!(Instant::now() < deadline, "a second after the last write it is at rest");
            drop(look);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[test]
    fn a_commit_meets_no_lock_of_a_scan_of_a_quiescent_file_and_the_scan_sees_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, writer) = tagged_rows(folder.path(), 1000);
        let mut look = open_quiescent(&path);

        writer.execute("DELETE FROM experts WHERE id > 7", []).unwrap();

        let scan = look.scan(&space()).unwrap();
        assert_eq!((look.hold(scan, &space()).unwrap(), scan.rows), (scan, 7));
        assert_eq!(look.rows(&mut |_| Ok::<_, SourceError>(())).unwrap(), 7);
        look.finish().unwrap();
    }

    #[test]
    fn rows_of_a_quiescent_file_are_those_of_the_scan_or_of_a_newer_one() {
        for (changed, large) in [(false, false), (true, false), (false, true), (true, true)] {
            let folder = tempfile::tempdir().unwrap();
            let (path, writer) = tagged_rows(folder.path(), 1000);
            if large {
                writer.execute_batch("CREATE TABLE other (blob)").unwrap();
                writer
                    .execute("INSERT INTO other VALUES (zeroblob(?1))", [row_buffer::MAX_BUFFER_BYTES])
                    .unwrap();
            }
            let mut look = open_quiescent(&path);
            let scan = look.scan(&space()).unwrap();
            assert!(matches!(look.table, Table::Closed(Some(_))), "nothing is kept of a scan at rest");
            if changed {
                writer.execute("DELETE FROM experts WHERE id > 7", []).unwrap();
            }

            let held = look.hold(scan, &space()).unwrap();

            assert_eq!((scan.rows, held == scan), (1000, !changed), "large: {large}");
            assert_eq!(matches!(look.table, Table::Open(_, None)), large && !changed);
            assert_eq!(look.rows(&mut |_| Ok::<_, SourceError>(())).unwrap(), held.rows);
            look.finish().unwrap();
        }
    }

    #[test]
    fn a_step_that_goes_over_many_rows_to_find_none_can_be_broken_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("experts.db");
        let database = Connection::open(&path).unwrap();
        database.execute_batch(include_str!("../../../data/schema.sql")).unwrap();
        let untagged = "INSERT INTO experts (username)
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n";
        database.execute(untagged, []).unwrap();
        drop(database);
        let rows = |stopped: bool| {
            let stop = Stop::new();
            if stopped {
                stop.request();
            }
            let look = Look::open(&path, &stop).unwrap();
            look.rows(&mut |_| Ok::<_, SourceError>(()))
        };

        assert_eq!(rows(false).unwrap(), 0);
        assert!(matches!(rows(true), Err(SourceError::Stopped)));
    }

    #[test]
    fn what_stands_in_place_of_sqlites_own_files_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("experts.db");
        Connection::open(&path).unwrap().execute_batch(include_str!("../../../data/schema.sql")).unwrap();
        let look = || Look::open(&path, no_stop()).map(drop);
        for suffix in ["-wal", "-shm", "-journal"] {
            let other = sibling(&path, suffix);
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, &other, rustix::fs::FileType::Fifo, mode, 0).unwrap();
            assert!(matches!(look(), Err(SourceError::NotAFile { .. })), "a fifo as {suffix}");
            std::fs::remove_file(&other).unwrap();
            std::os::unix::fs::symlink("/dev/zero", &other).unwrap();
            assert!(matches!(look(), Err(SourceError::NotAFile { .. })), "a link as {suffix}");
            std::fs::remove_file(&other).unwrap();
        }
        look().unwrap();
    }
}
