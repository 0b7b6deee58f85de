//! The program: signals first, then arguments, logs, one command, an exit code.

use std::process::ExitCode;

use clap::Parser;
use reindexd::cli::{self, Args};
use reindexd::signals::Handlers;

fn main() -> ExitCode {
    let handlers = match Handlers::install() {
        Ok(handlers) => handlers,
        Err(error) => {
            eprintln!("reindexd: cannot hear signals: {error}");
            return ExitCode::from(1);
        }
    };
    match Args::try_parse() {
        Ok(args) => ExitCode::from(cli::main(&args, handlers)),
        Err(error) => ExitCode::from(cli::usage(&error)),
    }
}
