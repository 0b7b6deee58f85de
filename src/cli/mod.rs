//! The commands: arguments in, text for people or JSON for programs out, an exit code.
//!
//! One file for each command. This one starts the program for a command and
//! calls it; `args` holds the arguments and `print` what the commands print
//! alike. Nothing is decided here.

mod args;
mod build;
mod config;
mod history;
mod plan;
mod print;
mod progress;
mod rollback;
mod search;
mod status;
mod sweep;
mod table;
mod targets;
mod verify;

use serde_json::json;

use crate::adapters::signals::Handlers;
use crate::app::{self, StartError};

pub use args::Args;

use crate::app::{BUSY, Context, DONE, FAILED, USAGE, clock, embedder};
use args::Command;
use print::{fail, log_warnings, print, print_error, print_json};

/// Runs the command that the arguments name, and returns the exit code.
#[must_use]
pub fn main(args: &Args, handlers: &Handlers) -> u8 {
    run(args, handlers).unwrap_or_else(|StartError { code, message }| {
        if args.json {
            print_json(&args.command.not_started(&message));
        }
        print_error(&message);
        code
    })
}

fn run(args: &Args, handlers: &Handlers) -> Result<u8, StartError> {
    let loaded = app::load(&args.start_options())?;
    if matches!(args.command, Command::Config) {
        return Ok(config::run(args.json, &loaded));
    }
    let context = Context::new(loaded.config, args.json)?;
    context
        .listen_for_signals(handlers)
        .map_err(|error| StartError { code: FAILED, message: format!("cannot receive signals: {error}") })?;
    let code = match &args.command {
        Command::Build(options) => build::run(&context, options),
        Command::Plan { check } => plan::plan(&context, *check),
        Command::Status(options) => status::run(&context, options),
        Command::Verify { build } => verify::run(&context, build.as_deref()),
        Command::History => history::run(&context),
        Command::Rollback { build, release } => rollback::run(&context, build.clone(), *release),
        Command::Search { query, k } => search::run(&context, query, usize::from(*k)),
        Command::Sweep => sweep::run(&context),
        Command::Run | Command::Config => unreachable!("run is the daemon's, config has returned"),
    };
    // Requests that are still open must not delay the exit.
    context.runtime.shutdown_background();
    Ok(code)
}

/// Prints clap's message; help and version are not failures.
#[must_use]
pub fn usage(error: &clap::Error) -> u8 {
    // A closed terminal does not change the exit code.
    error.print().ok();
    if !error.use_stderr() {
        return DONE;
    }
    // The arguments could not be parsed, but a caller that wrote this one waits for an object.
    if std::env::args_os().any(|argument| argument == "--json") {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default();
        print_json(&json!({ "error": first.strip_prefix("error: ").unwrap_or(first) }));
    }
    USAGE
}
