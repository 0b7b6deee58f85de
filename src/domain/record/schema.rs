//! Which rows are read, which of their columns, and what each of them means.
//!
//! A [`Schema`] is the one place that names the source's table, columns and
//! keys: the SELECT, the order of a [`Row`](super::Row) and the keys of
//! `metadata.json` are made from it. For the experts it is known, for any other
//! source it is made of the settings and the names that the database gives,
//! in `source_spec`. The rules of the document text are `document`'s.

use crate::domain::python_json::write_text;

/// The rows that become records, and their columns.
#[derive(Debug, PartialEq)]
pub struct Schema {
    pub rows: RowSource,
    /// In the order of the SELECT; those with a key in the order of `metadata.json`.
    pub columns: Vec<Column>,
    /// Where the columns stand that identify a row and order the index; at least one.
    pub id: Vec<usize>,
    /// What makes this schema another one, in bytes; empty for the experts.
    pub digest_input: Vec<u8>,
}

/// Where rows come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowSource {
    /// A table or a view, and the SQL condition that an indexed row fulfils.
    Table { name: String, filter: Option<String> },
    /// A SELECT.
    Query(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    /// Its key in a record; `None` for a column that only id or text need.
    pub key: Option<String>,
    /// The key as it begins a member of the record.
    label: Vec<u8>,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text or a number, which stands in the record as it is.
    Plain,
    /// JSON text: a list of strings, or `null`.
    Tags,
    /// Any JSON text, or a number, which stands in the record as JSON.
    Json,
}

/// Where the columns that the rules for experts use stand in [`Schema::experts`].
pub(crate) mod expert {
    pub(crate) const ID: usize = 0;
    /// Stands in for a row that has no other text.
    pub(crate) const USERNAME: usize = 1;
    pub(crate) const FIRST_NAME: usize = 2;
    pub(crate) const LAST_NAME: usize = 3;
    pub(crate) const JOB_TITLE: usize = 4;
    pub(crate) const COMPANY: usize = 5;
    pub(crate) const BIO: usize = 6;
    pub(crate) const TAGS: usize = 11;
}

impl Column {
    #[must_use]
    pub fn new(name: &str, key: Option<&str>, kind: Kind) -> Self {
        let mut label = Vec::new();
        if let Some(key) = key {
            write_text(key, &mut label);
            label.extend_from_slice(b": ");
        }
        Self { name: name.to_owned(), kind, key: key.map(str::to_owned), label }
    }

    /// Whether its values are parsed, and stand beside those of the record.
    pub(crate) fn is_parsed(&self) -> bool {
        self.kind != Kind::Plain
    }

    /// The key with its colon, as JSON; `None` for a column that is not published.
    pub(crate) fn label(&self) -> Option<&[u8]> {
        self.key.as_ref().map(|_| self.label.as_slice())
    }
}

impl Schema {
    /// The table of people that `tag_experts.py` fills. Rows without tags are not indexed.
    #[must_use]
    pub fn experts() -> Self {
        Self {
            rows: RowSource::Table {
                name: "experts".to_owned(),
                filter: Some("tags IS NOT NULL".to_owned()),
            },
            id: vec![expert::ID],
            columns: [
                ("id", "id"),
                ("username", "username"),
                ("first_name", "First Name"),
                ("last_name", "Last Name"),
                ("job_title", "Job Title"),
                ("company", "Company"),
                ("bio", "Bio"),
                ("hourly_rate", "Hourly Rate"),
                ("currency", "Currency"),
                ("profile_url", "Profile URL"),
                ("profile_url_utm", "Profile URL with UTM"),
                ("tags", "tags"),
                ("findability_score", "findability_score"),
                ("category", "category"),
            ]
            .into_iter()
            .enumerate()
            .map(|(at, (name, key))| {
                Column::new(name, Some(key), if at == expert::TAGS { Kind::Tags } else { Kind::Plain })
            })
            .collect(),
            digest_input: Vec::new(),
        }
    }

    /// Whether this is the table of [`Schema::experts`].
    pub(crate) fn is_experts(&self) -> bool {
        self.digest_input.is_empty()
    }

    /// How many values a row has.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The names of the columns, as a list for messages.
    #[must_use]
    pub fn column_names(&self) -> String {
        self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The columns of the id, as a list for messages.
    #[must_use]
    pub fn id_names(&self) -> String {
        self.id.iter().map(|&at| self.columns[at].name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The query for the indexed rows, in id order.
    ///
    /// Names are quoted by backticks: SQLite reads a name in double quotes that it does not know as a text.
    /// Condition and query stand on lines of their own, so that a comment ends where they do.
    #[must_use]
    pub fn select(&self) -> String {
        let list = |at: &mut dyn Iterator<Item = &Column>| {
            at.map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
        };
        let columns = list(&mut self.columns.iter());
        let id = list(&mut self.id.iter().map(|&at| &self.columns[at]));
        let rows = match &self.rows {
            RowSource::Table { name, filter: None } => quoted(name),
            RowSource::Table { name, filter: Some(filter) } => {
                format!("{} WHERE (\n{filter}\n)", quoted(name))
            }
            RowSource::Query(query) => format!("(\n{query}\n)"),
        };
        format!("SELECT {columns} FROM {rows} ORDER BY {id}")
    }
}

/// A name as SQL takes it for nothing else.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_for_experts_reads_fourteen_columns_of_tagged_rows_in_id_order() {
        assert_eq!(
            Schema::experts().select().replace('`', ""),
            "SELECT id, username, first_name, last_name, job_title, company, bio, hourly_rate, currency, \
             profile_url, profile_url_utm, tags, findability_score, category FROM experts \
             WHERE (\ntags IS NOT NULL\n) ORDER BY id"
        );
    }

    #[test]
    fn the_query_quotes_every_name_and_ends_every_comment() {
        let schema = |rows| Schema {
            rows,
            columns: vec![
                Column::new("a`b", None, Kind::Plain),
                Column::new("select", Some("s"), Kind::Json),
            ],
            id: vec![1, 0],
            digest_input: Vec::new(),
        };
        let table = |filter: Option<&str>| RowSource::Table {
            name: "my table".to_owned(),
            filter: filter.map(str::to_owned),
        };
        let cases = [
            (table(None), "`my table`"),
            (table(Some("x = 1 -- why")), "`my table` WHERE (\nx = 1 -- why\n)"),
            (RowSource::Query("SELECT 1 -- why".to_owned()), "(\nSELECT 1 -- why\n)"),
        ];
        for (rows, from) in cases {
            let expected = format!("SELECT `a``b`, `select` FROM {from} ORDER BY `select`, `a``b`");
            assert_eq!(schema(rows).select(), expected);
        }
    }

    #[test]
    fn the_columns_of_the_text_rules_stand_where_they_are_said_to() {
        let schema = Schema::experts();
        let cases = [
            (expert::ID, "id"),
            (expert::USERNAME, "username"),
            (expert::FIRST_NAME, "first_name"),
            (expert::LAST_NAME, "last_name"),
            (expert::JOB_TITLE, "job_title"),
            (expert::COMPANY, "company"),
            (expert::BIO, "bio"),
            (expert::TAGS, "tags"),
        ];
        for (at, name) in cases {
            assert_eq!(schema.columns[at].name, name);
        }
        let tags: Vec<_> = schema.columns.iter().filter(|column| column.kind == Kind::Tags).collect();
        assert_eq!(tags, [&schema.columns[expert::TAGS]]);
    }
}
