//! Which table is read, which of its columns, and what each of them means.
//!
//! A [`Schema`] is the one place that names the source's table, columns and
//! keys: the SELECT, the order of a [`Row`](super::Row) and the keys of
//! `metadata.json` are made from it. The rules of the document text are named
//! here and written in `document`.

use std::sync::LazyLock;

/// A table of rows that become records.
#[derive(Debug)]
pub struct Schema {
    pub table: String,
    /// The column that identifies a row and orders the index.
    pub id: usize,
    /// In the order of the SELECT and of `metadata.json`.
    pub columns: Vec<Column>,
    /// The SQL condition that an indexed row fulfils.
    pub filter: String,
    pub text: TextRules,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// Its key in a record.
    pub key: String,
    pub kind: Kind,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text or a number, which stands in the record as it is.
    Plain,
    /// JSON text: a list of strings, or `null`. At most one column has this kind.
    Tags,
}

/// Which rules make the document text of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextRules {
    /// Name, title, company, bio and tags of a person, see [`expert`].
    Experts,
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

impl Schema {
    /// The table of people that `tag_experts.py` fills. Rows without tags are not indexed.
    #[must_use]
    pub fn experts() -> &'static Self {
        static EXPERTS: LazyLock<Schema> = LazyLock::new(|| Schema {
            table: "experts".to_owned(),
            id: expert::ID,
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
            .map(|(at, (name, key))| Column {
                name: name.to_owned(),
                key: key.to_owned(),
                kind: if at == expert::TAGS { Kind::Tags } else { Kind::Plain },
            })
            .collect(),
            filter: "tags IS NOT NULL".to_owned(),
            text: TextRules::Experts,
        });
        &EXPERTS
    }

    /// How many values a row has.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The names of the columns, as a list for SQL and for messages.
    #[must_use]
    pub fn column_names(&self) -> String {
        self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The query for the indexed rows, in id order.
    ///
    /// Plain names: SQLite reads a quoted name that it does not know as a text.
    #[must_use]
    pub fn select(&self) -> String {
        let (columns, id) = (self.column_names(), &self.columns[self.id].name);
        format!("SELECT {columns} FROM {} WHERE {} ORDER BY {id}", self.table, self.filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_for_experts_reads_fourteen_columns_of_tagged_rows_in_id_order() {
        assert_eq!(
            Schema::experts().select(),
            "SELECT id, username, first_name, last_name, job_title, company, bio, hourly_rate, currency, \
             profile_url, profile_url_utm, tags, findability_score, category FROM experts \
             WHERE tags IS NOT NULL ORDER BY id"
        );
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
