//! The names and signs in a template's own code, as far as they can be seen without compiling it.
//!
//! `MiniJinja` does not list a name that the template assigns before it reads
//! it, as in `{% set title = title|strip %}`. So a
//! column is read where the code mentions its name at all: one too many costs
//! a read, one too few would be a name without a value.

/// The names and signs within `{{ … }}` and `{% … %}`, without names of filters and fields. A quoted text
/// is one of them, with its quotes.
pub(super) fn symbols(template: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(at) = ["{{", "{%"].iter().filter_map(|open| rest.find(open)).min() {
        let end = if rest[at..].starts_with("{{") { "}}" } else { "%}" };
        rest = code(&rest[at + 2..], end, &mut found);
        found.push(end);
    }
    found
}

/// Adds the names and signs up to `end`, and gives what comes after it.
fn code<'t>(code: &'t str, end: &str, found: &mut Vec<&'t str>) -> &'t str {
    let mut rest = code;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return rest };
        if let Some(after) = rest.strip_prefix(end) {
            return after;
        }
        let length = match first {
            '"' | '\'' => quoted(rest, first),
            _ if is_name(first) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            _ if ["==", "!="].iter().any(|sign| rest.starts_with(sign)) => 2,
            _ => first.len_utf8(),
        };
        let (symbol, after) = rest.split_at(length);
        let names_no_variable = is_name(first) && matches!(found.last(), Some(&("|" | ".")));
        if !names_no_variable {
            found.push(symbol);
        }
        rest = after;
    }
}

/// How long the text in quotes is that begins here.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_code_are_found_and_those_of_text_quotes_and_filters_are_not() {
        let cases: [(&str, &[&str]); 6] = [
            ("plain title", &[]),
            ("title: {{ title|upper }}", &["title", "|", "}}"]),
            (
                "{%- set a = row.b ~ 'c }}' -%} d {{ a }}",
                &["-", "set", "a", "=", "row", ".", "~", "'c }}'", "-", "%}", "a", "}}"],
            ),
            (
                "{% if a != none %}{{ \"x\\\"y\" == b }}",
                &["if", "a", "!=", "none", "%}", "\"x\\\"y\"", "==", "b", "}}"],
            ),
            ("{{ größe_2", &["größe_2", "}}"]),
            ("{{ \"open", &["\"open", "}}"]),
        ];
        for (template, expected) in cases {
            assert_eq!(symbols(template), expected, "{template}");
        }
    }
}
