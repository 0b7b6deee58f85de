//! Pure decisions: when a pass is due, what it builds, whether it may.
//!
//! Instants are arguments and effects are return values, so that every
//! decision is tested as a table of cases.

pub mod acceptance;
pub mod address;
pub(crate) mod agent_state;
pub(crate) mod backoff;
pub mod build_space;
pub(crate) mod ceiling;
pub(crate) mod debounce;
pub mod decision;
pub(crate) mod delivery;
pub mod differing_scan;
pub mod embedded_again;
pub mod first_settings;
pub mod guard;
pub(crate) mod lock_free;
pub(crate) mod other_host;
pub mod plan;
pub mod quality;
pub mod retries;
pub(crate) mod source_path;
