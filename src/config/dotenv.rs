//! Reads a `.env` file as `python-dotenv` reads it in the usual cases.
//!
//! Written by hand because `ingest.py` read the file with `python-dotenv`, and
//! `dotenvy` differs from it: in escapes within single and double quotes, in
//! quoted keys, in a key without `=` (which removes an earlier value), and in a
//! line that is none of that, which is skipped and reported here but ends its
//! reading. The last of two equal keys counts. `${NAME}` and `${NAME:-default}`
//! are replaced in every value, however it is quoted: by what the environment
//! has, else by what an earlier line sets, else by the default or nothing.
//! `$NAME` is not replaced.

use std::collections::HashMap;
use std::ffi::OsString;

/// What a `.env` file sets, and the lines that are not `KEY=VALUE`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DotEnv {
    pub(super) values: HashMap<String, String>,
    pub(super) unreadable_lines: Vec<usize>,
}

/// A key, and its value where it has one.
type Binding<'a> = (&'a str, Option<String>);

/// Reads the whole text of a `.env` file; `env` is the environment.
pub(super) fn parse(text: &str, env: &dyn Fn(&str) -> Option<OsString>) -> DotEnv {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut values: HashMap<String, Option<String>> = HashMap::new();
    let mut found = DotEnv::default();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let after = if let Some((binding, after)) = statement(rest) {
            if let Some((key, value)) = binding {
                let value = value.map(|value| with_names_replaced(&value, env, &values));
                values.insert(key.to_owned(), value);
            }
            after
        } else {
            found.unreadable_lines.push(line_of(text, rest));
            &rest[line_end(rest)..]
        };
        rest = after.trim_start();
    }
    found.values = values.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    found
}

/// A value with what its names stand for, which is not looked through again.
fn with_names_replaced(
    value: &str,
    env: &dyn Fn(&str) -> Option<OsString>,
    earlier: &HashMap<String, Option<String>>,
) -> String {
    let mut replaced = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, from)) = rest.split_once("${") {
        replaced.push_str(before);
        let Some((name, default, after)) = reference(from) else {
            replaced.push_str("${");
            rest = from;
            continue;
        };
        match (env(name), earlier.get(name)) {
            (Some(value), _) => replaced.push_str(&value.to_string_lossy()),
            // A key without a value is known, and has none: the default does not count.
            (None, Some(value)) => replaced.push_str(value.as_deref().unwrap_or_default()),
            (None, None) => replaced.push_str(default),
        }
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

/// The name and the default of a reference, from after its `${` on, and the text after its `}`.
fn reference(text: &str) -> Option<(&str, &str, &str)> {
    let end = text.find([':', '}'])?;
    let (name, rest) = text.split_at(end);
    if let Some(after) = rest.strip_prefix('}') {
        return Some((name, "", after));
    }
    let (default, after) = rest.strip_prefix(":-")?.split_once('}')?;
    Some((name, default, after))
}

/// One statement from its first character on, and the text after its line; `None` if it is not one.
///
/// A comment sets nothing; a key without `=` removes its value.
fn statement(text: &str) -> Option<(Option<Binding<'_>>, &str)> {
    if text.starts_with('#') {
        return Some((None, &text[line_end(text)..]));
    }
    let (key, rest) = key(without_export(text))?;
    let rest = skip_blanks(rest);
    let Some(after_equals) = rest.strip_prefix('=') else {
        return Some((Some((key, None)), end_of_statement(rest)?));
    };
    let (value, rest) = value(after_equals)?;
    Some((Some((key, Some(value))), end_of_statement(rest)?))
}

fn without_export(text: &str) -> &str {
    text.strip_prefix("export").filter(|rest| rest.starts_with(is_blank)).map_or(text, skip_blanks)
}

fn key(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('\'') {
        return quoted.split_once('\'').filter(|(key, _)| !key.is_empty());
    }
    let end = text.find(|c: char| c == '=' || c == '#' || c.is_whitespace()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn value(after_equals: &str) -> Option<(String, &str)> {
    let text = skip_blanks(after_equals);
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        return quoted(&text[1..], quote);
    }
    // Only a `#` after white space begins a comment. The search begins at the
    // equals sign, so that white space right after it counts.
    let line = &after_equals[..line_end(after_equals)];
    let comment = line
        .char_indices()
        .find(|&(at, c)| c == '#' && line[..at].ends_with(char::is_whitespace))
        .map_or(line.len(), |(at, _)| at);
    Some((line[..comment].trim().to_owned(), &after_equals[line.len()..]))
}

/// The text up to the closing quote, with its escapes resolved.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((value, &text[at + 1..]));
        }
        if c != '\\' {
            value.push(c);
            continue;
        }
        let (_, escaped) = chars.next()?;
        match resolved(escaped, quote) {
            Some(meant) => value.push(meant),
            None => value.extend(['\\', escaped]),
        }
    }
    None
}

fn resolved(escaped: char, quote: char) -> Option<char> {
    match (escaped, quote) {
        ('\\' | '\'', _) => Some(escaped),
        ('"', '"') => Some('"'),
        ('a', '"') => Some('\u{7}'),
        ('b', '"') => Some('\u{8}'),
        ('f', '"') => Some('\u{c}'),
        ('n', '"') => Some('\n'),
        ('r', '"') => Some('\r'),
        ('t', '"') => Some('\t'),
        ('v', '"') => Some('\u{b}'),
        _ => None,
    }
}

/// What follows the line, if nothing but blanks and a comment is left on it.
fn end_of_statement(text: &str) -> Option<&str> {
    let rest = skip_blanks(text);
    let end = line_end(rest);
    (end == 0 || rest.starts_with('#')).then(|| &rest[end..])
}

fn line_end(text: &str) -> usize {
    text.find(['\r', '\n']).unwrap_or(text.len())
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\r' && c != '\n'
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches(is_blank)
}

fn line_of(text: &str, rest: &str) -> usize {
    1 + text[..text.len() - rest.len()].matches('\n').count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_means_what_python_dotenv_takes_it_to_mean() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("A=1", &[("A", "1")]),
            ("export A=1", &[("A", "1")]),
            ("export\tA=1", &[("A", "1")]),
            ("export=1", &[("export", "1")]),
            ("A = 1 ", &[("A", "1")]),
            ("  A=1", &[("A", "1")]),
            ("A='x y' # c", &[("A", "x y")]),
            ("A=\"x\"#c", &[("A", "x")]),
            (r#"A="x\ny""#, &[("A", "x\ny")]),
            (r"A='x\ny'", &[("A", r"x\ny")]),
            (r#"A="a\"b""#, &[("A", "a\"b")]),
            (r"A='a\'b'", &[("A", "a'b")]),
            (r"A='\\'", &[("A", r"\")]),
            (r#"A="x\\y\z\t""#, &[("A", "x\\y\\z\t")]),
            (r#"A="\u00e9\$""#, &[("A", r"\u00e9\$")]),
            (r"A=a\nb", &[("A", r"a\nb")]),
            ("A=x # c", &[("A", "x")]),
            ("A=x\t# c", &[("A", "x")]),
            ("A=x#c", &[("A", "x#c")]),
            ("A=#c", &[("A", "#c")]),
            ("A= # c", &[("A", "")]),
            ("A", &[]),
            ("A=", &[("A", "")]),
            ("A=\nB=2", &[("A", ""), ("B", "2")]),
            ("# c\nA=1", &[("A", "1")]),
            ("A=1\r\nB=2\r\n", &[("A", "1"), ("B", "2")]),
            ("A=1\rB=2", &[("A", "1"), ("B", "2")]),
            ("\u{feff}A=1", &[("A", "1")]),
            ("A=\"x\ny\"\nB=2", &[("A", "x\ny"), ("B", "2")]),
            ("A=1\nA=2", &[("A", "2")]),
            ("A=1\nA", &[]),
            ("A=a=b", &[("A", "a=b")]),
            ("A=x y z", &[("A", "x y z")]),
            ("'A'=1", &[("A", "1")]),
            ("A.b-c=1", &[("A.b-c", "1")]),
            ("A=$HOME-${B}", &[("A", "$HOME-")]),
            ("A=x\u{a0}", &[("A", "x")]),
            ("", &[]),
            ("\n\n", &[]),
        ];
        for (text, expected) in table {
            let found = parse(text, &|_| None);
            let expected = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(found, DotEnv { values: expected, unreadable_lines: Vec::new() }, "{text:?}");
        }
    }

    /// The right-hand side is what `python-dotenv` 1.0 gives for `load_dotenv`.
    #[test]
    fn a_name_in_braces_is_replaced_as_python_dotenv_replaces_it() {
        let env = |name: &str| match name {
            "HOST" => Some("from the environment".into()),
            "EMPTY" => Some("".into()),
            _ => None,
        };
        for (text, expected) in [
            ("D=data\nA=sqlite:///${D}/experts.db", "sqlite:///data/experts.db"),
            ("A=${HOST}", "from the environment"),
            ("HOST=file\nA=${HOST}", "from the environment"),
            ("A=${B}\nB=later", ""),
            ("A=x${B:-y z}", "xy z"),
            ("A=${B:-}", ""),
            ("A=${HOST:-y}", "from the environment"),
            ("A=${EMPTY:-y}", ""),
            ("B\nA=${B:-y}", ""),
            ("B=\nA=${B:-y}", ""),
            ("B=1\nA='${B}'", "1"),
            ("B=1\nA=\"${B}${B}\"", "11"),
            ("B=1\nA=$B", "$B"),
            ("B=1\nA=\\${B}", "\\1"),
            ("B=1\nA=$${B}", "$1"),
            ("B=1\nA=${B", "${B"),
            ("B=1\nA=${B:+x}${B}", "${B:+x}1"),
            ("A=${}x", "x"),
            ("B=1\nA=${${B}}", "}"),
            ("B=\"${HOST}\"\nA=${B}", "from the environment"),
            ("B='$'\nA=${B}{HOST}", "${HOST}"),
        ] {
            assert_eq!(parse(text, &env).values.get("A").map(String::as_str), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn an_unreadable_line_is_reported_and_skipped() {
        for (text, lines, values) in [
            ("A='x\nB=2", vec![1], 1),
            ("A='x'y\nB=2", vec![1], 1),
            ("B=2\n\nA=\"a", vec![3], 1),
            ("=1", vec![1], 0),
            ("export =1", vec![1], 0),
            ("A B=1", vec![1], 0),
            ("A='it''s'\r\nB=1\r\n?='", vec![1, 3], 1),
            (r#"A="\"#, vec![1], 0),
            ("''=1", vec![1], 0),
        ] {
            let found = parse(text, &|_| None);
            assert_eq!(found.unreadable_lines, lines, "{text:?}");
            assert_eq!(found.values.len(), values, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_quoted_value_is_read_as_it_is_whatever_stands_around(
            value in "[^'\\\\\0$]{0,20}",
            before in "([A-Z]{1,3}=[a-z0-9 ]{0,5}\n|# [^\n\r]{0,9}\n|\n){0,3}",
        ) {
            let found = parse(&format!("{before}KEY_OF_OURS='{value}'\nLAST=1"), &|_| None);
            prop_assert_eq!(found.values.get("KEY_OF_OURS"), Some(&value));
            prop_assert_eq!(found.values.get("LAST").map(String::as_str), Some("1"));
        }

        #[test]
        fn no_text_makes_the_reader_panic_or_name_a_line_that_is_not_there(
            text in "[A-C='\"#\\\\ \n\r\t\u{e9}\u{a0}x]{0,40}|.{0,40}",
        ) {
            let found = parse(&text, &|_| None);
            let lines = 1 + text.matches('\n').count();
            prop_assert!(found.unreadable_lines.iter().all(|line| (1..=lines).contains(line)));
        }
    }
}
