//! A record's document text: what is embedded for it.
//!
//! The rules for experts are those of the script that made the first vectors,
//! to the letter: the same text must give the same hash, or every text is
//! embedded again. `strip` is therefore Python's and not Rust's. A change here
//! is a new [`TEXT_FORMAT`](crate::domain::record::TEXT_FORMAT).
//!
//! A column that holds a number where a text is expected counts as Python's
//! `str` of it, and zero as empty: a loose schema lets a company be the integer
//! 42, and that name is worth more to a search than a refused row.

use std::borrow::Cow;

use crate::domain::python_json::PyFloat;
use crate::domain::record::{Record, RowError, Schema, TextRules, Value, expert};

/// Makes the document text of `record`.
///
/// # Errors
///
/// A [`RowError`] if every part of the text is empty.
pub(crate) fn write(schema: &Schema, record: &Record<'_>, out: &mut String) -> Result<(), RowError> {
    out.clear();
    match schema.text {
        TextRules::Experts => text_of_expert(record, out),
    }
    if out.is_empty() {
        return Err(RowError {
            id: record.id(schema),
            column: schema.columns[expert::USERNAME].name.clone(),
            message: "no document text: name, title, company, bio, tags and username are all empty"
                .to_owned(),
        });
    }
    Ok(())
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
    if let Some([first, others @ ..]) = record.tags.as_deref() {
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

/// Whether Python's `str.strip` removes `c`: Unicode's `White_Space` and the
/// four information separators, which Rust's `trim` leaves.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
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
