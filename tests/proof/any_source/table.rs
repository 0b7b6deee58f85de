//! A table of some random schema, twice: in SQLite, and as the test expects its records and texts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use rusqlite::{Connection, ToSql, params_from_iter};
use tempfile::TempDir;

use crate::support::pass::folder;

/// Few rows and few values, so that copies, swaps and returns are common.
pub const IDS: std::ops::Range<u8> = 0..8;
/// JSON as it is stored, and as it stands in the metadata.
const TAGS: [(Option<&str>, &str); 6] = [
    (None, "null"),
    (Some("[]"), "[]"),
    (Some(r#"["x"]"#), r#"["x"]"#),
    (Some(r#" [ "\u0078" ]"#), r#"["x"]"#),
    (Some(r#"{"b":1e16,"a":[-0,null],"b":true}"#), r#"{"b": true, "a": [0, null]}"#),
    (Some("123456789012345678901"), "123456789012345678901"),
];
/// Code points of a chunk: each word has five, so that it is a chunk of its own.
const CHUNK: usize = 6;
const TEXT_IDS: [&str; 8] = ["a", "B", "c d", "ä", "1", "01", "1.0", "\"q\"\n"];
/// Of these, some are one to the collation and two to the program.
const IDS_NO_CASE: [&str; 8] = ["a", "A", "b", "B", "ä", "Ä", "1", "01"];

/// What identifies a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Key {
    Integer,
    /// SQLite's own number of a row.
    Rowid,
    Text,
    /// Without a declared key, ordered by NOCASE.
    TextNoCase,
    Pair,
    PairWithoutRowid,
    /// Without a declared key, its first column ordered by NOCASE.
    PairNoCase,
}

/// How the rows are named in the settings.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    Table,
    View,
    Query,
}

#[derive(Clone, Copy, Debug)]
pub struct Schema {
    pub key: Key,
    pub shape: Shape,
}

/// What may change between two passes: which template, which columns, and whether rows are cut.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub template: u8,
    pub columns: u8,
    pub chunks: bool,
}

#[derive(Clone, Debug)]
pub enum Edit {
    Insert(u8, Row),
    Delete(u8),
    Title(u8, Option<u8>),
    Body(u8, Vec<u8>),
    Tags(u8, usize),
    Note(u8, u8),
    Publish(u8, bool),
    Swap(u8, u8),
    /// The row is deleted and inserted again, which gives it another place in the file.
    Again(u8),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    title: Option<u8>,
    /// The numbers of its words; none is NULL.
    body: Vec<u8>,
    tags: usize,
    /// A column that is published only where all are.
    note: u8,
    published: bool,
}

/// One entry of metadata and index.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub record: String,
    pub text: String,
}

pub fn edit() -> impl Strategy<Value = Edit> {
    let title = || prop::option::of(0..4_u8);
    let body = || prop::collection::vec(0..6_u8, 0..4);
    let row = (title(), body(), 0..TAGS.len(), any::<bool>()).prop_map(|(title, body, tags, is_draft)| Row {
        title,
        body,
        tags,
        note: 0,
        published: !is_draft || tags > 0,
    });
    prop_oneof![
        4 => (IDS, row).prop_map(|(id, row)| Edit::Insert(id, row)),
        1 => IDS.prop_map(Edit::Delete),
        1 => (IDS, title()).prop_map(|(id, title)| Edit::Title(id, title)),
        2 => (IDS, body()).prop_map(|(id, body)| Edit::Body(id, body)),
        1 => (IDS, 0..TAGS.len()).prop_map(|(id, tags)| Edit::Tags(id, tags)),
        1 => (IDS, 0..3_u8).prop_map(|(id, note)| Edit::Note(id, note)),
        1 => (IDS, any::<bool>()).prop_map(|(id, published)| Edit::Publish(id, published)),
        1 => (IDS, IDS).prop_map(|(one, other)| Edit::Swap(one, other)),
        1 => IDS.prop_map(Edit::Again),
    ]
}

/// The table.
pub struct Table {
    schema: Schema,
    rows: BTreeMap<u8, Row>,
    connection: Connection,
    pub database: PathBuf,
    _folder: TempDir,
}

impl Key {
    /// Its columns, as they are declared, and what follows all columns.
    fn declared(self) -> (&'static str, &'static str) {
        match self {
            Self::Integer => ("id INTEGER PRIMARY KEY", ")"),
            Self::Rowid => ("ignored INT", ")"),
            Self::Text => ("id TEXT PRIMARY KEY", ")"),
            Self::TextNoCase => ("id TEXT COLLATE NOCASE", ")"),
            Self::Pair => ("lang TEXT, n INT", ", PRIMARY KEY (n, lang))"),
            Self::PairWithoutRowid => ("lang TEXT, n INT", ", PRIMARY KEY (n, lang)) WITHOUT ROWID"),
            Self::PairNoCase => ("lang TEXT COLLATE NOCASE, n INT", ")"),
        }
    }

    /// The columns of the id in their order.
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Integer | Self::Text | Self::TextNoCase => &["id"],
            Self::Rowid => &["rowid"],
            Self::Pair | Self::PairWithoutRowid => &["n", "lang"],
            Self::PairNoCase => &["lang", "n"],
        }
    }

    /// The published columns of the id, in the order of the table, with the JSON of their values.
    fn members(self, id: u8) -> Vec<(&'static str, String)> {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        let pair = |lang: &str| vec![("lang", quoted(lang)), ("n", (id / 2).to_string())];
        match self {
            Self::Integer => vec![("id", id.to_string())],
            Self::Rowid => Vec::new(),
            Self::Text => vec![("id", quoted(TEXT_IDS[usize::from(id)]))],
            Self::TextNoCase => vec![("id", quoted(IDS_NO_CASE[usize::from(id)]))],
            Self::Pair | Self::PairWithoutRowid => pair(["en", "DE"][usize::from(id % 2)]),
            Self::PairNoCase => pair(["de", "DE"][usize::from(id % 2)]),
        }
    }

    /// The values of the columns that it writes, by name.
    fn values(self, id: u8) -> Vec<(&'static str, Box<dyn ToSql>)> {
        let text = |text: &'static str| -> Box<dyn ToSql> { Box::new(text) };
        let pair = |lang| vec![("lang", text(lang)), ("n", Box::new(id / 2) as Box<dyn ToSql>)];
        match self {
            Self::Integer => vec![("id", Box::new(id))],
            Self::Rowid => vec![("rowid", Box::new(id))],
            Self::Text => vec![("id", text(TEXT_IDS[usize::from(id)]))],
            Self::TextNoCase => vec![("id", text(IDS_NO_CASE[usize::from(id)]))],
            Self::Pair | Self::PairWithoutRowid => pair(["en", "DE"][usize::from(id % 2)]),
            Self::PairNoCase => pair(["de", "DE"][usize::from(id % 2)]),
        }
    }
}

impl Table {
    pub fn new(schema: Schema) -> Self {
        let folder = folder();
        let database = folder.path().join("any.db");
        let connection = Connection::open(&database).unwrap();
        let (key, end) = schema.key.declared();
        let create = format!(
            "CREATE TABLE t ({key}, title TEXT, body TEXT, tags, note INT, published INT{end};
             CREATE VIEW v AS SELECT {}, * FROM t",
            if schema.key == Key::Rowid { "rowid AS rowid" } else { "1 AS one" }
        );
        connection.execute_batch(&create).unwrap();
        Self { schema, rows: BTreeMap::new(), connection, database, _folder: folder }
    }

    /// The keys of the sections source and document.
    pub fn written(&self, settings: Settings) -> (String, String) {
        let Schema { key, shape } = self.schema;
        let id = format!("id = {:?}\n", key.columns());
        let rows = match shape {
            Shape::Table => format!("table = \"t\"\nwhere = \"published\"\n{id}"),
            Shape::View => format!("table = \"v\"\nwhere = \"published = 1 -- only these\"\n{id}"),
            Shape::Query => {
                let number = if key == Key::Rowid { "rowid AS rowid, " } else { "" };
                format!("query = \"SELECT {number}* FROM t WHERE published\"\n{id}")
            }
        };
        let names = key.members(0).iter().map(|(name, _)| format!("{name:?}, ")).collect::<Vec<_>>().concat();
        let columns = match settings.columns {
            0 => format!("[{names}\"title\", \"tags\", \"note\"]"),
            1 => format!(
                "[{{ name = \"title\", key = \"A title\" }}, {names}{{ name = \"tags\", json = true }}]"
            ),
            _ => format!("[{names}\"body\"]"),
        };
        let body = if settings.chunks { "chunk" } else { "body" };
        let template = match settings.template {
            0 => format!("{{{{ title or '-' }}}}: {{{{ {body} }}}}"),
            1 => format!("{{% set title = title|upper %}}({{{{ title ~ '|' ~ {body} }}}})"),
            _ => format!("text {{{{ {body} }}}}"),
        };
        let chunk = format!("chunk = {{ column = \"body\", size = {CHUNK}, overlap = 0 }}\n");
        let chunk = if settings.chunks { chunk.as_str() } else { "" };
        (format!("{rows}columns = {columns}\n"), format!("template = \"{template}\"\n{chunk}"))
    }

    /// How many rows are indexed.
    pub fn rows_indexed(&self) -> usize {
        self.rows.values().filter(|row| row.published).count()
    }

    /// What index and metadata must hold, in the order that SQLite gives.
    pub fn entries(&self, settings: Settings) -> Vec<Entry> {
        let order = self.schema.key.columns().join(", ");
        let names: Vec<_> = self.schema.key.values(0).into_iter().map(|(name, _)| name).collect();
        let sql = format!("SELECT {} FROM t WHERE published ORDER BY {order}", names.join(", "));
        let mut statement = self.connection.prepare(&sql).unwrap();
        let ids = statement.query_map([], |row| {
            let printed = (0..names.len()).map(|at| row.get_ref(at).map(|value| format!("{value:?}")));
            printed.collect::<Result<Vec<_>, _>>()
        });
        let printed = |id: u8| -> Vec<String> {
            let values = self.schema.key.values(id);
            values.iter().map(|(_, value)| printed_as_stored(value.as_ref())).collect()
        };
        let by_id: BTreeMap<Vec<String>, u8> = self.rows.keys().map(|&id| (printed(id), id)).collect();
        let ids = ids.unwrap().map(|id| by_id[&id.unwrap()]);
        ids.flat_map(|id| self.entries_of(id, &self.rows[&id], settings)).collect()
    }

    fn entries_of(&self, id: u8, row: &Row, settings: Settings) -> Vec<Entry> {
        let quoted =
            |text: Option<&str>| text.map_or("null".to_owned(), |text| serde_json::to_string(text).unwrap());
        let (title, body) = (row.title.map(|title| format!("Title {title}")), row.body());
        let mut members = self.schema.key.members(id);
        let (stored, parsed) = TAGS[row.tags];
        match settings.columns {
            0 => members.extend([
                ("title", quoted(title.as_deref())),
                ("tags", quoted(stored)),
                ("note", row.note.to_string()),
            ]),
            1 => {
                members.insert(0, ("A title", quoted(title.as_deref())));
                members.push(("tags", parsed.to_owned()));
            }
            _ => members.push(("body", quoted(body.as_deref()))),
        }
        let members =
            members.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect::<Vec<_>>().join(", ");
        let text = |part: &str| match settings.template {
            0 => format!("{}: {part}", title.as_deref().unwrap_or("-")),
            1 => format!("({}|{part})", title.as_deref().unwrap_or("").to_uppercase()),
            _ => format!("text {part}"),
        };
        if !settings.chunks {
            let text = text(body.as_deref().unwrap_or(""));
            return vec![Entry { record: format!("{{{members}}}"), text }];
        }
        let of = row.body.len().max(1);
        let chunk = |index: usize| {
            let word = row.body.get(index).map(|&word| self::word(word)).unwrap_or_default();
            let start = index * CHUNK;
            let place = format!(
                "\"index\": {index}, \"of\": {of}, \"start\": {start}, \"end\": {}",
                start + word.len()
            );
            Entry { record: format!("{{{members}, \"chunk\": {{{place}}}}}"), text: text(&word) }
        };
        (0..of).map(chunk).collect()
    }

    /// Applies edits, and commits what they changed in one transaction.
    pub fn change(&mut self, edits: &[Edit]) {
        let before = self.rows.clone();
        let mut again = Vec::new();
        for edit in edits {
            self.apply(edit, &mut again);
        }
        let key = self.schema.key;
        let all = self.connection.transaction().unwrap();
        let condition = |values: &[(&str, Box<dyn ToSql>)]| {
            let terms = values
                .iter()
                .enumerate()
                .map(|(at, (name, _))| format!("{name} COLLATE BINARY IS ?{}", at + 1));
            terms.collect::<Vec<_>>().join(" AND ")
        };
        for (id, _) in before.iter().filter(|(id, row)| self.rows.get(id) != Some(row) || again.contains(*id))
        {
            let values = key.values(*id);
            let sql = format!("DELETE FROM t WHERE {}", condition(&values));
            let deleted = all.execute(&sql, params_from_iter(values.iter().map(|(_, value)| value))).unwrap();
            assert_eq!(deleted, 1, "{sql}");
        }
        for (id, row) in
            self.rows.iter().filter(|(id, row)| before.get(id) != Some(row) || again.contains(*id))
        {
            let mut values = key.values(*id);
            values.push(("title", Box::new(row.title.map(|title| format!("Title {title}")))));
            values.push(("body", Box::new(row.body())));
            values.push(("tags", Box::new(TAGS[row.tags].0)));
            values.push(("note", Box::new(row.note)));
            values.push(("published", Box::new(row.published)));
            let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
            let places = vec!["?"; names.len()].join(", ");
            let sql = format!("INSERT INTO t ({}) VALUES ({places})", names.join(", "));
            all.execute(&sql, params_from_iter(values.iter().map(|(_, value)| value))).unwrap();
        }
        all.commit().unwrap();
    }

    fn apply(&mut self, edit: &Edit, again: &mut Vec<u8>) {
        let rows = &mut self.rows;
        let mut change = |id: u8, change: &dyn Fn(&mut Row)| {
            rows.entry(id).and_modify(change);
        };
        match edit {
            Edit::Title(id, title) => change(*id, &|row| row.title = *title),
            Edit::Body(id, body) => change(*id, &|row| row.body.clone_from(body)),
            Edit::Tags(id, tags) => change(*id, &|row| row.tags = *tags),
            Edit::Note(id, note) => change(*id, &|row| row.note = *note),
            Edit::Publish(id, published) => change(*id, &|row| row.published = *published),
            Edit::Again(id) => again.push(*id),
            Edit::Insert(id, row) => {
                rows.insert(*id, row.clone());
            }
            Edit::Delete(id) => {
                rows.remove(id);
            }
            Edit::Swap(one, other) => {
                if let (Some(first), Some(second)) = (rows.get(one).cloned(), rows.get(other).cloned()) {
                    rows.insert(*one, second);
                    rows.insert(*other, first);
                }
            }
        }
    }
}

impl Row {
    fn body(&self) -> Option<String> {
        let parts: Vec<_> = self.body.iter().map(|&number| word(number)).collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }
}

fn word(number: u8) -> String {
    format!("word{number}")
}

/// A value of an id as rusqlite prints what it reads back.
fn printed_as_stored(value: &dyn ToSql) -> String {
    use rusqlite::types::{ToSqlOutput, Value, ValueRef};
    match value.to_sql().unwrap() {
        ToSqlOutput::Borrowed(value) => format!("{value:?}"),
        ToSqlOutput::Owned(Value::Integer(n)) => format!("{:?}", ValueRef::Integer(n)),
        other => panic!("no value of an id: {other:?}"),
    }
}
