//! A record's document text: what is embedded for it.
//!
//! The rules are those of the script whose vectors people already know, to the
//! letter: the same text must give the same hash, or every vector is bought
//! again. `strip` is therefore Python's and not Rust's. A change here is a new
//! [`FORMAT_VERSION`](crate::domain::record::FORMAT_VERSION).
//!
//! A column that holds a number where a text is expected counts as Python's
//! `str` of it, and zero as empty: a loose schema lets a company be the integer
//! 42, and that name is worth more to a search than a refused row. What to do with a record
//! that has no text is [`Record::document`]'s decision.

use std::borrow::Cow;

use crate::domain::python_json::PyFloat;
use crate::domain::record::{Record, Value, column};

/// Appends the document text of `record`, or nothing where there is none.
///
/// Parts are joined by one space, and a part whose columns are empty is left
/// out: `First Last.`, `Title at Company.`, the bio, `Domains: one, two.`
/// Without any part the username stands as it is.
pub fn text(record: &Record<'_>, out: &mut String) {
    let field = |column: usize| stripped(record.values[column]);
    let mut parts = Parts { start: out.len(), out };

    match (&*field(column::FIRST_NAME), &*field(column::LAST_NAME)) {
        ("", "") => {}
        (name, "") | ("", name) => parts.push(&[name, "."]),
        (first, last) => parts.push(&[first, " ", last, "."]),
    }
    match (&*field(column::JOB_TITLE), &*field(column::COMPANY)) {
        ("", "") => {}
        (title, "") => parts.push(&[title, "."]),
        ("", company) => parts.push(&["Works at ", company, "."]),
        (title, company) => parts.push(&[title, " at ", company, "."]),
    }
    match &*field(column::BIO) {
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
        // Neither stripped nor, if it is the number zero, empty: nothing else stands for this row.
        parts.push(&[&printed(record.values[column::USERNAME])]);
    }
}

/// Whether Python's `str.strip` removes `c`: Unicode's `White_Space` and the
/// four information separators, which Rust's `trim` leaves.
#[must_use]
pub fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The parts after `start`, which is where this text begins in a shared buffer.
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
        // Minus zero too: it matches the pattern, and is as false in Python.
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
mod tests {
    use super::*;

    /// First and last name, job title, company, bio, username; then the tags.
    type TextCase<'a> = ([Value<'a>; 6], Option<&'a [&'a str]>);

    const NO: Value<'_> = Value::Null;

    fn t(text: &str) -> Value<'_> {
        Value::Text(text)
    }

    fn text_of(([first, last, title, company, bio, username], tags): TextCase<'_>) -> String {
        let mut values = [Value::Null; 14];
        values[column::ID] = Value::Integer(1);
        values[column::USERNAME] = username;
        values[column::FIRST_NAME] = first;
        values[column::LAST_NAME] = last;
        values[column::JOB_TITLE] = title;
        values[column::COMPANY] = company;
        values[column::BIO] = bio;
        let tags = tags.map(|tags| tags.iter().map(|&tag| tag.to_owned()).collect());
        let mut out = String::new();
        text(&Record { values, tags }, &mut out);
        out
    }

    #[test]
    fn every_part_stands_in_its_place_and_an_empty_one_leaves_no_trace() {
        let cases: [(TextCase<'_>, &str); 18] = [
            (
                (
                    [t("Ada"), t("Byron"), t("Analyst"), t("Engine Co"), t("Writes notes"), t("ada")],
                    Some(&["maths", "code"]),
                ),
                "Ada Byron. Analyst at Engine Co. Writes notes Domains: maths, code.",
            ),
            (([t("Ada"), NO, NO, NO, NO, t("ada")], None), "Ada."),
            (([NO, t("Byron"), NO, NO, NO, t("ada")], None), "Byron."),
            (([t(" Ada "), t("\tde  Byron\n"), NO, NO, NO, NO], None), "Ada de  Byron."),
            (([NO, NO, t("Analyst"), NO, NO, NO], None), "Analyst."),
            (([NO, NO, t("Analyst"), t(" \u{1f}"), NO, NO], None), "Analyst."),
            (([NO, NO, NO, t("Engine Co"), NO, NO], None), "Works at Engine Co."),
            (([NO, NO, t("Analyst"), t("Engine Co."), NO, NO], None), "Analyst at Engine Co.."),
            (([t(""), t(" "), t("\u{3000}"), t("\u{85}"), t(" a\n\nb. "), t("u")], Some(&[])), "a\n\nb."),
            (([NO, NO, NO, NO, NO, t("u")], Some(&["b", " b ", "b", "a, c"])), "Domains: b,  b , b, a, c."),
            (([NO, NO, NO, NO, NO, t("u")], Some(&[""])), "Domains: ."),
            (([NO, NO, NO, NO, NO, t("u")], Some(&[])), "u"),
            (([NO, t(""), t(" "), NO, NO, t(" a b\n")], None), " a b\n"),
            (([NO, NO, NO, NO, NO, t(" ")], None), " "),
            (([NO, NO, NO, NO, NO, t("")], Some(&[])), ""),
            (([NO, NO, NO, NO, NO, NO], None), ""),
            (([t("\0"), t("\u{200b}"), NO, NO, NO, NO], None), "\0 \u{200b}."),
            (([NO, NO, NO, t("\u{feff}"), NO, NO], None), "Works at \u{feff}."),
        ];
        for (row, expected) in cases {
            assert_eq!(text_of(row), expected);
        }
    }

    #[test]
    fn a_number_in_a_text_column_counts_as_its_digits_and_zero_as_empty() {
        let (zero, none, minus) = (Value::Integer(0), Value::Real(0.0), Value::Real(-0.0));
        let cases: [(TextCase<'_>, &str); 4] = [
            (([NO, NO, NO, Value::Integer(42), NO, NO], None), "Works at 42."),
            (([Value::Real(1e16), Value::Real(1.0), NO, NO, Value::Integer(i64::MIN), NO], None), {
                "1e+16 1.0. -9223372036854775808"
            }),
            (([zero, none, minus, zero, none, t("u")], None), "u"),
            (([zero, none, minus, zero, none, zero], None), "0"),
        ];
        for (row, expected) in cases {
            assert_eq!(text_of(row), expected);
        }
    }

    #[test]
    fn the_text_is_appended_and_a_record_without_one_appends_nothing() {
        let mut record = Record { values: [Value::Null; 14], tags: Some(vec!["x".to_owned()]) };
        let mut out = "before".to_owned();
        text(&record, &mut out);
        assert_eq!(out, "beforeDomains: x.");

        record.tags = None;
        text(&record, &mut out);
        assert_eq!(out, "beforeDomains: x.");
    }

    #[test]
    fn what_is_stripped_is_what_python_strips() {
        // Every code point that CPython's `str.strip` removes, in order.
        let python = "\t\n\u{b}\u{c}\r\u{1c}\u{1d}\u{1e}\u{1f} \u{85}\u{a0}\u{1680}\
            \u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\
            \u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";
        let ours: String = ('\0'..=char::MAX).filter(|&c| is_python_space(c)).collect();
        assert_eq!(ours, python);
    }
}
