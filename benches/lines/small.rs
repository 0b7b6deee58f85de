//! Lines 2, 3, 4, 7a and 11: a host of usual size.

use std::time::Duration;

use super::{Bench, CONCURRENCY, SMALL};
use crate::baselines;
use crate::fixture::Fixture;
use crate::run::Memory;
use crate::table::{Figures, size, time};

/// Line 2: the whole process, nothing changed.
pub fn nothing_changed(bench: &mut Bench) {
    let fixture = bench.fixture("small", SMALL);
    fixture.settle();
    let runs = (0..bench.turns).map(|_| fixture.build(Memory::Unwatched).took);
    let ours = Figures::of(runs.collect::<Vec<_>>());
    bench.table.within("2", "1,558 rows, nothing changed", &ours, 0.030);
}

/// Line 3: ten texts changed.
pub fn ten_changed(bench: &mut Bench) {
    let fixture = bench.fixture("small", SMALL);
    let (ours, max) = changes(bench, &fixture, 10, bench.turns);
    bench.table.within("3", "1,558 rows, 10 changed, server at once", &ours, 0.100);
    bench.table.count("3", "requests for them", max, 1);
}

/// Builds after `count` changes each; also the maximum of requests of one build.
fn changes(bench: &mut Bench, fixture: &Fixture, count: u32, turns: usize) -> (Figures, usize) {
    fixture.settle();
    let mut ours = Figures::default();
    let mut max = 0;
    for _ in 0..turns {
        fixture.change(count, &mut bench.random);
        fixture.let_the_grace_pass();
        bench.server.counts();
        let ran = fixture.build(Memory::Unwatched);
        let (requests, texts) = bench.server.counts();
        assert_eq!((ran.text("outcome"), texts as u32), ("promoted", count), "{ran:?}");
        max = max.max(requests);
        ours.push(ran.took);
    }
    (ours, max)
}

/// Line 4: a first build with a slow server.
pub fn slow_server(bench: &mut Bench) {
    const LATENCY: Duration = Duration::from_millis(200);
    let fixture = bench.fixture("small", SMALL);
    let requests = SMALL.div_ceil(100);
    let chain = LATENCY * requests.div_ceil(CONCURRENCY as u32);
    bench.server.set_latency(LATENCY);
    let (mut ours, mut limit) = (Figures::default(), Figures::default());
    for _ in 0..bench.turns {
        fixture.forget_builds();
        ours.push(fixture.build(Memory::Unwatched).took);
        limit.push(chain);
    }
    bench.server.set_latency(Duration::ZERO);
    let what = "1,558 rows, first build, server after 200 ms";
    bench.table.ratio("4", what, &ours, ("longest chain of requests", &limit), 1.3);
}

/// Line 7a: 20,000 rows.
pub fn twenty_thousand(bench: &mut Bench) {
    let fixture = bench.fixture("twenty-thousand", 20_000);
    first_build_of(bench, &fixture, "7a", "20,000 rows");
    let (same, _) = super::checks(&fixture, bench.turns, Memory::Unwatched);
    bench.table.within("7a", "20,000 rows, nothing changed", &same.times, 0.060);
    let (changed, _) = changes(bench, &fixture, 10, bench.turns);
    bench.table.within("7a", "20,000 rows, 10 changed", &changed, 0.250);
}

/// A first build of any table; returns the highest peak of memory.
pub fn first_build_of(bench: &mut Bench, fixture: &Fixture, line: &'static str, rows: &str) -> u64 {
    let (ours, client) = first_builds(bench, fixture, bench.long_turns);
    let what = format!("{rows}, first build, server at once");
    bench.table.ratio(line, &what, &ours.times, ("client that drops the answers", &client), 1.5);
    ours.peak
}

/// First builds, each compared with a client that sends the same requests.
fn first_builds(bench: &Bench, fixture: &Fixture, turns: usize) -> (super::Runs, Figures) {
    fixture.forget_builds();
    bench.server.record();
    fixture.build(Memory::Unwatched);
    let requests = bench.server.recorded();
    let (mut ours, mut client) = (super::Runs::default(), Figures::default());
    for _ in 0..turns {
        let (took, bytes) = baselines::replaying(bench.server.address(), &requests, CONCURRENCY);
        client.push(took);
        fixture.forget_builds();
        rustix::fs::sync();
        let ran = fixture.build(Memory::Watched);
        assert_eq!(ran.number("/requests"), requests.len() as u64, "{ran:?}");
        let (ours_took, stages) = (time(ran.took.as_secs_f64()), &ran.json["phases_ms"]);
        eprintln!("  client {} for {}, ours {ours_took}: {stages}", client.last(), size(bytes as u64));
        ours.add(&ran);
    }
    (ours, client)
}

/// Line 11: from verified to served.
pub fn promotion(bench: &mut Bench) {
    for (name, rows) in [("small", SMALL), ("hundred-thousand", 100_000), ("million", 1_000_000)] {
        if rows > SMALL && !crate::fixture::root().join(name).join("data/current").exists() {
            continue;
        }
        let fixture = bench.fixture(name, rows);
        fixture.settle();
        let turns = if rows > 100_000 { 1 } else { bench.turns };
        let mut ours = Figures::default();
        for _ in 0..turns {
            fixture.change(1, &mut bench.random);
            fixture.let_the_grace_pass();
            ours.push(Duration::from_millis(fixture.build(Memory::Unwatched).number("/phases_ms/promote")));
        }
        bench.table.within("11", &format!("promotion of {rows} rows"), &ours, 0.050);
    }
    let fixture = bench.fixture("small", SMALL);
    fixture.change(1, &mut bench.random);
    match flushes_of_a_promotion(&fixture) {
        Some(count) => bench.table.count("11", "fsyncs from verified to served", count, 5),
        None => eprintln!("NOT RUN: line 11 counts fsyncs with strace, which is not available here"),
    }
}

/// The fsyncs of a build from the manifest on, which is the first file that a promotion makes.
fn flushes_of_a_promotion(fixture: &Fixture) -> Option<usize> {
    let log = fixture.scratch().with_extension("strace");
    let build = fixture.command(&["build"]);
    let mut traced = std::process::Command::new("strace");
    traced.args(["-f", "-qq", "-e", "trace=openat,fsync,fdatasync", "-y", "-o"]).arg(&log);
    traced.arg(build.get_program()).args(build.get_args()).env_clear();
    traced.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let path = std::env::var_os("PATH")?;
    traced.env("PATH", path).current_dir(fixture.scratch().parent()?);
    traced.output().ok().filter(|output| output.status.success())?;
    let calls = std::fs::read_to_string(&log).ok()?;
    std::fs::remove_file(&log).ok();
    let of_promotion =
        calls.lines().skip_while(|line| !(line.contains("manifest.json") && line.contains("O_CREAT")));
    // After the promotion the cache drops vectors that the build has, and the
    // attempt is recorded for `history`.
    let of_promotion = of_promotion.take_while(|line| !line.contains("state.json"));
    Some(of_promotion.filter(|line| line.contains("sync(") && !line.contains("embeddings.sqlite")).count())
}
