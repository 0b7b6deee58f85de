//! The proof that nothing is lost: kills, power cuts, faults, load.
//!
//! Each chapter breaks one thing in every way it can, and judges what is left by
//! the promises of README. `make proof` runs them in full, the gate thinned and
//! without those that are marked as ignored; both say how many cases there were
//! (see `report` and `scale`). `docs/testing.md` lists which promise is held by
//! which chapter.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::similar_names,
    clippy::many_single_char_names,
    clippy::type_complexity,
    clippy::items_after_statements,
    clippy::cast_possible_truncation,
    reason = "short tests say more with short names"
)]
#![allow(dead_code, reason = "not every chapter needs all of its world")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::disallowed_methods, reason = "tests may do what only one file of the program may")]

mod damaged_files;
mod errors;
mod fault_injection;
mod faulty_provider;
mod kills;
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
