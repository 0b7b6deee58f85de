//! A table as it is, for the settings that a person would begin with.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::error::SourceError;
use super::failure::classify;
use super::scan::resolve;
use crate::domain::sqlite_uri::uri;

/// What the database says about a table or view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableDescription {
    /// Its columns in order, each with the declared type.
    pub columns: Vec<(String, String)>,
    /// The declared primary key, in its order.
    pub key: Vec<String>,
    /// Whether it is a view, which has no number of a row.
    pub is_view: bool,
}

/// Describes a table or view; nothing is written.
///
/// # Errors
///
/// [`SourceError`] if the database cannot be read, or has no such table.
pub(crate) fn describe(database: &Path, table: &str) -> Result<TableDescription, SourceError> {
    let path = resolve(database)?;
    let failed = |error: rusqlite::Error| classify(&path, &error, "a database that can be read").into_error();
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(uri(&path, "mode=ro&readonly_shm=1"), flags).map_err(failed)?;
    let mut statement = connection
        .prepare("SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid")
        .map_err(failed)?;
    let rows = statement
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?)))
        .map_err(failed)?;
    let rows: Vec<(String, String, i64)> = rows.collect::<Result<_, _>>().map_err(failed)?;
    if rows.is_empty() {
        return Err(SourceError::schema(&path, &format!("no such table: {table}"), &tables(&connection)));
    }
    let kind = "SELECT count(*) FROM sqlite_schema WHERE type = 'view' AND name = ?1 COLLATE NOCASE";
    let views: i64 = connection.query_row(kind, [table], |row| row.get(0)).map_err(failed)?;
    let mut key: Vec<_> = rows.iter().filter(|(_, _, place)| *place > 0).collect();
    key.sort_by_key(|(_, _, place)| *place);
    Ok(TableDescription {
        key: key.into_iter().map(|(name, ..)| name.clone()).collect(),
        columns: rows.into_iter().map(|(name, kind, _)| (name, kind)).collect(),
        is_view: views > 0,
    })
}

/// The tables and views that there are, for a message.
pub(super) fn tables(connection: &Connection) -> String {
    const LISTED: &str = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%' ORDER BY name LIMIT 20";
    let names = connection.prepare(LISTED).and_then(|mut statement| {
        statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
    });
    match names {
        Ok(names) if names.is_empty() => "a table, and the database has none".to_owned(),
        Ok(names) => format!("one of {}", names.join(", ")),
        Err(_) => "a table or view of the database".to_owned(),
    }
}
