//! A record's document text: what is embedded for it, or for each chunk of it.
//!
//! The rules for experts are those of the script that made the first vectors,
//! to the letter: the same text must give the same hash, or every text is
//! embedded again. `strip` is therefore Python's and not Rust's. A change here
//! is a new [`TEXT_FORMAT`](crate::domain::record::TEXT_FORMAT). Any other source
//! has a [`template`], and may be cut into [`chunks`].
//!
//! A column of experts that holds a number where a text is expected counts as
//! Python's `str` of it, and zero as empty: a loose schema lets a company be the
//! integer 42, and that name is worth more to a search than a refused row.

mod chunks;
mod template;
mod template_code;
mod variables;

use std::borrow::Cow;
use std::sync::Arc;

use crate::domain::python_json::PyFloat;
use crate::domain::record::{ChunkPlace, Record, Schema, Value, expert};
use crate::domain::text::is_python_space;
pub(crate) use chunks::ChunkSize;
pub(crate) use template::Template;
pub(crate) use variables::{CHUNK, ROW};
use variables::{ColumnNames, TextVariables};

/// How the texts of a record are made.
#[derive(Clone, Debug, PartialEq)]
pub enum DocumentRules {
    /// Name, title, company, bio and tags of a person, see [`expert`].
    Experts,
    Template(TemplateRules),
}

/// A template, with what it is given.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateRules {
    template: Arc<Template>,
    /// The names of the schema's columns.
    names: Arc<ColumnNames>,
    /// The column that is cut, if rows are.
    chunk: Option<(usize, ChunkSize)>,
}

/// Receives each text, which it may cut, with the place of its chunk.
pub(crate) type TextSink<'t> = dyn FnMut(&mut String, Option<ChunkPlace>) -> Result<(), UnfitText> + 't;

/// Why a record has no document text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnfitText {
    /// The column that is named for it, or the setting.
    pub(crate) column: String,
    pub(crate) message: String,
}

impl TemplateRules {
    /// `chunk`: where the column stands that is cut, and into what.
    #[must_use]
    pub fn new(template: &Arc<Template>, schema: &Schema, chunk: Option<(usize, ChunkSize)>) -> Self {
        let names: Vec<_> = schema.columns.iter().map(|column| column.name.clone()).collect();
        let names = ColumnNames::new(&names, template.variables(), |name| template.mentions(name));
        Self { template: Arc::clone(template), names, chunk }
    }

    pub(super) fn template(&self) -> &Template {
        &self.template
    }

    /// Where the column stands that is cut, and into what.
    pub(super) fn chunk(&self) -> Option<(usize, ChunkSize)> {
        self.chunk
    }
}

/// Makes the texts of `record`: one, or one for each chunk, with its place.
///
/// `text` is a buffer, reused from record to record.
///
/// # Errors
///
/// [`UnfitText`] if a text is empty or cannot be made, or what `each` fails with; it may have had some
/// before.
pub(crate) fn write(
    rules: &DocumentRules,
    schema: &Schema,
    record: &Record<'_>,
    text: &mut String,
    each: &mut TextSink<'_>,
) -> Result<(), UnfitText> {
    match rules {
        DocumentRules::Experts => {
            text.clear();
            text_of_expert(record, text);
            if text.is_empty() {
                return Err(UnfitText {
                    column: schema.columns[expert::USERNAME].name.clone(),
                    message: "no document text: name, title, company, bio, tags and username are all empty"
                        .to_owned(),
                });
            }
            each(text, None)
        }
        DocumentRules::Template(rules) => rules.write(schema, record, text, each),
    }
}

impl TemplateRules {
    fn write(
        &self,
        schema: &Schema,
        record: &Record<'_>,
        text: &mut String,
        each: &mut TextSink<'_>,
    ) -> Result<(), UnfitText> {
        let values = variables::variables(&self.names, schema, record);
        let mut render = |chunk: Option<&str>, place: Option<ChunkPlace>| {
            text.clear();
            let unfit = |message| UnfitText { column: template::SETTING.to_owned(), message };
            let variables = TextVariables::new(&self.names, Arc::clone(&values), chunk);
            self.template.render(variables, text).map_err(unfit)?;
            if text.trim_matches(is_python_space).is_empty() {
                return Err(unfit(
                    "no document text: what the template makes of this row is empty".to_owned(),
                ));
            }
            each(text, place)
        };
        let Some((column, size)) = self.chunk else { return render(None, None) };
        let whole = printed(record.values[column]);
        let chunks = chunks::split(&whole, size);
        let of = chunks.len();
        for (index, chunk) in chunks.iter().enumerate() {
            let place = ChunkPlace { index, of, start: chunk.start, end: chunk.end };
            render(Some(chunk.text), Some(place))?;
        }
        Ok(())
    }
}

/// Appends the document text of a person, or nothing if there is none.
///
/// Parts are joined by one space, and a part whose columns are empty is
/// omitted: `First Last.`, `Title at Company.`, the bio, `Domains: one, two.`
/// Without any part the username stands as it is.
fn text_of_expert(record: &Record<'_>, out: &mut String) {
    let field = |column: usize| stripped(record.values[column]);
    let mut parts = Parts { start: out.len(), out };

    match (&*field(expert::FIRST_NAME), &*field(expert::LAST_NAME)) {
        ("", "") => {}
        (name, "") | ("", name) => parts.push(&[name, "."]),
        (first, last) => parts.push(&[first, " ", last, "."]),
    }
    match (&*field(expert::JOB_TITLE), &*field(expert::COMPANY)) {
        ("", "") => {}
        (title, "") => parts.push(&[title, "."]),
        ("", company) => parts.push(&["Works at ", company, "."]),
        (title, company) => parts.push(&[title, " at ", company, "."]),
    }
    match &*field(expert::BIO) {
        "" => {}
        bio => parts.push(&[bio]),
    }
    if let Some([first, others @ ..]) = record.tags() {
        parts.push(&["Domains: ", first]);
        for tag in others {
            parts.extend(&[", ", tag]);
        }
        parts.extend(&["."]);
    }
    if parts.is_empty() {
        // Not stripped, and the number zero is not empty: nothing else stands for this row.
        parts.push(&[&printed(record.values[expert::USERNAME])]);
    }
}

/// The parts of a text that begins at `start` of a buffer.
struct Parts<'a> {
    start: usize,
    out: &'a mut String,
}

impl Parts<'_> {
    fn is_empty(&self) -> bool {
        self.out.len() == self.start
    }

    fn push(&mut self, pieces: &[&str]) {
        if !self.is_empty() {
            self.out.push(' ');
        }
        self.extend(pieces);
    }

    fn extend(&mut self, pieces: &[&str]) {
        self.out.extend(pieces.iter().copied());
    }
}

/// A column as it goes into a part: `(value or "").strip()`.
fn stripped(value: Value<'_>) -> Cow<'_, str> {
    match value {
        // Minus zero too: it matches the pattern, and Python also counts it as false.
        Value::Integer(0) | Value::Real(0.0) => Cow::Borrowed(""),
        Value::Text(text) => Cow::Borrowed(text.trim_matches(is_python_space)),
        other => printed(other),
    }
}

/// A column as Python's `str` prints it; NULL is empty.
fn printed(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::Integer(n) => Cow::Owned(n.to_string()),
        Value::Real(x) => Cow::Owned(PyFloat(x).to_string()),
        Value::Text(text) => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests;
