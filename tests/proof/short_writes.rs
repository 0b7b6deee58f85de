//! Files that may grow no further: real short writes, wherever in a file the limit falls.

use std::process::Command;
use std::time::Instant;

use crate::fault_injection::{Harness, RECONCILE, ROLLBACK, Scenario, Served, finished};
use crate::report::report_line;
use crate::sampling;
use crate::support::not_run;

/// The longest file of a run is shorter.
const ENOUGH: u64 = 1 << 20;

#[test]
fn build_with_a_file_cut_short_at_any_length_leaves_the_old_one() {
    cut_short_at_every_length(&RECONCILE, &["metadata.json", "embeddings.sqlite"]);
}

#[test]
fn a_rollback_whose_files_are_cut_short_at_any_length_serves_one_of_its_two_builds() {
    cut_short_at_every_length(&ROLLBACK, &["hold.json", "state.json"]);
}

/// Limits from one byte on, each a fifth above the one before, until none is met; `files` must be among those cut.
fn cut_short_at_every_length(scenario: &'static Scenario, files: &[&str]) {
    let Some(field) = Harness::of(scenario) else { return };
    let there = Command::new("prlimit").args(["--fsize=1", "env", "--default-signal=XFSZ", "true"]).status();
    if !there.is_ok_and(|status| status.success()) {
        assert!(!sampling::is_full(), "the proof in full wants prlimit");
        return not_run("there is no prlimit to keep files short");
    }
    let begun = Instant::now();
    let lengths = std::iter::successors(Some(1), |length| Some(length + 1 + length / 5));
    let lengths = sampling::thinned(lengths.take_while(|length| *length < ENOUGH).collect(), 16);
    let (mut cut, mut whole, mut said) = (0, 0, String::new());
    for &length in &lengths {
        let at = format!("{}, no file longer than {length} bytes", scenario.name);
        field.restore();
        let (code, words) = finished(&mut limited(&field.command(), length));
        let served = field.whole(&at);
        let lines: Vec<&str> = words.lines().filter(|line| line.starts_with("reindexd: ")).collect();
        match (code, lines.as_slice()) {
            (0, []) => {
                assert_eq!(served, Served::New, "{at}: {words}");
                whole += 1;
            }
            (1, [line]) => {
                assert_eq!(served, Served::Old, "{at}: {words}");
                assert!(line.contains("data/") && line.contains("cannot "), "{at}: {line}");
                cut += 1;
            }
            _ => panic!("{at}: neither a build nor one line of error: exit {code}: {words}"),
        }
        // What did no harm is said too, as a warning.
        said += &words;
        assert_eq!(field.world.staging(), Vec::<std::path::PathBuf>::new(), "{at}: {words}");
        field.converges(&at, served);
    }
    let line = format!(
        "{}: {} lengths; {cut} ended the run with one line, {whole} did no harm; {:.0} s",
        scenario.name,
        lengths.len(),
        begun.elapsed().as_secs_f64(),
    );
    report_line("limits", &line);
    for file in files {
        assert!(said.contains(file), "{file} was never cut: {said}");
    }
    assert!(whole > 0, "{line}");
}

/// The command under a limit on the length of every file that it writes.
fn limited(command: &Command, bytes: u64) -> Command {
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--fsize={bytes}"));
    // Whoever runs the tests may ignore the signal that comes with it, and that is inherited.
    limited.args(["env", "--default-signal=XFSZ"]).arg(command.get_program()).args(command.get_args());
    limited.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.current_dir(command.get_current_dir().unwrap());
    limited
}
