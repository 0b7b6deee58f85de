//! The arguments of every command.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use super::{build, config, diff, eval, init, status, text, verify};
use crate::app::StartOptions;

/// Keeps a Faiss index and its metadata in sync with a SQLite table.
#[derive(Debug, Parser)]
#[command(name = "reindexd", version, arg_required_else_help = true)]
pub struct Args {
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help = "Settings file (else $REINDEXD_CONFIG, ./reindexd.toml, /etc/reindexd/reindexd.toml)"
    )]
    pub(super) config: Option<PathBuf>,
    /// Print one JSON object on standard output, and nothing else there
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the agent: watch the table and keep the served build in sync with it
    Run,
    /// Run one pass and exit, in place of ingest.py
    Build(build::BuildArgs),
    /// Show what a build would do; writes nothing
    Plan {
        /// Exit 1 if there is anything to do
        #[arg(long)]
        check: bool,
    },
    /// Show the served build, drift from the database, the last attempt and the agent
    Status(status::StatusArgs),
    /// Verify the served build, or BUILD, against its manifest
    Verify {
        /// The id of a build
        build: Option<String>,
    },
    /// List the kept builds and the last attempts
    History,
    /// Show the rows that differ between two builds, or the served build and the table; writes nothing
    Diff(diff::DiffArgs),
    /// Serve the build promoted before, or BUILD, and hold it until the table changes
    Rollback {
        /// The id of a build
        build: Option<String>,
        /// End the hold instead
        #[arg(long, conflicts_with = "build")]
        release: bool,
        /// Serve a build of another space than the served one
        #[arg(long, conflicts_with = "release")]
        accept_space: bool,
    },
    /// Search the served build
    Search {
        /// The question, as a sentence
        query: String,
        /// How many answers to print
        #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
        k: u16,
    },
    /// Show how well the served build, or BUILD, answers judged queries
    Eval(eval::EvalArgs),
    /// Show the document text of rows, before anything is sent
    Text(text::TextArgs),
    /// Remove stale staging
    Sweep,
    /// Write a commented settings file; never over another one
    Init(init::InitArgs),
    /// Show the settings in force and where each comes from
    Config(config::ConfigArgs),
}

impl Args {
    /// Whether the daemon runs, rather than a command.
    #[must_use]
    pub fn is_agent(&self) -> bool {
        matches!(self.command, Command::Run)
    }

    #[must_use]
    pub fn start_options(&self) -> StartOptions {
        StartOptions {
            config_file: self.config.clone(),
            json: self.json,
            is_agent: self.is_agent(),
            needs_key: self.command.needs_key(),
        }
    }
}

impl Command {
    fn needs_key(&self) -> bool {
        match self {
            Self::Run | Self::Build(_) | Self::Search { .. } | Self::Eval(_) | Self::Config(_) => true,
            Self::Plan { .. }
            | Self::Status(_)
            | Self::Verify { .. }
            | Self::History
            | Self::Diff(_)
            | Self::Rollback { .. }
            | Self::Text(_)
            | Self::Init(_)
            | Self::Sweep => false,
        }
    }

    /// The object that `--json` prints if the command did not start.
    pub(super) fn not_started(&self, message: &str) -> Value {
        match self {
            Self::Build(_) => build::not_started(message),
            Self::Verify { build } => verify::not_verified(build.as_deref(), message),
            _ => json!({ "error": message }),
        }
    }
}
