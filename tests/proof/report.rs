//! The result of a proof, in one line for each claim: how many cases, of what, and what they cost.
//!
//! A line goes to standard error past the harness, so that the gate shows it, and
//! to a file of its chapter if `REINDEXD_PROOF_REPORT` names a folder, so that
//! `make proof` can end with one report.

use std::io::Write;

/// Prints a line of the report, under the name of the chapter that it belongs to.
pub fn report_line(chapter: &str, line: &str) {
    // Not by a macro, since the harness captures those.
    let printed = format!("PROOF {chapter}: {line}\n");
    std::io::stderr().write_all(printed.as_bytes()).unwrap();
    let Some(folder) = std::env::var_os("REINDEXD_PROOF_REPORT") else { return };
    std::fs::create_dir_all(&folder).unwrap();
    let file = std::path::Path::new(&folder).join(format!("{chapter}.txt"));
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}
