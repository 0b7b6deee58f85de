//! A name that the database does not have: which one it has instead.
//!
//! Asked only after SQLite has refused a statement, so that it costs nothing
//! where all is well. Functions and collations are not kept in a database: an
//! application registers its own at each connection, and no other program can
//! know them.

use rusqlite::Connection;

use super::error::SourceError;
use super::failure::SqliteFailure;
use crate::domain::nearest::closest;
use crate::domain::record::quoted;

const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%' ORDER BY name LIMIT 1000";
const FUNCTIONS: &str = "SELECT DISTINCT name FROM pragma_function_list";
const COLLATIONS: &str = "SELECT name FROM pragma_collation_list";
/// Tables whose columns are compared with a name.
const MAX_TABLES: usize = 100;
/// Names that a message lists where none is near.
const MAX_LISTED: usize = 20;

/// What is missing, by the beginning of SQLite's message.
#[derive(Clone, Copy)]
enum MissingName {
    Table,
    Column,
    Function,
    Collation,
}

/// Says with an error about a missing name what the database has instead.
pub(super) fn explain(connection: &Connection, failure: SqliteFailure) -> SqliteFailure {
    match failure {
        SqliteFailure::Final(SourceError::Schema { path, found, expected }) => {
            let found = match hint(connection, &found) {
                Some(hint) => format!("{found}; {hint}"),
                None => found,
            };
            SqliteFailure::Final(SourceError::Schema { path, found, expected })
        }
        other => other,
    }
}

/// What the database has instead of the name that SQLite missed, if anything is to be said.
pub(super) fn hint(connection: &Connection, found: &str) -> Option<String> {
    let (missing, name) = missing_name(found)?;
    let known = match missing {
        MissingName::Table => names(connection, TABLES),
        MissingName::Column => columns(connection),
        MissingName::Function => names(connection, FUNCTIONS),
        MissingName::Collation => names(connection, COLLATIONS),
    };
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    let nearest = closest(name, &known).map(|near| format!("the nearest is {near:?}"));
    match missing {
        MissingName::Table => nearest.or_else(|| Some(listed(&known))),
        MissingName::Column => nearest,
        MissingName::Function | MissingName::Collation => {
            let owner = "known only to the application that registers it, if it is not a typing error";
            Some(nearest.map_or_else(|| owner.to_owned(), |nearest| format!("{nearest}; {owner}")))
        }
    }
}

/// What SQLite missed, and its name without that of a table or database.
fn missing_name(found: &str) -> Option<(MissingName, &str)> {
    let kinds = [
        ("no such table: ", MissingName::Table),
        ("no such column: ", MissingName::Column),
        ("no such function: ", MissingName::Function),
        ("no such collation sequence: ", MissingName::Collation),
    ];
    let (kind, name) = kinds.iter().find_map(|(begin, kind)| Some((*kind, found.strip_prefix(begin)?)))?;
    Some((kind, name.rsplit_once('.').map_or(name, |(_, name)| name)))
}

fn listed(tables: &[&str]) -> String {
    match tables.len().checked_sub(MAX_LISTED) {
        _ if tables.is_empty() => "the database has no table".to_owned(),
        None | Some(0) => format!("the database has {}", tables.join(", ")),
        Some(more) => format!("the database has {} and {more} more", tables[..MAX_LISTED].join(", ")),
    }
}

/// The columns of all tables and views that can be read.
fn columns(connection: &Connection) -> Vec<String> {
    let tables = names(connection, TABLES);
    let statements = tables.iter().take(MAX_TABLES).filter_map(|table| {
        let statement = connection.prepare(&format!("SELECT * FROM {}", quoted(table))).ok()?;
        Some(statement.column_names().map(str::to_owned).collect::<Vec<_>>())
    });
    statements.flatten().collect()
}

/// None where the database does not say: the error itself is what matters.
fn names(connection: &Connection, sql: &str) -> Vec<String> {
    let names = connection.prepare(sql).and_then(|mut statement| {
        statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
    });
    names.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_name_is_answered_with_the_nearest_or_with_what_there_is() {
        let connection = Connection::open_in_memory().unwrap();
        assert_eq!(hint(&connection, "no such table: x").as_deref(), Some("the database has no table"));
        connection
            .execute_batch(
                "CREATE TABLE articles (id INTEGER PRIMARY KEY, title TEXT); CREATE TABLE `my notes` (body);
                 CREATE VIEW broken AS SELECT gone FROM nowhere",
            )
            .unwrap();
        let owner = "known only to the application that registers it";
        let cases = [
            ("no such table: article", Some("the nearest is \"articles\"")),
            ("no such table: main.artikles", Some("the nearest is \"articles\"")),
            ("no such table: people", Some("the database has articles, broken, my notes")),
            ("no such column: titel", Some("the nearest is \"title\"")),
            ("no such column: a.bodi", Some("the nearest is \"body\"")),
            ("no such column: published", None),
            ("no such function: lenght", Some("the nearest is \"length\"; known only to")),
            ("no such function: my_own_function", Some(owner)),
            ("no such collation sequence: NOCASSE", Some("the nearest is \"NOCASE\"; known only to")),
            ("no such collation sequence: german", Some(owner)),
            ("near \"FRM\": syntax error", None),
        ];
        for (found, expected) in cases {
            let hint = hint(&connection, found);
            assert_eq!(hint.is_some(), expected.is_some(), "{found}: {hint:?}");
            assert!(hint.as_deref().unwrap_or_default().contains(expected.unwrap_or_default()), "{hint:?}");
        }
    }
}
