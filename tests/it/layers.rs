//! Which part of the program may use which, and what may stand where.
//!
//! Folders of `src` are layers: the names are read from the tree, and a table
//! here says what each layer may use. Where the tree is right to differ from a
//! rule, the exception stands here with its reason; an exception that nothing
//! needs any more is a complaint itself. As in `style`, each rule is also run
//! on a sample that breaks it.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::source::{
    Import, SourceFile, assert_complaints, assert_none, imports, is_name, paths, program,
};

/// Each layer with those that it may use. `main` and `lib.rs` may use all.
const LAYERS: [(&str, &[&str]); 9] = [
    ("domain", &[]),
    ("config", &["domain"]),
    ("decide", &["domain", "config"]),
    ("adapters", &["domain", "config", "decide"]),
    ("flows", &["domain", "config", "decide", "adapters"]),
    ("logging", &["domain", "config"]),
    ("app", &["domain", "config", "decide", "adapters", "flows", "logging"]),
    ("daemon", &["domain", "config", "decide", "adapters", "flows", "logging", "app"]),
    ("cli", &["domain", "config", "decide", "adapters", "flows", "logging", "app"]),
];

/// Uses that the rules refuse and that are right, or not yet undone: who, whom, why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("adapters::embed", "adapters::http", "http has the only outgoing sockets"),
    ("adapters::deliver", "adapters::http", "http has the only outgoing sockets"),
    ("adapters::deliver", "adapters::builds", "a build is what is delivered, and its notes record to whom"),
];

/// Files that import each other in a circle: this list may only shrink.
const CIRCLES: &[&[&str]] = &[];

/// Files that use their folder's `mod.rs`, which uses them: this list may only shrink.
const CIRCLES_WITH_FOLDER: &[&str] = &[];

/// Crates and calls that stand for a part of the outside world, with the only files that may use them.
const OWNERS: [(&str, &[&str]); 6] = [
    ("faiss", &["src/adapters/builds/index/mod.rs"]),
    (
        "rusqlite",
        &[
            "src/adapters/source/sqlite.rs",
            "src/adapters/source/authorize.rs",
            "src/adapters/source/describe.rs",
            "src/adapters/source/failure.rs",
            "src/adapters/source/missing_names.rs",
            "src/adapters/source/resolve.rs",
            "src/adapters/cache/mod.rs",
            "src/adapters/cache/error.rs",
            "src/adapters/cache/file.rs",
            "src/adapters/cache/notes.rs",
            "src/adapters/cache/queries.rs",
            "src/adapters/cache/rebuy.rs",
        ],
    ),
    ("reqwest", &["src/adapters/http/mod.rs", "src/adapters/http/own_address.rs"]),
    ("notify", &["src/adapters/watch/arm.rs", "src/adapters/watch/events.rs"]),
    ("signal_hook", &["src/adapters/signals/mod.rs"]),
    (
        "std::thread",
        &[
            "src/domain/parallel/mod.rs",
            // A thread that lives as long as the agent.
            "src/adapters/watch/mod.rs",
            "src/app/threads.rs",
        ],
    ),
];

#[test]
fn layers_use_only_the_layers_they_may() {
    assert_none(&against_the_layers(&program(), EXCEPTIONS));
}

#[test]
fn a_use_that_points_up_or_aside_and_a_needless_exception_are_found() {
    let good = [
        SourceFile::sample("src/domain/record.rs", "//! [`crate::flows`]\nuse std::fmt;\n// crate::flows\n"),
        SourceFile::sample(
            "src/decide/plan.rs",
            "use super::debounce::Window; fn f() { crate::domain::g() }",
        ),
        SourceFile::sample(
            "src/adapters/embed/mod.rs",
            "use crate::{adapters::http, domain::record::Space};",
        ),
        SourceFile::sample(
            "src/adapters/deliver.rs",
            "use super::http;\n#[cfg(test)]\nmod tests { use crate::cli; }",
        ),
        SourceFile::sample("src/cli/tests.rs", "use crate::daemon;"),
        SourceFile::sample("src/main.rs", "use reindexd::{cli, daemon};"),
    ];
    let bad = [
        SourceFile::sample("src/adapters/cache.rs", "use crate::{domain::record, adapters::embed::Item};"),
        SourceFile::sample("src/adapters/embed/wire.rs", "use super::super::cache; fn f() { cache::get() }"),
        SourceFile::sample("src/decide/mod.rs", "pub mod plan; fn f() { super::flows::agent::run() }"),
        SourceFile::sample(
            "src/flows/agent/mod.rs",
            "use crate::flows as all; fn f() { all::reconcile::run() }",
        ),
        SourceFile::sample("src/logging/mod.rs", "pub use crate::decide::plan::Plan;"),
        SourceFile::sample("src/cli/run.rs", "fn f() { crate::daemon::run() }"),
        SourceFile::sample("src/spare/mod.rs", ""),
        SourceFile::sample("src/stray.rs", ""),
    ];

    let exceptions = [
        ("adapters::embed", "adapters::http", "needed"),
        ("adapters::deliver", "adapters::http", "needed"),
        ("adapters::http", "adapters::embed", "not needed"),
    ];

    let complaints = against_the_layers(&[good.to_vec(), bad.to_vec()].concat(), &exceptions);

    assert_complaints(
        complaints,
        &[
            "adapters::http: does not use adapters::embed",
            "src/adapters/cache.rs: may not use adapters::embed",
            "src/adapters/embed/wire.rs: may not use adapters::cache",
            "src/cli/run.rs: may not use daemon",
            "src/decide/mod.rs: may not use flows::agent",
            "src/flows/agent/mod.rs: may not use flows::reconcile",
            "src/logging/mod.rs: may not use decide::plan",
            "src/spare/mod.rs: spare is not a layer",
            "src/stray.rs: stray is not a layer",
        ],
    );
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    assert_none(&new_circles(&program(), CIRCLES, CIRCLES_WITH_FOLDER));
}

#[test]
fn a_circle_of_imports_and_a_known_one_that_is_gone_are_found() {
    let sample = [
        // `lib.rs` and a folder's `mod.rs` only hand on what others define.
        SourceFile::sample("src/lib.rs", "pub mod a;\npub use a::Two;"),
        SourceFile::sample("src/a/mod.rs", "mod one;\nmod two;\npub use self::{one::One, two::Two};"),
        SourceFile::sample("src/a/one.rs", "fn f(two: super::Two) {}"),
        SourceFile::sample("src/a/two.rs", "#[cfg(test)]\nmod tests { use super::super::One; }"),
        SourceFile::sample("src/b/mod.rs", "mod c;\nmod d;\npub use c::C;\nfn f() -> C { c::new() }"),
        SourceFile::sample("src/b/c.rs", "use crate::b::d;\nfn f() { d::run() }"),
        SourceFile::sample("src/b/d.rs", "use super::*;"),
        SourceFile::sample("src/e.rs", "use crate::f::F;"),
        SourceFile::sample("src/f.rs", "use crate::{self as all, b};\nfn f() { all::e::run() }"),
        SourceFile::sample("src/j.rs", "use crate::k::K;"),
        SourceFile::sample("src/k.rs", "use crate::j;\npub use j::J;\nfn f(j: J) {}"),
    ];
    let known: [&[&str]; 2] = [&["src/e.rs", "src/f.rs"], &["src/g.rs", "src/h.rs"]];

    let complaints = new_circles(&sample, &known, &["src/b/c.rs", "src/i.rs"]);

    let expected = [
        "src/b/d.rs: a circle",
        "a circle of imports: src/j.rs, src/k.rs",
        "gone: src/g.rs, src/h.rs",
        "src/b/c.rs: no circle",
        "src/i.rs: no circle",
    ];
    assert_complaints(complaints, &expected);
}

#[test]
fn domain_and_decisions_use_no_outside_world_and_no_clock() {
    assert_none(&outside_world(&program()));
}

#[test]
fn a_decision_that_reads_a_file_or_the_clock_is_found() {
    let sample = [
        SourceFile::sample("src/decide/plan.rs", "use std::{fmt, fs::File}; // tracing::info"),
        SourceFile::sample(
            "src/decide/guard.rs",
            "use std::time::{Duration, Instant as I}; fn f() { I::now(); }",
        ),
        SourceFile::sample("src/domain/text.rs", "use std::thread; fn f() { thread::spawn(g) }"),
        SourceFile::sample("src/domain/parallel.rs", "use std::thread; fn f() { thread::spawn(g) }"),
        SourceFile::sample("src/adapters/cache.rs", "use std::fs;"),
    ];

    let expected = [
        "src/decide/guard.rs: std::time::Instant::now",
        "src/decide/plan.rs: std::fs::File",
        "src/domain/text.rs: std::thread",
    ];
    assert_complaints(outside_world(&sample), &expected);
}

#[test]
fn flows_hold_no_sql_no_json_and_no_parsing() {
    assert_none(&parsing_flows(&program()));
}

#[test]
fn a_flow_that_parses_or_queries_is_found() {
    let sample = [
        SourceFile::sample("src/flows/agent/mod.rs", "fn f() { serde_json::to_string(b) }"),
        SourceFile::sample("src/flows/reconcile/reuse.rs", "const Q: &str = \"SELECT id FROM experts\";"),
        SourceFile::sample("src/flows/status/mod.rs", "fn f() { text.parse() }"),
        SourceFile::sample("src/adapters/source/mod.rs", "const Q: &str = \"SELECT id FROM experts\";"),
    ];

    let expected = [
        "src/flows/agent/mod.rs: serde_json",
        "src/flows/reconcile/reuse.rs: SELECT",
        "src/flows/status/mod.rs: .parse(",
    ];
    assert_complaints(parsing_flows(&sample), &expected);
}

#[test]
fn each_part_of_the_outside_world_has_one_owner() {
    assert_none(&other_owners(&program()));
}

#[test]
fn a_second_owner_and_one_that_owns_nothing_are_found() {
    let uses = |name| format!("use {name} as x; fn f() {{ x::spawn() }}");
    let mut sample: Vec<_> = OWNERS.iter().map(|(name, at)| SourceFile::sample(at[0], &uses(name))).collect();
    sample.push(SourceFile::sample("src/flows/agent/mod.rs", "use rusqlite::Connection;"));

    let unused = OWNERS.iter().flat_map(|(_, at)| &at[1..]).map(|path| format!("{path}: does not use"));
    let expected: Vec<_> = unused.chain(["src/flows/agent/mod.rs: rusqlite".to_owned()]).collect();
    assert_complaints(other_owners(&sample), &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The program by its modules, `crate` for `lib.rs`, unit tests aside.
struct Tree(BTreeMap<String, Module>);

struct Module {
    path: String,
    imports: Vec<Import>,
    code: String,
}

/// What a file names, from the crate's root down.
struct Reference {
    path: String,
    /// Whether it is only handed on, by a `pub use` whose name the file does not use.
    is_handed_on: bool,
}

impl Tree {
    fn new(files: &[SourceFile]) -> Self {
        let mut modules = BTreeMap::new();
        for file in files.iter().filter(|file| !file.is_unit_tests()) {
            let name = match file.path.as_str() {
                "src/main.rs" => "main".to_owned(),
                _ => [vec!["crate"], file.module()].concat().join("::"),
            };
            let (imports, code) = imports(&file.code());
            modules.insert(name, Module { path: file.path.clone(), imports, code });
        }
        Self(modules)
    }

    /// A path as a module writes it, from the crate's root or another crate's down.
    fn full(&self, module: &str, path: &str) -> String {
        let (first, rest) = path.split_once("::").map_or((path, ""), |(first, rest)| (first, rest));
        let join = |base: &str| if rest.is_empty() { base.to_owned() } else { format!("{base}::{rest}") };
        let import = || self.0[module].imports.iter().find(|import| import.name == first);
        let child = format!("{module}::{first}");
        match first {
            "crate" => path.to_owned(),
            "reindexd" => join("crate"),
            "self" => join(module),
            "super" => above(module, rest),
            _ if self.0.contains_key(&child) => join(&child),
            _ => match import().filter(|import| import.path.split("::").next() != Some(first)) {
                Some(import) => join(&self.full(module, &import.path)),
                None => path.to_owned(),
            },
        }
    }

    /// All that a module names; one that its own code does not use is handed on.
    fn references(&self, name: &str) -> Vec<Reference> {
        let module = &self.0[name];
        let names: BTreeSet<&str> = module.code.split(|c| !is_name(c)).collect();
        let imported = module.imports.iter().map(|import| Reference {
            path: self.full(name, &import.path),
            is_handed_on: import.is_public && !names.contains(import.name.as_str()),
        });
        let named = paths(&module.code).into_iter();
        let named = named.map(|path| Reference { path: self.full(name, &path), is_handed_on: false });
        imported.chain(named).collect()
    }

    /// The module whose file defines what a path from the root names: imports on the way are followed.
    fn definer(&self, path: &str) -> Option<&str> {
        let mut end = path.len();
        let (module, held) = loop {
            match self.0.get_key_value(&path[..end]) {
                Some(found) => break found,
                None => end = path[..end].rfind("::")?,
            }
        };
        let mut rest = path[end..].trim_start_matches("::").splitn(2, "::");
        let next = rest.next().unwrap_or_default();
        let import = held.imports.iter().find(|import| import.name == next);
        match import.map(|import| self.full(module, &import.path)).filter(|onward| onward != path) {
            Some(onward) if onward.starts_with("crate") => self.definer(&onward).or(Some(module)),
            _ => Some(module),
        }
    }
}

/// `rest` from the module above this one; each further `super` in it leads one up.
fn above(module: &str, rest: &str) -> String {
    let up = module.rsplit_once("::").map_or("crate", |(up, _)| up);
    match rest.split_once("::") {
        Some(("super", rest)) => above(up, rest),
        _ if rest == "super" => above(up, ""),
        _ if rest.is_empty() => up.to_owned(),
        _ => format!("{up}::{rest}"),
    }
}

/// Whether a path names something in a module, or the module itself.
fn is_within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether a part of a layer may use another; within a layer all may, except adapters and two flows.
fn may_use(layer: &str, part: &str, other: &str, other_part: &str) -> bool {
    const APART: [&str; 2] = ["agent", "reconcile"];
    if layer != other {
        return LAYERS.iter().any(|(name, below)| *name == layer && below.contains(&other));
    }
    part == other_part
        || match layer {
            "adapters" => false,
            "flows" => !(APART.contains(&part) && APART.contains(&other_part)),
            _ => true,
        }
}

fn against_the_layers(files: &[SourceFile], exceptions: &[(&str, &str, &str)]) -> Vec<String> {
    let is_layer = |name: &str| LAYERS.iter().any(|(layer, _)| *layer == name);
    let tree = Tree::new(files);
    let (mut complaints, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (name, module) in &tree.0 {
        let Some(own) = name.strip_prefix("crate::") else { continue };
        let (layer, part) = layer_and_part(own);
        if !is_layer(layer) {
            complaints.insert(format!("{}: {layer} is not a layer", module.path));
            continue;
        }
        for reference in tree.references(name) {
            let Some(path) = reference.path.strip_prefix("crate::") else { continue };
            let (other, other_part) = layer_and_part(path);
            if !is_layer(other) || may_use(layer, part, other, other_part) {
                continue;
            }
            let is_excepted =
                |(who, whom, _): &(&str, &str, &str)| is_within(own, who) && is_within(path, whom);
            match exceptions.iter().position(is_excepted) {
                Some(nth) => used.insert(nth),
                None => complaints.insert(format!("{}: may not use {path}", module.path)),
            };
        }
    }
    let needless = exceptions.iter().enumerate().filter(|(nth, _)| !used.contains(nth));
    complaints.extend(
        needless.map(|(_, (who, whom, _))| format!("{who}: does not use {whom}, remove the exception")),
    );
    complaints.into_iter().collect()
}

/// The first two names of a path below the crate's root.
fn layer_and_part(path: &str) -> (&str, &str) {
    let mut names = path.split("::");
    (names.next().unwrap_or_default(), names.next().unwrap_or_default())
}

/// Circles of files, and files that use their folder's `mod.rs`, which uses them.
///
/// The first are found without those uses of a `mod.rs`: else each of them
/// would join all files of its folder to one circle.
fn circles(tree: &Tree) -> (BTreeSet<Vec<&str>>, BTreeSet<&str>) {
    let (mut uses, mut upward) = (BTreeMap::new(), Vec::new());
    for name in tree.0.keys() {
        let used = tree.references(name).into_iter().filter(|reference| !reference.is_handed_on);
        let used = used.filter_map(|reference| tree.definer(&reference.path)).filter(|used| used != name);
        let (up, others): (BTreeSet<&str>, BTreeSet<&str>) = used.partition(|used| is_within(name, used));
        upward.extend(up.into_iter().map(|folder| (name.as_str(), folder)));
        uses.insert(name.as_str(), others);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        uses.keys().map(|name| (*name, all_used(&uses, name))).collect();
    let path = |name: &str| tree.0[name].path.as_str();
    let around = uses.keys().map(|from| {
        let around = reached[from].iter().filter(|to| reached[*to].contains(from));
        around.map(|name| path(name)).collect::<Vec<_>>()
    });
    let back = upward.iter().filter(|(file, folder)| reached[folder].contains(file));
    (around.filter(|circle| !circle.is_empty()).collect(), back.map(|(file, _)| path(file)).collect())
}

/// All that a module uses, directly and through others.
fn all_used<'a>(uses: &BTreeMap<&'a str, BTreeSet<&'a str>>, module: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&str> = uses[module].iter().copied().collect();
    while let Some(module) = next.pop() {
        if found.insert(module) {
            next.extend(&uses[module]);
        }
    }
    found
}

fn new_circles(files: &[SourceFile], known: &[&[&str]], known_back: &[&str]) -> Vec<String> {
    let tree = Tree::new(files);
    let (found, back) = circles(&tree);
    let known: BTreeSet<Vec<&str>> = known.iter().map(|circle| circle.to_vec()).collect();
    let known_back: BTreeSet<&str> = known_back.iter().copied().collect();
    let mut complaints = Vec::new();
    complaints.extend(found.difference(&known).map(|new| format!("a circle of imports: {}", new.join(", "))));
    complaints
        .extend(known.difference(&found).map(|old| format!("a known circle is gone: {}", old.join(", "))));
    complaints.extend(back.difference(&known_back).map(|file| format!("{file}: a circle with its mod.rs")));
    complaints.extend(
        known_back.difference(&back).map(|file| format!("{file}: no circle with its mod.rs any more")),
    );
    complaints
}

fn outside_world(files: &[SourceFile]) -> Vec<String> {
    const WORLD: [&str; 12] = [
        "std::fs",
        "std::net",
        "std::env",
        "std::os::unix::fs",
        "std::os::unix::net",
        "std::thread",
        "std::process",
        "std::time::SystemTime",
        "tracing",
        "tokio",
        "jiff",
        "rustix",
    ];
    let tree = Tree::new(files);
    let mut complaints = BTreeSet::new();
    for (name, module) in &tree.0 {
        if !is_within(name, "crate::domain") && !is_within(name, "crate::decide") {
            continue;
        }
        let found = tree.references(name).into_iter().map(|reference| reference.path).filter(|path| {
            let is_own_thread = name == "crate::domain::parallel" && is_within(path, "std::thread");
            let is_outside = WORLD.iter().any(|world| is_within(path, world)) || path.ends_with("::now");
            is_outside && !is_own_thread
        });
        complaints.extend(found.map(|path| format!("{}: {path}", module.path)));
    }
    complaints.into_iter().collect()
}

fn parsing_flows(files: &[SourceFile]) -> Vec<String> {
    const PARSING: [&str; 10] = [
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
    let flows = files.iter().filter(|file| file.module().first() == Some(&"flows") && !file.is_unit_tests());
    let mut complaints = Vec::new();
    for file in flows {
        // SQL stands between quotes, which bare code does not have.
        let (code, text) = (file.code(), file.without_tests());
        let found = PARSING
            .iter()
            .filter(|word| code.contains(**word) || (word.ends_with(' ') && text.contains(**word)));
        complaints.extend(found.map(|word| format!("{}: {word}", file.path)));
    }
    complaints
}

fn other_owners(files: &[SourceFile]) -> Vec<String> {
    const SPAWNING: [&str; 3] = ["std::thread::spawn", "std::thread::scope", "std::thread::Builder"];
    let tree = Tree::new(files);
    let mut complaints = Vec::new();
    for (owned, owners) in OWNERS {
        let mut unused: BTreeSet<&str> = owners.iter().copied().collect();
        for (name, module) in &tree.0 {
            let is_use = |path: &str| match owned {
                // A sleep or a type is not a thread of its own.
                "std::thread" => SPAWNING.iter().any(|spawning| is_within(path, spawning)),
                _ => is_within(path, owned),
            };
            let is_owner = owners.contains(&module.path.as_str());
            if tree.references(name).iter().any(|reference| is_use(&reference.path)) {
                unused.remove(module.path.as_str());
                if !is_owner {
                    complaints.push(format!(
                        "{}: {owned} belongs to {} alone",
                        module.path,
                        owners.join(", ")
                    ));
                }
            }
        }
        complaints.extend(
            unused.iter().map(|path| format!("{path}: does not use {owned}, remove it from the owners")),
        );
    }
    complaints
}
