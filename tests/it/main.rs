//! The integration tests: one binary, a chapter for each promise.
//!
//! Every test has a [`support::World`] of its own: a temporary folder, a real
//! database, a real embedding server on loopback, and the real program.

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

mod adoption;
mod adoption_interrupted;
mod adoption_trusted;
mod agent;
mod agent_blocked;
mod announce;
mod announce_api;
mod announce_commands;
mod announce_status;
mod any_changes;
mod any_chunks;
mod any_source;
mod any_time;
mod cache_age;
mod ceiling;
mod cli;
mod cli_damage;
mod cli_output;
mod cli_read_only;
mod coarse_stamps;
mod commits;
mod compatibility;
mod config_check;
mod crash;
mod data_sets;
mod diff;
mod disk_full;
mod disk_space;
mod docs;
mod doubt;
mod evaluate;
mod evaluate_asked;
mod generated;
mod glossary;
mod guards;
mod hidden_changes;
mod init;
mod json_columns;
mod layers;
mod locking;
mod long_texts;
mod marker;
mod odd_tables;
mod operator_signals;
mod other_host;
mod parity;
mod parity_bad_answers;
mod parity_bad_rows;
mod parity_env;
mod parity_interrupted;
mod properties;
mod provider_answers;
mod provider_faults;
mod provider_fields;
mod provider_limits;
mod provider_openai;
mod provider_refusals;
mod quarantine;
mod reader;
mod readme;
mod rebuy;
mod request_extras;
mod retention;
mod reuse;
mod rollback;
mod search;
mod secrets;
mod settings_file;
mod shutdown;
mod source_faults;
mod source_owner;
mod source_read_only;
mod space;
mod space_accepted;
mod space_address;
mod status_check;
mod status_pass;
mod strangers;
mod style;
mod support;
mod texts;
mod timings;
mod unchanged;
mod units;
mod watch;
mod watch_paths;
mod watch_unavailable;
