//! The integration tests: one binary, a chapter for each promise.
//!
//! Every test has a [`support::World`] of its own: a temporary folder, a real
//! database, a real embedding server on loopback, and the real program.

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

mod adoption;
mod adoption_undone;
mod agent;
mod alone;
mod announce;
mod announce_api;
mod announce_commands;
mod announce_status;
mod cli;
mod cli_damage;
mod cli_looks;
mod crash;
mod disk_full;
mod docs;
mod guards;
mod kept;
mod laws;
mod layers;
mod marker;
mod orders;
mod parity;
mod parity_env;
mod parity_wrong_answers;
mod parity_wrong_ends;
mod parity_wrong_rows;
mod phases;
mod plan;
mod provider_faults;
mod provider_limits;
mod provider_openai;
mod provider_refusals;
mod reader;
mod rollback;
mod search;
mod secrets;
mod shutdown;
mod source;
mod source_faults;
mod source_reader;
mod space;
mod support;
mod tidy;
mod unchanged;
mod watching;
mod watching_denied;
mod watching_places;
