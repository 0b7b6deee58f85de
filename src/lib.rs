//! Keeps a Faiss index and its metadata true to the tagged rows of a SQLite table.
//!
//! ```text
//!  watch ─▶ debounce ─▶ snapshot ─▶ plan ─▶ embed ─▶ index ─▶ verify ─▶ promote ─▶ announce
//! └── agent + phase ──┘ └────────── reconcile: one straight line ──────────┘ └── agent ──┘
//! ```
//!
//! Four layers, imports pointing down only:
//!
//! - ground: [`record`], [`document`], [`pyjson`], [`manifest`], [`config`], [`pass`], [`stamp`],
//!   [`sqlite_uri`], [`visible`];
//! - decisions, pure: [`debounce`], [`phase`], [`plan`], [`guard`];
//! - edges: [`watch`], [`signals`], [`snapshot`], [`embed`], [`http`], [`cache`], [`builds`], [`announce`];
//! - order: [`reconcile`], one pass; [`agent`], the loop.
//!
//! In front of them stands [`cli`], a file for each command.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may cross the fences"))]
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "small numbers of the test's own"
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
pub mod logging;

/// Name and version, as manifests and requests carry them.
pub const PROGRAM: &str = concat!("reindexd ", env!("CARGO_PKG_VERSION"));
