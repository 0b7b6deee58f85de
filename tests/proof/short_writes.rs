//! A limit on the size of files: real short writes, at any place in a file.

use std::process::Command;
use std::time::Instant;

use crate::fault_injection::{Harness, RECONCILE, ROLLBACK, Scenario, Served, finished};
use crate::report::report_line;
use crate::sampling;
use crate::support::not_run;

/// Longer than the longest file of a run.
const ENOUGH: u64 = 1 << 20;

#[test]
fn build_with_a_file_cut_short_at_any_length_leaves_the_old_one() {
    cut_short_at_every_length(&RECONCILE, &["metadata.json", "embeddings.sqlite"]);
}

#[test]
fn a_rollback_whose_files_are_cut_short_at_any_length_serves_one_of_its_two_builds() {
    cut_short_at_every_length(&ROLLBACK, &["hold.json", "state.json"]);
}

/// Limits from one byte on, each a fifth above the one before; `files` must be
/// among those that are cut short.
fn cut_short_at_every_length(scenario: &'static Scenario, files: &[&str]) {
    let Some(harness) = Harness::of(scenario) else { return };
    let available =
        Command::new("prlimit").args(["--fsize=1", "env", "--default-signal=XFSZ", "true"]).status();
    if !available.is_ok_and(|status| status.success()) {
        assert!(!sampling::is_full(), "the full proof needs prlimit");
        return not_run("there is no prlimit to limit files with");
    }
    let begun = Instant::now();
    let lengths = std::iter::successors(Some(1), |length| Some(length + 1 + length / 5));
    let lengths = sampling::thinned(lengths.take_while(|length| *length < ENOUGH).collect(), 16);
    let (mut cut, mut whole, mut logs) = (0, 0, String::new());
    for &length in &lengths {
        let at = format!("{}, no file longer than {length} bytes", scenario.name);
        harness.restore();
        let (code, log) = finished(&mut limited(&harness.command(), length));
        let served = harness.whole(&at);
        let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("reindexd: ")).collect();
        match (code, lines.as_slice()) {
            (0, []) => {
                assert_eq!(served, Served::New, "{at}: {log}");
                whole += 1;
            }
            (1, [line]) => {
                assert_eq!(served, Served::Old, "{at}: {log}");
                assert!(line.contains("data/") && line.contains("cannot "), "{at}: {line}");
                cut += 1;
            }
            _ => panic!("{at}: neither a build nor one line of error: exit {code}: {log}"),
        }
        // A limit that did no harm is in the log too, as a warning.
        logs += &log;
        assert_eq!(harness.world.staging(), Vec::<std::path::PathBuf>::new(), "{at}: {log}");
        harness.converges(&at, served);
    }
    let line = format!(
        "{}: {} lengths; {cut} ended the run with one line, {whole} did no harm; {:.0} s",
        scenario.name,
        lengths.len(),
        begun.elapsed().as_secs_f64(),
    );
    report_line("short_writes", &line);
    for file in files {
        assert!(logs.contains(file), "{file} was never cut: {logs}");
    }
    assert!(whole > 0, "{line}");
}

/// The command under a limit on the length of every file that it writes.
fn limited(command: &Command, bytes: u64) -> Command {
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--fsize={bytes}"));
    // The tests may run with its signal ignored, which the program would inherit.
    limited.args(["env", "--default-signal=XFSZ"]).arg(command.get_program()).args(command.get_args());
    limited.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.current_dir(command.get_current_dir().unwrap());
    limited
}
