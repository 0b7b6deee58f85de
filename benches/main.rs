//! What the program costs, compared with the minimum that any program would have to do.
//!
//! `make bench` runs every line of the table, `make bench LINES="1 6"` only
//! these. Measured only on demand: `LINES=shapes`, other tables, `LINES=cold`,
//! nothing in the page cache, `LINES=core`, one core less, and
//! `LINES=libraries`, compared with a stand-in for ingest.py and two libraries.
//!
//! The real program is run as whole processes, fork and exec included, and each
//! limit is measured in the same run, in turns with it: ratios decide, since a
//! machine is never quiet. The report is printed and written to
//! `target/bench/report.md`. What is made for it stays below `target/bench`.

#![allow(clippy::unwrap_used, reason = "a bench that cannot continue fails")]
#![allow(clippy::disallowed_methods, reason = "a bench may do what only one file of the program may")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures of a report"
)]
#![allow(unreachable_pub, missing_docs, reason = "nothing outside uses a bench")]
#![allow(clippy::print_stdout, reason = "its report")]

mod baselines;
mod cpu_affinity;
mod fixture;
mod lines;
mod machine;
mod python;
mod run;
mod sample_rows;
mod server;
mod table;

use std::time::{Duration, Instant};

use lines::{Bench, agent, cold, core, judged, large, libraries, shapes, small, templates};
use server::Server;
use table::{Figures, Table};

type Line = fn(&mut Bench);

/// The lines in the order of measurement: each leaves what the next one needs.
const LINES: [(&str, Line); 13] = [
    ("2", small::nothing_changed),
    ("3", small::ten_changed),
    ("4", small::slow_server),
    ("7a", small::twenty_thousand),
    ("8", agent::marker),
    ("5", large::first_build),
    ("1", large::nothing_changed),
    ("7", large::verify),
    ("6", large::one_of_a_million),
    ("10", large::growth),
    ("11", small::promotion),
    ("12", templates::million_rendered),
    ("13", judged::judged),
];

/// The lines that are measured only on demand.
const ON_DEMAND: [(&str, Line); 4] = [
    ("shapes", shapes::shapes),
    ("cold", cold::cold),
    ("core", core::one_less),
    ("libraries", libraries::libraries),
];

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a whole number"))
    };
    let began = Instant::now();
    std::fs::create_dir_all(fixture::root()).unwrap();
    let head = machine::describe();
    eprint!("{head}");
    let turns = usize::try_from(number("TURNS", 5)).unwrap();
    let mut bench = Bench {
        server: Server::start(768),
        table: Table::default(),
        turns: turns.max(1) * 2 - 1,
        long_turns: turns.max(1),
        idle: Duration::from_secs(number("IDLE", 600)),
        random: fastrand::Rng::new(),
    };
    let start = start_of_the_program(&bench);
    let wanted = |line: &str| asked.is_empty() || asked.iter().any(|name| name == line);
    let idle = wanted("9").then(|| agent::begin_idle(&bench));
    for (name, line) in LINES {
        if wanted(name) {
            line(&mut bench);
        }
    }
    if let Some(idle) = idle {
        agent::end_idle(&mut bench, &idle);
    }
    for (name, line) in ON_DEMAND {
        if asked.iter().any(|asked| asked == name) {
            line(&mut bench);
        }
    }
    let report = format!(
        "{head}- start of the program: {} (`reindexd --version`; part of every time below)\n\n{}\n{} targets missed; measured in {} s\n",
        start.seconds(),
        bench.table.print(),
        bench.table.missed(),
        began.elapsed().as_secs()
    );
    print!("{report}");
    std::fs::write(fixture::root().join("report.md"), report).unwrap();
}

/// How long the program takes to start and do nothing.
fn start_of_the_program(bench: &Bench) -> Figures {
    let version = |_| {
        run::run(std::process::Command::new(fixture::program()).arg("--version"), run::Memory::Unwatched).took
    };
    Figures::of((0..bench.turns).map(version).collect::<Vec<_>>())
}
