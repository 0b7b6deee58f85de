//! The words that code, messages and documents do not use.
//!
//! One word stands for one thing, and plain words for all of them. Read are the
//! names in code, split at `_` and capitals; quoted texts; comments; and the
//! documents. Paths, fenced blocks and stored words are exempt. Files that
//! still hold such words are listed at the foot with how many they hold.

use std::collections::BTreeMap;

use crate::support::source::{
    Part, SourceFile, against_list, all_rust, assert_complaints, assert_none, documents, file, files, parts,
    print_list,
};

/// Refused everywhere, in all their forms.
const WORDS: &str = "tell tells telling told hear hears hearing heard ear ears \
    buy buys buying bought buyer buyers purchase purchases purchased purchasing \
    astray herald heralds sighting sightings sentry sentries \
    mend mends mended mending cure cures cured curing \
    whoever nobody meanwhile anew lately";

/// Refused in names in code.
const IN_NAMES: &str =
    "look looks looked looking beside words phase phases verdict verdicts trouble troubles";

/// Refused everywhere.
const PHRASES: [(&str, &str); 9] = [
    ("at", "hand"),
    ("left", "out"),
    ("leave", "out"),
    ("leaves", "out"),
    ("leaving", "out"),
    ("set", "aside"),
    ("sets", "aside"),
    ("setting", "aside"),
    ("a", "look"),
];

/// After `is no`, these are plain: "it is no longer there".
const AFTER_IS_NO: &str = "longer more less later earlier older newer closer fewer higher lower";

/// Keys that are stored or printed with such words, and why; in code they are quoted, never names.
const STORED: [(&str, &str); 2] = [
    ("left_out", "key of manifest.json and of --json since 0.1.0"),
    ("told_at", "key of status --json since 0.1.0"),
];

#[test]
fn the_words_of_the_glossary_are_used_and_no_others() {
    let found: BTreeMap<String, Vec<String>> =
        everything().iter().map(|file| (file.path.clone(), offences(file))).collect();
    let counts = found.iter().filter(|(_, offences)| !offences.is_empty());
    let counts = counts.map(|(path, offences)| (path.clone(), offences.len())).collect();
    print_list("UNFINISHED", &counts);

    let complaints = against_list("UNFINISHED", &counts, UNFINISHED);

    let with_lines = complaints.into_iter().map(|complaint| {
        let path = complaint.split(':').next().unwrap_or_default();
        let lines = found.get(path).filter(|_| complaint.contains("allows")).into_iter().flatten();
        lines.fold(complaint.clone(), |complaint, line| complaint + "\n    line " + line)
    });
    assert_none(&with_lines.collect::<Vec<_>>());
}

#[test]
fn a_refused_word_is_found_wherever_it_stands() {
    let code = "//! Told\n/// set\n/// aside. At hands, earlier, left, out\nfn buy_it(sawSentry: MENDED) {}\n// `x` is no\n\
                // link; there is no end, it is no longer it\nlet phase = \"phase, \\nbought {told}\"; // src/tell/told.rs\n\
                let left_out = (\"left_out\", \"left out\", a_path_that_is_no_link);\n";
    let document = "A look.\n```\nbuy\n```\nmeanwhile `left_out`, verdict, src/hear.rs\n\nleft\n\nout\n";

    let found = offences(&SourceFile::sample("src/a.rs", code));
    let expected = [
        "1: told",
        "2: set aside",
        "4: buy",
        "4: sentry",
        "4: mended",
        "5: is no",
        "7: phase",
        "7: bought",
        "7: told",
        "8: left out",
        "8: left out",
        "8: is no",
    ];
    assert_complaints(found.clone(), &expected);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    assert_complaints(offences(&SourceFile::sample("a.md", document)), &["1: a look", "5: meanwhile"]);
}

#[test]
fn every_stored_word_is_one_that_would_be_refused() {
    for (word, reason) in STORED {
        let refused = offences(&SourceFile::sample("src/a.rs", &format!("fn {word}() {{}}")));
        assert!(!refused.is_empty() && !reason.is_empty(), "{word}");
    }
}

/// All that is read, but for this file: it says the words.
fn everything() -> Vec<SourceFile> {
    let single = ["Makefile", "Cargo.toml", "clippy.toml", ".ci/run", "tests/setup.sh"].map(file).to_vec();
    let mut all = [all_rust(), documents(), files("systemd", ""), single].concat();
    all.retain(|file| file.path != "tests/it/glossary.rs");
    all
}

/// A word with what decides whether it makes a phrase with the one before.
struct Word {
    text: String,
    line: usize,
    /// Whether nothing but blanks, or a part of the same name, separates it from the one before.
    follows: bool,
}

/// Each refused word or phrase of a file with its line.
fn offences(file: &SourceFile) -> Vec<String> {
    let all = match file.path.rsplit_once('.') {
        Some((_, "rs")) => words_of_rust(&file.text),
        _ => words_of_document(&file.text),
    };
    let mut found = Vec::new();
    for (part, words) in all {
        for (at, word) in words.iter().enumerate() {
            let next = words.get(at + 1).filter(|next| next.follows);
            let after = next.and_then(|_| words.get(at + 2)).filter(|after| after.follows);
            let before = words[..at].last().filter(|_| word.follows).map(|before| before.text.as_str());
            let text = word.text.as_str();
            let refused = match next.map(|next| next.text.as_str()) {
                Some(next) if PHRASES.contains(&(text, next)) => format!("{text} {next}"),
                Some("no") if ["is", "are"].contains(&text) && before != Some("there") => {
                    if after.is_some_and(|after| is_one_of(&after.text, AFTER_IS_NO)) {
                        continue;
                    }
                    format!("{text} no")
                }
                _ if is_one_of(text, WORDS) => text.to_owned(),
                _ if part == Part::Code && is_one_of(text, IN_NAMES) => text.to_owned(),
                _ => continue,
            };
            found.push((word.line, refused));
        }
    }
    found.sort();
    found.into_iter().map(|(line, refused)| format!("{line}: {refused}")).collect()
}

fn is_one_of(word: &str, words: &str) -> bool {
    words.split_whitespace().any(|refused| refused == word)
}

/// The words of code, of comments and of quoted texts.
fn words_of_rust(text: &str) -> Vec<(Part, Vec<Word>)> {
    let mut all: Vec<(Part, Vec<Word>)> =
        [Part::Code, Part::Comment, Part::Quoted].map(|part| (part, Vec::new())).into();
    let (mut line, mut in_comment) = (1, false);
    for (part, piece) in parts(text) {
        let words = &mut all[part as usize].1;
        match part {
            Part::Code => add_words(words, piece, line, part, false),
            Part::Comment => {
                add_words(words, piece.trim_start_matches(['/', '!', '*']), line, part, in_comment);
            }
            Part::Quoted => add_words(words, &without_escapes(piece), line, part, false),
        }
        // The next line of a comment goes on with its sentence.
        let is_blank = piece.trim().is_empty() && piece.matches('\n').count() == 1;
        in_comment = part == Part::Comment || (in_comment && part == Part::Code && is_blank);
        line += piece.matches('\n').count();
    }
    all
}

/// The words of a document without its fenced blocks.
fn words_of_document(text: &str) -> Vec<(Part, Vec<Word>)> {
    let (mut words, mut fenced, mut in_paragraph) = (Vec::new(), false, false);
    for (nth, line) in text.lines().enumerate() {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        if !fenced && !is_fence {
            add_words(&mut words, line, nth + 1, Part::Comment, in_paragraph);
        }
        in_paragraph = !fenced && !is_fence && !line.trim().is_empty();
    }
    vec![(Part::Comment, words)]
}

/// Adds the words of a text that begins on `line`; the first follows what is there if `goes_on`.
fn add_words(words: &mut Vec<Word>, text: &str, line: usize, part: Part, goes_on: bool) {
    let mut gap_is_blank = goes_on;
    for (nth, text) in text.split('\n').enumerate() {
        for chunk in text.split_whitespace() {
            if part != Part::Code && chunk.contains('/') {
                gap_is_blank = false;
                continue;
            }
            for token in chunk.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_') {
                let name = token.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '_');
                let is_stored = part != Part::Code && STORED.iter().any(|(stored, _)| *stored == name);
                if !name.is_empty() && !is_stored {
                    for (nth_word, text) in split_name(name).into_iter().enumerate() {
                        let follows = nth_word > 0 || (gap_is_blank && part != Part::Code);
                        words.push(Word { text, line: line + nth, follows });
                    }
                }
                // A closing backtick ends a name and no sentence.
                gap_is_blank = !is_stored && token.len() == name.len()
                    || (gap_is_blank || !name.is_empty()) && token.ends_with('`');
            }
        }
    }
}

/// `left_out`, `leftOut` and `LEFT_OUT` are two words each.
fn split_name(name: &str) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map_or('_', |before| chars[before]);
        let next_is_lower = chars.get(at + 1).is_some_and(|next| next.is_lowercase());
        let begins = c.is_uppercase() && (!before.is_uppercase() || next_is_lower);
        if *c == '_' || begins {
            words.push(String::new());
        }
        if *c != '_' {
            words.last_mut().expect("there is one from the start").extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A quoted text with blanks for its escapes; a line break in it stays one.
fn without_escapes(quoted: &str) -> String {
    let mut out = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(if chars.next() == Some('\n') { '\n' } else { ' ' }),
            c => out.push(c),
        }
    }
    out
}

/// Files not yet done, with how many of these words they hold: this list may only shrink.
const UNFINISHED: &[(&str, usize)] = &[];
