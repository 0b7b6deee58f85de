//! Comparison with other programs that keep an index in sync with a table: a stand-in for ingest.py, and
//! two libraries.
//!
//! Each is a whole process with the same table and the same server, in turns with
//! ours, and keeps its files from one run to the next. Nothing here has a target.
//! The start of an interpreter and its imports are part of their times, as for
//! their users, and are reported separately too.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Bench, Runs, SMALL};
use crate::fixture::{Fixture, program, root};
use crate::run::{Memory, Ran, run};
use crate::table::{Figures, size};

/// A program that is compared with ours.
struct Other {
    name: &'static str,
    /// Its file in `benches/libraries`, without the ending.
    module: &'static str,
}

const OTHERS: [Other; 3] = [
    Other { name: "stand-in for ingest.py", module: "ingest_stand_in" },
    Other { name: "LangChain", module: "langchain_index" },
    Other { name: "LlamaIndex", module: "llama_index_pipeline" },
];

/// What happens before each run of a turn.
#[derive(Clone, Copy)]
enum Before {
    Forgotten,
    Nothing,
    BiosChanged,
    RatesChanged,
}

const STAGES: [(&str, Before); 4] = [
    ("first build", Before::Forgotten),
    ("nothing changed", Before::Nothing),
    ("10 bios changed", Before::BiosChanged),
    ("10 hourly rates changed, which are in no text", Before::RatesChanged),
];

/// The result of one program in one stage.
#[derive(Default)]
struct Cost {
    runs: Runs,
    requests: usize,
    texts: usize,
}

impl Cost {
    fn print(&self) -> String {
        let Self { runs, requests, texts } = self;
        let (took, peak) = (runs.times.seconds(), size(runs.peak));
        let asked = match requests {
            0 => "no request".to_owned(),
            1 => format!("{texts} texts in 1 request"),
            _ => format!("{texts} texts in {requests} requests"),
        };
        format!("{took}, {asked}, {peak}")
    }
}

/// All four stages, and how many rows the indexes lead to afterwards.
pub fn libraries(bench: &mut Bench) {
    let Some(python) = crate::python::with(&folder().join("requirements.txt")) else {
        eprintln!("NOT RUN: the libraries are installed with python3 -m venv and pip, and that failed here");
        return;
    };
    let fixture = bench.fixture("libraries", SMALL);
    fixture.forget_builds();
    starts(bench, &python);
    let mut last = [const { None::<Ran> }; OTHERS.len()];
    for (what, before) in STAGES {
        let mut ours = Cost::default();
        let mut theirs = OTHERS.map(|_| Cost::default());
        for _ in 0..bench.long_turns {
            prepare(bench, &fixture, before);
            measure(bench, &mut fixture.command(&["build", "--json"]), &mut ours);
            for (at, other) in OTHERS.iter().enumerate() {
                let mut command = other.command(&python, &fixture, bench);
                last[at] = Some(measure(bench, &mut command, &mut theirs[at]));
            }
        }
        for (other, cost) in OTHERS.iter().zip(&theirs) {
            let limit = format!("{}: {}", other.name, cost.print());
            let ratio = cost.runs.times.over(&ours.runs.times).times();
            bench.table.report("libraries", &format!("1,558 rows, {what}"), ours.print(), limit, ratio);
        }
    }
    let proof = run(&mut fixture.command(&["verify", "--json"]), Memory::Unwatched);
    let checks = proof.json["checks"].as_array().expect("verify prints its checks");
    let rows = checks.iter().find(|check| check["name"] == "ntotal").expect("verify counts the rows");
    let ours = format!("{} of {SMALL}, by `verify`", rows["found"].as_str().unwrap_or_default());
    for (other, ran) in OTHERS.iter().zip(last.iter().flatten()) {
        let what = "rows that the index leads to, after all that";
        let limit = format!("{}: {} of {}", other.name, ran.number("/found"), ran.number("/rows"));
        bench.table.report("libraries", what, ours.clone(), limit, String::new());
    }
}

impl Other {
    fn command(&self, python: &Path, fixture: &Fixture, bench: &Bench) -> Command {
        let mut command = Command::new(python);
        command.arg(folder().join(self.module).with_extension("py"));
        command.arg(fixture.database()).arg(self.files()).arg(bench.server.address().to_string());
        command.env_clear().env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// The folder of its files.
    fn files(&self) -> PathBuf {
        root().join("libraries").join(self.module)
    }
}

fn prepare(bench: &mut Bench, fixture: &Fixture, before: Before) {
    match before {
        Before::Forgotten => {
            fixture.forget_builds();
            for other in &OTHERS {
                std::fs::remove_dir_all(other.files()).ok();
            }
        }
        Before::Nothing => {}
        Before::BiosChanged => fixture.change(10, &mut bench.random),
        Before::RatesChanged => fixture.change_rates(10, &mut bench.random),
    }
    if fixture.served().is_some() {
        fixture.let_the_grace_pass();
    }
}

fn measure(bench: &Bench, command: &mut Command, cost: &mut Cost) -> Ran {
    rustix::fs::sync();
    bench.server.counts();
    let ran = run(command, Memory::Watched);
    let (requests, texts) = bench.server.counts();
    cost.runs.add(&ran);
    cost.requests = cost.requests.max(requests);
    cost.texts = cost.texts.max(texts);
    ran
}

/// How long each takes to start and do nothing, with imports for the others.
fn starts(bench: &mut Bench, python: &Path) {
    let took = |command: &mut Command| {
        let runs = (0..bench.turns).map(|_| run(command, Memory::Unwatched).took);
        Figures::of(runs.collect::<Vec<_>>())
    };
    let ours = took(Command::new(program()).arg("--version"));
    for other in &OTHERS {
        let mut command = Command::new(python);
        command.args(["-c", &format!("import {}", other.module)]).current_dir(folder());
        let theirs = took(command.env_clear().env("PYTHONDONTWRITEBYTECODE", "1"));
        let what = "of each time: start, for theirs with imports";
        let limit = format!("{}: {}", other.name, theirs.seconds());
        bench.table.report("libraries", what, ours.seconds(), limit, theirs.over(&ours).times());
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/libraries")
}
