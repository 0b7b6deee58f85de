//! What of our style a machine can hold.
//!
//! Each rule is a function from files to complaints. It is put to the
//! repository, which must give it nothing to complain of, and to a sample that
//! breaks the rule, since a check that cannot fail holds nothing. Who may
//! import whom is `layers`' matter, what the documents say `docs`'.

use crate::support::source::{SourceFile, assert_complaints, assert_none, file, files, test_names};

/// Lines of code, comments and unit tests not counted, past which a header must give the reason.
const MOST_LINES: usize = 400;

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
fn a_long_file_says_why_in_its_header() {
    assert_none(&too_long(&program()));
}

#[test]
fn a_long_file_without_a_reason_is_found() {
    let lines = "let x = 1;\n".repeat(MOST_LINES);
    let sample = [
        SourceFile::sample("src/a.rs", &format!("//! Short.\n\n// a comment\n{lines}")),
        SourceFile::sample("src/b.rs", &format!("//! Long.\n{lines}f();\n")),
        SourceFile::sample(
            "src/c.rs",
            &format!("//! More than 400 lines, since tables are one thing.\n{lines}f();\n"),
        ),
        SourceFile::sample(
            "src/d.rs",
            &format!("//! Short.\n#[cfg(test)]\nmod tests {{\n{lines}{lines}}}\n"),
        ),
        SourceFile::sample("src/d/tests.rs", &lines.repeat(2)),
    ];

    assert_complaints(too_long(&sample), &["src/b.rs: 401"]);
}

#[test]
fn nothing_is_left_to_be_done() {
    let rest =
        [files("data/sample", ".py"), files("data/sample", ".sh"), files("tests/reader", ".py")].concat();
    let single = [
        "Makefile",
        "Cargo.toml",
        "clippy.toml",
        "README.md",
        "ARCHITECTURE.md",
        ".ci/run",
        "tests/setup.sh",
    ];
    let single = single.map(file).to_vec();
    assert_none(&left_to_do(&[all_rust(), files("systemd", ""), rest, single].concat()));
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
fn the_version_of_faiss_in_manifests_is_the_one_that_is_built_in() {
    assert_none(&wrong_faiss(&file("Cargo.lock"), &file("src/builds/index.rs")));
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

fn too_long(files: &[SourceFile]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| !file.is_unit_tests()) {
        let lines = file.code().lines().filter(|line| !line.trim().is_empty()).count();
        if lines > MOST_LINES && !file.header().contains("400 lines") {
            complaints.push(format!("{}: {lines} lines of code, and no word why in its header", file.path));
        }
    }
    complaints
}

fn left_to_do(files: &[SourceFile]) -> Vec<String> {
    // Written in two, so that this file has none.
    const WORDS: [&str; 5] = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("db", "g!("),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
    ];
    let has = |file: &SourceFile| WORDS.iter().find(|word| file.text.contains(**word)).copied();
    files.iter().filter_map(|file| has(file).map(|word| format!("{}: {word}", file.path))).collect()
}

fn unclaimed(files: &[SourceFile]) -> Vec<String> {
    let is_claim = |name: &String| {
        let snake = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        snake && !name.starts_with("test_") && name.split('_').count() >= 3
    };
    let wrong = |file: &SourceFile| {
        let names = test_names(&file.text).into_iter().filter(|name| !is_claim(name));
        names.map(|name| format!("{}: {name} is no claim", file.path)).collect::<Vec<_>>()
    };
    files.iter().flat_map(wrong).collect()
}

fn wrong_faiss(lock: &SourceFile, index: &SourceFile) -> Vec<String> {
    let after = |text: &str, mark: &str| {
        let rest = text.split_once(mark).map(|(_, rest)| rest)?;
        rest.split('"').nth(1).map(str::to_owned)
    };
    let built_in = after(&lock.text, "name = \"faiss-sys\"\nversion").expect("Cargo.lock names faiss-sys");
    let named = after(&index.text, "FAISS_VERSION: &str").expect("builds::index names a version of Faiss");
    match FAISS_IN.iter().find(|(release, _)| *release == built_in) {
        None => vec![format!("faiss-sys {built_in}: look up which Faiss it brings and add it to FAISS_IN")],
        Some((_, brings)) if *brings != named => {
            vec![format!("FAISS_VERSION is {named}, faiss-sys {built_in} brings {brings}")]
        }
        Some(_) => Vec::new(),
    }
}

/// The program's own sources.
fn program() -> Vec<SourceFile> {
    files("src", ".rs")
}

/// These, the tests' and the bench's.
fn all_rust() -> Vec<SourceFile> {
    [program(), files("tests/it", ".rs"), files("tests/proof", ".rs"), files("benches", ".rs")].concat()
}
