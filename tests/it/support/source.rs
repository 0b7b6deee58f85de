//! Our own sources, read as far as a check of style needs it.
//!
//! No parser: comments and quoted texts are told from code, and paths are
//! gathered from `use` and from expressions. That is enough to say who imports
//! whom, and small enough to be believed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const TESTS: &str = "#[cfg(test)]";

/// A file of the repository.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its path from the root of the repository.
    pub path: String,
    /// All of it.
    pub text: String,
}

impl SourceFile {
    /// A file that stands nowhere: a sample for a check.
    pub fn sample(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The modules from the crate's root down to this file; none for `lib.rs` and `main.rs`.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').filter(|name| !["lib", "main"].contains(name)).collect()
    }

    /// Whether it holds nothing but unit tests.
    pub fn is_unit_tests(&self) -> bool {
        self.module().contains(&"tests")
    }

    /// All of it but the unit tests at its foot.
    pub fn without_tests(&self) -> &str {
        let is_foot = |at: &usize| {
            let after = self.text[at + TESTS.len()..].trim_start();
            after.starts_with("mod ") && after.find(['{', ';']).is_some_and(|at| after[at..].starts_with('{'))
        };
        let foot = self.text.match_indices(TESTS).map(|(at, _)| at).find(is_foot);
        &self.text[..foot.unwrap_or(self.text.len())]
    }

    /// The code without comments, quoted texts and unit tests.
    pub fn code(&self) -> String {
        bare(self.without_tests())
    }

    /// Its header: the lines that begin with `//!`, if they are the first.
    pub fn header(&self) -> String {
        let lines: Vec<&str> = self.text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        lines.join("\n")
    }
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository by its path.
#[track_caller]
pub fn file(path: &str) -> SourceFile {
    let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    SourceFile { path: path.to_owned(), text }
}

/// All files below a folder of the repository whose names have this ending, in order.
#[track_caller]
pub fn files(folder: &str, ending: &str) -> Vec<SourceFile> {
    let mut paths = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().is_some_and(|path| path.ends_with(ending)) {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let name = |path: PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    paths.into_iter().map(|path| file(&name(path))).collect()
}

/// The text with comments gone and quoted texts emptied; lines stay where they were.
pub fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_word = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = quoted(rest, in_word).unwrap_or(0);
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (gone, left) = rest.split_at(length);
        if !gone.starts_with("//") && !gone.starts_with("/*") {
            out.push_str("\"\"");
        }
        out.extend(gone.chars().filter(|c| *c == '\n'));
        rest = left;
    }
    out
}

/// The length of the comment or quoted text that `rest` begins with.
fn quoted(rest: &str, in_word: bool) -> Option<usize> {
    let end_of = |from: usize, mark: &str| rest[from..].find(mark).map(|at| from + at + mark.len());
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return end_of(2, "*/").or(Some(rest.len()));
    }
    let prefix = if in_word { "" } else { &rest[..rest.find(|c| c != 'b' && c != 'r').unwrap_or(0)] };
    if ["r", "br"].contains(&prefix) {
        let hashes = rest[prefix.len()..].bytes().take_while(|byte| *byte == b'#').count();
        let opens = prefix.len() + hashes;
        if rest[opens..].starts_with('"') {
            return end_of(opens + 1, &format!("\"{}", "#".repeat(hashes)));
        }
        return None;
    }
    let opens = usize::from(prefix == "b");
    match rest[opens..].chars().next()? {
        '"' => closing(rest, opens + 1, '"'),
        // One character, or an escape, between two quotes; anything else is a lifetime.
        '\'' if rest[opens + 1..].starts_with('\\') => closing(rest, opens + 1, '\''),
        '\'' => {
            let mut after = rest[opens + 1..].chars();
            let one = after.next()?;
            (after.next() == Some('\'')).then_some(opens + 2 + one.len_utf8())
        }
        _ => None,
    }
}

/// Where a text with escapes ends.
fn closing(rest: &str, from: usize, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest[from..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(from + at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

/// Every path in bare code: `a::b::c`, those in braces of a `use` written out.
pub fn paths(code: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("use ") {
        if code[..at].ends_with(is_name) {
            continue;
        }
        if let Some(end) = code[at..].find(';') {
            write_out("", &code[at + 4..at + end], &mut found);
        }
    }
    for word in code.split(|c: char| !is_name(c) && c != ':') {
        let word = word.trim_matches(':');
        if word.contains("::") {
            found.insert(word.to_owned());
        }
    }
    found
}

fn write_out(prefix: &str, tree: &str, found: &mut BTreeSet<String>) {
    for part in split_outside_braces(tree) {
        let part = part.trim();
        if let Some((head, inner)) = part.split_once('{') {
            let inner = inner.trim_end().trim_end_matches('}');
            write_out(&format!("{prefix}{}", head.trim()), inner, found);
        } else if let Some(name) = part.split_whitespace().next() {
            found.insert(format!("{prefix}{name}"));
        }
    }
}

fn split_outside_braces(tree: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&tree[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tree[from..]);
    parts
}

/// Names of all tests in a file.
pub fn test_names(text: &str) -> Vec<String> {
    let code = bare(text);
    let mut names = Vec::new();
    for mark in ["#[test]", "#[tokio::test"] {
        for (at, _) in code.match_indices(mark) {
            let name = code[at..].split_once("fn ").map(|(_, after)| after.split(['(', '<']).next());
            names.extend(name.flatten().map(|name| name.trim().to_owned()));
        }
    }
    names
}

/// A rule that holds has nothing to complain of.
#[track_caller]
pub fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Exactly these complaints, each told by a part of it.
#[track_caller]
pub fn assert_complaints(mut complaints: Vec<String>, expected: &[&str]) {
    complaints.sort();
    let unexpected: Vec<_> =
        complaints.iter().filter(|found| !expected.iter().any(|part| found.contains(part))).collect();
    let missing: Vec<_> =
        expected.iter().filter(|part| !complaints.iter().any(|found| found.contains(**part))).collect();
    assert!(unexpected.is_empty() && missing.is_empty(), "unexpected: {unexpected:?}; missing: {missing:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_quotes_are_told_from_code() {
        let cases = [
            ("a // b::c\nd", "a \nd"),
            ("a /* b\n c */ d", "a \n d"),
            (r#"f("b::c // \" d", e)"#, r#"f("", e)"#),
            (r##"f(r#"a " b"#, br"c")"##, r#"f("", "")"#),
            ("f('\"', '\\'', b'x', 'é')", r#"f("", "", "", "")"#),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("for number in 0..3 {}", "for number in 0..3 {}"),
        ];
        for (text, expected) in cases {
            assert_eq!(bare(text), expected, "{text}");
        }
    }

    #[test]
    fn unit_tests_at_the_foot_are_no_code_and_a_module_of_them_elsewhere_ends_nothing() {
        let foot = SourceFile::sample("src/a.rs", "use b::c;\n#[cfg(test)]\nmod tests {\n use d::e; }");
        let apart = SourceFile::sample("src/a.rs", "#[cfg(test)]\nmod tests;\nmod url;\nfn f() { g::h() }");

        assert_eq!(paths(&foot.code()), BTreeSet::from(["b::c".to_owned()]));
        assert_eq!(paths(&apart.code()), BTreeSet::from(["g::h".to_owned()]));
    }

    #[test]
    fn paths_in_braces_are_written_out() {
        let code = "use a::{self, b::{c, d as e}};\npub use f::g;\nfn h() { i::j(k::L { m: 1 }) }";

        let expected = ["a::self", "a::b::c", "a::b::d", "f::g", "i::j", "k::L"];
        assert!(expected.iter().all(|path| paths(code).contains(*path)), "{:?}", paths(code));
    }

    #[test]
    fn tests_are_found_by_their_mark() {
        let text = "#[test]\nfn a_b_c() {}\n#[tokio::test(start_paused = true)]\nasync fn d_e_f() {}\nfn g() {}\n// #[test]";

        assert_eq!(test_names(text), ["a_b_c", "d_e_f"]);
    }
}
