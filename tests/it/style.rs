//! The rules of style that a machine can check.
//!
//! Each rule is a function from files to complaints. It runs on the repository,
//! where it must find nothing, and on a sample that breaks the rule, since a
//! check that cannot fail is worthless. `layers` says what may use what,
//! `glossary` which words are used, `docs` what the documents promise. Rules
//! that old files do not follow yet have a list, which may only shrink. The
//! length of functions is clippy's to check.

use std::collections::BTreeMap;

use crate::support::source::{
    Part, SourceFile, against_list, all_rust, assert_complaints, assert_none, documents, file, files,
    is_name, parts, print_list, program, test_names,
};

/// Lines of a whole file that is not a test: comments and unit tests at its foot count.
const MAX_LINES: usize = 400;

/// Columns of a line, texts between quotes aside.
const MAX_COLUMNS: usize = 110;

/// Characters of a test's name.
const MAX_TEST_NAME: usize = 80;

/// Which Faiss a release of faiss-sys brings: `faiss/CMakeLists.txt` in its sources says so.
const FAISS_IN: [(&str, &str); 1] = [("0.7.0", "1.12.0")];

#[test]
fn every_file_of_rust_begins_with_a_header() {
    assert_none(&without_header(&all_rust()));
}

#[test]
fn a_file_that_begins_otherwise_is_found() {
    let good = SourceFile::sample("src/a.rs", "//! Says what it does.\n\nuse std::fs;\n");
    let bad = [
        SourceFile::sample("src/b.rs", "use std::fs;\n//! Too late.\n"),
        SourceFile::sample("src/c.rs", "// no doc comment\n"),
        SourceFile::sample("src/d.rs", "//!\n"),
    ];

    assert_complaints(
        without_header(&[vec![good], bad.to_vec()].concat()),
        &["src/b.rs", "src/c.rs", "src/d.rs"],
    );
}

#[test]
fn files_are_not_long() {
    let sizes = sizes(&program());
    let mut all: Vec<usize> = sizes.values().copied().collect();
    all.sort_unstable();
    eprintln!("lines a file: median {}, p90 {}", all[all.len() / 2], all[all.len() * 9 / 10]);

    assert_listed("LONG_FILES", &above(&sizes, MAX_LINES), LONG_FILES);
}

#[test]
fn a_long_file_is_found() {
    let lines = |count| "let x = 1;\n".repeat(count);
    let sample = [
        SourceFile::sample("src/a.rs", &lines(MAX_LINES)),
        SourceFile::sample("src/b.rs", &format!("//! Comments count.\n{}", lines(MAX_LINES))),
        SourceFile::sample("src/c.rs", &format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(MAX_LINES))),
        SourceFile::sample("src/c/tests.rs", &lines(MAX_LINES + 1)),
    ];

    let found = above(&sizes(&sample), MAX_LINES);

    assert_eq!(found, counts(&[("src/b.rs", 401), ("src/c.rs", 403)]));
}

#[test]
fn lines_are_not_wide() {
    assert_listed("WIDE_FILES", &wide_lines(&all_rust()), WIDE_FILES);
}

#[test]
fn a_wide_line_is_found() {
    let wide = "é".repeat(MAX_COLUMNS);
    let sample = [
        SourceFile::sample("src/a.rs", &format!("{wide}\n\"{wide}\"\n")),
        SourceFile::sample("src/b.rs", &format!("{wide};\n// {wide}\n")),
        SourceFile::sample("src/c.rs", &format!("x = \"a\nb\"; {wide}")),
    ];

    assert_eq!(wide_lines(&sample), counts(&[("src/b.rs", 2), ("src/c.rs", 1)]));
}

#[test]
fn a_type_name_has_one_meaning() {
    assert_listed("NAMESAKES", &namesakes(&program()), NAMESAKES);
}

#[test]
fn a_type_name_that_is_taken_is_found() {
    let sample = [
        SourceFile::sample(
            "src/a.rs",
            "pub struct One;\npub(crate) enum Two<T> { A(T) }\ntype Three = u8;\n",
        ),
        SourceFile::sample("src/b.rs", "trait One {\n    type Three;\n}\nfn f() {\n    struct Two;\n}\n"),
        SourceFile::sample("src/c.rs", "// struct Three\n#[cfg(test)]\nmod tests {\n struct Three;\n}\n"),
        SourceFile::sample("src/c/tests.rs", "struct One;"),
    ];

    assert_eq!(namesakes(&sample), counts(&[("One", 2), ("Two", 2)]));
}

#[test]
fn nothing_is_left_to_be_done() {
    let rest =
        [files("data/sample", ".py"), files("data/sample", ".sh"), files("tests/reader", ".py")].concat();
    let single = ["Makefile", "Cargo.toml", "clippy.toml", ".ci/run", "tests/setup.sh"].map(file).to_vec();
    assert_none(&left_to_do(&[all_rust(), documents(), files("systemd", ""), rest, single].concat()));
}

#[test]
fn a_note_to_do_something_later_is_found() {
    let sample = [
        SourceFile::sample("a", concat!("// TO", "DO: think")),
        SourceFile::sample("b", concat!("let x = db", "g!(y);")),
        SourceFile::sample("c", concat!("to", "do!()")),
        SourceFile::sample("d", "all is done"),
    ];

    assert_complaints(left_to_do(&sample), &["a:", "b:", "c:"]);
}

#[test]
fn every_test_has_a_claim_for_a_name() {
    assert_none(&unclaimed(&all_rust()));
}

#[test]
fn a_test_whose_name_claims_nothing_is_found() {
    let text = "#[test]\nfn test_build_works() {}\n#[test]\nfn build2() {}\n#[tokio::test]\nasync fn rowsAreKept_in_order() {}\n\
                #[test]\nfn a_row_is_kept() {}\nfn helper() {}\n";

    let sample = [SourceFile::sample("src/a.rs", text)];

    assert_complaints(unclaimed(&sample), &["build2", "rowsAreKept_in_order", "test_build_works"]);
}

#[test]
fn names_of_tests_are_not_long() {
    assert_listed("LONG_TEST_NAMES", &long_test_names(&all_rust()), LONG_TEST_NAMES);
}

#[test]
fn a_long_name_of_a_test_is_found() {
    let name = "a".repeat(MAX_TEST_NAME);
    let text = format!("#[test]\nfn {name}() {{}}\n#[test]\nfn {name}b() {{}}\nfn {name}_helper() {{}}\n");

    let found = long_test_names(&[SourceFile::sample("tests/it/a.rs", &text)]);

    assert_eq!(found, counts(&[("tests/it/a.rs", 1)]));
}

#[test]
fn the_version_of_faiss_in_manifests_is_the_one_that_is_built_in() {
    assert_none(&wrong_faiss(&file("Cargo.lock"), &file("src/adapters/builds/index/mod.rs")));
}

#[test]
fn another_faiss_than_the_one_named_is_found() {
    let lock = |version| {
        SourceFile::sample(
            "Cargo.lock",
            &format!("[[package]]\nname = \"faiss-sys\"\nversion = \"{version}\"\n"),
        )
    };
    let index =
        |version| SourceFile::sample("index.rs", &format!("pub const FAISS_VERSION: &str = \"{version}\";"));

    assert_none(&wrong_faiss(&lock("0.7.0"), &index("1.12.0")));
    assert_complaints(wrong_faiss(&lock("0.7.0"), &index("1.13.0")), &["1.13.0"]);
    assert_complaints(wrong_faiss(&lock("0.8.0"), &index("1.12.0")), &["0.8.0"]);
}

fn without_header(files: &[SourceFile]) -> Vec<String> {
    let bare = files.iter().filter(|file| file.header().trim().is_empty());
    bare.map(|file| format!("{}: expected a header that begins with //! and says what it is for", file.path))
        .collect()
}

fn sizes(files: &[SourceFile]) -> BTreeMap<String, usize> {
    let sources = files.iter().filter(|file| !file.is_unit_tests());
    sources.map(|file| (file.path.clone(), file.text.lines().count())).collect()
}

fn wide_lines(files: &[SourceFile]) -> BTreeMap<String, usize> {
    let wide = |file: &SourceFile| {
        let mut widths = vec![0];
        for (part, piece) in parts(&file.text) {
            for (nth, line) in piece.split('\n').enumerate() {
                widths.extend((nth > 0).then_some(0));
                if part != Part::Quoted {
                    *widths.last_mut().expect("there is one from the start") += line.chars().count();
                }
            }
        }
        (file.path.clone(), widths.into_iter().filter(|width| *width > MAX_COLUMNS).count())
    };
    above(&files.iter().map(wide).collect(), 0)
}

/// Names of types that are declared more than once, associated types aside.
fn namesakes(files: &[SourceFile]) -> BTreeMap<String, usize> {
    let mut declared = BTreeMap::new();
    for file in files.iter().filter(|file| !file.is_unit_tests()) {
        for line in file.code().lines() {
            let names = line.split(|c| !is_name(c)).filter(|name| !name.is_empty());
            let mut names = names.skip_while(|name| ["pub", "crate", "super"].contains(name));
            let is_declared = match names.next() {
                Some("struct" | "enum" | "trait" | "union") => true,
                Some("type") => !line.starts_with(' '),
                _ => false,
            };
            // In a macro the name is a variable.
            let name = names.next().filter(|name| is_declared && name.starts_with(char::is_uppercase));
            if let Some(name) = name {
                *declared.entry(name.to_owned()).or_insert(0) += 1;
            }
        }
    }
    above(&declared, 1)
}

fn long_test_names(files: &[SourceFile]) -> BTreeMap<String, usize> {
    let long = |file: &SourceFile| {
        let names = test_names(&file.text).into_iter().filter(|name| name.len() > MAX_TEST_NAME);
        (file.path.clone(), names.count())
    };
    above(&files.iter().map(long).collect(), 0)
}

/// Those that are more than a limit.
fn above(found: &BTreeMap<String, usize>, limit: usize) -> BTreeMap<String, usize> {
    found.iter().filter(|(_, count)| **count > limit).map(|(name, count)| (name.clone(), *count)).collect()
}

fn counts(found: &[(&str, usize)]) -> BTreeMap<String, usize> {
    found.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[track_caller]
fn assert_listed(list: &str, found: &BTreeMap<String, usize>, listed: &[(&str, usize)]) {
    print_list(list, found);
    assert_none(&against_list(list, found, listed));
}

fn left_to_do(files: &[SourceFile]) -> Vec<String> {
    // Written in two, so that this file has none.
    const NOTES: [&str; 5] = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("db", "g!("),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
    ];
    let has = |file: &SourceFile| NOTES.iter().find(|note| file.text.contains(**note)).copied();
    files.iter().filter_map(|file| has(file).map(|note| format!("{}: {note}", file.path))).collect()
}

fn unclaimed(files: &[SourceFile]) -> Vec<String> {
    let is_claim = |name: &String| {
        let snake = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        snake && !name.starts_with("test_") && name.split('_').count() >= 3
    };
    let wrong = |file: &SourceFile| {
        let names = test_names(&file.text).into_iter().filter(|name| !is_claim(name));
        names.map(|name| format!("{}: {name} is not a claim", file.path)).collect::<Vec<_>>()
    };
    files.iter().flat_map(wrong).collect()
}

fn wrong_faiss(lock: &SourceFile, index: &SourceFile) -> Vec<String> {
    let after = |text: &str, mark: &str| {
        let rest = text.split_once(mark).map(|(_, rest)| rest)?;
        rest.split('"').nth(1).map(str::to_owned)
    };
    let built_in = after(&lock.text, "name = \"faiss-sys\"\nversion").expect("Cargo.lock names faiss-sys");
    let named =
        after(&index.text, "FAISS_VERSION: &str").expect("adapters::builds::index names a version of Faiss");
    match FAISS_IN.iter().find(|(release, _)| *release == built_in) {
        None => vec![format!("faiss-sys {built_in}: look up which Faiss it brings and add it to FAISS_IN")],
        Some((_, brings)) if *brings != named => {
            vec![format!("FAISS_VERSION is {named}, faiss-sys {built_in} brings {brings}")]
        }
        Some(_) => Vec::new(),
    }
}

/// Whole files above the limit, with their lines: this list may only shrink.
const LONG_FILES: &[(&str, usize)] = &[];

/// Files with lines above the limit, and how many: this list may only shrink.
const WIDE_FILES: &[(&str, usize)] = &[];

/// Names that several types have, and how many: this list may only shrink.
const NAMESAKES: &[(&str, usize)] = &[];

/// Files with names of tests above the limit, and how many: this list may only shrink.
const LONG_TEST_NAMES: &[(&str, usize)] = &[];
