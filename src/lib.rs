//! Keeps a Faiss index and its metadata in sync with a SQLite table.
//!
//! ```text
//!  watch ─▶ debounce ─▶ scan ─▶ plan ─▶ embed ─▶ index ─▶ verify ─▶ promote ─▶ deliver
//! └─ agent + state ──┘ └──────── reconcile: one straight line ────────┘ └─ daemon ─┘
//! ```
//!
//! Each module is a layer, and uses only those above it in this list:
//!
//! - [`domain`]: types and rules of content, without the outside world;
//! - [`config`]: the settings, and the only reader of the environment;
//! - [`decide`]: pure decisions;
//! - [`adapters`]: one edge of the outside world each;
//! - [`flows`]: the order of steps: one pass, the agent's loop, the status;
//! - [`logging`], [`app`]: where log lines go; what daemon and commands share;
//! - [`daemon`], [`cli`]: the service; the commands. They do not know each other.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may call what is banned"))]
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "the tests' own numbers are small"
    )
)]

pub mod adapters;
pub mod app;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod decide;
pub mod domain;
pub mod flows;
mod logging;

/// Name and version, as manifests and requests carry them.
pub const PROGRAM: &str = concat!("reindexd ", env!("CARGO_PKG_VERSION"));
