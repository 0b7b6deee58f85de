//! The proof that nothing is lost: kills, power cuts, faults, load.
//!
//! Each chapter breaks one thing in every way it can, and checks the result by
//! the promises of README. `make proof` runs all cases, the gate a sample of
//! them and no ignored test; both report how many cases there were (see `report`
//! and `sampling`). `docs/testing.md` lists which chapter proves which promise.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]
#![allow(
    clippy::similar_names,
    clippy::many_single_char_names,
    clippy::type_complexity,
    clippy::items_after_statements,
    clippy::cast_possible_truncation,
    reason = "short tests read better with short names"
)]
#![allow(dead_code, reason = "not every chapter uses all of the support")]
#![allow(unreachable_pub, reason = "nothing outside uses a test binary")]
#![allow(clippy::disallowed_methods, reason = "tests may do what only one file of the program may")]

mod any_source;
mod damaged_files;
mod errors;
mod fault_injection;
mod faulty_provider;
mod kills;
mod lasting_errors;
mod load;
mod power_cut;
mod process_stats;
mod random_edits;
mod readers;
mod report;
mod resources;
mod sampling;
mod served;
mod short_writes;
mod signals;
mod soak;
mod strace;
mod subprocess;
#[path = "../it/support/mod.rs"]
mod support;
