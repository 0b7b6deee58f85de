//! Reads the repository's own sources for the checks of layers, style and words.
//!
//! This is not a parser: it separates code, comments and quoted texts, and
//! collects paths from `use` and from expressions. That is enough to see which
//! file imports which, and small enough to trust. It also holds the comparison
//! with a shrinking list, for rules that old files do not follow yet.

use std::collections::{BTreeMap, BTreeSet};
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
    /// A file that does not exist: a sample for a check.
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

/// The root of the repository.
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

/// The program's own sources.
pub fn program() -> Vec<SourceFile> {
    files("src", ".rs")
}

/// These, the tests' and the benches'.
pub fn all_rust() -> Vec<SourceFile> {
    [program(), files("tests/it", ".rs"), files("tests/proof", ".rs"), files("benches", ".rs")].concat()
}

/// The texts that people read: those that exist.
pub fn documents() -> Vec<SourceFile> {
    let named = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "tests/README.md"];
    let named = named.into_iter().filter(|path| root().join(path).exists()).map(file).collect();
    let folder = if root().join("docs").exists() { files("docs", ".md") } else { Vec::new() };
    [named, folder].concat()
}

/// What a piece of a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Code,
    /// From `//` to the end of the line, or from `/*` to `*/`.
    Comment,
    /// A text or character with its quotes.
    Quoted,
}

/// The whole text in pieces, in order.
pub fn parts(text: &str) -> Vec<(Part, &str)> {
    let mut found = Vec::new();
    let (mut code, mut at) = (0, 0);
    while let Some(first) = text[at..].chars().next() {
        let in_word = text[code..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let Some(length) = quoted(&text[at..], in_word) else {
            at += first.len_utf8();
            continue;
        };
        let piece = &text[at..at + length];
        let is_comment = piece.starts_with("//") || piece.starts_with("/*");
        found.push((Part::Code, &text[code..at]));
        found.push((if is_comment { Part::Comment } else { Part::Quoted }, piece));
        at += length;
        code = at;
    }
    found.push((Part::Code, &text[code..]));
    found.retain(|(_, piece)| !piece.is_empty());
    found
}

/// The text without comments and with quoted texts emptied; lines stay where they were.
pub fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (part, piece) in parts(text) {
        match part {
            Part::Code => out.push_str(piece),
            Part::Quoted => out.push_str("\"\""),
            Part::Comment => {}
        }
        if part != Part::Code {
            out.extend(piece.chars().filter(|c| *c == '\n'));
        }
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

/// A name that a `use` brings in, with the path it stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub name: String,
    pub path: String,
    /// `pub use`, however far.
    pub is_public: bool,
}

/// The imports of bare code, those in braces written out, and the code without them.
pub fn imports(code: &str) -> (Vec<Import>, String) {
    let (mut found, mut rest) = (Vec::new(), String::new());
    let mut at = 0;
    while let Some(start) = code[at..].find("use ").map(|start| at + start) {
        let before = code[..start].trim_end();
        let is_statement =
            before.is_empty() || before.ends_with(['}', '{', ';', ']', ')']) || before.ends_with("pub");
        let end = code[start..].find(';').filter(|_| is_statement).map(|end| start + end);
        rest.push_str(&code[at..start]);
        at = end.unwrap_or(start + 4);
        if let Some(end) = end {
            let is_public = before.ends_with("pub") || before.ends_with(')');
            for (path, name) in written_out("", &code[start + 4..end]) {
                found.push(Import { name, path, is_public });
            }
        }
    }
    rest.push_str(&code[at..]);
    (found, rest)
}

/// Every path in bare code that has no imports: `a::b::c`.
pub fn paths(code: &str) -> BTreeSet<String> {
    let found = code.split(|c: char| !is_name(c) && c != ':').map(|path| path.trim_matches(':'));
    found.filter(|path| path.contains("::")).map(str::to_owned).collect()
}

/// Whether a name can hold this character.
pub fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Paths of a `use` with the names they get.
fn written_out(prefix: &str, tree: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in split_outside_braces(tree).into_iter().map(str::trim).filter(|part| !part.is_empty()) {
        if let Some((head, inner)) = part.split_once('{') {
            let inner = inner.trim_end().trim_end_matches('}');
            found.extend(written_out(&format!("{prefix}{}", head.trim()), inner));
            continue;
        }
        let (path, alias) = part.split_once(" as ").map_or((part, None), |(path, alias)| (path, Some(alias)));
        let path = format!("{prefix}{}", path.trim());
        let path = path.strip_suffix("::self").unwrap_or(&path);
        let name = alias.or(path.rsplit("::").next()).unwrap_or_default().trim();
        found.push((path.to_owned(), name.to_owned()));
    }
    found
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

/// Asserts that a rule holds.
#[track_caller]
pub fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Exactly these complaints, each recognised by a part of it.
#[track_caller]
pub fn assert_complaints(mut complaints: Vec<String>, expected: &[&str]) {
    complaints.sort();
    let unexpected: Vec<_> =
        complaints.iter().filter(|found| !expected.iter().any(|part| found.contains(part))).collect();
    let missing: Vec<_> =
        expected.iter().filter(|part| !complaints.iter().any(|found| found.contains(**part))).collect();
    assert!(unexpected.is_empty() && missing.is_empty(), "unexpected: {unexpected:?}; missing: {missing:?}");
}

/// Compares a count for each file or name with a list that may only shrink.
///
/// A count above its entry is a complaint, and so is one below, until the entry
/// is lowered or removed. `REINDEXD_LISTS=1 cargo test --release --locked --test
/// it -- style:: glossary:: --nocapture` prints each list as it is now.
pub fn against_list(list: &str, found: &BTreeMap<String, usize>, listed: &[(&str, usize)]) -> Vec<String> {
    let listed: BTreeMap<&str, usize> = listed.iter().copied().collect();
    let names: BTreeSet<&str> = found.keys().map(String::as_str).chain(listed.keys().copied()).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let now = found.get(name).copied().unwrap_or(0);
            match listed.get(name).copied().unwrap_or(0) {
                most if now > most => Some(format!("{name}: {now}, and {list} allows {most}")),
                most if now == 0 && most > 0 => Some(format!("{name}: done, remove it from {list}")),
                most if now < most => Some(format!("{name}: {now}, lower its entry in {list} from {most}")),
                _ => None,
            }
        })
        .collect()
}

/// Prints a list in the form of its source, if `REINDEXD_LISTS` is set.
pub fn print_list(list: &str, found: &BTreeMap<String, usize>) {
    if std::env::var_os("REINDEXD_LISTS").is_some() {
        let entries: Vec<String> =
            found.iter().map(|(name, count)| format!("    ({name:?}, {count}),\n")).collect();
        eprintln!("const {list}: &[(&str, usize)] = &[\n{}];", entries.concat());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_quotes_are_separated_from_code() {
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
    fn unit_tests_at_the_foot_are_not_code_and_a_module_of_them_elsewhere_ends_nothing() {
        let foot = SourceFile::sample("src/a.rs", "b::c()\n#[cfg(test)]\nmod tests {\n d::e() }");
        let apart = SourceFile::sample("src/a.rs", "#[cfg(test)]\nmod tests;\nmod url;\nfn f() { g::h() }");

        assert_eq!(paths(&foot.code()), BTreeSet::from(["b::c".to_owned()]));
        assert_eq!(paths(&apart.code()), BTreeSet::from(["g::h".to_owned()]));
    }

    #[test]
    fn imports_in_braces_are_written_out_and_separated_from_paths() {
        let code = "use a::{self, b::{c, d as e}};\npub use f::g;\nfn h() { i::j(k::L { m: 1 }) }";

        let (found, rest) = imports(code);

        let import = |name: &str, path: &str, is_public| Import {
            name: name.to_owned(),
            path: path.to_owned(),
            is_public,
        };
        let expected = [
            import("a", "a", false),
            import("c", "a::b::c", false),
            import("e", "a::b::d", false),
            import("g", "f::g", true),
        ];
        assert_eq!(found, expected);
        assert_eq!(paths(&rest), BTreeSet::from(["i::j".to_owned(), "k::L".to_owned()]));
    }

    #[test]
    fn a_shrinking_list_is_wrong_when_a_count_rises_falls_or_reaches_nothing() {
        let found = [("a", 2), ("b", 1), ("c", 1), ("e", 1)].map(|(name, count)| (name.to_owned(), count));

        let complaints = against_list("LIST", &found.into(), &[("a", 1), ("b", 2), ("c", 1), ("d", 3)]);

        let expected = [
            "a: 2, and LIST allows 1",
            "b: 1, lower its entry",
            "d: done, remove",
            "e: 1, and LIST allows 0",
        ];
        assert_complaints(complaints, &expected);
    }

    #[test]
    fn tests_are_found_by_their_mark() {
        let text = "#[test]\nfn a_b_c() {}\n#[tokio::test(start_paused = true)]\nasync fn d_e_f() {}\nfn g() {}\n// #[test]";

        assert_eq!(test_names(text), ["a_b_c", "d_e_f"]);
    }
}
