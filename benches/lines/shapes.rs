//! Other tables: the ratios of lines 1 and 6 for shapes that the program was not tuned for.

use super::{Bench, checks};
use crate::baselines;
use crate::fixture::{Fixture, Shape};
use crate::run::Memory;
use crate::server::Server;
use crate::table::Figures;

/// A table, and what it is measured for.
struct Case {
    name: &'static str,
    what: &'static str,
    shape: Shape,
    dimension: usize,
}

fn cases() -> [Case; 5] {
    let usual = Shape::usual(50_000);
    let case = |name, what, shape, dimension| Case { name, what, shape, dimension };
    [
        case(
            "shape-wide",
            "20,000 rows of 20 kB",
            Shape { tagged: 20_000, bio: 18_000..22_000, ..usual.clone() },
            768,
        ),
        case(
            "shape-tiny",
            "200,000 rows of 250 bytes",
            Shape { tagged: 200_000, bio: 1..2, ..usual.clone() },
            64,
        ),
        case("shape-3072", "50,000 rows × 3,072", usual.clone(), 3072),
        case(
            "shape-untagged",
            "1,000 tagged beside 1,000,000 untagged",
            Shape { tagged: 1_000, untagged: 1_000_000, ..usual.clone() },
            768,
        ),
        case("shape-ids", "50,000 rows with ids of 64 characters", Shape { long_ids: true, ..usual }, 768),
    ]
}

/// Each shape once, by the ratios of lines 1 and 6.
pub fn shapes(bench: &mut Bench) {
    for Case { name, what, shape, dimension } in cases() {
        let server = Server::start(dimension);
        let fixture = Fixture::open(name, shape, &server, dimension);
        let (check, stepping) = checks(&fixture, bench.turns, Memory::Unwatched);
        let what_1 = format!("{what}: no-change check");
        bench.table.ratio("S", &what_1, &check.times, ("bare stepping", &stepping), 1.5);
        let (mut ours, mut limit) = (Figures::default(), Figures::default());
        for _ in 0..bench.long_turns {
            rustix::fs::sync();
            let copy = baselines::copying(&fixture.served_files(), &fixture.scratch());
            limit.push(copy + fixture.build(Memory::Unwatched).took);
            fixture.change(1, &mut bench.random);
            fixture.let_the_grace_pass();
            rustix::fs::sync();
            ours.push(fixture.build(Memory::Unwatched).took);
        }
        let what_6 = format!("{what}: one row changed");
        bench.table.ratio("S", &what_6, &ours, ("check + cp and fsync", &limit), 2.0);
        fixture.forget_builds();
    }
}
