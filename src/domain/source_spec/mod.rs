//! What the settings say about the source, before the database was asked.
//!
//! The experts are known without asking. For any other source the database
//! gives the names of its columns and the declared key; [`AnySource::resolve`]
//! checks the settings against them and makes the [`SourceRules`] of a scan.

use std::collections::HashSet;
use std::sync::Arc;

use thiserror::Error;

use crate::domain::document::{CHUNK, ChunkSize, DocumentRules, ROW, Template, TemplateRules};
use crate::domain::nearest::closest;
use crate::domain::record::{Column, Kind, RowSource, Schema};
use crate::domain::source_rules::SourceRules;

/// The name that means SQLite's own number of a row.
const ROWID: &str = "rowid";
/// Columns that a message lists.
const MAX_NAMED_COLUMNS: usize = 20;

/// A source as the settings have it.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceSpec {
    /// The table that `ingest.py` read, with its rules.
    Experts,
    Any(AnySource),
}

/// Any table, view or query.
#[derive(Clone, Debug, PartialEq)]
pub struct AnySource {
    pub rows: RowSource,
    /// The columns of the id; empty for the declared key.
    pub id: Vec<String>,
    /// The published columns; empty for all, by their own names.
    pub columns: Vec<ColumnSpec>,
    pub template: Arc<Template>,
    pub chunk: Option<ChunkSpec>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    pub name: String,
    /// Its key in a record, if that is not its name.
    pub key: Option<String>,
    /// Whether it holds JSON text, which stands in the record as JSON.
    pub json: bool,
}

/// Which column is cut into chunks, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkSpec {
    pub column: String,
    pub size: ChunkSize,
}

/// What the database says about the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundColumns {
    /// In the order of the table or query.
    pub names: Vec<String>,
    /// The declared primary key, in its order.
    pub key: Vec<String>,
}

/// Why settings and database do not fit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpecError {
    #[error("{setting} names the column {name:?}, which {source_name} does not have{hint}")]
    NoColumn { setting: &'static str, name: String, source_name: String, hint: String },
    /// SQLite refuses what a setting says, as where there is no such table or function.
    #[error("{setting}: {found}{hint}")]
    Refused { setting: &'static str, found: String, hint: String },
    #[error("{source_name} has two columns named {name:?}; give one an alias")]
    TwoColumns { source_name: String, name: String },
    #[error("two columns would stand under the key {key:?} in the metadata; give one another key or alias")]
    TwoKeys { key: String },
    #[error(
        "{source_name} has a column {name:?}, which is a name of the template's own; give it another key or alias"
    )]
    ReservedColumn { source_name: String, name: String },
    #[error("the key {key:?} is that of the chunk's place in the metadata; give it another key or alias")]
    ReservedKey { key: String },
    #[error(
        "{source_name} has no declared primary key: name what identifies a row in source.id; with \"rowid\", VACUUM may give rows other numbers, and then every row counts as another"
    )]
    NoId { source_name: String },
}

impl SourceSpec {
    /// The table and columns that are expected, for messages about one that is missing.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Experts => {
                let experts = Schema::experts();
                format!("{} with the columns {}", experts.rows.name(), experts.column_names())
            }
            Self::Any(source) => match &source.rows {
                RowSource::Query(_) => "what the settings say in source.query".to_owned(),
                RowSource::Table { name, filter: None } => format!("table {name} of source.table"),
                RowSource::Table { name, .. } => format!("table {name} of source.table, and source.where"),
            },
        }
    }

    /// What a directory of builds belongs to beside the database: the table, or the digest of the query,
    /// and the columns of the id as far as the settings name them.
    #[must_use]
    pub fn claim(&self) -> (String, Vec<String>) {
        match self {
            Self::Experts => ("experts".to_owned(), vec!["id".to_owned()]),
            Self::Any(AnySource { rows: RowSource::Table { name, .. }, id, .. }) => {
                (name.clone(), id.clone())
            }
            Self::Any(AnySource { rows: RowSource::Query(query), id, .. }) => {
                let digest = blake3::hash(query.trim().as_bytes()).to_hex();
                (format!("of the query {}", &digest[..16]), id.clone())
            }
        }
    }
}

impl AnySource {
    /// What messages call the source.
    #[must_use]
    pub fn name(&self) -> String {
        self.rows.name()
    }

    /// Checks the settings against what the database has.
    ///
    /// # Errors
    ///
    /// Each [`SpecError`], in the order of the settings.
    pub fn resolve(&self, found: &FoundColumns) -> Result<SourceRules, Vec<SpecError>> {
        let faults = self.faults(found);
        if faults.is_empty() { self.rules(found).map_err(|error| vec![error]) } else { Err(faults) }
    }

    /// Everything in which the settings do not fit the database.
    fn faults(&self, found: &FoundColumns) -> Vec<SpecError> {
        let source = Found { names: &found.names, source_name: self.name() };
        let mut faults: Vec<_> = source.check_names(self.chunk.is_some()).err().into_iter().collect();
        faults.extend(self.id_columns(&source, found).err());
        let before = faults.len();
        let columns = self.columns.iter().map(|column| source.column("source.columns", &column.name));
        faults.extend(columns.filter_map(Result::err));
        if faults.len() == before {
            faults.extend(self.published(&source).err());
        }
        let chunk = self.chunk.iter().map(|chunk| source.column("document.chunk.column", &chunk.column));
        faults.extend(chunk.filter_map(Result::err));
        faults.extend(self.template_columns(&source).into_iter().filter_map(Result::err));
        faults
    }

    /// The columns that the template names, as the database spells them.
    fn template_columns(&self, source: &Found<'_>) -> Vec<Result<String, SpecError>> {
        let is_function = |name: &String| self.template.has_function(name) && !source.names.contains(name);
        let used = self.template.names();
        let names = used.iter().filter(|name| ![ROW, CHUNK].contains(&name.as_str()) && !is_function(name));
        names.map(|name| source.column("document.template", name)).collect()
    }

    fn rules(&self, found: &FoundColumns) -> Result<SourceRules, SpecError> {
        let source = Found { names: &found.names, source_name: self.name() };
        source.check_names(self.chunk.is_some())?;
        let id = self.id_columns(&source, found)?;
        let mut columns = self.published(&source)?;
        let place_of = |columns: &mut Vec<Column>, name: &str| {
            columns.iter().position(|column| column.name == name).unwrap_or_else(|| {
                columns.push(Column::new(name, None, Kind::Plain));
                columns.len() - 1
            })
        };
        let id = id.iter().map(|name| place_of(&mut columns, name)).collect();
        let chunk = self.chunk.as_ref().map(|chunk| {
            let name = source.column("document.chunk.column", &chunk.column)?;
            Ok((place_of(&mut columns, &name), chunk.size))
        });
        let chunk = chunk.transpose()?;
        let used = self.template.names();
        let has_row = used.iter().any(|name| name == ROW);
        for name in source.names.iter().filter(|name| has_row || self.template.mentions(name)) {
            place_of(&mut columns, name);
        }
        for found in self.template_columns(&source) {
            place_of(&mut columns, &found?);
        }
        let mut schema = Schema { rows: self.rows.clone(), columns, id, digest_input: Vec::new() };
        schema.digest_input = self.digest_input(&schema);
        let document = DocumentRules::Template(TemplateRules::new(&self.template, &schema, chunk));
        Ok(SourceRules { schema, document })
    }

    fn id_columns(&self, source: &Found<'_>, found: &FoundColumns) -> Result<Vec<String>, SpecError> {
        match (self.id.as_slice(), found.key.as_slice()) {
            ([], []) => Err(SpecError::NoId { source_name: source.source_name.clone() }),
            ([], key) => Ok(key.to_vec()),
            (named, _) => named
                .iter()
                .map(|name| match source.column("source.id", name) {
                    // SQLite's own number of a row is not among the columns.
                    Err(_) if name.eq_ignore_ascii_case(ROWID) => Ok(ROWID.to_owned()),
                    found => found,
                })
                .collect(),
        }
    }

    fn published(&self, source: &Found<'_>) -> Result<Vec<Column>, SpecError> {
        let columns: Vec<_> = if self.columns.is_empty() {
            source.names.iter().map(|name| Column::new(name, Some(name), Kind::Plain)).collect()
        } else {
            let column = |spec: &ColumnSpec| {
                let name = source.column("source.columns", &spec.name)?;
                let kind = if spec.json { Kind::Json } else { Kind::Plain };
                Ok(Column::new(&name, Some(spec.key.as_ref().unwrap_or(&spec.name)), kind))
            };
            self.columns.iter().map(column).collect::<Result<_, SpecError>>()?
        };
        let mut keys = HashSet::new();
        for key in columns.iter().filter_map(|column| column.key.as_deref()) {
            if !keys.insert(key) {
                return Err(SpecError::TwoKeys { key: key.to_owned() });
            }
            if self.chunk.is_some() && key == CHUNK {
                return Err(SpecError::ReservedKey { key: key.to_owned() });
            }
        }
        Ok(columns)
    }

    /// The settings that make another content of the same rows.
    fn digest_input(&self, schema: &Schema) -> Vec<u8> {
        let rows = match &self.rows {
            RowSource::Table { name, filter } => ("table", name, filter.as_deref()),
            RowSource::Query(query) => ("query", query, None),
        };
        let id: Vec<_> = schema.id.iter().map(|&at| &schema.columns[at].name).collect();
        let columns: Vec<_> = schema
            .columns
            .iter()
            .filter_map(|column| Some((&column.name, column.key.as_ref()?, column.kind == Kind::Json)))
            .collect();
        let chunk = self.chunk.as_ref().map(|chunk| (&chunk.column, chunk.size.size, chunk.size.overlap));
        serde_json::to_vec(&(rows, id, columns, chunk)).expect("texts and numbers")
    }
}

impl RowSource {
    /// What messages call the source.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Table { name, .. } => format!("table {name}"),
            Self::Query(_) => "source.query".to_owned(),
        }
    }
}

/// The columns that there are.
struct Found<'a> {
    names: &'a [String],
    source_name: String,
}

impl Found<'_> {
    /// The column of this name as the database spells it.
    fn column(&self, setting: &'static str, name: &str) -> Result<String, SpecError> {
        let exact = self.names.iter().find(|found| *found == name);
        let found = exact.or_else(|| self.names.iter().find(|found| found.eq_ignore_ascii_case(name)));
        found.cloned().ok_or_else(|| SpecError::NoColumn {
            setting,
            name: name.to_owned(),
            source_name: self.source_name.clone(),
            hint: self.hint(name),
        })
    }

    fn hint(&self, name: &str) -> String {
        let names: Vec<_> = self.names.iter().map(String::as_str).collect();
        if let Some(near) = closest(name, &names) {
            return format!("; the nearest is {near:?}");
        }
        match names.len().checked_sub(MAX_NAMED_COLUMNS) {
            None | Some(0) => format!("; it has {}", names.join(", ")),
            Some(more) => format!("; it has {} and {more} more", names[..MAX_NAMED_COLUMNS].join(", ")),
        }
    }

    fn check_names(&self, has_chunks: bool) -> Result<(), SpecError> {
        let mut seen = HashSet::new();
        for name in self.names {
            if !seen.insert(name.to_ascii_lowercase()) {
                let source_name = self.source_name.clone();
                return Err(SpecError::TwoColumns { source_name, name: name.clone() });
            }
            if name == ROW || (has_chunks && name == CHUNK) {
                let source_name = self.source_name.clone();
                return Err(SpecError::ReservedColumn { source_name, name: name.clone() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
