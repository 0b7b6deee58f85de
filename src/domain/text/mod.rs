//! Text from outside made safe for a terminal or a log, and errors as text.
//!
//! A row, a provider or an operator's command may put anything into a text:
//! line breaks that forge a line, sequences that colour or clear a screen,
//! marks that reverse the reading order. Every function here returns one line
//! in which none of these has an effect; what has one is decided by Unicode's
//! properties. They differ in what they keep of a long text, and in whether
//! white space is kept.

use std::error::Error;

use icu_properties::props::{BidiControl, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// The whole text as it is, with what has an effect escaped, line breaks too.
#[must_use]
pub fn visible(text: &str) -> String {
    text.chars().flat_map(visible_char).collect()
}

/// As [`visible`], for text that is JSON: what has an effect is escaped as JSON has it, so that a program
/// reads the same. The ASCII controls are the printer's.
#[must_use]
pub fn visible_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        if char.is_ascii() || !has_effect(char) {
            out.push(char);
        } else {
            let mut units = [0; 2];
            out.extend(char.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}

/// As [`visible`], for text of several lines: their ends stay.
#[must_use]
pub fn visible_lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// The beginning: at most `max_chars` characters, then `…` if there was more.
///
/// Runs of white space become one space.
#[must_use]
pub fn one_line(text: &str, max_chars: usize) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(max_chars + 1).flat_map(visible_char));
        if line.chars().count() > max_chars {
            return line.chars().take(max_chars).chain(['…']).collect();
        }
    }
    line
}

/// The beginning, as a literal without its quotes: for a key or an id, whose white space means something.
/// Quotes in it stay as they are, as in the id of two columns, which is a JSON array.
#[must_use]
pub fn literal(text: &str, max_chars: usize) -> String {
    let mut literal = String::new();
    for char in text.chars().take(max_chars) {
        match char {
            '"' | '\'' => literal.push(char),
            other => literal.extend(other.escape_debug()),
        }
    }
    literal
}

/// The end: at most `max_bytes` bytes of it, line breaks escaped and outer white space removed.
#[must_use]
pub fn tail(text: &[u8], max_bytes: usize) -> String {
    let end = &text[text.len().saturating_sub(max_bytes)..];
    let end = String::from_utf8_lossy(end);
    let mut line = String::with_capacity(end.len());
    for char in end.trim().chars() {
        match char {
            '"' | '\'' => line.push(char),
            _ => line.extend(char.escape_debug()),
        }
    }
    line
}

/// Why bytes are not the JSON that was expected. The parser's own message may quote them.
#[must_use]
pub fn json_fault(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let what = match error.classify() {
        Category::Syntax | Category::Eof | Category::Io => "no JSON",
        Category::Data => "another value than expected",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

/// An error with its causes, each after a colon. A cause that the text already ends with is not repeated.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    chain(error, |text, cause| text.ends_with(cause))
}

/// As [`error_chain`], but a cause that stands anywhere in the text is not repeated: some layers of a
/// network stack print their cause in the middle of their own message.
#[must_use]
pub fn network_error_chain(error: &dyn Error) -> String {
    chain(error, |text, cause| text.contains(cause))
}

fn chain(error: &dyn Error, has: fn(&str, &str) -> bool) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !has(&text, &message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    visible(&text)
}

/// Letters, digits and signs of any script as they are; what has an effect on a terminal escaped.
fn visible_char(char: char) -> impl Iterator<Item = char> {
    let escaped = has_effect(char).then(|| char.escape_unicode());
    let plain = escaped.is_none().then_some(char);
    escaped.into_iter().flatten().chain(plain)
}

/// Controls, marks of format and direction, and what ends a line or a paragraph.
fn has_effect(char: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    if char.is_ascii() {
        return char.is_ascii_control();
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(char);
    matches!(category, Control | Format | LineSeparator | ParagraphSeparator)
        || CodePointSetData::new::<BidiControl>().contains(char)
}

/// Whether Python's `str.strip` removes `c`: Unicode's `White_Space` and the
/// four information separators, which Rust's `trim` leaves.
#[must_use]
pub fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests;
