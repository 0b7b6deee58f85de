//! Who may know whom, and what may stand where.
//!
//! The layers are those that the front page of `src/lib.rs` draws; here every
//! import is held to them. Where the tree is right to differ from the rule, the
//! exception stands here with its reason, and an exception that nothing needs
//! any more is a complaint itself. As in `tidy`, each rule is put to a sample
//! that breaks it.

use std::collections::BTreeSet;

use crate::support::source::{SourceFile, assert_complaints, assert_none, file, files, paths};

/// Imports between modules of one layer: who, whom, why.
const SIBLINGS: [(&str, &str, &str); 3] = [
    ("phase", "debounce", "a phase holds a window of hints, and asks it when it is due"),
    ("embed", "http", "http has the only outgoing sockets"),
    ("announce", "http", "http has the only outgoing sockets"),
];

/// Crates that stand for a part of the world, and the only files that may know them.
const DOORS: [(&str, &[&str]); 5] = [
    ("faiss", &["src/builds/index.rs"]),
    ("rusqlite", &["src/snapshot.rs", "src/cache.rs", "src/cache/file.rs"]),
    // Settings only read an address, and open none.
    ("reqwest", &["src/http.rs", "src/config/url.rs"]),
    ("notify", &["src/watch.rs", "src/watch/ear.rs"]),
    ("signal_hook", &["src/signals.rs"]),
];

#[test]
fn imports_point_to_lower_layers_only() {
    assert_none(&against_the_layers(&file("src/lib.rs"), &program()));
}

#[test]
fn an_import_that_points_up_or_aside_is_found() {
    let front = SourceFile::sample(
        "src/lib.rs",
        "//! - ground: [`record`];\n//! - decisions, pure: [`phase`], [`debounce`];\n//! - edges: [`embed`], [`http`],\n\
         //!   [`announce`], [`cache`];\n//! - order: [`agent`], the loop.\n//!\n//! In front stands [`cli`].\npub mod record;\npub mod stray;\n",
    );
    let good = [
        SourceFile::sample("src/record.rs", "//! [`crate::agent`]\nuse std::fmt;\n// crate::agent\n"),
        SourceFile::sample("src/phase.rs", "use crate::debounce::Window; fn f() { crate::record::g() }"),
        SourceFile::sample("src/embed/mod.rs", "use crate::{http, record::Space}; use super::http::Http;"),
        SourceFile::sample(
            "src/announce.rs",
            "use crate::http;\n#[cfg(test)]\nmod tests { use crate::cli; }",
        ),
        SourceFile::sample("src/main.rs", "use reindexd::cli;"),
    ];
    let bad = [
        SourceFile::sample("src/cache.rs", "use crate::{record, embed::Item};"),
        SourceFile::sample("src/http.rs", "fn f() { super::agent::run() }"),
        SourceFile::sample("src/embed/wire.rs", "use super::super::cache;"),
    ];

    let complaints = against_the_layers(&front, &[good.to_vec(), bad.to_vec()].concat());

    assert_complaints(
        complaints,
        &["stray", "cache imports embed", "embed imports cache", "http imports agent"],
    );
}

#[test]
fn decisions_know_no_world_and_no_clock() {
    assert_none(&worldly_decisions(&file("src/lib.rs"), &program()));
}

#[test]
fn a_decision_that_reads_a_file_or_the_clock_is_found() {
    let front = SourceFile::sample("src/lib.rs", "//! - decisions: [`plan`], [`guard`];\n");
    let sample = [
        SourceFile::sample("src/plan.rs", "use std::{fmt, fs::File}; // tracing::info"),
        SourceFile::sample("src/guard.rs", "use std::time::{Duration, Instant}; fn f() { Instant::now(); }"),
        SourceFile::sample("src/cache.rs", "use std::fs;"),
    ];

    assert_complaints(
        worldly_decisions(&front, &sample),
        &["src/guard.rs: Instant::now", "src/plan.rs: std::fs::File"],
    );
}

#[test]
fn agent_and_reconcile_hold_no_sql_no_json_and_no_parsing() {
    assert_none(&busy_order(&program()));
}

#[test]
fn order_that_parses_or_asks_sql_is_found() {
    let sample = [
        SourceFile::sample("src/agent.rs", "fn f() { serde_json::to_string(b) }"),
        SourceFile::sample("src/reconcile/found.rs", "const Q: &str = \"SELECT id FROM experts\";"),
        SourceFile::sample("src/reconcile.rs", "fn f() { text.parse() }"),
        SourceFile::sample("src/snapshot.rs", "const Q: &str = \"SELECT id FROM experts\";"),
    ];

    let expected =
        ["src/agent.rs: serde_json", "src/reconcile.rs: .parse(", "src/reconcile/found.rs: SELECT"];
    assert_complaints(busy_order(&sample), &expected);
}

#[test]
fn each_door_to_the_world_has_its_one_place() {
    assert_none(&through_another_door(&program()));
}

#[test]
fn a_second_door_and_a_door_that_nobody_uses_are_found() {
    let mut sample: Vec<_> =
        DOORS.iter().map(|(name, at)| SourceFile::sample(at[0], &format!("use {name}::x;"))).collect();
    sample.push(SourceFile::sample("src/agent.rs", "use rusqlite::Connection;"));

    let unused: Vec<String> =
        DOORS.iter().flat_map(|(_, at)| &at[1..]).map(|path| (*path).to_owned()).collect();
    let expected: Vec<&str> = unused.iter().map(String::as_str).chain(["src/agent.rs: rusqlite"]).collect();
    assert_complaints(through_another_door(&sample), &expected);
}

/// The layers from the lowest up, as the front page of `lib.rs` draws them, and `cli` above them all.
fn layers(front: &SourceFile) -> Vec<(String, Vec<String>)> {
    let mut layers: Vec<(String, Vec<String>)> = Vec::new();
    for line in front.header().lines() {
        let line = line.trim();
        if let Some((name, _)) = line.strip_prefix("- ").and_then(|item| item.split_once(':')) {
            layers.push((name.to_owned(), Vec::new()));
        }
        let modules = line
            .split("[`")
            .skip(1)
            .filter_map(|rest| rest.split_once("`]"))
            .map(|(name, _)| name.to_owned());
        if let Some((_, last)) = layers.last_mut().filter(|_| !line.starts_with("In front")) {
            last.extend(modules);
        }
    }
    layers.push(("front".to_owned(), vec!["cli".to_owned()]));
    layers
}

/// The modules at the crate's root that a file's code names, its own excepted.
fn imports(file: &SourceFile) -> BTreeSet<String> {
    let module = file.module();
    let mut found = BTreeSet::new();
    for path in paths(&file.code()) {
        let mut names = path.split("::");
        let up = path.split("::").take_while(|name| *name == "super").count();
        let named = match names.next() {
            Some("crate") => names.next(),
            Some("super") if up == module.len() => names.nth(up - 1),
            _ => None,
        };
        found.extend(named.map(str::to_owned));
    }
    if let Some(own) = module.first() {
        found.remove(*own);
    }
    found
}

fn against_the_layers(front: &SourceFile, files: &[SourceFile]) -> Vec<String> {
    let layers = layers(front);
    let layer_of = |module: &str| layers.iter().position(|(_, all)| all.iter().any(|name| name == module));
    let declared = front.text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut complaints: Vec<String> = declared
        .filter(|module| layer_of(module).is_none())
        .map(|module| format!("{module} stands in no layer of the front page of src/lib.rs"))
        .collect();
    let mut used = BTreeSet::new();
    for file in files.iter().filter(|file| !file.is_unit_tests()) {
        let Some((module, layer)) =
            file.module().first().and_then(|module| Some((*module, layer_of(module)?)))
        else {
            continue;
        };
        for import in imports(file) {
            let Some(below) = layer_of(&import) else { continue };
            let sibling =
                SIBLINGS.iter().position(|(who, whom, _)| (*who, *whom) == (module, import.as_str()));
            used.extend(sibling);
            let ground = layer == 0 && below == 0;
            if below >= layer && !ground && sibling.is_none() {
                let (here, there) = (&layers[layer].0, &layers[below].0);
                complaints
                    .push(format!("{}: {module} imports {import}: {here} may not know {there}", file.path));
            }
        }
    }
    let needless = (0..SIBLINGS.len()).filter(|nth| !used.contains(nth)).map(|nth| SIBLINGS[nth]);
    complaints.extend(
        needless.map(|(who, whom, _)| format!("{who} imports {whom} no more: take the exception away")),
    );
    complaints
}

fn worldly_decisions(front: &SourceFile, files: &[SourceFile]) -> Vec<String> {
    const WORLD: [&str; 8] =
        ["std::fs", "std::net", "std::env", "std::thread", "std::process", "tracing", "tokio", "jiff"];
    let decisions: Vec<String> = layers(front)
        .into_iter()
        .filter(|(name, _)| name.starts_with("decisions"))
        .flat_map(|(_, all)| all)
        .collect();
    assert!(!decisions.is_empty(), "the front page names no decisions");
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| !file.is_unit_tests()) {
        if !file.module().first().is_some_and(|module| decisions.iter().any(|name| name == module)) {
            continue;
        }
        let worldly = |path: &String| {
            let below = |world: &str| {
                path.strip_prefix(world).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            };
            WORLD.iter().any(|world| below(world))
                || path.ends_with("Instant::now")
                || path.contains("SystemTime")
        };
        complaints.extend(
            paths(&file.code()).into_iter().filter(worldly).map(|path| format!("{}: {path}", file.path)),
        );
    }
    complaints
}

fn busy_order(files: &[SourceFile]) -> Vec<String> {
    const BUSY: [&str; 10] = [
        "serde_json",
        "rusqlite",
        "toml",
        ".parse(",
        "from_str(",
        "from_slice(",
        "from_utf8",
        "SELECT ",
        "INSERT ",
        "PRAGMA ",
    ];
    let order = |file: &&SourceFile| {
        file.module().first().is_some_and(|module| ["agent", "reconcile"].contains(module))
    };
    let mut complaints = Vec::new();
    for file in files.iter().filter(order).filter(|file| !file.is_unit_tests()) {
        // SQL stands between quotes, which bare code has not.
        let (code, text) = (file.code(), &file.text);
        let found = BUSY
            .iter()
            .filter(|word| code.contains(**word) || (word.ends_with(' ') && text.contains(**word)));
        complaints.extend(found.map(|word| format!("{}: {word}", file.path)));
    }
    complaints
}

fn through_another_door(files: &[SourceFile]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, allowed) in DOORS {
        let mut unused: BTreeSet<&str> = allowed.iter().copied().collect();
        for file in files.iter().filter(|file| !file.is_unit_tests()) {
            let within = paths(&file.code()).iter().any(|path| path.split("::").next() == Some(name));
            if within && !unused.remove(file.path.as_str()) {
                complaints.push(format!("{}: {name} is known to {} alone", file.path, allowed.join(", ")));
            }
        }
        complaints.extend(unused.iter().map(|path| format!("{path}: has no use for {name} any more")));
    }
    complaints
}

/// The program's own sources.
fn program() -> Vec<SourceFile> {
    files("src", ".rs")
}
