//! What the database says about the source of the settings: its columns and its key.
//!
//! The settings alone are checked before, against no database: what writes, or
//! is several statements, is refused. Which columns there are only the database
//! can say.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::error::SourceError;
use super::failure::SqliteFailure;
use super::missing_names;
use crate::domain::record::{RowSource, quoted};
use crate::domain::source_rules::SourceRules;
use crate::domain::source_spec::{AnySource, FoundColumns, SourceSpec, SpecError};

/// The rules of a source, as the settings have it and the database allows.
pub(super) fn rules(
    connection: &Connection,
    path: &Path,
    spec: &SourceSpec,
    failed: &dyn Fn(rusqlite::Error) -> SqliteFailure,
) -> Result<Arc<SourceRules>, SqliteFailure> {
    let source = match spec {
        SourceSpec::Experts => return Ok(SourceRules::experts()),
        SourceSpec::Any(source) => source,
    };
    let settings = |errors| SqliteFailure::Final(SourceError::Settings { path: path.to_owned(), errors });
    let refused = |setting, error| match failed(error) {
        SqliteFailure::Final(SourceError::Schema { found, .. }) => {
            let hint =
                missing_names::hint(connection, &found).map(|hint| format!("; {hint}")).unwrap_or_default();
            Ok(SpecError::Refused { setting, found, hint })
        }
        other => Err(other),
    };
    let (columns, filter) = match &source.rows {
        RowSource::Table { name, filter } => {
            let filter = filter.as_ref();
            let select = filter.map(|filter| format!("SELECT 1 FROM {} WHERE (\n{filter}\n)", quoted(name)));
            ("source.table", select)
        }
        RowSource::Query(_) => ("source.query", None),
    };
    let found = match find_columns(connection, source) {
        Ok(found) => found,
        Err(error) => return Err(settings(vec![refused(columns, error)?])),
    };
    let filtered = filter.and_then(|select| connection.prepare(&select).err());
    let filtered = filtered.map(|error| refused("source.where", error)).transpose()?;
    match (source.resolve(&found), filtered) {
        (Ok(rules), None) => Ok(Arc::new(rules)),
        (rules, filtered) => {
            Err(settings(rules.err().unwrap_or_default().into_iter().chain(filtered).collect()))
        }
    }
}

/// Asks an open database for the columns of a source.
///
/// # Errors
///
/// SQLite's, as where there is no such table.
pub(super) fn find_columns(connection: &Connection, source: &AnySource) -> rusqlite::Result<FoundColumns> {
    let (select, key) = match &source.rows {
        RowSource::Table { name, .. } => {
            (format!("SELECT * FROM {}", quoted(name)), declared_key(connection, name)?)
        }
        // Not as a part of another one, where SQLite gives the second of two equal names another.
        RowSource::Query(query) => (query.clone(), Vec::new()),
    };
    let statement = connection.prepare(&select)?;
    let names = statement.column_names().map(str::to_owned).collect();
    Ok(FoundColumns { names, key })
}

/// The columns of a table's primary key, in its order; none of a view.
fn declared_key(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement =
        connection.prepare("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk")?;
    let names = statement.query_map([table], |row| row.get(0))?;
    names.collect()
}

/// Checks what the settings alone can contradict, without any table.
///
/// # Errors
///
/// The setting and what SQLite says about it.
pub(crate) fn check_sql(source: &AnySource) -> Result<(), (&'static str, String)> {
    let (setting, statements) = match &source.rows {
        RowSource::Table { filter: None, .. } => return Ok(()),
        // Both must be one expression: the one alone lets `1) …` through, the other `1 LIMIT 2`.
        RowSource::Table { filter: Some(filter), .. } => {
            ("source.where", vec![format!("SELECT (\n{filter}\n)"), format!("SELECT 1 WHERE\n{filter}\n")])
        }
        RowSource::Query(query) => {
            ("source.query", vec![format!("SELECT * FROM (\n{query}\n)"), query.clone()])
        }
    };
    let found_by_sqlite = |error: &rusqlite::Error| match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    };
    let mut connection = Connection::open_in_memory().map_err(|error| (setting, found_by_sqlite(&error)))?;
    super::authorize::allow_only_reading(&mut connection)
        .map_err(|error| (setting, found_by_sqlite(&error)))?;
    for statement in statements {
        match connection.prepare(&statement) {
            Ok(statement) if statement.readonly() && statement.column_count() > 0 => {}
            Ok(_) => return Err((setting, "it gives no rows to read".to_owned())),
            Err(error) => {
                let found = found_by_sqlite(&error);
                if is_about_database(&found) {
                    continue;
                }
                return Err((setting, found));
            }
        }
    }
    Ok(())
}

/// Whether only a database can say whether this is wrong.
fn is_about_database(found: &str) -> bool {
    found.starts_with("no such ") || found.starts_with("unknown database")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::document::Template;

    fn source(rows: RowSource) -> AnySource {
        let template = Arc::new(Template::compile("x").unwrap());
        AnySource { rows, id: Vec::new(), columns: Vec::new(), template, chunk: None }
    }

    fn query(sql: &str) -> AnySource {
        source(RowSource::Query(sql.to_owned()))
    }

    fn filter(sql: &str) -> AnySource {
        source(RowSource::Table { name: "t".to_owned(), filter: Some(sql.to_owned()) })
    }

    #[test]
    fn what_is_not_one_select_is_refused_without_a_database() {
        for sql in [
            "SELECT a FROM t",
            "SELECT a FROM t -- why",
            "WITH x AS (SELECT 1 AS a) SELECT a FROM x",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
            "SELECT my_function(a) FROM t",
            "VALUES (1, 2)",
            "SELECT value FROM json_each('[1]')",
        ] {
            assert_eq!(check_sql(&query(sql)), Ok(()), "{sql}");
        }
        for sql in [
            "",
            "DELETE FROM t",
            "SELECT 1; SELECT 2",
            "SELECT 1;",
            "ATTACH 'x' AS y",
            "PRAGMA user_version = 1",
            "VACUUM",
            "REINDEX",
            "ANALYZE",
            "END",
            "EXPLAIN SELECT 1",
            "WITH x AS (SELECT 1) DELETE FROM t",
            "SELECT 1) UNION SELECT (2",
            "SELECT random() AS a",
            "SELECT RandomBlob(3)",
            "SELECT load_extension('x')",
            "SELECT last_insert_rowid()",
            "SELECT a FRM t",
        ] {
            let found = check_sql(&query(sql));
            assert!(matches!(found, Err(("source.query", _))), "{sql}: {found:?}");
        }
        for sql in ["a = 1", "a IN (SELECT b FROM u)", "published -- yes", "a LIKE 'x)%'"] {
            assert_eq!(check_sql(&filter(sql)), Ok(()), "{sql}");
        }
        for sql in ["", "1) UNION SELECT (2", "1 LIMIT 2", "1 ORDER BY a", "1; DELETE FROM t", "1 /*", "a ="]
        {
            let found = check_sql(&filter(sql));
            assert!(matches!(found, Err(("source.where", _))), "{sql}: {found:?}");
        }
    }

    #[test]
    fn columns_and_key_are_those_of_the_database() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE plain (id INTEGER PRIMARY KEY, `a b` TEXT, c AS (id + 1));
                 CREATE TABLE pairs (slug TEXT, lang TEXT, PRIMARY KEY (lang, slug)) WITHOUT ROWID;
                 CREATE TABLE bare (x);
                 CREATE VIEW looks AS SELECT x, 2 AS `select` FROM bare;
                 CREATE VIRTUAL TABLE notes USING fts5(title, body);",
            )
            .unwrap();
        let table = |name: &str| source(RowSource::Table { name: name.to_owned(), filter: None });
        let cases = [
            (table("plain"), vec!["id", "a b", "c"], vec!["id"]),
            (table("pairs"), vec!["slug", "lang"], vec!["lang", "slug"]),
            (table("bare"), vec!["x"], vec![]),
            (table("looks"), vec!["x", "select"], vec![]),
            (table("notes"), vec!["title", "body"], vec![]),
            (query("SELECT id, `a b` AS name FROM plain -- all"), vec!["id", "name"], vec![]),
        ];
        for (source, names, key) in cases {
            let found = find_columns(&connection, &source).unwrap();
            assert_eq!((found.names, found.key), (own(&names), own(&key)), "{}", source.name());
        }
        let missing = find_columns(&connection, &table("article")).unwrap_err().to_string();
        assert!(missing.contains("no such table: article"), "{missing}");
    }

    fn own(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_connection_that_may_only_read_does_nothing_else() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (a); INSERT INTO t VALUES (1); CREATE VIRTUAL TABLE f USING fts5(x);
            INSERT INTO f VALUES ('some text')",
            )
            .unwrap();
        super::super::authorize::allow_only_reading(&mut connection).unwrap();
        for allowed in
            ["SELECT a FROM t", "SELECT x FROM f WHERE f MATCH 'text'", "SELECT upper('x'), count(*) FROM t"]
        {
            assert_eq!(connection.query_row(allowed, [], |_| Ok(())), Ok(()), "{allowed}");
        }
        for refused in [
            "INSERT INTO t VALUES (2)",
            "DROP TABLE t",
            "ATTACH ':memory:' AS other",
            "PRAGMA user_version",
            "CREATE TEMP TABLE x (a)",
            "SELECT random()",
            "BEGIN",
        ] {
            let found = connection.execute_batch(refused).unwrap_err().to_string();
            assert!(found.contains("not authorized"), "{refused}: {found}");
        }
    }
}
